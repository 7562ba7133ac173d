"""The verbs fit, validate, test and predict: LightningCLI with runs in folders of their own."""

import json
import shlex
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import wandb
from jsonargparse import Namespace
from pytorch_lightning import LightningDataModule, LightningModule, Trainer
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, ProgressBar, RichProgressBar
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from pytorch_lightning.loggers import Logger, WandbLogger
from pytorch_lightning.plugins.environments import SLURMEnvironment
from pytorch_lightning.plugins.io import CheckpointIO
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from commands.arguments import OneLineErrors, find_configs, unwrapped_errors
from commands.warning_filters import quieten_libraries
from lightning_modules.checkpointing import AtomicCheckpointIO, whole_file
from lightning_modules.pie.module import PIE
from lightning_modules.progress import LineProgress, RankSeed, check_seed
from lightning_modules.run_folder import CHECKPOINT_FOLDER, CONFIG_FILE, LAST_CHECKPOINT, Loggers, RunFolder, settle_run
from models.version import project_version
from renderers.errors import InputError

# What a run that is killed may lose. By time, since a pass over latent pairs never ends and steps take from milliseconds to minutes.
CHECKPOINT_INTERVAL = timedelta(minutes=10)


class TrainerParser(OneLineErrors, LightningArgumentParser):
    """Parser of the trainer's verbs."""


class SaveRunConfig(SaveConfigCallback):
    """Saves the configuration of a run in its folder, as a file that starts the same run anew when given to --config.

    A continued run whose configuration changed gets a further file, `config-2.yaml` and so on.
    """

    def __init__(self, parser: LightningArgumentParser, config: Namespace, command: list[str]) -> None:
        super().__init__(parser, config)
        self.command = command

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write nothing yet, unlike the original: a checkpoint that does not fit is found later."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the configuration of a training run."""
        self._save_once(trainer, CONFIG_FILE)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the configuration of a validation that is not part of a training run."""
        self._save_once(trainer, "config-validate.yaml")

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the configuration of a test."""
        self._save_once(trainer, "config-test.yaml")

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the configuration of a prediction."""
        self._save_once(trainer, "config-predict.yaml")

    def _save_once(self, trainer: Trainer, name: str) -> None:
        if self.already_saved or not trainer.is_global_zero:
            return
        self.already_saved = True
        config = self.config.clone()
        # The next run with this file is another run and starts from its own checkpoint or from none.
        config["run"]["id"] = None
        config["ckpt_path"] = None
        text = self.parser.dump(config, skip_none=False)
        command = shlex.join(["lightning", *self.command])
        # The parser itself adds the release of Lightning.
        header = f"# latentrig {project_version()}, torch {torch.__version__}\n# {command}\n"
        folder = RunFolder(**self.config["run"].as_dict()).path
        target, number = folder / name, 1
        while target.exists():
            if target.read_text().split("\n", 2)[2] == text:
                return
            number += 1
            target = (folder / name).with_stem(f"{Path(name).stem}-{number}")
        with whole_file(target) as file:
            file.write((header + text).encode())
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_hyperparams(json.loads(self.parser.dump(config, format="json", skip_none=False)))


class TrainerCLI(LightningCLI):
    """LightningCLI whose models and data are named by class path, and whose runs write to their own folder alone."""

    def __init__(self, args: list[str]) -> None:
        super().__init__(
            model_class=LightningModule,
            datamodule_class=LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=SaveRunConfig,
            save_config_kwargs={"command": args},
            seed_everything_default=0,
            parser_class=TrainerParser,
            parser_kwargs={"prog": "lightning"},
            # Each module has the optimizer of its paper.
            auto_configure_optimizers=False,
            args=args,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the run's folder and loggers."""
        parser.add_class_arguments(RunFolder, "run")
        parser.add_class_arguments(Loggers, "logger")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the arguments. Unlike the original, this does not warn that `sys.argv` holds some as well."""
        self.config = parser.parse_args(args)

    def _parse_ckpt_path(self) -> None:
        """Leave the configuration as given; the original puts the checkpoint's hyperparameters over it."""

    def _set_seed(self) -> None:
        """Seed everything, once it is sure that the seed is one."""
        seed = self._get(self.config, "seed_everything")
        if not isinstance(seed, bool):
            check_seed(seed, "seed_everything")
        super()._set_seed()

    def before_instantiate_classes(self) -> None:
        """Settle where the run writes, before anything is built."""
        options = self.config[self.subcommand]
        first = next(iter(options.get("config") or []), None)
        default_name = Path(str(first)).stem if first else options["model"]["class_path"].rpartition(".")[2]
        run = RunFolder(**options["run"].as_dict())
        embeds = options["model"]["class_path"] == f"{PIE.__module__}.{PIE.__qualname__}"
        run, options["ckpt_path"] = settle_run(
            run, str(self.subcommand), default_name, options.get("ckpt_path"), keeps_states=embeds
        )
        for key in ("root", "name", "id"):
            options["run"][key] = getattr(run, key)

    def instantiate_classes(self) -> None:
        """Build model, data and trainer; what their constructors raise arrives here as they raised it."""
        with unwrapped_errors():
            super().instantiate_classes()

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the trainer with what every run gets, as far as its configuration says nothing else."""
        run, settings = self._get(self.config_init, "run"), self._get(self.config_init, "trainer")
        parts = {
            "callbacks": _callbacks(settings),
            "logger": _loggers(settings, self._get(self.config_init, "logger"), run),
            "plugins": _plugins(settings),
            "default_root_dir": str(run.path),
        }
        try:
            trainer = super().instantiate_trainer(**parts, **kwargs)
        except (MisconfigurationException, ValueError) as error:
            raise InputError(f"trainer: {' '.join(str(error).split())}; correct the trainer's options") from error
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.dirpath is None:
                callback.dirpath = str(run.path / CHECKPOINT_FOLDER)
        return trainer

    def after_fit(self) -> None:
        """End with code 1 where some of the portraits of a fit were not embedded: the summary says why."""
        if isinstance(self.model, PIE) and self.model.failures:
            raise SystemExit(1)

    def _run_subcommand(self, subcommand: str) -> None:
        """Run the verb. What a user can mend becomes an `InputError`."""
        try:
            super()._run_subcommand(subcommand)
        except RuntimeError as error:
            if "Error(s) in loading state_dict" not in str(error):
                raise
            difference = " ".join(str(error).splitlines()[1].split())
            raise InputError(
                f"expected a checkpoint of {type(self.model).__name__} with the same sizes, got "
                f"{self.config[subcommand]['ckpt_path']}: {difference}; use the config saved beside the checkpoint"
            ) from error
        except MisconfigurationException as error:
            raise InputError(
                f"{subcommand}: {' '.join(str(error).split()).rstrip('.')}; use a model and data that support `lightning {subcommand}`"
            ) from error
        except wandb.errors.Error as error:
            raise InputError(
                f"Weights & Biases: {' '.join(str(error).split()).rstrip('.')}; log in, or use --logger.wandb offline"
            ) from error
        except SystemExit as error:
            # Lightning leaves the process by itself after Ctrl-C, under the code of a failure.
            if self.trainer.interrupted:
                raise KeyboardInterrupt from error
            raise


def run_trainer(args: list[str]) -> None:
    """Run a trainer's verb: ``["fit", "--config", "..."]``."""
    quieten_libraries()
    try:
        TrainerCLI(find_configs(args))
    finally:
        if wandb.run is not None:
            # Otherwise the next run of this process would go on writing into this one.
            wandb.finish()


def _callbacks(settings: Namespace) -> list[Callback]:
    given = settings.get("callbacks") or []
    callbacks = list(given) if isinstance(given, list) else [given]
    callbacks.append(RankSeed())
    if settings.get("enable_checkpointing") is not False and not any(isinstance(c, ModelCheckpoint) for c in callbacks):
        # One file alone, that which `--ckpt_path last` reads: with Lightning's counter, what an interrupted GAN reached would go to
        # last-v1.ckpt beside the earlier last.ckpt of its `GanProgress`; with its own name, to a file by epoch and step as well.
        callbacks.append(
            ModelCheckpoint(
                filename=Path(LAST_CHECKPOINT).stem,
                save_last=True,
                save_top_k=0,
                train_time_interval=CHECKPOINT_INTERVAL,
                save_on_exception=True,
                enable_version_counter=False,
            )
        )
    if settings.get("enable_progress_bar") is not False and not any(isinstance(c, ProgressBar) for c in callbacks):
        callbacks.append(RichProgressBar() if sys.stdout.isatty() else LineProgress())
    return callbacks


def _loggers(settings: Namespace, loggers: Loggers, run: RunFolder) -> list[Logger] | bool:
    given = settings.get("logger")
    if given is False:
        return False
    if given is None or given is True:
        return loggers.build(run)
    return list(given) if isinstance(given, list) else [given]


def _plugins(settings: Namespace) -> list[Any]:
    given = settings.get("plugins") or []
    plugins = list(given) if isinstance(given, list) else [given]
    if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
        plugins.append(AtomicCheckpointIO())
    if SLURMEnvironment.detect():
        # A requeued job continues by `--ckpt_path last`; Lightning's own way of requeuing would know nothing of it.
        plugins.append(SLURMEnvironment(auto_requeue=False))
    return plugins
