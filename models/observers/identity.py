"""Who is in a portrait, as a unit vector of our own narrow network; and how well such vectors tell people apart."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.observers.blocks import ResidualTrunk
from models.observers.interfaces import FaceEmbedder, SavedNetwork

# ResNet-18 (He et al. 2016, table 1): two basic blocks in each of four stages, each stage twice as wide as the last.
RESNET18_BLOCKS = (2, 2, 2, 2)
# Chosen by us: the part (left, top, right, bottom) of an FFHQ-like aligned portrait that holds forehead to chin; then
# identity does not hang on hair and background.
FACE_CROP = (0.15, 0.15, 0.85, 0.95)
# Measured by us: MTCNN's boxes on FFHQ-aligned portraits are 0.53 wide and 0.73 high, within 0.03; enlarged by these fractions
# they are as large as that part.
FACE_MARGIN = (0.32, 0.10)


class IdentityNet(SavedNetwork, FaceEmbedder):
    """Images in [-1, 1] to unit vectors; people are compared by the cosine.

    Args:
        embedding_dim: length of the vector.
        base_width: channels of the first stage; ResNet-18 proper has 64.
        working_size: side in pixels that the crop is resized to.
        crop: the part of the picture to look at, as fractions (left, top, right, bottom).
    """

    kind = "identity-net"
    margin = FACE_MARGIN

    def __init__(
        self,
        embedding_dim: int = 128,
        base_width: int = 20,
        working_size: int = 64,
        crop: Sequence[float] = FACE_CROP,
    ) -> None:
        super().__init__(crop, working_size)
        self.embedding_dim = embedding_dim
        self.base_width = base_width
        widths = tuple(base_width * 2**stage for stage in range(len(RESNET18_BLOCKS)))
        self.trunk = ResidualTrunk(widths, RESNET18_BLOCKS)
        self.embed = nn.Sequential(nn.Linear(widths[-1], embedding_dim, bias=False), nn.BatchNorm1d(embedding_dim))

    def feature_maps(self, images: Float[Tensor, "batch 3 height width"]) -> list[Tensor]:
        """Feature maps of the face at the end of every stage, of images (B, 3, H, W) in [-1, 1]; the finest first."""
        return self.trunk.stages(self.face_crops(images))

    def embed_crops(self, crops: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch embedding"]:
        return self.embed(self.trunk(crops).mean(dim=(-2, -1)))


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
