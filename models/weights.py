"""Weights on disk: one safetensors file per network, which says what it is and cannot be mistaken for another.

The metadata of a file names its kind (for instance ``stylegan2-generator``), the number of tensors and elements, the version of
the project that wrote it, the configuration its network is built from, and the SHA-256 of that configuration.
"""

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from torch.overrides import TorchFunctionMode

from models.byte_matrices import whole_matrices
from models.version import project_version
from renderers.errors import InputError

PROJECT_ROOT = Path(__file__).resolve().parents[1]
FORMAT = "latentrig-weights-1"

# A file of weights has at least a byte for each number of its network, but for buffers that follow from sizes.
NUMBERS_AT_LEAST = 2**24
# What weights are stored in; torch has no arithmetic for most of its other types.
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

Built = TypeVar("Built")


@dataclass(frozen=True)
class WeightsInfo:
    """What a weights file says about itself, read without its tensors.

    Attributes:
        path: The file.
        kind: Kind of network, as given to `save_weights`.
        version: Version of the project that wrote it.
        config: What its network is built from.
        tensors: Number of tensors.
        elements: Number of elements of all tensors together.
        origin: Layout of the file that it was converted from; "" where it was trained here.
    """

    path: Path
    kind: str
    version: str
    config: dict[str, Any]
    tensors: int
    elements: int
    origin: str = ""


def asset_path(name: str) -> Path:
    """Path of a file shipped under ``assets/``, which need not exist yet."""
    return PROJECT_ROOT / "assets" / name


def locate(path: str | Path) -> Path:
    """Find a file: the path as given, else the same path relative to the project root.

    Raises:
        InputError: if neither is there.
    """
    given = Path(path).expanduser()
    for candidate in (given, PROJECT_ROOT / given):
        if candidate.exists():
            return candidate
    raise InputError(f"expected a file at {path}, found none there nor under {PROJECT_ROOT}; correct the path")


def recorded(path: Path) -> str:
    """A file's path as another file records it: relative to the project where it lies in it, else absolute."""
    found = path.resolve()
    return found.relative_to(PROJECT_ROOT).as_posix() if found.is_relative_to(PROJECT_ROOT) else str(found)


def is_safetensors(path: Path) -> bool:
    """Whether a file is of that format by its name or its first bytes: the size of a header and the brace that opens it.

    Raises:
        InputError: for a pipe or a device, whose first bytes may never come.
    """
    if path.is_dir():
        return path.suffix == ".safetensors"
    _check_file(path)
    if path.suffix == ".safetensors":
        return True
    with path.open("rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"expected a file, {path} is a device or a pipe; name a file")


@contextmanager
def whole_path(path: Path) -> Iterator[str]:
    """A path to write to, whose file takes the name `path` when the block ends: the earlier file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    try:
        yield temporary
        # mkstemp makes files that only their owner can read; a weights file is an ordinary one.
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def half_matrices(state_dict: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same with convolution and matrix weights as float16, for `save_weights`; `fill` brings them back to float32."""
    return {
        name: value.half() if value.is_floating_point() and value.ndim > 1 else value
        for name, value in state_dict.items()
    }


def save_weights(
    path: str | Path, state_dict: Mapping[str, torch.Tensor], kind: str, config: Mapping[str, Any], origin: str = ""
) -> Path:
    """Write weights atomically: the file at `path` is the earlier one or the whole new one, never a part.

    Args:
        path: Where to write; folders on the way are made.
        state_dict: The tensors, on any device.
        kind: Kind of network, asked for again by `load_weights`.
        config: Plain JSON values from which the network is built.
        origin: Layout of the file that they were converted from, whose licence binds them; "" where they were trained here.

    Returns:
        The path written.
    """
    path = Path(path)
    text = json.dumps(dict(config), sort_keys=True)
    # Clones: safetensors refuses tensors that share memory, and views would write the memory they look into.
    tensors = {name: value.detach().to("cpu").clone().contiguous() for name, value in state_dict.items()}
    metadata = {
        "format": FORMAT,
        "kind": kind,
        "sizes": json.dumps({"tensors": len(tensors), "elements": sum(t.numel() for t in tensors.values())}),
        "version": project_version(),
        "config": text,
        "config_sha256": _sha256(text),
        **({"origin": origin} if origin else {}),
    }
    with whole_path(path) as temporary:
        save_file(tensors, temporary, metadata=metadata)
    return path


def describe_weights(path: str | Path) -> WeightsInfo:
    """Read what a weights file says about itself.

    Raises:
        InputError: if the file is missing, cut short, no safetensors file, or not written by `save_weights`.
    """
    path = locate(path)
    if path.is_dir():
        raise InputError(f"expected a weights file, {path} is a folder; name the .safetensors file in it")
    _check_file(path)
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"expected a whole safetensors file, {path} ({path.stat().st_size} bytes) is cut short or another format ({reason}); "
            "fetch or write it again"
        ) from error
    if metadata.get("format") != FORMAT:
        raise InputError(f"expected weights written by this project, {path} carries no {FORMAT} metadata; convert it first")
    absent = sorted({"kind", "sizes", "version", "config", "config_sha256"} - metadata.keys())
    if absent:
        raise InputError(f"expected metadata as this project writes it, {path} lacks {', '.join(absent)}; write it again")
    if _sha256(metadata["config"]) != metadata["config_sha256"]:
        raise InputError(f"expected the configuration that {path} was written with, its checksum differs; write it again")
    try:
        sizes, config = json.loads(metadata["sizes"]), dict(json.loads(metadata["config"]))
        counts = int(sizes["tensors"]), int(sizes["elements"])
        return WeightsInfo(path, metadata["kind"], metadata["version"], config, *counts, metadata.get("origin", ""))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"expected metadata as this project writes it, {path} holds other values; write it again") from error


def load_weights(path: str | Path, kind: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read weights of one kind.

    Args:
        path: The file, as given or relative to the project root.
        kind: The kind expected.

    Returns:
        The tensors on the CPU by name, those that were stored in eight bits as float32, and the configuration their network is built from.

    Raises:
        InputError: if the file is missing, cut short, another format, or of another kind.
    """
    info = describe_weights(path)
    if info.kind != kind:
        raise InputError(f"expected weights of kind {kind}, {info.path} holds {info.kind}; name a file of that kind")
    with safe_open(str(info.path), framework="pt") as file:
        return whole_matrices({name: file.get_tensor(name) for name in file.keys()}, info.path), info.config


def fill(network: nn.Module, state: Mapping[str, torch.Tensor], path: str | Path) -> None:
    """Load tensors that must be those of a network, by name and shape.

    Raises:
        InputError: at the first difference, for types of numbers that its weights cannot be read from (half precision and above for
            floating point, else the same), and for values that are not finite; `path` names the file that the tensors came from.
    """
    own = network.state_dict()
    missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    wrong = [name for name in own if name in state and own[name].shape != state[name].shape]
    if missing or unknown or wrong:
        name = (missing + unknown + wrong)[0]
        fault = "misses" if missing else "has an unknown" if unknown else "has another size of"
        raise InputError(
            f"expected the {len(own)} tensors of {type(network).__name__}, {path} does not match: it {fault} {name}; name another file"
        )
    for name, value in own.items():
        given = state[name].dtype
        if given not in FLOATS if value.is_floating_point() else given != value.dtype:
            raise InputError(f"expected numbers such as {value.dtype} in {name}, {path} has {given}; write or convert it again")
    if not all(bool(torch.isfinite(value).all()) for value in state.values()):
        raise InputError(f"expected finite weights, {path} holds some that are not; use an earlier checkpoint")
    network.load_state_dict(state)


def build_from(path: str | Path, make: Callable[[], Built]) -> Built:
    """What `make` builds from the configuration of a file.

    Args:
        path: The file.
        make: Builds it, for instance ``lambda: Judge(**config)``.

    Raises:
        InputError: where the configuration lacks an entry, has an unknown one, or one of another kind or of a size that is not the
            file's.
    """
    numbers = locate(path).stat().st_size + NUMBERS_AT_LEAST
    try:
        with _Allowance(numbers, path):
            return make()
    except InputError:
        raise
    # Entries of any other type reach whatever the constructor does first with them.
    except Exception as error:
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise InputError(
            f"expected a configuration that fits this version, that of {path} does not ({type(error).__name__}: {reason}); "
            "write the file again with this version"
        ) from error


class _Allowance(TorchFunctionMode):
    """Within it, torch makes no more numbers than a file can fill: sizes are looked at before memory is taken for them."""

    def __init__(self, numbers: int, path: str | Path) -> None:
        super().__init__()
        self.numbers = numbers
        self.path = path

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in (torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn):
            sizes = kwargs.get("size", args[0] if args and isinstance(args[0], (tuple, list)) else args)
            self.numbers -= math.prod(size for size in sizes if isinstance(size, int))
            if self.numbers < 0:
                raise InputError(
                    f"expected sizes of a network that the weights in {self.path} can fill, they are those of a larger one; "
                    "write the file again"
                )
        return func(*args, **kwargs)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
