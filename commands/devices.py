"""Where a command computes."""

import torch

from renderers.errors import InputError


def choose_device(name: str) -> torch.device:
    """The device of a name such as ``cpu`` or ``cuda:1``; ``auto`` is the first GPU where there is one, else the CPU.

    Raises:
        InputError: for a name that torch does not know, or a device that is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    # What torch raises differs between kinds of devices and builds.
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"expected a device of this machine such as auto, cpu or cuda, got {name!r}; correct --device") from error
    return device
