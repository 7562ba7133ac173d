"""The 68-landmark network of face-api (MIT), read from its quantised weight shard, in differentiable torch.

Source: face-api.js, `FaceFeatureExtractor` and `FaceLandmark68Net`. The weights are a file that users bring.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from models.landmark_order import MIRRORED_LANDMARKS
from models.observers.cropping import square_around
from models.observers.interfaces import CropLandmarkDetector
from models.weights import fill
from renderers.errors import InputError, reason_of

MANIFEST_SUFFIX = "-weights_manifest.json"
# face-api.js, FaceFeatureExtractor: mean of the training images, RGB of 0..255.
MEAN_RGB = (122.782, 117.001, 104.298)
# face-api.js, FaceLandmark68NetBase: side of the face crop the network was trained on, in pixels.
INPUT_SIZE = 112
POOL_SIZE = 7
NUM_LANDMARKS = 68
CHANNELS = (32, 64, 128, 256)
# Chosen by us: fractions (left, top, right, bottom) of the image that hold the face both of aligned portraits (FFHQ
# style) and of crops that a face fills. Moving the first look by 3 % of its width moves the result by a tenth of a
# pixel at 64 px on the former, a fifth on the latter; tighter looks cut those off.
DEFAULT_CROP = (0.1, 0.2, 0.9, 1.0)
# Numbers of sizes of the network's tensors, by the last part of their names.
_RANKS = {"filters": 4, "depthwise_filter": 4, "pointwise_filter": 4, "weights": 2, "bias": 1}
# Chosen by us: a face box, or the extent of landmarks, is looked at in a square this many times as wide.
FACE_MARGIN = 1.15


def _same_padding(images: Tensor, kernel: int, stride: int) -> Tensor:
    """Pad as TensorFlow's 'same' does: the odd pixel of padding goes to the bottom and the right."""
    pads = []
    for size in (images.shape[-1], images.shape[-2]):
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        pads += [total // 2, total - total // 2]
    return functional.pad(images, pads)


class SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's 'same' padding at any stride."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, groups: int = 1, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, kernel_size=3, stride=stride, groups=groups, bias=bias)

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(_same_padding(images, 3, self.stride[0]))


class SeparableConv2d(nn.Module):
    """Depthwise 3x3 without bias, then pointwise 1x1 with bias."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.depthwise = SameConv2d(in_channels, in_channels, stride, groups=in_channels, bias=False)
        self.pointwise = nn.Conv2d(in_channels, out_channels, kernel_size=1)

    def forward(self, images: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(images))


class DenseBlock(nn.Module):
    """A strided convolution and three separable ones, each fed with the ReLU of the sum of all before it."""

    def __init__(self, in_channels: int, out_channels: int, separable_entry: bool) -> None:
        super().__init__()
        entry = SeparableConv2d if separable_entry else SameConv2d
        self.conv0 = entry(in_channels, out_channels, stride=2)
        self.conv1 = SeparableConv2d(out_channels, out_channels, stride=1)
        self.conv2 = SeparableConv2d(out_channels, out_channels, stride=1)
        self.conv3 = SeparableConv2d(out_channels, out_channels, stride=1)

    def forward(self, images: Tensor) -> Tensor:
        total = functional.relu(self.conv0(images))
        total = total + self.conv1(total)
        total = total + self.conv2(functional.relu(total))
        return functional.relu(total + self.conv3(functional.relu(total)))


class FaceApiNetwork(nn.Module):
    """The network itself: a 112-px face crop in [-1, 1] to 68 points as fractions of the crop."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        widths = (3, *CHANNELS)
        for index, (inputs, outputs) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
            self.add_module(f"dense{index}", DenseBlock(inputs, outputs, separable_entry=index > 0))
        self.fc = nn.Linear(CHANNELS[-1], 2 * NUM_LANDMARKS)
        self.register_buffer("mean", torch.tensor(MEAN_RGB).view(1, 3, 1, 1), persistent=False)

    def forward(self, crops: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 68 2"]:
        """Landmarks (x right, y down) in fractions of the crop, of crops (B, 3, 112, 112) in [-1, 1].

        Raises: `InputError` for crops of another size.
        """
        if crops.shape[-2:] != (INPUT_SIZE, INPUT_SIZE):
            raise InputError(
                f"expected face crops of {INPUT_SIZE}x{INPUT_SIZE} px, got {tuple(crops.shape)}; resize them first"
            )
        features = ((crops + 1) * 127.5 - self.mean) / 255
        for index in range(len(CHANNELS)):
            features = getattr(self, f"dense{index}")(features)
        pooled = functional.avg_pool2d(features, POOL_SIZE, stride=2).flatten(1)
        return self.fc(pooled).unflatten(1, (NUM_LANDMARKS, 2))


class FaceApiLandmarks(CropLandmarkDetector):
    """The network as a landmark detector, on aligned portraits and, with face boxes, on photos; differentiable.

    The network alone puts landmarks up to 1.3 of its 112 pixels too far left, in a picture and in its mirror image alike.
    So each look is the mean of that at the crop and that at its mirror image, which is exact under mirroring.

    Args:
        network: with its weights.
        crop, refinements: as in `CropLandmarkDetector`.
    """

    differentiable = True
    input_size = INPUT_SIZE

    def __init__(self, network: FaceApiNetwork, crop: Sequence[float] = DEFAULT_CROP, refinements: int = 1) -> None:
        super().__init__(crop, refinements)
        self.network = network

    def frame(self, boxes: Float[Tensor, "batch 4"]) -> Float[Tensor, "batch 4"]:
        return square_around(boxes, FACE_MARGIN)

    def read(self, crops: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 68 2"]:
        straight, mirrored = self.network(crops), self.network(crops.flip(-1))[:, list(MIRRORED_LANDMARKS)]
        return (straight + torch.stack([1 - mirrored[..., 0], mirrored[..., 1]], dim=-1)) / 2


def read_shards(manifest_path: Path) -> dict[str, Tensor]:
    """All tensors of a TensorFlow.js manifest, dequantised (value * scale + minimum), float32, in TensorFlow's layout.

    Args:
        manifest_path: JSON list of groups, each with `paths` of its shards (read as one byte string, relative to the
            manifest) and `weights` in file order.
    Raises: `InputError` for a missing or malformed manifest, a missing shard, or shards of the wrong length.
    """
    if not manifest_path.is_file():
        raise InputError(f"expected a weights manifest at {manifest_path}, found none; put the JSON beside its shard")
    try:
        groups = json.loads(manifest_path.read_text(encoding="utf-8"))
        layout = [
            ([_shard(path) for path in group["paths"]], [_entry(item) for item in group["weights"]]) for group in groups
        ]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise InputError(
            f"expected a TensorFlow.js weights manifest in {manifest_path}, got something else "
            f"({type(error).__name__}: {reason_of(error)}); fetch the file again"
        ) from error
    tensors: dict[str, Tensor] = {}
    for paths, entries in layout:
        tensors |= _read_group([manifest_path.parent / path for path in paths], entries)
    return tensors


def _shard(path: object) -> Path:
    """A shard's path, which stays in the manifest's folder: a manifest from elsewhere names no other file of the machine."""
    if not isinstance(path, str) or not path or Path(path).is_absolute() or ".." in Path(path).parts:
        raise ValueError(f"shard {path!r} is no path below the manifest's folder")
    return Path(path)


def _entry(item: dict) -> tuple[str, list[int], float, float]:
    quantization = item["quantization"]
    if quantization["dtype"] != "uint8":
        raise ValueError(f"quantisation {quantization['dtype']} of {item['name']}, only uint8 is read")
    shape = list(item["shape"])
    if not shape or not all(isinstance(size, int) and size > 0 for size in shape):
        raise ValueError(f"shape {shape} of {item['name']}, only sizes of 1 and more are read")
    return str(item["name"]), shape, float(quantization["scale"]), float(quantization["min"])


def _read_group(shards: list[Path], entries: list[tuple[str, list[int], float, float]]) -> dict[str, Tensor]:
    missing = [shard for shard in shards if not _is_file(shard)]
    if missing:
        raise InputError(f"expected the weight shard {missing[0]} named by its manifest, found none; put it there")
    expected = sum(math.prod(shape) for _, shape, _, _ in entries)
    size = sum(shard.stat().st_size for shard in shards)
    if size != expected or not entries:
        raise InputError(
            f"expected {expected or 'some'} bytes in {', '.join(str(shard) for shard in shards) or 'shards'} by the manifest, got "
            f"{size}; the file is incomplete or of another model, fetch it again"
        )
    content = b"".join(shard.read_bytes() for shard in shards)
    values: UInt8[Tensor, " bytes"] = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    tensors, start = {}, 0
    for name, shape, scale, minimum in entries:
        stop = start + math.prod(shape)
        tensors[name] = (values[start:stop].double() * scale + minimum).float().reshape(shape)
        start = stop
    return tensors


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name longer than any file's
        return False


def _torch_name_and_value(name: str, value: Tensor) -> tuple[str, Tensor]:
    """TensorFlow keeps (height, width, in, out) filters, (height, width, in, 1) depthwise ones, (in, out) matrices."""
    parts = name.split("/")
    leaf, prefix = parts[-1], ".".join(parts[:-1])
    rank = _RANKS.get(leaf)
    if rank is None or not prefix:
        raise InputError(
            f"expected tensors of the face-api landmark network, got one named {name}; give its own manifest"
        )
    if value.ndim != rank:
        raise InputError(
            f"expected {rank} sizes of {name} of the face-api landmark network, got {tuple(value.shape)}; give its own manifest"
        )
    match leaf:
        case "filters":
            return f"{prefix}.weight", value.permute(3, 2, 0, 1)
        case "depthwise_filter":
            return f"{prefix}.depthwise.weight", value.permute(2, 3, 0, 1)
        case "pointwise_filter":
            return f"{prefix}.pointwise.weight", value.permute(3, 2, 0, 1)
        case "weights":
            return f"{prefix}.weight", value.T
        case "bias" if prefix == "fc" or prefix == "dense0.conv0":
            return f"{prefix}.bias", value
        case _:
            return f"{prefix}.pointwise.bias", value


def load_face_api(folder: str | Path, crop: Sequence[float] = DEFAULT_CROP, refinements: int = 1) -> FaceApiLandmarks:
    """The landmark network of a folder with `face_landmark_68_model-weights_manifest.json` and its shard.

    Args:
        folder: holds exactly one `*-weights_manifest.json` and the shards that it names.
        crop, refinements: as in `FaceApiLandmarks`.
    Returns: the frozen network in evaluation mode.
    Raises: `InputError` if files are missing, truncated or of another network.
    """
    folder = Path(folder)
    manifests = sorted(folder.glob(f"*{MANIFEST_SUFFIX}")) if folder.is_dir() else []
    if len(manifests) != 1:
        raise InputError(
            f"expected one face-api manifest (*{MANIFEST_SUFFIX}) in {folder}, found {len(manifests)}; "
            "put the manifest and its shard into that folder"
        )
    state = dict(_torch_name_and_value(name, value) for name, value in read_shards(manifests[0]).items())
    network = FaceApiNetwork()
    fill(network, state, manifests[0])
    return FaceApiLandmarks(network, crop, refinements).eval().requires_grad_(False)
