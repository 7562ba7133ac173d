"""The tables and figures of PIE, written by `lightning test` into the run's folder."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

from pytorch_lightning import Callback, LightningModule, Trainer
from torchvision.transforms.functional import to_tensor

from datamodules.portrait_batches import EmbeddingDataModule
from datamodules.portraits import PortraitSampler
from evaluation.figures import FOLDER, Figure, write_figures
from evaluation.pie.edit_grids import expression_grid, hierarchy, loss_ablation, pose_grid
from evaluation.pie.embedded import EmbeddedPortraits
from evaluation.pie.feedback import TABLE as FEEDBACK
from evaluation.pie.feedback import feedback_figures
from evaluation.pie.illumination_grid import illumination_grid
from evaluation.pie.limits import limits
from evaluation.pie.linear_edits import linear_edits
from evaluation.pie.opening import embedder_of, rig_of, settings_of
from evaluation.pie.pose_edits import TABLE as TABLE_2
from evaluation.pie.pose_edits import pose_edit_figures
from evaluation.pie.published import ALL_TERMS, DIRECT, IMAGE2STYLEGAN, MODIFICATION, RECOGNITION, SYNTHESIS
from evaluation.pie.reenactment import TABLE as TABLE_3
from evaluation.pie.reenactment import reenactment_figures, second_pictures
from evaluation.pie.reenactment_grid import reenactment_grid
from evaluation.pie.relighting import TABLE as RELIGHTING
from evaluation.pie.relighting import relighting_figures
from evaluation.pie.relighting_grid import relighting_grid
from evaluation.pie.sequential import sequential_edits
from evaluation.pie.shown_edits import in_common
from evaluation.report import json_text, write_text
from lightning_modules.loggers import log_figures, log_picture
from lightning_modules.pie.module import PIE
from lightning_modules.run_folder import folder_of
from models.latent_directions import LatentDirections, load_directions
from models.morphable.procedural import Density
from models.observers import FaceEmbedder, Judge, load_face_embedder, load_judge
from renderers.errors import InputError

FigureName = Literal[
    "pose_edits",
    "reenactment",
    "relighting",
    "feedback",
    "pose",
    "illumination",
    "expression",
    "loss_ablation",
    "hierarchy",
    "sequential",
    "linear_edits",
    "limits",
]
_ALL: tuple[FigureName, ...] = get_args(FigureName)
# Tables whose numbers are logged, and the columns that say what a row is about.
_TABLES: dict[str, tuple[str, ...]] = {
    TABLE_2: ("setting", "over"),
    TABLE_3: ("setting", "over"),
    RELIGHTING: ("setting", "over"),
    FEEDBACK: ("setting", "component", "rounds"),
}
# Figures that compare settings, and which besides the one in question.
_COMPARED: dict[FigureName, tuple[str, ...]] = {
    "loss_ablation": (SYNTHESIS, RECOGNITION, MODIFICATION),
    "hierarchy": (DIRECT,),
}
# What a rig has to control for a table, and how many portraits it is about at least.
_NEEDED: dict[FigureName, tuple[str, int]] = {
    "pose_edits": ("rotation", 1),
    "reenactment": ("rotation", 2),
    "relighting": ("illumination", 2),
}


class PieFigures(Callback):
    """Draws the tables and figures of the paper for the embeddings of a `lightning test` run, beside those of other settings.

    Writes each as ``figures/<name>.png`` and ``figures/<name>.csv`` into the run's folder, with an index from which reports are made, and
    the numbers of all tables into ``pie_figures.json``; logs both. The first rank draws alone.

    Args:
        figures: Which: pose_edits (Table 2 and Fig. 13), reenactment (Table 3 and Fig. 8), relighting (Fig. 9), feedback, pose (Fig. 3),
            illumination (Fig. 4), expression (Fig. 5), loss_ablation (Fig. 6), hierarchy (Fig. 7), sequential (Fig. 10), linear_edits
            (Fig. 11), limits (Fig. 12); by default all for which there are settings, rigs and directions. Those of components that no
            rig controls, and transfers of a single portrait, are left out.
        label: The setting of the embeddings that the run tests.
        baselines: By setting, folders of embeddings of the same portraits; those of Table 2 under the names it has there.
        rigs: Further rigs, for what the module's own does not control.
        judge: Weights of the judge; null for pictures that it was not trained for: tables then lack what it would have read.
        embedder: Psi; null for that of the module's energy.
        directions: Linear directions of the generator's W, by `lightning directions`, for linear_edits; null for none.
        edits: Of pose_edits for every setting: 2,500 in the paper.
        feedback_edits: Of feedback, for the setting in question and Image2StyleGAN, every component and number of rounds.
        pairs: Of reenactment and relighting: 100 relightings in the paper.
        shown: Portraits in a picture, fewer where there are many settings.
        feedback: Rounds of PIE's feedback in the pictures.
        density: Of the head's mesh of synthetic portraits, as they were embedded: reenactment draws the same people again.
    """

    FILE = "pie_figures.json"

    def __init__(
        self,
        figures: Sequence[FigureName] | None = None,
        label: str = ALL_TERMS,
        baselines: Mapping[str, str] | None = None,
        rigs: Sequence[str] = (),
        judge: str | None = None,
        embedder: str | None = None,
        directions: str | None = None,
        edits: int = 2500,
        feedback_edits: int = 250,
        pairs: int = 100,
        shown: int = 3,
        feedback: int = 0,
        density: Density = "medium",
    ) -> None:
        counts = (
            ("edits", 2, edits),
            ("feedback_edits", 1, feedback_edits),
            ("pairs", 1, pairs),
            ("shown", 1, shown),
            ("feedback", 0, feedback),
        )
        for name, least, value in counts:
            if value < least:
                raise InputError(f"expected {name} of at least {least}, got {value}; raise it")
        self._baselines = dict(baselines or {})
        absent = {name: others for name, others in _COMPARED.items() if not set(others) & set(self._baselines)}
        if figures is None:
            figures = [
                name for name in _ALL if name not in absent and (directions is not None or name != "linear_edits")
            ]
        for name in set(figures) & set(absent):
            raise InputError(
                f"expected a baseline named {' or '.join(absent[name])} for {name}, got none; name its folder"
            )
        if directions is None and "linear_edits" in figures:
            raise InputError(
                "expected directions for linear_edits, got null; find some by 'lightning directions' or leave it out"
            )
        self._figures, self._label, self._rigs = tuple(figures), label, tuple(rigs)
        self._judge: Judge | None = None if judge is None else load_judge(judge)
        self._embedder: FaceEmbedder | None = None if embedder is None else load_face_embedder(embedder)
        self._directions: LatentDirections | None = None if directions is None else load_directions(directions)
        self._density = density
        self._edits, self._feedback_edits, self._pairs, self._shown, self._feedback = (
            edits,
            feedback_edits,
            pairs,
            shown,
            feedback,
        )

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse what has no such figures before anything is computed."""
        data = getattr(trainer, "datamodule", None)
        if not isinstance(pl_module, PIE) or not isinstance(data, EmbeddingDataModule):
            raise InputError(
                f"expected PIE on a EmbeddingDataModule to draw figures of, got {type(pl_module).__name__} on {type(data).__name__}; "
                "remove the callback evaluation.pie.figures.PieFigures"
            )
        if stage == "test":
            settings = self._settings(pl_module, data)
            shared = in_common(settings)[0]
            if not len(shared):
                raise InputError(
                    "expected portraits that all settings embedded, got none; embed the same portraits with each"
                )
            for portrait in shared.of_source("portrait").embeddings:
                made = portrait.origin.get("density", self._density)
                if made != self._density:
                    raise InputError(
                        f"expected portraits of density {self._density}, {portrait.name} is of {made}; set density to {made}"
                    )
            if self._directions is not None:
                self._directions.require(pl_module.generator)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw, write and log. The other ranks have nothing to wait for: no step that all take together follows."""
        if not trainer.is_global_zero:
            return
        assert isinstance(pl_module, PIE)
        settings = self._settings(pl_module, trainer.datamodule)  # type: ignore[attr-defined]
        shared = in_common(settings)[0]
        for setting in settings:
            if len(setting) > len(shared):
                print(
                    f"{len(setting) - len(shared)} of {len(setting)} portraits of {setting.label} are left out: not all settings have them"
                )
        drawn: list[Figure] = []
        for name in self._figures:
            # Lightning's own notices are silenced, and some of these take minutes.
            print(f"drawing {name}", flush=True)
            figures = self._draw(name, settings)
            # One after the other, so that what was drawn stays where a later one fails.
            write_figures(folder_of(trainer), figures)
            drawn += figures
        numbers = table_numbers(drawn)
        write_text(folder_of(trainer) / self.FILE, json_text(numbers))
        log_figures(trainer, {f"figures/{name}": value for name, value in numbers.items()})
        for figure in drawn:
            if figure.picture is not None:
                log_picture(trainer, f"figures/{figure.name}", to_tensor(figure.picture))
        print(f"{len(drawn)} figures written to {folder_of(trainer) / FOLDER}", flush=True)

    def _settings(self, module: PIE, data: EmbeddingDataModule) -> list[EmbeddedPortraits]:
        opened, embedder = rig_of(module, self._rigs), embedder_of(module, self._embedder)
        return settings_of(module, self._label, self._baselines, opened, embedder, self._judge, data.recipe)

    def _draw(self, name: FigureName, settings: Sequence[EmbeddedPortraits]) -> list[Figure]:
        shown, feedback = self._shown, self._feedback
        against = _among(settings, (IMAGE2STYLEGAN,))
        draw: dict[FigureName, Callable[[], list[Figure]]] = {
            "pose_edits": lambda: pose_edit_figures(settings, self._edits),
            "reenactment": lambda: self._reenactment(settings),
            "relighting": lambda: [
                *relighting_figures(settings, self._pairs),
                *relighting_grid(against, shown, feedback),
            ],
            "feedback": lambda: feedback_figures(against, self._feedback_edits),
            "pose": lambda: pose_grid(against, shown, feedback),
            "illumination": lambda: illumination_grid(against, shown, feedback),
            "expression": lambda: expression_grid(against, shown, feedback),
            # Four settings, a row each.
            "loss_ablation": lambda: loss_ablation(
                _among(settings, _COMPARED["loss_ablation"], last=True), max(1, shown // 2), feedback
            ),
            "hierarchy": lambda: hierarchy(_among(settings, _COMPARED["hierarchy"]), shown, feedback),
            "sequential": lambda: sequential_edits(settings[0], shown, feedback),
            "linear_edits": lambda: [] if self._directions is None else linear_edits(against, self._directions, shown),
            "limits": lambda: limits(against, shown, feedback),
        }
        component, portraits = _NEEDED.get(name, (None, 1))
        controlled = component is None or component in settings[0].opened.rig.components
        return draw[name]() if controlled and len(in_common(settings)[0]) >= portraits else []

    def _reenactment(self, settings: Sequence[EmbeddedPortraits]) -> list[Figure]:
        own = in_common(settings)[0]
        sampler = PortraitSampler(self._density).to(own.device)
        tables = reenactment_figures(settings, self._pairs, sampler)
        pictured = own.select([each.name for each in own.of_source("portrait").embeddings[: self._shown]])
        second = second_pictures(pictured, 1, sampler)
        same = {
            pictured.embeddings[place].name: image
            for place, image in zip(second.portrait.tolist(), second.images, strict=True)
        }
        return [*tables, *reenactment_grid(_among(settings, (IMAGE2STYLEGAN,)), same, self._shown, self._feedback)]


def table_numbers(figures: Sequence[Figure]) -> dict[str, float]:
    """The numbers of the tables, each named ``<table>/<what its row is about>/<column>``; those that nobody read are left out."""
    numbers: dict[str, float] = {}
    for figure in figures:
        about = _TABLES.get(figure.name, ())
        for row in figure.rows if about else ():
            cells = dict(zip(figure.columns, row, strict=True))
            place = "/".join([figure.name, *(str(cells.pop(column)) for column in about)])
            values = {
                column: cell for column, cell in cells.items() if not isinstance(cell, str) and math.isfinite(cell)
            }
            numbers |= {f"{place}/{column}": float(value) for column, value in values.items()}
    return numbers


def _among(settings: Sequence[EmbeddedPortraits], labels: Sequence[str], last: bool = False) -> list[EmbeddedPortraits]:
    """The setting in question and those of some labels, in the labels' order; `last` puts it after them."""
    others = [setting for label in labels for setting in settings[1:] if setting.label == label]
    return [*others, settings[0]] if last else [settings[0], *others]
