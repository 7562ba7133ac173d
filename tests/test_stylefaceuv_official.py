"""Checkpoints of StyleFaceUV's authors: outputs against theirs, and files that cannot be used."""

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.morphable import ParameterSizes
from models.stylefaceuv import CodeCoefficients, MirrorStep, load_official
from models.stylerig import Provenance
from models.weights import save_weights
from renderers.errors import InputError
from tests import hostile_files
from tests.stylegan2_files import DATA, filled

LAYERS, WIDTH = 3, 4
SIZES = ParameterSizes(identity=3, expression=2, reflectance=5)
PROVENANCE = Provenance("digest", (1.0, 2.0), 4.0, 10.0, (0.0, 0.0))
COEFFICIENTS, STEP = "stylecode_to_3dmm_coeff_model.", "stylecode_to_scalar_model."
Tensors = dict[str, torch.Tensor]


class LoadedByClass:
    """Stands for the callback classes and hyperparameter objects that files of Lightning 1.2 name."""


def perceptron_state(reference: str, prefix: str, layers: int, width: int, outputs: int) -> Tensors:
    """One of the authors' perceptrons, filled by the rule of the references; `reference` goes before its names there."""
    state: Tensors = {}
    widths = (layers * width, 9 * width, 6 * width, 3 * width, width, outputs)
    for index in range(5):
        for part, shape in (("weight", (widths[index + 1], widths[index])), ("bias", (widths[index + 1],))):
            name = f"{prefix}{2 * index}.{part}"
            a = filled(f"{reference}.{name}", shape)
            state[name] = torch.from_numpy(
                a / np.float32(math.sqrt(shape[1])) if len(shape) == 2 else np.float32(0.1) * a
            )
    return state


def coefficients_state(layers: int, width: int, sizes: ParameterSizes) -> Tensors:
    """The state dict of the coefficients' checkpoint."""
    parts = perceptron_state("coefficients", "Net1.", layers, width, sizes.total - sizes.reflectance)
    parts |= perceptron_state("coefficients", "Net2.", layers, width, sizes.reflectance)
    return {COEFFICIENTS + name: value for name, value in parts.items()}


def step_state(layers: int, width: int) -> Tensors:
    """The part of the step size's checkpoint that is not the coefficients'."""
    state = {STEP + name: value for name, value in perceptron_state("step", "Net.", layers, width, 1).items()}
    direction = torch.from_numpy(filled("direction", (layers, width)))
    return {**state, "pose_normal_direction": direction / direction.norm()}


def small_state() -> Tensors:
    """The state dict of the step size's checkpoint, which holds the coefficients too, of small codes."""
    return coefficients_state(LAYERS, WIDTH, SIZES) | step_state(LAYERS, WIDTH)


def write(path: Path, state: Any, zipped: bool = True) -> Path:
    """A checkpoint as Lightning 1.2 writes it."""
    contents = {
        "epoch": 24,
        "global_step": 55674,
        "pytorch-lightning_version": "1.2.10",
        "callbacks": {LoadedByClass: {"best_model_score": torch.tensor(0.1)}},
        "hyper_parameters": argparse.Namespace(config=LoadedByClass()),
        "optimizer_states": [{"state": {}, "param_groups": [{"lr": 1e-5}]}],
        "state_dict": state,
    }
    torch.save(contents, path, _use_new_zipfile_serialization=zipped)
    return path


def codes(batch: int = 2) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(11).standard_normal((batch, LAYERS, WIDTH)).astype("float32"))


# Two perceptrons of 50 million weights each are written and read.
@pytest.mark.parametrize("name", [pytest.param("coefficients", marks=pytest.mark.slow), "step"])
def test_outputs_of_the_authors_networks(tmp_path: Path, name: str) -> None:
    """At full size, coefficients and steps of two codes as the authors' modules compute them."""
    reference = np.load(DATA / "stylefaceuv_codes.npz")[name]
    state = step_state(14, 512) if name == "step" else coefficients_state(14, 512, ParameterSizes())
    path = write(tmp_path / "full.ckpt", state)
    del state
    network = load_official(path)
    # Of 400 MB, which pytest would keep.
    path.unlink()
    assert (network.network.num_layers, network.network.w_dim, network.network.hidden) == (14, 512, (9, 6, 3, 1))
    assert not any(each.requires_grad for each in network.parameters())
    output = network(torch.from_numpy(np.random.default_rng(11).standard_normal((2, 14, 512)).astype("float32")))
    assert output.shape == reference.shape
    # A tenth of this was measured.
    np.testing.assert_allclose(output.numpy(), reference, atol=1e-5)


def test_coefficients_alone_where_there_is_no_step_size(tmp_path: Path) -> None:
    network = load_official(write(tmp_path / "c.ckpt", coefficients_state(LAYERS, WIDTH, SIZES)), sizes=SIZES)
    assert isinstance(network.network, CodeCoefficients) and network.direction is None
    assert network(codes()).shape == (2, SIZES.total)


@pytest.mark.parametrize("zipped", [True, False])
def test_main_checkpoint(tmp_path: Path, zipped: bool) -> None:
    """It holds generators too, names the direction otherwise, and gives the step size unless asked."""
    state = small_state()
    state["pose_direction"] = state.pop("pose_normal_direction")
    state |= {
        "generator_3d.conv1.conv.weight": torch.zeros(1, 2, 2, 3, 3),
        "uvmask": torch.ones(1, 4, 4, dtype=torch.bool),
    }
    path = write(tmp_path / "main.ckpt", state, zipped)
    assert isinstance(load_official(path).network, MirrorStep) and isinstance(
        load_official(path, "step").network, MirrorStep
    )
    network = load_official(path, "coefficients", SIZES)
    assert isinstance(network.network, CodeCoefficients)
    torch.testing.assert_close(network.direction, state["pose_direction"], rtol=0, atol=0)


def test_the_order_of_the_coefficients(tmp_path: Path) -> None:
    """Net1 up to the expression, Net2's reflectance, the rest of Net1."""
    state = small_state()
    for name in list(state):
        if name.startswith(COEFFICIENTS):
            state[name] = torch.zeros_like(state[name])
    state[f"{COEFFICIENTS}Net1.8.bias"] = torch.arange(SIZES.total - SIZES.reflectance, dtype=torch.float32)
    state[f"{COEFFICIENTS}Net2.8.bias"] = torch.full((SIZES.reflectance,), -1.0)
    network = load_official(write(tmp_path / "c.ckpt", state), "coefficients", SIZES).network
    assert isinstance(network, CodeCoefficients)
    parameters = network.parameters_of(codes())
    assert parameters.identity[0].tolist() == [0, 1, 2] and parameters.expression[0].tolist() == [3, 4]
    assert parameters.reflectance[0].tolist() == [-1] * 5 and parameters.rotation[0].tolist() == [5, 6, 7]
    assert parameters.translation[0].tolist() == [35, 36, 37]


def test_the_released_step_moves_codes_along_the_stored_direction(tmp_path: Path) -> None:
    network = load_official(write(tmp_path / "s.ckpt", small_state()))
    assert isinstance(network.network, MirrorStep) and network.direction is not None
    moved = network.network.mirrored(codes(), torch.zeros(2))
    torch.testing.assert_close(moved, codes() + network(codes())[:, :, None] * network.direction)


def dropped(name: str) -> Callable[[Tensors], Any]:
    return lambda state: {key: value for key, value in state.items() if key != name}


def changed(name: str, value: Any) -> Callable[[Tensors], Any]:
    return lambda state: {**state, name: value}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dropped(f"{STEP}Net.4.weight"), "lacks 4.weight"),
        (dropped(f"{STEP}Net.8.bias"), "lacks 8.bias"),
        (changed(f"{STEP}Net.9.bias", torch.zeros(1)), "lacks 10.weight"),
        (changed(f"{STEP}Net.2.weight", torch.zeros(5, 5)), "fit each other"),
        (changed(f"{STEP}Net.2.bias", torch.zeros(3)), "fit each other"),
        (changed(f"{STEP}Net.2.weight", torch.zeros(24, 36, dtype=torch.int64)), "int64"),
        (changed(f"{STEP}Net.2.weight", "text"), "a str"),
        (changed(f"{STEP}Net.8.bias", torch.tensor([float("nan")])), "finite"),
        (changed("pose_normal_direction", torch.zeros(LAYERS, WIDTH)), "other than zero"),
        (changed("pose_normal_direction", torch.ones(WIDTH)), "3 x 4 numbers"),
        (lambda state: {}, "neither"),
        (lambda state: {"generator_3d.conv1.weight": torch.zeros(1)}, "generator_3d.conv1.weight"),
        (lambda state: [1, 2], "a list"),
        (lambda state: {f"{STEP}Net.0.weight": torch.zeros(1, 12), f"{STEP}Net.0.bias": torch.zeros(1)}, "has one"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path: Path, change: Callable[[Tensors], Any], message: str) -> None:
    path = tmp_path / "s.ckpt"
    state = change(small_state())
    if isinstance(state, dict):
        write(path, state)
    else:
        torch.save(state, path)
    with pytest.raises(InputError, match=message) as error:
        load_official(path)
    assert "\n" not in str(error.value) and "s.ckpt" in str(error.value)


def test_networks_that_are_not_there_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "c.ckpt", coefficients_state(LAYERS, WIDTH, SIZES))
    with pytest.raises(InputError, match="holds coefficients alone"):
        load_official(path, "step")
    with pytest.raises(InputError, match="give the sizes of its face model"):
        load_official(path)
    with pytest.raises(InputError, match="found none"):
        load_official(tmp_path / "absent.ckpt")
    with pytest.raises(InputError, match="folder"):
        load_official(tmp_path)
    with pytest.raises(InputError, match="safetensors"):
        load_official(save_weights(tmp_path / "w.safetensors", {"a": torch.zeros(1)}, "other", {}))


def test_hostile_pickles_run_nothing(tmp_path: Path) -> None:
    canary = tmp_path / "ran"
    for _, content in list(hostile_files.calls(f"touch {canary}"))[::5]:
        (tmp_path / "hostile.ckpt").write_bytes(content)
        with pytest.raises(InputError) as error:
            load_official(tmp_path / "hostile.ckpt")
        assert "\n" not in str(error.value)
    # One that wraps a whole state dict, whose names would be taken from a trusting reader.
    program = (
        b"\x80\x04}\x8c\x0astate_dictcos\nsystem\n\x8c"
        + bytes([len(f"touch {canary}")])
        + f"touch {canary}".encode()
        + b"\x85Rs."
    )
    (tmp_path / "hostile.ckpt").write_bytes(program)
    with pytest.raises(InputError, match="state_dict"):
        load_official(tmp_path / "hostile.ckpt")
    assert not canary.exists()
