"""68 landmarks of a portrait by a small convolutional network, differentiable in the picture."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from models.observers.blocks import ConvNormReLU, ResidualBlock
from models.observers.cropping import resize_square
from models.observers.interfaces import LandmarkDetector, SavedNetwork


class LandmarkNet(SavedNetwork, LandmarkDetector):
    """Images in [-1, 1] to landmarks in pixels of the given image.

    The picture is resized to `working_size`. Two strided convolutions and residual blocks make features at a quarter of
    that size, deeper ones at an eighth see the whole face and are added back. At every cell of the finer grid the
    network gives, per landmark, a weight (softmax over all cells) and an offset; the landmark is the weighted mean of
    cell centre plus offset. So it is sub-pixel, may lie outside the picture, and moves smoothly with it (integral
    regression, Sun et al. 2018, equation 2, with offsets).

    Args:
        working_size: side in pixels of what the network sees; a multiple of 8.
        widths: channels at a half, a quarter and an eighth of the working size.
        blocks: residual blocks at a quarter and at an eighth.
        num_landmarks: points per face.
    """

    kind = "landmark-net"
    differentiable = True

    def __init__(
        self,
        working_size: int = 64,
        widths: Sequence[int] = (24, 48, 88),
        blocks: Sequence[int] = (2, 2),
        num_landmarks: int = 68,
    ) -> None:
        super().__init__()
        self.working_size = working_size
        self.widths = tuple(widths)
        self.blocks = tuple(blocks)
        self.num_landmarks = num_landmarks
        entry, fine, coarse = self.widths
        self.stem = nn.Sequential(
            ConvNormReLU(3, entry, stride=2),
            ConvNormReLU(entry, fine, stride=2),
            *(ResidualBlock(fine, fine) for _ in range(self.blocks[0])),
        )
        self.context = nn.Sequential(
            ConvNormReLU(fine, coarse, stride=2),
            *(ResidualBlock(coarse, coarse) for _ in range(self.blocks[1])),
            nn.Conv2d(coarse, fine, kernel_size=1),
        )
        self.head = nn.Sequential(ConvNormReLU(fine, fine), nn.Conv2d(fine, 3 * num_landmarks, kernel_size=1))

    def feature_maps(self, images: Float[Tensor, "batch 3 size size"]) -> list[Tensor]:
        """Feature maps at a half, a quarter and an eighth of the working size, of images (B, 3, S, S) in [-1, 1].

        Raises: `InputError` unless the images are square RGB.
        """
        # Channels-last is faster on CPUs and what mixed precision wants on GPUs.
        resized = resize_square(images, self.working_size).contiguous(memory_format=torch.channels_last)
        half = self.stem[0](resized)
        quarter = self.stem[1:](half)
        return [half, quarter, self.context[:-1](quarter)]

    def forward(self, images: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch landmarks 2"]:
        """Landmarks (x right, y down) in pixels of `images`; the top left corner is (0, 0).

        Args:
            images: (B, 3, S, S) in [-1, 1], any S.
        Raises: `InputError` unless the images are square RGB.
        """
        _, fine, coarse = self.feature_maps(images)
        context = functional.interpolate(
            self.context[-1](coarse), size=fine.shape[-2:], mode="bilinear", align_corners=False
        )
        # In float32: a softmax mean over cells in bfloat16 would round coordinates to half a pixel.
        maps = self.head(fine + context).float().unflatten(1, (self.num_landmarks, 3))
        weights = maps[:, :, 0].flatten(2).softmax(dim=-1)
        positions = maps[:, :, 1:].flatten(3) + self._cell_centres(fine)
        fractions = (weights[:, :, None] * positions).sum(dim=-1) / fine.shape[-1]
        return fractions * images.shape[-1]

    @staticmethod
    def _cell_centres(features: Tensor) -> Float[Tensor, "2 cells"]:
        """Centres (x, y) of the cells, in cells, row by row."""
        rows, columns = features.shape[-2:]
        y, x = torch.meshgrid(
            torch.arange(rows, device=features.device, dtype=torch.float32) + 0.5,
            torch.arange(columns, device=features.device, dtype=torch.float32) + 0.5,
            indexing="ij",
        )
        return torch.stack([x.flatten(), y.flatten()])
