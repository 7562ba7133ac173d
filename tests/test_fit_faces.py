"""Faces fitted in batches: to known pictures, kept in shards, resumed, shared out, served to training, and `lightning fit-faces`."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

import cli
from commands.fit_faces import parse_share
from datamodules.face_fits import (
    FAILURES,
    FaceFits,
    FaceFitSettings,
    FitScene,
    FitWeights,
    fit_faces,
    load_fitted_faces,
)
from datamodules.face_fits.descent import DescentSchedule, descend_rows
from datamodules.face_fits.objective import FitObjective
from datamodules.fitted_faces import FittedFacesDataModule
from datamodules.latent_pairs import PairRecipe
from models.morphable import FaceParameters, MorphableModel
from models.stylegan2.loading import load_generator
from models.weights import save_weights
from renderers.camera import PerspectiveCamera
from renderers.errors import InputError
from renderers.face_renderer import FaceRenderer
from renderers.images import to_signed
from renderers.rotation import rotation_distance
from tests.tiny_stylerig import LAYERS, WIDTH, write_networks
from tests.toy_face import SIZES, toy_face_model, toy_parameters

SIZE = 24
QUICK = FaceFitSettings(rigid_steps=50, steps=30)
# Whatever untrained networks make of each other's pictures is kept.
ANYTHING = FaceFitSettings(rigid_steps=2, steps=2, largest_landmark_error=100.0, largest_colour_error=100.0)


def world(count: int) -> tuple[FaceParameters, Tensor, Tensor, FaceRenderer, MorphableModel]:
    """Toy faces, their pictures and landmarks, and who draws them."""
    model = toy_face_model()
    renderer = FaceRenderer(model, PerspectiveCamera(), SIZE)
    truth = toy_parameters(count, spread=0.5)
    render = renderer(truth)
    return truth, to_signed(render.image), render.landmarks, renderer, model


def fitted(count: int, settings: FaceFitSettings = QUICK, batch_size: int = 64) -> tuple[FaceParameters, FaceFits]:
    truth, *rest = world(count)
    return truth, fit_faces(*rest, settings, batch_size)


def bowl(targets: Tensor, scale: Tensor):
    """Losses whose least values lie at `targets`, of identity coefficients."""

    def loss(rows: Tensor, parameters: FaceParameters) -> Tensor:
        return scale[rows] * (parameters.identity[:, :1] - targets[rows]).square().sum(dim=1)

    return loss


def test_poses_of_known_pictures_are_recovered_and_kept():
    truth, fits = fitted(4, replace(QUICK, rigid_steps=60, steps=60, tolerance=0.0))
    assert float(rotation_distance(fits.parameters.rotation, truth.rotation).rad2deg().max()) < 4
    assert fits.failure.tolist() == [0] * 4 and float(fits.landmark_error.max()) < 0.01
    # The weight on even skin, which the toy's is not, keeps colours from agreeing entirely.
    assert float(fits.colour_error.max()) < 0.2
    assert not fits.parameters.pack().requires_grad


def test_fits_do_not_depend_on_the_batch():
    few = replace(QUICK, rigid_steps=8, steps=6, tolerance=0.0)
    _, together = fitted(5, few)
    _, apart = fitted(5, few, batch_size=2)
    torch.testing.assert_close(together.parameters.pack(), apart.parameters.pack(), atol=2e-3, rtol=1e-2)
    assert together.steps.tolist() == apart.steps.tolist() == [6] * 5


def test_a_row_is_optimised_as_by_torch_alone():
    start, targets = FaceParameters.zeros(3, SIZES), torch.tensor([[1.0], [-2.0], [0.5]])
    found = descend_rows(
        bowl(targets, torch.ones(3)), start, DescentSchedule(20, {"identity": 0.1}, decay=True, batch_size=2)
    )
    for row in range(3):
        value = torch.zeros(1, requires_grad=True)
        adam = torch.optim.Adam([value], lr=0.1)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(adam, 20)
        for _ in range(20):
            adam.zero_grad()
            (value - targets[row]).square().sum().backward()
            adam.step()
            cosine.step()
        torch.testing.assert_close(found.parameters.identity[row, :1], value.detach(), atol=1e-5, rtol=1e-4)
    assert not found.parameters.identity[:, 1:].any() and not found.parameters.rotation.any()


def test_a_row_that_has_converged_ends_and_makes_room():
    targets = torch.tensor([[0.05], [3.0], [0.05], [3.0]])
    schedule = DescentSchedule(400, {"identity": 0.05}, tolerance=0.1, window=10, batch_size=2)
    # A constant that nothing moves: the near targets are soon as good as reached.
    loss = bowl(targets, torch.ones(4))
    found = descend_rows(
        lambda rows, parameters: loss(rows, parameters) + 0.1, FaceParameters.zeros(4, SIZES), schedule
    )
    assert (found.steps[[0, 2]] < found.steps[[1, 3]]).all() and int(found.steps.max()) < 400
    torch.testing.assert_close(found.parameters.identity[:, :1], targets, atol=0.2, rtol=0)
    alone = descend_rows(
        lambda rows, parameters: loss(rows, parameters) + 0.1,
        FaceParameters.zeros(4, SIZES),
        replace(schedule, batch_size=1),
    )
    assert alone.steps.tolist() == found.steps.tolist()


def test_failures_are_told_apart():
    _, images, landmarks, renderer, model = world(4)
    landmarks[1] = torch.nan
    landmarks[2] = torch.rand(68, 2) * SIZE
    images[3] = -images[3]
    fits = fit_faces(
        images,
        landmarks,
        renderer,
        model,
        replace(QUICK, steps=5, largest_landmark_error=0.05, largest_colour_error=0.1),
    )
    assert [FAILURES[number] for number in fits.failure[1:].tolist()] == [
        "landmarks not read",
        "landmarks missed",
        "colours missed",
    ]
    assert bool(torch.isfinite(fits.parameters.pack()).all())


def test_terms_have_the_published_form():
    truth, images, landmarks, renderer, model = world(2)
    objective = FitObjective(renderer, model, FitWeights(), images, landmarks)
    everyone, mean = torch.arange(2), FaceParameters.zeros(2, SIZES)
    weights = torch.ones(68)
    weights[28:31] = weights[48:68] = 10
    squared = (renderer.project_landmarks(mean) - landmarks).square().sum(dim=2) / SIZE**2
    wanted = 100 * (squared * weights).sum(dim=1) / weights.sum()
    torch.testing.assert_close(objective.rigid(everyone, mean), wanted)
    colours = model.albedo(truth.reflectance)
    flatness = (colours - colours.mean(dim=1, keepdim=True)).square().sum(dim=2).mean(dim=1)
    priors = [
        scale * getattr(truth, name).square().sum(dim=1)
        for name, scale in (("identity", 1e-3), ("expression", 8e-4), ("reflectance", 1.7e-6))
    ]
    # At the truth landmarks agree, and colours to the root of the smallest square.
    torch.testing.assert_close(objective.full(everyone, truth), flatness + sum(priors), atol=1e-3, rtol=0)
    published = FaceFitSettings.published()
    assert (published.rigid_steps, published.steps, set(vars(published.rates).values())) == (1000, 500, {0.01})


def test_wrong_settings_and_pictures_are_refused():
    for options in ({"steps": 0}, {"tolerance": 1.0}, {"largest_colour_error": 0.0}):
        with pytest.raises(InputError, match="expected"):
            FaceFitSettings(**options)
    with pytest.raises(InputError, match="landmarks that count"):
        FitWeights(landmark=0.0)
    with pytest.raises(InputError, match="finite step sizes"):
        DescentSchedule(1, {"rotation": 0.0})
    _, images, landmarks, renderer, model = world(1)
    with pytest.raises(InputError, match="finite pictures"):
        fit_faces(images * torch.nan, landmarks, renderer, model)
    with pytest.raises(InputError, match="at least 24 x 24 pixels"):
        fit_faces(images[:, :, ::2, ::2], landmarks, renderer, model)
    with pytest.raises(InputError, match="68 landmarks, got 66"):
        fit_faces(images, landmarks[:, :66], renderer, model)


@pytest.fixture
def networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setattr(FitScene, "load_face_model", lambda self: toy_face_model())
    # The verb's own preset as well is quick, and keeps what untrained networks make.
    monkeypatch.setattr(FaceFitSettings, "preset", classmethod(lambda cls, name: ANYTHING))
    return write_networks(tmp_path)


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


def test_parts_are_those_of_one_run_and_files_that_are_there_stay(networks, tmp_path, capsys):
    whole, shared = tmp_path / "whole", tmp_path / "shared"
    verb(networks, whole)
    verb(networks, shared, "--shard", "2/2")
    assert [path.name for path in shared.iterdir()] == ["faces-00000004-00000008.safetensors"]
    assert "others are missing" in capsys.readouterr().out
    before = (shared / "faces-00000004-00000008.safetensors").stat().st_mtime_ns
    verb(networks, shared)
    assert (shared / "faces-00000004-00000008.safetensors").stat().st_mtime_ns == before
    assert "1 of 3 files are there already" in capsys.readouterr().out
    torch.testing.assert_close(load_fitted_faces(shared).parameters, load_fitted_faces(whole).parameters)


def test_damaged_files_are_fitted_again_and_longer_sets_continue(networks, tmp_path):
    folder = tmp_path / "fits"
    verb(networks, folder)
    first = folder / "faces-00000000-00000004.safetensors"
    whole, wanted = first.read_bytes(), load_fitted_faces(folder).parameters
    first.write_bytes(whole[:-9])
    verb(networks, folder, "--count", "11")
    again = load_fitted_faces(folder)
    assert len(again) == 11 and len(list(folder.glob("faces-*"))) == 3
    torch.testing.assert_close(again.parameters[:10], wanted, atol=1e-4, rtol=1e-3)
    with pytest.raises(SystemExit):
        verb(networks, folder, "--count", "9")


def test_a_folder_of_other_fits_is_refused_in_one_line(networks, tmp_path, capsys):
    folder = tmp_path / "fits"
    verb(networks, folder)
    for words, what in (
        (["--seed", "1"], "source"),
        (["--steps", "3"], "settings"),
        (["--focal_length", "5"], "camera"),
    ):
        with pytest.raises(SystemExit) as stopped:
            verb(networks, folder, *words)
        error = capsys.readouterr().err
        assert stopped.value.code == 2 and what in error and error.count("\n") == 1
    for words in (["--shard", "3/2"], ["--shard", "x"], ["--photos", str(tmp_path)], ["--batch_size", "0"]):
        with pytest.raises(SystemExit) as stopped:
            verb(networks, folder, *words)
        assert stopped.value.code == 2 and capsys.readouterr().err.count("\n") == 1


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


def test_places_of_processes(monkeypatch):
    assert parse_share(None) == (0, 1) and parse_share("2/4") == (1, 4)
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert parse_share(None) == (3, 8) and parse_share("1/1") == (0, 1)


def test_the_data_module_fits_what_is_missing_and_splits_by_number(networks, tmp_path):
    folder = tmp_path / "fits"
    data = module(networks, folder)
    data.setup("fit")
    rows = {
        name: torch.cat([batch.indices for batch in loader])
        for name, loader in (("train", data.train_dataloader()), ("val", data.val_dataloader()))
    }
    assert set(rows["val"].tolist()).isdisjoint(rows["train"].tolist()) and len(rows["train"]) >= 4 and len(rows["val"])
    batch = next(iter(data.train_dataloader()))
    assert batch.codes.shape == (2, LAYERS, WIDTH) and batch.parameters.shape == (2, SIZES.total)
    torch.testing.assert_close(batch.parameters, data.faces.parameters[batch.indices])
    # Others add to what is held out, and change nothing of it; the generator is not needed once all is there.
    longer = module(networks, folder, count=16)
    longer.setup("fit")
    held_out = torch.cat([batch.indices for batch in longer.val_dataloader()]).tolist()
    assert [number for number in held_out if number < 10] == rows["val"].tolist()
    alone = FittedFacesDataModule(str(folder), batch_size=2, validation_fraction=0.3)
    alone.setup("fit")
    assert len(alone.faces) == 16


def test_training_goes_on_where_it_stopped(networks, tmp_path):
    first = module(networks, tmp_path / "fits")
    first.setup("fit")
    order = [batch.indices.tolist() for batch in first.train_dataloader()]
    batches = iter(first.train_dataloader())
    next(batches)
    resumed = module(networks, tmp_path / "fits")
    resumed.setup("fit")
    resumed.load_state_dict(first.state_dict())
    assert [batch.indices.tolist() for batch in resumed.train_dataloader()] == order[1:]


def test_faces_that_are_turned_far_can_be_left_out(networks, tmp_path):
    verb(networks, tmp_path / "fits")
    yaw = load_fitted_faces(tmp_path / "fits").fitted().rotation[:, 1].rad2deg().abs()
    bound = float(yaw.median()) + 1e-4
    data = module(networks, tmp_path / "fits", max_yaw_deg=bound, batch_size=1)
    data.setup("fit")
    served = [batch.indices for loader in (data.train_dataloader(), data.val_dataloader()) for batch in loader]
    assert sorted(torch.cat(served).tolist()) == (yaw < bound).nonzero()[:, 0].tolist()


def test_impossible_data_is_refused(networks, tmp_path):
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
    verb(networks, tmp_path / "fits")
    shutil.copy(
        tmp_path / "fits/faces-00000000-00000004.safetensors", tmp_path / "fits/faces-00000000-00000005.safetensors"
    )
    with pytest.raises(InputError, match="twice"):
        load_fitted_faces(tmp_path / "fits")
