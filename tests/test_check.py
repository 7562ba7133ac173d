"""`lightning check`: passes what is shipped, and names what is wrong with anything else."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

import cli
from commands.arguments import find_configs
from commands.check import CheckCLI
from evaluation.run_checks import isolation, measurement
from evaluation.run_checks.kinds import identify
from evaluation.run_checks.licences import LICENCES, check_licences, licence_table
from evaluation.run_checks.references import find_references
from evaluation.run_checks.report import failed_by
from evaluation.run_checks.schedule import phases_of, steps_of
from lightning_modules.stylefaceuv import StyleFaceUV
from lightning_modules.stylegan2 import StyleGAN2
from lightning_modules.warm_start import WarmStart
from models.stylegan2 import Discriminator, Generator
from renderers.errors import InputError
from tests.config_overrides import OVERRIDES
from tests.conftest import ROOT
from tests.photo_files import write_photos
from tests.test_cli import TINY as TINY_TEXT
from tests.tiny_pie import write_pie_networks
from tests.tiny_stylefaceuv import write_stylefaceuv_networks
from tests.tiny_stylerig import write_networks

TINY = TINY_TEXT.replace("anything", "generator.safetensors")
POSE = "configs/demo/stylerig_pose.yaml"
CPU = ["--trainer.accelerator", "cpu", "--logger.wandb", "disabled"]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with untrained networks, and trials in this process, which spares the imports of another."""

    def call_here(function: Callable[..., Any], *arguments: Any, log: Path) -> Any:
        return function(*arguments)

    monkeypatch.setattr(measurement, "call_in_process", call_here)
    monkeypatch.chdir(tmp_path)
    write_networks(tmp_path)
    write_photos(tmp_path / "photos")
    return tmp_path


def check(*words: str, code: int = 0) -> dict[str, dict[str, Any]]:
    """Run a check; its lines by name. Nothing but the file of --json may be written."""
    here = Path.cwd()
    before = files(here)
    result = here / "result.json"
    if code:
        with pytest.raises(SystemExit) as stop:
            cli.main(["check", *words, "--json", str(result)])
        assert stop.value.code == code
    else:
        cli.main(["check", *words, "--json", str(result)])
    found = json.loads(result.read_text())
    result.unlink()
    assert files(here) == before
    assert found["passed"] == (code == 0)
    return {line["name"]: line for line in found["checks"]} | {"estimate": found["estimate"] or {}}


def small(config: str) -> list[str]:
    return ["--config", config, *CPU, *" ".join(OVERRIDES[config]).split()]


@pytest.mark.parametrize("config", sorted(OVERRIDES))
def test_every_shipped_config_passes(config: str, folder: Path) -> None:
    if config.endswith("/pie.yaml"):
        write_pie_networks(folder)
    if "stylefaceuv" in config:
        write_stylefaceuv_networks(folder)
    lines = check(*small(config), "--steps", "1")
    measured = lines["estimate"]["run"]
    assert measured["steps"] >= 1 and measured["memory"] > 2**20 and measured["checkpoint"] > 0
    assert all(seconds > 0 for seconds in measured["seconds"].values())
    assert lines["time in all"]["status"] == "ok"
    assert sum(measured["batches_of_run"].values()) == (4 if "teacher" in config else 2)
    assert not (folder / "runs").exists()


def test_a_run_that_trains_its_face_reconstruction_first_has_both_trials(folder: Path) -> None:
    # The overlay pins its own number of steps.
    few = ("--model.face_reconstruction_run.steps", "2")
    lines = check(*small(POSE), "--config", "configs/real64.yaml", *few, "--steps", "1")
    first = lines["estimate"]["face reconstruction"]
    assert first["batches_of_run"] == {"all": 2} and lines["time per step, face reconstruction"]["status"] == "ok"


def test_as_shipped_all_is_known_without_steps(folder: Path) -> None:
    lines = check("--config", POSE, *CPU, "--steps", "0")
    assert lines["model.face_reconstruction for model.generator"]["status"] == "ok"
    assert lines["licence of model.generator"]["text"].endswith("model card assets/demo_generator.md")
    assert lines["time, memory, disk"]["status"] == "skipped"


@pytest.mark.slow
def test_steps_run_in_a_process_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "tiny.yaml").write_text(TINY)
    write_networks(tmp_path)
    before = os.environ.get("WANDB_DIR")
    lines = check("--config", "tiny.yaml")
    assert lines["estimate"]["run"]["batches_of_run"] == {"all": 2}
    assert os.environ.get("WANDB_DIR") == before
    with pytest.raises(isolation.ProcessEnded) as ended:
        isolation.call_in_process(os._exit, 3, log=tmp_path / "log")
    assert ended.value.code == 3


def test_missing_wrong_and_damaged_files_are_all_named(folder: Path) -> None:
    (folder / "half.safetensors").write_bytes((folder / "landmarks.safetensors").read_bytes()[:1000])
    words = ["--model.generator", "nowhere.safetensors", "--model.landmarker", "generator.safetensors"]
    words += ["--model.face_reconstruction", "half.safetensors"]
    lines = check("--config", POSE, *CPU, *words, code=1)
    assert "nowhere.safetensors" in lines["model.generator"]["expected"]
    assert lines["model.landmarker"]["expected"] == "a landmark network"
    assert "generator" in lines["model.landmarker"]["got"] and lines["model.landmarker"]["advice"]
    assert "cut short" in lines["model.face_reconstruction"]["got"]
    assert lines["model and data"]["status"] == "skipped"


def test_reconstruction_of_another_generator_is_named(folder: Path) -> None:
    lines = check("--config", POSE, *CPU, "--model.generator", "generator.safetensors", code=1)
    line = lines["model.face_reconstruction for model.generator"]
    assert "10 layers x 128" in line["expected"] and "6 layers x 12" in line["got"] and "train anew" in line["advice"]


def test_batch_that_no_deviation_group_divides_is_named(folder: Path) -> None:
    lines = check(*small("configs/teacher.yaml"), "--data.batch_size", "6", code=1)
    assert lines["deviation group"]["got"] == "6"
    assert lines["deviation group"]["advice"] == "--data.batch_size 4 or 8"
    assert lines["time, memory, disk"]["status"] == "skipped"


def test_image_size_of_another_generator_is_named(folder: Path) -> None:
    lines = check(*small("configs/teacher.yaml"), "--data.image_size", "8", code=1)
    assert lines["image size"]["expected"] == "data of the generator's 16 px" and lines["image size"]["got"] == "8 px"


def test_a_batch_above_the_samples_is_named(folder: Path) -> None:
    lines = check(*small("configs/demo/landmarks.yaml"), "--data.batch_size", "9", code=1)
    assert lines["batch"]["advice"].startswith("--data.batch_size 8")


def test_photos_that_are_too_small_or_too_few_are_named(folder: Path) -> None:
    larger = ["--model.generator.init_args.resolution", "32", "--model.discriminator.init_args.resolution", "32"]
    lines = check(*small("configs/teacher.yaml"), *larger, code=1)
    assert "at least 32 pixels" in lines["photos"]["expected"] and "--size 32" in lines["photos"]["advice"]
    lines = check(*small("configs/teacher.yaml"), "--data.batch_size", "20", code=1)
    assert lines["photos"]["got"] == "16 with mirrored ones"


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a GPU where there is none")
def test_a_gpu_that_is_not_there_is_named(folder: Path) -> None:
    lines = check("--config", POSE, "--trainer.accelerator", "gpu", code=1)
    assert lines["devices"]["got"] == "none that torch sees" and "cpu.yaml" in lines["devices"]["advice"]


def test_what_stops_the_steps_is_reported(folder: Path) -> None:
    (folder / "tiny.yaml").write_text(TINY)
    lines = check("--config", "tiny.yaml", "--model.fail", "input", code=1)
    assert lines["steps"]["advice"] == "check the mesh" and lines["steps"]["expected"] == "finite vertices"
    lines = check("--config", "tiny.yaml", "--model.fail", "defect", code=1)
    assert lines["steps"]["got"] == "RuntimeError: a defect of the program"
    lines = check("--config", "tiny.yaml", "--data.width", "5", code=1)
    assert "RuntimeError" in lines["steps"]["got"]


@pytest.mark.parametrize(
    "words, batches",
    [
        (["--data.size", "4", "--trainer.max_epochs", "1", "--trainer.max_steps", "-1"], 2),
        (["--trainer.fast_dev_run", "true"], 1),
        (["--trainer.accumulate_grad_batches", "4"], 8),
        (["--trainer.overfit_batches", "1", "--trainer.max_epochs", "3", "--trainer.max_steps", "-1"], 3),
    ],
)
def test_runs_of_few_batches_are_measured_all_the_same(words: list[str], batches: int, folder: Path) -> None:
    (folder / "tiny.yaml").write_text(TINY)
    lines = check("--config", "tiny.yaml", *words, "--steps", "3")
    measured = lines["estimate"]["run"]
    assert measured["steps"] == (4 if "--trainer.accumulate_grad_batches" in words else 3)
    assert measured["seconds"]["all"] > 0 and measured["batches_of_run"] == {"all": batches}


def test_a_run_without_batches_is_named(folder: Path) -> None:
    (folder / "tiny.yaml").write_text(TINY)
    lines = check("--config", "tiny.yaml", "--trainer.limit_train_batches", "0", code=1)
    assert "ended by itself after 0" in lines["steps"]["got"] and "limit_train_batches" in lines["steps"]["advice"]
    assert "time in all" not in lines


def test_results_that_cannot_be_written_are_said_first(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "tiny.yaml").write_text(TINY)
    for target in ("tiny.yaml/result.json", "photos"):
        with pytest.raises(SystemExit) as stop:
            cli.main(["check", "--config", "tiny.yaml", "--json", target])
        captured = capfd.readouterr()
        assert stop.value.code == 2 and "--json" in captured.err and captured.out == ""


def test_check_speaks_of_itself(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["check"])
    error = capfd.readouterr().err
    assert stop.value.code == 2 and "fit." not in error and "lightning check --help" in error
    with pytest.raises(SystemExit):
        cli.main(["check", "--help"])
    assert "Look at a training run" in capfd.readouterr().out


def test_a_missing_checkpoint_is_named_as_one(folder: Path) -> None:
    (folder / "tiny.yaml").write_text(TINY)
    lines = check("--config", "tiny.yaml", "--ckpt_path", "nowhere.ckpt", code=1)
    assert lines["checkpoint"]["got"].startswith("nowhere.ckpt") and "run folder" not in lines


def test_run_folder_and_checkpoint(folder: Path) -> None:
    (folder / "tiny.yaml").write_text(TINY)
    cli.main(["fit", "--config", "tiny.yaml", "--run.id", "one"])
    lines = check("--config", "tiny.yaml", "--run.id", "one", "--steps", "0", code=1)
    assert "which exists" in lines["run folder"]["got"]
    resumed = ["--config", "tiny.yaml", "--run.id", "one", "--ckpt_path", "last"]
    assert "2 tensors that fit, step 2" in check(*resumed, "--steps", "1")["checkpoint"]["text"]
    lines = check(*resumed, "--model.width", "6", code=1)
    assert "linear.weight (1, 4) for (1, 6)" in lines["checkpoint"]["got"]


@pytest.mark.parametrize("words", [["--model.generatr", "x"], ["--config", "nowhere.yaml"], ["--steps", "-1"]])
def test_unusable_arguments_end_with_one_line(
    words: list[str], folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    with pytest.raises(SystemExit) as stop:
        cli.main(["check", "--config", POSE, *words])
    assert stop.value.code == 2
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_table_ends_with_what_to_do(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check("--config", POSE, *CPU, "--model.generator", "nowhere.pkl", code=1)
    output = capsys.readouterr().out
    assert "To fix, 1 of 1: model.generator" in output
    for word in ("expected", "got", "do "):
        assert f"  {word}" in output


def test_references_come_from_types_names_and_values() -> None:
    config = yaml.safe_load((ROOT / "configs/demo/judge.yaml").read_text())
    config["data"]["init_args"]["folder"] = "somewhere"
    config["trainer"]["callbacks"] = [
        {"class_path": "pytorch_lightning.callbacks.EarlyStopping", "init_args": {"monitor": "validate/loss"}},
        {"class_path": "evaluation.stylerig.measuring.StyleRigEdits", "init_args": {"judge": "judge.safetensors"}},
    ]
    found = {each.key: (each.role, each.owner) for each in find_references(config)}
    assert found == {
        "data.folder": ("written", "SyntheticPortraitDataModule"),
        "trainer.callbacks.1.judge": ("input", "StyleRigEdits"),
    }


def test_errors_are_taken_apart() -> None:
    error = InputError("expected weights of kind judge, /a/b holds rignet; name a file of that kind")
    line = failed_by("judge", error)
    assert (line.expected, line.got) == ("weights of kind judge", "/a/b holds rignet")
    assert line.advice == "name a file of that kind"
    line = failed_by("x", InputError("expected 3 parts, of which 2 differ, got 1; give 3"))
    assert (line.expected, line.got, line.advice) == ("3 parts, of which 2 differ", "1", "give 3")


def test_licences_by_layout(folder: Path) -> None:
    photos = folder / "own"
    photos.mkdir()
    Image.new("RGB", (20, 10)).save(photos / "a.png")
    (photos / "LICENSE").write_text("mine")
    found = {"root": identify(photos), "generator": identify(folder / "generator.safetensors")}
    assert found["root"].described == "photos, 1 pictures, the first 20 x 10 px"
    lines = {line.name: line for line in check_licences(found)}
    assert lines["licence of root"].status == "note" and lines["licence of root"].text.endswith("own/LICENSE")
    assert lines["licence of generator"].text.startswith("unknown")
    assert LICENCES["ada"].binds and "non-commercial" in LICENCES["ada"].terms and not LICENCES["ict"].binds
    assert licence_table() in (ROOT / "docs" / "licences.md").read_text()


def test_real_files_are_recognised(shared: Path) -> None:
    assert identify(ROOT / "tests/data/bfm_tools_model.mat").layout == "bfm-front"
    data = shared / "data"
    wanted = {
        "real_faces_64px/generator.pkl": ("generator", "ada"),
        "face_landmark_68": ("landmark network", "face-api"),
        "ict_facekit/ict_facekit.npz": ("face model", "ict"),
        "portraits": ("photos", ""),
    }
    for name, (kind, layout) in wanted.items():
        if not (data / name).exists():
            pytest.skip(f"no {data / name}")
        artefact = identify(data / name)
        assert (artefact.kind, artefact.layout) == (kind, layout)


def test_phases_of_a_generator_are_weighed() -> None:
    networks = {"generator": Generator([4, 4], z_dim=4, w_dim=4), "discriminator": Discriminator([4, 4])}
    warm = WarmStart(images=100, discriminator_images=20)
    model = StyleGAN2(**networks, warm_start=warm, total_images=300, r1_interval=16, path_length_weight=2.0)
    assert {phase.name: phase.images for phase in phases_of(model)} == {"supervised": 80, "adversarial": 220}
    steps = [step for step in steps_of(model, 3) if step.phase == "adversarial"]
    # Of 16 steps, 12 have no penalty (3 of them are measured), 3 a path length's, 1 both.
    assert [round(step.weight, 6) for step in steps] == [0, 0.25, 0.25, 0.25, 3 / 16, 1 / 16]
    steps[-1].prepare()
    assert (int(model.images_seen), int(model.discriminator_steps)) == (100, 0)


@pytest.fixture
def uv_words(folder: Path) -> list[str]:
    """The demo's training of a UV generator on untrained networks."""
    write_stylefaceuv_networks(folder)
    return small("configs/demo/stylefaceuv_uv.yaml")


def test_turns_of_the_discriminator_are_weighed(uv_words: list[str]) -> None:
    cli_of_run = CheckCLI(find_configs(uv_words))
    model, _ = cli_of_run.build()
    assert isinstance(model, StyleFaceUV)
    steps = steps_of(model, 2)
    # Of 5 steps 4 are of the generator alone; of 16 with the discriminator 15 without its penalty.
    assert [round(step.weight, 6) for step in steps] == [0, 0.4, 0.4, 0.1875, 0.0125]
    turns = []
    for step in steps:
        step.prepare()
        turns.append(divmod(int(model.steps), model.settings.generator_steps))
    assert turns[0] == turns[1] == turns[2] and turns[0][1] > 0 and turns[3] == (1, 0) and turns[4] == (0, 0)


def test_batches_of_pairs_are_counted_in_codes(uv_words: list[str]) -> None:
    six = check(*uv_words, "--data.batch_size", "6", "--steps", "0")
    assert six["deviation group"]["text"] == "12 codes in 1 part"
    line = check(*uv_words, "--data.batch_size", "3", "--data.train_pairs", "9", code=1)["deviation group"]
    assert "6 codes in parts of 6" in line["got"] and "settings.parts" in line["advice"]


def test_fits_are_tried_on_a_few_faces_and_those_that_are_there_are_read(folder: Path) -> None:
    words = small("configs/demo/stylefaceuv_coefficients.yaml")
    settings = {"rigid_steps": 60, "steps": 30, "largest_landmark_error": 100.0, "largest_colour_error": 100.0}
    many = ["--data.count", "600", "--data.fit_batch_size", "8", "--data.settings", json.dumps(settings)]
    epochs = ["--trainer.max_steps", "-1", "--trainer.max_epochs", "2"]
    lines = check(*words, *many, *epochs, "--steps", "1")
    assert "fits 600 faces first, the trial 20 with 6 + 3 of 60 + 30 steps" in lines["time per step"]["text"]
    assert "for 600 faces" in lines["time of fits"]["text"]
    # 70 % of 600 in batches of 2, twice.
    assert lines["estimate"]["run"]["batches_of_run"] == {"all": 420}
    cli.main(["fit", *words])
    written = sorted((folder / "fits").iterdir())
    lines = check(*words, "--run.id", "other", "--steps", "1")
    assert "time of fits" not in lines and "fits" not in lines["time per step"]["text"]
    assert sorted((folder / "fits").iterdir()) == written
    line = check(*words, "--run.id", "other", "--data.code_seed", "1", code=1)["data"]
    assert "fits of the same source" in line["expected"] and line["advice"] == "name another folder"
