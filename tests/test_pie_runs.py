"""Runs of PIE over folders: what was begun, what is finished, what is in the way, and what is said of it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

import cli
from datamodules.portrait_batches import EmbeddingDataModule
from lightning_modules.pie.energies import PieEnergies, PieSample, PieTarget
from models.portrait_embedding import load_embeddings
from renderers.errors import InputError
from tests.conftest import ROOT
from tests.tiny_pie import embed, pie, write_pie_networks
from tests.tiny_stylerig import quiet_trainer, use_toy_face


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        use_toy_face(patch)
        yield write_pie_networks(tmp_path_factory.mktemp("networks"))


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    use_toy_face(monkeypatch)


def test_a_portrait_whose_energy_is_lost_at_the_end_is_not_written(
    networks: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    forward = PieEnergies.forward

    def lost(self: PieEnergies, codes: Tensor, target: PieTarget, sample: PieSample | None) -> dict[str, Tensor]:
        energies = forward(self, codes, target, sample)
        return energies if torch.is_grad_enabled() else {name: value * torch.nan for name, value in energies.items()}

    monkeypatch.setattr(PieEnergies, "forward", lost)
    module = pie(networks, tmp_path / "codes")
    embed(tmp_path, module, samples=1)
    assert module.failures == 1 and not (tmp_path / "codes/sample_0000.safetensors").exists()
    assert "not finite at the end; lower the step sizes" in capsys.readouterr().err
    # What is said of it later is of the later run.
    monkeypatch.undo()
    use_toy_face(monkeypatch)
    (tmp_path / "codes/.states/sample_0000.safetensors").unlink()
    trainer = quiet_trainer(tmp_path, max_epochs=1, enable_checkpointing=False, limit_train_batches=1)
    trainer.fit(pie(networks, tmp_path / "codes"), EmbeddingDataModule(samples=1))
    assert "the run ended before it was finished" in (tmp_path / "codes/summary.json").read_text()


def test_with_nothing_left_to_do_the_summary_is_written_all_the_same(networks: dict[str, str], tmp_path: Path) -> None:
    embed(tmp_path, pie(networks, tmp_path / "codes"), samples=1)
    (tmp_path / "codes/summary.json").unlink()
    module = pie(networks, tmp_path / "codes")
    assert embed(tmp_path, module, samples=1).global_step == 0 and module.failures == 0
    assert json.loads((tmp_path / "codes/summary.json").read_text())[0]["status"] == "embedded"


def write_squares(folder: Path, **brightness: int) -> None:
    folder.mkdir(exist_ok=True)
    for name, value in brightness.items():
        Image.new("RGB", (16, 16), (value, 90, 60)).save(folder / f"{name}.png")


def test_a_photo_whose_file_is_taken_is_refused_and_the_others_embedded(
    networks: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Changed since it was embedded, or beside a file of its name that is no embedding: neither is written over."""
    photos, output = tmp_path / "photos", tmp_path / "codes"
    write_squares(photos, one=100, two=200)
    (photos / "notes.txt").write_text("not a photo")
    embed(tmp_path, pie(networks, output), samples=0, photos=str(photos), aligned=True)
    before = (output / "one.safetensors").read_bytes()
    write_squares(photos, one=101, three=30, four=40)
    (output / "three.safetensors").write_bytes(b"mine")
    module = pie(networks, output)
    embed(tmp_path, module, samples=0, photos=str(photos), aligned=True)
    said = capsys.readouterr().err
    assert module.failures == 2
    assert "one: expected an embedding of this portrait in" in said and "three: expected" in said
    assert (output / "one.safetensors").read_bytes() == before
    assert (output / "three.safetensors").read_bytes() == b"mine"
    status = {entry["name"]: entry["status"] for entry in json.loads((output / "summary.json").read_text())}
    assert status == {"one": "refused", "two": "embedded", "three": "refused", "four": "embedded"}


def test_copies_of_a_photo_are_embedded_each_and_alike(networks: dict[str, str], tmp_path: Path) -> None:
    write_squares(tmp_path / "photos", one=100, two=100)
    embed(tmp_path, pie(networks, tmp_path / "codes"), samples=0, photos=str(tmp_path / "photos"), aligned=True)
    one, two = load_embeddings(tmp_path / "codes")
    assert (one.name, two.name) == ("one", "two")
    torch.testing.assert_close(one.w_plus, two.w_plus, rtol=1e-3, atol=1e-3)


def test_a_run_is_continued_by_the_command_that_started_it(
    networks: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although there is no checkpoint for `--ckpt_path last`: the states beside the embeddings are gone on with."""
    monkeypatch.chdir(tmp_path)
    Path("pie.yaml").write_text((ROOT / "configs/demo/pie.yaml").read_text())
    given = [f"--model.{role}={path}" for role, path in networks.items()]
    words = "--data.samples 1 --model.settings.weights.perceptual 0 --model.settings.schedule.w_iterations 2 "
    words += "--model.settings.schedule.w_plus_iterations 2 --model.settings.save_every 1 --trainer.accelerator cpu "
    words += "--logger.wandb disabled --trainer.enable_model_summary false --run.id one --ckpt_path last"
    command = ["fit", "--config", "pie.yaml", *given, *words.split()]
    with pytest.raises(SystemExit, match="^1$"):
        cli.main([*command, "--trainer.limit_train_batches", "1"])
    assert Path("runs/pie/one/embeddings/.states/sample_0000.safetensors").exists()
    cli.main(command)
    (found,) = load_embeddings("runs/pie/one/embeddings")
    assert found.settings["schedule"]["w_iterations"] == 2


def test_checkpoints_are_not_gone_on_from(networks: dict[str, str], tmp_path: Path) -> None:
    module = pie(networks, tmp_path / "codes")
    trainer = embed(tmp_path, module, samples=1)
    trainer.save_checkpoint(tmp_path / "some.ckpt")
    for verb in (trainer.fit, trainer.test):
        with pytest.raises(InputError, match="leave --ckpt_path out"):
            verb(module, datamodule=EmbeddingDataModule(samples=1), ckpt_path=tmp_path / "some.ckpt")
