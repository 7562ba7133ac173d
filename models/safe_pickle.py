"""Reading other people's pickles without running anything in them.

A pickle is a program: its globals name functions that loading would call. Here every global is either one of a short list of
containers and tensor rebuilders, in versions of our own, or an inert name. So a checkpoint that carries an ``argparse.Namespace``, or
a whole network with its source text, still gives its tensors, and a hostile file gives a record that says ``os.system``. No library's
unpickler sees the file: `models.pickle_machine` runs the opcodes, `models.torch_archive` reads the layouts of `torch.save`.

The memory that a file can ask for is bounded by its size: claimed sizes are compared with the bytes that are there, and copies,
steps and the elements of expanded tensors are counted.
"""

import collections
import io
import math
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.pickle_machine import PickleMachine
from models.pickle_records import Budget, InertClass, InertRecord, checked_key
from models.pickled_arrays import NumpyArray, NumpyType, dtype_of, whole_sizes
from models.torch_archive import LEGACY_MAGIC, ZIP_START, StoredNumbers, read_legacy, read_zip
from models.weights import locate
from renderers.errors import InputError

__all__ = ["InertClass", "InertRecord", "read_pickle"]

# Files within files: an ADA pickle holds each tensor's storage as one of torch.save.
_MAX_DEPTH = 1


class _Reading:
    """The reading of one file, with what its pickles may call.

    Args:
        budget: What it may use.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._depth = 0
        self._known = self._functions()
        self._constants = {str(kind): kind for kind in vars(torch).values() if isinstance(kind, torch.dtype)}

    def read(self, file: io.BytesIO | io.BufferedReader) -> Any:
        """Read a pickle or a file of torch.save.

        Args:
            file: Positioned at its start.
        """
        start = file.read(len(ZIP_START))
        file.seek(0)
        if start == ZIP_START:
            return read_zip(file, self._run, self._budget)
        # In memory, where a read of more bytes than there are takes no more than there are.
        stream = io.BytesIO(file.read())
        contents = self._run(stream, None)
        if isinstance(contents, int) and contents == LEGACY_MAGIC:
            return read_legacy(stream, self._run, self._budget)
        return contents

    def _run(self, stream: io.BytesIO, persistent: Callable[[Any], Any] | None) -> Any:
        return PickleMachine(self._known, self._constants, self._budget, persistent).run(stream)

    def _functions(self) -> Mapping[str, Callable[..., Any]]:
        functions: dict[str, Callable[..., Any]] = {
            "collections.OrderedDict": self._ordered,
            "dnnlib.util.EasyDict": self._dict,
            "torch._utils._rebuild_tensor": self._tensor,
            "torch._utils._rebuild_tensor_v2": self._tensor,
            "torch._utils._rebuild_tensor_v3": self._tensor_of_type,
            "torch._utils._rebuild_parameter": self._parameter,
            "torch._utils._rebuild_parameter_with_state": self._parameter,
            "torch._tensor._rebuild_from_type": self._of_class,
            "torch._tensor._rebuild_from_type_v2": self._of_class,
            "torch.storage._load_from_bytes": self._nested,
            "torch.Size": self._size,
            "numpy.dtype": NumpyType,
            "_codecs.encode": self._encoded,
        }
        for module in ("numpy.core", "numpy._core"):
            functions |= {
                f"{module}.multiarray.scalar": self._scalar,
                f"{module}.multiarray._reconstruct": self._empty_array,
                f"{module}.numeric._frombuffer": self._array,
            }
        for module in ("copyreg", "copy_reg"):
            functions |= {
                f"{module}._reconstructor": self._reconstructed,
                f"{module}.__newobj__": self._new_object,
            }
        for module in ("builtins", "__builtin__"):
            functions |= {
                f"{module}.dict": self._dict,
                f"{module}.list": lambda elements=(): list(self._elements(elements)),
                f"{module}.tuple": lambda elements=(): tuple(self._elements(elements)),
                f"{module}.set": lambda elements=(): {checked_key(element) for element in self._elements(elements)},
                f"{module}.frozenset": lambda elements=(): frozenset(
                    checked_key(element) for element in self._elements(elements)
                ),
                f"{module}.bytes": self._bytes,
                f"{module}.bytearray": lambda *arguments: bytearray(self._bytes(*arguments)),
                f"{module}.complex": lambda real=0.0, imaginary=0.0: complex(float(real), float(imaginary)),
                f"{module}.slice": slice,
            }
        return functions

    def _elements(self, elements: Any) -> Any:
        if not isinstance(elements, (list, tuple, set, frozenset)):
            raise pickle.UnpicklingError(f"a container made of a {type(elements).__name__}")
        self._budget.copy(len(elements))
        return elements

    def _dict(self, items: Any = ()) -> dict[Any, Any]:
        if isinstance(items, dict):
            self._budget.copy(len(items))
            return dict(items)
        return {checked_key(key): value for key, value in self._elements(items)}

    def _ordered(self, items: Any = ()) -> dict[Any, Any]:
        return collections.OrderedDict(self._dict(items))

    def _bytes(self, content: Any = b"", encoding: str = "latin1") -> bytes:
        # An integer is refused: it would be the size of an empty buffer.
        if isinstance(content, str):
            return self._encoded(content)
        if isinstance(content, list):
            return bytes(self._elements(content))
        if not isinstance(content, (bytes, bytearray)):
            raise pickle.UnpicklingError(f"bytes made of a {type(content).__name__}")
        self._budget.copy(len(content))
        return bytes(content)

    def _encoded(self, text: Any, encoding: str = "latin1") -> bytes:
        """Bytes, which older protocols write as text of the same numbers."""
        if not isinstance(text, str):
            raise pickle.UnpicklingError(f"bytes made of a {type(text).__name__}")
        self._budget.copy(len(text))
        return text.encode("latin1")

    def _size(self, sizes: Any = ()) -> torch.Size:
        return torch.Size(whole_sizes(tuple(self._elements(sizes))))

    def _new_object(self, target: Any, *arguments: Any) -> Any:
        return PickleMachine(self._known, self._constants, self._budget).call(target, arguments)

    def _reconstructed(self, target: Any, base: Any, state: Any) -> Any:
        """An object of the oldest protocols, which say a container's contents beside its class."""
        made = self._new_object(target)
        if isinstance(made, InertRecord) and isinstance(state, dict):
            made.entries.update(self._dict(state))
        elif isinstance(made, InertRecord) and isinstance(state, (list, tuple, set, frozenset)):
            made.elements.extend(self._elements(state))
        elif isinstance(made, InertRecord):
            made.restore(state, self._budget)
        return made

    def _of_class(self, function: Any, kind: Any, arguments: Any, state: Any) -> Any:
        """A tensor of a class of its own, or with attributes: the tensor."""
        return PickleMachine(self._known, self._constants, self._budget).call(function, arguments)

    def _nested(self, content: Any) -> Any:
        if not isinstance(content, (bytes, bytearray)) or self._depth == _MAX_DEPTH:
            raise pickle.UnpicklingError("files within files")
        self._budget.copy(len(content))
        self._depth += 1
        contents = self.read(io.BytesIO(content))
        self._depth -= 1
        return contents

    # The hooks and metadata that follow in the pickle are left out: weights have no behaviour.

    def _tensor(self, storage: Any, offset: Any, size: Any, stride: Any, *unused: Any) -> torch.Tensor:
        if not isinstance(storage, StoredNumbers):
            raise pickle.UnpicklingError("a tensor without a storage")
        return self._view(storage.values, offset, size, stride)

    def _tensor_of_type(
        self, storage: Any, offset: Any, size: Any, stride: Any, gradient: Any, hooks: Any, kind: Any, *unused: Any
    ) -> torch.Tensor:
        if not isinstance(storage, StoredNumbers) or not isinstance(kind, torch.dtype) or kind == torch.bool:
            raise pickle.UnpicklingError("a tensor without a storage and a type")
        return self._view(storage.values.view(kind), offset, size, stride)

    def _view(self, values: torch.Tensor, offset: Any, size: Any, stride: Any) -> torch.Tensor:
        (offset,), size, stride = whole_sizes((offset,)), whole_sizes(size), whole_sizes(stride)
        needed = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True)) + 1 if all(size) else 0
        if needed > len(values):
            raise pickle.UnpicklingError("a tensor larger than its storage")
        self._budget.tensor(math.prod(size) * values.itemsize)
        if not needed:
            return torch.empty(size, dtype=values.dtype)
        return torch.empty(0, dtype=values.dtype).set_(values.untyped_storage(), offset, size, stride)

    def _parameter(self, data: Any, *unused: Any) -> torch.Tensor:
        if not isinstance(data, torch.Tensor):
            raise pickle.UnpicklingError("a parameter without a tensor")
        return data

    def _scalar(self, kind: Any, data: Any) -> Any:
        data = data.encode("latin1") if isinstance(data, str) else data
        if not isinstance(data, (bytes, bytearray)) or len(data) != dtype_of(kind).itemsize:
            raise pickle.UnpicklingError("a NumPy number of another size than its type")
        self._budget.copy(len(data))
        return np.frombuffer(data, dtype=dtype_of(kind))[0]

    def _empty_array(self, *unused: Any) -> np.ndarray:
        return NumpyArray((0,))

    def _array(self, data: Any, kind: Any, shape: Any, order: Any = "C", *axes: Any) -> np.ndarray:
        if not isinstance(data, (bytes, bytearray)):
            raise pickle.UnpicklingError("a NumPy array without elements")
        # A copy: the array can be written to, and does not change with others of the same bytes.
        self._budget.copy(len(data))
        array = np.frombuffer(bytearray(data), dtype=dtype_of(kind))
        return array.reshape(whole_sizes(shape), order="F" if order == "F" else "C")


def read_pickle(path: str | Path) -> Any:
    """Read a pickle, or a file of `torch.save` (zip archive or the older layout), without running any of it.

    Args:
        path: The file, as given or relative to the project root.

    Returns:
        Containers, plain values, NumPy scalars and arrays, tensors on the CPU, and `InertClass` and `InertRecord` for everything
        else: a class or function that the pickle names, and an object made by one. Attributes of containers are left out.

    Raises:
        InputError: if the file is missing, cut short, no pickle, a TorchScript program, or asks for more memory than a file of its
            size can need.
    """
    path = locate(path)
    if path.is_dir():
        raise InputError(f"expected a checkpoint file, {path} is a folder; name the file in it")
    if not path.is_file():
        raise InputError(f"expected a checkpoint file, {path} is a device or a pipe; name a file")
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            return _Reading(Budget(size)).read(file)
    # A damaged or hostile file can make any opcode fail in any way; none of them is our fault, all of them are the file's.
    except Exception as error:
        raise InputError(
            f"expected a whole checkpoint, {path} ({size} bytes) cannot be read ({_reason(error)}); "
            "fetch it again or name another file"
        ) from error


def _reason(error: Exception) -> str:
    text = str(error).strip()
    first = text.splitlines()[0][:200] if text else ""
    if isinstance(error, (pickle.UnpicklingError, ValueError)) and first:
        return first
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
