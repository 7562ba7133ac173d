"""Who is in a portrait, as a unit vector: our own narrow network, and facenet-pytorch's with the user's weights."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from models.observers.blocks import ResidualTrunk
from models.observers.cropping import central_boxes, checked_crop, crop_and_resize

# ResNet-18 (He et al. 2016, table 1): two basic blocks in each of four stages, each stage twice as wide as the last.
RESNET18_BLOCKS = (2, 2, 2, 2)
# facenet-pytorch, README: the published weights were trained on 160-px crops standardised as (0..255 - 127.5) / 128.
FACENET_SIZE = 160
FACENET_SCALE = 127.5 / 128
# Chosen by us: the part (left, top, right, bottom) of an FFHQ-like aligned portrait that holds forehead to chin; then
# identity does not hang on hair and background. The crops of face detectors, which facenet was trained on, are alike.
FACE_CROP = (0.15, 0.15, 0.85, 0.95)


class IdentityNet(nn.Module):
    """Images in [-1, 1] to unit vectors; people are compared by the cosine.

    Args:
        embedding_dim: length of the vector.
        base_width: channels of the first stage; ResNet-18 proper has 64.
        working_size: side in pixels that the crop is resized to.
        crop: the part of the picture to look at, as fractions (left, top, right, bottom).
    """

    kind = "identity-net"

    def __init__(
        self,
        embedding_dim: int = 128,
        base_width: int = 20,
        working_size: int = 64,
        crop: Sequence[float] = FACE_CROP,
    ) -> None:
        super().__init__()
        self.embedding_dim = embedding_dim
        self.base_width = base_width
        self.working_size = working_size
        self.crop = checked_crop(crop)
        widths = tuple(base_width * 2**stage for stage in range(len(RESNET18_BLOCKS)))
        self.trunk = ResidualTrunk(widths, RESNET18_BLOCKS)
        self.embed = nn.Sequential(nn.Linear(widths[-1], embedding_dim, bias=False), nn.BatchNorm1d(embedding_dim))

    @property
    def config(self) -> dict[str, Any]:
        """Constructor arguments, as plain values."""
        return {
            "embedding_dim": self.embedding_dim,
            "base_width": self.base_width,
            "working_size": self.working_size,
            "crop": list(self.crop),
        }

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch embedding"]:
        """Unit-norm embeddings, float32, of images (B, 3, H, W) in [-1, 1] of any size."""
        crops = crop_and_resize(images, central_boxes(images, self.crop), self.working_size)
        features = self.trunk(crops).mean(dim=(-2, -1))
        return functional.normalize(self.embed(features).float(), dim=-1)


class FacenetIdentity(nn.Module):
    """facenet-pytorch's InceptionResnetV1 behind the interface of `IdentityNet`.

    Args:
        network: an `InceptionResnetV1` that returns unit-norm 512-vectors of 160-px crops.
        crop: the part of the picture to look at, as fractions (left, top, right, bottom).
    """

    embedding_dim = 512

    def __init__(self, network: nn.Module, crop: Sequence[float] = FACE_CROP) -> None:
        super().__init__()
        self.network = network
        self.crop = checked_crop(crop)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 512"]:
        """Unit-norm embeddings of images (B, 3, H, W) in [-1, 1]."""
        crops = crop_and_resize(images, central_boxes(images, self.crop), FACENET_SIZE)
        return functional.normalize(self.network(crops * FACENET_SCALE), dim=-1)


def verification_scores(embeddings: Float[Tensor, "samples embedding"], people: Tensor) -> tuple[float, float]:
    """How well cosines tell same from different people, over all pairs of the samples.

    Args:
        embeddings: (N, D) unit vectors.
        people: (N,) integer labels; at least one pair of the same and one of different people.
    Returns: area under the ROC curve, and the best accuracy over thresholds with both kinds of pair weighted alike;
        NaN for both if there is no pair of either kind.
    """
    rows, columns = torch.triu_indices(len(people), len(people), offset=1, device=people.device)
    cosines = (embeddings.double() @ embeddings.double().T)[rows, columns]
    same = (people[rows] == people[columns])[cosines.argsort(descending=True)].double()
    if same.min() == same.max():
        return float("nan"), float("nan")
    hits, false_alarms = same.cumsum(0) / same.sum(), (1 - same).cumsum(0) / (1 - same).sum()
    area = torch.trapezoid(hits, false_alarms)
    return float(area), float((hits + 1 - false_alarms).max() / 2)
