"""Every shipped training config parses and trains a step through the command line."""

import re
from pathlib import Path

import pytest
import yaml

import cli
from tests.config_overrides import OVERRIDES
from tests.conftest import ROOT
from tests.photo_files import write_photos
from tests.tiny_stylerig import write_networks

SHIPPED = [
    str(path.relative_to(ROOT))
    for path in [*sorted((ROOT / "configs" / "demo").glob("*.yaml")), ROOT / "configs" / "teacher.yaml"]
    if "model" in yaml.safe_load(path.read_text())
]


def test_every_shipped_config_has_its_entry() -> None:
    assert set(OVERRIDES) == set(SHIPPED)


@pytest.mark.parametrize("config", [*SHIPPED, "configs/real64.yaml"])
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
def test_named_assets_are_shipped(config: str) -> None:
    for path in re.findall(r"\bassets/[\w./-]+", (ROOT / config).read_text()):
        assert (ROOT / path.rstrip(".")).exists(), f"{config} names {path}"


@pytest.mark.parametrize("config", SHIPPED)
def test_shipped_config_trains(config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_networks(tmp_path)
    write_photos(tmp_path / "photos")
    assert config in OVERRIDES, f"{config} has no entry in tests/config_overrides.py"
    words = ["--trainer.accelerator", "cpu", "--logger.wandb", "disabled", "--trainer.enable_model_summary", "false"]
    cli.main(["fit", "--config", config, *words, *" ".join(OVERRIDES[config]).split()])
    (saved,) = tmp_path.glob("runs/*/*/config.yaml")
    settings = yaml.safe_load(saved.read_text())
    assert settings["model"]["class_path"] == yaml.safe_load((ROOT / config).read_text())["model"]["class_path"]
