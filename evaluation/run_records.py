"""What a run has left in its folder, read back: configuration, metrics, figures and measurements."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from evaluation.figures import FOLDER, Figure, read_figures
from evaluation.stylerig.calibration_figures import calibration_figures
from lightning_modules.run_folder import CONFIG_FILE
from models.stylerig.calibration import SUFFIX, load_calibration
from renderers.errors import InputError

# That of the training first: a test in the same folder measures what it made.
_CONFIGS = (CONFIG_FILE, "config-test.yaml", "config-validate.yaml", "config-predict.yaml")
_METRICS = "metrics.csv"
# Columns of metrics.csv that count and do not measure.
_COUNTERS = ("epoch", "step")


@dataclass(frozen=True)
class RunRecord:
    """One run as its folder tells it.

    Attributes:
        folder: Where it wrote.
        config: Its configuration, nested; empty where it kept none.
        versions: First line of the configuration: releases of this project and of torch.
        metrics: Name to (step, value) pairs in the order in which they were logged.
        figures: Name to figure: those of its test, and those of calibrations beside its weights.
        measurements: Stem of another JSON file to what it holds.
    """

    folder: Path
    config: Mapping[str, Any]
    versions: str
    metrics: Mapping[str, Sequence[tuple[float, float]]]
    figures: Mapping[str, Figure]
    measurements: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of the experiment, the folder above the run's own."""
        return self.folder.resolve().parent.name

    @property
    def id(self) -> str:
        """Name of the run's own folder."""
        return self.folder.resolve().name

    @property
    def method(self) -> str:
        """Class of what was trained; empty where no configuration says so."""
        model = self.config.get("model")
        path = model.get("class_path", "") if isinstance(model, Mapping) else ""
        return str(path).rpartition(".")[2]

    def last_metrics(self) -> dict[str, float]:
        """The last value of each metric."""
        return {name: values[-1][1] for name, values in self.metrics.items()}

    def flat_config(self) -> dict[str, str]:
        """Keys, joined by dots as on the command line, to values."""
        return dict(_flat(self.config, ""))


def read_run(folder: Path) -> RunRecord:
    """Read a run's folder; what it lacks is empty.

    Raises:
        InputError: for a folder that no run wrote, or files in it that are broken.
    """
    if not folder.is_dir():
        raise InputError(f"expected the folder of a run, {folder} is none; name a folder such as runs/NAME/ID")
    config_file = next((folder / name for name in _CONFIGS if (folder / name).is_file()), None)
    has_figures = (folder / FOLDER).is_dir()
    if config_file is None and not has_figures and not (folder / _METRICS).is_file():
        raise InputError(
            f"expected the folder of a run with {CONFIG_FILE}, {_METRICS} or {FOLDER}, {folder} holds none of them; "
            "name a folder such as runs/NAME/ID"
        )
    config, versions = ({}, "") if config_file is None else _read_config(config_file)
    return RunRecord(
        folder=folder,
        config=config,
        versions=versions,
        metrics=_read_metrics(folder / _METRICS) if (folder / _METRICS).is_file() else {},
        figures={figure.name: figure for figure in _figures(folder, has_figures)},
        measurements={path.stem: _read_json(path) for path in sorted(folder.glob("*.json")) if not path.name.endswith(SUFFIX)},
    )


def short_labels(runs: Sequence[RunRecord]) -> list[str]:
    """Names of runs that tell them apart and are as short as that allows: the experiment's, else with the run's id."""
    names = [run.name for run in runs]
    labels = [name if names.count(name) == 1 else f"{name} {run.id}" for name, run in zip(names, runs, strict=True)]
    if len(set(labels)) == len(labels):
        return labels
    # The same folder twice, or folders of other roots with the same names.
    return [f"{label} #{number}" for number, label in enumerate(labels, start=1)]


def differing_keys(configs: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    """Keys whose values are not those of all others, with the value of each; where one has no such key, an empty text."""
    keys = dict.fromkeys(key for config in configs for key in config)
    rows = {key: [config.get(key, "") for config in configs] for key in keys}
    return {key: values for key, values in rows.items() if len(set(values)) > 1}


def _figures(folder: Path, has_figures: bool) -> list[Figure]:
    calibrations = [load_calibration(path) for path in sorted(folder.glob(f"*{SUFFIX}"))]
    figures = read_figures(folder) if has_figures else []
    return [*figures, *(figure for calibration in calibrations for figure in calibration_figures(calibration))]


def _flat(value: Any, prefix: str) -> list[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        items = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, list) and value and any(isinstance(item, Mapping | list) for item in value):
        items = [(str(number), item) for number, item in enumerate(value)]
    else:
        return [(prefix, "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value))]
    # On the command line the arguments of a class follow its key directly.
    names = [(prefix if key == "init_args" else f"{prefix}.{key}" if prefix else key, item) for key, item in items]
    return [pair for name, item in names for pair in _flat(item, name)]


def _read_config(path: Path) -> tuple[Mapping[str, Any], str]:
    try:
        text = path.read_text(encoding="utf-8")
        config = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise InputError(f"expected the configuration of a run in {path}, it cannot be read ({error}); mend or remove it") from error
    if not isinstance(config, Mapping):
        raise InputError(f"expected the configuration of a run in {path}, got {type(config).__name__}; mend or remove it")
    first = text.partition("\n")[0]
    return config, first.removeprefix("#").strip() if first.startswith("#") else ""


def _read_metrics(path: Path) -> dict[str, list[tuple[float, float]]]:
    metrics: dict[str, list[tuple[float, float]]] = {}
    try:
        with open(path, newline="", encoding="utf-8") as file:
            for number, row in enumerate(csv.DictReader(file)):
                step = float(row.get("step") or number)
                for name, text in row.items():
                    if name in _COUNTERS or not isinstance(name, str) or not text:
                        continue
                    value = float(text)
                    metrics.setdefault(name, []).append((step, value))
    except (OSError, UnicodeDecodeError, csv.Error, ValueError, TypeError) as error:
        raise InputError(f"expected metrics as CSV in {path}, they cannot be read ({error}); mend or remove the file") from error
    return metrics


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"expected JSON in {path}, it cannot be read ({error}); mend or remove the file") from error


def binned(points: Sequence[tuple[float, float]], bins: int) -> tuple[list[float], list[float]]:
    """Steps and values, of long series means over as many stretches as `bins`; values that are not finite are left out."""
    finite = [(step, value) for step, value in points if math.isfinite(value)]
    size = max(1, math.ceil(len(finite) / bins))
    stretches = [finite[start : start + size] for start in range(0, len(finite), size)]
    means = [tuple(sum(column) / len(part) for column in zip(*part, strict=True)) for part in stretches]
    return [step for step, _ in means], [value for _, value in means]
