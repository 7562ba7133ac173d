"""The published settings at full size: first steps on untrained StyleGAN2 networks of FFHQ's sizes, with the full face mesh."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
import yaml
from torchvision.models import vgg16

import cli
from datamodules.face_fits import FaceFitSettings
from models.morphable.procedural import procedural_model
from models.stylegan2 import Discriminator
from models.stylegan2.loading import save_discriminator, save_generator
from models.stylegan2.sizing import SizedGenerator
from models.weights import describe_weights, load_weights
from tests.conftest import ROOT
from tests.tiny_stylerig import write_networks

pytestmark = pytest.mark.slow

STEPS = (
    "--trainer.max_steps 2 --trainer.limit_val_batches 0 --trainer.num_sanity_val_steps 0 --trainer.accelerator cpu "
    "--trainer.precision 32-true --trainer.enable_model_summary false --logger.wandb disabled --data.batch_size 1"
).split()


@pytest.mark.parametrize(
    ("size", "layers", "channel_base", "control"),
    [(1024, 18, 32768, "all"), (256, 14, 16384, "expression")],
    ids=["ffhq1024", "ffhq256"],
)
def test_published_settings_take_their_first_steps(
    size: int, layers: int, channel_base: int, control: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F first, then a rig on it, by the commands that the configs name; one pair per step, all else as it stands there."""
    folder = f"configs/ffhq{size}"
    settings = yaml.safe_load((ROOT / folder / "stylerig.yaml").read_text())["model"]["init_args"]
    assert procedural_model(settings["scene"]["density"]).vertex_count >= 53_000
    assert settings["scene"]["image_size"] is None and settings["scene"]["primitive"] == "points"
    monkeypatch.chdir(tmp_path)
    landmarker = write_networks(tmp_path)["landmarker"]
    torch.manual_seed(0)
    generator = save_generator(
        tmp_path / "full.safetensors", SizedGenerator(size, channel_base, channel_max=512, z_dim=512, w_dim=512)
    )
    files = ["--model.generator", str(generator), "--model.landmarker", landmarker]
    faces = ["--config", f"{folder}/face_reconstruction.yaml", "--model.settings.landmark_steps", "1"]
    cli.main(["fit", *faces, *files, *STEPS])
    rig = ["--config", f"{folder}/stylerig.yaml", "--config", f"configs/controls/{control}.yaml"]
    cli.main(["fit", *rig, *files, *STEPS])
    (written,) = tmp_path.glob("runs/*/*/rignet.safetensors")
    config = describe_weights(written).config
    assert (config["num_layers"], config["w_dim"], config["latent"]) == (layers, 512, 32)
    assert config["sources"]["face_model"] == "procedural:full"
    state = load_weights(written, "rignet")[0]
    assert state["decoder_weight"].shape == (layers, 32 + (3 + 64 + 27 if control == "all" else 64), 512)
    assert all(bool(torch.isfinite(value).all()) for value in state.values()) and bool(state["decoder_weight"].any())


def test_published_stylefaceuv_takes_its_first_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fits, F3D, the yaw's direction, Fyaw and the UV generator, each on what the one before wrote."""
    folder = "configs/ffhq256/stylefaceuv"
    monkeypatch.chdir(tmp_path)
    landmarker = write_networks(tmp_path)["landmarker"]
    torch.manual_seed(0)
    network = SizedGenerator(256, 16384, channel_max=512, z_dim=512, w_dim=512)
    generator = str(save_generator(tmp_path / "full.safetensors", network))
    discriminator = str(save_discriminator(tmp_path / "critic.safetensors", Discriminator(network.channels)))
    torch.save(
        {f"features.{name}": value for name, value in vgg16().features.state_dict().items()}, tmp_path / "vgg16.pth"
    )
    own = ["--model.generator", generator]

    # Of each fit one step is taken, and whatever untrained networks make of each other's pictures is kept.
    fits = replace(
        FaceFitSettings.published(), rigid_steps=1, steps=1, largest_landmark_error=1e9, largest_colour_error=1e9
    )
    data = [
        "--data.generator",
        generator,
        "--data.landmarker",
        landmarker,
        "--data.count",
        "6",
        "--data.max_yaw_deg",
        "null",
    ]
    data += [
        "--data.fit_batch_size",
        "3",
        "--data.validation_fraction",
        "0.3",
        "--data.settings",
        json.dumps(asdict(fits)),
    ]
    cli.main(["fit", "--config", f"{folder}_coefficients.yaml", *own, *data, *STEPS])
    coefficients = "ffhq256/code_coefficients.safetensors"
    assert describe_weights(coefficients).config["num_layers"] == 14

    named = ["--generator", generator, "--face-reconstruction", coefficients, "--face-model", "procedural:full"]
    few = ["--codes", "600", "--held-out", "600", "--attributes", "yaw"]
    cli.main(["directions", *named, *few, "--output", "ffhq256/directions.safetensors"])
    cli.main(["fit", "--config", f"{folder}_step_size.yaml", *own, *STEPS])

    networks = ["--model.discriminator", discriminator, "--model.perceptual", str(tmp_path / "vgg16.pth")]
    cli.main(["fit", "--config", f"{folder}_uv.yaml", *own, *networks, *STEPS])
    config = describe_weights("ffhq256/uv_generator.safetensors").config
    assert config["sources"]["face_model"] == "procedural:full"
    state = load_weights("ffhq256/uv_generator.safetensors", "stylefaceuv-uv-generator")[0]
    assert all(bool(torch.isfinite(value).all()) for value in state.values())


def test_published_lifted_gan_takes_its_first_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the shipped identity network in place of facenet's, which is fetched."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    network = SizedGenerator(256, 16384, channel_max=512, z_dim=512, w_dim=512)
    generator = str(save_generator(tmp_path / "full.safetensors", network))
    torch.save(
        {f"features.{name}": value for name, value in vgg16().features.state_dict().items()}, tmp_path / "vgg16.pth"
    )
    networks = ["--model.generator", generator, "--model.perceptual", str(tmp_path / "vgg16.pth")]
    networks += ["--model.embedder", "assets/demo_identity.safetensors"]
    cli.main(["fit", "--config", "configs/ffhq256/lifted_gan.yaml", *networks, *STEPS])
    state, config = load_weights("ffhq256/lifted_gan.safetensors", "lifted-gan")
    assert (config["resolution"], config["w_dim"], config["settings"]["mlp_width"]) == (256, 512, 512)
    assert state["depth.network.0.weight"].shape == (512, 512, 4, 4)
    assert all(bool(torch.isfinite(value).all()) for value in state.values())
