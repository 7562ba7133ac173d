"""LiftedGAN (Shi et al., CVPR 2021): a StyleGAN2 lifted to depth, albedo, light, view and transformation map."""

from models.lifted_gan.frames import Lighting, Pose, light_of, lighting_of, pose_of_view, view_of_pose
from models.lifted_gan.model import KIND, LiftedGAN, LiftedOutput, LiftedRender
from models.lifted_gan.networks import LiftedNetworks
from models.lifted_gan.official import load_official
from models.lifted_gan.settings import LiftedSettings

__all__ = [
    "KIND",
    "LiftedGAN",
    "LiftedNetworks",
    "LiftedOutput",
    "LiftedRender",
    "LiftedSettings",
    "Lighting",
    "Pose",
    "light_of",
    "lighting_of",
    "load_official",
    "pose_of_view",
    "view_of_pose",
]
