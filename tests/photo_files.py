"""Folders of small made-up photos."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_photos(folder: Path, count: int = 8, size: int = 16, seed: int = 0) -> list[Path]:
    """Photos of coloured ramps, every other one a JPEG in a folder below; their paths in order."""
    rng = np.random.default_rng(seed)
    paths = []
    for number in range(count):
        ramp = np.linspace(0, 255, size)[:, None, None] * rng.random(3) + rng.random((1, size, 1)) * 40
        path = folder / ("more" if number % 2 else "") / f"{number:03d}_0.{'jpg' if number % 2 else 'png'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(ramp.clip(0, 255).astype(np.uint8)).save(path, **({"quality": 95} if number % 2 else {}))
        paths.append(path)
    return sorted(paths)
