"""Every shipped training config parses and trains a step through the command line."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

import cli
from lightning_modules.edited_codes import EditedCodes
from lightning_modules.nested_reconstruction import FaceReconstructionRun
from tests.config_overrides import COARSE, OVERLAYS, OVERRIDES
from tests.conftest import ROOT
from tests.photo_files import write_photos
from tests.tiny_pie import write_pie_networks
from tests.tiny_stylefaceuv import write_stylefaceuv_networks
from tests.tiny_stylerig import write_networks

CONFIGS = {str(path.relative_to(ROOT)): yaml.safe_load(path.read_text()) for path in sorted((ROOT / "configs").rglob("*.yaml"))}
MODELS = {name: config["model"] for name, config in CONFIGS.items() if "model" in config}
SHIPPED = [name for name, model in MODELS.items() if "class_path" in model]


def test_every_shipped_config_has_its_entry() -> None:
    assert set(OVERRIDES) == set(SHIPPED)
    own_tests = {"configs/real64.yaml", "configs/demo/pie/encoder_start.yaml"}
    assert {*OVERLAYS, *own_tests} == set(MODELS) - set(SHIPPED)


@pytest.mark.parametrize("config", MODELS)
def test_every_key_is_explained(config: str) -> None:
    """A comment stands beside each key or directly above it; `class_path` and `init_args` are Lightning's own."""
    above = False
    for line in (ROOT / config).read_text().splitlines():
        text = line.strip()
        key = re.match(r"(?:- )?(\w+):", text)
        if key is not None and key.group(1) not in ("class_path", "init_args"):
            assert above or "#" in text, f"{config}: nothing explains {text!r}"
        above = text.startswith("#")


@pytest.mark.parametrize("config", SHIPPED)
def test_named_assets_and_configs_are_shipped(config: str) -> None:
    for path in re.findall(r"\b(?:assets|configs)/[\w./-]+", (ROOT / config).read_text()):
        assert (ROOT / path.rstrip(".")).exists(), f"{config} names {path}"


def train(folder: Path, monkeypatch: pytest.MonkeyPatch, base: str, *words: str) -> dict[str, Any]:
    """The configuration that a run of a config ends up with, after its steps."""
    monkeypatch.chdir(folder)
    embeds = MODELS[base]["class_path"] == "lightning_modules.pie.module.PIE"
    (write_pie_networks if embeds else write_networks)(folder)
    if "stylefaceuv" in base:
        write_stylefaceuv_networks(folder)
    write_photos(folder / "photos")
    assert base in OVERRIDES, f"{base} has no entry in tests/config_overrides.py"
    quiet = ["--trainer.accelerator", "cpu", "--logger.wandb", "disabled", "--trainer.enable_model_summary", "false"]
    arguments = ["fit", "--config", base, *words, *quiet, *" ".join(OVERRIDES[base]).split()]
    if embeds:
        # So few iterations finish no portrait, which is no success.
        with pytest.raises(SystemExit, match="^1$"):
            cli.main(arguments)
    else:
        cli.main(arguments)
    (saved,) = folder.glob("runs/*/*/config.yaml")
    return yaml.safe_load(saved.read_text())


@pytest.mark.parametrize("config", SHIPPED)
def test_shipped_config_trains(config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = train(tmp_path, monkeypatch, config)
    assert settings["model"]["class_path"] == MODELS[config]["class_path"]


def leaves(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by their dotted names, as the command line has them."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found.update(leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value})
    if "settings.controls" in found:
        found["settings.controls"] = [{"weight": 1.0, **control} for control in found["settings.controls"]]
    return found


@pytest.mark.parametrize("config", OVERLAYS)
def test_shipped_overlay_trains(config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it names takes the place of what the config before it says, and nothing else does."""
    base = OVERLAYS[config]
    settings = train(tmp_path, monkeypatch, base, "--config", config)
    expected = {**leaves(MODELS[base]["init_args"]), **leaves(MODELS[config]["init_args"])}
    for_the_test = {word.removeprefix("--model.") for word in " ".join(OVERRIDES[base]).split() if word.startswith("--model.")}
    trained = leaves(settings["model"]["init_args"])
    kept = {name: value for name, value in expected.items() if name not in for_the_test}
    assert {name: trained[name] for name in kept} == kept and len(kept) > 2
    assert CONFIGS[config].get("run", {}).get("name", settings["run"]["name"]) == settings["run"]["name"]


def test_a_face_reconstruction_that_is_missing_is_trained_as_by_its_own_config() -> None:
    """By the demo's pose config, and by all others, which leave it to the defaults."""
    config = CONFIGS["configs/demo/face_reconstruction.yaml"]
    settings = {name: value for name, value in config["model"]["init_args"]["settings"].items() if name != "edited"}
    own = {"steps": config["trainer"]["max_steps"], "batch_size": config["data"]["init_args"]["batch_size"], "settings": settings}
    assert MODELS["configs/demo/stylerig_pose.yaml"]["init_args"]["face_reconstruction_run"] == own
    default = asdict(FaceReconstructionRun())
    assert default["settings"].pop("edited") == asdict(EditedCodes())
    assert default == own


@pytest.mark.parametrize("folder", ["ffhq1024", "ffhq256"])
def test_files_of_the_user_that_are_missing_are_named(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    config = f"configs/{folder}/stylerig.yaml"
    arguments = MODELS[config]["init_args"]
    given = write_networks(tmp_path)
    for words, missing in (
        ([], arguments["generator"]),
        (["--model.generator", given["generator"]], arguments["landmarker"]),
        (
            ["--model.generator", given["generator"], "--model.landmarker", given["landmarker"], *COARSE.split()],
            arguments["face_reconstruction"],
        ),
    ):
        with pytest.raises(SystemExit) as stop:
            cli.main(["fit", "--config", config, "--logger.wandb", "disabled", *words])
        assert stop.value.code == 2 and f"expected a file at {missing}" in capsys.readouterr().err
