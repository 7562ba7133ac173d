"""Where a run writes: its configuration, checkpoints, metrics and pictures are in ``<root>/<name>/<id>/`` alone."""

import csv
import os
import re
import secrets
import zipfile
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

import wandb
from pytorch_lightning import Trainer
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter
from pytorch_lightning.utilities import rank_zero_only

from models.weights import PROJECT_ROOT
from renderers.errors import InputError

CONFIG_FILE = "config.yaml"
CHECKPOINT_FOLDER = "checkpoints"
LAST_CHECKPOINT = "last.ckpt"
# Lightning starts the other processes of a run with the environment of the first, which is how they learn its id.
RUN_ID_VARIABLE = "LATENTRIG_RUN_ID"


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run.

    Args:
        root: Folder of all runs.
        name: One folder per experiment; by default the name of the first config file.
        id: One folder per run; by default a new one, or the run that the checkpoint of --ckpt_path belongs to.
    """

    root: str = "runs"
    name: str | None = None
    id: str | None = None

    @property
    def path(self) -> Path:
        """The folder; only of a run whose name and id are settled."""
        if self.name is None or self.id is None:
            raise InputError(f"expected a run with a name and an id, got {self}; settle it first")
        return Path(self.root) / self.name / self.id

    @property
    def last_checkpoint(self) -> Path:
        """The newest checkpoint, which need not exist yet."""
        return self.path / CHECKPOINT_FOLDER / LAST_CHECKPOINT


def folder_of(trainer: Trainer) -> Path:
    """Where a trainer's run writes: the folder of a run of the command line.

    Not `Trainer.log_dir`, which all ranks have to read together, as it is broadcast among them.
    """
    return Path(trainer.default_root_dir)


def run_of_checkpoint(checkpoint: str | Path) -> RunFolder | None:
    """The run that a checkpoint belongs to, or None for a file that lies elsewhere."""
    folder = Path(checkpoint).absolute().parent
    if folder.name != CHECKPOINT_FOLDER or not (folder.parent / CONFIG_FILE).is_file():
        return None
    run = folder.parent
    return RunFolder(root=os.path.relpath(run.parent.parent), name=run.parent.name, id=run.name)


def settle_run(
    run: RunFolder, verb: str, default_name: str, checkpoint: str | None, keeps_states: bool = False
) -> tuple[RunFolder, str | None]:
    """Settle name and id of a run and the file it starts from. Writes nothing.

    Args:
        run: The run as asked for.
        verb: ``fit``, ``validate``, ``test`` or ``predict``.
        default_name: Name of a run that was given none.
        checkpoint: A file, ``"last"`` for the newest checkpoint of the run `run.id`, or None.
        keeps_states: Whether what is run keeps states of its own to go on from, and writes over nothing: ``"last"`` then continues
            a run that has no checkpoint.

    Returns:
        The settled run and the checkpoint file, None to start afresh.

    Raises:
        InputError: if the name or id cannot be a folder, the checkpoint is missing, a new fit would write over an
            earlier run, or several processes could not agree on an id.
    """
    owner = None
    continues = checkpoint == "last" and keeps_states
    if checkpoint is not None and checkpoint != "last":
        _check_file(checkpoint)
        owner = run_of_checkpoint(checkpoint)
    if run.id is None and owner is not None and run.name in (None, owner.name):
        run = owner
    elif run.id is None and checkpoint == "last":
        raise InputError("--ckpt_path last: expected the id of the run to continue, got none; add --run.id ID")
    run = replace(run, name=run.name or default_name, id=run.id or _new_id())
    for key, value in (("name", run.name), ("id", run.id)):
        if not re.fullmatch(r"\w[\w.+-]*", value or ""):
            raise InputError(f"--run.{key}: expected letters, digits and any of . _ + -, got {value!r}; choose another")
    if checkpoint == "last":
        if run.last_checkpoint.is_file():
            checkpoint = str(run.last_checkpoint)
            _check_file(checkpoint)
        elif verb == "fit":
            # So that a cluster job is started and continued by one and the same command.
            checkpoint = None
        else:
            raise InputError(
                f"--ckpt_path last: expected {run.last_checkpoint}, found none; correct --run.name or --run.id"
            )
    afresh = verb == "fit" and checkpoint is None and not continues
    if afresh and _is_first_rank() and (run.path / CONFIG_FILE).exists():
        raise InputError(
            f"expected a new run, got {run.path}, which exists; "
            "continue it with --ckpt_path last or choose another --run.id"
        )
    return run, checkpoint


def _check_file(checkpoint: str) -> None:
    if not Path(checkpoint).is_file():
        raise InputError(
            f"--ckpt_path: expected a checkpoint file or `last`, got {checkpoint}, which is no file; correct the path"
        )
    # A checkpoint is a zip archive whose directory comes last: this finds a file that was cut off without reading it.
    if not zipfile.is_zipfile(checkpoint):
        raise InputError(
            f"--ckpt_path: expected a whole checkpoint, got {checkpoint}, which is none or cut off; use an earlier one"
        )


def _new_id() -> str:
    """A new id, the same in all processes of a run."""
    launched = int(os.environ.get("WORLD_SIZE", "1")) > 1 or int(os.environ.get("SLURM_NTASKS", "1")) > 1
    if launched and "LOCAL_RANK" in os.environ and RUN_ID_VARIABLE in os.environ:
        return os.environ[RUN_ID_VARIABLE]
    if launched:
        raise InputError(
            "expected --run.id, got none: processes started by torchrun or srun cannot agree on a new one; "
            "add --run.id ID, for instance the job's number"
        )
    # The random part keeps runs apart that start within one second; secrets is untouched by seeding.
    new_id = f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    os.environ[RUN_ID_VARIABLE] = new_id
    return new_id


def _is_first_rank() -> bool:
    return getattr(rank_zero_only, "rank", 0) == 0


class _ContinuedWriter(ExperimentWriter):
    """Writer that adds to the metrics of an earlier part of the run; Lightning's deletes them."""

    def _check_log_dir_exists(self) -> None:
        if os.path.isfile(self.metrics_file_path):
            with open(self.metrics_file_path, newline="") as file:
                self.metrics_keys = list(csv.DictReader(file).fieldnames or [])


class RunCSVLogger(CSVLogger):
    """``metrics.csv`` in the folder of the run, which grows when the run is continued.

    Its folder is the run's own, so that `Trainer.log_dir` is, too: pictures go beneath it.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(save_dir=str(folder), name="", version="", flush_logs_every_n_steps=50)

    @property
    def log_dir(self) -> str:
        """The folder of the run."""
        return self.save_dir

    @property
    def experiment(self) -> ExperimentWriter:
        """The writer; made on first use, so that a run that fails before it logs leaves nothing behind."""
        if self._experiment is None and _is_first_rank():
            self._experiment = _ContinuedWriter(log_dir=self.log_dir)
        return super().experiment


@dataclass(frozen=True)
class Loggers:
    """What metrics are written to, besides ``metrics.csv`` in the folder of the run, which is always written.

    Args:
        wandb: Weights & Biases: `offline` writes local files that `wandb sync` can upload later, `online` uploads
            as the run goes (log in first), `disabled` writes none.
        project: Project of Weights & Biases.
        entity: User or team of Weights & Biases; by default that of the login.
        group: Runs of one group are shown together.
        tags: Labels of the run.
        tensorboard: Write TensorBoard event files as well.
    """

    wandb: Literal["offline", "online", "disabled"] = "offline"
    project: str = "latentrig"
    entity: str | None = None
    group: str | None = None
    tags: tuple[str, ...] = ()
    tensorboard: bool = False

    def build(self, run: RunFolder) -> list[Logger]:
        """The loggers of a settled run. Nothing is written before the trainer starts.

        The id at Weights & Biases is made of the run's name and id: a continued run continues there, too.
        """
        loggers: list[Logger] = [RunCSVLogger(run.path)]
        if self.wandb != "disabled":
            loggers.append(self._wandb_logger(run))
        if self.tensorboard:
            try:
                loggers.append(TensorBoardLogger(save_dir=run.path, name="tensorboard", version=""))
            except ModuleNotFoundError as error:
                raise InputError(
                    "--logger.tensorboard: expected the package tensorboard, found none; "
                    "pip install 'latentrig[tensorboard]'"
                ) from error
        return loggers

    def _wandb_logger(self, run: RunFolder) -> WandbLogger:
        # The commit to be noted is that of the program: the run's folder, which W&B would look at, may lie anywhere.
        settings = wandb.Settings(git_root=str(PROJECT_ROOT))
        if self.wandb == "offline":
            # There is no address to announce, and the terminal's text needs no second copy.
            settings.silent, settings.console = True, "off"
        logger = WandbLogger(
            name=f"{run.name}/{run.id}",
            id=f"{run.name}-{run.id}",
            save_dir=run.path,
            project=self.project,
            offline=self.wandb == "offline",
            entity=self.entity,
            group=self.group,
            tags=list(self.tags),
            settings=settings,
        )
        # Lightning 2.6 always passes this setting, which W&B has given up and warns of on the error stream.
        logger._wandb_init.pop("anonymous", None)
        return logger
