"""Faces between two codes (Fig. 6 of LiftedGAN), and how evenly pictures, renders and depth change on the way."""

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from evaluation.figures import Cell, Figure
from evaluation.lifted_gan.stills import cell_size
from evaluation.lifted_gan.under_test import BATCH, LiftedUnderTest
from evaluation.lifted_gan.views import LiftedCodes
from evaluation.report import picture_grid, to_picture
from renderers.images import to_unit

NAME = "lifted_gan_interpolation"
STEPS = 7
COLUMNS = (
    "step_to",
    "pairs",
    "picture_change",
    "render_change",
    "depth_change",
    "render_share",
    "largest_render_share",
)


@torch.no_grad()
def interpolation_figure(tested: LiftedUnderTest, pairs: int, shown: int) -> Figure:
    """A row of renders for each pair of codes; the numbers are over all pairs.

    Args:
        tested: The lifted generator.
        pairs: Pairs of unseen codes, at least 1.
        shown: Of them, those in the picture.
    """
    shares = torch.linspace(0, 1, STEPS + 1).tolist()
    size = cell_size(tested.size)
    rows: list[list[Image.Image | None]] = []
    changes: list[Float[Tensor, "pairs steps 3"]] = []
    for first in range(0, pairs, BATCH):
        count = min(BATCH, pairs - first)
        starts, ends = tested.unseen_codes(2 * count, 2 * first).chunk(2)
        along: list[Tensor] = []
        before: tuple[LiftedCodes, Tensor] | None = None
        drawn: list[Tensor] = []
        for share in shares:
            lifted = tested.views.read(starts.lerp(ends, share))
            render = tested.views.draw(lifted)
            if before is not None:
                along.append(_change(before[0], before[1], lifted, render))
            before = (lifted, render)
            drawn.append(render[:shown])
        changes.append(torch.stack(along, dim=1))
        for face in range(min(count, shown) if not rows else 0):
            rows.append([to_picture(render[face], size) for render in drawn])
    moved = torch.cat(changes)
    share = moved / moved.sum(dim=1, keepdim=True).clamp_min(1e-12)
    table: list[tuple[Cell, ...]] = [
        (
            shares[step + 1],
            pairs,
            *moved[:, step].mean(dim=0).tolist(),
            float(share[:, step, 1].mean()),
            float(share[:, step, 1].amax()),
        )
        for step in range(STEPS)
    ]
    return Figure(
        NAME,
        "Between two codes (Fig. 6)",
        f"Renders along straight lines between codes of W, in {STEPS} steps, each in the view and light that are read of its code. Changes "
        f"of a step as root mean squares over {pairs} pairs: of colours in [0, 1], and of canonical depth in its unit; and the part of the "
        f"render's whole way that the step takes, {1 / STEPS:.2f} where all are even.",
        COLUMNS,
        tuple(table),
        picture_grid(rows, (), [f"{value:.2f}" for value in shares]),
    )


def _change(
    before: LiftedCodes, render_before: Tensor, after: LiftedCodes, render_after: Tensor
) -> Float[Tensor, "pairs 3"]:
    colours = [
        (to_unit(new) - to_unit(old)).square().mean(dim=(1, 2, 3)).sqrt()
        for old, new in ((before.pictures, after.pictures), (render_before, render_after))
    ]
    depth = (after.output.depth - before.output.depth).square().mean(dim=(1, 2)).sqrt()
    return torch.stack([*colours, depth], dim=1)
