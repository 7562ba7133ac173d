"""Warnings and notices of libraries that say nothing to a user, each silenced with its reason."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

_FILTERS: tuple[tuple[str, type[Warning]], ...] = (
    # Synthetic data are drawn on the training device: worker processes would have nothing to do.
    (r".*does not have many workers.*", Warning),
    # Short demo epochs log less often than the logger's default interval, on purpose.
    (r"The number of training batches .* is smaller than the logging interval.*", Warning),
    # Continuing a run writes into its own folder; that is what was asked for.
    (r"Checkpoint directory .* exists and is not empty.*", Warning),
    # A resumed run may change its callbacks; which ones is written in the saved configuration.
    (r"Be aware that when using `ckpt_path`, callbacks used to create the checkpoint.*", Warning),
    # Lightning 2.6 still calls names that newer PyTorch and jsonargparse announce the end of.
    (r".*", DeprecationWarning),
    (r".*LeafSpec.* is deprecated.*", Warning),
    # Frozen networks, such as the generator that is controlled, are kept in evaluation mode on purpose.
    (r"Found \d+ module\(s\) in eval mode at the start of training.*", Warning),
    # A model may be measured by its test run alone.
    (r"You defined a `validation_step` but have no `val_dataloader`.*", Warning),
    (r"You passed in a `val_dataloader` but have no `validation_step`.*", Warning),
)


def quieten_libraries() -> None:
    """Silence the listed warnings, and Lightning's notices below the level of a warning.

    Lightning's notices are hardware lists, advertisements and "Seed set to 0". They go to the error stream, where a
    user looks for errors.
    """
    for message, category in _FILTERS:
        warnings.filterwarnings("ignore", message=message, category=category)
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Within it, warnings are lines of the command's output, without the place in the code that they come from."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        print(f"note: {' '.join(str(message).split())}")

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
