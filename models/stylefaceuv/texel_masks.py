"""Texel masks of StyleFaceUV (section 3.3): which texels a view reads, and how much each pixel of two views counts.

The paper finds the texels that a view reads as those that the render has a gradient to. The same texels follow from the texture
coordinates that the view looks up, at a fraction of the cost: nothing is rendered or differentiated.
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from models.morphable import MorphableModel
from renderers.errors import InputError
from renderers.face_renderer import FaceRender
from renderers.rasterizer import Fragments, interpolate
from renderers.texture import sample_texture, texture_pixels

# Section 3.3: "We override the values to 0.5 empirically for the symmetric view if the texels are also assessed by the original view".
SHARED_WEIGHT = 0.5

TextureSampling = Literal["pixel", "vertex"]


class TexelMasks(NamedTuple):
    """Weights of the texels in the two views of one face.

    Attributes:
        original: (B, 1, rows, columns), 1 where the original view reads the texel, else 0.
        symmetric: (B, 1, rows, columns), likewise for the symmetric view, `SHARED_WEIGHT` where both read it.
    """

    original: Float[Tensor, "batch 1 rows columns"]
    symmetric: Float[Tensor, "batch 1 rows columns"]


def texel_masks(
    face_model: MorphableModel,
    original: FaceRender,
    symmetric: FaceRender,
    size: tuple[int, int],
    sampling: TextureSampling = "pixel",
) -> TexelMasks:
    """Masks of two views of the same faces (section 3.3).

    Args:
        face_model: The mesh that was drawn.
        original: The view of the code's own picture.
        symmetric: The view turned the other way.
        size: Of the maps, (rows, columns).
        sampling: How the renders looked their texture up.

    Returns:
        The masks, without gradients.

    Raises:
        InputError: for views drawn as points.
    """
    first, second = (read_texels(face_model, view, size, sampling) for view in (original, symmetric))
    return TexelMasks(first, second * (1 - (1 - SHARED_WEIGHT) * first))


@torch.no_grad()
def read_texels(
    face_model: MorphableModel, view: FaceRender, size: tuple[int, int], sampling: TextureSampling = "pixel"
) -> Float[Tensor, "batch 1 rows columns"]:
    """1 for texels that a view looks up with a weight above zero, else 0.

    Args:
        face_model: The mesh that was drawn.
        view: Its render.
        size: Of the texture, (rows, columns).
        sampling: "pixel" for texels that visible pixels look up, "vertex" for those of the corners of visible faces.

    Raises:
        InputError: for a view drawn as points.
    """
    fragments = _fragments(view)
    batch = fragments.face_index.shape[0]
    if sampling == "pixel":
        uv = interpolate(fragments, face_model.faces, face_model.uv).flatten(1, 2)
        seen = (fragments.face_index >= 0).flatten(1)
    else:
        uv = face_model.uv.expand(batch, -1, -1)
        seen = _seen_vertices(fragments, face_model)
    return _scatter(uv, seen, size)[:, None]


@torch.no_grad()
def view_weights(
    face_model: MorphableModel,
    view: FaceRender,
    mask: Float[Tensor, "batch 1 rows columns"],
    sampling: TextureSampling = "pixel",
) -> Float[Tensor, "batch 1 height width"]:
    """M_render of equation 5: the texel mask as a view shows it, 0 where it shows no face.

    Args:
        face_model: The mesh that was drawn.
        view: Its render.
        mask: Weights of the texels, of `texel_masks`.
        sampling: How the render looked its texture up.

    Returns:
        Weights of the pixels, without gradients: 1 all over the face in the original view, from `SHARED_WEIGHT` to 1 in the symmetric
        one.

    Raises:
        InputError: for a view drawn as points.
    """
    fragments = _fragments(view)
    if sampling == "pixel":
        pixels = texture_pixels(fragments, face_model.faces, face_model.uv, mask)
    else:
        pixels = interpolate(fragments, face_model.faces, sample_texture(mask, face_model.uv))
    return pixels.permute(0, 3, 1, 2)


def _fragments(view: FaceRender) -> Fragments:
    if view.fragments is None:
        raise InputError(
            "expected a view drawn as triangles, got points, which no texel can be traced from; use primitive 'triangles'"
        )
    return view.fragments


def _seen_vertices(fragments: Fragments, face_model: MorphableModel) -> Bool[Tensor, "batch vertices"]:
    """Vertices that some pixel takes a share of its colour from."""
    corners = face_model.faces[fragments.face_index.clamp_min(0)].flatten(1)
    share = fragments.barycentric.flatten(1)
    total = share.new_zeros(len(share), face_model.vertex_count)
    return total.scatter_reduce_(1, corners, share, "amax") > 0


def _scatter(
    uv: Float[Tensor, "batch points 2"], seen: Bool[Tensor, "batch points"], size: tuple[int, int]
) -> Float[Tensor, "batch rows columns"]:
    """1 at the texels that a bilinear look-up at the seen points reads."""
    rows, columns = size
    # The arithmetic of `sample_texture`, whose weights are zero at exactly these places.
    x = (((uv[..., 0] * 2 - 1 + 1) * columns - 1) / 2).clamp(0, columns - 1)
    y = (((1 - uv[..., 1] * 2 + 1) * rows - 1) / 2).clamp(0, rows - 1)
    left, upper = x.floor(), y.floor()
    # Whatever is not read goes to one more texel, which is dropped: every size is known before the values are.
    mask = uv.new_zeros(len(uv), rows * columns + 1)
    for across, reads_across in ((left, True), (left + 1, x > left)):
        for down, reads_down in ((upper, True), (upper + 1, y > upper)):
            index = (down * columns + across).long()
            mask.scatter_(1, torch.where(seen & reads_across & reads_down, index, rows * columns), 1.0)
    return mask[:, :-1].unflatten(1, (rows, columns))
