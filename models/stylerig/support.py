"""How far a rig can be asked to go, from the parameters that its networks saw in training: for warnings before an edit is made."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from models.morphable import FaceParameters, MorphableModel
from models.stylerig.rig import Rig
from models.stylerig.rig_network import RigNetwork
from models.stylerig.sliders import Slider, Unit, component_of, read_slider, unit_of, values_asked
from renderers.errors import InputError

# Standard deviations on either side of the training's mean: nearly all of a Gaussian. Our choice.
SPREAD = 3.0
# Narrower ranges are those of a training in which nothing varied.
_UNVARIED = 1e-6
# Draws behind the ranges of light, whose sliders are no coefficients.
_DRAWS = 4096


def supported_range(rig: Rig, name: str, face_model: MorphableModel, spread: float = SPREAD) -> tuple[float, float]:
    """Values of a slider that its network saw in training, in the slider's unit.

    Angles, expressions and identity: the mean plus and minus `spread` standard deviations, of a composite expression its reading
    over independent Gaussian coefficients. Light: the same share of independent Gaussian coefficients around the training's mean.
    It is about what was seen, not about what the rig makes of it, and coefficients are not really independent.

    Raises:
        InputError: for an unknown name, or a component that the rig does not control.
    """
    if spread <= 0:
        raise InputError(f"expected a positive number of standard deviations, got {spread}; 3 is usual")
    network = rig.network_of(component_of(name))
    if component_of(name) == "illumination":
        values = read_slider(_draws(network), name, face_model)
        tail = float(torch.special.ndtr(torch.tensor(-spread, dtype=torch.float64)))
        low, high = torch.quantile(values, values.new_tensor([tail, 1 - tail])).tolist()
        return low, high
    # Readings of the other components are linear: their spread is the root of the sum of squares over the coefficients.
    mean, std = _statistics(network)
    where = rig.sizes.slice(component_of(name))
    rows = torch.cat((mean[None], mean + torch.diag(std)[where]))
    centre, *moved = read_slider(FaceParameters.unpack(rows, rig.sizes), name, face_model).tolist()
    reach = spread * math.sqrt(sum((value - centre) ** 2 for value in moved))
    return centre - reach, centre + reach


def support_warnings(
    rig: Rig, own: FaceParameters, sliders: Sequence[Slider], face_model: MorphableModel, spread: float = SPREAD
) -> list[str]:
    """A plain line for each slider that asks for more than its network saw in training (`supported_range`).

    Args:
        rig: Whose networks shall edit.
        own: What the codes are read to be, where relative sliders start.
        sliders: What is asked.
        face_model: That of the rig.

    Raises:
        InputError: as `supported_range`.
    """
    lines = []
    for slider in sliders:
        low, high = supported_range(rig, slider.name, face_model, spread)
        asked = values_asked(slider, own, face_model).tolist()
        outside = [value for value in asked if not low <= value <= high]
        if not outside:
            continue
        worst = max(outside, key=lambda value: max(low - value, value - high))
        of = "" if len(asked) == 1 else f" for {len(outside)} of {len(asked)} codes"
        unit = unit_of(slider.name)
        start = f"{slider.name}: asked {_said(worst, unit)}{of}"
        if high - low < _UNVARIED:
            lines.append(f"{start}, but faces in this rig's training did not vary in it; expect no effect to rely on")
        else:
            lines.append(
                f"{start}, faces in this rig's training had {_said(low, unit)} to {_said(high, unit)}; expect to fall short"
            )
    return lines


def _statistics(network: RigNetwork) -> tuple[Float[Tensor, " total"], Float[Tensor, " total"]]:
    """Mean and standard deviation of the training's parameters; `ParameterStatistics` has 1 where one did not vary."""
    std = network.parameter_std
    return network.parameter_mean, torch.where(std == 1, torch.zeros_like(std), std)


def _draws(network: RigNetwork) -> FaceParameters:
    mean, std = _statistics(network)
    rng = torch.Generator().manual_seed(0)
    noise = torch.randn(_DRAWS, len(mean), generator=rng).to(mean)
    return FaceParameters.unpack(mean + noise * std, network.sizes)


def _said(value: float, unit: Unit) -> str:
    return f"{value:.0f} deg" if unit == "degrees" else f"{value:.2f}{' sd' if unit == 'standard deviations' else ''}"
