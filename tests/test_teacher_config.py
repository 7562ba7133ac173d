"""configs/teacher.yaml through the command line: sizes, a run on a folder of photos, and a rig on the generator it leaves."""

import signal
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from pytorch_lightning import Callback, Trainer

import cli
from lightning_modules.stylegan2 import StyleGAN2
from models.stylegan2 import load_discriminator, load_generator
from models.stylegan2.loading import save_generator
from models.stylegan2.sizing import SizedDiscriminator, SizedGenerator, channels_by_resolution
from models.weights import describe_weights
from renderers.errors import InputError
from tests.config_overrides import OVERRIDES
from tests.conftest import ROOT
from tests.photo_files import write_photos
from tests.tiny_stylerig import write_networks

TEACHER = "configs/teacher.yaml"
WORDS = "--trainer.accelerator cpu --logger.wandb disabled --trainer.enable_model_summary false".split()


def overrides(config: str) -> list[str]:
    return " ".join(OVERRIDES[config]).split()


def fit(config: str, *words: str) -> None:
    cli.main(["fit", "--config", config, *WORDS, *overrides(config), *words])


@pytest.mark.parametrize(
    ("resolution", "base", "channels"),
    [
        # The paper's configuration F, and ADA's for 256 pixels.
        (1024, 32768, [512, 512, 512, 512, 512, 256, 128, 64, 32]),
        (256, 16384, [512, 512, 512, 512, 256, 128, 64]),
        (64, 16384, [512, 512, 512, 512, 256]),
        (4, 16384, [512]),
    ],
)
def test_channels_follow_the_public_rule(resolution: int, base: int, channels: list[int]) -> None:
    assert channels_by_resolution(resolution, base) == channels
    assert max(channels_by_resolution(resolution, base, 100)) == 100


@pytest.mark.parametrize(("resolution", "base"), [(48, 16384), (2, 16384), (256, 128)])
def test_sizes_that_cannot_be_are_refused(resolution: int, base: int) -> None:
    with pytest.raises(InputError, match="resolution"):
        channels_by_resolution(resolution, base)


def test_networks_sized_by_resolution_are_ordinary_ones(tmp_path: Path) -> None:
    generator = SizedGenerator(16, 64, 12, z_dim=4, w_dim=6, mapping_layers=2)
    assert (generator.resolution, generator.num_layers, generator.channels) == (16, 6, (12, 8, 4))
    loaded = load_generator(save_generator(tmp_path / "generator.safetensors", generator))
    z = torch.randn(2, 4)
    torch.testing.assert_close(loaded(z), generator(z))
    assert SizedDiscriminator(16, 64, 12)(torch.zeros(2, 3, 16, 16)).shape == (2,)


def test_the_shipped_sizes_build() -> None:
    settings = yaml.safe_load((ROOT / TEACHER).read_text())["model"]["init_args"]
    generator, discriminator = (settings[name]["init_args"] for name in ("generator", "discriminator"))
    for name in ("resolution", "channel_base", "channel_max"):
        assert generator[name] == discriminator[name]
    with torch.device("meta"):
        assert SizedDiscriminator(**discriminator).resolution == 256
    # ADA's rule of thumb for this size and batch.
    assert settings["r1_gamma"] == pytest.approx(0.0002 * generator["resolution"] ** 2 / 16, rel=0.05)


def test_a_rig_is_trained_on_the_teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_networks(tmp_path)
    write_photos(tmp_path / "photos")
    fit(TEACHER)
    (run,) = (tmp_path / "runs" / "teacher").iterdir()
    assert sorted(path.name for path in (run / "samples").iterdir()) == ["000000008.png", "000000016.png"]
    assert load_generator(run / "generator.safetensors").num_layers == 6
    assert load_discriminator(run / "discriminator.safetensors").resolution == 16
    assert "quality/frechet_judge" in (run / "metrics.csv").read_text()
    rig = "configs/demo/stylerig_pose.yaml"
    fit(rig, "--model.generator", str(run / "generator.safetensors"), "--trainer.max_steps", "1")
    (rig_run,) = (tmp_path / "runs" / "stylerig_pose").iterdir()
    assert describe_weights(rig_run / "rignet.safetensors").config["num_layers"] == 6
    # A continued run goes on from its checkpoint, with the augmentation's state.
    fit(TEACHER, "--run.id", run.name, "--ckpt_path", "last", "--model.total_images", "24")
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert state["images_seen"] == 24 and "augmentation.probability" in state


class Interrupt(Callback):
    """Ctrl-C before the fourth step."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: StyleGAN2, batch: object, batch_idx: int) -> None:
        if int(pl_module.images_seen) == 12:
            raise KeyboardInterrupt


def test_an_interrupted_run_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not where its last samples were written, one step earlier."""
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path / "photos")
    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit) as stopped:
            fit(TEACHER, "--trainer.callbacks+", "tests.test_teacher_config.Interrupt")
    finally:
        signal.signal(signal.SIGINT, handler)  # Lightning leaves it ignored, as it expects the process to end
    assert stopped.value.code == 130
    (run,) = (tmp_path / "runs" / "teacher").iterdir()
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["last.ckpt"]
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]["images_seen"] == 12
    fit(TEACHER, "--run.id", run.name, "--ckpt_path", "last")
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["last.ckpt"]
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]["images_seen"] == 16


def test_photos_that_cannot_be_used_give_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path / "photos")

    def complaint(*words: str) -> str:
        with pytest.raises(SystemExit) as stopped:
            fit(TEACHER, *words)
        assert stopped.value.code == 2
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("lightning:")]
        return line

    assert "found none" not in complaint("--model.generator.init_args.resolution", "32")
    assert "align them with --size 64" in complaint("--data.image_size", "64")
    Image.new("RGB", (32, 24)).save(tmp_path / "photos" / "wide.png")
    assert "wide.png has 32 x 24 pixels; run `lightning align` first" in complaint()
    (tmp_path / "empty").mkdir()
    assert "found none" in complaint("--data.root", "empty")
    cli_words = [word for word in overrides(TEACHER) if word not in ("--data.root", "photos")]
    with pytest.raises(SystemExit) as stopped:
        cli.main(["fit", "--config", TEACHER, *WORDS, *cli_words])
    assert stopped.value.code == 2 and "root" in capsys.readouterr().err
