"""A rendered face pasted into a picture (StyleFaceUV section 4.2): with the paper's hard edge, or fading into the picture."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from scipy import ndimage
from torch import Tensor

from renderers.errors import InputError
from renderers.images import to_signed

Seam = Literal["soft", "hard"]

# Share of the picture's height over which a soft seam fades. The paper pastes with a hard edge, shows seams and leaves compositing
# open; the width is our choice.
FADE = 1 / 16


def paste_face(
    pictures: Float[Tensor, "batch 3 height width"],
    faces: Float[Tensor, "batch 3 rows columns"],
    coverage: Float[Tensor, "batch 1 rows columns"],
    seam: Seam = "soft",
    fade: float = FADE,
) -> Float[Tensor, "batch 3 height width"]:
    """Paste faces over pictures.

    Args:
        pictures: RGB in [-1, 1].
        faces: RGB in [0, 1] in the pictures' size, black beside the face, as renderers draw them; where pixels are averages of finer
            ones, so are these.
        coverage: Share of each pixel that the face covers: the mask of a render, or an average of it.
        seam: "hard" shows the face wherever it is, as the paper's figures do; "soft" lets it fade into the picture towards its rim.
        fade: Share of the height over which a soft seam fades.

    Returns:
        RGB in [-1, 1]: the pictures where no face is.

    Raises:
        InputError: for faces of another size than the pictures, another seam, and a fade that is not above 0.
    """
    if seam not in ("soft", "hard"):
        raise InputError(f"expected a soft or a hard seam, got {seam!r}; choose one of the two")
    if faces.shape != pictures.shape or coverage.shape != (len(faces), 1, *faces.shape[2:]):
        raise InputError(
            f"expected faces and coverage of the pictures' size {tuple(pictures.shape)}, got {tuple(faces.shape)} and "
            f"{tuple(coverage.shape)}; draw them in that size"
        )
    weight = coverage if seam == "hard" else coverage * fading(coverage, fade)
    # Colours of a pixel that the face covers in part are those of that part.
    colours = to_signed(faces / torch.where(coverage > 0, coverage, 1.0))
    return pictures + weight * (colours - pictures)


def fading(
    coverage: Float[Tensor, "batch 1 height width"], fade: float = FADE
) -> Float[Tensor, "batch 1 height width"]:
    """Weights that rise smoothly from 0 at the rim of a face to 1 inside it. Where it leaves the picture there is no rim.

    Args:
        coverage: Share of each pixel that the face covers; one of at least half is inside.
        fade: Share of the height over which weights rise, a pixel at least.

    Raises:
        InputError: for a fade that is not above 0.
    """
    if not fade > 0:
        raise InputError(
            f"expected a seam that fades over a share of the height above 0, got {fade}; paste with a hard seam instead"
        )
    width = max(1.0, fade * coverage.shape[2])
    inside = (coverage[:, 0] >= 0.5).cpu().numpy()
    # A mask without an outside has no distances to it.
    distances = [
        ndimage.distance_transform_edt(mask) if not mask.all() else np.full(mask.shape, np.inf) for mask in inside
    ]
    # The rim runs half a pixel outside the centres of the outermost pixels.
    share = ((torch.from_numpy(np.stack(distances)).to(coverage) - 0.5) / width).clamp(0, 1)
    return (share * share * (3 - 2 * share)).unsqueeze(1)
