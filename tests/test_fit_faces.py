"""Fitted faces kept in shards, resumed, shared out, served to training, and `lightning fit-faces`."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

import cli
from commands.fit_faces import parse_share
from datamodules.face_fits import (
    FaceFitSettings,
    FitScene,
    FolderFaces,
    load_fitted_faces,
)
from datamodules.face_fits.shards import find_shards, join_shards, load_shard
from datamodules.fitted_faces import FittedFacesDataModule
from datamodules.latent_pairs import PairRecipe
from models.stylegan2.loading import load_generator
from models.weights import save_weights
from renderers.errors import InputError
from tests.tiny_stylerig import LAYERS, WIDTH, write_networks
from tests.toy_face import SIZES, toy_face_model

# Whatever untrained networks make of each other's pictures is kept.
ANYTHING = FaceFitSettings(rigid_steps=2, steps=2, largest_landmark_error=100.0, largest_colour_error=100.0)


def be_quick(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(FitScene, "load_face_model", lambda self: toy_face_model())
    # The verb's own preset as well is quick, and keeps what untrained networks make.
    patch.setattr(FaceFitSettings, "preset", classmethod(lambda cls, name: ANYTHING))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], Path]:
    """Networks, and a folder of ten fits."""
    folder = tmp_path_factory.mktemp("written")
    names = write_networks(folder)
    with pytest.MonkeyPatch.context() as patch:
        be_quick(patch)
        verb(names, folder / "fits")
    return names, folder / "fits"


@pytest.fixture
def networks(written: tuple[dict[str, str], Path], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    be_quick(monkeypatch)
    return written[0]


@pytest.fixture
def fits(written: tuple[dict[str, str], Path], tmp_path: Path) -> Path:
    """A copy of the ten fits."""
    return Path(shutil.copytree(written[1], tmp_path / "fits"))


def verb(networks: dict[str, str], folder: Path, *words: str) -> None:
    named = ["--generator", networks["generator"], "--landmarker", networks["landmarker"], "--output", str(folder)]
    cli.main(
        ["fit-faces", *named, "--count", "10", "--shard_size", "4", "--batch_size", "4", "--device", "cpu", *words]
    )


def module(networks: dict[str, str], folder: Path, **options) -> FittedFacesDataModule:
    sizes = {"count": 10, "shard_size": 4, "batch_size": 2, "validation_fraction": 0.3, **options}
    return FittedFacesDataModule(str(folder), networks["generator"], networks["landmarker"], **sizes)


def test_the_verb_writes_codes_of_the_recipe_with_their_fits(networks, tmp_path, capsys):
    verb(networks, tmp_path / "fits")
    faces = load_fitted_faces(tmp_path / "fits")
    assert faces.indices.tolist() == list(range(10)) and faces.parameters.shape == (10, SIZES.total)
    generator = load_generator(networks["generator"])
    pairs = PairRecipe(0, 1).pairs(generator, "train", torch.arange(5))
    wanted = torch.stack([pairs.w, pairs.v], dim=1).flatten(0, 1)
    torch.testing.assert_close(faces.codes_of(torch.arange(10)), wanted)
    # One latent for all layers is kept once.
    assert faces.codes is not None and faces.codes.shape == (10, 1, WIDTH) and faces.layers == LAYERS
    summary = json.loads((tmp_path / "fits/summary.json").read_text())
    assert summary["faces"]["kept"] == 10 and summary["fitted_with"]["settings"]["steps"] == 2
    assert "10 of 10 faces fitted" in capsys.readouterr().out


def test_parts_are_those_of_one_run_and_files_that_are_there_stay(networks, fits, tmp_path, capsys):
    shared = tmp_path / "shared"
    verb(networks, shared, "--shard", "2/2")
    assert [path.name for path in shared.iterdir()] == ["faces-00000004-00000008.safetensors"]
    assert "others are missing" in capsys.readouterr().out
    before = (shared / "faces-00000004-00000008.safetensors").stat().st_mtime_ns
    verb(networks, shared)
    assert (shared / "faces-00000004-00000008.safetensors").stat().st_mtime_ns == before
    assert "1 of 3 files are there already" in capsys.readouterr().out
    torch.testing.assert_close(load_fitted_faces(shared).parameters, load_fitted_faces(fits).parameters)


def test_damaged_files_are_fitted_again_and_longer_sets_continue(networks, fits):
    folder = fits
    first = folder / "faces-00000000-00000004.safetensors"
    whole, wanted = first.read_bytes(), load_fitted_faces(folder).parameters
    first.write_bytes(whole[:-9])
    verb(networks, folder, "--count", "11")
    again = load_fitted_faces(folder)
    assert len(again) == 11 and len(list(folder.glob("faces-*"))) == 3
    torch.testing.assert_close(again.parameters[:10], wanted, atol=1e-4, rtol=1e-3)
    with pytest.raises(SystemExit):
        verb(networks, folder, "--count", "9")


def test_a_folder_of_other_fits_is_refused_in_one_line(networks, fits, tmp_path, capsys):
    for words, what in (
        (["--seed", "1"], "source"),
        (["--steps", "3"], "settings"),
        (["--focal_length", "5"], "camera"),
    ):
        with pytest.raises(SystemExit) as stopped:
            verb(networks, fits, *words)
        error = capsys.readouterr().err
        assert stopped.value.code == 2 and what in error and error.count("\n") == 1
    for words in (
        ["--shard", "3/2"],
        ["--shard", "x"],
        ["--photos", str(tmp_path)],
        ["--batch_size", "0"],
        ["--image_size", "0"],
    ):
        with pytest.raises(SystemExit) as stopped:
            verb(networks, fits, *words)
        assert stopped.value.code == 2 and capsys.readouterr().err.count("\n") == 1


def test_fits_of_something_else_are_neither_removed_nor_replaced(networks, fits, tmp_path, capsys):
    first, last = fits / "faces-00000000-00000004.safetensors", fits / "faces-00000008-00000010.safetensors"
    # Longer than the file of other fits, which the new one would contain.
    (alone := tmp_path / "alone").mkdir()
    shutil.copy(last, alone)
    with pytest.raises(SystemExit):
        verb(networks, alone, "--count", "12", "--seed", "1")
    assert "expected fits of the same source" in capsys.readouterr().err
    assert [path.name for path in alone.iterdir()] == [last.name]
    save_weights(first, {"x": torch.zeros(1)}, "other", {})
    before = first.read_bytes()
    with pytest.raises(SystemExit):
        verb(networks, fits)
    assert "holds other" in capsys.readouterr().err and first.read_bytes() == before


def test_fits_with_another_camera_are_not_joined(networks, fits):
    one, *others = (load_shard(path) for path in find_shards(fits))
    moved = replace(one, provenance=replace(one.provenance, focal_length=5.0))
    with pytest.raises(InputError, match="expected the camera that"):
        join_shards([moved, *others], fits)


def test_faces_that_fail_are_left_out_with_their_reason(networks, tmp_path, monkeypatch, capsys):
    strict = replace(ANYTHING, largest_colour_error=1e-6)
    monkeypatch.setattr(FaceFitSettings, "preset", classmethod(lambda cls, name: strict))
    verb(networks, tmp_path / "fits")
    faces = load_fitted_faces(tmp_path / "fits")
    assert len(faces) == 0 and faces.failed.tolist() == list(range(10)) and faces.counts()["colours missed"] == 10
    assert "0 of 10 faces fitted (10 colours missed)" in capsys.readouterr().out
    with pytest.raises(InputError, match="to train on and to hold out"):
        FittedFacesDataModule(str(tmp_path / "fits")).setup("fit")


def test_photos_are_fitted_too(networks, tmp_path, capsys):
    (photos := tmp_path / "photos").mkdir()
    for name in ("a", "b", "c"):
        Image.new("RGB", (20, 20), (90, 120, 60)).save(photos / f"{name}.png")
    words = ["--photos", str(photos), "--image_size", "16", "--landmarker", networks["landmarker"], "--device", "cpu"]
    cli.main(["fit-faces", *words, "--output", str(tmp_path / "fits")])
    faces = load_fitted_faces(tmp_path / "fits")
    assert faces.names == ("a.png", "b.png", "c.png") and faces.codes is None
    with pytest.raises(InputError, match="photos, which have no codes"):
        FittedFacesDataModule(str(tmp_path / "fits")).setup("fit")


def test_a_photo_that_replaces_another_of_the_same_size_is_no_face_that_was_fitted(networks, tmp_path, capsys):
    (photos := tmp_path / "photos").mkdir()
    for name, colour in (("a", (90, 120, 60)), ("b", (60, 120, 90))):
        Image.new("RGB", (20, 20), colour).save(photos / f"{name}.bmp")
    words = ["--photos", str(photos), "--image_size", "16", "--landmarker", networks["landmarker"], "--device", "cpu"]
    cli.main(["fit-faces", *words, "--output", str(tmp_path / "fits")])
    before = FolderFaces(photos, 16).describe()
    assert FolderFaces(photos, 16).describe() == before
    size = (photos / "b.bmp").stat().st_size
    Image.new("RGB", (20, 20), (60, 90, 120)).save(photos / "b.bmp")
    assert (photos / "b.bmp").stat().st_size == size and FolderFaces(photos, 16).describe() != before
    capsys.readouterr()
    with pytest.raises(SystemExit):
        cli.main(["fit-faces", *words, "--output", str(tmp_path / "fits")])
    assert "expected fits of the same source" in capsys.readouterr().err


def test_faces_that_are_missing_are_counted(networks, fits, tmp_path):
    assert module(networks, fits).missing() == 0 and module(networks, fits, count=14).missing() == 6
    assert module(networks, tmp_path / "none").missing() == 10
    assert FittedFacesDataModule(str(tmp_path / "none")).missing() == 0
    with pytest.raises(InputError, match="same settings"):
        module(networks, fits, settings=replace(ANYTHING, steps=3)).missing()


def test_places_of_processes(monkeypatch):
    assert parse_share(None) == (0, 1) and parse_share("2/4") == (1, 4)
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert parse_share(None) == (3, 8) and parse_share("1/1") == (0, 1)


def test_the_data_module_fits_what_is_missing_and_splits_by_number(networks, fits):
    folder = fits
    (missing := folder / "faces-00000004-00000008.safetensors").unlink()
    data = module(networks, folder)
    data.setup("fit")
    assert missing.exists() and data.faces.indices.tolist() == list(range(10))
    rows = {
        name: torch.cat([batch.indices for batch in loader])
        for name, loader in (("train", data.train_dataloader()), ("val", data.val_dataloader()))
    }
    assert set(rows["val"].tolist()).isdisjoint(rows["train"].tolist()) and len(rows["train"]) >= 4 and len(rows["val"])
    batch = next(iter(data.train_dataloader()))
    assert batch.codes.shape == (2, LAYERS, WIDTH) and batch.parameters.shape == (2, SIZES.total)
    torch.testing.assert_close(batch.parameters, data.faces.parameters[batch.indices])
    # Others add to what is held out, and change nothing of it; the generator is not needed once all is there.
    longer = module(networks, folder, count=14)
    longer.setup("fit")
    held_out = torch.cat([batch.indices for batch in longer.val_dataloader()]).tolist()
    assert [number for number in held_out if number < 10] == rows["val"].tolist()
    alone = FittedFacesDataModule(str(folder), batch_size=2, validation_fraction=0.3)
    alone.setup("fit")
    assert len(alone.faces) == 14


def test_training_goes_on_where_it_stopped(networks, fits):
    first = module(networks, fits)
    first.setup("fit")
    order = [batch.indices.tolist() for batch in first.train_dataloader()]
    batches = iter(first.train_dataloader())
    next(batches)
    resumed = module(networks, fits)
    resumed.setup("fit")
    resumed.load_state_dict(first.state_dict())
    assert [batch.indices.tolist() for batch in resumed.train_dataloader()] == order[1:]


def test_faces_that_are_turned_far_can_be_left_out(networks, fits):
    yaw = load_fitted_faces(fits).fitted().rotation[:, 1].rad2deg().abs()
    bound = float(yaw.median()) + 1e-4
    data = module(networks, fits, max_yaw_deg=bound, batch_size=1)
    data.setup("fit")
    served = [batch.indices for loader in (data.train_dataloader(), data.val_dataloader()) for batch in loader]
    assert sorted(torch.cat(served).tolist()) == (yaw < bound).nonzero()[:, 0].tolist()


def test_impossible_data_is_refused(networks, fits, tmp_path):
    for options in ({"batch_size": 0}, {"validation_fraction": 0.0}, {"max_yaw_deg": -1.0}):
        with pytest.raises(InputError, match="expected a"):
            module(networks, tmp_path, **options)
    with pytest.raises(InputError, match="or neither"):
        FittedFacesDataModule(str(tmp_path), networks["generator"])
    with pytest.raises(InputError, match="found none"):
        FittedFacesDataModule(str(tmp_path / "none")).setup("fit")
    save_weights(tmp_path / "faces-0.safetensors", {"x": torch.zeros(1)}, "other", {})
    with pytest.raises(InputError, match="of kind fitted-faces"):
        load_fitted_faces(tmp_path / "faces-0.safetensors")
    with pytest.raises(InputError, match="batch of one face or more, got 0"):
        module(networks, tmp_path, fit_batch_size=0).setup("fit")
    shutil.copy(fits / "faces-00000000-00000004.safetensors", fits / "faces-00000000-00000005.safetensors")
    with pytest.raises(InputError, match="twice"):
        load_fitted_faces(fits)
