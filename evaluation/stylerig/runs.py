"""Runs of StyleRig among others: which network each trained, and what was measured of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from evaluation.figures import Figure
from evaluation.run_records import RunRecord, differing_keys
from renderers.errors import InputError

Kind = Literal["full", "steering", "without reconstruction", "without consistency", "other"]

_CLASS = "lightning_modules.stylerig.StyleRig"
_EDITS = "_edits"
# Keys of what a training's result follows from.
_OF_TRAINING = ("model.settings.", "model.face_reconstruction", "model.scene.", "data.", "trainer.max_steps", "seed_everything")


@dataclass(frozen=True)
class RigRun:
    """A run of StyleRig.

    Attributes:
        label: Its name in the report.
        kind: The method of the paper, one of the baselines of section 8.4, or several of these at once.
        components: What its network controls.
        generator: File of its generator, as its configuration names it.
        settings: Flat settings of its training, with those of its data, its length and its seed.
        edits: Component to the measurement of its edits.
        figures: Name to figure.
    """

    label: str
    kind: Kind
    components: tuple[str, ...]
    generator: str
    settings: Mapping[str, str]
    edits: Mapping[str, Mapping[str, Any]]
    figures: Mapping[str, Figure]

    @property
    def is_single(self) -> bool:
        """Whether it controls one component alone."""
        return len(self.components) == 1

    def number(self, figure: str, row: str, column: str) -> float | None:
        """A number of a figure's table by its first cell and its column; None where there is none."""
        table = self.figures.get(figure)
        if table is None or column not in table.columns:
            return None
        cells = [cells[table.columns.index(column)] for cells in table.rows if cells[0] == row]
        return cells[0] if len(cells) == 1 and isinstance(cells[0], float) else None


def edits_of(run: RunRecord) -> dict[str, Mapping[str, Any]]:
    """Component to what ``<component>_edits.json`` of a run holds."""
    found = {}
    for stem, values in run.measurements.items():
        if stem.endswith(_EDITS):
            if not isinstance(values, Mapping):
                raise InputError(
                    f"expected the measurement of edits in {run.folder / stem}.json, got {type(values).__name__}; remove the file"
                )
            found[stem.removesuffix(_EDITS)] = values
    return found


def rig_runs(runs: Sequence[RunRecord], labels: Sequence[str]) -> list[RigRun]:
    """The runs of StyleRig among `runs`, recognised by their configurations."""
    return [_rig_run(run, label) for run, label in zip(runs, labels, strict=True) if _model(run).get("class_path") == _CLASS]


def nearest(run: RigRun, others: Sequence[RigRun]) -> RigRun | None:
    """The run with the same generator and components whose settings differ least; None without any."""
    alike = [other for other in others if (other.generator, other.components) == (run.generator, run.components)]
    return min(alike, key=lambda other: len(differing_keys([run.settings, other.settings])), default=None)


def _model(run: RunRecord) -> Mapping[str, Any]:
    model = run.config.get("model")
    return model if isinstance(model, Mapping) else {}


def _rig_run(run: RunRecord, label: str) -> RigRun:
    arguments = _model(run).get("init_args") or {}
    try:
        settings = arguments["settings"]
        components = tuple(str(control["component"]) for control in settings["controls"])
        weights = {name: float(settings.get(name, 1.0)) for name in ("reconstruction", "consistency")}
        network = str(settings.get("network", "rignet"))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"expected the configuration of a StyleRig run in {run.folder}, its settings cannot be read ({error!r}); mend or leave it out"
        ) from error
    flat = {key: value for key, value in run.flat_config().items() if key.startswith(_OF_TRAINING)}
    return RigRun(label, _kind(network, weights), components, str(arguments.get("generator")), flat, edits_of(run), run.figures)


def _kind(network: str, weights: Mapping[str, float]) -> Kind:
    ablated: list[Kind] = []
    if network == "steering":
        ablated.append("steering")
    if weights["reconstruction"] == 0:
        ablated.append("without reconstruction")
    if weights["consistency"] == 0:
        ablated.append("without consistency")
    return "full" if not ablated else ablated[0] if len(ablated) == 1 else "other"
