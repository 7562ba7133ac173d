"""The face-api landmark network: its file format, TensorFlow's arithmetic, crops, and real portraits where they are."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from datamodules.synthetic_portraits import mirror_landmarks
from models.observers import FaceApiLandmarks, load_landmark_detector
from models.observers.face_api import (
    FACE_MARGIN,
    INPUT_SIZE,
    MEAN_RGB,
    FaceApiNetwork,
    SameConv2d,
    load_face_api,
    read_shards,
)
from renderers.errors import InputError

SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data"
MANIFEST = "face_landmark_68_model-weights_manifest.json"
SHARD = "face_landmark_68_model-shard1"


def schema() -> list[tuple[str, list[int]]]:
    """Names and shapes of the tensors in file order, TensorFlow's layout."""
    entries: list[tuple[str, list[int]]] = []
    widths = (3, 32, 64, 128, 256)
    for block in range(4):
        for conv in range(4):
            inputs, outputs = widths[block] if conv == 0 else widths[block + 1], widths[block + 1]
            prefix = f"dense{block}/conv{conv}"
            if block == 0 and conv == 0:
                entries.append((f"{prefix}/filters", [3, 3, inputs, outputs]))
            else:
                entries.append((f"{prefix}/depthwise_filter", [3, 3, inputs, 1]))
                entries.append((f"{prefix}/pointwise_filter", [1, 1, inputs, outputs]))
            entries.append((f"{prefix}/bias", [outputs]))
    return [*entries, ("fc/weights", [256, 136]), ("fc/bias", [136])]


def write_random(folder: Path, seed: int = 0) -> bytes:
    """A folder in the layout of face-api with random bytes for weights; returns the bytes."""
    generator = np.random.default_rng(seed)
    weights, total = [], 0
    for name, shape in schema():
        bias = name.endswith("bias")
        quantization = {"dtype": "uint8", "scale": 0.001 if bias else 0.002, "min": -0.05 if bias else -0.255}
        weights.append({"name": name, "shape": shape, "dtype": "float32", "quantization": quantization})
        total += int(np.prod(shape))
    content = generator.integers(0, 256, total, dtype=np.uint8).tobytes()
    (folder / MANIFEST).write_text(json.dumps([{"weights": weights, "paths": [SHARD]}]))
    (folder / SHARD).write_bytes(content)
    return content


def reference(tensors: dict[str, torch.Tensor], crops: torch.Tensor) -> torch.Tensor:
    """The network written down once more from face-api's own source, in TensorFlow's layout, with loops for padding."""

    def same(images: torch.Tensor, stride: int) -> torch.Tensor:
        # Size 112, 56, 28, 14 with kernel 3: one row below and right at stride 2, one all around at stride 1.
        return functional.pad(images, (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1))

    def convolution(images: torch.Tensor, prefix: str, stride: int) -> torch.Tensor:
        bias = tensors[f"{prefix}/bias"]
        if f"{prefix}/filters" in tensors:
            kernel = tensors[f"{prefix}/filters"].permute(3, 2, 0, 1)
            return functional.conv2d(same(images, stride), kernel, bias, stride=stride)
        depthwise = tensors[f"{prefix}/depthwise_filter"].permute(2, 3, 0, 1)
        images = functional.conv2d(same(images, stride), depthwise, None, stride=stride, groups=images.shape[1])
        return functional.conv2d(images, tensors[f"{prefix}/pointwise_filter"].permute(3, 2, 0, 1), bias)

    mean = torch.tensor(MEAN_RGB, dtype=crops.dtype).view(1, 3, 1, 1)
    images = ((crops + 1) * 127.5 - mean) / 255
    for block in range(4):
        out1 = functional.relu(convolution(images, f"dense{block}/conv0", 2))
        out2 = convolution(out1, f"dense{block}/conv1", 1)
        out3 = convolution(functional.relu(out1 + out2), f"dense{block}/conv2", 1)
        out4 = convolution(functional.relu(out1 + out2 + out3), f"dense{block}/conv3", 1)
        images = functional.relu(out1 + out2 + out3 + out4)
    pooled = functional.avg_pool2d(images, 7, 2).flatten(1)
    return (pooled @ tensors["fc/weights"] + tensors["fc/bias"]).unflatten(1, (68, 2))


def test_network_equals_the_reference(tmp_path):
    write_random(tmp_path)
    tensors = read_shards(tmp_path / MANIFEST)
    network = load_face_api(tmp_path).network
    torch.manual_seed(0)
    crops = torch.rand(2, 3, INPUT_SIZE, INPUT_SIZE) * 2 - 1
    torch.testing.assert_close(network(crops), reference(tensors, crops))


def test_tensors_are_dequantised_in_file_order(tmp_path):
    content = np.frombuffer(write_random(tmp_path), dtype=np.uint8)
    tensors = read_shards(tmp_path / MANIFEST)
    first = content[: 3 * 3 * 3 * 32].reshape(3, 3, 3, 32) * 0.002 - 0.255
    np.testing.assert_allclose(tensors["dense0/conv0/filters"].numpy(), first, atol=1e-6)
    np.testing.assert_allclose(tensors["fc/bias"].numpy(), content[-136:] * 0.001 - 0.05, atol=1e-6)


def test_same_padding_puts_the_odd_pixel_below_and_right():
    layer = SameConv2d(1, 1, stride=2, bias=False)
    torch.nn.init.ones_(layer.weight)
    output = layer(torch.ones(1, 1, 4, 4))
    # Windows start at rows 0 and 2: the first is full, the last misses a row, a column, or both.
    torch.testing.assert_close(output, torch.tensor([[[[9.0, 6.0], [6.0, 4.0]]]]))


@pytest.mark.parametrize("refinements", [0, 1])
def test_points_follow_size_place_and_batch(tmp_path, refinements):
    write_random(tmp_path)
    landmarker = load_face_api(tmp_path, crop=(0.25, 0.25, 0.75, 0.75), refinements=refinements)
    torch.manual_seed(0)
    images = torch.rand(3, 3, 96, 96) * 2 - 1
    points = landmarker(images)
    assert points.shape == (3, 68, 2)
    torch.testing.assert_close(points[1:2], landmarker(images[1:2]), atol=1e-3, rtol=1e-4)
    # A face box is looked at with a margin: here it makes the part of the picture that the first look is at.
    half = 24 / FACE_MARGIN
    boxes = torch.tensor([[48 - half, 48 - half, 48 + half, 48 + half]]).expand(3, 4)
    torch.testing.assert_close(landmarker(images, boxes), points, atol=1e-2, rtol=1e-4)


@pytest.mark.parametrize("refinements", [0, 1])
def test_mirrored_pictures_have_mirrored_landmarks(tmp_path, refinements):
    write_random(tmp_path)
    landmarker = load_face_api(tmp_path, refinements=refinements)
    torch.manual_seed(0)
    images = torch.rand(2, 3, 96, 96) * 2 - 1
    torch.testing.assert_close(
        landmarker(images.flip(-1)), mirror_landmarks(landmarker(images), 96), atol=1e-2, rtol=1e-4
    )


def test_real_portraits_have_mirrored_landmarks_in_their_mirror_images():
    weights, portraits = SHARED / "face_landmark_68", sorted((SHARED / "portraits").glob("aligned_1024_*.jpg"))
    if not weights.is_dir() or not portraits:
        pytest.skip("../shared/data/face_landmark_68 or ../shared/data/portraits is not on this machine")
    landmarker = load_face_api(weights)
    for path in portraits:
        image = torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)[None] / 127.5 - 1
        points, mirrored = landmarker(image), landmarker(image.flip(-1))
        assert (mirrored - mirror_landmarks(points, image.shape[-1])).norm(dim=-1).max() < 0.5


def test_gradients_reach_the_pixels(tmp_path):
    write_random(tmp_path)
    landmarker = load_landmark_detector(tmp_path)
    assert isinstance(landmarker, FaceApiLandmarks)
    images = torch.zeros(1, 3, 64, 64, requires_grad=True)
    landmarker(images).sum().backward()
    assert images.grad is not None and images.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in landmarker.parameters())


def test_crops_of_another_size_are_refused():
    with pytest.raises(InputError, match="112x112"):
        FaceApiNetwork()(torch.zeros(1, 3, 64, 64))


def test_files_that_are_missing_or_broken(tmp_path):
    with pytest.raises(InputError, match="manifest"):
        load_face_api(tmp_path)
    content = write_random(tmp_path)
    (tmp_path / SHARD).write_bytes(content[:-10])
    with pytest.raises(InputError, match="incomplete"):
        load_face_api(tmp_path)
    (tmp_path / SHARD).unlink()
    with pytest.raises(InputError, match="shard"):
        load_face_api(tmp_path)
    (tmp_path / MANIFEST).write_text("<html>not found</html>")
    with pytest.raises(InputError, match="manifest"):
        load_face_api(tmp_path)


def test_a_manifest_of_another_network_is_refused(tmp_path):
    content = write_random(tmp_path)
    groups = json.loads((tmp_path / MANIFEST).read_text())
    removed = groups[0]["weights"].pop()
    (tmp_path / MANIFEST).write_text(json.dumps(groups))
    (tmp_path / SHARD).write_bytes(content[: -removed["shape"][0]])
    with pytest.raises(InputError, match="does not match"):
        load_face_api(tmp_path)


def with_entry(groups: list, **changes: object) -> None:
    groups[0]["weights"][0] |= changes


MANIFESTS: dict[str, Callable[[list], object]] = {
    "no group": list.clear,
    "no tensor": lambda groups: groups[0].update(weights=[]),
    "no shard": lambda groups: groups[0].update(paths=[]),
    "nothing at all": lambda groups: groups[0].update(paths=[], weights=[]),
    "no size": lambda groups: with_entry(groups, shape=[]),
    "a size of zero": lambda groups: with_entry(groups, shape=[0, 3, 3, 32]),
    "negative sizes": lambda groups: with_entry(groups, shape=[-3, -3, 3, 32]),
    "too large": lambda groups: with_entry(groups, shape=[2**62, 2**62]),
    "a fraction": lambda groups: with_entry(groups, shape=[3.5, 3, 3, 32]),
    "another rank": lambda groups: with_entry(groups, shape=[9, 3, 32]),
    "a bare name": lambda groups: with_entry(groups, name="filters"),
    "another name": lambda groups: with_entry(groups, name="dense0/conv0/gamma"),
    "a path of numbers": lambda groups: groups[0].update(paths=[1]),
    "a path out of the folder": lambda groups: groups[0].update(paths=[f"../shards/{SHARD}"]),
    "an absolute path": lambda groups: groups[0].update(paths=["/etc/hostname"]),
    "a long path": lambda groups: groups[0].update(paths=["x" * 5000]),
    "a huge scale": lambda groups: with_entry(groups, quantization={"dtype": "uint8", "scale": 10**400, "min": 0}),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_malformed_manifests_are_refused(tmp_path, name):
    folder = tmp_path / "shards"
    folder.mkdir()
    write_random(folder)
    groups = json.loads((folder / MANIFEST).read_text())
    MANIFESTS[name](groups)
    (folder / MANIFEST).write_text(json.dumps(groups))
    with pytest.raises(InputError):
        load_face_api(folder)


def test_deeply_nested_manifests_are_refused(tmp_path):
    write_random(tmp_path)
    (tmp_path / MANIFEST).write_text("[" * 100_000)
    with pytest.raises(InputError, match="manifest"):
        load_face_api(tmp_path)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    write_random(tmp_path)
    groups = json.loads((tmp_path / MANIFEST).read_text())
    groups[0]["weights"][0]["quantization"]["scale"] = float("inf")
    (tmp_path / MANIFEST).write_text(json.dumps(groups))
    with pytest.raises(InputError, match="finite"):
        load_face_api(tmp_path)


def test_real_portraits_have_faces_where_people_see_them():
    weights, portraits = SHARED / "face_landmark_68", sorted((SHARED / "portraits").glob("aligned_1024_*.jpg"))
    if not weights.is_dir() or not portraits:
        pytest.skip("../shared/data/face_landmark_68 or ../shared/data/portraits is not on this machine")
    pictures = [torch.from_numpy(np.array(Image.open(path).convert("RGB"))) for path in portraits]
    images = torch.stack(pictures).permute(0, 3, 1, 2) / 127.5 - 1
    points = load_landmark_detector(weights)(images) / images.shape[-1]
    # FFHQ alignment (Karras et al. 2019, appendix A) puts the centres of eyes and mouth at fixed places.
    left, right, mouth = points[:, 36:42].mean(1), points[:, 42:48].mean(1), points[:, [48, 54]].mean(1)
    torch.testing.assert_close(left, torch.tensor([[0.38, 0.47]]).expand_as(left), atol=0.04, rtol=0)
    torch.testing.assert_close(right, torch.tensor([[0.62, 0.47]]).expand_as(right), atol=0.04, rtol=0)
    torch.testing.assert_close(mouth, torch.tensor([[0.5, 0.71]]).expand_as(mouth), atol=0.05, rtol=0)
    small = functional.interpolate(images, size=(64, 64), mode="bilinear", antialias=True)
    low = load_landmark_detector(weights)(small) / 64
    assert (low - points).norm(dim=-1).mean() < 0.02
