"""Fig. 5 of StyleFaceUV: codes between two codes as pictures, renders and shapes, and how evenly these change on the way."""

import torch
from jaxtyping import Float
from torch import Tensor

from evaluation.figures import Cell, Figure
from evaluation.report import picture_grid, to_picture
from evaluation.stylefaceuv.under_test import ORIGINAL, FacesUnderTest
from renderers.images import to_signed, to_unit

NAME = "stylefaceuv_interpolation"
SIZE = 104
# Places between the codes, as in Fig. 5.
STEPS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_MILLIMETRES = 100.0


@torch.no_grad()
def interpolation_figure(tested: FacesUnderTest, pairs: int, shown: int) -> Figure:
    """A row of pictures, of renders and of shapes for each pair of codes; the numbers are over all pairs.

    Args:
        tested: The UV generator.
        pairs: Pairs of codes, at least 1.
        shown: Of them, those in the picture; at most three.
    """
    grid: list[list[Tensor]] = []
    changes: list[Float[Tensor, "pairs steps 3"]] = []
    for codes in tested.batches(2 * pairs):
        # Batches are of an even number of codes.
        along = [codes[0::2].lerp(codes[1::2], step) for step in STEPS]
        found = [_looks(tested, code) for code in along]
        changes.append(
            torch.stack([_change(before, after) for before, after in zip(found[:-1], found[1:], strict=True)], dim=1)
        )
        if not grid:
            for pair in range(min(shown, 3, len(codes) // 2)):
                grid += [[look[kind][pair] for look in found] for kind in (0, 1, 3)]
    moved = torch.cat(changes)
    names = ["pictures", "renders", "shapes"]
    picture = picture_grid(
        [[to_picture(image, SIZE) for image in row] for row in grid],
        names * (len(grid) // len(names)),
        [f"{step:g}" for step in STEPS],
    )
    # The share of the way that a step takes: a fifth each would be perfectly even.
    share = moved / moved.sum(dim=1, keepdim=True).clamp_min(1e-12)
    rows: list[tuple[Cell, ...]] = [
        (STEPS[i + 1], *moved[:, i].mean(dim=0).tolist(), *share[:, i].mean(dim=0).tolist())
        for i in range(len(STEPS) - 1)
    ]
    kinds = ("picture", "render", "shape")
    columns = ("step_to", "picture_change", "render_change", "shape_change_mm", *(f"{kind}_share" for kind in kinds))
    caption = (
        f"Straight lines between the codes of {len(moved)} pairs in steps of a fifth: pictures of the 2D generator, renders of the "
        "detailed faces and their shapes in grey. Changes of a step as root mean squares: colours in [0, 1], and unposed vertices in "
        "millimetres; shares of the whole way, of which an even step takes a fifth."
    )
    return Figure(NAME, "Between two codes (Fig. 5)", caption, columns, tuple(rows), picture)


def _looks(tested: FacesUnderTest, codes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Picture, render and unposed shape of codes, and the shape's picture."""
    original = tested.posed(codes)[ORIGINAL]
    maps = tested.maps(tested.faces.network, original, original)
    render = tested.views.detailed(original, maps)
    shape = tested.faces.shape(original.parameters, maps)
    return (
        original.target,
        to_signed(render.image + 1 - render.mask),
        shape,
        tested.shape_picture(original.parameters, maps),
    )


def _change(before: tuple[Tensor, ...], after: tuple[Tensor, ...]) -> Float[Tensor, "pairs 3"]:
    picture, render = ((to_unit(after[i]) - to_unit(before[i])).square().mean(dim=(1, 2, 3)).sqrt() for i in (0, 1))
    shape = (after[2] - before[2]).square().sum(dim=2).mean(dim=1).sqrt() * _MILLIMETRES
    return torch.stack([picture, render, shape], dim=1)
