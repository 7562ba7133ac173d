"""Generators and discriminators from files: what is read from them, and what is refused."""

import math
import pickle
import warnings
from pathlib import Path

import pytest
import torch

from models.safe_pickle import read_pickle
from models.stylegan2 import Discriminator, Generator, describe_generator, load_discriminator, load_generator, loading
from models.stylegan2.loading import has_discriminator, save_discriminator, save_generator
from models.weights import save_weights
from renderers.errors import InputError
from tests.stylegan2_files import (
    KERNEL,
    ada_network,
    ada_value,
    rosinality_value,
    write_ada,
    write_rosinality,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*carries no mean of W")


def tiny_rosinality_state() -> dict[str, torch.Tensor]:
    """The tensors of an 8-pixel generator of the rosinality layout: width 6, channels 8 and 4."""
    shapes = {"input.input": (1, 8, 4, 4), "noises.noise_0": (1, 1, 4, 4)}
    for index in (1, 2):
        shapes[f"style.{index}.weight"], shapes[f"style.{index}.bias"] = (6, 6), (6,)
    for name, outputs, inputs in (("conv1", 8, 8), ("convs.0", 4, 8), ("convs.1", 4, 4)):
        shapes[f"{name}.conv.weight"] = (1, outputs, inputs, 3, 3)
        shapes[f"{name}.conv.modulation.weight"], shapes[f"{name}.conv.modulation.bias"] = (inputs, 6), (inputs,)
        shapes[f"{name}.noise.weight"], shapes[f"{name}.activate.bias"] = (1,), (outputs,)
    shapes["convs.0.conv.blur.kernel"] = shapes["to_rgbs.0.upsample.kernel"] = (4, 4)
    for name, inputs in (("to_rgb1", 8), ("to_rgbs.0", 4)):
        shapes[f"{name}.bias"], shapes[f"{name}.conv.weight"] = (1, 3, 1, 1), (1, 3, inputs, 1, 1)
        shapes[f"{name}.conv.modulation.weight"], shapes[f"{name}.conv.modulation.bias"] = (inputs, 6), (inputs,)
    shapes["noises.noise_1"] = shapes["noises.noise_2"] = (1, 1, 8, 8)
    return {name: rosinality_value(name, shape) for name, shape in shapes.items()}


def tiny_ada_state() -> dict[str, torch.Tensor]:
    """The tensors of an 8-pixel generator of the ADA layout: z 5, width 6, channels 8 and 4."""
    shapes: dict[str, tuple[int, ...]] = {"synthesis.b4.const": (8, 4, 4), "mapping.w_avg": (6,)}
    shapes |= {"mapping.fc0.weight": (6, 5), "mapping.fc0.bias": (6,), "mapping.fc1.weight": (6, 6), "mapping.fc1.bias": (6,)}
    for name, outputs, inputs, size in (("b4.conv1", 8, 8, 4), ("b8.conv0", 4, 8, 8), ("b8.conv1", 4, 4, 8)):
        name = f"synthesis.{name}"
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (outputs, inputs, 3, 3), (outputs,)
        shapes[f"{name}.noise_strength"], shapes[f"{name}.noise_const"] = (), (size, size)
        shapes[f"{name}.affine.weight"], shapes[f"{name}.affine.bias"] = (inputs, 6), (inputs,)
        shapes[f"{name}.resample_filter"] = (4, 4)
    for name, inputs in (("b4.torgb", 8), ("b8.torgb", 4)):
        name = f"synthesis.{name}"
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (3, inputs, 1, 1), (3,)
        shapes[f"{name}.affine.weight"], shapes[f"{name}.affine.bias"] = (inputs, 6), (inputs,)
    return {name: ada_value(name, shape) for name, shape in shapes.items()}


def test_facts(tmp_path):
    facts = describe_generator(write_ada(tmp_path / "g.pkl", G_ema=ada_network("Generator", tiny_ada_state())))
    assert (facts.layout, facts.resolution, facts.layers, facts.w_dim, facts.z_dim) == ("ada", 8, 4, 6, 5)
    assert (facts.mapping_layers, facts.channels, facts.has_mean_code) == (2, (8, 4), True)
    facts = describe_generator(write_rosinality(tmp_path / "g.pt", tiny_rosinality_state()))
    assert (facts.layout, facts.channels, facts.has_mean_code) == ("rosinality", (8, 4), False)


def test_statistics_are_the_files_own_or_estimated(tmp_path):
    state = tiny_rosinality_state()
    average = torch.arange(6.0)
    stored = load_generator(write_rosinality(tmp_path / "a.pt", state, latent_avg=average))
    torch.testing.assert_close(stored.mean_w, average)
    estimated = load_generator(write_rosinality(tmp_path / "b.pt", state))
    z = torch.randn(20_000, 6, generator=torch.Generator().manual_seed(5))
    codes = estimated.mapping(z)
    torch.testing.assert_close(estimated.mean_w, codes.mean(dim=0), atol=0.02, rtol=0.02)
    torch.testing.assert_close(estimated.std_w, codes.std(dim=0), atol=0.02, rtol=0.02)
    torch.testing.assert_close(stored.std_w, estimated.std_w)


def test_an_estimated_mean_is_said_and_the_same_each_time(tmp_path):
    path = write_rosinality(tmp_path / "g.pt", tiny_rosinality_state())
    with pytest.warns(UserWarning, match="g.pt carries no mean of W: it was estimated"):
        first = load_generator(path)
    assert torch.equal(load_generator(path).mean_w, first.mean_w)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_generator(write_rosinality(path, tiny_rosinality_state(), latent_avg=torch.zeros(1, 6)))


def test_state_dicts_by_themselves_and_unaveraged_networks(tmp_path):
    state = tiny_rosinality_state()
    expected = load_generator(write_rosinality(tmp_path / "g.pt", state)).state_dict()
    for number, contents in enumerate((state, {"g": state, "d": {}}, {"g_ema": state})):
        torch.save(contents, tmp_path / f"{number}.pt")
        read = load_generator(tmp_path / f"{number}.pt").state_dict()
        assert all(torch.equal(read[name], value) for name, value in expected.items())
    network = ada_network("Generator", tiny_ada_state())
    assert load_generator(write_ada(tmp_path / "g.pkl", G=network)).num_layers == 4


def test_power_of_two_scales_keep_every_bit(tmp_path):
    state = tiny_rosinality_state()
    read = load_generator(write_rosinality(tmp_path / "g.pt", state))
    # Of 8 x 9 inputs: the power of two next to sqrt(72) is 8.
    assert torch.equal(read.convolutions[0].weight * 8, state["conv1.conv.weight"][0])


def test_older_torch_files_and_missing_noise(tmp_path):
    state = tiny_rosinality_state()
    whole = load_generator(write_rosinality(tmp_path / "a.pt", state, zipped=False))
    bare = {name: value for name, value in state.items() if not name.startswith("noises.")}
    with pytest.warns(UserWarning, match="lacks 3 noise pictures, the first of them noises.noise_0"):
        without = load_generator(write_rosinality(tmp_path / "b.pt", bare))
    codes = torch.randn(2, 4, 6)
    torch.testing.assert_close(whole.synthesis(codes, "none"), without.synthesis(codes, "const"))


def test_missing_noise_of_ada(tmp_path):
    state = {name: value for name, value in tiny_ada_state().items() if not name.endswith("noise_const")}
    with pytest.warns(UserWarning, match="lacks 3 noise pictures"):
        load_generator(write_ada(tmp_path / "g.pkl", G_ema=ada_network("Generator", state)))
    state = {name: value for name, value in state.items() if not name.endswith("noise_strength")}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_generator(write_ada(tmp_path / "g.pkl", G_ema=ada_network("Generator", state)))


def test_ada_options_come_from_layers_or_arguments(tmp_path):
    def network(arguments, **layer):
        made = ada_network("Generator", tiny_ada_state())
        made.attributes["_init_kwargs"] = arguments
        made.module("mapping", "fc0").attributes |= layer
        return write_ada(tmp_path / "g.pkl", G_ema=made)

    given = {"mapping_kwargs": {"lr_multiplier": 0.5}, "synthesis_kwargs": {"conv_clamp": 256}}
    generator = load_generator(network(given))
    assert (generator.mapping_lr_multiplier, generator.conv_clamp) == (0.5, 256)
    assert load_generator(network(given, bias_gain=0.25)).mapping_lr_multiplier == 0.25
    assert load_generator(network({})).mapping_lr_multiplier == 0.01
    assert "bias_gain" in message_of(load_generator, network(None))
    assert "bias_gain" in message_of(load_generator, network({}, bias_gain="fast"))


def test_missing_mean_of_ada_is_estimated(tmp_path):
    state = tiny_ada_state()
    del state["mapping.w_avg"]
    path = write_ada(tmp_path / "g.pkl", G_ema=ada_network("Generator", state))
    generator = load_generator(path)
    z = torch.randn(20_000, 5, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(generator.mean_w, generator.mapping(z).mean(dim=0), atol=0.05, rtol=0.02)
    assert not describe_generator(path).has_mean_code


def test_own_files_round_trip(tmp_path):
    generator = Generator([8, 6, 4], z_dim=5, w_dim=7, mapping_layers=2, conv_clamp=3.0, normalize_z=False)
    generator.mean_w.copy_(torch.randn(7))
    path = save_generator(tmp_path / "g.safetensors", generator)
    read = load_generator(path)
    assert read.config == generator.config
    z = torch.randn(3, 5)
    torch.testing.assert_close(read(z, truncation=0.5), generator(z, truncation=0.5))
    discriminator = Discriminator([8, 6, 4], conv_clamp=5.0)
    read_discriminator = load_discriminator(save_discriminator(tmp_path / "d.safetensors", discriminator))
    images = torch.randn(4, 3, 16, 16)
    torch.testing.assert_close(read_discriminator(images), discriminator(images))


def ada_discriminator_state(discriminator: Discriminator) -> dict[str, torch.Tensor]:
    """The tensors of a discriminator of ours under the names of ADA."""
    renames = {"from_rgb": "b8.fromrgb", "blocks.0": "b8", "convolution": "b4.conv", "hidden": "b4.fc", "output": "b4.out"}
    state = {}
    for name, value in discriminator.state_dict().items():
        own = next(own for own in renames if name.startswith(own + "."))
        state[renames[own] + name[len(own) :]] = value
    for name in ("b8.conv0", "b8.conv1", "b8.skip", "b8.fromrgb", "b4.conv"):
        state[f"{name}.resample_filter"] = KERNEL
    return state


def test_ada_discriminator(tmp_path):
    discriminator = Discriminator([6, 4], deviation_group=2, conv_clamp=256.0)
    network = ada_network("Discriminator", ada_discriminator_state(discriminator))
    network.module("b8", "conv0").attributes["conv_clamp"] = 256
    network.module("b4").attributes["_modules"]["mbstd"] = ada_network("MinibatchStdLayer", {}, group_size=2)
    read = load_discriminator(write_ada(tmp_path / "d.pkl", D=network))
    images = torch.randn(4, 3, 8, 8)
    torch.testing.assert_close(read(images), discriminator(images))


def test_minibatch_deviation_over_the_whole_batch(tmp_path):
    discriminator = Discriminator([6, 4], deviation_group=None)
    network = ada_network("Discriminator", ada_discriminator_state(discriminator))
    network.module("b4").attributes["_modules"]["mbstd"] = ada_network("MinibatchStdLayer", {}, group_size=None)
    read = load_discriminator(write_ada(tmp_path / "d.pkl", D=network))
    images = torch.randn(6, 3, 8, 8)
    assert read.deviation_group is None
    grouped = Discriminator([6, 4], deviation_group=6)
    grouped.load_state_dict(discriminator.state_dict())
    torch.testing.assert_close(read(images), grouped(images))


def test_rosinality_discriminator(tmp_path):
    discriminator = Discriminator([6, 4])
    own = discriminator.state_dict()
    state = {"convs.0.0.weight": own["from_rgb.weight"], "convs.0.1.bias": own["from_rgb.bias"]}
    for theirs, ours in (("conv1.0.weight", "conv0.weight"), ("conv1.1.bias", "conv0.bias"), ("conv2.1.weight", "conv1.weight"),
                         ("conv2.2.bias", "conv1.bias"), ("skip.1.weight", "skip.weight")):
        state[f"convs.1.{theirs}"] = own[f"blocks.0.{ours}"]
    state["convs.1.conv2.0.kernel"] = KERNEL
    state["final_conv.0.weight"], state["final_conv.1.bias"] = own["convolution.weight"], own["convolution.bias"]
    for theirs, ours in (("0", "hidden"), ("1", "output")):
        for part in ("weight", "bias"):
            state[f"final_linear.{theirs}.{part}"] = own[f"{ours}.{part}"]
    read = load_discriminator(write_rosinality(tmp_path / "d.pt", {}, d=state))
    images = torch.randn(4, 3, 8, 8)
    torch.testing.assert_close(read(images), discriminator(images))


def message_of(load, path: Path) -> str:
    with pytest.raises(InputError) as error:
        load(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_files_of_other_kinds_are_named(tmp_path):
    discriminator = Discriminator([6, 4])
    own = save_discriminator(tmp_path / "d.safetensors", discriminator)
    assert "stylegan2-discriminator" in message_of(load_generator, own)
    generator = save_generator(tmp_path / "g.safetensors", Generator([4], z_dim=4, w_dim=4))
    assert "stylegan2-generator" in message_of(load_discriminator, generator)
    renamed = generator.rename(tmp_path / "renamed.pt")
    assert load_generator(renamed).resolution == 4
    assert not has_discriminator(renamed) and has_discriminator(own)
    # ADA's networks may be saved one by one.
    alone = ada_network("Discriminator", ada_discriminator_state(discriminator))
    write_ada(tmp_path / "all.pkl", D=alone)
    assert has_discriminator(tmp_path / "all.pkl")
    assert "D, training_set_kwargs" in message_of(load_generator, tmp_path / "all.pkl")
    torch.save({"g_ema": tiny_rosinality_state()}, tmp_path / "g.pt")
    assert "holds g_ema" in message_of(load_discriminator, tmp_path / "g.pt")
    assert not has_discriminator(tmp_path / "g.pt")
    (tmp_path / "folder").mkdir()
    assert "folder" in message_of(load_generator, tmp_path / "folder")
    (tmp_path / "empty.pkl").touch()
    assert "is empty" in message_of(load_generator, tmp_path / "empty.pkl")
    (tmp_path / "empty.safetensors").touch()
    message_of(load_generator, tmp_path / "empty.safetensors")


def test_tensorflow_pickles_are_refused_with_the_way_to_convert_them(tmp_path):
    # A tuple of three networks, each a call of the class with a dictionary set as its state.
    network = b"cdnnlib.tflib.network\nNetwork\n)R}(Vversion\nI4\nVname\nVG\nub"
    (tmp_path / "tf.pkl").write_bytes(b"(" + 3 * network + b"t.")
    assert "TensorFlow" in message_of(load_generator, tmp_path / "tf.pkl")


def test_other_activations_are_refused(tmp_path):
    network = ada_network("Generator", tiny_ada_state())
    network.module("synthesis", "b4", "conv1").attributes["activation"] = "swish"
    assert "swish" in message_of(load_generator, write_ada(tmp_path / "g.pkl", G_ema=network))


def test_stylegan3_is_refused(tmp_path):
    state = {"synthesis.input.freqs": torch.ones(2), "synthesis.L0_36_1024.weight": torch.ones(2), "mapping.w_avg": torch.ones(6)}
    assert "StyleGAN3" in message_of(load_generator, write_ada(tmp_path / "g.pkl", G_ema=ada_network("Generator", state)))


def test_class_conditional_networks_are_refused(tmp_path):
    network = ada_network("Generator", tiny_ada_state())
    network.attributes["c_dim"] = 10
    path = write_ada(tmp_path / "g.pkl", G_ema=network, D=network)
    assert "class-conditional (c_dim 10)" in message_of(load_generator, path)
    assert "class-conditional" in message_of(load_discriminator, path)


def test_other_architectures_are_refused(tmp_path):
    state = {name: value for name, value in tiny_ada_state().items() if not name.startswith("synthesis.b4.torgb")}
    assert "torgb" in message_of(load_generator, write_ada(tmp_path / "g.pkl", G_ema=ada_network("Generator", state)))
    state = tiny_ada_state()
    state["synthesis.b8.torgb.weight"] = torch.ones(1, 4, 1, 1)
    assert "RGB" in message_of(load_generator, write_ada(tmp_path / "h.pkl", G_ema=ada_network("Generator", state)))
    state = tiny_rosinality_state()
    state["convs.0.conv.blur.kernel"] = torch.eye(4)
    assert "separable" in message_of(load_generator, write_rosinality(tmp_path / "g.pt", state))


@pytest.mark.parametrize("name", ["input.input", "style.1.weight", "convs.0.activate.bias", "to_rgbs.0.bias"])
def test_missing_tensors_are_named(tmp_path, name):
    state = tiny_rosinality_state()
    del state[name]
    message_of(load_generator, write_rosinality(tmp_path / "g.pt", state))


@pytest.mark.parametrize("name", ["mapping.fc1.bias", "synthesis.b8.conv0.bias", "synthesis.b4.conv1.resample_filter"])
def test_missing_tensors_of_ada_are_named(tmp_path, name):
    state = tiny_ada_state()
    del state[name]
    assert name in message_of(load_generator, write_ada(tmp_path / "g.pkl", G_ema=ada_network("Generator", state)))


@pytest.mark.parametrize("value", [torch.ones(()), torch.ones(4), torch.ones(3, 4), torch.ones(0, 1, 1, 1, 1), torch.ones(2, 2).long()])
def test_tensors_of_another_form_are_refused(tmp_path, monkeypatch, value):
    path = write_rosinality(tmp_path / "g.pt", {})
    contents: dict[str, object] = {}
    # Writing and reading a file for each of these tensors would take longer than all other tests here.
    monkeypatch.setattr(loading, "read_pickle", lambda path: contents)
    original = tiny_rosinality_state()
    for name in original.keys() - {"to_rgbs.0.upsample.kernel"}:
        if original[name].shape != value.shape:
            contents["g_ema"] = original | {name: value}
            message_of(load_generator, path)
    contents.clear()
    monkeypatch.undo()
    whole = read_pickle(write_ada(path, G_ema=ada_network("Generator", tiny_ada_state())))
    monkeypatch.setattr(loading, "read_pickle", lambda path: whole)
    for name, tensor in tiny_ada_state().items():
        if tensor.shape != value.shape and ("resample" not in name or "b4.conv1" in name):
            *modules, last = name.split(".")
            state = whole["G_ema"].arguments[0]["state"]
            for module in modules:
                state = state["_modules"][module].arguments[0]["state"]
            group = state["_buffers" if last in state["_buffers"] else "_parameters"]
            before, group[last] = group[last], value
            message_of(load_generator, path)
            group[last] = before
    assert load_generator(path).resolution == 8


@pytest.mark.parametrize("average", [[1.0], "mean", torch.ones(3)])
def test_mean_codes_of_another_form_are_refused(tmp_path, average):
    message_of(load_generator, write_rosinality(tmp_path / "g.pt", tiny_rosinality_state(), latent_avg=average))


def test_configurations_of_other_versions_are_refused(tmp_path):
    generator, discriminator = Generator([4], z_dim=4, w_dim=4), Discriminator([4])
    for changes in ({"unknown": 1}, {"channels": "many"}, {"z_dim": None}):
        path = save_weights(tmp_path / "g.safetensors", generator.state_dict(), "stylegan2-generator", generator.config | changes)
        assert "fits this version" in message_of(load_generator, path)
    config = discriminator.config | {"unknown": 1}
    path = save_weights(tmp_path / "d.safetensors", discriminator.state_dict(), "stylegan2-discriminator", config)
    assert "unknown" in message_of(load_discriminator, path)


def test_claims_of_huge_networks_are_refused(tmp_path):
    state = tiny_ada_state()
    huge = {name.replace("b8", f"b{2**30}"): value for name, value in state.items() if "noise_const" not in name}
    assert str(2**30) in message_of(load_generator, write_ada(tmp_path / "g.pkl", G_ema=ada_network("Generator", huge)))
    deep = tiny_rosinality_state() | {f"to_rgbs.{level}.conv.weight": torch.ones(1, 3, 4, 1, 1) for level in range(40)}
    assert "up to 8192" in message_of(load_generator, write_rosinality(tmp_path / "g.pt", deep))
    own = Generator([4], z_dim=4, w_dim=4)
    for changes in ({"mapping_layers": 10**12}, {"channels": [4] * 40}):
        path = save_weights(tmp_path / "g.safetensors", own.state_dict(), "stylegan2-generator", own.config | changes)
        message_of(load_generator, path)


def test_wrong_sizes_and_values_are_refused(tmp_path):
    state = tiny_rosinality_state()
    state["convs.1.activate.bias"] = torch.zeros(5)
    assert "size" in message_of(load_generator, write_rosinality(tmp_path / "a.pt", state))
    state = tiny_rosinality_state()
    state["convs.1.activate.bias"][0] = math.nan
    assert "finite" in message_of(load_generator, write_rosinality(tmp_path / "b.pt", state))


def test_other_files_are_refused(tmp_path):
    torch.save({"state_dict": {"x": torch.ones(1)}, "epoch": 3}, tmp_path / "other.ckpt")
    assert "state_dict, epoch" in message_of(load_generator, tmp_path / "other.ckpt")
    torch.save([torch.ones(1)], tmp_path / "list.pt")
    assert "list" in message_of(load_generator, tmp_path / "list.pt")
    (tmp_path / "config.pkl").write_bytes(pickle.dumps({"G_ema": {"x": 1}}))
    message_of(load_generator, tmp_path / "config.pkl")
    save_weights(tmp_path / "w.safetensors", {}, "landmark-net", {})
    assert "landmark-net" in message_of(load_generator, tmp_path / "w.safetensors")
    message_of(load_discriminator, tmp_path / "other.ckpt")
    message_of(load_generator, tmp_path / "missing.pkl")


def test_cut_files_are_refused(tmp_path):
    paths = [
        write_ada(tmp_path / "g.pkl", G_ema=ada_network("Generator", tiny_ada_state())),
        write_rosinality(tmp_path / "g.pt", tiny_rosinality_state()),
        save_generator(tmp_path / "g.safetensors", Generator([4], z_dim=4, w_dim=4)),
    ]
    for path in paths:
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        message_of(load_generator, path)
