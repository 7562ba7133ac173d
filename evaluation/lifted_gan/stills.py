"""What is shown of a lifted face in one picture: its parts, then rows of yaw, pitch and light, one below another."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from evaluation.lifted_gan.controls import replaced
from evaluation.lifted_gan.views import LiftedCodes, LiftedViews
from evaluation.report import picture_grid, to_picture
from models.stylerig.sliders import Slider

# Labels have no room above smaller cells: pictures of fewer pixels are enlarged.
_SMALLEST_CELL = 96


def cell_size(resolution: int) -> int:
    """Pixels of a cell of a sheet."""
    return max(resolution, _SMALLEST_CELL)


@dataclass(frozen=True)
class Stills:
    """Which views are drawn of each code.

    Attributes:
        sliders: What differs from the code's own view and light in all views but its own render.
        yaws, pitches: Degrees, one column each (Fig. 3 and 4).
        lights: Degrees of azimuth and elevation, one column each (Fig. 5), with the shading map below.
        manipulated: Whether what the 2D generator makes of M's codes is shown below renders of yaw and pitch.
    """

    sliders: tuple[Slider, ...] = ()
    yaws: tuple[float, ...] = ()
    pitches: tuple[float, ...] = ()
    lights: tuple[tuple[float, float], ...] = ()
    manipulated: bool = False

    @property
    def steps(self) -> dict[str, list[tuple[str, tuple[Slider, ...]]]]:
        """Of each row that is not empty, labels of its columns and what they ask."""
        rows: dict[str, list[tuple[str, tuple[Slider, ...]]]] = {
            "yaw": [(f"yaw {yaw:g}", (Slider("yaw", yaw),)) for yaw in self.yaws],
            "pitch": [(f"pitch {pitch:g}", (Slider("pitch", pitch),)) for pitch in self.pitches],
            "light": [
                (
                    f"light {azimuth:g}:{elevation:g}",
                    (Slider("light_azimuth", azimuth), Slider("light_elevation", elevation)),
                )
                for azimuth, elevation in self.lights
            ],
        }
        return {name: steps for name, steps in rows.items() if steps}

    def asked(self) -> list[list[Slider]]:
        """What every view asks, for checks before anything is drawn."""
        return [list(self.sliders), *(replaced(self.sliders, step) for row in self.steps.values() for _, step in row)]

    def draw(self, views: LiftedViews, lifted: LiftedCodes, portraits: Tensor | None = None) -> list[Image.Image]:
        """A picture of each code.

        Args:
            views: Draws them.
            lifted: The codes.
            portraits: (B, 3, H, W) in [-1, 1]: photos that they were found for, shown first.

        Raises:
            InputError: as `LiftedViews.draw`.
        """
        strips = [self._parts(views, lifted, portraits)]
        for name, steps in self.steps.items():
            asked = [replaced(self.sliders, step) for _, step in steps]
            rows = {"render": [views.draw(lifted, each) for each in asked]}
            if name == "light":
                rows["shading"] = [views.shading(lifted, each) for each in asked]
            elif self.manipulated:
                rows["M"] = [views.draw(lifted, each, "generator") for each in asked]
            strips.append(([label for label, _ in steps], rows))
        size = cell_size(lifted.pictures.shape[3])
        return [
            stacked([picture_grid(_cells(rows, code, size), _row_labels(rows), labels) for labels, rows in strips])
            for code in range(len(lifted))
        ]

    def parts(
        self, views: LiftedViews, lifted: LiftedCodes, portraits: Tensor | None = None
    ) -> tuple[list[str], list[list[Image.Image | None]]]:
        """Labels, and of each code the row of its parts alone."""
        labels, rows = self._parts(views, lifted, portraits)
        size = cell_size(lifted.pictures.shape[3])
        return labels, [_cells(rows, code, size)[0] for code in range(len(lifted))]

    def _parts(
        self, views: LiftedViews, lifted: LiftedCodes, portraits: Tensor | None
    ) -> tuple[list[str], dict[str, list[Tensor]]]:
        shown = {} if portraits is None else {"photo": portraits}
        shown |= {"picture": lifted.pictures, "render": views.draw(lifted)}
        if self.sliders:
            shown["asked"] = views.draw(lifted, self.sliders)
        shown |= views.maps(lifted)
        return list(shown), {"": list(shown.values())}


def stacked(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures one below another, flush left on white."""
    whole = Image.new("RGB", (max(each.width for each in pictures), sum(each.height for each in pictures)), "white")
    top = 0
    for each in pictures:
        whole.paste(each, (0, top))
        top += each.height
    return whole


def interpolation_sheet(
    views: LiftedViews, codes: Tensor, names: Sequence[str], steps: int, sliders: Sequence[Slider], most: int = 8
) -> Image.Image:
    """Fig. 6: a row for each code and the next, the first of them at the left, the other at the right.

    Args:
        views: Draws them.
        codes: (N, width) of W, two or more.
        names: Of the codes.
        steps: Columns, two or more.
        sliders: What is asked in all views.
        most: Rows at most.
    """
    rows: list[list[Image.Image | None]] = []
    for start, end in zip(codes[:most], codes[1 : most + 1], strict=False):
        shares = torch.linspace(0, 1, steps, dtype=codes.dtype, device=codes.device)[:, None]
        drawn = views.draw(views.read(start.lerp(end, shares)), sliders)
        rows.append([to_picture(image, cell_size(drawn.shape[3])) for image in drawn])
    labels = [f"{start} to {end}" for start, end in zip(names[:most], names[1 : most + 1], strict=False)]
    return picture_grid(rows, labels)


def _cells(rows: dict[str, list[Tensor]], code: int, size: int) -> list[list[Image.Image | None]]:
    return [[to_picture(image[code], size) for image in columns] for columns in rows.values()]


def _row_labels(rows: dict[str, list[Tensor]]) -> list[str]:
    # All strips have labels of one width at their left, so that their columns stand below one another.
    return [name.ljust(len("shading")) for name in rows]
