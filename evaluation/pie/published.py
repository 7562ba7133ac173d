"""Numbers of the PIE paper, which no table here can be without."""

from typing import NamedTuple


class PublishedEdits(NamedTuple):
    """A column of Table 2: means over more than 2500 pose edits of photos at 1024 px.

    Attributes:
        psnr_db, ssim: Of the fit.
        editing_error: Angle between the pose asked for and the one achieved, radians.
        recognition_error: Second term of equation 15, of VGG-Face features in a scale of their own.
    """

    psnr_db: float
    ssim: float
    editing_error: float
    recognition_error: float


# Names of the settings as the paper's Table 2 has them; tables here show them in this order.
SYNTHESIS = "synthesis"
RECOGNITION = "synthesis + recognition"
MODIFICATION = "synthesis + modification"
ALL_TERMS = "all terms (PIE)"
DIRECT = "all terms (direct opt.)"
IMAGE2STYLEGAN = "Image2StyleGAN"

TABLE_2 = {
    SYNTHESIS: PublishedEdits(30.15, 0.70, 0.06, 95.76),
    RECOGNITION: PublishedEdits(29.84, 0.69, 0.11, 43.64),
    MODIFICATION: PublishedEdits(30.15, 0.70, 0.036, 90.10),
    ALL_TERMS: PublishedEdits(29.96, 0.70, 0.08, 42.82),
    DIRECT: PublishedEdits(29.76, 0.69, 0.037, 51.65),
    IMAGE2STYLEGAN: PublishedEdits(31.21, 0.75, 0.07, 275.40),
}


class PublishedReenactment(NamedTuple):
    """A row of Table 3.

    Attributes:
        landmark_error: After 2D Procrustes alignment with scale, pixels.
        self_pairs: Of 31 pictures, those in which landmarks were found.
        recognition_distance: Of dlib's descriptors (King 2009).
        cross_pairs: Of 49 pictures, those in which a face was found.
    """

    landmark_error: float
    self_pairs: int
    recognition_distance: float
    cross_pairs: int


TABLE_3 = {
    "Wiles et al. [2018]": PublishedReenactment(10.9, 22, 0.52, 42),
    "Wang et al. [2019a]": PublishedReenactment(28.19, 24, 0.49, 45),
    "Siarohin et al. [2019]": PublishedReenactment(11.97, 31, 0.51, 46),
    ALL_TERMS: PublishedReenactment(20.12, 31, 0.40, 49),
}

# Section 5.3.2: scale-invariant l2 of the light of reference and result, means over 100 transfers.
RELIGHTING = {ALL_TERMS: 0.34, "Zhou et al. [2019]": 0.36}


def paper_order(label: str) -> int:
    """Place of a setting in Table 2; settings that the paper lacks come after."""
    return list(TABLE_2).index(label) if label in TABLE_2 else len(TABLE_2)
