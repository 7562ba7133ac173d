"""Conversion of StyleGAN2 files: to this project's format and to rosinality's, bit for bit there and back."""

from pathlib import Path

import numpy as np
import pytest
import torch

import cli
from evaluation.run_checks.kinds import identify
from evaluation.run_checks.licences import check_licences
from models.safe_pickle import read_pickle
from models.stylegan2 import Discriminator, Generator, describe_generator, load_discriminator, load_generator
from models.stylegan2.conversion import convert_networks
from models.stylegan2.digest import generator_digest
from models.stylegan2.loading import save_discriminator, save_generator
from models.stylegan2.rosinality import public_channel_multiplier, rosinality_discriminator, rosinality_generator
from models.weights import describe_weights
from renderers.errors import InputError
from tests.stylegan2_files import DATA, KERNEL, reference_state, rosinality_value, write_rosinality
from tests.test_stylegan2_loading import tiny_rosinality_state

SHARED = Path(__file__).resolve().parents[1].parent / "shared"

pytestmark = pytest.mark.filterwarnings("ignore:.*carries no mean of W")


def own_generator(path: Path, **options) -> Path:
    torch.manual_seed(3)
    generator = Generator(**{"channels": [8, 6, 4], "z_dim": 7, "w_dim": 7, "mapping_layers": 2, **options})
    generator.mean_w.copy_(torch.randn(7))
    generator.std_w.copy_(torch.rand(7))
    for parameter in generator.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape)
    return save_generator(path, generator)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def message_of(*arguments, **options) -> str:
    with pytest.raises(InputError) as error:
        convert_networks(*arguments, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_rosinality_there_and_back(tmp_path):
    state, average = tiny_rosinality_state(), torch.randn(6)
    source = write_rosinality(tmp_path / "a.pt", state, latent_avg=average)
    convert_networks(source, tmp_path / "b.safetensors")
    convert_networks(tmp_path / "b.safetensors", tmp_path / "c.pt")
    written = read_pickle(tmp_path / "c.pt")
    assert same(written["g_ema"], state)
    assert torch.equal(written["latent_avg"], average)
    assert list(torch.load(tmp_path / "c.pt", weights_only=True)) == ["g_ema", "latent_avg", "latent_std"]


def test_own_files_there_and_back(tmp_path):
    source = own_generator(tmp_path / "a.safetensors", blur_kernel=(1.0, 2.0, 2.0, 1.0), mapping_lr_multiplier=0.01)
    discriminator = Discriminator([8, 6, 4], blur_kernel=(1.0, 2.0, 2.0, 1.0))
    critic = save_discriminator(tmp_path / "d.safetensors", discriminator)
    lines = convert_networks(source, tmp_path / "b.pt", discriminator=critic)
    assert len(lines) == 2 and "table of channels is 8, 6, 4" in lines[0]
    assert "holds a discriminator too" in convert_networks(tmp_path / "b.pt", tmp_path / "c.safetensors")[1]
    convert_networks(tmp_path / "b.pt", tmp_path / "e.safetensors", networks="discriminator")
    read, original = load_generator(tmp_path / "c.safetensors"), load_generator(source)
    assert same(read.state_dict(), original.state_dict()) and read.config == original.config
    assert generator_digest(read) == generator_digest(original)
    read_critic = load_discriminator(tmp_path / "e.safetensors")
    assert same(read_critic.state_dict(), discriminator.state_dict()) and read_critic.config == discriminator.config


def test_names_and_sizes_are_those_of_the_public_code():
    reference = np.load(DATA / "stylegan2_rosinality_128px_cm1.npz")
    expected = reference_state(reference, rosinality_value)
    written = rosinality_generator(Generator([512, 512, 512, 512, 256, 128]))
    assert {name: value.shape for name, value in written.items()} == {name: value.shape for name, value in expected.items()}
    assert all(torch.equal(written[name], expected[name]) for name in expected if name.endswith("kernel"))
    # Their filters of downsampling keep the mean.
    critic = rosinality_discriminator(Discriminator([6, 4]))
    assert critic["convs.1.conv2.0.kernel"].equal(KERNEL) and critic["convs.1.skip.0.kernel"].equal(KERNEL)
    assert critic["final_conv.0.weight"].shape == (6, 7, 3, 3) and critic["final_linear.0.weight"].shape == (6, 96)


@pytest.mark.parametrize(
    "channels, multiplier",
    [
        ((512, 512, 512, 512), 2),
        ((512, 512, 512, 512, 256, 128), 1),
        ((512, 512, 512, 512, 512, 256, 128, 64, 32), 2),
        ((512, 512, 256, 128, 64, 32, 16), None),
        ((512, 512, 512, 512, 100), None),
        ((192, 192, 128, 64, 32), None),
    ],
)
def test_channel_multiplier(channels, multiplier):
    assert public_channel_multiplier(channels) == multiplier


@pytest.mark.parametrize(
    "options, word",
    [
        ({"conv_clamp": 256.0}, "--drop_conv_clamp"),
        ({"z_dim": 5}, "z_dim 5 and w_dim 7"),
        ({"normalize_z": False}, "normalize_z"),
        ({"mapping_lr_multiplier": 0.1}, "mapping_lr_multiplier 0.1"),
    ],
)
def test_what_the_other_layout_cannot_say_is_refused(tmp_path, options, word):
    source = own_generator(tmp_path / "a.safetensors", **options)
    assert word in message_of(source, tmp_path / "b.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_discriminators_that_cannot_be_said_are_refused(tmp_path):
    source = own_generator(tmp_path / "a.safetensors")
    for options, word in (({"deviation_group": 2}, "deviation_group 2"), ({"conv_clamp": 9.0}, "conv_clamp 9")):
        critic = save_discriminator(tmp_path / "d.safetensors", Discriminator([8, 6, 4], **options))
        assert word in message_of(source, tmp_path / "b.pt", discriminator=critic)
    critic = save_discriminator(tmp_path / "d.safetensors", Discriminator([8, 6]))
    assert "16 px, got one of 8 px" in message_of(source, tmp_path / "b.pt", discriminator=critic)
    assert not (tmp_path / "b.pt").exists()


def test_a_dropped_bound_is_measured(tmp_path):
    source = own_generator(tmp_path / "a.safetensors", conv_clamp=0.5)
    critic = save_discriminator(tmp_path / "d.safetensors", Discriminator([8, 6, 4], conv_clamp=256.0))
    lines = convert_networks(source, tmp_path / "b.pt", discriminator=critic, drop_conv_clamp=True)
    assert float(lines[0].split("at most ")[1].split()[0]) > 0
    assert load_generator(tmp_path / "b.pt").conv_clamp is None
    assert load_discriminator(tmp_path / "b.pt").conv_clamp is None
    wide = own_generator(tmp_path / "w.safetensors", conv_clamp=1e6)
    assert "at most 0 in" in convert_networks(wide, tmp_path / "c.pt", drop_conv_clamp=True)[0]


def test_nothing_to_drop_is_said(tmp_path):
    source = own_generator(tmp_path / "a.safetensors")
    assert "no bound" in convert_networks(source, tmp_path / "b.pt", drop_conv_clamp=True)[-1]


@pytest.mark.parametrize("target", ["b.pt", "b.safetensors"])
def test_a_discriminator_beside_the_generator_alone_is_refused(tmp_path, target):
    source = own_generator(tmp_path / "a.safetensors")
    critic = tmp_path / "missing.safetensors"
    assert "alone is written" in message_of(source, tmp_path / target, networks="generator", discriminator=critic)


def test_where_networks_come_from_stays_with_them(tmp_path):
    source = write_rosinality(tmp_path / "a.pt", tiny_rosinality_state(), d=rosinality_discriminator(Discriminator([8, 4])))
    convert_networks(source, tmp_path / "b.safetensors")
    convert_networks(tmp_path / "b.safetensors", tmp_path / "c.safetensors")
    convert_networks(source, tmp_path / "d.safetensors", networks="discriminator")
    for name in "bcd":
        assert describe_weights(tmp_path / f"{name}.safetensors").origin == "rosinality"
        artefact = identify(tmp_path / f"{name}.safetensors")
        assert artefact.layout == "rosinality"
        assert "NVIDIA" in check_licences({"x": artefact})[0].text
    facts = describe_generator(tmp_path / "b.safetensors")
    assert (facts.layout, facts.origin) == ("latentrig", "rosinality")
    assert describe_weights(own_generator(tmp_path / "e.safetensors")).origin == ""


def test_files_are_kept(tmp_path):
    source = own_generator(tmp_path / "a.safetensors")
    before = source.read_bytes()
    assert "both" in message_of(source, source, overwrite=True)
    assert "ends in .safetensors or .pt" in message_of(source, tmp_path / "b.pkl")
    target = tmp_path / "sub" / "b.pt"
    convert_networks(source, target)
    assert "--overwrite" in message_of(source, target)
    target.write_bytes(b"old")
    convert_networks(source, target, overwrite=True)
    load_generator(target)
    assert source.read_bytes() == before
    assert [path.name for path in target.parent.iterdir()] == ["b.pt"]
    message_of(tmp_path / "missing.pt", tmp_path / "c.pt")
    assert "one network" in message_of(source, tmp_path / "c.safetensors", discriminator=source)
    message_of(source, tmp_path / "c.safetensors", drop_conv_clamp=True)
    message_of(source, tmp_path / "c.pt", networks="discriminator")


def test_real_generator_there_and_back(tmp_path):
    source = SHARED / "data" / "real_faces_64px" / "generator.pkl"
    if not source.exists():
        pytest.skip(f"needs {source}")
    convert_networks(source, tmp_path / "a.safetensors")
    convert_networks(source, tmp_path / "b.pt", drop_conv_clamp=True)
    original = load_generator(source)
    assert same(load_generator(tmp_path / "a.safetensors").state_dict(), original.state_dict())
    assert same(load_generator(tmp_path / "b.pt").state_dict(), original.state_dict())


def test_command(tmp_path, capsys):
    source = own_generator(tmp_path / "a.safetensors")
    cli.main(["convert", str(source), str(tmp_path / "b.pt")])
    assert "generator of 16 px, 6 layers of width 7" in capsys.readouterr().out
    cli.main(["convert", "--overwrite", str(tmp_path / "b.pt"), str(tmp_path / "c.safetensors"), "--networks=generator"])
    with pytest.raises(SystemExit) as stop:
        cli.main(["convert", str(source), str(tmp_path / "b.pt")])
    assert stop.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_half_precision_halves_a_generator(tmp_path: Path) -> None:
    """Pictures hardly change, and files trained for the one are told from those for the other."""
    whole = own_generator(tmp_path / "whole.safetensors")
    _, line = convert_networks(whole, tmp_path / "half.safetensors", half=True)
    assert "pictures of seeds 0 to 7 change by at most" in line
    one, other = load_generator(whole), load_generator(tmp_path / "half.safetensors")
    codes = one.broadcast(one.mapping(torch.randn(4, 7)))
    torch.testing.assert_close(other.synthesis(codes), one.synthesis(codes), atol=0.02, rtol=0.02)
    assert generator_digest(one) != generator_digest(other)
    assert torch.equal(one.mean_w, other.mean_w)
    sizes = [path.stat().st_size for path in (whole, tmp_path / "half.safetensors")]
    assert sizes[1] < 0.8 * sizes[0]
    with pytest.raises(InputError, match="expected half for a generator in .safetensors"):
        convert_networks(whole, tmp_path / "half.pt", half=True)


def test_weights_beyond_half_precision_leave_the_earlier_file(tmp_path: Path) -> None:
    generator = load_generator(own_generator(tmp_path / "whole.safetensors"))
    generator.const[0, 0, 0] = 7e4
    large = save_generator(tmp_path / "large.safetensors", generator)
    earlier = own_generator(tmp_path / "half.safetensors").read_bytes()
    message = message_of(large, tmp_path / "half.safetensors", half=True, overwrite=True)
    assert "expected weights of at most 65504 for half precision, const of this generator" in message
    assert (tmp_path / "half.safetensors").read_bytes() == earlier
