"""Where a command computes."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from renderers.errors import InputError


def choose_device(name: str) -> torch.device:
    """The device of a name such as ``cpu``, ``cuda:1`` or ``mps``; ``auto`` is the first GPU where there is one, else the CPU.

    Raises:
        InputError: for another name, or a device that is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda", "mps"):
            raise NotImplementedError(f"networks are not tried on {device.type}")
        torch.empty(0, device=device)
    # What torch raises differs between kinds of devices and builds.
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(
            f"expected a device of this machine such as auto, cpu or cuda, got {name!r}; correct --device"
        ) from error
    return device


@contextmanager
def repeatable_convolutions() -> Iterator[None]:
    """Within it, cuDNN gives the same pictures each time, rounded as float32: its fastest algorithms add in any order, and its
    convolutions otherwise round their input to 10 bits on newer GPUs."""
    cudnn = torch.backends.cudnn
    with cudnn.flags(enabled=cudnn.enabled, benchmark=False, deterministic=True, allow_tf32=False):
        yield
