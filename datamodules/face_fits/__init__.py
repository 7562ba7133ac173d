"""Face parameters of many pictures, fitted in batches, and the files that they are kept in."""

from datamodules.face_fits.fitting import FAILURES, FaceFits, fit_faces
from datamodules.face_fits.objective import FaceFitSettings, FitRates, FitWeights
from datamodules.face_fits.runs import fit_missing
from datamodules.face_fits.scene import FitScene
from datamodules.face_fits.shards import FitPlan, FittedFaces, load_fitted_faces
from datamodules.face_fits.sources import FolderFaces, GeneratedFaces

__all__ = [
    "FAILURES",
    "FaceFitSettings",
    "FaceFits",
    "FitPlan",
    "FitRates",
    "FitScene",
    "FitWeights",
    "FittedFaces",
    "FolderFaces",
    "GeneratedFaces",
    "fit_faces",
    "fit_missing",
    "load_fitted_faces",
]
