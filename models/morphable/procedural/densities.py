"""The four mesh densities of the procedural head."""

from typing import Literal

from models.morphable.procedural.layout import Resolution

Density = Literal["coarse", "medium", "fine", "full"]


def resolution_of(density: Density) -> Resolution:
    """Sampling of each part; about 3, 8, 20 and 53 thousand vertices."""
    match density:
        case "coarse":
            return Resolution(5.7, 20_000, 4, 5, 2, 3, 3, 10, 2, 18, 1, 6, 28, 3)
        case "medium":
            return Resolution(3.45, 45_000, 6, 8, 2, 6, 6, 16, 3, 32, 3, 12, 48, 8)
        case "fine":
            return Resolution(2.25, 100_000, 9, 13, 3, 9, 8, 24, 5, 48, 4, 20, 80, 14)
        case "full":
            return Resolution(1.37, 260_000, 14, 20, 5, 14, 12, 36, 8, 72, 6, 30, 128, 24)
