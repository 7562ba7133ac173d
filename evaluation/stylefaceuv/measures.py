"""How far a render of a face is from a picture, where both show the face; and which part of a face another view does not see."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional
from torchmetrics.functional.image import structural_similarity_index_measure

from evaluation.stylefaceuv.compositing import paste_face
from models.morphable import MorphableModel
from renderers.camera import PerspectiveCamera
from renderers.errors import InputError
from renderers.face_renderer import FaceRender
from renderers.rasterizer import interpolate

# A point this far behind what a view shows, in decimetres, is hidden in it: ours, more than a pixel's depth on a cheek.
_BEHIND = 0.05
# Renders of one face in one pose lie closer together than this, in decimetres, but for what is behind its holes: displacements are of
# millimetres. Ours.
_SAME_SIDE = 0.15


def pasted(picture: Float[Tensor, "batch 3 size size"], render: FaceRender) -> Float[Tensor, "batch 3 size size"]:
    """A render over a picture in [-1, 1], without blending: what the paper measures its FID on."""
    return paste_face(picture, render.image, render.mask, "hard")


def common_mask(renders: Sequence[FaceRender]) -> Float[Tensor, "batch 1 height width"]:
    """1 where several renders of a face in one pose show the same side of it.

    Through the eyes and the mouth of a coarse face, which are holes, a turned view shows the inside of the cheek behind.
    """
    depths = torch.stack([render.depth for render in renders])
    # Where one is empty its depth is infinite.
    return (depths.amax(dim=0) < depths.amin(dim=0) + _SAME_SIDE).to(depths.dtype)


def masked_ssim(
    render: Float[Tensor, "batch 3 size size"],
    picture: Float[Tensor, "batch 3 size size"],
    mask: Float[Tensor, "batch 1 size size"],
) -> Float[Tensor, " batch"]:
    """Structural similarity (Wang et al. 2004: Gaussian windows of 11 pixels) of images in [0, 1], black beside the mask in both, as
    its mean over the mask; 0 for an empty one.

    Raises:
        InputError: for pictures smaller than half a window.
    """
    if render.shape[-1] < 6:
        raise InputError(
            f"expected pictures of at least 6 pixels for SSIM, got {render.shape[-1]}; use a larger generator"
        )
    similarity = structural_similarity_index_measure(
        render * mask, picture * mask, data_range=1.0, reduction="none", return_full_image=True
    )
    local = similarity[1].mean(dim=1, keepdim=True)
    return (local * mask).sum(dim=(1, 2, 3)) / mask.sum(dim=(1, 2, 3)).clamp_min(1)


@torch.no_grad()
def hidden_in(
    other: FaceRender, view: FaceRender, mesh: MorphableModel, camera: PerspectiveCamera
) -> Bool[Tensor, "batch 1 height width"]:
    """Pixels of a view whose point of the surface another view of the same face does not show: it looks away there, or something is
    before it.

    Args:
        other: The other view; its vertices say where each point lies in it.
        view: The view whose pixels are asked about.
        mesh: That both draw.
        camera: Of both.

    Raises:
        InputError: for views drawn as points.
    """
    if view.fragments is None:
        raise InputError("expected a view drawn as triangles, got points; use primitive 'triangles'")
    batch, _, height, width = view.mask.shape
    points = interpolate(view.fragments, mesh.faces, other.vertices).flatten(1, 2)
    clip = camera.to_clip(points, aspect_ratio=width / height).unflatten(1, (height, width))
    places = torch.stack([clip[..., 0], -clip[..., 1]], dim=-1)
    # Empty places are infinitely far, where nothing would be hidden: a point that lies there is one that the view misses.
    shown = torch.where(other.mask > 0, other.depth, -torch.inf)
    # Nearest texels: depths across an edge have no mean.
    depth = functional.grid_sample(shown, places, mode="nearest", align_corners=False)
    return (clip[..., 2][:, None] > depth + _BEHIND) & (view.mask > 0)
