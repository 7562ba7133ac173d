"""The figures of StyleRig as `lightning test` writes them."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from pytorch_lightning import Trainer
from torch import nn

import cli
from evaluation.figures import Figure, read_figures
from evaluation.stylerig import figures as stylerig_figures
from evaluation.stylerig.figures import StyleRigFigures, summary_numbers
from lightning_modules.stylerig import StyleRig
from lightning_modules.stylerig_settings import StyleRigSettings
from models.stylerig import FaceReconstruction, RigSources
from renderers.errors import InputError
from tests.conftest import ROOT
from tests.test_stylerig import data
from tests.tiny_stylerig import LAYERS, WIDTH, quiet_trainer, use_toy_face, write_networks

FEW = {"mixings": 4, "judged_mixings": 2, "codes": 8, "judged": 4, "edits": 4, "bins": 2, "people": 8}
OF_ROTATION = {
    "layer_changes", "layer_changes_rotation", "mixing_rotation", "parameter_distribution", "parameter_distribution_rotation",
    "parameter_distribution_expression", "parameter_distribution_illumination", "conditional_rotation", "losses_by_edit_size",
    "losses_by_edit_size_rotation", "readings_by_edit_size", "read_error_by_edit_size_rotation",
    "read_changes_by_edit_size_rotation", "limits_in_plane_rotation", "sweep_pitch", "sweep_yaw",
}  # fmt: skip


def write_rig(folder: Path) -> dict[str, str]:
    """Networks of 16 pixels with random weights on disk, as the arguments of `StyleRig` name them."""
    arguments = write_networks(folder)
    module = StyleRig(**arguments, face_reconstruction=None)
    faces = FaceReconstruction(LAYERS, WIDTH, module.face_model.sizes, hidden=8)
    with torch.no_grad():
        faces.net[4].weight.mul_(30)  # type: ignore[operator, union-attr]
    faces.save(folder / "f.safetensors", module.provenance)
    arguments["face_reconstruction"] = str(folder / "f.safetensors")
    module = StyleRig(**arguments)
    nn.init.normal_(module.rignet.decoder_weight, std=0.1)
    module.rignet.save(
        folder / "rignet.safetensors", module.provenance, RigSources("generator", "face_reconstruction", "face_model")
    )
    return {**arguments, "weights": str(folder / "rignet.safetensors")}


def overlay(folder: Path) -> str:
    """The shipped overlay with small numbers."""
    settings = yaml.safe_load((ROOT / "configs/demo/figures.yaml").read_text())
    figures = settings["trainer"]["callbacks"][0]["init_args"]
    assert set(FEW) < set(figures) and set(figures["figures"]) == set(stylerig_figures._ALL)
    figures.update(FEW)
    # The tiny generator paints no portraits.
    settings["trainer"]["callbacks"][1]["init_args"]["known_people"] = 0
    path = folder / "few.yaml"
    path.write_text(yaml.safe_dump(settings))
    return str(path)


def test_the_shipped_overlay_writes_every_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = [word for name, value in write_rig(tmp_path).items() for word in (f"--model.{name}", value)]
    configs = ["--config", "configs/demo/stylerig_pose.yaml", "--config", overlay(tmp_path)]
    few = "--data.batch_size 2 --data.test_pairs 4 --trainer.accelerator cpu --logger.wandb disabled --run.root runs"
    cli.main(["test", *configs, *words, *few.split()])
    (folder,) = (path.parent for path in tmp_path.glob("runs/*/*/stylerig_figures.json"))
    figures = {figure.name: figure for figure in read_figures(folder)}
    assert set(figures) == OF_ROTATION
    for name, figure in figures.items():
        with (folder / "figures" / f"{name}.csv").open() as file:
            rows = list(csv.reader(file))
        assert len(rows) == 1 + len(figure.rows) and len(figure.rows) > 0
        assert (folder / "figures" / f"{name}.png").exists() == (figure.picture is not None)
    numbers = json.loads((folder / "stylerig_figures.json").read_text())
    assert numbers["layer_changes/equal_change/centre_px"] == pytest.approx(2 ** (20 / 6))
    assert numbers["losses_by_edit_size/rotation/edit_loss"] > 0 and numbers["readings_by_edit_size/rotation/error"] > 0
    with (folder / "metrics.csv").open() as file:
        assert any("figures/layer_changes/equal_change/centre_px" in row for row in csv.reader(file))


def test_every_key_of_the_overlay_is_explained() -> None:
    for line in (ROOT / "configs/demo/figures.yaml").read_text().splitlines():
        assert "#" in line or line.strip() in ("init_args:",), line


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StyleRig:
    use_toy_face(monkeypatch)
    return StyleRig(**write_rig(tmp_path), settings=StyleRigSettings(statistics_pairs=4))


def test_only_the_figures_named_are_drawn(rig: StyleRig, tmp_path: Path) -> None:
    callback = StyleRigFigures(["losses_by_edit_size"], edits=4, bins=2)
    quiet_trainer(tmp_path, callbacks=[callback]).test(rig, data(seed=3), verbose=False)
    names = [figure.name for figure in read_figures(tmp_path)]
    assert names == ["losses_by_edit_size_rotation", "losses_by_edit_size"]


def test_the_first_rank_alone_draws(rig: StyleRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = quiet_trainer(tmp_path)
    monkeypatch.setattr(Trainer, "is_global_zero", property(lambda self: False))
    StyleRigFigures(["layer_changes"]).on_test_end(trainer, rig)
    assert not (tmp_path / "figures").exists()


def test_the_codes_follow_the_seed_of_the_data(rig: StyleRig, tmp_path: Path) -> None:
    tables = []
    for name, seed in (("first", 1), ("again", 1), ("other", 2)):
        trainer = quiet_trainer(tmp_path / name, callbacks=[StyleRigFigures(["layer_changes"], mixings=4)])
        trainer.test(rig, data(seed=seed), verbose=False)
        tables.append((tmp_path / name / "figures" / "layer_changes_rotation.csv").read_text())
    assert tables[0] == tables[1] != tables[2]


def test_pictures_and_numbers_are_logged(rig: StyleRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: dict[str, Any] = {}
    monkeypatch.setattr(stylerig_figures, "log_figures", lambda trainer, numbers: logged.update(numbers))
    monkeypatch.setattr(
        stylerig_figures, "log_picture", lambda trainer, name, picture: logged.update({name: picture.shape})
    )
    callback = StyleRigFigures(["layer_changes"], mixings=4)
    quiet_trainer(tmp_path, callbacks=[callback]).test(rig, data(), verbose=False)
    assert logged["figures/layer_changes_rotation"][0] == 3
    assert logged["figures/layer_changes/rotation_change/centre_px"] > 4


def test_summaries_alone_become_numbers() -> None:
    summary = Figure("layer_changes", "", "", ("component", "centre_px"), (("rotation", 8.0),))
    other = Figure("layer_changes_rotation", "", "", ("layer", "x"), ((0, 1.0),))
    assert summary_numbers([other, summary]) == {"layer_changes/rotation/centre_px": 8.0}


def test_what_cannot_be_drawn_is_refused_before_anything_is_computed(rig: StyleRig, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a judge for readings_by_edit_size"):
        StyleRigFigures(["readings_by_edit_size"])
    for name, value in (("mixings", 1), ("codes", 3), ("edits", 19), ("bins", 0), ("people", 7)):
        with pytest.raises(InputError, match=f"expected {name} of at least"):
            StyleRigFigures(["layer_changes"], **{name: value})  # type: ignore[arg-type]
    loader = torch.utils.data.DataLoader(torch.zeros(4, 1))
    with pytest.raises(InputError, match="expected a StyleRig on a LatentPairDataModule"):
        quiet_trainer(tmp_path, callbacks=[StyleRigFigures(["layer_changes"])]).test(rig, loader, verbose=False)


def test_other_faces_than_the_rigs_are_refused_before_anything_is_computed(rig: StyleRig, tmp_path: Path) -> None:
    judge = str(ROOT / "assets/demo_judge.safetensors")
    for callback, message in (
        (StyleRigFigures(["layer_changes"], judge=judge), "expected a judge of the face model's sizes"),
        (StyleRigFigures(["parameter_distribution"], portraits=True), "set portraits to false"),
    ):
        with pytest.raises(InputError, match=message):
            quiet_trainer(tmp_path, callbacks=[callback]).test(rig, data(), verbose=False)
    assert not (tmp_path / "figures").exists()
