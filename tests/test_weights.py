"""Weights files: what goes in comes out, and every kind of damage is one clear line."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from models.byte_matrices import byte_matrices
from models.weights import PROJECT_ROOT, asset_path, describe_weights, fill, load_weights, locate, save_weights
from renderers.errors import InputError

STATE = {"a.weight": torch.arange(6.0).view(2, 3), "count": torch.tensor(3), "half": torch.ones(4, dtype=torch.float16)}
CONFIG = {"channels": [4, 8], "clamp": None, "name": "x"}


def one_line(error: pytest.ExceptionInfo[InputError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


def test_round_trip(tmp_path):
    path = save_weights(tmp_path / "deep" / "w.safetensors", STATE, "kind-a", CONFIG)
    state, config = load_weights(path, "kind-a")
    assert config == CONFIG
    assert state.keys() == STATE.keys()
    for name, value in STATE.items():
        assert state[name].dtype == value.dtype
        torch.testing.assert_close(state[name], value)


def test_metadata_says_what_the_file_is(tmp_path):
    info = describe_weights(save_weights(tmp_path / "w.safetensors", STATE, "kind-a", CONFIG))
    assert (info.kind, info.tensors, info.elements, info.config) == ("kind-a", 3, 11, CONFIG)


def test_views_and_shared_tensors_are_written_as_they_are(tmp_path):
    whole = torch.arange(12.0).view(3, 4)
    path = save_weights(tmp_path / "w.safetensors", {"t": whole.T, "row": whole[0], "same": whole.T}, "kind-a", {})
    state, _ = load_weights(path, "kind-a")
    torch.testing.assert_close(state["t"], whole.T)
    torch.testing.assert_close(state["row"], whole[0])


def test_another_kind_is_refused(tmp_path):
    path = save_weights(tmp_path / "w.safetensors", STATE, "kind-a", CONFIG)
    with pytest.raises(InputError) as error:
        load_weights(path, "kind-b")
    assert "kind-b" in one_line(error) and "kind-a" in one_line(error)


@pytest.mark.parametrize("keep", [0, 5, 100, 0.5, 0.99])
def test_a_cut_file_is_refused(tmp_path, keep):
    path = save_weights(tmp_path / "w.safetensors", {"x": torch.zeros(1000)}, "kind-a", CONFIG)
    data = path.read_bytes()
    path.write_bytes(data[: keep if isinstance(keep, int) else int(len(data) * keep)])
    with pytest.raises(InputError) as error:
        load_weights(path, "kind-a")
    assert "cut short" in one_line(error)


def test_foreign_files_are_refused(tmp_path):
    foreign = tmp_path / "foreign.safetensors"
    save_file({"x": torch.zeros(2)}, foreign)
    with pytest.raises(InputError, match="metadata"):
        load_weights(foreign, "kind-a")
    text = tmp_path / "text.safetensors"
    text.write_text("not weights at all, but long enough to be something")
    with pytest.raises(InputError) as error:
        load_weights(text, "kind-a")
    one_line(error)
    with pytest.raises(InputError, match="folder"):
        load_weights(tmp_path, "kind-a")


def test_a_changed_configuration_is_noticed(tmp_path):
    path = save_weights(tmp_path / "w.safetensors", {"x": torch.zeros(2)}, "kind-a", {"size": 4})
    path.write_bytes(path.read_bytes().replace(b'{\\"size\\": 4}', b'{\\"size\\": 5}'))
    with pytest.raises(InputError, match="checksum"):
        load_weights(path, "kind-a")


@pytest.mark.parametrize("name", ["kind", "sizes", "version", "config", "config_sha256"])
def test_missing_metadata_is_named(tmp_path, name):
    with safe_open(save_weights(tmp_path / "w.safetensors", STATE, "kind-a", CONFIG), framework="pt") as file:
        metadata = file.metadata()
    save_file(STATE, tmp_path / "w.safetensors", {key: value for key, value in metadata.items() if key != name})
    with pytest.raises(InputError, match=f"lacks {name};") as error:
        describe_weights(tmp_path / "w.safetensors")
    one_line(error)
    if name == "sizes":
        for value in ("{}", "[]", "no json", '{"tensors": "x", "elements": 1}'):
            save_file(STATE, tmp_path / "w.safetensors", {**metadata, name: value})
            with pytest.raises(InputError, match="other values"):
                describe_weights(tmp_path / "w.safetensors")


def test_filling_checks_names_shapes_and_values():
    network = torch.nn.Linear(2, 1)
    state = {"weight": torch.tensor([[1.0, 2.0]]).half(), "bias": torch.tensor([3.0])}
    fill(network, state, "w.pt")
    assert network.weight.tolist() == [[1.0, 2.0]] and network.weight.dtype == torch.float32
    for changes, message in (
        ({"more": torch.ones(1)}, "unknown more"),
        ({"bias": torch.ones(2)}, "size of bias"),
        ({"bias": torch.tensor([torch.nan])}, "finite"),
    ):
        with pytest.raises(InputError, match=message) as error:
            fill(network, state | changes, "w.pt")
        assert "w.pt" in one_line(error)
    with pytest.raises(InputError, match="misses bias"):
        fill(network, {"weight": state["weight"]}, "w.pt")


def test_missing_files_are_named(tmp_path):
    with pytest.raises(InputError) as error:
        load_weights(tmp_path / "none.safetensors", "kind-a")
    assert "none.safetensors" in one_line(error)


def test_a_failed_write_leaves_the_earlier_file(tmp_path):
    path = save_weights(tmp_path / "w.safetensors", STATE, "kind-a", CONFIG)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_weights(path, STATE, "kind-a", {"not json": object()})
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["w.safetensors"]


def test_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert locate("models/weights.py") == PROJECT_ROOT / "models" / "weights.py"
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "weights.py").write_text("")
    assert locate("models/weights.py").resolve() == (tmp_path / "models" / "weights.py").resolve()
    assert asset_path("x.safetensors") == PROJECT_ROOT / "assets" / "x.safetensors"


def test_config_is_stored_as_json(tmp_path):
    path = save_weights(tmp_path / "w.safetensors", {}, "kind-a", {"b": 1, "a": (1, 2)})
    _, config = load_weights(path, "kind-a")
    assert config == json.loads('{"a": [1, 2], "b": 1}')


def test_matrices_in_eight_bits(tmp_path: Path) -> None:
    """Rows of any scale come back within half a step, in a file of a quarter of float32's size."""
    rng = torch.Generator().manual_seed(0)
    scales = torch.tensor([1e-6, 1.0, 1e4, 0.0])
    kernel = torch.randn(4, 64, 3, 3, generator=rng) * scales.view(-1, 1, 1, 1)
    state = {"kernel": kernel, "bias": torch.randn(4, generator=rng), "count": torch.arange(6).view(2, 3)}
    path = save_weights(tmp_path / "b.safetensors", byte_matrices(state), "test", {})
    found, _ = load_weights(path, "test")
    assert found.keys() == state.keys() and torch.equal(found["bias"], state["bias"])
    assert torch.equal(found["count"], state["count"]) and found["kernel"].dtype == torch.float32
    bound = kernel.abs().amax(dim=(1, 2, 3)) / 254 * 1.001
    assert ((found["kernel"] - kernel).abs().amax(dim=(1, 2, 3)) <= bound).all()
    with safe_open(str(path), framework="pt") as file:
        assert file.get_tensor("kernel").dtype == torch.int8


@pytest.mark.parametrize("broken", [{}, {"kernel": torch.zeros(3, 2)}, {"kernel": torch.zeros(4, 2, dtype=torch.int8)}])
def test_steps_that_fit_no_matrix(broken: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = save_weights(tmp_path / "b.safetensors", {**broken, "kernel#scale": torch.ones(3)}, "test", {})
    with pytest.raises(InputError, match="expected a matrix of bytes with a step for each row as kernel"):
        load_weights(path, "test")
