"""The figures of StyleRig, written by `lightning test` into the run's folder."""

from collections.abc import Callable, Sequence
from typing import Literal, get_args

from pytorch_lightning import Callback, LightningModule, Trainer
from torchvision.transforms.functional import to_tensor

from datamodules.latent_pairs import LatentPairDataModule, PairRecipe
from evaluation.figures import FOLDER, Figure, write_figures
from evaluation.report import json_text, write_text
from evaluation.stylerig import layer_changes as layers
from evaluation.stylerig import losses_by_edit_size as losses
from evaluation.stylerig import parameter_distribution as distribution
from evaluation.stylerig import readings_by_edit_size as readings
from evaluation.stylerig.conditional_generation import conditional_generation
from evaluation.stylerig.known_limits import known_limits
from evaluation.stylerig.mixing_figures import mixing_figures
from evaluation.stylerig.rig_under_test import RigUnderTest, check_judge
from evaluation.stylerig.sweep_figures import sweep_figures
from lightning_modules.loggers import log_figures, log_picture
from lightning_modules.run_folder import folder_of
from lightning_modules.stylerig import StyleRig
from models.observers import Judge, load_judge
from renderers.errors import InputError

FigureName = Literal[
    "layer_changes",
    "mixing",
    "parameter_distribution",
    "conditional_generation",
    "losses_by_edit_size",
    "readings_by_edit_size",
    "sweeps",
    "known_limits",
]
_ALL: tuple[FigureName, ...] = get_args(FigureName)
# Tables with one row for each component or parameter, whose numbers are logged.
_SUMMARIES = (layers.SUMMARY, distribution.SUMMARY, losses.SUMMARY, readings.SUMMARY)
# Columns of the picture of conditional generation, of the people that its numbers are over.
_PEOPLE_SHOWN = 8


class StyleRigFigures(Callback):
    """Draws the figures of the paper for the network of a `lightning test` run, on unseen codes.

    Writes each as ``figures/<name>.png`` and ``figures/<name>.csv`` into the run's folder, with an index from which reports are made, and
    the numbers of all summaries into ``stylerig_figures.json``; logs both. The first rank draws alone: the figures do not depend on the
    number of ranks, nor on the pairs of the test's losses.

    Args:
        figures: Which: layer_changes (Fig. 4), mixing (Fig. 5 and 9, supplement 3), parameter_distribution (Fig. 6),
            conditional_generation (Fig. 7), losses_by_edit_size (supplement Fig. 2), readings_by_edit_size (the same edits as the
            judge reads them), sweeps of single sliders, known_limits (supplement Fig. 6); by default all, without
            readings_by_edit_size where there is no judge.
        judge: Weights of the judge; null for pictures that it was not trained for: figures then lack what it would have read.
        portraits: Also give the true parameters of the portraits that the demo's generator learnt from.
        mixings: Mixings of layer_changes; 2,500 in the paper.
        codes: Codes of parameter_distribution; 20,000 in the paper.
        judged: Of these, pictures that the judge reads.
        judged_mixings: Of `mixings`, those that the judge reads, a picture for each layer.
        edits: Edits of losses_by_edit_size (2,500 in the paper) and of readings_by_edit_size.
        bins: Bins of equally many edits in these two.
        people: Codes that the numbers of conditional_generation and known_limits are over.
    """

    FILE = "stylerig_figures.json"

    def __init__(
        self,
        figures: Sequence[FigureName] | None = None,
        judge: str | None = None,
        portraits: bool = False,
        mixings: int = 2500,
        codes: int = 20_000,
        judged: int = 1000,
        judged_mixings: int = 100,
        edits: int = 2500,
        bins: int = 10,
        people: int = 100,
    ) -> None:
        lowest = {
            "mixings": 2,
            "judged_mixings": 2,
            "codes": 4,
            "judged": 4,
            "bins": 1,
            "edits": 2 * bins,
            "people": _PEOPLE_SHOWN,
        }
        given = (mixings, judged_mixings, codes, judged, bins, edits, people)
        for (name, least), value in zip(lowest.items(), given, strict=True):
            if value < least:
                raise InputError(f"expected {name} of at least {least}, got {value}; raise it")
        if figures is None:
            figures = [name for name in _ALL if judge is not None or name != "readings_by_edit_size"]
        if judge is None and "readings_by_edit_size" in figures:
            raise InputError("expected a judge for readings_by_edit_size, got null; name one or leave that figure out")
        self._judge: Judge | None = None if judge is None else load_judge(judge)
        self._figures = tuple(figures)
        self._portraits = portraits and "parameter_distribution" in figures
        self._draw: dict[FigureName, Callable[[RigUnderTest], list[Figure]]] = {
            "layer_changes": lambda rut: layers.layer_changes(rut, mixings, judged_mixings),
            "mixing": mixing_figures,
            "parameter_distribution": lambda rut: distribution.parameter_distribution(rut, codes, judged, portraits),
            "conditional_generation": lambda rut: conditional_generation(rut, people, shown=_PEOPLE_SHOWN),
            "losses_by_edit_size": lambda rut: losses.losses_by_edit_size(rut, edits, bins),
            "readings_by_edit_size": lambda rut: readings.readings_by_edit_size(rut, edits, bins),
            "sweeps": sweep_figures,
            "known_limits": lambda rut: known_limits(rut, people),
        }

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse what has no such figures before anything is computed."""
        data = getattr(trainer, "datamodule", None)
        if not isinstance(pl_module, StyleRig) or not isinstance(data, LatentPairDataModule):
            raise InputError(
                f"expected a StyleRig on a LatentPairDataModule to draw figures of, got {type(pl_module).__name__} on "
                f"{type(data).__name__}; remove the callback evaluation.stylerig.figures.StyleRigFigures"
            )
        if self._judge is not None:
            check_judge(self._judge, pl_module.face_model)
        if self._portraits:
            distribution.check_portraits(pl_module.face_model)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw, write and log. The other ranks have nothing to wait for: no step that all take together follows."""
        if not trainer.is_global_zero:
            return
        assert isinstance(pl_module, StyleRig)
        rut = rig_of(pl_module, trainer.datamodule.recipe, self._judge)  # type: ignore[attr-defined]
        drawn: list[Figure] = []
        for name in self._figures:
            # Lightning's own notices are silenced, and some of these take minutes.
            print(f"drawing {name}", flush=True)
            figures = self._draw[name](rut)
            # One after the other, so that what was drawn stays where a later one fails.
            write_figures(folder_of(trainer), figures)
            drawn += figures
        numbers = summary_numbers(drawn)
        write_text(folder_of(trainer) / self.FILE, json_text(numbers))
        log_figures(trainer, {f"figures/{name}": value for name, value in numbers.items()})
        for figure in drawn:
            if figure.picture is not None:
                log_picture(trainer, f"figures/{figure.name}", to_tensor(figure.picture))
        print(f"{len(drawn)} figures written to {folder_of(trainer) / FOLDER}", flush=True)


def rig_of(module: StyleRig, recipe: PairRecipe, judge: Judge | None) -> RigUnderTest:
    """The network of a training module with everything around it, on the module's device.

    Args:
        module: After its setup, which knows F.
        recipe: Of its data.
        judge: Moved to the same device.
    """
    assert module.face_reconstruction is not None
    return RigUnderTest(
        generator=module.generator,
        face_reconstruction=module.face_reconstruction,
        network=module.rignet,
        landmarker=module.landmarker,
        renderer=module.losses[0].loss.renderer,  # type: ignore[union-attr, arg-type]
        face_model=module.face_model,
        recipe=recipe,
        judge=None if judge is None else judge.to(module.device),
    )


def summary_numbers(figures: Sequence[Figure]) -> dict[str, float]:
    """The numbers of all summaries, each named ``<figure>/<row>/<column>``."""
    return {
        f"{figure.name}/{row[0]}/{column}": float(value)
        for figure in figures
        if figure.name in _SUMMARIES
        for row in figure.rows
        for column, value in zip(figure.columns[1:], row[1:], strict=True)
    }
