"""What is measured of a lifted generator as it trains: pictures, identity, depth, and how far its faces turn."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lightning_modules.image_error import masked_psnr
from models.lifted_gan import LiftedGAN, LiftedOutput, LiftedRender, LiftedSettings, Pose, view_of_pose
from models.observers import FaceEmbedder, Judge
from renderers.images import to_unit

# A face has a relief of about a tenth of the range or more; one of less than this is a plane.
_FLAT = 0.02
# Depths this near to an end of their range, as a part of it, have no gradient left; more than half of a face there is no surface.
_END = 0.01
_ENDED = 0.5
# To either side, where judges read well.
_JUDGED_YAW_DEG = 20.0


class DepthFigures(NamedTuple):
    """How sound canonical depth is.

    Attributes:
        spread: () standard deviation over a face's pixels as a part of the range of depth, mean over faces.
        degenerate: () part of the faces that are flat, or whose depth has mostly run to the ends of its range.
    """

    spread: Float[Tensor, ""]
    degenerate: Float[Tensor, ""]


def depth_figures(depth: Float[Tensor, "batch height width"], settings: LiftedSettings) -> DepthFigures:
    """Of depth maps as `LiftedGAN` gives them; the border columns do not count."""
    part = (depth.detach() - settings.min_depth) / (settings.max_depth - settings.min_depth)
    part = part[:, :, settings.border_columns : depth.shape[2] - settings.border_columns].flatten(1)
    spread = part.std(dim=1)
    ended = ((part < _END) | (part > 1 - _END)).to(part.dtype).mean(dim=1)
    return DepthFigures(spread.mean(), ((spread < _FLAT) | (ended > _ENDED)).to(part.dtype).mean())


def psnr(
    render: LiftedRender, target: Float[Tensor, "batch 3 size size"], mask: Float[Tensor, "batch 1 size size"]
) -> Float[Tensor, ""]:
    """Mean over faces of `masked_psnr` of a render, clamped, against pictures in [-1, 1]; a face out of the picture counts 0."""
    return masked_psnr(to_unit(render.image).clamp(0, 1), to_unit(target).clamp(0, 1), mask).mean()


def identity_similarity(
    embedder: FaceEmbedder, texture: Float[Tensor, "batch 3 size size"], render: Float[Tensor, "batch 3 size size"]
) -> Float[Tensor, ""]:
    """Mean cosine of the embeddings of the same faces from the front and turned."""
    first, second = embedder(torch.cat([texture, render])).chunk(2)
    return (first * second).sum(dim=1).mean()


def turned_view(
    output: LiftedOutput, settings: LiftedSettings, yaw_deg: float, turn_shift: float
) -> Float[Tensor, "batch 6"]:
    """The view of heads turned by a yaw in degrees, positive to the image's right, in the networks' units.

    Args:
        output: Faces, of which the number matters alone.
        settings: Of the networks.
        yaw_deg: Of all faces.
        turn_shift: How heads move along x as they turn: that of the training, or M is asked for views that it has never seen.
    """
    rotation = output.view.new_zeros(len(output.view), 3)
    rotation[:, 1] = math.radians(yaw_deg)
    view = view_of_pose(Pose(rotation, torch.zeros_like(rotation)), settings)
    view[:, 3] = turn_shift * (view[:, 1] * settings.rotation_range).sin()
    return view


def judged_turn(judge: Judge, lifted: LiftedGAN, output: LiftedOutput, turn_shift: float) -> dict[str, Tensor]:
    """How far faces turn that are asked to turn by 20 degrees to either side, as the judge sees it, from its reading of the front.

    Returns:
        `yaw_error_deg`, the mean absolute error; and `yaw_gain`, read over asked: 1 for the right turn, below 0 for the wrong side.
    """
    views = {
        yaw: turned_view(output, lifted.settings, yaw, turn_shift) for yaw in (-_JUDGED_YAW_DEG, 0.0, _JUDGED_YAW_DEG)
    }
    readings = {
        yaw: judge(lifted.render(output, view).image.clamp(-1, 1)).rotation[:, 1] for yaw, view in views.items()
    }
    turns = {yaw: torch.rad2deg(readings[yaw] - readings[0.0]) / yaw for yaw in (-_JUDGED_YAW_DEG, _JUDGED_YAW_DEG)}
    gains = torch.stack(list(turns.values()))
    return {"yaw_error_deg": (gains - 1).abs().mean() * _JUDGED_YAW_DEG, "yaw_gain": gains.mean()}
