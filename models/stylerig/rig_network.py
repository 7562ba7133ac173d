"""What every network that edits codes by face parameters has in common: RigNet, and the baseline that it is compared with."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.morphable import ParameterSizes
from models.stylerig.provenance import Provenance
from models.stylerig.sources import RigSources
from models.stylerig.statistics import ParameterStatistics
from models.stylerig.storage import load_trained, save_trained
from models.weights import build_from, describe_weights
from renderers.errors import InputError

# Not `typing.Self`, which checkers of signatures at run time refuse on single methods.
Network = TypeVar("Network", bound="RigNetwork")

# What a network can control: pose, expression and illumination (StyleRig section 7) and identity geometry (supplement 3).
CONTROLLABLE: tuple[str, ...] = ("rotation", "expression", "illumination", "identity")
# What an edit is to keep where it does not change it: everything but the translation, which is neither edited nor
# preserved because crops tie it to the rotation (supplement 1).
_KEPT: tuple[str, ...] = ("identity", "expression", "reflectance", "rotation", "illumination")


def check_controls(components: Sequence[str]) -> tuple[str, ...]:
    """The components a network is to control, as a tuple.

    Raises:
        InputError: for none, an unknown one or one named twice.
    """
    known = all(component in CONTROLLABLE for component in components)
    if not components or not known or len(set(components)) != len(components):
        raise InputError(
            f"expected components to control among {', '.join(CONTROLLABLE)}, got {', '.join(components) or 'none'}; "
            "name each at most once"
        )
    return tuple(components)


def preserved_components(changed: str) -> tuple[str, ...]:
    """The components that must stay when `changed` is edited (StyleRig section 7 and supplement 1: not the translation)."""
    check_controls((changed,))
    return tuple(component for component in _KEPT if component != changed)


class RigNetwork(nn.Module, ABC):
    """Edits W+ codes towards face parameters; reads those of its components alone, normalised over the training set.

    Args:
        num_layers: Layers of a code.
        w_dim: Width of a code.
        components: What the network controls.
        sizes: Sizes of the face model.
    """

    kind: ClassVar[str]

    parameter_mean: Tensor
    parameter_std: Tensor
    control_index: Tensor

    def __init__(self, num_layers: int, w_dim: int, components: Sequence[str], sizes: ParameterSizes) -> None:
        super().__init__()
        self.num_layers, self.w_dim, self.sizes = num_layers, w_dim, sizes
        self.components = check_controls(components)
        index = torch.cat([torch.arange(sizes.total)[sizes.slice(component)] for component in self.components])
        self.register_buffer("control_index", index, persistent=False)
        self.register_buffer("parameter_mean", torch.zeros(sizes.total))
        self.register_buffer("parameter_std", torch.ones(sizes.total))

    @abstractmethod
    def edit(
        self,
        codes: Float[Tensor, "batch layers width"],
        own: Float[Tensor, "batch total"],
        target: Float[Tensor, "batch total"],
    ) -> Float[Tensor, "batch layers width"]:
        """Edited codes.

        Args:
            codes: W+ codes.
            own: Their packed face parameters, F(codes).
            target: Packed face parameters asked for.

        Raises:
            InputError: for sizes of another generator or face model.
        """

    @property
    @abstractmethod
    def is_trained(self) -> bool:
        """False for a network as it was built, which edits nothing."""

    @abstractmethod
    def layout(self) -> dict[str, Any]:
        """Plain JSON values beside those that all networks have, for `from_layout`."""

    @classmethod
    @abstractmethod
    def from_layout(
        cls: type[Network],
        num_layers: int,
        w_dim: int,
        components: Sequence[str],
        sizes: ParameterSizes,
        layout: Mapping[str, Any],
    ) -> Network:
        """An untrained network of these sizes; `layout` from the method of that name, besides other keys."""

    def normalise_by(self, statistics: ParameterStatistics) -> None:
        """Set the training-set statistics by which parameters are normalised."""
        self.parameter_mean.copy_(statistics.mean)
        self.parameter_std.copy_(statistics.std)

    def controls(self, parameters: Float[Tensor, "batch total"]) -> Float[Tensor, "batch controls"]:
        """The controlled parameters, normalised.

        Raises:
            InputError: for sizes of another face model.
        """
        if parameters.shape[1:] != (self.sizes.total,):
            raise InputError(
                f"expected parameters (batch, {self.sizes.total}), got {tuple(parameters.shape)}; "
                "use the face model that the network was trained for"
            )
        return ((parameters - self.parameter_mean) / self.parameter_std)[:, self.control_index]

    def check_codes(self, codes: Float[Tensor, "batch layers width"]) -> None:
        """Raise InputError for codes of another generator's size."""
        if codes.shape[1:] != (self.num_layers, self.w_dim):
            raise InputError(
                f"expected codes (batch, {self.num_layers}, {self.w_dim}), got {tuple(codes.shape)}; "
                "use the generator that the network was trained for"
            )

    def save(self, path: str | Path, provenance: Provenance, sources: RigSources) -> Path:
        """Write the weights with what they were trained for and where that was read from."""
        config = {
            "num_layers": self.num_layers,
            "w_dim": self.w_dim,
            "components": list(self.components),
            "sizes": asdict(self.sizes),
            "sources": sources.to_config(),
            **self.layout(),
        }
        return save_trained(path, self, self.kind, config, provenance)

    @classmethod
    def load(cls: type[Network], path: str | Path, present: Provenance) -> Network:
        """The network of a file that was trained for `present`: see `load_trained`."""
        return load_trained(
            path,
            cls.kind,
            present,
            lambda config: cls.from_layout(
                config["num_layers"],
                config["w_dim"],
                config["components"],
                ParameterSizes(**config["sizes"]),
                config,
            ),
        )


def sources_of(path: str | Path) -> RigSources:
    """What a rig's file says about where its generator, face reconstruction and face model are.

    Raises:
        InputError: for a file that is missing, broken or no rig's.
    """
    config = describe_weights(path).config
    return build_from(path, lambda: RigSources.from_config(config["sources"]))
