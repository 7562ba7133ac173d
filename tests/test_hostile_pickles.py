"""Hostile checkpoints: nothing in them runs, memory and time stay within bounds, and each gives an error or inert records."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from models.observers import load_face_embedder
from models.safe_pickle import InertRecord, read_pickle
from models.stylegan2 import load_generator
from models.weights import save_weights
from renderers.errors import InputError
from tests import hostile_files

# What a pickle of a megabyte may take beside itself while it is read; without bounds these files take gigabytes to exabytes.
ALLOWANCE = 2**29
# Of the processor; the longest, of seconds, runs through all steps that a pickle may have.
SECONDS = 40.0

ROOT = Path(__file__).resolve().parents[1]


def write_all(folder: Path, marker: Path) -> dict[str, str]:
    files = {"plain": hostile_files.plain_array(), **dict(hostile_files.calls(f"touch {marker}")), **dict(hostile_files.claims())}
    names = {}
    for index, (name, content) in enumerate(files.items()):
        path = folder / f"{index}.pt"
        path.write_bytes(content)
        names[str(path)] = name
    return names


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of a process's memory are those of Linux")
def test_hostile_files_run_nothing_and_stay_within_bounds(tmp_path):
    marker = tmp_path / "marker"
    names = write_all(tmp_path, marker)
    finished = subprocess.run(
        [sys.executable, "-m", "tests.hostile_reader", str(ALLOWANCE)],
        input="\n".join(names),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=600,
    )
    reports = {names[report["path"]]: report for report in map(json.loads, finished.stdout.splitlines())}
    last = list(reports)[-1] if reports else "nothing"
    assert finished.returncode == 0, f"the reader died after {last}: {finished.stderr[-500:]}"
    assert reports.keys() == set(names.values())
    assert reports["plain"]["outcome"] == "read dict"
    assert "containers" in reports["sets"]["outcome"]
    for name, report in reports.items():
        assert report["outcome"].startswith(("read", "refused")), f"{name}: {report['outcome']}"
        assert "\n" not in report["outcome"] and report["outcome"].isprintable(), f"{name}: {report['outcome']!r}"
        assert "MemoryError" not in report["outcome"] and "allocate" not in report["outcome"], f"{name}: {report['outcome']}"
        assert not report["events"], f"{name}: {report['events']}"
        assert report["seconds"] < SECONDS, f"{name} took {report['seconds']:.0f} s"
    assert not marker.exists()


def test_calls_become_records(tmp_path):
    marker = tmp_path / "marker"
    kinds = {}
    for name, content in hostile_files.calls(f"touch {marker}"):
        path = tmp_path / "x.pt"
        path.write_bytes(content)
        try:
            kinds[name] = read_pickle(path)
        except InputError as error:
            assert "\n" not in str(error)
            kinds[name] = error
    assert not marker.exists()
    for name in ("reduce", "stack global", "eval", "system by OBJ", "system by NEWOBJ_EX", "reconstructor", "zip of torch"):
        assert isinstance(kinds[name], InertRecord), f"{name}: {kinds[name]}"
    assert kinds["reduce"].class_name == "os.system" and kinds["reduce"].arguments == (f"touch {marker}",)
    assert kinds["system by NEWOBJ_EX"].attributes == {"command": f"touch {marker}"}
    for name in ("getattr chain", "persistent id", "extension", "buffer", "item of a class"):
        assert isinstance(kinds[name], InputError), f"{name}: {kinds[name]}"


def test_devices_and_pipes_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(InputError, match="device or a pipe"):
            read_pickle(path)


@pytest.mark.parametrize("name, content", list(hostile_files.modules_in_modules()))
def test_networks_that_hold_themselves_are_refused(tmp_path, name, content):
    (tmp_path / "g.pkl").write_bytes(content)
    assert isinstance(read_pickle(tmp_path / "g.pkl")["G_ema"], InertRecord)
    with pytest.raises(InputError, match="modules|c_dim|names"):
        load_generator(tmp_path / "g.pkl")


def test_sizes_that_the_weights_cannot_fill_are_refused(tmp_path):
    config = {"embedding_dim": 8, "base_width": 4000, "working_size": 32}
    path = save_weights(tmp_path / "i.safetensors", {"embed.0.weight": torch.zeros(8, 8)}, "identity-net", config)
    with pytest.raises(InputError, match="can fill"):
        load_face_embedder(path)


def test_names_in_files_cannot_break_messages(tmp_path):
    path = tmp_path / "g.pkl"
    path.write_bytes(pickle.dumps({"a\nb\x1b[31m": 1, "long" * 10_000: 2}))
    with pytest.raises(InputError) as error:
        load_generator(path)
    assert str(error.value).isprintable() and len(str(error.value)) < 1_100
