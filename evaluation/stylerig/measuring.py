"""The callback that measures the edits of a network of StyleRig in test runs and after fits."""

import math
from typing import Any

import torch
import torch.distributed as distributed
from pytorch_lightning import Callback, LightningModule, Trainer

from datamodules.latent_pairs import LatentPairs
from datamodules.portraits import PortraitSampler
from evaluation.picture_readers import JudgeReader, LandmarkReader, Reader
from evaluation.report import json_text, write_texts
from evaluation.stylerig.edits import EditMeasurement, measure_edits, transfer_by
from evaluation.stylerig.known_people import check_paints_portraits, edits_of_known_people
from lightning_modules.loggers import log_figures
from lightning_modules.run_folder import folder_of
from lightning_modules.stylerig import StyleRig
from models.observers import load_judge
from renderers.errors import InputError


class StyleRigEdits(Callback):
    """Measures edits of every component of the network on the test pairs of a `lightning test` run, or on the validation
    pairs at the end of a fit.

    Writes ``<component>_edits.json`` into the run's folder for each and logs the main figures, over the pairs of all ranks.

    Args:
        judge: Weights of the judge; null reads the pose alone, by fitting the mean landmarks to those that the module's
            landmark network sees, as for generators of pictures that the judge was not trained for. Other components
            are not measured then.
        known_people: With a judge and a generator that paints portraits from their latents, as the shipped one: number of people
            whose codes are also edited to the true parameters of others, into the entry known_people; 0 for none.
    """

    def __init__(self, judge: str | None = None, known_people: int = 0) -> None:
        if known_people < 0 or (known_people and judge is None):
            raise InputError(
                f"expected known_people of at least 0, and 0 without a judge, got {known_people} with judge {judge}; "
                "name a judge or set known_people to 0"
            )
        self._judge = load_judge(judge) if judge is not None else None
        self._known_people = known_people
        self._pairs: list[LatentPairs] = []

    @staticmethod
    def file_of(component: str) -> str:
        """Name of a component's file in the run's folder."""
        return f"{component}_edits.json"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not isinstance(pl_module, StyleRig):
            raise InputError(
                f"expected a StyleRig to measure edits of, got {type(pl_module).__name__}; "
                "remove the callback evaluation.stylerig.measuring.StyleRigEdits"
            )
        if not self._measured(pl_module):
            raise InputError(
                f"expected a network that controls rotation to measure without a judge, got one for "
                f"{', '.join(pl_module.rignet.components)}; name a judge"
            )
        if self._known_people:
            check_paints_portraits(pl_module.generator, pl_module.rignet, PortraitSampler())

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._pairs = []

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._pairs = []

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: LatentPairs,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if trainer.sanity_checking:
            return
        # The pictures are made anew when they are measured: those of all pairs together may not fit into memory.
        self._pairs.append(LatentPairs(batch.indices, batch.w, batch.v))

    on_test_batch_end = on_validation_batch_end

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._measure(trainer, pl_module)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._measure(trainer, pl_module)

    def _measured(self, module: StyleRig) -> tuple[str, ...]:
        known = LandmarkReader.components if self._judge is None else JudgeReader.components
        return tuple(component for component in module.rignet.components if component in known)

    def _measure(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Every rank takes part: another one may hold pairs where this one holds none.
        pairs = _of_all_ranks(self._pairs)
        if pairs is None or not trainer.is_global_zero:
            return
        assert isinstance(pl_module, StyleRig) and pl_module.face_reconstruction is not None
        reader: Reader = (
            LandmarkReader(pl_module.landmarker, pl_module.face_model, pl_module.scene.camera)
            if self._judge is None
            else JudgeReader(self._judge.to(pl_module.device))
        )
        w, v = (codes.to(pl_module.device) for codes in (pairs.w, pairs.v))
        texts, figures = {}, {}
        for component in self._measured(pl_module):
            transfer = transfer_by(pl_module.rignet, pl_module.face_reconstruction, component)
            measurement = measure_edits(pl_module.generator, transfer, reader, w, v, component)
            values = {**measurement.as_dict(), **self._of_known_people(pl_module, reader, component)}
            texts[folder_of(trainer) / self.file_of(component)] = json_text(values)
            figures.update(_figures(measurement))
        write_texts(texts)
        if figures:
            log_figures(trainer, figures)

    def _of_known_people(self, module: StyleRig, reader: Reader, component: str) -> dict[str, Any]:
        if not self._known_people:
            return {}
        assert isinstance(reader, JudgeReader) and module.face_reconstruction is not None
        measurement = edits_of_known_people(
            module.generator,
            module.rignet,
            module.face_reconstruction,
            reader,
            PortraitSampler().to(module.device),
            component,
            self._known_people,
        )
        return {"known_people": measurement.as_dict()}


def _figures(measurement: EditMeasurement) -> dict[str, float]:
    """What is logged: nothing where nothing was asked."""
    if not math.isfinite(measurement.error_ratio):
        return {}
    name = f"edit/{measurement.component}"
    error = "error_deg" if measurement.component == "rotation" else "error"
    return {f"{name}_{error}": measurement.edited.error, f"{name}_error_ratio": measurement.error_ratio}


def _of_all_ranks(batches: list[LatentPairs]) -> LatentPairs | None:
    """The codes that all ranks have kept, on the CPU and in the order of their indices; None without any. Each is called with its own."""
    kept = [tuple(values.cpu() for values in batch[:3]) for batch in batches]
    if distributed.is_available() and distributed.is_initialized():
        gathered: list[Any] = [None] * distributed.get_world_size()
        distributed.all_gather_object(gathered, kept)
        kept = [batch for of_rank in gathered for batch in of_rank]
    if not kept:
        return None
    indices, w, v = (torch.cat(values) for values in zip(*kept, strict=True))
    order = indices.argsort()
    return LatentPairs(indices[order], w[order], v[order])
