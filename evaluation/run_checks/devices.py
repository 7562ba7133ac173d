"""Check the accelerator that a configuration asks for against what the machine has."""

from collections.abc import Mapping
from typing import Any

import torch

from evaluation.run_checks.report import Check, failed


def check_devices(trainer: Mapping[str, Any]) -> Check:
    """The accelerator asked for, and how many of it.

    Args:
        trainer: The trainer's options.
    """
    accelerator, devices = str(trainer.get("accelerator") or "auto"), trainer.get("devices")
    present = torch.cuda.device_count()
    wants_gpu = accelerator in ("gpu", "cuda")
    if wants_gpu and not present and not (accelerator == "gpu" and torch.backends.mps.is_available()):
        advice = "--config configs/trainer/cpu.yaml, or a machine with a GPU and a build of torch for it"
        return failed("devices", "a GPU (trainer.accelerator)", "none that torch sees", advice)
    if present and (wants_gpu or accelerator == "auto"):
        asked = _count(devices)
        if asked is not None and asked > present:
            return failed("devices", f"{asked} GPUs (trainer.devices)", f"{present}", f"--trainer.devices {present}")
        return Check("devices", "ok", f"{asked or present} of {present} GPUs, {torch.cuda.get_device_name(0)}")
    cores = f"{torch.get_num_threads()} threads"
    if accelerator == "cpu" and present:
        return Check(
            "devices", "note", f"CPU, {cores}; {present} GPUs are left idle (--config configs/trainer/gpu.yaml)"
        )
    return Check("devices", "ok", f"{'CPU' if accelerator in ('auto', 'cpu') else accelerator}, {cores}; no GPU here")


def _count(devices: Any) -> int | None:
    """Devices asked for; None for all of them."""
    if isinstance(devices, (list, tuple)):
        return len(devices)
    if isinstance(devices, int):
        return None if devices < 0 else devices
    text = str(devices or "auto")
    if "," in text:
        return len([part for part in text.split(",") if part.strip()])
    return int(text) if text.isdigit() else None
