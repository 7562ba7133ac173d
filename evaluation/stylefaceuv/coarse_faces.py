"""Fig. 1 of StyleFaceUV: faces of the coefficients alone beside the pictures of their codes, and the detailed faces that they become."""

import torch

from evaluation.figures import Cell, Figure
from evaluation.report import picture_grid, to_picture
from evaluation.stylefaceuv.measures import common_mask, pasted
from evaluation.stylefaceuv.under_test import COARSE, DETAILED, ORIGINAL, FacesUnderTest
from lightning_modules.image_error import masked_psnr
from renderers.images import to_signed, to_unit

NAME = "stylefaceuv_coarse_faces"
# Pixels of a picture in a grid.
SIZE = 112


@torch.no_grad()
def coarse_faces_figure(tested: FacesUnderTest, shown: int) -> Figure:
    """A code a column: its picture, the coarse and the detailed face, both pasted into the picture, and the detailed shape.

    Args:
        tested: The UV generator.
        shown: Codes.
    """
    original = tested.posed(tested.unseen_codes(shown))[ORIGINAL]
    renders = tested.renders(original, original)
    coarse, detailed = renders[COARSE], renders[DETAILED]
    shape = tested.shape_picture(original.parameters, tested.maps(tested.faces.network, original, original))
    rows = {
        "picture": original.target,
        "coarse": to_signed(coarse.image + 1 - coarse.mask),
        "detailed": to_signed(detailed.image + 1 - detailed.mask),
        "coarse pasted": pasted(original.target, coarse),
        "detailed pasted": pasted(original.target, detailed),
        "detailed shape": shape,
    }
    picture = picture_grid(
        [[to_picture(image, SIZE) for image in images] for images in rows.values()],
        list(rows),
        [f"code {i}" for i in range(shown)],
    )
    mask = common_mask([coarse, detailed])
    target = to_unit(original.target)
    own = tested.embedder(original.target)
    values = [
        value.tolist()
        for render in (coarse, detailed)
        for value in (
            masked_psnr(render.image, target, mask),
            (tested.embedder(pasted(original.target, render)) * own).sum(dim=1),
        )
    ]
    table: tuple[tuple[Cell, ...], ...] = tuple((i, *(value[i] for value in values)) for i in range(shown))
    columns = ("code", "psnr_db_coarse", "identity_cosine_coarse", "psnr_db_detailed", "identity_cosine_detailed")
    caption = (
        "Unseen codes: their pictures, the face of the coefficients, the detailed face of both maps, each pasted into the picture, and "
        "the displaced shape in grey. PSNR where both faces cover the picture; identity as the cosine of embeddings of the picture and "
        "of the picture with the face pasted in."
    )
    return Figure(NAME, "From codes to coarse and detailed faces (Fig. 1)", caption, columns, table, picture)
