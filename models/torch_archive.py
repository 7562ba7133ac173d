"""The layouts that `torch.save` has written, zip archive and older stream, read without torch's own reader.

Both hold one pickle whose tensors refer to storages by persistent ids, and the storages' bytes. Sizes in the pickle are claims: here each
is held against the bytes that are there before any memory is taken, which not every release of torch does.
"""

import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor

from models.pickle_records import Budget, InertClass

ZIP_START = b"PK\x03\x04"
# The first of the pickles in a file of the older layout.
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001

_CHUNK = 2**24
_STORAGE_MODULES = ("torch", "torch.cuda", "torch.storage")
_STORAGE_TYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexDoubleStorage": torch.complex128,
    "ComplexFloatStorage": torch.complex64,
    "UntypedStorage": torch.uint8,
}

# Runs a pickle from a stream, with a function that gives the object of a persistent id.
Run = Callable[[io.BytesIO, Callable[[Any], Any]], Any]


@dataclass(frozen=True, slots=True, eq=False)
class StoredNumbers:
    """The numbers of a storage, which tensors look into.

    Attributes:
        values: All of them, along one axis.
    """

    values: Shaped[Tensor, " numbers"]


def read_zip(file: io.BytesIO | io.BufferedReader, run: Run, budget: Budget) -> Any:
    """Read a zip archive of `torch.save`.

    Args:
        file: The archive.
        run: Reads the pickle in it.
        budget: What it may use.

    Raises:
        pickle.UnpicklingError, zipfile.BadZipFile and what `run` raises: for damage, compressed records and TorchScript programs.
    """
    with zipfile.ZipFile(file) as archive:
        names = set(archive.namelist())
        programs = [name for name in names if name.endswith("/data.pkl") and name.count("/") == 1]
        prefixes = [name.removesuffix("data.pkl") for name in programs]
        if len(prefixes) != 1:
            raise pickle.UnpicklingError("a zip archive without the data.pkl of torch.save")
        (prefix,) = prefixes
        if f"{prefix}constants.pkl" in names:
            raise pickle.UnpicklingError("a TorchScript program, not weights")
        order = f"{prefix}byteorder"
        if order in names and _stream_of(_record(archive, order, budget)).read() != b"little":
            raise pickle.UnpicklingError("weights of a machine of another byte order")
        storages: dict[str, StoredNumbers] = {}

        def persistent(identity: Any) -> StoredNumbers:
            kind, key, numbers = _storage_identity(identity, 5)
            if key not in storages:
                storages[key] = StoredNumbers(_as_numbers(_record(archive, f"{prefix}data/{key}", budget), kind))
            if len(storages[key].values) != numbers or storages[key].values.dtype != kind:
                raise pickle.UnpicklingError(f"a storage of {numbers} numbers of {kind}, where the archive has another")
            return storages[key]

        return run(_stream_of(_record(archive, f"{prefix}data.pkl", budget)), persistent)


def read_legacy(stream: io.BytesIO, run: Run, budget: Budget) -> Any:
    """Read the rest of a stream of the older layout, behind its magic number.

    Args:
        stream: The file.
        run: Reads the next pickle in it.
        budget: What it may use.

    Raises:
        pickle.UnpicklingError and what `run` raises: for damage.
    """
    protocol, machine = run(stream, _no_storage), run(stream, _no_storage)
    if protocol != LEGACY_PROTOCOL or not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise pickle.UnpicklingError("another protocol or byte order than files of torch have")
    waiting: dict[str, Tensor] = {}
    storages: dict[str, StoredNumbers] = {}

    def persistent(identity: Any) -> Any:
        # Whole networks were saved with their classes' source text.
        if isinstance(identity, tuple) and len(identity) == 4 and identity[0] == "module":
            return identity[1]
        kind, key, numbers = _storage_identity(identity, 6)
        if identity[5] is not None:
            raise pickle.UnpicklingError("a part of a storage, as only the earliest releases of torch wrote")
        if key not in storages:
            budget.stored(numbers * kind.itemsize)
            waiting[key] = torch.zeros(numbers * kind.itemsize, dtype=torch.uint8)
            storages[key] = StoredNumbers(waiting[key].view(kind))
        if len(storages[key].values) != numbers or storages[key].values.dtype != kind:
            raise pickle.UnpicklingError(f"two storages of one name, {str(key)[:40]}")
        return storages[key]

    contents = run(stream, persistent)
    keys = run(stream, _no_storage)
    if not isinstance(keys, list) or len(keys) != len(waiting) or any(key not in waiting for key in keys):
        raise pickle.UnpicklingError("storages that are not those of the tensors")
    for key in keys:
        values = storages[key].values
        if struct.unpack("<q", _exactly(stream, 8)) != (len(values),):
            raise pickle.UnpicklingError("a storage of another size than its tensors'")
        _fill(stream, waiting[key])
        _only_true_and_false(values)
    return contents


def _no_storage(identity: Any) -> Any:
    raise pickle.UnpicklingError("a storage where none belongs")


def _storage_identity(identity: Any, length: int) -> tuple[torch.dtype, str, int]:
    if not isinstance(identity, tuple) or len(identity) != length or identity[0] != "storage":
        raise pickle.UnpicklingError("a reference that is none to a storage")
    _, kind, key, _, numbers = identity[:5]
    if not isinstance(kind, InertClass):
        raise pickle.UnpicklingError(f"a storage whose type is a {type(kind).__name__}")
    module, _, name = kind.class_name.rpartition(".")
    if module not in _STORAGE_MODULES or name not in _STORAGE_TYPES:
        raise pickle.UnpicklingError(f"a storage of an unknown type, {kind.class_name[:80]}")
    if not isinstance(key, str) or not isinstance(numbers, int) or numbers < 0:
        raise pickle.UnpicklingError("a storage without a name and a size")
    return _STORAGE_TYPES[name], key, numbers


def _stored(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    record = archive.getinfo(name)
    # torch.save compresses nothing; a compressed record could grow a thousandfold.
    if record.compress_type != zipfile.ZIP_STORED or record.compress_size != record.file_size or record.flag_bits & 1:
        raise pickle.UnpicklingError("a compressed or encrypted archive, while torch.save writes plain ones")
    if record.CRC == 0:
        # As torch writes it under set_crc32_options(False): there is no checksum to compare.
        record.CRC = None  # type: ignore[assignment]
    return record


def _record(archive: zipfile.ZipFile, name: str, budget: Budget) -> Tensor:
    record = _stored(archive, name)
    budget.stored(record.file_size)
    content = torch.empty(record.file_size, dtype=torch.uint8)
    with archive.open(record) as stream:
        _fill(stream, content)
    return content


def _fill(stream: Any, content: Tensor) -> None:
    """Read as many bytes as a tensor of bytes has; of a zip archive to its end, where the checksum is compared."""
    target = content.numpy().data
    position = 0
    while position < len(target):
        count = stream.readinto(target[position : position + _CHUNK])
        if not count:
            raise pickle.UnpicklingError("a storage that is cut short")
        position += count


def _exactly(stream: io.BytesIO, count: int) -> bytes:
    content = stream.read(count)
    if len(content) != count:
        raise pickle.UnpicklingError("a file that is cut short")
    return content


def _stream_of(content: Tensor) -> io.BytesIO:
    return io.BytesIO(content.numpy().tobytes())


def _as_numbers(content: Tensor, kind: torch.dtype) -> Tensor:
    if len(content) % kind.itemsize:
        raise pickle.UnpicklingError(f"a storage of {len(content)} bytes for numbers of {kind}")
    values = content.view(kind)
    _only_true_and_false(values)
    return values


def _only_true_and_false(values: Tensor) -> None:
    """Make any byte that is not zero a 1 in a tensor of truth values, whose other bytes mean nothing to a processor."""
    if values.dtype == torch.bool:
        content = values.view(torch.uint8)
        content.copy_(content != 0)
