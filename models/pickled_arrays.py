"""NumPy's arrays and data types out of pickles, without NumPy's own functions for that."""

import math
import pickle
import re
from typing import Any

import numpy as np

from models.pickle_records import Budget, Restorable

_MAX_AXES = 64  # of torch's tensors, and of NumPy's since its release 2
# Numbers, truth values and text of a fixed length. Objects, records and unnamed bytes are not among them.
_NUMPY_CODE = re.compile(r"[<>|=]?(?:\?|[biufc]\d{1,2}|[bBhHiIlLqQefdgFDG]|[SU]\d{1,6})")


class NumpyType(Restorable):
    """A NumPy data type of plain numbers or text, of whose pickled state the byte order alone is taken.

    NumPy's own `dtype.__setstate__` would also accept sizes, fields and flags that turn plain memory into objects.
    """

    def __init__(self, code: Any, *flags: Any) -> None:
        # Only text is quoted: what else a pickle gives may be nested so that its text has no end.
        if not isinstance(code, str):
            raise pickle.UnpicklingError(f"a NumPy type named by a {type(code).__name__}")
        if not _NUMPY_CODE.fullmatch(code):
            raise pickle.UnpicklingError(f"a NumPy array of {code[:40]}: objects and records are not read")
        self.dtype = np.dtype(code)
        if self.dtype.itemsize == 0:
            raise pickle.UnpicklingError("a NumPy array of elements without a size")

    def restore(self, state: Any, budget: Budget) -> None:
        """Take the byte order."""
        _, order, *described = state
        if any(part is not None for part in described[:3]):
            raise pickle.UnpicklingError("a NumPy array of records")
        self.dtype = self.dtype.newbyteorder(order)


class NumpyArray(np.ndarray, Restorable):
    """An array that is filled from a pickle's state, whose data type is one of ours."""

    def restore(self, state: Any, budget: Budget) -> None:
        """Take shape, type, order and elements."""
        _, shape, kind, fortran, data = state
        # As text where Python 2 wrote it.
        data = data.encode("latin1") if isinstance(data, str) else data
        size = math.prod(whole_sizes(shape)) * dtype_of(kind).itemsize
        if not isinstance(data, (bytes, bytearray)) or len(data) != size:
            raise pickle.UnpicklingError("a NumPy array of another size than its elements")
        budget.copy(len(data))
        super().__setstate__((1, shape, dtype_of(kind), bool(fortran), bytes(data)))  # type: ignore[arg-type]


def whole_sizes(sizes: Any) -> tuple[int, ...]:
    """The sizes, offsets or strides of a tensor or an array, which must be whole numbers from zero up."""
    if not isinstance(sizes, tuple) or len(sizes) > _MAX_AXES:
        raise pickle.UnpicklingError(f"sizes along axes in a {type(sizes).__name__}")
    if not all(isinstance(size, int) and 0 <= size < 2**62 for size in sizes):
        raise pickle.UnpicklingError("a size that is no whole number from 0 up")
    return sizes


def dtype_of(kind: Any) -> np.dtype:
    if not isinstance(kind, NumpyType):
        raise pickle.UnpicklingError("a NumPy array without a data type")
    return kind.dtype
