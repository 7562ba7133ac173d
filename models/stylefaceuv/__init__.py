"""StyleFaceUV (Chung et al., BMVC 2022): a StyleGAN2 code becomes a detailed, textured face mesh."""

from models.stylefaceuv.coefficients import CodeCoefficients
from models.stylefaceuv.official import OfficialNetwork, load_official
from models.stylefaceuv.opening import DetailedFaces, open_detailed_faces
from models.stylefaceuv.perceptron import PUBLISHED_HIDDEN, RELEASED_HIDDEN
from models.stylefaceuv.sources import FaceSources
from models.stylefaceuv.step_size import MirrorStep, StepSize, YawStep
from models.stylefaceuv.surface import UVSurface
from models.stylefaceuv.texel_masks import TexelMasks, texel_masks
from models.stylefaceuv.texture_frame import TextureFrame
from models.stylefaceuv.uv_generator import UVGenerator, UVMaps, render_detailed

__all__ = [
    "PUBLISHED_HIDDEN",
    "RELEASED_HIDDEN",
    "CodeCoefficients",
    "DetailedFaces",
    "FaceSources",
    "MirrorStep",
    "OfficialNetwork",
    "StepSize",
    "TexelMasks",
    "TextureFrame",
    "UVGenerator",
    "UVMaps",
    "UVSurface",
    "YawStep",
    "load_official",
    "open_detailed_faces",
    "render_detailed",
    "texel_masks",
]
