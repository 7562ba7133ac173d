"""How a rig network is trained, and the network that a training starts from."""

from dataclasses import dataclass, field
from typing import Literal

from lightning_modules.render_loss import RenderLossWeights
from lightning_modules.rig_losses import Control
from models.morphable import ParameterSizes
from models.stylegan2 import Generator
from models.stylerig import Provenance, RigNet, RigNetwork, SteeringNetwork, load_rig_network
from renderers.errors import InputError


@dataclass(frozen=True)
class StyleRigSettings:
    """How a rig network is trained.

    Attributes:
        controls: One entry for a single network, several for one network that controls several components (section 8.5): then
            each pair gives a sample per entry, in which that component alone is changed, and each sample has the losses of
            equation 2, L_rec among them.
        network: "rignet", or the "steering" baseline of section 8.4, which is told the change of the parameters and does not see
            the code. Asked for what a code has already it changes nothing, so that its L_rec is zero whatever its weights are.
        latent: Width of each layer's latent l_i of RigNet; 32 in the paper. The steering baseline has none.
        reconstruction: Weight of L_rec, 1 in the paper; 0 is the ablation without it (section 8.4).
        consistency: Weight of L_consist, 1 in the paper; 0 is the ablation without it (section 8.4). It is logged still.
        photometric: Weight of the photometric term, 1 in the paper.
        normalised: Losses per pixel and per code entry, which mean the same at any resolution and for any generator; false for
            the published sums.
        robust, robust_landmarks: See `RenderLossWeights`; null in the paper.
        optimiser: "adadelta" is the paper's (learning rate 0.01).
        learning_rate: Peak learning rate.
        decay: Let the learning rate fall to zero along a half cosine over the run.
        statistics_pairs: Training pairs over whose parameters F(w) the controls are normalised.
    """

    controls: list[Control] = field(default_factory=lambda: [Control()])
    network: Literal["rignet", "steering"] = "rignet"
    latent: int = 32
    reconstruction: float = 1.0
    consistency: float = 1.0
    photometric: float = 1.0
    normalised: bool = True
    robust: float | None = None
    robust_landmarks: float | None = None
    optimiser: Literal["adamw", "adadelta"] = "adamw"
    learning_rate: float = 1e-3
    decay: bool = True
    statistics_pairs: int = 1000

    def __post_init__(self) -> None:
        weights, counts = (self.reconstruction, self.consistency), (self.latent, self.statistics_pairs)
        if min(weights) < 0 or self.learning_rate <= 0 or min(counts) < 1:
            raise InputError(
                "expected weights of 0 or more, a positive learning rate, and latents and statistics_pairs of at least 1, "
                f"got {self}; correct them"
            )

    @property
    def components(self) -> tuple[str, ...]:
        """What the network controls."""
        return tuple(control.component for control in self.controls)

    def render_weights(self, control: Control) -> RenderLossWeights:
        """Weights of a control's rerendering losses."""
        return RenderLossWeights(
            control.landmark_weight, self.photometric, self.normalised, self.robust, self.robust_landmarks
        )

    def untrained_network(self, generator: Generator, sizes: ParameterSizes) -> RigNetwork:
        """A new network for a generator's codes and a face model's parameters, which edits nothing yet."""
        if self.network == "steering":
            return SteeringNetwork(generator.num_layers, generator.w_dim, self.components, sizes)
        rignet = RigNet(generator.num_layers, generator.w_dim, self.components, sizes, self.latent)
        rignet.centre_encoder(generator.mean_w)
        return rignet

    def trained_network(self, weights: str, provenance: Provenance) -> RigNetwork:
        """The network of a file, to be tested or trained further.

        Raises:
            InputError: for files that are missing, broken, or of a network that is not the one of these settings.
        """
        network = load_rig_network(weights, provenance)
        wanted = self._description(self.network, self.components, self.latent)
        found = self._description(
            network.kind, network.components, network.latent if isinstance(network, RigNet) else None
        )
        if wanted != found:
            raise InputError(
                f"expected {wanted}, {weights} holds {found}; correct settings.network, settings.controls and settings.latent"
            )
        return network.train().requires_grad_(True)

    @staticmethod
    def _description(kind: str, components: tuple[str, ...], latent: int | None) -> str:
        latents = f" with latents of {latent}" if kind == RigNet.kind else ""
        return f"a {kind} network that controls {', '.join(components)}{latents}"
