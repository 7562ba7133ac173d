"""``lightning check``: look at a training run before it is started."""

import re
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse.typing import NonNegativeInt
from pytorch_lightning import LightningDataModule, LightningModule, Trainer
from pytorch_lightning.cli import LightningArgumentParser

from commands.arguments import find_configs, unwrapped_errors
from commands.trainer import TrainerCLI
from commands.warning_filters import quieten_libraries
from evaluation.report import json_text, write_text
from evaluation.run_checks.checklist import check_run
from evaluation.run_checks.files import check_writable
from evaluation.run_checks.report import as_json, passes, print_table
from evaluation.run_checks.trial import TrialClock, TrialResult
from lightning_modules.run_folder import RunFolder
from renderers.errors import InputError


def check(args: list[str]) -> None:
    """Look at what ``lightning fit`` with these arguments would do, and print a line per check.

    Files are there and of the right kind; shapes agree; licences that bind are named; a few steps in a temporary folder tell time,
    memory and disk. What stays is the file of ``--json``, and in the user's cache a face model that was built for the first time.

    Args:
        args: Options of ``lightning fit``, and ``--steps N`` and ``--json FILE``.

    Raises:
        InputError: for arguments that `lightning fit` would not understand, or a file of ``--json`` that cannot be written.
        SystemExit: with code 1 if something must be mended.
    """
    quieten_libraries()
    cli = CheckCLI(find_configs(args))
    target = cli.options["json"]
    if target is not None:
        _require_writable(target)
    checks, measured = check_run(cli, run_trials, cli.options["steps"])
    print_table(checks, f"lightning check: {cli.options['model']['class_path']}")
    if target is not None:
        write_text(target, json_text(as_json(checks, measured, args)))
    if not passes(checks):
        raise SystemExit(1)


def _require_writable(target: Path) -> None:
    """Refuse a file that could not be written, before minutes are spent on what goes into it."""
    line = check_writable("--json", target)
    if target.is_dir() or line.status == "fix":
        got = f"the folder {target}" if target.is_dir() else line.got
        raise InputError(f"expected a file that can be written for --json, got {got}; name another")


class CheckCLI(TrainerCLI):
    """Parses what ``lightning fit`` would; settles and builds only when asked (`checklist.PlannedRun`)."""

    def __init__(self, args: list[str]) -> None:
        try:
            super().__init__(["fit", *args])
        except InputError as error:
            # The options are those of another verb, and its parser speaks of them with its name.
            text = re.sub(r"\bfit\.(?=(data|model|trainer|run|logger|steps|json)\b)", "", str(error))
            raise InputError(text.replace("see lightning --help", "see lightning check --help")) from error
        self.options = self.config["fit"]
        saved = yaml.safe_load(self._parser("fit").dump(self.options, skip_none=False))
        self.run_config = {name: value for name, value in saved.items() if name not in ("steps", "json")}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options of the check."""
        super().add_arguments_to_parser(parser)
        parser.description = (
            "Look at a training run before it is started: files, shapes, licences, memory, time and disk."
        )
        parser.usage = "lightning check [options of lightning fit] [--steps N] [--json FILE]"
        text = "steps that are measured in each phase of the training; 0 runs none"
        parser.add_argument("--steps", type=NonNegativeInt, default=3, help=text)
        parser.add_argument("--json", type=Path | None, default=None, help="file for the results as JSON")

    def before_instantiate_classes(self) -> None:
        """Settle nothing yet."""

    def instantiate_classes(self) -> None:
        """Build nothing yet."""

    def _run_subcommand(self, subcommand: str) -> None:
        """Run nothing."""

    def settle(self) -> tuple[RunFolder, str | None]:
        """Where the run would write, and the checkpoint that it would start from."""
        super().before_instantiate_classes()
        return RunFolder(**self.options["run"].as_dict()), self.options["ckpt_path"]

    def build(self) -> tuple[LightningModule, LightningDataModule | None]:
        """Build model and data."""
        with unwrapped_errors():
            self.config_init = self.parser.instantiate_classes(self.config)
        return self._get(self.config_init, "model"), self._get(self.config_init, "data")

    def build_trainer(self) -> Trainer:
        """Build the trainer, which writes nothing before it starts."""
        return self.instantiate_trainer()


class TrialCLI(TrainerCLI):
    """Runs a trial, which a clock ends."""

    def __init__(self, config: str, clock: TrialClock) -> None:
        self.clock = clock
        super().__init__(["fit", "--config", config])

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the trainer, with the clock as its first callback."""
        self._get(self.config_init, "trainer")["callbacks"] = [self.clock]
        return super().instantiate_trainer(**kwargs)


def run_trials(configs: list[str], steps: int, checkpoint: str) -> list[TrialResult]:
    """Run trials one after the other, up to the first that fails.

    Args:
        configs: Files of their configurations.
        steps: Ordinary steps to measure in each phase.
        checkpoint: Where a checkpoint is written for its size.
    """
    quieten_libraries()
    results: list[TrialResult] = []
    for config in configs:
        clock = TrialClock(steps, Path(checkpoint))
        try:
            TrialCLI(config, clock)
        except InputError as error:
            clock.result.error, clock.result.refused = str(error), True
        except Exception as error:  # whatever stops a training is what the check is to report
            text = " ".join(str(error).split())
            clock.result.error = f"{type(error).__name__}: {text}"[:500]
            clock.result.out_of_memory = (
                isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "t allocate memory" in text
            )
        results.append(clock.finish())
        if clock.result.error is not None:
            break
    return results
