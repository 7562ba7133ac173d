"""Fitting what is missing of a folder of fitted faces: shard by shard, shared out to processes, resumable."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from datamodules.face_fits.fitting import FaceFits, fit_faces
from datamodules.face_fits.objective import FaceFitSettings
from datamodules.face_fits.scene import FitScene
from datamodules.face_fits.shards import KIND, FitPlan, FittedFaces, find_shards, load_shard, save_shard
from datamodules.face_fits.sources import FaceSource, GeneratedFaces
from models.morphable import MorphableModel
from models.stylerig.provenance import Provenance
from models.weights import describe_weights
from renderers.errors import InputError


def plan_of(
    source: FaceSource,
    landmarker: nn.Module,
    face_model: MorphableModel,
    scene: FitScene,
    settings: FaceFitSettings,
    shard_size: int,
) -> FitPlan:
    """What a folder of these fits holds."""
    generator = source.generator if isinstance(source, GeneratedFaces) else None
    description = {
        "source": source.describe(),
        "landmarker": _digest(landmarker),
        "region": scene.region,
        "image_size": source.resolution if scene.image_size is None else scene.image_size,
        "settings": asdict(settings),
        "shard_size": shard_size,
    }
    # As they are read back: tuples become lists, whole numbers stay.
    plain = json.loads(json.dumps(description))
    return FitPlan(
        source.count, shard_size, plain, Provenance.of(generator, face_model, scene.camera), face_model.sizes
    )


def fit_missing(
    folder: Path,
    source: FaceSource,
    landmarker: nn.Module,
    scene: FitScene,
    settings: FaceFitSettings,
    device: torch.device,
    batch_size: int = 64,
    shard_size: int = 512,
    share: tuple[int, int] = (0, 1),
    say: Callable[[str], None] = lambda text: None,
) -> FitPlan:
    """Fit the shards of a folder that are not there yet, and write each when it is done.

    Shards that are cut short are fitted again. Processes may work on one folder at the same time, each on its share.

    Args:
        folder: For the files.
        source: Of the faces; a generator is on `device`.
        landmarker: 68-landmark network, on `device`.
        scene: Face model, camera and size.
        settings: Steps and weights.
        device: Of the computation.
        batch_size: Faces that are fitted together.
        shard_size: Faces of a file.
        share: (i, n): of the shards, i, i + n, i + 2 n and so on are this process's.
        say: Is told what happens.

    Raises:
        InputError: for an impossible share or batch, or a folder with fits of something else.
    """
    number, of = share
    if batch_size < 1:
        raise InputError(f"expected a batch of one face or more, got {batch_size}; raise it")
    if not 0 <= number < of:
        raise InputError(f"expected a share from 0 to {of - 1} of {of}, got {number}; correct it")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"expected a folder for fitted faces, {folder} is a file; name another")
    face_model = scene.load_face_model().to(device)
    drawn = face_model.region(scene.region)
    renderer = scene.renderer(face_model, drawn, source.resolution).to(device)
    plan = plan_of(source, landmarker, face_model, scene, settings, shard_size)
    _check_contents(folder, plan)
    _check_length(folder, plan)
    mine = range(number, plan.shards, of)
    missing = [shard for shard in mine if _whole(plan.path(folder, shard), plan) is None]
    if len(missing) < len(mine):
        say(f"{len(mine) - len(missing)} of {len(mine)} files are there already")
    for place, shard in enumerate(missing, 1):
        started, numbers = time.monotonic(), plan.numbers(shard)
        images, landmarks, codes, names = _read(source, landmarker, numbers, renderer.image_size, device, batch_size)
        fits = fit_faces(images, landmarks, renderer, drawn, settings, batch_size)
        save_shard(plan.path(folder, shard), plan, numbers, fits, codes, names)
        _remove_shorter(folder, plan, numbers)
        say(_told(fits, time.monotonic() - started, f"file {place} of {len(missing)}"))
    return plan


def missing_faces(folder: Path, plan: FitPlan) -> int:
    """Faces of a plan whose files are not there or cut short: those that `fit_missing` would fit.

    Raises:
        InputError: for a folder with fits of something else.
    """
    _check_contents(folder, plan)
    _check_length(folder, plan)
    shards = range(plan.shards)
    return sum(len(plan.numbers(shard)) for shard in shards if _whole(plan.path(folder, shard), plan) is None)


def load_complete(folder: Path, plan: FitPlan) -> list[FittedFaces] | None:
    """The shards of a plan, in order; None where one is missing or cut short.

    Raises:
        InputError: for a shard of something else.
    """
    parts = []
    for shard in range(plan.shards):
        part = _whole(plan.path(folder, shard), plan)
        if part is None:
            return None
        parts.append(part)
    return parts


def _whole(path: Path, plan: FitPlan) -> FittedFaces | None:
    if not path.exists():
        return None
    try:
        found = load_shard(path)
    except InputError:
        if _kind(path) not in (KIND, ""):
            raise
        return None
    # The face model and camera within their tolerance; then everything else to the letter.
    found.provenance.check(plan.provenance, str(path))
    if dict(found.description) != dict(plan.description):
        other = next(name for name in plan.description if found.description.get(name) != plan.description[name])
        raise InputError(
            f"expected fits of the same {other.replace('_', ' ')} in {path.parent}, {path.name} has another; name another folder"
        )
    return found


def _kind(path: Path) -> str:
    """What a file says that it holds; empty where it is cut short."""
    try:
        return describe_weights(path).kind
    except InputError:
        return ""


def _check_contents(folder: Path, plan: FitPlan) -> None:
    """Fits of something else in other files than the plan's, such as a shorter last one, are neither joined nor removed."""
    for path in find_shards(folder):
        _whole(path, plan)


def _check_length(folder: Path, plan: FitPlan) -> None:
    """A last, shorter shard is not fitted beside a longer one that has its faces."""
    last = plan.numbers(plan.shards - 1)
    for stop in range(last.stop + 1, last.start + plan.shard_size + 1):
        if replace(plan, count=stop).path(folder, plan.shards - 1).exists():
            raise InputError(
                f"expected at most {plan.count} faces in {folder}, it holds {stop} already; ask for as many, or name another"
            )


def _remove_shorter(folder: Path, plan: FitPlan, numbers: range) -> None:
    """A last, shorter shard of an earlier, smaller count is within the one just written."""
    for stop in range(numbers.start + 1, numbers.stop):
        shorter = replace(plan, count=stop).path(folder, numbers.start // plan.shard_size)
        shorter.unlink(missing_ok=True)


@torch.no_grad()
def _read(
    source: FaceSource,
    landmarker: nn.Module,
    numbers: range,
    size: tuple[int, int],
    device: torch.device,
    batch_size: int,
) -> tuple[Tensor, Tensor, Tensor | None, tuple[str, ...]]:
    """Pictures reduced to `size`, their landmarks in its pixels, their codes on the CPU, and names."""
    images: list[Tensor] = []
    landmarks: list[Tensor] = []
    codes: list[Tensor] = []
    names: list[str] = []
    for chunk in _chunks(numbers, batch_size):
        pictures = source.faces(chunk, device)
        found = landmarker(pictures.images)
        scale = found.new_tensor([size[1] / pictures.images.shape[3], size[0] / pictures.images.shape[2]])
        landmarks.append(found * scale)
        reduced = nn.functional.interpolate(pictures.images, size=size, mode="area")
        images.append(reduced)
        names.extend(pictures.names)
        if pictures.codes is not None:
            codes.append(pictures.codes.cpu())
    return torch.cat(images), torch.cat(landmarks), torch.cat(codes) if codes else None, tuple(names)


def _chunks(numbers: range, size: int) -> Iterator[range]:
    return (numbers[start : start + size] for start in range(0, len(numbers), size))


def _digest(network: nn.Module) -> str:
    """Of the weights of a network, whatever file they came from."""
    digest = hashlib.sha256(type(network).__name__.encode())
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _told(fits: FaceFits, seconds: float, what: str) -> str:
    left_out = int((fits.failure > 0).sum())
    steps = float(fits.steps.float().mean())
    speed = f"{len(fits) / seconds:.2f} a second, {steps:.0f} steps on average"
    return f"{what}: {len(fits)} faces in {seconds:.0f} s ({speed}), {left_out} left out"
