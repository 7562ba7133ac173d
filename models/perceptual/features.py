"""What a perceptual loss compares pictures by: feature maps of a frozen network."""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn

from models.observers.identity import IdentityNet
from models.observers.landmarks import LandmarkNet


class FeatureExtractor(nn.Module, ABC):
    """Images to feature maps, frozen and in evaluation mode, differentiable in the images.

    Attributes:
        name: which features these are and where their weights come from; for logs and reports.
    """

    name: str

    def train(self, mode: bool = True) -> "FeatureExtractor":
        """Stay in evaluation mode, whatever holds it: batch statistics would change what pictures are compared by."""
        return super().train(False)

    @abstractmethod
    def forward(self, images: Float[Tensor, "batch 3 size size"]) -> list[Tensor]:
        """Feature maps, each (B, channels, height, width), of square images (B, 3, S, S) in [-1, 1].

        Raises: `InputError` unless the images are square RGB.
        """


class ObserverFeatures(FeatureExtractor):
    """Features of the landmark and the identity network, for where no VGG-16 is at hand.

    They are not the VGG-16 features of the papers: they see where the parts of a face are and whose face it is, at
    64 px in the shipped networks, and little of texture or background. One call costs about as much as reading the
    landmarks and the identity of the pictures.

    Args:
        landmarker: its maps at a half, a quarter and an eighth of its working size see the whole picture.
        identity: its maps at the end of every stage see the face alone (its `crop`).
    """

    def __init__(self, landmarker: LandmarkNet, identity: IdentityNet) -> None:
        super().__init__()
        self.landmarker = landmarker
        self.identity = identity
        self.name = f"observer features ({landmarker.kind} and {identity.kind}, not VGG-16)"
        self.eval().requires_grad_(False)

    def forward(self, images: Float[Tensor, "batch 3 size size"]) -> list[Tensor]:
        return [*self.landmarker.feature_maps(images), *self.identity.feature_maps(images)]
