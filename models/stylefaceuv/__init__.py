"""StyleFaceUV (Chung et al., BMVC 2022): a StyleGAN2 code becomes a detailed, textured face mesh."""

from models.stylefaceuv.coefficients import CodeCoefficients
from models.stylefaceuv.official import OfficialNetwork, load_official
from models.stylefaceuv.perceptron import PUBLISHED_HIDDEN, RELEASED_HIDDEN
from models.stylefaceuv.step_size import MirrorStep, StepSize, YawStep

__all__ = [
    "PUBLISHED_HIDDEN",
    "RELEASED_HIDDEN",
    "CodeCoefficients",
    "MirrorStep",
    "OfficialNetwork",
    "StepSize",
    "YawStep",
    "load_official",
]
