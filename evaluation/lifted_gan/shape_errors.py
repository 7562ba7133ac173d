"""Errors of depth and pose as Table 2 of LiftedGAN takes them, against what is known or read of pictures."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from evaluation.lifted_gan.under_test import BATCH, LiftedUnderTest
from evaluation.lifted_gan.views import LiftedViews
from evaluation.stylefaceuv.known_portraits import KnownPortraits
from models.lifted_gan import pose_of_view
from models.morphable import FaceParameters, ParameterSizes
from models.stylefaceuv.loading import CodeReader
from renderers.face_renderer import FaceRenderer

PORTRAITS, RECONSTRUCTED, JUDGED = "true portraits", "face reconstruction", "judge"
# Spreads of depth below this, in the unit of depth, are those of a plane: nothing to normalise by.
_FLAT = 1e-6
# Error of depths that have nothing to do with each other.
_UNRELATED = math.sqrt(2)


@dataclass(frozen=True, eq=False)
class ShapeReference:
    """What lifted faces are compared with.

    Attributes:
        name: As tables say it.
        codes: Codes of W.
        rotation: Pitch, yaw and roll of each, radians.
        depth: Of each face, any unit and offset, infinite where there is none; None where nobody knows depth.
        mask: 1 where the depth is that of the face; None likewise.
    """

    name: str
    codes: Float[Tensor, "faces w_dim"]
    rotation: Float[Tensor, "faces 3"]
    depth: Float[Tensor, "faces 1 size size"] | None = None
    mask: Float[Tensor, "faces 1 size size"] | None = None


@dataclass(frozen=True)
class ShapeErrors:
    """A row of Table 2.

    Attributes:
        depth: Mean of `normalised_depth_error`, 1.41 for faces that are nowhere where the reference is; NaN where nobody knows depth.
        rotation_deg: (3) mean absolute errors of pitch, yaw and roll, each less its mean.
    """

    depth: float
    rotation_deg: tuple[float, float, float]


def portrait_reference(known: KnownPortraits, size: int) -> ShapeReference:
    """The truth of synthetic portraits, for the codes that stand for them."""
    own = known.drawn(size)
    codes, rotation = known.codes.mean(dim=1), own.parameters.rotation
    return ShapeReference(PORTRAITS, codes, rotation, own.depth, own.mask.to(own.depth.dtype))


@torch.no_grad()
def reconstructed_reference(
    tested: LiftedUnderTest, count: int, reader: CodeReader, sizes: ParameterSizes, renderer: FaceRenderer
) -> ShapeReference:
    """What a 3D face reconstruction reads of pictures of unseen codes, in place of truth (section 5.3).

    Args:
        tested: The lifted generator.
        count: Codes.
        reader: Reads face parameters of codes.
        sizes: Of its face model.
        renderer: Draws that, of the generator's size.
    """
    codes = tested.unseen_codes(count)
    rotations, depths, masks = [], [], []
    for part in codes.split(BATCH):
        parameters = FaceParameters.unpack(reader(tested.generator.broadcast(part)), sizes)
        render = renderer(parameters)
        rotations.append(parameters.rotation)
        depths.append(render.depth)
        masks.append(render.mask)
    return ShapeReference(RECONSTRUCTED, codes, torch.cat(rotations), torch.cat(depths), torch.cat(masks))


@torch.no_grad()
def judged_reference(tested: LiftedUnderTest, count: int) -> ShapeReference | None:
    """What the judge reads of pictures of unseen codes: pose alone; None without a judge."""
    if tested.judge is None:
        return None
    codes = tested.unseen_codes(count)
    rotation = torch.cat([tested.judge(tested.pictures(part)).rotation for part in codes.split(BATCH)])
    return ShapeReference(JUDGED, codes, rotation)


@torch.no_grad()
def shape_errors(views: LiftedViews, reference: ShapeReference) -> ShapeErrors:
    """Of a lifted generator, in the view that it reads of each code."""
    model = views.model

    def drawn(rows: slice) -> tuple[Tensor, Tensor, Tensor]:
        output = model(reference.codes[rows])
        render = model.render(output)
        seen = render.mask * (render.depth < model.settings.background_depth)[:, None]
        return pose_of_view(output.view, model.settings).rotation, render.depth[:, None], seen

    return _errors(drawn, reference)


@torch.no_grad()
def constant_errors(reference: ShapeReference) -> ShapeErrors:
    """Of one depth map and pose for all, the means of the reference: what knowing nothing of a face costs."""
    depth, mask = reference.depth, reference.mask
    mean = None
    if depth is not None and mask is not None:
        # Each less its own mean, so that distances do not count.
        inside = torch.where(mask > 0, depth, 0.0)
        own = inside.sum(dim=(2, 3), keepdim=True) / mask.sum(dim=(2, 3), keepdim=True).clamp_min(1)
        counted = mask.sum(dim=0, keepdim=True)
        mean = (torch.where(mask > 0, inside - own, 0.0).sum(dim=0, keepdim=True) / counted.clamp_min(1)), counted > 0
    pose = reference.rotation.mean(dim=0, keepdim=True)

    def drawn(rows: slice) -> tuple[Tensor, Tensor, Tensor]:
        count = len(reference.codes[rows])
        empty = reference.rotation.new_zeros(count, 1, 1, 1)
        shape = (
            (empty, empty) if mean is None else (mean[0].expand(count, -1, -1, -1), mean[1].expand(count, -1, -1, -1))
        )
        return pose.expand(count, 3), shape[0], shape[1].to(shape[0].dtype)

    return _errors(drawn, reference)


def _errors(drawn: Callable[[slice], tuple[Tensor, Tensor, Tensor]], reference: ShapeReference) -> ShapeErrors:
    rotations: list[Tensor] = []
    depths: list[Tensor] = []
    for start in range(0, len(reference.codes), BATCH):
        rows = slice(start, start + BATCH)
        rotation, depth, seen = drawn(rows)
        rotations.append(rotation)
        if reference.depth is not None and reference.mask is not None:
            known = reference.mask[rows]
            error = normalised_depth_error(depth, reference.depth[rows], known * seen)
            # A face that misses its reference must not leave the mean.
            missed = (known.sum(dim=(1, 2, 3)) > 0) & ((known * seen).sum(dim=(1, 2, 3)) == 0)
            depths.append(torch.where(missed, _UNRELATED, error))
    errors = angle_errors_deg(torch.cat(rotations), reference.rotation)
    mean = float(torch.cat(depths).nanmean()) if depths else float("nan")
    pitch, yaw, roll = errors.tolist()
    return ShapeErrors(mean, (pitch, yaw, roll))


def normalised_depth_error(
    depth: Float[Tensor, "batch 1 size size"],
    reference: Float[Tensor, "batch 1 size size"],
    mask: Float[Tensor, "batch 1 size size"],
) -> Float[Tensor, " batch"]:
    """Root mean square difference of depth maps over a mask, each less its mean and over its standard deviation there (section 5.3).

    The paper says "l2 distance" and leaves open whether its root is taken. It is 0 for equal shapes, 1.41 for unrelated ones, 1 for a
    plane that faces the camera, whose spread nothing can normalise; NaN for an empty mask.
    """
    pixels = mask.sum(dim=(1, 2, 3))
    first, second = (_normalised(each, mask) for each in (depth, reference))
    squares = ((first - second).square() * mask).sum(dim=(1, 2, 3)) / pixels.clamp_min(1)
    return torch.where(pixels > 0, squares.sqrt(), torch.nan)


def angle_errors_deg(rotation: Float[Tensor, "faces 3"], reference: Float[Tensor, "faces 3"]) -> Float[Tensor, "3"]:
    """Mean absolute differences of angles less their means, in degrees (section 5.3); of radians."""
    centred = [each - each.mean(dim=0) for each in (rotation, reference)]
    return (centred[0] - centred[1]).abs().mean(dim=0).rad2deg()


def _normalised(depth: Tensor, mask: Tensor) -> Tensor:
    pixels = mask.sum(dim=(1, 2, 3), keepdim=True).clamp_min(1)
    # Both are infinite where nothing is.
    inside = torch.where(mask > 0, depth, 0.0).double()
    centred = (inside - inside.sum(dim=(1, 2, 3), keepdim=True) / pixels) * mask
    spread = (centred.square().sum(dim=(1, 2, 3), keepdim=True) / pixels).sqrt()
    return torch.where(spread > _FLAT, centred / spread.clamp_min(_FLAT), 0.0).to(depth.dtype)
