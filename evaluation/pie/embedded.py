"""What the tables and figures of PIE look at: embedded portraits with the rigs that edit them and the networks that look."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from datamodules.latent_pairs import PairRecipe
from models.morphable import FaceParameters
from models.observers import FaceEmbedder, Judge, LandmarkDetector
from models.portrait_embedding import PortraitEmbedding
from models.stylerig.face_encoder import FaceEncoder
from models.stylerig.opening import OpenedRig
from renderers.errors import InputError


@dataclass(frozen=True)
class EmbeddedPortraits:
    """Embeddings of one setting, all parts on one device and frozen.

    Attributes:
        label: The setting, as tables name it: "all terms (PIE)", "Image2StyleGAN", ...
        embeddings: By name.
        opened: Generator, face model, camera and the rig of one or several networks (pose, expression, illumination) that edits.
        encoder: MoFA, which reads pictures.
        landmarker: 68-landmark network.
        embedder: Psi of the energy; not independent of what is measured.
        judge: Reads pictures and took no part in any training or energy; None where none knows pictures like these.
        recipe: Of codes that targets are taken from; its test split was never trained on, nor drawn in the optimisation.
    """

    label: str
    embeddings: tuple[PortraitEmbedding, ...]
    opened: OpenedRig
    encoder: FaceEncoder
    landmarker: LandmarkDetector
    embedder: FaceEmbedder
    judge: Judge | None
    recipe: PairRecipe

    def __len__(self) -> int:
        return len(self.embeddings)

    @property
    def device(self) -> torch.device:
        """Where all networks are."""
        return self.opened.generator.mean_w.device

    @property
    def codes(self) -> Float[Tensor, "portraits layers width"]:
        """The embeddings' W+ codes."""
        return torch.stack([embedding.w_plus for embedding in self.embeddings]).to(self.device)

    @property
    def portraits(self) -> Float[Tensor, "portraits 3 size size"]:
        """The aligned portraits themselves, I, in [-1, 1]."""
        return torch.stack([embedding.pixels for embedding in self.embeddings]).to(self.device)

    @property
    def parameters(self) -> FaceParameters:
        """theta_I of the portraits, as MoFA read them."""
        packed = torch.stack([embedding.parameters for embedding in self.embeddings])
        return FaceParameters.unpack(packed.to(self.device), self.encoder.sizes)

    def select(self, names: Sequence[str]) -> "EmbeddedPortraits":
        """The embeddings of these names, in this order.

        Raises:
            InputError: for a name that is not there.
        """
        found = {embedding.name: embedding for embedding in self.embeddings}
        missing = [name for name in names if name not in found]
        if missing:
            raise InputError(
                f"expected an embedding of {missing[0]} among those of {self.label}, found none; embed it with this setting, too"
            )
        return replace(self, embeddings=tuple(found[name] for name in names))

    def of_source(self, source: str) -> "EmbeddedPortraits":
        """Those of photos, synthetic portraits or samples alone; perhaps none."""
        return replace(self, embeddings=tuple(each for each in self.embeddings if each.source == source))

    @torch.no_grad()
    def pictures(
        self, codes: Float[Tensor, "batch layers width"], batch_size: int = 50
    ) -> Float[Tensor, "batch 3 size size"]:
        """Pictures of codes, clamped to [-1, 1]."""
        return torch.cat(
            [self.opened.generator.synthesis(part, noise="const").clamp(-1, 1) for part in codes.split(batch_size)]
        )

    @torch.no_grad()
    def read(self, pictures: Float[Tensor, "batch 3 size size"], batch_size: int = 50) -> FaceParameters:
        """What MoFA reads of pictures."""
        return FaceParameters.cat([self.encoder.parameters_of(part) for part in pictures.split(batch_size)])

    @torch.no_grad()
    def identities(
        self, pictures: Float[Tensor, "batch 3 size size"], batch_size: int = 50
    ) -> Float[Tensor, "batch embedding"]:
        """Psi of pictures, unit vectors."""
        return torch.cat([self.embedder(part) for part in pictures.split(batch_size)])

    @torch.no_grad()
    def edit(
        self,
        codes: Float[Tensor, "batch layers width"],
        target: FaceParameters,
        components: Sequence[str],
        feedback: int = 0,
    ) -> Float[Tensor, "batch layers width"]:
        """Codes edited towards the components of parameters; everything else stays as the rig reads it."""
        return self.opened.rig.edit(codes, target, components, feedback)

    @torch.no_grad()
    def unseen_codes(self, count: int, start: int = 0) -> Float[Tensor, "count layers width"]:
        """Codes v of the test split from index `start` on: what targets are read of."""
        indices = torch.arange(start, start + count, device=self.device)
        return self.recipe.pairs(self.opened.generator, "test", indices).v
