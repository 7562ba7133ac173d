"""Checkpoints as training scripts of others write them: their tensors come through beside objects of classes that are not installed."""

import argparse
import collections
import contextlib
import enum
import pathlib
import sys
import types

import numpy as np
import pytest
import torch

from models.safe_pickle import InertClass, InertRecord, read_pickle


@contextlib.contextmanager
def installed(**classes):
    """Classes under full names whose dots are written as two underscores, which are gone again afterwards."""
    modules = {}
    for full, cls in classes.items():
        parts = full.split("__")
        for end in range(1, len(parts)):
            modules.setdefault(".".join(parts[:end]), types.ModuleType(".".join(parts[:end])))
        cls.__module__, cls.__qualname__, cls.__name__ = ".".join(parts[:-1]), parts[-1], parts[-1]
        setattr(modules[cls.__module__], parts[-1], cls)
    assert not modules.keys() & sys.modules.keys()
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in modules:
            del sys.modules[name]


def optimizer_after_a_step():
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    network(torch.randn(5, 3)).sum().backward()
    optimizer.step()
    return network, optimizer


def coefficient_networks():
    """The parts of StyleFaceUV's checkpoint that are read, at a fraction of their size."""
    state = collections.OrderedDict()
    for name, outputs in (("Net1", 177), ("Net2", 80)):
        for layer, (inputs, width) in enumerate(((14 * 4, 8), (8, 8), (8, outputs))):
            state[f"stylecode_to_3dmm_coeff_model.{name}.{2 * layer}.weight"] = torch.randn(width, inputs)
            state[f"stylecode_to_3dmm_coeff_model.{name}.{2 * layer}.bias"] = torch.randn(width)
    state["pose_direction"] = torch.randn(14, 4)
    state["steps"] = torch.tensor(7)
    return state


@pytest.mark.parametrize("zipped", [True, False])
def test_lightning_checkpoints_with_classes_as_keys(tmp_path, zipped):
    class ModelCheckpoint:
        pass

    class AttributeDict(dict):
        pass

    class DictConfig:
        def __init__(self, content):
            self.__dict__["_content"] = content
            self.__dict__["_metadata"] = {"ref_type": argparse.Namespace, "optional": True}

    class Stage(enum.Enum):
        FITTING = "fit"

    network, optimizer = optimizer_after_a_step()
    state = coefficient_networks()
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[3, 5])
    path = tmp_path / "last.ckpt"
    with installed(
        pytorch_lightning__callbacks__model_checkpoint__ModelCheckpoint=ModelCheckpoint,
        pytorch_lightning__utilities__parsing__AttributeDict=AttributeDict,
        omegaconf__dictconfig__DictConfig=DictConfig,
        trainer_states__Stage=Stage,
    ) if "pytorch_lightning" not in sys.modules else installed(
        old_lightning__callbacks__ModelCheckpoint=ModelCheckpoint,
        old_lightning__AttributeDict=AttributeDict,
        old_omegaconf__DictConfig=DictConfig,
        old_states__Stage=Stage,
    ):
        hyper_parameters = AttributeDict(lr=1e-4, root=pathlib.PurePosixPath("data"), stage=Stage.FITTING)
        hyper_parameters["config"] = DictConfig({"layers": DictConfig([1, 2])})
        key = InertClass(f"{ModelCheckpoint.__module__}.ModelCheckpoint")
        torch.save(
            {
                "epoch": 3,
                "global_step": 1200,
                "pytorch-lightning_version": "1.2.10",
                "callbacks": {ModelCheckpoint: {"best_model_score": torch.tensor(0.25), "best_model_path": "a.ckpt"}},
                "optimizer_states": [optimizer.state_dict()],
                "lr_schedulers": [scheduler.state_dict()],
                "state_dict": state,
                "hparams_name": "config",
                "hyper_parameters": hyper_parameters,
                "device": torch.device("cuda", 0),
                "score": np.float64(0.5),
            },
            path,
            _use_new_zipfile_serialization=zipped,
        )
    read = read_pickle(path)
    assert list(read["state_dict"]) == list(state) and read["global_step"] == 1200
    for name, tensor in state.items():
        torch.testing.assert_close(read["state_dict"][name], tensor, rtol=0, atol=0)
    assert read["callbacks"][key]["best_model_score"] == 0.25
    moments = read["optimizer_states"][0]["state"][0]
    torch.testing.assert_close(moments["exp_avg"], optimizer.state_dict()["state"][0]["exp_avg"])
    assert isinstance(read["hyper_parameters"], InertRecord)
    entries = read["hyper_parameters"].entries
    assert entries["lr"] == 1e-4 and entries["root"].arguments == ("data",) and entries["stage"].arguments == ("fit",)
    assert entries["config"].attributes["_content"]["layers"].attributes["_content"] == [1, 2]
    assert entries["config"].attributes["_metadata"]["ref_type"] == InertClass("argparse.Namespace")
    assert read["device"].arguments == ("cuda", 0) and read["score"] == 0.5


@pytest.mark.parametrize("zipped", [True, False])
def test_dictionaries_of_networks_and_an_optimizer(tmp_path, zipped):
    """LiftedGAN's layout."""
    nets = {name: optimizer_after_a_step()[0].state_dict() for name in ("netD", "netT", "netSD", "netSC")}
    _, optimizer = optimizer_after_a_step()
    contents = {**nets, "optimizer": optimizer.state_dict(), "global_step": 30000, "epoch": 4}
    torch.save(contents, tmp_path / "checkpoint.pth", _use_new_zipfile_serialization=zipped)
    read = read_pickle(tmp_path / "checkpoint.pth")
    assert read.keys() == contents.keys() and read["epoch"] == 4
    for name, state in nets.items():
        assert list(read[name]) == list(state)
        for entry, tensor in state.items():
            torch.testing.assert_close(read[name][entry], tensor, rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore::torch.serialization.SourceChangeWarning")
@pytest.mark.parametrize("zipped", [True, False])
def test_whole_networks(tmp_path, zipped):
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU())
    torch.save(network, tmp_path / "network.pt", _use_new_zipfile_serialization=zipped)
    read = read_pickle(tmp_path / "network.pt")
    assert isinstance(read, InertRecord) and read.class_name == "torch.nn.modules.container.Sequential"
    first = read.attributes["_modules"]["0"].attributes["_parameters"]
    torch.testing.assert_close(first["weight"], network[0].weight.detach())


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int8, torch.uint8, torch.bool, torch.complex64, torch.int64]
)
def test_types_views_and_sharing(tmp_path, zipped, dtype):
    whole = (torch.arange(24) % 5).to(dtype).view(4, 6)
    value = {
        "whole": whole,
        "transposed": whole.T,
        "part": whole[1:3, ::2],
        "row": whole[2].expand(3, 6),
        "one": whole[0, 0],
        "none": whole[:0],
    }
    torch.save(value, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    read = read_pickle(tmp_path / "x.pt")
    for name, tensor in value.items():
        assert read[name].dtype == dtype and read[name].stride() == tensor.stride() or name == "none"
        torch.testing.assert_close(read[name], tensor, rtol=0, atol=0)
    read["whole"][2] = 1
    torch.testing.assert_close(read["row"], torch.ones(3, 6, dtype=dtype))


def test_newer_types_of_numbers(tmp_path):
    value = {"u16": torch.arange(5).to(torch.uint16), "f8": torch.ones(4).to(torch.float8_e4m3fn)}
    torch.save(value, tmp_path / "x.pt")
    read = read_pickle(tmp_path / "x.pt")
    for name, tensor in value.items():
        assert read[name].dtype == tensor.dtype and torch.equal(read[name].view(torch.uint8), tensor.view(torch.uint8))


def test_archives_without_checksums_and_damaged_ones(tmp_path):
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"w": torch.arange(1000.0)}, tmp_path / "plain.pt")
    finally:
        torch.serialization.set_crc32_options(before)
    torch.testing.assert_close(read_pickle(tmp_path / "plain.pt")["w"], torch.arange(1000.0))
    torch.save({"w": torch.arange(1000.0)}, tmp_path / "checked.pt")
    data = bytearray((tmp_path / "checked.pt").read_bytes())
    data[len(data) // 2] ^= 4
    (tmp_path / "checked.pt").write_bytes(data)
    with pytest.raises(ValueError, match="CRC"):
        read_pickle(tmp_path / "checked.pt")
