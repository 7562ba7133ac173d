"""StyleRig (Tewari et al., CVPR 2020): face reconstruction from latent codes and the rig network that edits them."""

from models.stylerig.face_reconstruction import FaceReconstruction
from models.stylerig.provenance import Provenance, face_model_signature
from models.stylerig.rignet import CONTROLLABLE, RigNet, preserved_components
from models.stylerig.statistics import ParameterStatistics

__all__ = [
    "CONTROLLABLE",
    "FaceReconstruction",
    "ParameterStatistics",
    "Provenance",
    "RigNet",
    "face_model_signature",
    "preserved_components",
]
