"""Reading other people's pickles without running anything in them.

A pickle is a program: its globals name functions that loading would call. Here every global is either one of a short list of
containers and tensor rebuilders, in versions of our own, or an `InertRecord` that keeps what the pickle handed to it and does
nothing. So a checkpoint that carries an ``argparse.Namespace``, or a whole network with its source text, still gives its tensors,
and a hostile file gives a record that says ``os.system``.
"""

import collections
import io
import pickle
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.weights import locate
from renderers.errors import InputError

_ZIP_START = b"PK\x03\x04"
# How files of torch.save began before they became zip archives: the pickle of the format's magic number.
_LEGACY_TORCH_START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


class InertRecord:
    """What a pickle says of an object whose class is unknown here, with no behaviour.

    Attributes:
        class_name: Full name of the class or function the pickle named, such as ``argparse.Namespace``.
        arguments: What it would have been called with.
        attributes: Its state, by name; a state that is no dictionary is kept under ``state``.
        entries: Items that the pickle sets on it, for subclasses of dict.
        elements: Elements that the pickle appends to it, for subclasses of list and set.
    """

    class_name = ""

    arguments: tuple[Any, ...]
    attributes: dict[str, Any]
    entries: dict[Any, Any]
    elements: list[Any]

    def __new__(cls, *arguments: Any, **keywords: Any) -> "InertRecord":
        record = super().__new__(cls)
        record.arguments = arguments
        record.attributes = dict(keywords)
        record.entries = {}
        record.elements = []
        return record

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        """Take anything: `__new__` has recorded it."""

    def __setstate__(self, state: Any) -> None:
        parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
        for part in parts:
            if isinstance(part, dict):
                self.attributes.update(part)
            elif part is not None:
                self.attributes["state"] = part

    def __setitem__(self, key: Any, value: Any) -> None:
        self.entries[key] = value

    def append(self, element: Any) -> None:
        """Keep an element that the pickle appends."""
        self.elements.append(element)

    def extend(self, elements: Any) -> None:
        """Keep elements that the pickle appends."""
        self.elements.extend(elements)

    def add(self, element: Any) -> None:
        """Keep an element that the pickle adds."""
        self.elements.append(element)

    def __repr__(self) -> str:
        return f"<inert {self.class_name}>"


class _EasyDict(dict[Any, Any]):
    """Plain dictionary in the place of ``dnnlib.EasyDict``, whose pickles may carry an (empty) state."""

    def __setstate__(self, state: Any) -> None:
        self.update(state or {})


def _inert_class(module: str, name: str) -> type[InertRecord]:
    full = f"{module}.{name}"
    return type(name.rpartition(".")[2], (InertRecord,), {"class_name": full})


def _rebuild_tensor(storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *unused: Any) -> torch.Tensor:
    if not isinstance(storage, torch.storage.TypedStorage):
        raise pickle.UnpicklingError("a tensor without a storage")
    needed = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True)) + 1 if all(size) else 0
    if min((offset, *size, *stride), default=0) < 0 or needed > storage._size():
        raise pickle.UnpicklingError("a tensor larger than its storage")
    # The hooks and metadata that follow in the pickle are left out: weights have no behaviour.
    return torch._utils._rebuild_tensor(storage, offset, size, stride)


def _rebuild_parameter(data: torch.Tensor, *unused: Any) -> torch.Tensor:
    return data


def _load_storage(data: bytes) -> Any:
    with warnings.catch_warnings():
        # These storages were typed when the files were written; torch now says so on every one.
        warnings.filterwarnings("ignore", message="TypedStorage is deprecated", category=UserWarning)
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


class _NumpyType(InertRecord):
    """A NumPy data type of plain numbers or text, of whose pickled state the byte order alone is taken.

    NumPy's own `dtype.__setstate__` would also accept sizes, fields and flags that turn plain memory into objects.
    """

    class_name = "numpy.dtype"

    dtype: np.dtype

    def __init__(self, code: Any, *flags: Any) -> None:
        if not isinstance(code, str):
            raise pickle.UnpicklingError("a NumPy type that is not named")
        self.dtype = np.dtype(code)
        if self.dtype.hasobject or self.dtype.fields is not None or self.dtype.subdtype is not None:
            raise pickle.UnpicklingError(f"a NumPy array of {self.dtype}")

    def __setstate__(self, state: Any) -> None:
        _, order, *described = state
        if any(part is not None for part in described[:3]):
            raise pickle.UnpicklingError("a NumPy array of records")
        self.dtype = self.dtype.newbyteorder(order)


class _NumpyArray(np.ndarray):
    """An array that is filled from a pickle's state, whose data type is one of ours."""

    def __setstate__(self, state: Any) -> None:
        version, shape, kind, fortran, data = state
        super().__setstate__((version, shape, _dtype_of(kind), fortran, data))


def _dtype_of(kind: Any) -> np.dtype:
    if not isinstance(kind, _NumpyType):
        raise pickle.UnpicklingError("a NumPy array without a data type")
    return kind.dtype


def _numpy_scalar(kind: Any, data: bytes) -> Any:
    return np.frombuffer(data, dtype=_dtype_of(kind))[0]


def _numpy_array(*unused: Any) -> np.ndarray:
    return _NumpyArray((0,))


def _numpy_from_buffer(data: Any, kind: Any, shape: tuple[int, ...], order: str = "C") -> np.ndarray:
    return np.frombuffer(data, dtype=_dtype_of(kind)).reshape(shape, order="F" if order == "F" else "C")


def _encode_latin1(text: str, encoding: str = "latin1") -> bytes:
    return text.encode("latin1")


def _reconstruct_object(cls: type, base: type, state: Any) -> Any:
    if not issubclass(cls, InertRecord):
        raise pickle.UnpicklingError(f"an object of {cls.__name__}")
    return cls()


class _Rebuilder:
    """A function of ours that a pickle may call and do nothing else with: setting its state would change it for good."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("a function whose state is set")


# What a pickle may name, and what it gets for it.
_KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("dnnlib.util", "EasyDict"): _EasyDict,
    ("torch._utils", "_rebuild_tensor"): _Rebuilder(_rebuild_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Rebuilder(_rebuild_tensor),
    ("torch._utils", "_rebuild_parameter"): _Rebuilder(_rebuild_parameter),
    ("torch.storage", "_load_from_bytes"): _Rebuilder(_load_storage),
    ("torch", "Size"): torch.Size,
    ("numpy", "dtype"): _NumpyType,
    ("numpy.core.multiarray", "scalar"): _Rebuilder(_numpy_scalar),
    ("numpy._core.multiarray", "scalar"): _Rebuilder(_numpy_scalar),
    ("numpy.core.multiarray", "_reconstruct"): _Rebuilder(_numpy_array),
    ("numpy._core.multiarray", "_reconstruct"): _Rebuilder(_numpy_array),
    ("numpy.core.numeric", "_frombuffer"): _Rebuilder(_numpy_from_buffer),
    ("numpy._core.numeric", "_frombuffer"): _Rebuilder(_numpy_from_buffer),
    ("_codecs", "encode"): _Rebuilder(_encode_latin1),
    ("copyreg", "_reconstructor"): _Rebuilder(_reconstruct_object),
    ("copy_reg", "_reconstructor"): _Rebuilder(_reconstruct_object),
    **{
        (module, kind.__name__): kind
        for module in ("builtins", "__builtin__")
        for kind in (object, dict, list, tuple, set, frozenset, bytearray, complex, slice)
    },
}


class RestrictedUnpickler(pickle.Unpickler):
    """An unpickler whose globals are plain containers, tensors of our own making, and inert records."""

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a global: never the object that the pickle names, unless it is a plain container."""
        if (module, name) in _KNOWN:
            return _KNOWN[module, name]
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        return _inert_class(module, name)


def _restricted_load(file: Any, **options: Any) -> Any:
    return RestrictedUnpickler(file, **options).load()


def _torch_load(path: Path) -> Any:
    source: Any = path
    with path.open("rb") as file:
        if file.read(len(_ZIP_START)) == _ZIP_START:
            # By the parser that torch.load will use: another one can be shown another table of contents.
            if "constants.pkl" in torch._C.PyTorchFileReader(str(path)).get_all_records():
                raise pickle.UnpicklingError("a TorchScript program, not weights")
        else:
            # In memory, since of a file on disk torch.load asks first whether it is a tar archive, and unpacks that.
            file.seek(0)
            source = io.BytesIO(file.read())
    module = types.SimpleNamespace(
        __name__="restricted", Unpickler=RestrictedUnpickler, load=_restricted_load, UnpicklingError=pickle.UnpicklingError
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="TypedStorage is deprecated", category=UserWarning)
        return torch.load(source, map_location="cpu", pickle_module=module, weights_only=False)


def _plain_load(path: Path) -> Any:
    with path.open("rb") as file:
        return _restricted_load(file)


def read_pickle(path: str | Path) -> Any:
    """Read a pickle, or a file of `torch.save` (zip archive or the older layout), without running any of it.

    Args:
        path: The file, as given or relative to the project root.

    Returns:
        Containers, plain values, NumPy scalars and arrays, tensors on the CPU, and `InertRecord` for everything else.

    Raises:
        InputError: if the file is missing, cut short, no pickle, or a TorchScript program.
    """
    path = locate(path)
    if path.is_dir():
        raise InputError(f"expected a checkpoint file, {path} is a folder; name the file in it")
    with path.open("rb") as file:
        start = file.read(len(_LEGACY_TORCH_START))
    reader: Callable[[Path], Any] = (
        _torch_load if start.startswith(_ZIP_START) or start == _LEGACY_TORCH_START else _plain_load
    )
    try:
        return reader(path)
    # A damaged or hostile file can make any opcode fail in any way; none of them is our fault, all of them are the file's.
    except Exception as error:
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise InputError(
            f"expected a whole checkpoint, {path} ({path.stat().st_size} bytes) cannot be read ({reason}); "
            "fetch it again or name another file"
        ) from error
