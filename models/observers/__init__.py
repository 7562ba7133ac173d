"""Networks that look at pictures: landmarks, identity, and the judge that only measures."""

from models.observers.face_api import FaceApiLandmarks, load_face_api
from models.observers.identity import FacenetIdentity, IdentityNet, verification_scores
from models.observers.judge import JUDGED_COMPONENTS, Judge, JudgeReading
from models.observers.landmarks import LandmarkNet
from models.observers.loading import load_identity, load_judge, load_landmarker, save_observer

__all__ = [
    "JUDGED_COMPONENTS",
    "FaceApiLandmarks",
    "FacenetIdentity",
    "IdentityNet",
    "Judge",
    "JudgeReading",
    "LandmarkNet",
    "load_face_api",
    "load_identity",
    "load_judge",
    "load_landmarker",
    "save_observer",
    "verification_scores",
]
