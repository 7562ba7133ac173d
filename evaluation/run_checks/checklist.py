"""All checks of a run, in their order: each looks only at what those before it left whole."""

import tempfile
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pytorch_lightning import LightningDataModule, LightningModule, Trainer

from evaluation.run_checks.devices import check_devices
from evaluation.run_checks.files import check_files, check_writable
from evaluation.run_checks.licences import check_licences
from evaluation.run_checks.measurement import TrialRunner, measure
from evaluation.run_checks.references import find_references
from evaluation.run_checks.report import Check, failed_by, passes
from evaluation.run_checks.shapes import check_batch, check_checkpoint, check_provenance, check_shapes
from evaluation.run_checks.trial_config import trials_of
from lightning_modules.run_folder import RunFolder
from renderers.errors import InputError


@runtime_checkable
class PlannedRun(Protocol):
    """A run that was parsed and nothing else; its parts are made when asked for, and raise `InputError` as the run itself would.

    Attributes:
        run_config: Its configuration as plain values, as a saved ``config.yaml`` holds them.
    """

    run_config: dict[str, Any]

    def settle(self) -> tuple[RunFolder, str | None]:
        """Where it writes, and the checkpoint that it starts from."""
        ...

    def build(self) -> tuple[LightningModule, LightningDataModule | None]:
        """Its model and data."""
        ...

    def build_trainer(self) -> Trainer:
        """Its trainer, after `build`."""
        ...


def check_run(planned: PlannedRun, run_trials: TrialRunner, steps: int) -> tuple[list[Check], dict[str, Any] | None]:
    """Look at a run.

    Args:
        planned: The run.
        run_trials: Runs trials; at the top of a module, as another process looks it up.
        steps: Ordinary steps to measure in each phase; 0 runs none.

    Returns:
        The lines, and what was measured.
    """
    config = planned.run_config
    references = find_references(config)
    checks, artefacts = check_files(references)
    if passes(checks):
        checks += check_provenance(artefacts)
    files_fit = passes(checks)
    checks += [*check_licences(artefacts), check_devices(config["trainer"])]
    run, checkpoint = None, None
    try:
        run, checkpoint = planned.settle()
        checks.append(check_writable("run folder", run.path))
    except InputError as error:
        checks.append(failed_by("checkpoint" if str(error).startswith("--ckpt_path") else "run folder", error))
    if not files_fit:
        return [*checks, Check("model and data", "skipped", "not built: first mend the files above")], None
    try:
        model, data = planned.build()
    except (InputError, OSError) as error:
        return [*checks, failed_by("model and data", error)], None
    checks.append(Check("model and data", "ok", f"{type(model).__name__} on {type(data).__name__}"))
    options = (config.get("data") or {}).get("init_args") or {}
    checks += check_shapes(model, data, options)
    if checkpoint is not None:
        checks.append(check_checkpoint(Path(checkpoint), model))
    trainer = None
    try:
        # A trainer for devices that are not there has been named already.
        trainer = planned.build_trainer() if passes(checks) else None
    except InputError as error:
        checks.append(failed_by("trainer", error))
    if trainer is not None:
        checks.append(check_batch(options, trainer))
    if run is None or trainer is None or not passes(checks) or not steps:
        why = "--steps 0" if passes(checks) else "first mend the above"
        return [*checks, Check("time, memory, disk", "skipped", f"no steps were run: {why}")], None
    with tempfile.TemporaryDirectory(prefix="latentrig-check-") as name:
        folder = Path(name)
        try:
            trials = trials_of(config, references, model, data, folder)
        except InputError as error:
            return [*checks, failed_by("data", error)], None
        lines, measured = measure(
            trials, run_trials, steps, folder, model, trainer, options.get("batch_size"), run.path
        )
    return [*checks, *lines], measured
