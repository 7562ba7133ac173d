"""The restricted reader: tensors and plain values come through, nothing runs, damage is one clear line."""

import argparse
import collections
import io
import os
import pickle
import struct
import sys
import tarfile
import types

import numpy as np
import pytest
import torch

from models.safe_pickle import InertClass, InertRecord, read_pickle
from renderers.errors import InputError


class Bomb:
    """Runs a command when a careless reader loads it."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def write(path, value, protocol=4):
    with open(path, "wb") as file:
        pickle.dump(value, file, protocol=protocol)
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_come_through(tmp_path, protocol):
    value = {
        "list": [1, 2.5, None, True, "text", b"bytes"],
        "tuple": (1, (2,)),
        "set": {1, 2},
        "ordered": collections.OrderedDict(a=1, b=2),
        "complex": 1 + 2j,
    }
    assert read_pickle(write(tmp_path / "x.pkl", value, protocol)) == value


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_numpy_comes_through(tmp_path, protocol):
    value = {"scalar": np.float32(1.5), "array": np.arange(6, dtype=np.int16).reshape(2, 3)}
    read = read_pickle(write(tmp_path / "x.pkl", value, protocol))
    assert read["scalar"] == np.float32(1.5)
    np.testing.assert_array_equal(read["array"], value["array"])


def test_numpy_objects_are_refused(tmp_path):
    with pytest.raises(InputError, match="object"):
        read_pickle(write(tmp_path / "x.pkl", np.array([Bomb("true")], dtype=object)))


@pytest.mark.parametrize("protocol", [2, 4])
def test_plain_pickles_of_tensors(tmp_path, protocol):
    value = {"p": torch.nn.Parameter(torch.arange(6.0).view(2, 3)), "b": torch.arange(4)[::2], "h": torch.ones(2).half()}
    read = read_pickle(write(tmp_path / "x.pkl", value, protocol))
    for name, tensor in value.items():
        torch.testing.assert_close(read[name], tensor.detach())
        assert not read[name].requires_grad


@pytest.mark.parametrize("zipped", [True, False])
def test_torch_files_with_plain_classes(tmp_path, zipped):
    path = tmp_path / "x.pt"
    value = {"g_ema": {"w": torch.arange(6.0).view(2, 3)}, "args": argparse.Namespace(size=256, path="data", extra=[1])}
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    read = read_pickle(path)
    torch.testing.assert_close(read["g_ema"]["w"], value["g_ema"]["w"])
    assert isinstance(read["args"], InertRecord)
    assert read["args"].class_name == "argparse.Namespace"
    assert read["args"].attributes == {"size": 256, "path": "data", "extra": [1]}


@pytest.mark.parametrize("save", [write, lambda path, value: torch.save(value, path)])
@pytest.mark.parametrize("legacy", [False, True])
def test_nothing_runs(tmp_path, save, legacy):
    marker = tmp_path / "marker"
    value = {"x": Bomb(f"touch {marker}"), "w": torch.ones(2)}
    path = tmp_path / "x.pt"
    if legacy:
        torch.save(value, path, _use_new_zipfile_serialization=False)
    else:
        save(path, value)
    read = read_pickle(path)
    assert not marker.exists()
    assert read["x"].class_name in ("posix.system", "nt.system")
    assert read["x"].arguments == (f"touch {marker}",)
    pickle.loads(pickle.dumps(Bomb(f"touch {marker}")))
    assert marker.exists(), "the bomb of this test does not work"


@pytest.mark.parametrize(
    "opcodes",
    [
        b"cbuiltins\neval\n(S'1/0'\ntR.",
        b"cbuiltins\ngetattr\n(cbuiltins\n__import__\n(S'os'\ntRS'system'\ntR(S'false'\ntR.",
        b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x031/0\x85R.",
        b"(S'1/0'\nibuiltins\nexec\n.",
    ],
)
def test_hand_written_programs_do_not_run(tmp_path, opcodes):
    path = tmp_path / "x.pkl"
    path.write_bytes(opcodes)
    try:
        read = read_pickle(path)
    except InputError:
        return
    assert isinstance(read, InertRecord)


def test_objects_of_unknown_classes_become_records(tmp_path, monkeypatch):
    module = types.ModuleType("gone_module")

    class Settings(dict):
        pass

    class Layers(list):
        pass

    class Thing:
        pass

    for cls in (Settings, Layers, Thing):
        cls.__module__ = "gone_module"
        cls.__qualname__ = cls.__name__
        setattr(module, cls.__name__, cls)
    monkeypatch.setitem(sys.modules, "gone_module", module)
    thing = Thing()
    thing.size = 3
    path = write(tmp_path / "x.pkl", {"s": Settings(a=1), "l": Layers([1, 2]), "t": thing})
    monkeypatch.delitem(sys.modules, "gone_module")
    read = read_pickle(path)
    assert read["s"].entries == {"a": 1}
    assert read["l"].elements == [1, 2]
    assert read["t"].attributes == {"size": 3}
    assert repr(read["t"]) == "<inert gone_module.Thing>"


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("keep", [0.0, 0.2, 0.6, 0.98])
def test_cut_files_are_refused(tmp_path, zipped, keep):
    path = tmp_path / "x.pt"
    torch.save({"w": torch.randn(1000)}, path, _use_new_zipfile_serialization=zipped)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(InputError) as error:
        read_pickle(path)
    assert "\n" not in str(error.value) and "x.pt" in str(error.value)


def test_cut_pickles_and_other_files_are_refused(tmp_path):
    data = pickle.dumps({"w": torch.randn(100), "x": list(range(100))})
    for content in (data[:-1], data[: len(data) // 2], b"", b"hello world\n", b"\x89PNG\r\n\x1a\n"):
        (tmp_path / "x.pkl").write_bytes(content)
        with pytest.raises(InputError) as error:
            read_pickle(tmp_path / "x.pkl")
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="none.pkl"):
        read_pickle(tmp_path / "none.pkl")
    with pytest.raises(InputError, match="folder"):
        read_pickle(tmp_path)


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
def test_tensors_beyond_their_storage_are_refused(tmp_path):
    class Overrun:
        def __reduce__(self):
            storage = torch.zeros(4).storage()
            return torch._utils._rebuild_tensor_v2, (storage, 2, (4,), (1,), False, collections.OrderedDict())

    with pytest.raises(InputError, match="storage"):
        read_pickle(write(tmp_path / "x.pkl", Overrun()))


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_programs_of_torchscript_are_refused(tmp_path):
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), buffer)
    (tmp_path / "x.pt").write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match="TorchScript"):
        read_pickle(tmp_path / "x.pt")


class Program(torch.nn.Module):
    """A TorchScript program that writes a file when it is loaded."""

    def __init__(self, marker: str) -> None:
        super().__init__()
        self.marker = marker

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.marker, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.marker, self.training = state
        torch.save(torch.zeros(3), self.marker)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_programs_behind_a_second_table_of_contents_do_not_run(tmp_path):
    """Readers of zip archives differ in where they look for the table of contents: here one without a program lies nearer the end."""
    marker, path = tmp_path / "marker", tmp_path / "x.pt"
    torch.jit.save(torch.jit.script(Program(str(marker))), path)
    torch.jit.load(path)
    assert marker.exists(), "the program of this test does not work"
    marker.unlink()
    data = path.read_bytes()
    end = data.rfind(b"PK\x05\x06")
    size, start = struct.unpack("<II", data[end + 12 : end + 20])
    decoy = data[start : start + size].replace(b"constants.pkl", b"constants.pkX")
    assert size and len(decoy) == size
    path.write_bytes(data[:end] + decoy + data[end:])
    with pytest.raises(InputError):
        read_pickle(path)
    assert not marker.exists()


def test_legacy_files_are_not_unpacked_as_tar_archives(tmp_path):
    path, header = tmp_path / "x.pt", io.BytesIO()
    torch.save({"w": torch.ones(2)}, header, _use_new_zipfile_serialization=False)
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT, encoding="latin1") as archive:
        archive.addfile(tarfile.TarInfo(header.getvalue()[:15].decode("latin1")))
    assert path.read_bytes().startswith(header.getvalue()[:15])
    with pytest.raises(InputError):
        read_pickle(path)


@pytest.mark.parametrize("state", [b"N}\x8c\x0c__defaults__\x8c\x01F\x85s\x86", b"}\x8c\x05valueK\x01s"])
@pytest.mark.parametrize("name", [b"torch._utils\n_rebuild_tensor_v2", b"collections\nOrderedDict", b"torch\nfloat32", b"os\nsystem"])
def test_nothing_that_a_pickle_names_can_be_changed(tmp_path, name, state):
    (tmp_path / "x.pkl").write_bytes(b"\x80\x04c" + name + b"\n" + state + b"b.")
    with pytest.raises(InputError, match="state is set"):
        read_pickle(tmp_path / "x.pkl")
    assert not hasattr(collections.OrderedDict, "value")


def test_named_classes_are_equal_to_themselves_alone(tmp_path):
    path = write(tmp_path / "x.pkl", {"a": argparse.Namespace, "b": argparse.Namespace, "c": argparse.Action})
    read = read_pickle(path)
    assert read["a"] == InertClass("argparse.Namespace") == read["b"] and read["a"] != read["c"]
    assert len(set(read.values())) == 2
    assert repr(read["c"]) == "<inert class argparse.Action>"


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("kind", [">f4", "<f4", ">i8", "<U3", ">U3", "?", "S2", "<c8", "f2"])
def test_byte_orders_are_kept(tmp_path, protocol, kind):
    array = np.array([[1, 0, 2], [3, 5, 7]]).astype(kind)
    read = read_pickle(write(tmp_path / "x.pkl", {"a": array, "f": np.asfortranarray(array), "s": array[0, 0]}, protocol))
    for name in ("a", "f"):
        # NumPy may swap the bytes of an array that it reads: the same values in the order of this machine.
        assert read[name].dtype.newbyteorder("=") == array.dtype.newbyteorder("=") and isinstance(read[name], np.ndarray)
        np.testing.assert_array_equal(read[name], array)
    assert read["s"] == array[0, 0]


def test_arrays_of_records_are_refused(tmp_path):
    with pytest.raises(InputError, match="records"):
        read_pickle(write(tmp_path / "x.pkl", np.zeros(2, dtype=[("x", "f4")])))
