"""StyleGAN2 files that cannot be used: number types, options, names and sizes that no network has."""

import os
from pathlib import Path

import pytest
import torch

from models.safe_pickle import InertRecord
from models.stylegan2 import Discriminator, Generator, load_discriminator, load_generator, loading
from models.stylegan2.ada import flatten
from models.stylegan2.digest import generator_digest
from models.stylegan2.loading import has_discriminator, networks_in
from models.stylegan2.rosinality import rosinality_discriminator
from models.weights import fill, save_weights
from renderers.errors import InputError
from tests.stylegan2_files import ada_network, write_ada, write_rosinality
from tests.test_stylegan2_loading import tiny_ada_state, tiny_rosinality_state

pytestmark = pytest.mark.filterwarnings("ignore:.*carries no mean of W")


def message_of(load, path: Path) -> str:
    with pytest.raises(InputError) as error:
        load(path)
    return str(error.value)


@pytest.mark.parametrize("name", ["g.pkl", "g.safetensors", "g"])
def test_pipes_are_refused_without_waiting(tmp_path, name):
    os.mkfifo(tmp_path / name)
    for load in (load_generator, load_discriminator):
        assert "pipe" in message_of(load, tmp_path / name)


@pytest.mark.parametrize("kind", [torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn])
def test_number_types_that_weights_do_not_have_are_refused(tmp_path, monkeypatch, kind):
    own = Generator([4], z_dim=4, w_dim=4)
    for name in ("const", "mapping.layers.0.weight", "mean_w"):
        state = own.state_dict() | {name: torch.ones_like(own.state_dict()[name]).to(kind)}
        path = save_weights(tmp_path / "g.safetensors", state, "stylegan2-generator", own.config)
        assert name in message_of(load_generator, path)
    contents: dict[str, object] = {}
    path = write_rosinality(tmp_path / "g.pt", {})
    monkeypatch.setattr(loading, "read_pickle", lambda path: contents)
    original = tiny_rosinality_state()
    for name in ("input.input", "style.1.weight", "convs.0.conv.weight", "convs.0.conv.blur.kernel"):
        contents["g_ema"] = original | {name: original[name].to(kind)}
        assert name in message_of(load_generator, path)
    contents |= {"g_ema": original, "latent_avg": torch.ones(6).to(kind)}
    assert "mean_w" in message_of(load_generator, path)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_precisions_are_read(tmp_path, kind):
    own = Generator([4], z_dim=4, w_dim=4)
    state = {name: value.to(kind) for name, value in own.state_dict().items()}
    path = save_weights(tmp_path / "g.safetensors", state, "stylegan2-generator", own.config)
    assert load_generator(path).const.dtype == torch.float32


def test_counts_stay_whole_numbers():
    network = torch.nn.BatchNorm1d(2)
    fill(network, network.state_dict(), "w.pt")
    with pytest.raises(InputError, match="num_batches_tracked"):
        fill(network, network.state_dict() | {"num_batches_tracked": torch.tensor(1.5)}, "w.pt")


@pytest.mark.parametrize(
    "changes",
    [
        *({"conv_clamp": value} for value in ("a", [1], -1.0, 0.0, float("nan"), True)),
        *({"blur_kernel": [value] * 4} for value in (float("nan"), 0.0, 1e30, 1e-30, "a", None)),
        {"blur_kernel": [1.0] * 1000},
        {"blur_kernel": [1.0, -1.0, -1.0, 1.0]},
    ],
)
def test_options_that_no_network_has_are_refused(tmp_path, changes):
    generator, discriminator = Generator([4], z_dim=4, w_dim=4), Discriminator([4])
    path = save_weights(tmp_path / "g.safetensors", generator.state_dict(), "stylegan2-generator", generator.config | changes)
    message_of(load_generator, path)
    config = discriminator.config | changes
    path = save_weights(tmp_path / "d.safetensors", discriminator.state_dict(), "stylegan2-discriminator", config)
    message_of(load_discriminator, path)


@pytest.mark.parametrize("group", [0, -1, 0.5, "x", True])
def test_groups_that_no_discriminator_has_are_refused(tmp_path, group):
    own = Discriminator([4])
    config = own.config | {"deviation_group": group}
    path = save_weights(tmp_path / "d.safetensors", own.state_dict(), "stylegan2-discriminator", config)
    message_of(load_discriminator, path)


@pytest.mark.parametrize("changes", [{"mapping_lr_multiplier": float("nan")}, {"mapping_lr_multiplier": -1.0}, {"normalize_z": 2}])
def test_options_of_the_mapping_network_are_looked_at(tmp_path, changes):
    own = Generator([4], z_dim=4, w_dim=4)
    path = save_weights(tmp_path / "g.safetensors", own.state_dict(), "stylegan2-generator", own.config | changes)
    message_of(load_generator, path)


def test_filters_of_another_gain_are_the_same_network():
    torch.manual_seed(0)
    one = Generator([4, 4], z_dim=4, w_dim=4)
    for taps in ([2.0, 6.0, 6.0, 2.0], [-0.5, -1.5, -1.5, -0.5]):
        other = Generator([4, 4], z_dim=4, w_dim=4, blur_kernel=taps)
        other.load_state_dict(one.state_dict())
        assert other.config == one.config and generator_digest(other) == generator_digest(one)
    assert Discriminator([4], blur_kernel=[2.0, 2.0]).blur_kernel == (1.0, 1.0)


def test_numbers_in_names_of_blocks_are_bounded(tmp_path):
    state = tiny_ada_state()
    for digits in ("9" * 5000, "0", "08", "٣"):
        extra = {f"synthesis.b{digits}.conv1.weight"[:190]: torch.ones(1)} if len(digits) < 5000 else {}
        network = ada_network("Generator", state | extra)
        if not extra:
            inner = ada_network("SynthesisBlock", {"x": torch.ones(1)})
            network.attributes["_modules"]["synthesis"].attributes["_modules"]["b" + digits] = inner
            assert "names" in message_of(load_generator, write_ada(tmp_path / "g.pkl", G_ema=network))
        else:
            assert load_generator(write_ada(tmp_path / "g.pkl", G_ema=network)).resolution == 8


def test_long_names_and_many_tensors_are_refused():
    leaf = InertRecord("x.Y", ())
    leaf.attributes.update({"_parameters": {str(number): torch.ones(1) for number in range(400)}, "_modules": {}})
    many = {"_modules": {str(number): leaf for number in range(400)}}
    with pytest.raises(InputError, match="tensors"):
        flatten(many)
    with pytest.raises(InputError, match="names of at most 200"):
        flatten({"_modules": {"a" * 300: leaf}})
    with pytest.raises(InputError, match="names of at most 200"):
        flatten({"_parameters": {"a" * 300: torch.ones(1)}})


def test_discriminators_by_themselves_are_found(tmp_path):
    own = Discriminator([6, 4])
    state = rosinality_discriminator(own)
    for number, contents in enumerate((state, {"d": state}, {"g": tiny_rosinality_state(), "d": state})):
        torch.save(contents, tmp_path / f"{number}.pt")
        assert has_discriminator(tmp_path / f"{number}.pt")
        assert load_discriminator(tmp_path / f"{number}.pt").resolution == 8
    torch.save({"g": tiny_rosinality_state(), "d": {}}, tmp_path / "empty.pt")
    assert not has_discriminator(tmp_path / "empty.pt")
    path = tmp_path / "x.pt"
    assert networks_in(state, path) == {"discriminator"} and networks_in([1], path) == networks_in({"x": 1}, path) == frozenset()
    assert networks_in({"g": tiny_rosinality_state(), "d": state}, path) == {"generator", "discriminator"}
