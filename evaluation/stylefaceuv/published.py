"""What the papers print, for tables and figures here to be read beside.

StyleFaceUV's own table of Fréchet inception distances is not among it: its text is at hand up to section 4.3, where that table is
announced. LiftedGAN's are those of a method that StyleFaceUV compares itself with.
"""

from typing import NamedTuple

# Fig. 4: from left to right.
FIG_4_YAWS_DEG = (-60.0, -30.0, -15.0, 0.0, 15.0, 30.0, 60.0)


class PublishedFid(NamedTuple):
    """A Fréchet inception distance to FFHQ.

    Attributes:
        fid: Lower is better.
        source: Paper, table, and what it was measured on.
    """

    fid: float
    source: str


_TABLE_2, _TABLE_5 = "LiftedGAN, Table 2", "LiftedGAN, Table 5: random poses"
FID = {
    "StyleGAN2": PublishedFid(12.72, _TABLE_2),
    "LiftedGAN": PublishedFid(29.81, _TABLE_5),
    "HoloGAN": PublishedFid(100.28, _TABLE_5),
    "DiscoFaceGAN": PublishedFid(12.90, _TABLE_5),
    "CONFIGNet": PublishedFid(43.05, _TABLE_5),
}
