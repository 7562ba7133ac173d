"""The kinds of files that the project reads, each with a small whole file and its reader, for `tests.mutation_runner`."""

import argparse
import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageCms

from datamodules.face_fits.fitting import FaceFits
from datamodules.face_fits.shards import FitPlan, load_shard, save_shard
from datamodules.photos.decoding import decode_photo
from datamodules.photos.records import FaceTransform, PhotoRecord, read_record, write_record
from evaluation.run_checks.kinds import identify
from lightning_modules.checkpointing import AtomicCheckpointIO
from models.code_encoder import CodeEncoder
from models.inception import read_inception
from models.latent_codes import LatentCodes, load_codes, save_codes
from models.latent_directions import (
    DirectionQuality,
    LatentDirection,
    LatentDirections,
    load_directions,
    save_directions,
)
from models.lifted_gan import LiftedGAN
from models.lifted_gan import load_official as load_official_lifted
from models.morphable.coefficients import load_coefficients
from models.morphable.loading import load_face_model, save_face_model
from models.morphable.parameters import FaceParameters, ParameterSizes
from models.morphable.procedural import procedural_model
from models.observers import IdentityNet, Judge, LandmarkNet, load_face_embedder, load_judge, load_landmark_detector
from models.observers.face_api import FaceApiNetwork
from models.observers.loading import save_observer
from models.portrait_embedding import PortraitEmbedding, load_embedding, save_embedding
from models.safe_pickle import read_pickle
from models.stylefaceuv import CodeCoefficients, FaceSources, MirrorStep, StepSize, load_official
from models.stylefaceuv.uv_generator import UVGenerator
from models.stylegan2 import Discriminator, Generator
from models.stylegan2.loading import load_discriminator, load_generator, save_discriminator, save_generator
from models.stylegan2.rosinality import rosinality_discriminator, rosinality_generator
from models.stylerig.calibration import RigCalibration, load_calibration, save_calibration
from models.stylerig.control_curves import ControlCalibration, ControlCurve
from models.stylerig.face_encoder import FaceEncoder
from models.stylerig.face_reconstruction import FaceReconstruction
from models.stylerig.loading import load_rig_network
from models.stylerig.provenance import Provenance
from models.stylerig.rig_network import sources_of
from models.stylerig.rignet import RigNet
from models.stylerig.sources import RigSources
from models.stylerig.steering import SteeringNetwork
from tests import face_model_files
from tests.lifted_gan_files import official_state, tiny_generator, tiny_lifted, write_official
from tests.stylegan2_files import Persistent, ada_network, write_ada

SIZES = ParameterSizes(identity=3, expression=2, reflectance=3)
_SOURCES = RigSources("generator.pkl", "f.safetensors", "procedural:coarse")
_FACE_SOURCES = FaceSources("generator.pkl", "f.safetensors", "procedural:coarse")
# Low limits keep small pictures large enough to exceed them.
MAX_PIXELS = 100_000


class Canary:
    """Runs a command where a reader trusts a pickle; the runner watches for it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("import os; os.system('true')",)


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        name: For reports.
        build: Writes a whole one into an empty folder and gives the path that the reader takes: of a file, or that folder.
        read: The reader.
        every: Divides the number of files in the quick test, for kinds that take long.
    """

    name: str
    build: Callable[[Path], Path]
    read: Callable[[Path], Any]
    every: int = 1


def _generator() -> Generator:
    torch.manual_seed(0)
    return Generator([6, 4], z_dim=8, w_dim=8, mapping_layers=2)


def _provenance() -> Provenance:
    return Provenance("digest", (1.0, 2.0), 4.0, 10.0, (0.0, 0.0))


def _face_reconstruction() -> FaceReconstruction:
    return FaceReconstruction(4, 8, SIZES, hidden=8)


def _face_encoder() -> FaceEncoder:
    return FaceEncoder(SIZES, widths=(4, 8), blocks=(1, 1), num_features=8, working_size=8)


def _directions(folder: Path) -> Path:
    quality = DirectionQuality(0.9, 0.8, -1.0, 1.0, "degrees")
    pair = (LatentDirection("yaw", torch.eye(8)[0], 1.0, 0.0, quality), LatentDirection("age", torch.eye(8)[1], 2.0, 0.5))
    return save_directions(folder / "d.safetensors", LatentDirections(pair, "0" * 64, {"seed": 0}))


def _embedding(folder: Path) -> Path:
    image = torch.arange(3 * 16 * 16, dtype=torch.int64).reshape(3, 16, 16).to(torch.uint8)
    origin: dict[str, Any] = {"path": "p.jpg", "sha256": "0" * 64, "transform": None}
    numbers = (torch.zeros(4, 8), torch.zeros(8), image, torch.zeros(68, 2), torch.zeros(SIZES.total))
    embedding = PortraitEmbedding("p", "photo", origin, *numbers, None, {"total": 1.0}, {"seed": 0}, "0" * 64)
    return save_embedding(folder / "p.safetensors", embedding)


def _fitted_faces(folder: Path) -> Path:
    plan = FitPlan(2, 2, {"seed": 0}, _provenance(), SIZES)
    errors, steps = torch.zeros(2), torch.ones(2, dtype=torch.int64)
    fits = FaceFits(FaceParameters.zeros(2, SIZES), errors, errors, errors, steps, steps, torch.tensor([0, 3]))
    return save_shard(folder / "faces-0-2.safetensors", plan, range(2), fits, torch.zeros(2, 4, 8), ("a", "b"))


def _own_generator(folder: Path) -> Path:
    return save_generator(folder / "g.safetensors", _generator())


def _own_discriminator(folder: Path) -> Path:
    return save_discriminator(folder / "d.safetensors", Discriminator([4, 4]))


def _rosinality(folder: Path, zipped: bool) -> Path:
    path = folder / "g.pt"
    contents = {
        "g_ema": rosinality_generator(_generator()),
        "d": rosinality_discriminator(Discriminator([4, 4], deviation_group=4)),
        "latent_avg": torch.zeros(8),
        "args": argparse.Namespace(size=8, canary=Canary()),
    }
    torch.save(contents, path, _use_new_zipfile_serialization=zipped)
    return path


def _ada(folder: Path) -> Path:
    generator = _generator()
    own = generator.state_dict()
    kernel = torch.outer(torch.tensor([1.0, 3.0, 3.0, 1.0]), torch.tensor([1.0, 3.0, 3.0, 1.0])) / 64
    state = {"mapping.w_avg": own["mean_w"], "synthesis.b4.const": own["const"]}
    for index in range(generator.mapping_layers):
        for part in ("weight", "bias"):
            state[f"mapping.fc{index}.{part}"] = own[f"mapping.layers.{index}.{part}"]
    for index, layer in enumerate(("b4.conv1", "b8.conv0", "b8.conv1")):
        for part in ("weight", "bias", "affine.weight", "affine.bias", "noise_strength", "noise_const"):
            state[f"synthesis.{layer}.{part}"] = own[f"convolutions.{index}.{part}"]
        state[f"synthesis.{layer}.resample_filter"] = kernel
    for level, block in enumerate(("b4", "b8")):
        for part in ("weight", "bias", "affine.weight", "affine.bias"):
            value = own[f"to_rgb.{level}.{part}"]
            state[f"synthesis.{block}.torgb.{part}"] = value[:, :, None, None] if part == "weight" else value
    network = ada_network("Generator", state)
    network.attributes["canary"] = Canary()
    return write_ada(folder / "g.pkl", G_ema=network, D=Persistent("Discriminator", c_dim=0))


def _plain_pickle(folder: Path) -> Path:
    path = folder / "x.pkl"
    value = {
        "args": argparse.Namespace(size=8, canary=Canary()),
        "array": np.arange(12, dtype=np.float32).reshape(3, 4),
        "scalar": np.float64(0.5),
        "tensor": torch.nn.Parameter(torch.arange(6.0)),
        ("key", 1): [{1, 2}, frozenset({3}), (4, 5), b"bytes", 1 + 2j, None, 10**30],
    }
    path.write_bytes(pickle.dumps(value))
    return path


def _lightning(folder: Path) -> Path:
    path = folder / "last.ckpt"
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.Adam(network.parameters())
    contents = {
        "pytorch-lightning_version": "1.2.10",
        "state_dict": network.state_dict(),
        "callbacks": {Canary: {"score": torch.tensor(0.5)}},
        "optimizer_states": [optimizer.state_dict()],
        "hyper_parameters": argparse.Namespace(canary=Canary()),
    }
    torch.save(contents, path)
    return path


def _official_step(folder: Path) -> Path:
    """The step size's checkpoint of StyleFaceUV's authors, of codes of 2 layers and width 4."""
    path = folder / "step.ckpt"
    network = torch.nn.Sequential(
        torch.nn.Linear(8, 8), torch.nn.Tanh(), torch.nn.Linear(8, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1)
    )
    state = {f"stylecode_to_scalar_model.Net.{name}": value for name, value in network.state_dict().items()}
    contents = {
        "state_dict": {**state, "pose_normal_direction": torch.ones(2, 4)},
        "callbacks": {Canary: {}},
        "hyper_parameters": argparse.Namespace(canary=Canary()),
    }
    torch.save(contents, path)
    return path


def _official_lifted(folder: Path) -> Path:
    """The checkpoint of LiftedGAN's authors; its generator lies beside it."""
    model = tiny_lifted()
    return write_official(folder, official_state(model), model.generator)[0]


def _inception(folder: Path) -> Path:
    path = folder / "inception.pth"
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=False)
    return path


def _training_checkpoint(folder: Path) -> Path:
    path = folder / "last.ckpt"
    network = torch.nn.Linear(3, 4)
    optimizer = torch.optim.Adam(network.parameters())
    AtomicCheckpointIO().save_checkpoint(
        {"state_dict": network.state_dict(), "optimizer_states": [optimizer.state_dict()], "epoch": 3}, path
    )
    return path


def _landmarker(folder: Path) -> Path:
    return save_observer(folder / "l.safetensors", LandmarkNet(16, (2, 2, 2), (1, 1), 5))


def _identity(folder: Path) -> Path:
    return save_observer(folder / "i.safetensors", IdentityNet(4, 2, 32))


def _judge(folder: Path) -> Path:
    return save_observer(folder / "j.safetensors", Judge(3, 2, 3, (), (2, 2, 2, 2), (1, 1, 1, 1), 4, 32))


def _face_api(folder: Path) -> Path:
    """A folder of the public layout with random weights."""
    folder = folder / "face_api"
    folder.mkdir()
    rng = np.random.default_rng(0)
    weights = []
    for name, value in FaceApiNetwork().state_dict().items():
        prefix, _, leaf = name.rpartition(".")
        shape = list(value.shape)
        if leaf == "bias":
            weights.append((f"{prefix.removesuffix('.pointwise').replace('.', '/')}/bias", shape))
        elif prefix.endswith(".depthwise"):
            weights.append(
                (
                    f"{prefix.removesuffix('.depthwise').replace('.', '/')}/depthwise_filter",
                    [shape[i] for i in (2, 3, 0, 1)],
                )
            )
        elif prefix.endswith(".pointwise"):
            weights.append(
                (
                    f"{prefix.removesuffix('.pointwise').replace('.', '/')}/pointwise_filter",
                    [shape[i] for i in (2, 3, 1, 0)],
                )
            )
        elif len(shape) == 4:
            weights.append((f"{prefix.replace('.', '/')}/filters", [shape[i] for i in (2, 3, 1, 0)]))
        else:
            weights.append((f"{prefix.replace('.', '/')}/weights", shape[::-1]))
    entries = [
        {
            "name": name,
            "shape": shape,
            "dtype": "float32",
            "quantization": {"dtype": "uint8", "scale": 0.01, "min": -1.0},
        }
        for name, shape in weights
    ]
    (folder / "net-weights_manifest.json").write_text(json.dumps([{"weights": entries, "paths": ["net-shard1"]}]))
    (folder / "net-shard1").write_bytes(rng.bytes(sum(int(np.prod(shape)) for _, shape in weights)))
    return folder


def _codes(folder: Path) -> Path:
    codes = LatentCodes(
        torch.randn(3, 4, 8), ("a", "b", "c"), "digest", torch.randn(3, 8), torch.tensor([1, 2, 3]), 0.7
    )
    return save_codes(folder / "c.safetensors", codes)


def _calibration(folder: Path) -> Path:
    curve = ControlCurve("judge", (-10.0, 0.0, 10.0), (-5.0, 0.5, 6.0), (-8.0, -2.0, 4.0), (-3.0, 3.0, 9.0))
    yaw = ControlCalibration("yaw", "deg", -20.0, 0.0, 20.0, (curve,))
    return save_calibration(folder / "r.calibration.json", RigCalibration("0" * 64, 60, 500, (yaw,)))


def _coefficients(folder: Path) -> Path:
    path = folder / "c.npy"
    np.save(path, np.zeros((3, 257), np.float32))
    return path


def _own_face_model(folder: Path) -> Path:
    return save_face_model(folder / "f.safetensors", procedural_model("coarse"), "shipped")


def _mat(folder: Path) -> Path:
    return face_model_files.write_mat(folder / "m.mat")


def _h5(folder: Path) -> Path:
    face_model_files.write_landmarks(folder / "landmarks.txt")
    return face_model_files.write_h5(folder / "m.h5")


def _read_h5(path: Path) -> Any:
    return load_face_model(path, landmarks=path.parent / "landmarks.txt")


def _photo(folder: Path, name: str, mode: str = "RGB", **options: Any) -> Path:
    rng = np.random.default_rng(0)
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = rng.integers(0, 256, (24, 32, channels), dtype=np.uint8)
    Image.fromarray(pixels if channels > 1 else pixels[..., 0], mode).save(folder / name, **options)
    return folder / name


def _jpeg(folder: Path) -> Path:
    (folder := folder / "photos").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    return _photo(folder, "p.jpg", exif=exif, icc_profile=profile)


def _record(folder: Path) -> Path:
    path = folder / "photo.faces.json"
    square = [[0.0, 0.0], [0.0, 9.0], [9.0, 9.0], [9.0, 0.0]]
    face = FaceTransform(
        "photo_0.png", 64, square, (0.0, 0.0, 1.0, 0.0), (32, 24), 0.99, [[1.0, 2.0]] * 5, [[3.0, 4.0]] * 68
    )
    write_record(path, PhotoRecord("photo.jpg", "0" * 64, {"size": 64}, (face,)))
    return path


def _read_photo(path: Path) -> Any:
    return decode_photo(path, MAX_PIXELS)


KINDS = (
    Kind("generator .safetensors", _own_generator, load_generator),
    Kind("discriminator .safetensors", _own_discriminator, load_discriminator),
    Kind("generator of rosinality .pt", lambda folder: _rosinality(folder, True), load_generator),
    Kind("discriminator of rosinality .pt", lambda folder: _rosinality(folder, True), load_discriminator),
    Kind("generator of rosinality, older .pt", lambda folder: _rosinality(folder, False), load_generator),
    Kind("generator of StyleGAN2-ADA .pkl", _ada, load_generator),
    Kind("plain pickle", _plain_pickle, read_pickle),
    Kind("Lightning .ckpt", _lightning, read_pickle),
    Kind("landmark network .safetensors", _landmarker, load_landmark_detector),
    Kind("identity network .safetensors", _identity, load_face_embedder),
    Kind("judge .safetensors", _judge, load_judge),
    Kind("face-api folder", _face_api, load_landmark_detector),
    Kind(
        "face reconstruction .safetensors",
        lambda folder: _face_reconstruction().save(folder / "f.safetensors", _provenance()),
        lambda path: FaceReconstruction.load(path, _provenance()),
    ),
    Kind(
        "face encoder .safetensors",
        lambda folder: _face_encoder().save(folder / "e.safetensors", replace(_provenance(), generator=None)),
        lambda path: FaceEncoder.load(path, _provenance()),
    ),
    Kind(
        "code encoder .safetensors",
        lambda folder: CodeEncoder(8, (4, 8), (1, 1), 8, 8).save(folder / "c.safetensors", _generator()),
        lambda path: CodeEncoder.load(path, _generator()),
    ),
    Kind(
        "rig network .safetensors",
        lambda folder: RigNet(4, 8, ("rotation",), SIZES, 4).save(folder / "r.safetensors", _provenance(), _SOURCES),
        lambda path: (RigNet.load(path, _provenance()), sources_of(path)),
    ),
    Kind(
        "steering network .safetensors",
        lambda folder: SteeringNetwork(4, 8, ("rotation",), SIZES).save(folder / "s.safetensors", _provenance(), _SOURCES),
        lambda path: load_rig_network(path, _provenance()),
    ),
    Kind(
        "UV generator .safetensors",
        lambda folder: UVGenerator([6, 4], 8).save(folder / "u.safetensors", _provenance(), _FACE_SOURCES, bits=8),
        lambda path: UVGenerator.load(path, _provenance()),
    ),
    Kind(
        "code coefficients .safetensors",
        lambda folder: CodeCoefficients(4, 8, SIZES, (2,)).save(folder / "c.safetensors", _provenance()),
        lambda path: CodeCoefficients.load(path, _provenance()),
    ),
    Kind(
        "step size .safetensors",
        lambda folder: StepSize(4, 8, (2,)).save(folder / "s.safetensors", _provenance()),
        lambda path: StepSize.load(path, _provenance()),
    ),
    Kind(
        "mirror step .safetensors",
        lambda folder: MirrorStep(4, 8, (2,)).save(folder / "m.safetensors", _provenance()),
        lambda path: MirrorStep.load(path, _provenance()),
    ),
    Kind("step size of StyleFaceUV's authors .ckpt", _official_step, load_official),
    Kind(
        "lifted generator .safetensors",
        lambda folder: tiny_lifted().save(folder / "l.safetensors"),
        lambda path: LiftedGAN.load(path, tiny_generator()),
    ),
    Kind(
        "lifted generator of LiftedGAN's authors .pth",
        _official_lifted,
        lambda path: load_official_lifted(path, path.parent / "generator.pt"),
    ),
    Kind("calibration of a rig .json", _calibration, load_calibration),
    Kind("latent codes .safetensors", _codes, load_codes),
    Kind("portrait embedding .safetensors", _embedding, load_embedding),
    Kind("latent directions .safetensors", _directions, load_directions),
    Kind("fitted faces .safetensors", _fitted_faces, load_shard),
    Kind("face model .safetensors", _own_face_model, load_face_model),
    Kind("Basel model of the tools .mat", _mat, load_face_model),
    Kind("Basel model .h5", _h5, _read_h5),
    Kind(
        "ICT-FaceKit .npz", lambda folder: face_model_files.write_ict_packed(folder / "i.npz"), load_face_model, every=3
    ),
    Kind(
        "ICT-FaceKit folder", lambda folder: face_model_files.write_ict_folder(folder / "obj"), load_face_model, every=6
    ),
    Kind("coefficients .npy", _coefficients, load_coefficients),
    Kind("photo JPEG", _jpeg, _read_photo),
    Kind("photo JPEG CMYK", lambda folder: _photo(folder, "p.jpg", "CMYK"), _read_photo),
    Kind("photo PNG", lambda folder: _photo(folder, "p.png", "RGBA"), _read_photo),
    Kind("photo TIFF", lambda folder: _photo(folder, "p.tif", compression="tiff_lzw"), _read_photo),
    Kind("photo WebP", lambda folder: _photo(folder, "p.webp"), _read_photo),
    Kind("photo GIF", lambda folder: _photo(folder, "p.gif", "L"), _read_photo),
    Kind("transform of crops .json", _record, read_record),
    Kind("Inception weights .pth", _inception, read_inception),
    Kind("own training .ckpt", _training_checkpoint, lambda path: AtomicCheckpointIO().load_checkpoint(path)),
    Kind("check: generator .pt", lambda folder: _rosinality(folder, True), identify),
    Kind("check: Lightning .ckpt", _lightning, identify),
    Kind("check: weights .safetensors", _judge, identify),
    Kind("check: face model .mat", _mat, identify),
    Kind(
        "check: face model .npz", lambda folder: face_model_files.write_ict_packed(folder / "i.npz"), identify, every=3
    ),
    Kind("check: folder of JPEG", lambda folder: _jpeg(folder).parent, identify),
    Kind("check: PNG", lambda folder: _photo(folder, "p.png", "RGBA"), identify),
    Kind("check: TIFF", lambda folder: _photo(folder, "p.tif"), identify),
)
