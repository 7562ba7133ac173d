"""StyleRig (Tewari et al., CVPR 2020): face reconstruction from latent codes and the rig network that edits them."""

from models.stylerig.face_encoder import FaceEncoder, PictureReconstruction
from models.stylerig.face_reconstruction import FaceReconstruction
from models.stylerig.loading import load_face_reconstruction, load_rig_network
from models.stylerig.parameter_reader import ParameterReader, read_pictured
from models.stylerig.provenance import Provenance, face_model_signature
from models.stylerig.rig_network import CONTROLLABLE, RigNetwork, preserved_components, sources_of
from models.stylerig.rignet import RigNet
from models.stylerig.sources import RigSources
from models.stylerig.statistics import ParameterStatistics
from models.stylerig.steering import SteeringNetwork

__all__ = [
    "CONTROLLABLE",
    "FaceEncoder",
    "FaceReconstruction",
    "ParameterReader",
    "ParameterStatistics",
    "PictureReconstruction",
    "Provenance",
    "RigNet",
    "RigNetwork",
    "RigSources",
    "SteeringNetwork",
    "face_model_signature",
    "load_face_reconstruction",
    "load_rig_network",
    "preserved_components",
    "read_pictured",
    "sources_of",
]
