"""Networks that look at pictures: landmarks, identity, and the judge that only measures."""

from models.observers.face_api import FaceApiLandmarks, load_face_api
from models.observers.facenet import FacenetIdentity, load_facenet
from models.observers.fan import FanLandmarks, load_fan
from models.observers.identity import IdentityNet, verification_scores
from models.observers.interfaces import CropLandmarkDetector, FaceEmbedder, LandmarkDetector, SavedNetwork
from models.observers.judge import JUDGED_COMPONENTS, Judge, JudgeReading
from models.observers.landmarks import LandmarkNet
from models.observers.loading import load_face_embedder, load_judge, load_landmark_detector, save_observer

__all__ = [
    "JUDGED_COMPONENTS",
    "CropLandmarkDetector",
    "FaceApiLandmarks",
    "FaceEmbedder",
    "FacenetIdentity",
    "FanLandmarks",
    "IdentityNet",
    "Judge",
    "JudgeReading",
    "LandmarkDetector",
    "LandmarkNet",
    "SavedNetwork",
    "load_face_api",
    "load_facenet",
    "load_fan",
    "load_face_embedder",
    "load_judge",
    "load_landmark_detector",
    "save_observer",
    "verification_scores",
]
