"""Embedded portraits on disk: whole, refused, or left alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from evaluation.run_checks.kinds import identify
from models.portrait_embedding import (
    PortraitEmbedding,
    codes_of,
    is_embedding,
    load_embedding,
    load_embeddings,
    save_embedding,
)
from models.weights import load_weights, save_weights
from renderers.errors import InputError

LAYERS, WIDTH, SIDE, TOTAL = 6, 12, 16, 20
_CONFIG = ("source", "origin", "energies", "settings", "generator_digest")


def embedding(name: str = "photo_01", **changes: Any) -> PortraitEmbedding:
    rng = torch.Generator().manual_seed(len(name))
    whole = PortraitEmbedding(
        name=name,
        source="photo",
        origin={"path": f"{name}.jpg", "sha256": "0" * 64, "transform": {"size": SIDE, "quad": [[0.0, 0.5], [1.0, 2.0]]}},
        w_plus=torch.randn(LAYERS, WIDTH, generator=rng),
        w=torch.randn(WIDTH, generator=rng),
        image=torch.randint(0, 256, (3, SIDE, SIDE), generator=rng).to(torch.uint8),
        landmarks=torch.randn(68, 2, generator=rng),
        parameters=torch.randn(TOTAL, generator=rng),
        truth=torch.randn(TOTAL, generator=rng),
        energies={"total": 1.5, "synthesis": 0.25},
        settings={"weights": {"identity": 1.0}, "stages": [2000, 1000]},
        generator_digest="a" * 64,
    )
    return replace(whole, **changes)


@pytest.mark.parametrize("missing", [(), ("w",), ("truth",), ("w", "truth")])
def test_an_embedding_is_read_as_written(tmp_path: Path, missing: tuple[str, ...]) -> None:
    written = embedding(**dict.fromkeys(missing))
    path = save_embedding(tmp_path / "photo_01.safetensors", written)
    read = load_embedding(path)
    for name in ("w_plus", "w", "image", "landmarks", "parameters", "truth"):
        own, other = getattr(written, name), getattr(read, name)
        assert other is None if own is None else torch.equal(own, other) and own.dtype == other.dtype
    for name in ("name", "source", "origin", "energies", "settings", "generator_digest"):
        assert getattr(read, name) == getattr(written, name)
    assert is_embedding(path) and identify(path).kind == "portrait embedding"


def test_its_name_is_that_of_its_file(tmp_path: Path) -> None:
    save_embedding(tmp_path / "first.name.safetensors", embedding("another"))
    assert load_embedding(tmp_path / "first.name.safetensors").name == "first.name"


def test_pixels_are_the_portrait_as_networks_take_it() -> None:
    image = torch.zeros(3, SIDE, SIDE, dtype=torch.uint8)
    image[0], image[1] = 255, 51
    pixels = embedding(image=image).pixels
    assert pixels[0].unique().tolist() == [1.0] and pixels[2].unique().tolist() == [-1.0]
    assert pixels[1].unique().item() == pytest.approx(-0.6)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"source": "drawing"}, "'drawing'"),
        ({"w_plus": torch.zeros(WIDTH)}, "w_plus"),
        ({"w": torch.zeros(WIDTH + 1)}, "w_plus"),
        ({"landmarks": torch.zeros(66, 2)}, "w_plus"),
        ({"image": torch.zeros(SIDE, SIDE, dtype=torch.uint8)}, "w_plus"),
    ],
)
def test_what_is_no_embedding_is_refused(tmp_path: Path, changes: dict[str, Any], match: str) -> None:
    """Made in memory (under beartype by the shapes of its fields) or read from a file that was written by hand."""
    path = save_embedding(tmp_path / "e.safetensors", embedding())
    tensors, config = load_weights(path, "portrait-embedding")
    arrays = {name: value for name, value in changes.items() if isinstance(value, torch.Tensor)}
    plain = {name: value for name, value in changes.items() if name not in arrays}
    save_weights(path, {**tensors, **arrays}, "portrait-embedding", {**{name: config[name] for name in _CONFIG}, **plain})
    with pytest.raises(InputError, match=str(path)):
        load_embedding(path)


def test_codes_that_are_not_finite_and_pictures_that_are_no_bytes_are_refused(tmp_path: Path) -> None:
    broken = torch.full((LAYERS, WIDTH), float("nan"))
    path = save_embedding(tmp_path / "nan.safetensors", embedding(w_plus=broken))
    with pytest.raises(InputError, match="finite codes in .*nan.safetensors"):
        load_embedding(path)
    tensors, config = load_weights(path, "portrait-embedding")
    floats = {**tensors, "w_plus": torch.zeros(LAYERS, WIDTH), "image": tensors["image"].float()}
    save_weights(path, floats, "portrait-embedding", {name: config[name] for name in _CONFIG})
    with pytest.raises(InputError, match="portrait of bytes"):
        load_embedding(path)


def test_a_folder_gives_its_embeddings_by_name(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        save_embedding(tmp_path / f"{name}.safetensors", embedding(name))
    save_weights(tmp_path / "rig.safetensors", {"x": torch.zeros(2)}, "rignet", {})
    (tmp_path / "half.safetensors").write_bytes((tmp_path / "a.safetensors").read_bytes()[:100])
    (tmp_path / "contact_sheet.png").write_bytes(b"")
    embeddings = load_embeddings(tmp_path)
    assert [each.name for each in embeddings] == ["a", "b", "c"]
    assert [each.name for each in load_embeddings(tmp_path / "b.safetensors")] == ["b"]
    codes = codes_of(embeddings)
    assert codes.names == ("a", "b", "c") and torch.equal(codes.w_plus[1], embeddings[1].w_plus)
    assert codes.generator_digest == "a" * 64


def test_a_folder_without_embeddings_or_of_several_generators_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found none; embed photos by"):
        load_embeddings(tmp_path)
    save_embedding(tmp_path / "a.safetensors", embedding("a"))
    save_embedding(tmp_path / "b.safetensors", embedding("b", generator_digest="b" * 64))
    with pytest.raises(InputError, match="of one generator"):
        load_embeddings(tmp_path)
