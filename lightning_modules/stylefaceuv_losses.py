"""The losses of StyleFaceUV's UV generator and its discriminator over one or two views (section 3.4)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_modules.stylefaceuv_settings import UVSettings
from lightning_modules.stylefaceuv_views import RenderedView
from models.perceptual import PerceptualLoss
from models.stylegan2.discriminator import Discriminator
from models.stylegan2.losses import discriminator_loss, generator_loss, r1_penalty
from renderers.errors import InputError


def photometric_loss(
    image: Float[Tensor, "batch 3 height width"],
    target: Float[Tensor, "batch 3 height width"],
    weights: Float[Tensor, "batch 1 height width"],
) -> Float[Tensor, ""]:
    """L_photo of equation 5: squared differences times M_render, over the number of its valid pixels; batch mean.

    Args:
        image: Render in [-1, 1].
        target: Picture in [-1, 1].
        weights: M_render; valid pixels are those above 0.

    Returns:
        The mean over channels, too: the paper leaves its sum or mean and the range of colours open.
    """
    squared = (image - target).square().mean(dim=1, keepdim=True) * weights
    valid = (weights > 0).sum(dim=(1, 2, 3))
    # A face that has left the picture covers no pixel.
    return (squared.sum(dim=(1, 2, 3)) / valid.clamp_min(1)).mean()


class UVLosses(nn.Module):
    """L_G and L_D of equations 3 to 9.

    Args:
        settings: Their weights.
        perceptual: L_percept; None where its weight is 0.

    Raises:
        InputError: for a weight without a perceptual loss.
    """

    def __init__(self, settings: UVSettings, perceptual: PerceptualLoss | None) -> None:
        super().__init__()
        if settings.perceptual > 0 and perceptual is None:
            raise InputError(
                "expected features for the perceptual loss, got none; name a VGG-16 weights file, or set settings.perceptual to 0"
            )
        self.settings = settings
        self.perceptual = perceptual

    def reconstruction(self, view: RenderedView) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """L_photo and L_percept of a view.

        Features are of pictures that are black beside the face: the paper does not say how M_render enters them.
        """
        photometric = photometric_loss(view.image, view.target, view.weights)
        if self.perceptual is None or self.settings.perceptual == 0:
            return photometric, torch.zeros_like(photometric)
        return photometric, self.perceptual(view.image, view.target).mean()

    def generator(self, discriminator: Discriminator, views: Sequence[RenderedView]) -> dict[str, Float[Tensor, ""]]:
        """L_G^mv of equation 8.

        Returns:
            `loss`, and without weights `photometric`, `perceptual`, and where they weigh something `displacement` and `adversarial`, of
            the original view; those of the symmetric view end in `_symmetric`.
        """
        settings = self.settings
        results: dict[str, Tensor] = {}
        totals: list[Tensor] = []
        for view, weight, suffix in self._weighted(views):
            photometric, perceptual = self.reconstruction(view)
            total = settings.reconstruction * (photometric + settings.perceptual * perceptual)
            results |= {f"photometric{suffix}": photometric, f"perceptual{suffix}": perceptual}
            if settings.displacement > 0:
                size = view.displacement.square().mean()
                total = total + settings.displacement * size
                results[f"displacement{suffix}"] = size
            if settings.adversarial > 0:
                adversarial = generator_loss(discriminator(view.image))
                total = total + settings.adversarial * adversarial
                results[f"adversarial{suffix}"] = adversarial
            totals.append(weight * total)
        return {"loss": torch.stack(totals).sum(), **results}

    def discriminator(
        self, discriminator: Discriminator, views: Sequence[RenderedView], penalised: bool
    ) -> dict[str, Float[Tensor, ""]]:
        """L_D^mv of equation 9: it tells targets times rendered masks from renders.

        Args:
            discriminator: D.
            views: Without gradients.
            penalised: Whether this step has the R1 penalty, which then weighs `r1_interval` times as much.

        Returns:
            `loss`, and without weights `logistic` and, where penalised, `r1`, sums over the views by their weights.
        """
        settings = self.settings
        logistic, penalties = [], []
        for view, weight, _ in self._weighted(views):
            logistic.append(weight * discriminator_loss(discriminator(view.target), discriminator(view.image)))
            if penalised:
                penalties.append(weight * r1_penalty(discriminator, view.target))
        results = {"logistic": torch.stack(logistic).sum()}
        loss = results["logistic"]
        if penalised:
            results["r1"] = torch.stack(penalties).sum()
            loss = loss + settings.r1_gamma / 2 * settings.r1_interval * results["r1"]
        return {"loss": loss, **results}

    def _weighted(self, views: Sequence[RenderedView]) -> list[tuple[RenderedView, float, str]]:
        """Views with their weights and the ends of their names."""
        return list(zip(views, (1.0, self.settings.symmetric), ("", "_symmetric"), strict=False))
