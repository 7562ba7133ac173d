"""Every shipped training config parses and trains a step through the command line."""

import re
from pathlib import Path

import pytest
import yaml

import cli
from tests.config_overrides import OVERRIDES
from tests.conftest import ROOT
from tests.tiny_stylerig import write_networks

SHIPPED = [
    str(path.relative_to(ROOT))
    for path in sorted((ROOT / "configs" / "demo").glob("*.yaml"))
    if "model" in yaml.safe_load(path.read_text())
]


def test_every_shipped_config_has_its_entry() -> None:
    assert set(OVERRIDES) == set(SHIPPED)


@pytest.mark.parametrize("config", SHIPPED)
def test_every_key_is_explained(config: str) -> None:
    """A comment stands beside a key, or above it, or above the block it belongs to."""
    lines = (ROOT / config).read_text().splitlines()
    explained: dict[int, bool] = {}  # by indentation: whether the nearest key of that depth has a comment
    above = False
    for line in lines:
        text = line.strip().removeprefix("- ")
        if text.startswith("#") or not text:
            above = bool(text)
            continue
        depth = len(line) - len(line.lstrip())
        block = text.endswith(":") or text.split("#")[0].rstrip().endswith(":") or text.startswith("class_path:")
        known = above or "#" in text or block or any(explained[d] for d in explained if d < depth)
        assert known, f"{config}: nothing explains {line.strip()!r}"
        explained = {d: k for d, k in explained.items() if d < depth} | {depth: above or "#" in text}
        above = False


@pytest.mark.parametrize("config", SHIPPED)
def test_named_assets_are_shipped(config: str) -> None:
    for path in re.findall(r"\bassets/[\w./-]+", (ROOT / config).read_text()):
        assert (ROOT / path.rstrip(".")).exists(), f"{config} names {path}"


@pytest.mark.parametrize("config", SHIPPED)
def test_shipped_config_trains(config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_networks(tmp_path)
    assert config in OVERRIDES, f"{config} has no entry in tests/config_overrides.py"
    words = ["--trainer.accelerator", "cpu", "--logger.wandb", "disabled", "--trainer.enable_model_summary", "false"]
    cli.main(["fit", "--config", config, *words, *" ".join(OVERRIDES[config]).split()])
    (saved,) = tmp_path.glob("runs/*/*/config.yaml")
    settings = yaml.safe_load(saved.read_text())
    assert settings["model"]["class_path"] == yaml.safe_load((ROOT / config).read_text())["model"]["class_path"]
