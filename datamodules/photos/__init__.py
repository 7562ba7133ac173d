"""Photographs: decoded, their faces found and cut out as FFHQ does it, and edits pasted back."""

from datamodules.photos.aligner import AlignSettings, Outcome
from datamodules.photos.alignment import AlignedCrop, crop_quad
from datamodules.photos.decoding import Photo, decode_photo, list_photos
from datamodules.photos.detection import Detection, FaceDetector, read_landmarks
from datamodules.photos.pasting import paste_back
from datamodules.photos.pipeline import align_photos
from datamodules.photos.records import FaceTransform, PhotoRecord, read_record, read_transform

__all__ = [
    "AlignSettings",
    "AlignedCrop",
    "Detection",
    "FaceDetector",
    "FaceTransform",
    "Outcome",
    "Photo",
    "PhotoRecord",
    "align_photos",
    "crop_quad",
    "decode_photo",
    "list_photos",
    "paste_back",
    "read_landmarks",
    "read_record",
    "read_transform",
]
