"""The files and folders that a configuration names, found from the signatures of its classes and from the values themselves."""

import dataclasses
import importlib
import inspect
import os
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from models.weights import PROJECT_ROOT

# Parameters that name what a run reads, whatever their values look like.
INPUT_NAMES = frozenset(
    {
        "generator",
        "discriminator",
        "landmarker",
        "face_reconstruction",
        "face_encoder",
        "code_encoder",
        "coefficients",
        "second_reader",
        "directions",
        "step_size",
        "one_view",
        "perceptual",
        "features",
        "embeddings",
        "real_pictures",
        "identity",
        "embedder",
        "judge",
        "face_model",
        "weights",
        "discriminator_weights",
    }
)
# Optional parameters that name what a run writes, or makes where it is missing.
WRITTEN_NAMES = frozenset({"output", "folder", "cache", "dirpath", "save_dir"})
# Those that a run only reads where another parameter of the same class, with which it would make what is missing, is null.
_READ_WITHOUT = {"FittedFacesDataModule.folder": "generator"}
_SUFFIXES = frozenset(
    ".safetensors .pkl .pt .pth .ckpt .tar .mat .h5 .hdf5 .npz .npy .obj .json .zip .png .jpg .jpeg .tif .tiff .yaml".split()
)


@dataclass(frozen=True)
class Reference:
    """A file or folder that a configuration names.

    Attributes:
        key: As an option of the command line names it: ``model.generator``.
        value: The path as given.
        owner: Name of the class that takes it.
        parameter: Its parameter.
        role: "input" is read and must be there; "written" is made where it is missing.
        place: Keys and positions that lead to it in the configuration.
    """

    key: str
    value: str
    owner: str
    parameter: str
    role: Literal["input", "written"]
    place: tuple[str | int, ...]


def find_references(config: Mapping[str, Any]) -> list[Reference]:
    """All files and folders that the model, the data and the callbacks of a run's configuration name.

    A value counts as a path where its parameter's type is one, where its parameter is known to name a file, and where a text
    has a folder in it, ends like a file, or is there.

    Args:
        config: Plain values, as a saved ``config.yaml`` holds them.
    """
    found = [*_walk(config.get("model"), ("model",), None, ""), *_walk(config.get("data"), ("data",), None, "")]
    trainer = config.get("trainer") or {}
    return [*found, *_walk(trainer.get("callbacks"), ("trainer", "callbacks"), None, "")]


def put(config: dict[str, Any], place: tuple[str | int, ...], value: Any) -> None:
    """Set the value at a place of a configuration."""
    node: Any = config
    for step in place[:-1]:
        node = node[step]
    node[place[-1]] = value


def class_at(path: str) -> type:
    """The class that a ``class_path`` names."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _walk(node: Any, place: tuple[str | int, ...], hint: Any, owner: str) -> Iterator[Reference]:
    if isinstance(node, Mapping):
        made = node.get("class_path")
        cls: Any = class_at(made) if isinstance(made, str) else _dataclass_of(hint)
        values = node.get("init_args") or {} if made else node
        inside = (*place, "init_args") if made else place
        hints = _hints(cls)
        for name, value in values.items():
            class_name = cls.__name__ if cls else owner
            needed = _READ_WITHOUT.get(f"{class_name}.{name}")
            read = needed is not None and values.get(needed) is None
            for found in _walk(value, (*inside, name), hints.get(name), class_name):
                yield dataclasses.replace(found, role="input") if read else found
    elif isinstance(node, (list, tuple)):
        for index, item in enumerate(node):
            yield from _walk(item, (*place, index), None, owner)
    elif isinstance(node, (str, os.PathLike)) and _is_path(str(node), hint, place):
        parameter = str(place[-1])
        role: Literal["input", "written"] = "written" if parameter in WRITTEN_NAMES else "input"
        key = ".".join(str(step) for step in place if step != "init_args")
        yield Reference(key, str(node), owner, parameter, role, place)


def _is_path(value: str, hint: Any, place: tuple[str | int, ...]) -> bool:
    accepted = _alternatives(hint)
    if not value or any(typing.get_origin(each) is Literal for each in accepted):
        return False
    if any(isinstance(each, type) and issubclass(each, os.PathLike) for each in accepted):
        return True
    if place[-1] in INPUT_NAMES | WRITTEN_NAMES or Path(value).suffix.lower() in _SUFFIXES:
        return True
    # Callbacks name metrics, which have slashes as well.
    has_folder = "/" in value and place[0] != "trainer"
    return has_folder or (Path(value).suffix != "" and any((base / value).exists() for base in (Path(), PROJECT_ROOT)))


def _hints(cls: Any) -> dict[str, Any]:
    if cls is None:
        return {}
    function = cls.__init__ if inspect.isclass(cls) else cls
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError):
        # Annotations that are no types (shapes, or names of the type checker alone): the values still speak for themselves.
        return {}


def _alternatives(hint: Any) -> tuple[Any, ...]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return typing.get_args(hint)
    return (hint,)


def _dataclass_of(hint: Any) -> Any:
    return next((each for each in _alternatives(hint) if dataclasses.is_dataclass(each)), None)
