"""Style transfer with geometry kept (Fig. 10 of LiftedGAN): where landmarks go, and whose colours are taken."""

import torch
from torch import Tensor

from evaluation.figures import Cell, Figure
from evaluation.lifted_gan.stills import cell_size, stacked
from evaluation.lifted_gan.style import restyled, style_layer, style_sheet
from evaluation.lifted_gan.under_test import BATCH, LiftedUnderTest
from evaluation.lifted_gan.views import LiftedCodes
from models.stylerig.sliders import Slider
from renderers.images import to_unit

NAME = "lifted_gan_style"
LIFTED, MIXED = "LiftedGAN", "style mixing in 2D"
COLUMNS = ("method", "faces", "landmark_percent", "colour_to_style", "colour_to_style_before", "depth_change")
_YAWS_DEG = (-40.0, -20.0, 0.0, 20.0, 40.0)
# Styles of each face in the picture.
_STYLES = 3


@torch.no_grad()
def style_figure(tested: LiftedUnderTest, people: int, shown: int) -> Figure:
    """Faces in the style of others from several sides, and numbers over pairs of codes.

    Args:
        tested: The lifted generator.
        people: Unseen codes that are given the style of as many others.
        shown: Faces in the picture.
    """
    model, views = tested.model, tested.views
    layer = style_layer(model, None)
    found: dict[str, list[Tensor]] = {LIFTED: [], MIXED: []}
    for start, codes in zip(range(people, 2 * people, BATCH), tested.batches(people), strict=True):
        lifted, styles = views.read(codes), views.read(tested.unseen_codes(len(codes), start))
        style_codes = model.generator.broadcast(styles.codes)
        output = restyled(model, lifted.output, style_codes, styles.codes, layer)
        renders = views.draw(lifted), views.draw(LiftedCodes(codes, styles.pictures, output))
        mixed = model.generator.broadcast(codes).clone()
        mixed[:, layer:] = style_codes[:, layer:]
        pictures = lifted.pictures, model.generator.synthesis(mixed).clamp(-1, 1)
        depth = (output.depth - lifted.output.depth).abs().amax(dim=(1, 2))
        found[LIFTED].append(torch.cat([_measures(tested, *renders, styles.pictures), depth[:, None]], dim=1))
        # A picture has no depth to compare.
        found[MIXED].append(
            torch.cat(
                [_measures(tested, *pictures, styles.pictures), torch.full_like(depth, torch.nan)[:, None]], dim=1
            )
        )
    rows: list[tuple[Cell, ...]] = [
        (name, people, *torch.cat(parts).mean(dim=0).tolist()) for name, parts in found.items()
    ]
    steps = [[Slider("yaw", yaw)] for yaw in _YAWS_DEG]
    step_labels = [f"{yaw:+g}" if yaw else "0" for yaw in _YAWS_DEG]
    sheets = []
    for face in range(shown):
        styles = views.read(tested.unseen_codes(_STYLES, people + _STYLES * face))
        codes = model.generator.broadcast(styles.codes)
        labels = [f"style {number + 1}" for number in range(_STYLES)]
        face_codes = views.read(tested.unseen_codes(1, face))
        sheets.append(
            style_sheet(views, face_codes, styles, codes, labels, steps, step_labels, size=cell_size(tested.size))
        )
    return Figure(
        NAME,
        "Style transfer with geometry kept (Fig. 10)",
        f"Above a face from several sides, below it in the styles of other codes, whose pictures are at the left: the texture takes layers "
        f"from {layer} on, depth and light stay. Numbers over {people} pairs: how far the 68 landmarks move, in per cent of the side; how "
        "far the picture's mean colour is from the style's, in [0, 1], and was before; and the largest change of depth. In 2D the same "
        "layers of the picture's own code are exchanged.",
        COLUMNS,
        tuple(rows),
        stacked(sheets),
    )


def _measures(tested: LiftedUnderTest, before: Tensor, after: Tensor, style: Tensor) -> Tensor:
    """Landmarks' way in per cent of the side, distance of mean colours from the style's, and that before: (batch, 3)."""
    marks = [tested.landmarker(image) for image in (before, after)]
    moved = (marks[1] - marks[0]).norm(dim=2).mean(dim=1) * (100 / tested.size)
    colours = [to_unit(image).mean(dim=(2, 3)) for image in (before, after, style)]
    return torch.stack([moved, *((colours[at] - colours[2]).norm(dim=1) for at in (1, 0))], dim=1)
