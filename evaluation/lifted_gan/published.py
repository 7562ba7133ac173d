"""What LiftedGAN's paper prints, for tables and figures here to be read beside."""

import math
from typing import NamedTuple

from evaluation.stylefaceuv.published import FID

# Names of the ablations of Table 2, as tables here have them.
PROPOSED = "LiftedGAN"
NO_FLIP, NO_PERTURBATION, NO_IDENTITY, NO_ALBEDO = "no_flip", "no_perturbation", "no_identity", "no_albedo"
WU = "Wu et al."

# Angles from left to right: Fig. 12 and 14, whose captions print the fourth yaw without its sign, and Fig. 13 and 15.
YAWS_DEG = (-60.0, -45.0, -30.0, -15.0, 0.0, 15.0, 30.0, 45.0, 60.0)
PITCHES_DEG = (-30.0, -20.0, -10.0, 0.0, 10.0, 20.0, 30.0)


class PublishedErrors(NamedTuple):
    """A row of Table 2.

    Attributes:
        fid: Fréchet inception distance to FFHQ; NaN where the table has none.
        depth: Distance of normalised depth maps, over 1,000 pictures of the 2D generator, from those of a 3D reconstruction network.
        yaw_deg, pitch_deg, roll_deg: Errors of angles less their means, likewise.
    """

    fid: float
    depth: float
    yaw_deg: float
    pitch_deg: float
    roll_deg: float


TABLE_2 = {
    WU: PublishedErrors(math.nan, 0.472, 2.78, 4.55, 0.75),
    NO_FLIP: PublishedErrors(28.69, 0.623, 9.37, 5.34, 0.91),
    NO_PERTURBATION: PublishedErrors(21.30, 0.548, 2.68, 5.03, 1.02),
    NO_IDENTITY: PublishedErrors(30.63, 0.498, 1.82, 4.66, 1.15),
    NO_ALBEDO: PublishedErrors(27.34, 0.467, 1.89, 4.81, 1.06),
    PROPOSED: PublishedErrors(FID["LiftedGAN"].fid, 0.435, 1.86, 4.77, 1.07),
}
