"""Lifted generators of a few pixels, and checkpoints in the layout of LiftedGAN's authors, made for tests."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.lifted_gan import LiftedGAN, LiftedSettings
from models.stylegan2 import Generator
from models.stylegan2.rosinality import rosinality_generator

TINY = LiftedSettings(mlp_width=8, map_mlp_width=4, base_channels=4, max_channels=8, blur_radius=2, blur_scale=2.0)
PAPER = replace(
    LiftedSettings.paper(), mlp_width=8, map_mlp_width=8, base_channels=4, max_channels=8, blur_radius=2, blur_scale=2.0
)


def tiny_generator(levels: int = 3, seed: int = 0) -> Generator:
    """Of 4 * 2**(levels - 1) pixels, with features of 5 channels below its colours."""
    torch.manual_seed(seed)
    return Generator([6] * (levels - 1) + [5], z_dim=8, w_dim=8, mapping_layers=2).eval()


def tiny_lifted(settings: LiftedSettings = TINY, levels: int = 3, seed: int = 0) -> LiftedGAN:
    """A lifted generator of random weights."""
    generator = tiny_generator(levels, seed)
    return LiftedGAN(generator, settings)


def official_state(model: LiftedGAN) -> dict[str, dict[str, Tensor]]:
    """The state dicts of the authors' four networks."""
    networks = model.networks
    width = networks.w_dim
    # Their style branch, which nothing calls.
    decomposition = {
        "model_style.mlp.0.weight": torch.zeros(width, width),
        "model_style.mlp.0.bias": torch.zeros(width),
    }
    for name in ("light", "view"):
        part = networks.get_submodule(name).state_dict()
        decomposition |= {f"model_{name}.{key}": value for key, value in part.items()}
    return {
        "netD": networks.depth.state_dict(),
        "netT": networks.transformation.state_dict(),
        "netSD": decomposition,
        "netSC": networks.manipulation.state_dict(),
    }


def write_official(folder: Path, contents: Any, generator: Generator, zipped: bool = True) -> tuple[Path, Path]:
    """The authors' checkpoint, with a generator of theirs: paths of both."""
    if isinstance(contents, dict):
        contents = {**contents, "optimizer": {"state": {}, "param_groups": []}, "global_step": 5, "epoch": 1}
    paths = folder / "checkpoint_010.pth", folder / "generator.pt"
    torch.save(contents, paths[0], _use_new_zipfile_serialization=zipped)
    state = {"g_ema": rosinality_generator(generator), "latent_avg": generator.mean_w}
    torch.save(state, paths[1], _use_new_zipfile_serialization=zipped)
    return paths
