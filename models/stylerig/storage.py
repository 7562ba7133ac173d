"""Networks of StyleRig on disk: written with what they were trained for, and refused beside anything else."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

from torch import nn

from models.byte_matrices import byte_matrices
from models.stylerig.provenance import Provenance
from models.weights import build_from, fill, half_matrices, load_weights, save_weights

Network = TypeVar("Network", bound=nn.Module)

# In which matrices are stored.
Bits: TypeAlias = Literal[8, 16]

_PROVENANCE = "provenance"


def save_trained(
    path: str | Path,
    network: nn.Module,
    kind: str,
    config: Mapping[str, Any],
    provenance: Provenance,
    bits: Bits = 16,
) -> Path:
    """Write a network's weights, matrices as float16, which halves the file, or in eight bits; all else as it is.

    Args:
        path: Where to write.
        network: The network.
        kind: Kind of network, asked for again by `load_trained`.
        config: Plain JSON values that `load_trained` builds it from.
        provenance: What it was trained for.
        bits: Of each number of a matrix.
    """
    stored = {8: byte_matrices, 16: half_matrices}[bits](network.state_dict())
    return save_weights(path, stored, kind, {**config, _PROVENANCE: provenance.to_config()})


def load_trained(
    path: str | Path, kind: str, present: Provenance, build: Callable[[dict[str, Any]], Network]
) -> Network:
    """Read weights, check that they were trained for the generator, face model and camera at hand, and freeze them.

    Args:
        path: The file, as given or relative to the project root.
        kind: The kind expected.
        present: What the network is about to be used with.
        build: Makes the untrained network of a configuration.

    Raises:
        InputError: for a missing or broken file, another kind of network, or one trained for something else.
    """
    state, config = load_weights(path, kind)
    build_from(path, lambda: Provenance.from_config(config[_PROVENANCE])).check(present, str(path))
    network = build_from(path, lambda: build(config))
    fill(network, state, path)
    return network.eval().requires_grad_(False)
