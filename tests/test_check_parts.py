"""Parts of `lightning check`: what files hold, whose licence binds them, what measured memory is held against."""

import multiprocessing
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from evaluation.run_checks.estimate import check_memory
from evaluation.run_checks.files import check_files
from evaluation.run_checks.kinds import PACKAGE_WEIGHTS, Artefact, identify
from evaluation.run_checks.licences import check_licences
from evaluation.run_checks.references import Reference, find_references
from evaluation.run_checks.shapes import check_provenance
from evaluation.run_checks.trial import TrialResult, _memory_of_workers
from models.morphable import ParameterSizes
from models.stylefaceuv import CodeCoefficients, MirrorStep, StepSize, UVGenerator
from models.stylefaceuv.sources import FaceSources
from models.stylegan2 import Discriminator, Generator, load_discriminator, load_generator
from models.stylegan2.digest import generator_digest
from models.stylegan2.loading import save_discriminator, save_generator
from models.stylegan2.rosinality import rosinality_discriminator
from models.stylerig import Provenance
from models.weights import asset_path, save_weights
from renderers.errors import InputError
from tests.conftest import ROOT
from tests.stylegan2_files import ada_network, write_ada, write_persistent, write_rosinality
from tests.test_stylegan2_loading import ada_discriminator_state, tiny_ada_state, tiny_rosinality_state

pytestmark = pytest.mark.filterwarnings("ignore:.*carries no mean of W")


def test_only_shipped_files_are_this_projects() -> None:
    def status(name: str, layout: str = "latentrig") -> tuple[str, str]:
        line = check_licences({"x": Artefact(asset_path(name), "generator", layout)})[0]
        return line.status, line.text

    assert status("demo_generator.safetensors") == ("ok", "MIT, as this project, model card assets/demo_generator.md")
    assert status("mine.safetensors")[1].startswith("unknown")
    assert "NVIDIA" in status("ffhq.pkl", "ada")[1] and "NVIDIA" in status("demo_generator.safetensors", "ada")[1]
    for name, layout in (("vgg16", "vgg16"), ("observers", "shipped")):
        line = check_licences({"x": Artefact(Path(name), *PACKAGE_WEIGHTS[name])})[0]
        assert PACKAGE_WEIGHTS[name] == ("perceptual features", layout)
        assert line.text.startswith("MIT, as this project") == (name == "observers")


def test_whatever_fit_opens_is_recognised(tmp_path: Path) -> None:
    state, critic = tiny_rosinality_state(), Discriminator([8, 4])
    generators, discriminators = [], []
    for number, contents in enumerate((state, {"g": state}, {"g_ema": state}, {"g": state, "d": {}})):
        generators.append(tmp_path / f"{number}.pt")
        torch.save(contents, generators[-1])
    generators.append(generators[0].rename(tmp_path / "no-suffix"))
    generators[0] = write_ada(tmp_path / "g.pkl", G=ada_network("Generator", tiny_ada_state()))
    for name in ("own", "own.pkl"):
        own = save_generator(tmp_path / "x.safetensors", Generator([4], z_dim=4, w_dim=4))
        generators.append(own.rename(tmp_path / name))
    generators.append(write_rosinality(tmp_path / "old.pt", state, zipped=False).rename(tmp_path / "old.model"))
    for number, contents in enumerate((rosinality_discriminator(critic), {"d": rosinality_discriminator(critic)})):
        discriminators.append(tmp_path / f"d{number}.pt")
        torch.save(contents, discriminators[-1])
    network = ada_network("Discriminator", ada_discriminator_state(critic))
    network.module("b4").attributes["_modules"]["mbstd"] = ada_network("MinibatchStdLayer", {}, group_size=4)
    discriminators.append(write_ada(tmp_path / "d.pkl", D=network))
    discriminators.append(write_persistent(tmp_path / "alone.pkl", network))
    discriminators.append(save_discriminator(tmp_path / "d.safetensors", critic).rename(tmp_path / "d.bin"))
    for path in generators:
        load_generator(path)
        assert identify(path).kind == "generator", path
    for path in discriminators:
        load_discriminator(path)
        assert identify(path).kind == "discriminator", path


def test_other_files_stay_files(tmp_path: Path) -> None:
    torch.save([torch.ones(1)], tmp_path / "list.pt")
    (tmp_path / "notes").write_text("some text")
    for name in ("list.pt", "notes"):
        assert identify(tmp_path / name).kind == "file"
    os.mkfifo(tmp_path / "pipe.pkl")
    with pytest.raises(InputError, match="pipe"):
        identify(tmp_path / "pipe.pkl")


def test_files_of_pie_are_told_apart(tmp_path: Path) -> None:
    assert identify(asset_path("demo_directions.safetensors")).kind == "linear directions"
    Image.new("RGB", (8, 8)).save(tmp_path / "me.png")

    def status(owner: str, parameter: str, value: Path) -> str:
        reference = Reference(parameter, str(value), owner, parameter, "input", (parameter,))
        return check_files([reference])[0][0].status

    assert status("PIE", "rig", asset_path("demo_pie_rig_pose.safetensors")) == "ok"
    assert status("PIE", "rig", asset_path("demo_generator.safetensors")) == "fix"
    assert status("EmbeddingDataModule", "landmarks", asset_path("demo_generator.safetensors")) == "fix"
    for photos in (tmp_path, tmp_path / "me.png"):
        assert status("EmbeddingDataModule", "photos", photos) == "ok"


def test_files_of_stylefaceuv_are_told_apart(tmp_path: Path) -> None:
    sizes, provenance = ParameterSizes(3, 2, 3), Provenance("0" * 64, (0.5, 1.0), 4.0, 10.0, (0.0, 0.0))
    files = {
        "code coefficients": CodeCoefficients(2, 4, sizes, (1,)).save(tmp_path / "c.safetensors", provenance),
        "step size": StepSize(2, 4, (1,)).save(tmp_path / "s.safetensors", provenance),
        "UV generator": UVGenerator([6, 4], 8).save(tmp_path / "u.safetensors", provenance, FaceSources("g", "c", "f")),
        "fitted faces": save_weights(tmp_path / "faces-0-1.safetensors", {"x": torch.zeros(1)}, "fitted-faces", {}),
    }
    assert identify(MirrorStep(2, 4, (1,)).save(tmp_path / "m.safetensors", provenance)).kind == "step size"
    for kind, path in files.items():
        assert identify(path).kind == kind
    config = {
        "coefficients": str(files["code coefficients"]),
        "second_reader": str(asset_path("demo_face_encoder.safetensors")),
        "directions": str(asset_path("demo_directions.safetensors")),
        "step_size": str(files["step size"]),
    }
    for value, status in ((None, "ok"), (str(files["UV generator"]), "fix")):
        named = {name: value or path for name, path in config.items()}
        references = find_references({"model": named})
        assert {each.parameter for each in references} == set(config)
        assert {check.status for check in check_files(references)[0]} == {status}


def test_fits_are_read_where_no_generator_would_make_them(tmp_path: Path) -> None:
    fits = tmp_path / "fits"
    save_weights(fits / "faces-00000000-00000001.safetensors", {"x": torch.zeros(1)}, "fitted-faces", {})
    assert identify(fits).described == "fitted faces, 1 files"
    options: dict[str, str | None] = {"folder": str(fits), "generator": None}
    data = {"class_path": "datamodules.fitted_faces.FittedFacesDataModule", "init_args": options}
    (reference,) = find_references({"data": data})
    assert reference.role == "input" and check_files([reference])[0][0].status == "ok"
    line = check_files([replace(reference, value=str(tmp_path))])[0][0]
    assert line.expected == "a folder of fitted faces"
    options["generator"] = "g.pkl"
    assert {each.parameter: each.role for each in find_references({"data": data})} == {
        "folder": "written",
        "generator": "input",
    }


def test_files_of_the_figures_of_stylefaceuv_are_known() -> None:
    judge, folder = str(asset_path("demo_judge.safetensors")), str(ROOT / "configs")
    for name, value, status in (
        ("one_view", judge, "fix"),
        ("features", judge, "ok"),
        ("real_pictures", folder, "fix"),
        ("embeddings", folder, "ok"),
        ("perceptual", "observers", "ok"),
        ("perceptual", judge, "fix"),
    ):
        callback = {"class_path": "evaluation.stylefaceuv.figures.StyleFaceUVFigures", "init_args": {name: value}}
        references = find_references({"trainer": {"callbacks": [callback]}})
        assert [check.status for check in check_files(references)[0]] == [status]


def test_directions_are_those_of_the_generator_beside_them() -> None:
    generator = Artefact(asset_path("demo_generator.safetensors"), "generator")
    digest = generator_digest(load_generator(generator.path))
    for wanted, status in ((digest, "ok"), ("0" * 64, "fix")):
        directions = Artefact(Path("d.safetensors"), "linear directions", config={"generator_digest": wanted})
        # Of a callback, which names no generator: the model's.
        found = {"model.generator": generator, "trainer.callbacks.0.directions": directions}
        (line,) = check_provenance(found)
        assert (line.name, line.status) == ("trainer.callbacks.0.directions for model.generator", status)


def test_photos_are_those_that_training_reads(tmp_path: Path) -> None:
    for number in range(2):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number}.gif")
    (tmp_path / ".hidden.png").write_bytes(b"no picture")
    assert identify(tmp_path).described == "photos, 2 pictures, the first 8 x 8 px"
    reference = Reference("model.generator", str(tmp_path), "StyleRig", "generator", "input", ("model", "generator"))
    line = check_files([reference])[0][0]
    assert (
        line.got is not None
        and "a folder of photos, 2 pictures" in line.got
        and line.advice == "name a generator by --model.generator"
    )
    reference = Reference("data.root", str(tmp_path / "0.gif"), "PortraitDataModule", "root", "input", ("data", "root"))
    line = check_files([reference])[0][0]
    assert line.expected == "a folder of photos" and line.advice == "name a folder of photos by --data.root"


def test_memory_is_that_of_the_largest_trial() -> None:
    gib = 2**30
    first = TrialResult(memory=3 * gib, worker_memory=2 * gib, device_memory=(6 * gib, 8 * gib))
    last = TrialResult(memory=4 * gib, worker_memory=gib, device_memory=(5 * gib, 9 * gib))
    host, device = check_memory([first, last], gib, 2, 100 * gib)
    assert "4.0 GiB measured + 2.0 GiB of the processes that load data + 1.0 GiB of pictures" in host.text
    assert "= 14.0 GiB of 100.0 GiB free" in host.text and host.status == "ok"
    assert device.text == "6.0 GiB measured of 8.0 GiB free" and device.status == "ok"
    tight = check_memory([TrialResult(device_memory=(6 * gib, 5 * gib))], 0, 1, gib)[1]
    assert tight.status == "fix" and tight.got == "5.0 GiB free"
    unknown = check_memory([TrialResult(memory=gib, worker_memory=None)], 0, 1, 100 * gib)
    assert "without the processes that load data" in unknown[0].text


@pytest.mark.skipif(
    not Path("/proc/self/smaps_rollup").exists(), reason="the system does not tell the memory of other processes"
)
def test_memory_of_workers_is_counted() -> None:
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(ready, done))
    before = _memory_of_workers()
    process.start()
    try:
        assert ready.wait(60)
        held = _memory_of_workers()
        assert before is not None and held is not None and held - before > 50 * 2**20
    finally:
        done.set()
        process.join()


def _hold(ready, done) -> None:
    numbers = bytearray(b"x") * (50 * 2**20)
    ready.set()
    done.wait(60)
    del numbers
