"""Where the optimisation of a portrait stands, on disk: a run that was killed goes on from there, whatever it is batched with then."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer

from models.weights import build_from, load_weights, save_weights
from renderers.errors import InputError

KIND = "portrait-embedding-state"
FOLDER = ".states"
_OPTIMISER = "optimiser."


@dataclass(frozen=True)
class PortraitState:
    """One portrait between two iterations.

    Attributes:
        iteration: The next one, counted from 0.
        digest: Of portrait and settings: a state means nothing for others.
        codes: (layers, width) w; in the first stage the first layer alone means something.
        w: (width) the end of the first stage, where it is past.
        optimiser: Running means of the optimiser, of the codes' shape, by name.
    """

    iteration: int
    digest: str
    codes: Float[Tensor, "layers width"]
    w: Float[Tensor, " width"] | None
    optimiser: dict[str, Float[Tensor, "layers width"]]


def save_state(path: Path, state: PortraitState) -> None:
    """Write a state, whole or not at all."""
    tensors = {"codes": state.codes, **{_OPTIMISER + name: value for name, value in state.optimiser.items()}}
    if state.w is not None:
        tensors["w"] = state.w
    save_weights(path, tensors, KIND, {"iteration": state.iteration, "digest": state.digest})


def load_state(path: Path, digest: str) -> PortraitState | None:
    """The state in a file; None where there is none of this portrait under these settings, or a broken one: it then starts anew."""
    try:
        tensors, config = load_weights(path, KIND)
        state = build_from(path, lambda: _built(tensors, config))
    except InputError:
        return None
    return state if state.digest == digest else None


def optimiser_rows(optimiser: Optimizer, parameter: Tensor, row: int) -> dict[str, Tensor]:
    """The running means that an optimiser keeps of one row of its parameter."""
    return {
        name: value[row].detach().cpu().clone()
        for name, value in optimiser.state[parameter].items()
        if isinstance(value, Tensor) and value.shape == parameter.shape
    }


@torch.no_grad()
def restore_rows(optimiser: Optimizer, parameter: Tensor, rows: list[dict[str, Tensor]], steps: int) -> None:
    """Put the running means of a parameter's first rows back, as they are after `steps` steps; other rows have none."""
    means = {name: torch.zeros_like(parameter) for name in rows[0]}
    for name, mean in means.items():
        mean[: len(rows)] = torch.stack([each[name] for each in rows])
    optimiser.state[parameter] = {"step": torch.tensor(float(steps)), **means}


def _built(tensors: Mapping[str, Tensor], config: Mapping[str, object]) -> PortraitState:
    optimiser = {name.removeprefix(_OPTIMISER): value for name, value in tensors.items() if name.startswith(_OPTIMISER)}
    iteration = config["iteration"]
    if not isinstance(iteration, int) or iteration < 1:
        raise ValueError(f"iteration {iteration!r}")
    return PortraitState(iteration, str(config["digest"]), tensors["codes"], tensors.get("w"), optimiser)
