"""The command line: runs, their folders, and one clear line for what goes wrong."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

import cli
from commands import arguments, trainer
from lightning_modules import checkpointing, progress
from lightning_modules import run_folder as run_folders
from renderers.errors import InputError
from tests.conftest import ROOT
from tests.tiny_modules import TinyModel

TINY = """
model:
  class_path: tests.tiny_modules.TinyModel
  init_args:
    generator: anything
data:
  class_path: tests.tiny_modules.TinyData
trainer:
  accelerator: cpu
  max_steps: 2
  log_every_n_steps: 1
  enable_model_summary: false
logger:
  wandb: disabled
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with `tiny.yaml`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(TINY)
    return tmp_path


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def only_run(folder: Path) -> Path:
    (run,) = (folder / "runs" / "tiny").iterdir()
    return run


def fails(capfd: pytest.CaptureFixture[str], args: list[str], code: int = 2) -> str:
    """Run a command line that must fail; return its one line on the error stream."""
    capfd.readouterr()
    with pytest.raises(SystemExit) as stop:
        cli.main(args)
    assert stop.value.code == code
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("lightning: ")
    return lines[0]


def test_a_killed_run_keeps_the_checkpoint_of_the_last_interval(folder: Path) -> None:
    program = (
        "from datetime import timedelta; import cli; from commands import trainer; trainer.CHECKPOINT_INTERVAL = timedelta(0); "
        "cli.main(['fit', '--config', 'tiny.yaml', '--model.fail', 'kill'])"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    killed = subprocess.run([sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, check=False)
    assert killed.returncode == -9
    assert torch.load(only_run(folder) / "checkpoints" / "last.ckpt")["global_step"] == 1


def test_fit_writes_only_its_own_folder(folder: Path) -> None:
    cli.main(["fit", "--config", "tiny.yaml"])
    cli.main(["fit", "--config", "tiny.yaml"])
    assert sorted(p.name for p in folder.iterdir()) == ["runs", "tiny.yaml"]
    runs = list((folder / "runs" / "tiny").iterdir())
    assert len(runs) == 2
    for run in runs:
        assert set(files(run)) == {"config.yaml", "metrics.csv", "checkpoints/last.ckpt"}


def test_saved_config_starts_the_same_run_anew(folder: Path) -> None:
    cli.main(["fit", "--config", "tiny.yaml", "--model.generator", "other", "--seed_everything", "7"])
    first = only_run(folder)
    saved = yaml.safe_load((first / "config.yaml").read_text())
    assert saved["model"]["init_args"]["generator"] == "other"
    assert saved["run"] == {"root": "runs", "name": "tiny", "id": None}
    assert "--model.generator other" in (first / "config.yaml").read_text()
    cli.main(["fit", "--config", str(first / "config.yaml"), "--run.id", "again"])
    weights = [torch.load(run / "checkpoints" / "last.ckpt")["state_dict"] for run in (first, first.parent / "again")]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_later_configs_override_earlier_ones(folder: Path) -> None:
    (folder / "wide.yaml").write_text(
        "model: {init_args: {width: 6, weights: {fit: 2.0}}}\ndata: {init_args: {width: 6}}\n"
    )
    cli.main(
        ["fit", "--config", "tiny.yaml", "--config", "wide.yaml", "--model.weights.fit", "3", "--run.name", "named"]
    )
    (run,) = (folder / "runs" / "named").iterdir()
    settings = yaml.safe_load((run / "config.yaml").read_text())
    assert settings["model"]["init_args"]["width"] == 6
    assert settings["model"]["init_args"]["generator"] == "anything"
    assert settings["model"]["init_args"]["weights"] == {"fit": 3.0}
    assert torch.load(run / "checkpoints" / "last.ckpt")["state_dict"]["linear.weight"].shape == (1, 6)


def test_continued_run_keeps_its_folder_and_metrics(folder: Path) -> None:
    cli.main(["fit", "--config", "tiny.yaml"])
    run = only_run(folder)
    config, rows = (run / "config.yaml").read_bytes(), (run / "metrics.csv").read_text().splitlines()
    more = ["--config", "tiny.yaml", "--trainer.max_steps"]
    cli.main(["fit", *more, "4", "--ckpt_path", str(run / "checkpoints" / "last.ckpt")])
    cli.main(["fit", *more, "6", "--ckpt_path", "last", "--run.id", run.name])
    assert only_run(folder) == run
    assert (run / "config.yaml").read_bytes() == config
    assert yaml.safe_load((run / "config-3.yaml").read_text())["trainer"]["max_steps"] == 6
    assert (run / "metrics.csv").read_text().splitlines()[: len(rows)] == rows
    with open(run / "metrics.csv", newline="") as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == [0, 1, 2, 3, 4, 5]
    assert torch.load(run / "checkpoints" / "last.ckpt")["global_step"] == 6


def test_last_starts_a_run_that_has_no_checkpoint_yet(folder: Path) -> None:
    cli.main(["fit", "--config", "tiny.yaml", "--ckpt_path", "last", "--run.id", "job-17"])
    assert (folder / "runs" / "tiny" / "job-17" / "checkpoints" / "last.ckpt").is_file()


def test_test_adds_to_the_run_of_its_checkpoint(folder: Path) -> None:
    cli.main(["fit", "--config", "tiny.yaml"])
    run = only_run(folder)
    before = files(run)
    cli.main(["test", "--config", "tiny.yaml", "--ckpt_path", str(run / "checkpoints" / "last.ckpt")])
    after = files(only_run(folder))
    assert set(after) == {*before, "config-test.yaml"}
    assert after["config.yaml"] == before["config.yaml"]
    assert "test/loss" in (run / "metrics.csv").read_text().splitlines()[0]


def test_options_of_the_command_line_win_over_the_checkpoint(folder: Path) -> None:
    cli.main(["fit", "--config", "tiny.yaml"])
    checkpoint = str(only_run(folder) / "checkpoints" / "last.ckpt")
    cli.main(["fit", "--config", "tiny.yaml", "--ckpt_path", checkpoint, "--model.mode", "other", "--run.id", "branch"])
    settings = yaml.safe_load((folder / "runs" / "tiny" / "branch" / "config.yaml").read_text())
    assert settings["model"]["init_args"]["mode"] == "other"


def test_wandb_is_offline_by_default(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    settings = yaml.safe_load(TINY)
    del settings["logger"]
    (folder / "tiny.yaml").write_text(yaml.safe_dump(settings))
    cli.main(["fit", "--config", "tiny.yaml"])
    assert capfd.readouterr().err == ""
    run = only_run(folder)
    assert len(list((run / "wandb").glob("offline-run-*/*.wandb"))) == 1
    assert sorted(p.name for p in folder.iterdir()) == ["runs", "tiny.yaml"]


@pytest.mark.parametrize("name", ["csv", "tensorboard"])
def test_logger_configs(folder: Path, name: str) -> None:
    cli.main(["fit", "--config", "tiny.yaml", "--config", f"configs/logger/{name}.yaml"])
    run = only_run(folder)
    assert (run / "metrics.csv").is_file()
    assert not (run / "wandb").exists()
    assert bool(list(run.rglob("events.out.tfevents*"))) == (name == "tensorboard")


@pytest.mark.parametrize(
    "path", sorted((ROOT / "configs").glob("*er/*.yaml")), ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_partial_configs_parse_and_explain_every_key(folder: Path, path: Path) -> None:
    parser = trainer.TrainerParser(prog="lightning")
    parser.add_lightning_class_args(trainer.Trainer, "trainer")
    parser.add_class_arguments(run_folders.Loggers, "logger")
    parser.parse_object(yaml.safe_load(path.read_text()))
    for line in path.read_text().splitlines():
        assert "#" in line or line.endswith(":") or not line.strip(), f"{path.name}: no reason beside {line!r}"


def test_progress_is_written_as_lines(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cli.main(["fit", "--config", "tiny.yaml"])
    assert "step 2/2" in capfd.readouterr().out


BAD_INPUT = {
    "unknown verb": (["fitt"], "expected one of fit"),
    "no config": (["fit"], "the following arguments are required"),
    "missing config": (["fit", "--config", "absent.yaml"], "absent.yaml"),
    "broken yaml": (["fit", "--config", "broken.yaml"], "line 2"),
    "unknown trainer key": (
        ["fit", "--config", "tiny.yaml", "--trainer.max_stepz", "3"],
        "did you mean 'trainer.max_steps'?",
    ),
    "unknown model key": (["fit", "--config", "tiny.yaml", "--config", "widht.yaml"], "did you mean 'width'?"),
    "unknown model option": (["fit", "--config", "tiny.yaml", "--model.widht", "3"], "did you mean 'width'?"),
    "unknown nested key": (["fit", "--config", "tiny.yaml", "--model.weights.fitt", "3"], "fitt"),
    "unknown section": (["fit", "--config", "tiny.yaml", "--config", "section.yaml"], "modell"),
    "unknown class": (["fit", "--config", "tiny.yaml", "--model", "tests.tiny_modules.Absent"], "Absent"),
    "no model": (["fit", "--config", "tiny.yaml", "--model", "tests.tiny_modules.TinyData"], "LightningModule"),
    "wrong type": (["fit", "--config", "tiny.yaml", "--model.width", "wide"], "expected int, got wide"),
    "wrong choice": (["fit", "--config", "tiny.yaml", "--model.mode", "third"], "Literal['plain', 'other']"),
    "missing weights": (
        ["fit", "--config", "tiny.yaml", "--model.generator", "absent.safetensors"],
        "expected a file at absent",
    ),
    "missing checkpoint": (["fit", "--config", "tiny.yaml", "--ckpt_path", "absent.ckpt"], "absent.ckpt"),
    "truncated checkpoint": (
        ["fit", "--config", "tiny.yaml", "--ckpt_path", "cut.ckpt"],
        "expected a whole checkpoint, got cut.ckpt",
    ),
    "no checkpoint": (["fit", "--config", "tiny.yaml", "--ckpt_path", "other.ckpt"], "holds no state_dict"),
    "last of no run": (["fit", "--config", "tiny.yaml", "--ckpt_path", "last"], "add --run.id"),
    "last of an absent run": (
        ["test", "--config", "tiny.yaml", "--ckpt_path", "last", "--run.id", "x"],
        "last.ckpt, found none",
    ),
    "run id with a path": (["fit", "--config", "tiny.yaml", "--run.id", "../x"], "--run.id: expected letters"),
    "trainer refuses": (["fit", "--config", "tiny.yaml", "--trainer.strategy", "absent"], "absent"),
    "model without predictions": (["predict", "--config", "tiny.yaml"], "support `lightning predict`"),
    "model without validation": (["validate", "--config", "tiny.yaml"], "support `lightning validate`"),
    "error in a step": (
        ["fit", "--config", "tiny.yaml", "--model.fail", "input"],
        "expected finite vertices, got NaN; check the mesh",
    ),
    "unknown option of a verb": (["render-portraits", "--absent", "3"], "absent"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_one_line_and_code_2(folder: Path, capfd: pytest.CaptureFixture[str], case: str) -> None:
    args, words = BAD_INPUT[case]
    (folder / "broken.yaml").write_text("model: [1,\n")
    (folder / "widht.yaml").write_text("model: {init_args: {widht: 3}}\n")
    (folder / "section.yaml").write_text("modell: {x: 3}\n")
    torch.save({"a": torch.zeros(3)}, folder / "other.ckpt")
    (folder / "cut.ckpt").write_bytes((folder / "other.ckpt").read_bytes()[:200])
    before = files(folder)
    assert words in fails(capfd, args)
    after = files(folder)
    assert {name: after[name] for name in before} == before
    if case != "error in a step":  # found after the run began
        assert after.keys() == before.keys()


def test_new_fit_does_not_write_over_an_earlier_run(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cli.main(["fit", "--config", "tiny.yaml", "--run.id", "one"])
    before = files(folder)
    assert "continue it with --ckpt_path last" in fails(capfd, ["fit", "--config", "tiny.yaml", "--run.id", "one"])
    assert files(folder) == before


def test_checkpoint_of_another_size(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cli.main(["fit", "--config", "tiny.yaml", "--run.id", "one"])
    checkpoint = "runs/tiny/one/checkpoints/last.ckpt"
    wide = ["--model.width", "6", "--data.width", "6", "--run.id", "two"]
    line = fails(capfd, ["fit", "--config", "tiny.yaml", *wide, "--ckpt_path", checkpoint])
    assert "expected a checkpoint of TinyModel with the same sizes" in line
    assert "linear.weight" in line


def test_interrupt_keeps_what_was_reached(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import signal

    handler = signal.getsignal(signal.SIGINT)
    try:
        line = fails(capfd, ["fit", "--config", "tiny.yaml", "--model.fail", "interrupt"], code=130)
    finally:
        signal.signal(signal.SIGINT, handler)  # Lightning leaves it ignored, as it expects the process to end
    assert "interrupted" in line
    assert (only_run(folder) / "checkpoints" / "last.ckpt").is_file()


def test_a_defect_is_not_taken_for_bad_input(folder: Path) -> None:
    with pytest.raises(RuntimeError, match="a defect of the program"):
        cli.main(["fit", "--config", "tiny.yaml", "--model.fail", "defect"])


def test_shipped_configs_are_found_from_any_folder(folder: Path) -> None:
    cpu, table = "configs/trainer/cpu.yaml", "configs/logger/csv.yaml"
    found = arguments.find_configs(["fit", "--config", cpu, f"--config={table}", "--config", "tiny.yaml"])
    assert found == ["fit", "--config", str(ROOT / cpu), f"--config={ROOT / table}", "--config", "tiny.yaml"]


def test_overview_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["--help"])
    text = capsys.readouterr().out
    for verb in [*cli.TRAINER_VERBS, *cli.COMMANDS]:
        assert f"\n  {verb} " in text


@pytest.mark.parametrize("verb", cli.COMMANDS)
def test_every_verb_has_its_function(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main([verb, "--help"])
    assert stop.value.code == 0
    assert f"lightning {verb}" in capsys.readouterr().out


def test_help_imports_neither_torch_nor_lightning() -> None:
    code = "import sys, cli; cli.main(['--help']); sys.exit('torch' in sys.modules or 'jsonargparse' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.DEVNULL).returncode == 0


def test_checkpoint_is_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, target = checkpointing.AtomicCheckpointIO(), tmp_path / "folder" / "last.ckpt"
    writer.save_checkpoint({"state_dict": {}, "epoch": 1}, target)

    def cut_off(checkpoint: object, file: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", cut_off)
    with pytest.raises(OSError, match="no space"):
        writer.save_checkpoint({"state_dict": {}, "epoch": 2}, target)
    assert [p.name for p in target.parent.iterdir()] == ["last.ckpt"]
    assert writer.load_checkpoint(target)["epoch"] == 1


def test_run_folder_of_launched_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    settle = lambda: run_folders.settle_run(run_folders.RunFolder(), "fit", "tiny", None)[0].id  # noqa: E731
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv(run_folders.RUN_ID_VARIABLE, raising=False)
    with pytest.raises(InputError, match="--run.id"):
        settle()
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv(run_folders.RUN_ID_VARIABLE, "of-the-first")
    assert settle() == "of-the-first"


def test_ranks_draw_from_different_streams() -> None:
    seeds = [progress.rank_seed(seed, rank) for seed in range(4) for rank in range(4)]
    assert len(set(seeds)) == len(seeds)
    assert progress.rank_seed(3, 1) == progress.rank_seed(3, 1)


def test_a_single_process_keeps_its_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")
    model = TinyModel("anything")
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    alone = trainer.Trainer(
        accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    progress.RankSeed().setup(alone, model, "fit")
    assert torch.equal(torch.rand(4), expected)


JSONARGPARSE_ERROR = """Parser key "model":
  Does not validate against any of the Union subtypes
  Subtypes: [<class 'pytorch_lightning.core.module.LightningModule'>, <class 'NoneType'>]
  Errors:
    - Problem with given class_path 'a.B':
        Option 'c' is not accepted
    - Expected a <class 'NoneType'>
  Given value type: <class 'dict'>
  Given value: {'class_path': 'a.B'}"""


@pytest.mark.parametrize(
    "message, line",
    [
        (JSONARGPARSE_ERROR, "model: a.B: Option 'c' is not accepted"),
        ("Parser key \"width\":\n  Expected a <class 'int'>. Got value: x", "width: expected int, got x"),
        ("unrecognized arguments: --foo", "unrecognized arguments: --foo"),
    ],
)
def test_one_line(message: str, line: str) -> None:
    assert arguments.one_line(message) == line


@pytest.mark.slow
def test_two_processes_share_one_folder(folder: Path) -> None:
    """Through the console script, as Lightning starts the second process with the words of the first."""
    script = [
        sys.executable,
        str(ROOT / "cli.py"),
        "fit",
        "--config",
        "tiny.yaml",
        "--config",
        "configs/trainer/ddp.yaml",
    ]
    words = ["--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.log_every_n_steps", "1"]
    environment = {
        key: value for key, value in os.environ.items() if key not in ("LOCAL_RANK", run_folders.RUN_ID_VARIABLE)
    }
    result = subprocess.run([*script, *words], env=environment, capture_output=True, text=True, timeout=900)
    assert result.returncode == 0, result.stderr
    assert set(files(only_run(folder))) == {"config.yaml", "metrics.csv", "checkpoints/last.ckpt"}
