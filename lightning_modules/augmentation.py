"""What pictures of other origin differ by: random place, size, colour, blur and noise, drawn per picture of a batch."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from models.landmark_order import MIRRORED_LANDMARKS
from renderers.errors import InputError


class ImageAugmentation(nn.Module):
    """Random changes, drawn per picture from torch's global generator. All strengths are chosen by us.

    Args:
        flip: probability of a mirror image. The 68 landmarks are renamed with it; other truth is not, so it must be 0
            where such truth is learnt.
        rotation: largest rotation in the picture's plane, degrees; with other truth than landmarks it must be 0, too.
        scale: largest change of size, as a fraction.
        shift: largest shift, as a fraction of the picture.
        colour: largest change of brightness, contrast, saturation and of each channel's gain, as a fraction.
        blur: probability of losing detail (up to half the resolution).
        noise: largest standard deviation of Gaussian noise, in units of the [-1, 1] range.
    """

    def __init__(
        self,
        flip: float = 0.0,
        rotation: float = 0.0,
        scale: float = 0.0,
        shift: float = 0.0,
        colour: float = 0.0,
        blur: float = 0.0,
        noise: float = 0.0,
    ) -> None:
        super().__init__()
        self.flip = flip
        self.rotation = rotation
        self.scale = scale
        self.shift = shift
        self.colour = colour
        self.blur = blur
        self.noise = noise

    @torch.no_grad()
    def forward(
        self, images: Float[Tensor, "batch 3 size size"], landmarks: Float[Tensor, "batch 68 2"] | None = None
    ) -> tuple[Float[Tensor, "batch 3 size size"], Float[Tensor, "batch 68 2"] | None]:
        """Changed images in [-1, 1], and where their landmarks (pixels) went.

        Raises: `InputError` if mirrored landmarks are asked for that are not the usual 68.
        """
        if landmarks is not None and landmarks.shape[1] != len(MIRRORED_LANDMARKS):
            raise InputError(
                f"expected the usual {len(MIRRORED_LANDMARKS)} landmarks, got {landmarks.shape[1]}; train on those"
            )
        # No autocast: coordinates in bfloat16 are off by whole pixels.
        with torch.autocast(images.device.type, enabled=False):
            images, landmarks = self._move(images.float(), landmarks)
            return self._degrade(self._recolour(images)).clamp(-1, 1), landmarks

    def _signed(self, images: Tensor, largest: float) -> Tensor:
        """One number per picture, uniform in [-largest, largest]."""
        return (torch.rand(images.shape[0], device=images.device) * 2 - 1) * largest

    def _move(self, images: Tensor, landmarks: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if not (self.flip or self.rotation or self.scale or self.shift):
            return images, landmarks
        mirrored = torch.rand(images.shape[0], device=images.device) < self.flip
        angle = self._signed(images, math.radians(self.rotation))
        size = 1 + self._signed(images, self.scale)
        sign = torch.where(mirrored, -1.0, 1.0)
        # Takes (x, y) in [-1, 1] of the new picture to the old one, as affine_grid wants it.
        linear = torch.stack([sign * angle.cos(), -sign * angle.sin(), angle.sin(), angle.cos()], dim=-1)
        linear = linear.view(-1, 2, 2) / size[:, None, None]
        offset = torch.stack([self._signed(images, 2 * self.shift), self._signed(images, 2 * self.shift)], dim=-1)
        grid = functional.affine_grid(
            torch.cat([linear, offset[..., None]], dim=-1), list(images.shape), align_corners=False
        )
        moved = functional.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
        if landmarks is None:
            return moved, None
        half = images.shape[-1] / 2
        old = landmarks / half - 1
        new = torch.linalg.solve(linear[:, None], (old - offset[:, None])[..., None])[..., 0]
        order = torch.tensor(MIRRORED_LANDMARKS, device=landmarks.device)
        new = torch.where(mirrored[:, None, None], new[:, order], new)
        return moved, (new + 1) * half

    def _recolour(self, images: Tensor) -> Tensor:
        if not self.colour:
            return images
        grey = images.mean(dim=1, keepdim=True)
        images = grey + (images - grey) * (1 + self._signed(images, self.colour))[:, None, None, None]
        level = images.mean(dim=(1, 2, 3), keepdim=True)
        images = level + (images - level) * (1 + self._signed(images, self.colour))[:, None, None, None]
        gains = 1 + (torch.rand(images.shape[0], 3, 1, 1, device=images.device) * 2 - 1) * self.colour / 2
        brightness = self._signed(images, self.colour)[:, None, None, None]
        return (images + 1) * gains - 1 + brightness

    def _degrade(self, images: Tensor) -> Tensor:
        if self.blur:
            small = functional.avg_pool2d(images, 2)
            soft = functional.interpolate(small, size=images.shape[-2:], mode="bilinear", align_corners=False)
            amount = torch.rand(images.shape[0], 1, 1, 1, device=images.device)
            chosen = torch.rand_like(amount) < self.blur
            images = torch.lerp(images, soft, amount * chosen)
        if self.noise:
            amount = torch.rand(images.shape[0], 1, 1, 1, device=images.device) * self.noise
            images = images + torch.randn_like(images) * amount
        return images
