"""Paste an edited crop back into its photo."""

import numpy as np
from jaxtyping import Float
from PIL import Image

from datamodules.photos.alignment import blur_weight, crop_quad
from datamodules.photos.records import FaceTransform
from renderers.errors import InputError


def paste_back(
    photo: Image.Image,
    edited: Image.Image,
    transform: FaceTransform,
    mask: Float[np.ndarray, "height width"] | None = None,
    feather: float = 0.05,
    keep_detail: bool = False,
) -> Image.Image:
    """The photo with a crop replaced by its edit.

    The edit fades in from the crop's edge, and is left out where the crop showed blurred padding rather than the photo.

    Args:
        photo: upright and RGB, as `decode_photo` gives it.
        edited: the edited crop, square, of any size.
        transform: of the crop, from its record.
        mask: where the edit is wanted, 0 to 1, over the crop at any resolution; everywhere by default.
        feather: width of the fade at the crop's edge, as a share of its side; at most 0.5.
        keep_detail: add the difference between edit and crop rather than the edit itself. The photo keeps what is finer than
            the crop's pixels; for edits that move little, since what is moved leaves its fine detail behind.

    Returns: a new picture of the photo's size.

    Raises: `InputError` for a photo of another size, an edit that is not square, or values out of range.
    """
    if photo.mode != "RGB" or photo.size != transform.photo_size:
        raise InputError(
            f"expected the upright RGB photo of {transform.photo_size} px that the crop is from, got {photo.mode} {photo.size}; "
            "read it with decode_photo"
        )
    if edited.width != edited.height:
        raise InputError(f"expected a square edited crop, got {edited.size} px; give the whole crop")
    if not 0 <= feather <= 0.5:
        raise InputError(f"expected a feather from 0 to 0.5 of the crop's side, got {feather}; correct it")
    if mask is not None and not (mask.size and mask.shape[0] == mask.shape[1] and 0 <= mask.min() and mask.max() <= 1):
        raise InputError(f"expected a square mask of values from 0 to 1, got {mask.shape} or other values; correct it")
    quad = transform.quad_tensor.numpy()
    left, top = np.floor(quad.min(0)).astype(int).clip(0)
    right, bottom = np.minimum(np.ceil(quad.max(0)).astype(int), photo.size)
    if right <= left or bottom <= top:
        return photo.copy()
    box = (int(left), int(top), int(right), int(bottom))
    x, y = np.arange(left, right)[None] + 0.5, np.arange(top, bottom)[:, None] + 0.5
    # Shares of the crop's width and height, of every pixel of the box: the quad is a square, so its sides are orthogonal.
    across, down = quad[3] - quad[0], quad[1] - quad[0]
    u = ((x - quad[0, 0]) * across[0] + (y - quad[0, 1]) * across[1]) / (across @ across)
    v = ((x - quad[0, 0]) * down[0] + (y - quad[0, 1]) * down[1]) / (down @ down)
    distance = np.minimum(np.minimum(u, 1 - u), np.minimum(v, 1 - v))
    weight = (distance / feather).clip(0, 1) if feather > 0 else (distance >= 0).astype(float)
    # Smoothstep: without it the eye sees where the fade begins.
    weight = weight * weight * (3 - 2 * weight)
    weight = weight * (1 - blur_weight(x, y, photo.size, transform.padding))
    if mask is not None:
        weight = weight * _unwarped(Image.fromarray(mask.astype(np.float32)), quad, box).clip(0, 1)
    target = np.asarray(photo.crop(box)).astype(np.float32)
    change = _unwarped(edited.convert("RGB"), quad, box)
    if keep_detail:
        crop = crop_quad(photo, transform.quad_tensor, transform.size).image
        change = change - _unwarped(crop, quad, box)
    else:
        change = change - target
    blended = (target + weight[..., None] * change).round().clip(0, 255).astype(np.uint8)
    result = photo.copy()
    result.paste(Image.fromarray(blended), box[:2])
    return result


def _unwarped(crop: Image.Image, quad: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """A crop as it lies in a box of the photo, (H, W, 3) or (H, W) float32; outside the crop 0."""
    side = float(np.hypot(*(quad[3] - quad[0])))
    if side < crop.width:
        # Shrunk first, since the turning below looks at few neighbours.
        smaller = max(1, round(side))
        crop = crop.resize((smaller, smaller), Image.Resampling.LANCZOS)
    across, down = (quad[3] - quad[0]) / crop.width, (quad[1] - quad[0]) / crop.width
    inverse = np.linalg.inv(np.stack([across, down], axis=1))
    offset = inverse @ (np.array(box[:2]) - quad[0])
    coefficients = np.concatenate([inverse, offset[:, None]], axis=1).flatten().tolist()
    size = (box[2] - box[0], box[3] - box[1])
    turned = crop.transform(size, Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC)
    return np.asarray(turned).astype(np.float32)
