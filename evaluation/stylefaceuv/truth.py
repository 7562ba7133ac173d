"""Depth and colour of faces beside synthetic portraits whose truth is known, in the portrait's own view and in others."""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from evaluation.figures import Cell, Figure
from evaluation.report import picture_grid, to_picture
from evaluation.stylefaceuv.known_portraits import KnownPortraits, posed_as
from evaluation.stylefaceuv.measures import common_mask
from evaluation.stylefaceuv.under_test import COARSE, DETAILED, ORIGINAL, FacesUnderTest
from lightning_modules.image_error import masked_psnr
from lightning_modules.stylefaceuv_views import PosedView
from models.morphable import FaceParameters
from renderers.face_renderer import FaceRender
from renderers.images import to_signed, to_unit

TABLE = "stylefaceuv_truth"
MEAN = "mean face"
# Degrees of yaw that portraits are turned to; the sampler's heads turn by less than 58.
VIEWS = (-45, 0, 45)
OWN = "own"
SIZE = 96
_MILLIMETRES = 100.0
# Depth errors in pictures are full at so many millimetres.
_FULL = 6.0


@torch.no_grad()
def truth_figure(tested: FacesUnderTest, known: KnownPortraits, shown: int) -> Figure:
    """The table, a row for each view and face, and a picture of some portraits.

    Args:
        tested: The UV generator.
        known: Portraits and their codes.
        shown: Portraits in the picture.
    """
    original = tested.posed(known.codes)[ORIGINAL]
    own = known.drawn(tested.size)
    rows: list[tuple[Cell, ...]] = []
    shapes = _shape_errors(tested, known, original, own.parameters)
    grid: list[list[Tensor]] = [
        [image, picture] for image, picture in zip(own.image[:shown], original.target, strict=False)
    ]
    views: dict[str, float | None] = {OWN: None, **{f"yaw {degrees}": math.radians(degrees) for degrees in VIEWS}}
    for name, yaw in views.items():
        asked = own if yaw is None else known.drawn(tested.size, torch.full_like(own.parameters.rotation[:, 1], yaw))
        parameters = posed_as(original.parameters, own.parameters, asked.parameters)
        view = PosedView(known.codes, parameters, original.target)
        mean, faces = tested.views.renderer(_mean(parameters)), tested.renders(view, original)
        renders = {MEAN: mean, **faces}
        # The faces are compared on the same pixels.
        mask = common_mask(list(faces.values())) * mean.mask * asked.mask
        for face, render in renders.items():
            depth = depth_error(render.depth, asked.depth, mask)
            psnr = masked_psnr(render.image, to_unit(asked.image), mask)
            landmarks = (render.landmarks - asked.landmarks).norm(dim=2).mean(dim=1) * (100 / tested.size)
            counted = mask.sum(dim=(1, 2, 3)) > 0
            rows.append(
                (
                    name,
                    face,
                    int(counted.sum()),
                    *(float(values[counted].mean()) for values in (depth, psnr, landmarks)),
                    shapes.get(face, math.nan) if yaw is None else math.nan,
                )
            )
        if name in (OWN, f"yaw {VIEWS[-1]}"):
            _add(grid, renders, asked.image, asked.depth, mask, turned=yaw is not None)
    labels = [
        "portrait",
        "its code's",
        "coarse",
        "depth error",
        "detailed",
        "depth error",
        "turned",
        "coarse",
        "detailed",
    ]
    picture = picture_grid([[to_picture(image, SIZE) for image in row] for row in grid], column_labels=labels)
    caption = (
        f"{len(known)} synthetic portraits that nothing was trained with, their codes by {known.found_by}; renders are turned as the "
        "portraits are, from the pose that is read. Where all faces and the portrait show skin: mean difference of depths in millimetres "
        "without the plane that fits it best, and PSNR of colours; landmarks of the coefficients beside the true ones in per cent of the "
        "side; mean distance of vertices in millimetres after rigid alignment, once for all views. The mean face has the pose and light "
        f"that are read. Depth in the picture: red too near, blue too far, full at {_FULL:g} mm. Errors of the codes are in all of it."
    )
    columns = ("view", "face", "portraits", "depth_mm", "psnr_db", "landmark_percent", "shape_mm")
    return Figure(
        TABLE, "Detailed faces beside the truth of synthetic portraits", caption, columns, tuple(rows), picture
    )


def depth_error(
    depth: Float[Tensor, "batch 1 size size"],
    true: Float[Tensor, "batch 1 size size"],
    mask: Float[Tensor, "batch 1 size size"],
) -> Float[Tensor, " batch"]:
    """Mean absolute `depth_difference` over a mask, in millimetres; 0 for an empty one."""
    difference = depth_difference(depth, true, mask)
    return difference.abs().sum(dim=(1, 2, 3)) / mask.sum(dim=(1, 2, 3)).clamp_min(1)


def depth_difference(
    depth: Float[Tensor, "batch 1 size size"],
    true: Float[Tensor, "batch 1 size size"],
    mask: Float[Tensor, "batch 1 size size"],
) -> Float[Tensor, "batch 1 size size"]:
    """Difference of depths in decimetres over a mask, in millimetres, without the plane that fits it best; 0 beside the mask. Positive
    is too far.

    The plane takes up distance and slight turns, which are errors of the pose, so that what is left is of the shape.
    """
    # Both are infinite where nothing is.
    difference = torch.where(mask > 0, depth - true, 0.0).double().flatten(1)[..., None]
    size = depth.shape[-1]
    across = torch.linspace(-1, 1, size, dtype=torch.float64, device=depth.device)
    rows, columns = torch.meshgrid(across, across, indexing="ij")
    terms = (
        torch.stack([torch.ones_like(rows), rows, columns], dim=-1).flatten(0, 1) * mask.double().flatten(1)[..., None]
    )
    # A mask of a pixel or a line fits many planes: the least one is taken.
    plane = torch.linalg.pinv(terms) @ difference
    return ((difference - terms @ plane).unflatten(1, (1, size, size))[..., 0] * _MILLIMETRES).to(depth.dtype)


def shape_error(
    vertices: Float[Tensor, "batch vertices 3"], true: Float[Tensor, "batch vertices 3"]
) -> Float[Tensor, " batch"]:
    """Mean distance in millimetres of vertices in decimetres after the rigid motion that brings them closest (Kabsch 1976)."""
    centred, target = (each.double() - each.double().mean(dim=1, keepdim=True) for each in (vertices, true))
    left, _, right = torch.linalg.svd(centred.transpose(1, 2) @ target)
    signs = torch.ones_like(left[:, 0])
    signs[:, 2] = torch.linalg.det(left @ right).sign()
    moved = centred @ (left * signs[:, None] @ right)
    return ((moved - target).norm(dim=2).mean(dim=1) * _MILLIMETRES).to(vertices.dtype)


def _shape_errors(
    tested: FacesUnderTest, known: KnownPortraits, original: PosedView, truth: FaceParameters
) -> dict[str, float]:
    """Mean `shape_error` of the mean face, the coarse face and the detailed faces; nothing where the portraits are of another model."""
    faces, surface = tested.faces, tested.faces.surface
    portraits = known.sampler.face_model
    if (portraits.sizes, portraits.expression_names) != (faces.face_model.sizes, faces.face_model.expression_names):
        return {}
    true = surface.vertices(truth.identity, truth.expression)
    read, mean = original.parameters, _mean(original.parameters)
    found = {face: surface.vertices(own.identity, own.expression) for face, own in ((MEAN, mean), (COARSE, read))}
    for face, network in tested.networks.items():
        found[face] = faces.shape(read, tested.maps(network, original, original))
    return {face: float(shape_error(vertices, true).mean()) for face, vertices in found.items()}


def _mean(parameters: FaceParameters) -> FaceParameters:
    """The mean face in the pose and light of others."""
    empty = {name: torch.zeros_like(getattr(parameters, name)) for name in ("identity", "expression", "reflectance")}
    return FaceParameters(**{**vars(parameters), **empty})


def _add(
    grid: list[list[Tensor]],
    renders: Mapping[str, FaceRender],
    images: Tensor,
    depth: Tensor,
    mask: Tensor,
    turned: bool,
) -> None:
    """Append the columns of a view to the rows of a picture."""
    faces = {name: to_signed(renders[name].image + 1 - renders[name].mask) for name in (COARSE, DETAILED)}
    errors = {name: _error_picture(depth_difference(renders[name].depth, depth, mask), mask) for name in faces}
    for index, row in enumerate(grid):
        if turned:
            row += [images[index], faces[COARSE][index], faces[DETAILED][index]]
        else:
            row += [part[name][index] for name in faces for part in (faces, errors)]


def _error_picture(difference: Tensor, mask: Tensor) -> Tensor:
    """Red where negative, blue where positive, white where zero or nothing is compared; in [-1, 1]."""
    share = (difference / _FULL).clamp(-1, 1)
    red, blue = functional.relu(-share), functional.relu(share)
    return to_signed(torch.cat([1 - blue, 1 - red - blue, 1 - red], dim=1) * mask + 1 - mask)
