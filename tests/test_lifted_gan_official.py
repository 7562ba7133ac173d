"""Checkpoints of LiftedGAN's authors: networks of any size from their layout, and files that cannot be used."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from models.lifted_gan import LiftedSettings, load_official
from models.stylegan2 import Generator
from models.stylegan2.loading import save_generator
from models.weights import save_weights
from renderers.errors import InputError
from tests import hostile_files
from tests.lifted_gan_files import PAPER, TINY, official_state, tiny_generator, tiny_lifted, write_official

State = dict[str, dict[str, Tensor]]


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("levels", [3, 5])
def test_networks_of_any_size(tmp_path: Path, zipped: bool, levels: int) -> None:
    model = tiny_lifted(LiftedSettings(mlp_width=8, map_mlp_width=4, base_channels=4, max_channels=8), levels=levels)
    loaded = load_official(*write_official(tmp_path, official_state(model), model.generator, zipped))
    assert loaded.settings == model.settings and loaded.networks.resolution == 4 * 2 ** (levels - 1)
    codes = torch.randn(2, 8)
    with torch.no_grad():
        first, second = model(codes), loaded(codes)
        for field in fields(first):
            torch.testing.assert_close(getattr(second, field.name), getattr(first, field.name))
        torch.testing.assert_close(loaded.render(second).image, model.render(first).image)


def test_networks_without_normalisation(tmp_path: Path) -> None:
    model = tiny_lifted(PAPER, levels=4)
    loaded = load_official(*write_official(tmp_path, official_state(model), model.generator))
    assert not loaded.settings.normalise_manipulation and loaded.settings.map_mlp_width == 8


def dropped(network: str, name: str) -> Callable[[State], Any]:
    return lambda state: {**state, network: {key: value for key, value in state[network].items() if key != name}}


def changed(network: str, name: str, value: Any) -> Callable[[State], Any]:
    return lambda state: {**state, network: {**state[network], name: value}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: {}, "lacks netD"),
        (lambda state: {name: value for name, value in state.items() if name != "netSC"}, "lacks netSC"),
        (lambda state: [1, 2], "a list"),
        (lambda state: {**state, "netT": "text"}, "a str"),
        (changed("netT", "mlp.0.bias", "text"), "netT.mlp.0.bias"),
        (dropped("netD", "mlp.2.weight"), "misses depth.mlp.2.weight"),
        (dropped("netSD", "model_light.mlp.6.bias"), "misses light.mlp.6.bias"),
        (dropped("netSC", "embed_style.mlp.0.weight"), "netSC.embed_style.mlp.0.weight"),
        (changed("netSD", "model_other.weight", torch.zeros(1)), "netSD.model_other.weight"),
        (changed("netD", "inject.weight", torch.zeros(4, 7, 1, 1)), "another size of depth.inject.weight"),
        (changed("netD", "head.0.weight", torch.zeros(3)), "4 axes as netD.head.0.weight"),
        (changed("netD", "head.0.weight", torch.zeros(6, 6, 3, 3)), "base_channels"),
        (changed("netD", "network.0.weight", torch.zeros(8, 400, 4, 4)), "start"),
        (changed("netD", "head.6.bias", torch.tensor([float("nan")])), "finite"),
        (changed("netD", "head.6.bias", torch.tensor([1])), "int64"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path: Path, change: Callable[[State], Any], message: str) -> None:
    model = tiny_lifted(TINY)
    paths = write_official(tmp_path, change(official_state(model)), model.generator)
    with pytest.raises(InputError, match=message) as error:
        load_official(*paths)
    assert "\n" not in str(error.value) and "checkpoint_010.pth" in str(error.value)


def test_files_of_another_kind(tmp_path: Path) -> None:
    model = tiny_lifted(TINY)
    checkpoint, generator = write_official(tmp_path, official_state(model), model.generator)
    with pytest.raises(InputError, match="holds a StyleGAN2 generator; give it as the generator"):
        load_official(generator, generator)
    with pytest.raises(InputError, match="expected a StyleGAN2 generator"):
        load_official(checkpoint, checkpoint)
    with pytest.raises(InputError, match="found none"):
        load_official(tmp_path / "absent.pth", generator)
    with pytest.raises(InputError, match="folder"):
        load_official(tmp_path, generator)
    with pytest.raises(InputError, match="LiftedGAN.load"):
        load_official(save_weights(tmp_path / "w.safetensors", {"a": torch.zeros(1)}, "other", {}), generator)
    (tmp_path / "short.pth").write_bytes(checkpoint.read_bytes()[:2000])
    with pytest.raises(InputError, match="short.pth"):
        load_official(tmp_path / "short.pth", generator)


def test_generators_of_another_size(tmp_path: Path) -> None:
    model = tiny_lifted(TINY)
    with pytest.raises(InputError, match="expected a generator of 16 pixels"):
        load_official(*write_official(tmp_path, official_state(model), tiny_generator(levels=4)))
    wide = save_generator(tmp_path / "wide.safetensors", Generator([6, 6, 5], z_dim=8, w_dim=12, mapping_layers=2))
    checkpoint, _ = write_official(tmp_path, official_state(model), model.generator)
    with pytest.raises(InputError, match="codes of width 8"):
        load_official(checkpoint, wide)


def test_hostile_pickles_run_nothing(tmp_path: Path) -> None:
    model = tiny_lifted(TINY)
    checkpoint, generator = write_official(tmp_path, official_state(model), model.generator)
    canary = tmp_path / "ran"
    for _, content in list(hostile_files.calls(f"touch {canary}"))[::5]:
        checkpoint.write_bytes(content)
        for paths in ((checkpoint, generator), (checkpoint, checkpoint)):
            with pytest.raises(InputError) as error:
                load_official(*paths)
            assert "\n" not in str(error.value)
    # Calls in place of state dicts.
    command = f"touch {canary}".encode()
    call = b"cos\nsystem\n\x8c" + bytes([len(command)]) + command + b"\x85R"
    names = b"".join(b"\x8c" + bytes([len(name)]) + name + call for name in (b"netD", b"netT", b"netSD", b"netSC"))
    checkpoint.write_bytes(b"\x80\x04}(" + names + b"u.")
    with pytest.raises(InputError, match="named tensors in netD"):
        load_official(checkpoint, generator)
    assert not canary.exists()
