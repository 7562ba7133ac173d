"""The five energies of PIE (equations 6 to 15), term by term, for a batch of portraits that have nothing to do with each other."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lightning_modules.pie.settings import EnergyWeights
from lightning_modules.render_loss import RenderLoss, RenderLossWeights
from models.morphable import FaceParameters
from models.observers import FaceEmbedder, LandmarkDetector
from models.perceptual import PerceptualLoss
from models.stylegan2 import Generator
from models.stylerig import RigNetwork
from models.stylerig.face_encoder import FaceEncoder
from renderers.face_renderer import FaceRenderer

# Colours of the published sums are 0..255; those of the rerendering loss are 0..1.
_LEVELS = 255.0


class PieTarget(NamedTuple):
    """A batch of portraits to embed, and what is read of them once.

    Attributes:
        images: (B, 3, S, S) I, in [-1, 1], at the generator's resolution.
        landmarks: (B, 68, 2) L_I in their pixels.
        parameters: (B, total) packed theta_I.
        rendering: Target of `RenderLoss`: pixels at its size and its 66 landmarks.
        features: Phi(I), feature maps; none where no weight asks for them.
        embedding: (B, D) Psi(I); None where no weight asks for it.
    """

    images: Float[Tensor, "batch 3 size size"]
    landmarks: Float[Tensor, "batch 68 2"]
    parameters: Float[Tensor, "batch total"]
    rendering: tuple[Tensor, Tensor]
    features: list[Tensor]
    embedding: Float[Tensor, "batch embedding"] | None


class PieSample(NamedTuple):
    """Fresh codes v, one for each portrait, by which edits are asked.

    Attributes:
        parameters: (B, total) packed theta_v = MoFA(I_v).
        rendering: Target of `RenderLoss` of I_v.
    """

    parameters: Float[Tensor, "batch total"]
    rendering: tuple[Tensor, Tensor]


class PieEnergies(nn.Module):
    """E(w), whose terms carry the names of `EnergyWeights`.

    Args:
        generator: stylegan.
        network: rignet, which controls one component tau.
        encoder: MoFA.
        landmarker: Reads L_I and L_{I_v}.
        renderer: Draws I(theta).
        weights: A term of weight 0 is not computed.
        perceptual: Compares Phi; needed where its weight is above 0.
        embedder: Psi; needed where a recognition term has a weight above 0.
        robust_landmarks: See `RenderLossWeights`.
    """

    def __init__(
        self,
        generator: Generator,
        network: RigNetwork,
        encoder: FaceEncoder,
        landmarker: LandmarkDetector,
        renderer: FaceRenderer,
        weights: EnergyWeights,
        perceptual: PerceptualLoss | None,
        embedder: FaceEmbedder | None,
        robust_landmarks: float | None = None,
    ) -> None:
        super().__init__()
        self.generator, self.network, self.encoder, self.landmarker = generator, network, encoder, landmarker
        self.perceptual, self.embedder, self.weights = perceptual, embedder, weights
        # The published sums count colours in 0..255, RenderLoss in 0..1.
        photometric = weights.photometric * (1.0 if weights.normalised else _LEVELS**2)
        self.loss = RenderLoss(
            renderer,
            RenderLossWeights(weights.landmark, photometric, weights.normalised, robust_landmarks=robust_landmarks),
        )

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the terms whose weight is above 0."""
        names = ("pixels", "perceptual", "identity", "edit", "invariance", "recognition", "edited_recognition")
        return tuple(name for name in names if getattr(self.weights, name) > 0)

    @torch.no_grad()
    def target(self, images: Float[Tensor, "batch 3 size size"]) -> PieTarget:
        """What is read once of portraits in [-1, 1]."""
        landmarks = self.landmarker(images)
        return PieTarget(
            images,
            landmarks,
            self.encoder(images),
            self.loss.targets(images, landmarks),
            self._features(images) if self.weights.perceptual > 0 else [],
            self._embedding(images) if "recognition" in self.terms or "edited_recognition" in self.terms else None,
        )

    @torch.no_grad()
    def sample(self, codes: Float[Tensor, "batch layers width"]) -> PieSample:
        """theta_v and I_v of codes v."""
        images = self.generator.synthesis(codes, noise="const").clamp(-1, 1)
        return PieSample(self.encoder(images), self.loss.targets(images, self.landmarker(images)))

    def forward(
        self, codes: Float[Tensor, "batch layers width"], target: PieTarget, sample: PieSample | None
    ) -> dict[str, Float[Tensor, " batch"]]:
        """The terms of each portrait, unweighted, and their weighted sum `total`.

        Args:
            codes: w, as W+ codes whichever space is optimised.
            target: From `target`.
            sample: From `sample`; may be None where no term samples edits.
        """
        weights = self.weights
        # Not clamped, as the generator's own range is what the photo is compared with; networks see what is shown.
        image = self.generator.synthesis(codes, noise="const")
        energies = self.synthesis(image, target)
        if weights.recognition > 0:
            energies["recognition"] = self.recognition(image, target)
        if weights.uses_rig:
            own = self.encoder(image.clamp(-1, 1))
        if weights.identity > 0:
            energies["identity"] = self.identity(codes, own)
        if weights.samples_edits:
            assert sample is not None
            # The network reads theta^tau alone; the rest is what is there.
            asked = self._replaced(own, sample.parameters)
            edited = self.network.edit(codes, own, asked)
            picture = self.generator.synthesis(edited, noise="const").clamp(-1, 1)
            if weights.edit > 0 or weights.invariance > 0:
                achieved = self.encoder(picture)
            if weights.edit > 0:
                energies["edit"] = self.edit(achieved, sample)
            if weights.invariance > 0:
                energies["invariance"] = self.invariance(achieved, target)
            if weights.edited_recognition > 0:
                energies["edited_recognition"] = self.recognition(picture, target)
        weighted = [getattr(weights, name) * value for name, value in energies.items()]
        return {**energies, "total": torch.stack(weighted).sum(dim=0)}

    def synthesis(
        self, image: Float[Tensor, "batch 3 size size"], target: PieTarget
    ) -> dict[str, Float[Tensor, " batch"]]:
        """E_syn (7): || I - I(w) ||^2 and || Phi(I) - Phi(I(w)) ||^2, those of weight above 0."""
        energies = {}
        if self.weights.pixels > 0:
            squared = ((image - target.images) / 2).square().sum(dim=1).flatten(1)
            energies["pixels"] = squared.mean(dim=1) if self.weights.normalised else squared.sum(dim=1) * _LEVELS**2
        if self.weights.perceptual > 0:
            assert self.perceptual is not None
            energies["perceptual"] = self.perceptual.distance(self._features(image), target.features)
        return energies

    def identity(
        self, codes: Float[Tensor, "batch layers width"], own: Float[Tensor, "batch total"]
    ) -> Float[Tensor, " batch"]:
        """E_id (8): || w - rignet(w, theta^tau(w)) ||^2."""
        squared = (codes - self.network.edit(codes, own, own)).square().sum(dim=(1, 2))
        return (
            squared / (codes[0].numel() * self.generator.std_w.square().mean()) if self.weights.normalised else squared
        )

    def edit(self, achieved: Float[Tensor, "batch total"], sample: PieSample) -> Float[Tensor, " batch"]:
        """E_edit (11): l(I_v, [theta_v^taubar, theta^tau(rignet(w, theta_v^tau))])."""
        return self._rerendering(sample.rendering, self._replaced(sample.parameters, achieved))

    def invariance(self, achieved: Float[Tensor, "batch total"], target: PieTarget) -> Float[Tensor, " batch"]:
        """E_inv (13): l(I, [theta^taubar(rignet(w, theta_v^tau)), theta_I^tau])."""
        return self._rerendering(target.rendering, self._replaced(achieved, target.parameters))

    def recognition(self, image: Float[Tensor, "batch 3 size size"], target: PieTarget) -> Float[Tensor, " batch"]:
        """l_recog (14): || Psi(I) - Psi(picture) ||^2; of unit vectors, so from 0 to 4."""
        assert target.embedding is not None
        return (self._embedding(image.clamp(-1, 1)) - target.embedding).square().sum(dim=1)

    def _rerendering(self, target: tuple[Tensor, Tensor], parameters: Tensor) -> Float[Tensor, " batch"]:
        """l (10); NaN for parameters that are not finite: the renderer refuses them, and those of one portrait are to stop no other."""
        finite = torch.isfinite(parameters).all(dim=1)
        drawn = torch.where(finite[:, None], parameters, torch.zeros_like(parameters))
        return torch.where(finite, self.loss.of_each(*target, self._unpacked(drawn)).total, torch.nan)

    def _replaced(self, parameters: Tensor, by: Tensor) -> Float[Tensor, "batch total"]:
        """[parameters^taubar, by^tau], packed."""
        return self._unpacked(parameters).with_components_from(self._unpacked(by), self.network.components).pack()

    def _unpacked(self, parameters: Tensor) -> FaceParameters:
        return FaceParameters.unpack(parameters, self.encoder.sizes)

    def _features(self, images: Tensor) -> list[Tensor]:
        assert self.perceptual is not None
        return self.perceptual.feature_maps(images)

    def _embedding(self, images: Tensor) -> Tensor:
        assert self.embedder is not None
        return self.embedder(images)
