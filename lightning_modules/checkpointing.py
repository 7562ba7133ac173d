"""Checkpoints that are whole or absent, and a clear word where one cannot be read."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch
from lightning_fabric.plugins import TorchCheckpointIO

from renderers.errors import InputError


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to write, which takes its name when it is whole: `path` is the earlier file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # mkstemp gives rights to the owner alone; these are those of an ordinary file.
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its final name and renames it there.

    Lightning's own writer moves the file from the system's temporary folder, which is a copy where that lies on another
    disk: a run killed in the middle of it leaves half a checkpoint under the final name.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write a checkpoint; `path` is the earlier file or the whole new one, never a part."""
        if storage_options is not None:
            raise InputError("storage_options: expected None, as checkpoints are local files; leave it out")
        with whole_file(Path(path)) as file:
            torch.save(checkpoint, file)

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable[..., Any] | None = lambda storage, location: storage,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read a checkpoint.

        Raises:
            InputError: if the file is missing, cut off, or no checkpoint of Lightning.
        """
        if not Path(path).is_file():
            raise InputError(f"expected a checkpoint at {path}, found none; correct the path")
        try:
            checkpoint = super().load_checkpoint(path, map_location=map_location, weights_only=weights_only)
        # Damaged bytes surface in torch's reader as whatever they first run into.
        except Exception as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise InputError(
                f"expected a whole checkpoint, got {path}, which cannot be read ({reason}); use an earlier checkpoint"
            ) from error
        if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
            raise InputError(
                f"expected a checkpoint of a training run, got {path}, which holds no state_dict; "
                "give weights to the model's own option instead of --ckpt_path"
            )
        return checkpoint
