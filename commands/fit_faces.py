"""``lightning fit-faces``: face parameters of thousands of generated or aligned pictures, by optimisation."""

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from commands.devices import choose_device, repeatable_convolutions
from commands.warning_filters import warnings_as_lines
from datamodules.face_fits.objective import FaceFitSettings
from datamodules.face_fits.runs import fit_missing, load_complete
from datamodules.face_fits.scene import FitScene
from datamodules.face_fits.shards import join_shards
from datamodules.face_fits.sources import FaceSource, FolderFaces, GeneratedFaces
from datamodules.latent_pairs import PairRecipe
from evaluation.report import json_text, write_text
from lightning_modules.progress import check_seed
from models.morphable.loading import SHIPPED
from models.observers import load_landmark_detector
from models.stylegan2.loading import load_generator
from renderers.errors import InputError

# Pixels that photos are fitted at by default, those of the papers.
_PHOTO_SIZE = 256


def fit_faces(
    landmarker: str,
    output: Path,
    generator: Path | None = None,
    photos: Path | None = None,
    count: int = 36_000,
    image_size: int | None = None,
    preset: Literal["demo", "published"] = "demo",
    rigid_steps: int | None = None,
    steps: int | None = None,
    tolerance: float | None = None,
    face_model: str = f"{SHIPPED}:coarse",
    region: str = "face",
    focal_length: float = 4.0,
    distance: float = 10.0,
    max_latents: int = 1,
    truncation: float | None = None,
    seed: int = 0,
    batch_size: int = 64,
    shard_size: int = 512,
    shard: str | None = None,
    device: str = "auto",
) -> None:
    """Fit a face model to pictures: `lightning fit-faces --generator G --landmarker L --output FOLDER --count 36000`.

    Pose first, then everything, many faces at a time. Files of fits are written whole; a run that is interrupted goes on when it is
    started again, and a larger count continues a smaller one. Several processes share a folder out by --shard, or under torchrun.

    Args:
        landmarker: 68-landmark network, as for trainings.
        output: folder for the files, and summary.json once all are there.
        generator: StyleGAN2 file, whose random codes are drawn and fitted.
        photos: folder of aligned square photos in its place.
        count: codes; all photos are fitted.
        image_size: pixels at which pictures are compared; by default those of the generator, and 256 for photos.
        preset: the demo's settings, or the published ones of StyleFaceUV (1000 rigid steps, 500 of everything), which
            --tolerance 0 takes in full.
        rigid_steps: at most so many, in place of the preset's.
        steps: at most so many of everything, in place of the preset's.
        tolerance: a face is done where its loss falls by less than this share in a window; 0 takes all steps.
        face_model: file or folder of the face model, or procedural:coarse and so on.
        region: of the face model that is compared.
        focal_length: of the camera, in image sizes.
        distance: of the camera, decimetres.
        max_latents: that are mixed into a code.
        truncation: of the codes, 0 to 1.
        seed: of the codes.
        batch_size: faces that are fitted together.
        shard_size: faces of a file.
        shard: I/N fits the I-th of N parts, counted from 1; under torchrun each process takes its own.
        device: auto, cpu, cuda, cuda:1, mps.
    """
    check_seed(seed)
    if (generator is None) == (photos is None):
        raise InputError(
            "expected a generator or a folder of photos to fit, got both or neither; give --generator or --photos"
        )
    settings = _settings(preset, rigid_steps, steps, tolerance)
    share = parse_share(shard)
    if min(batch_size, shard_size) < 1:
        raise InputError(
            f"expected a batch and files of one face or more, got {batch_size} and {shard_size}; raise them"
        )
    scene = FitScene(face_model, region, focal_length, distance, image_size)
    with warnings_as_lines(), repeatable_convolutions():
        where = choose_device(device)
        if device == "auto" and where.type == "cuda" and shard is None:
            where = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        source: FaceSource
        if generator is not None:
            source = GeneratedFaces(
                load_generator(generator).to(where), PairRecipe(seed, max_latents, truncation), count
            )
        else:
            assert photos is not None
            source = FolderFaces(photos, _PHOTO_SIZE if image_size is None else image_size)
        network = load_landmark_detector(landmarker).to(where)
        plan = fit_missing(output, source, network, scene, settings, where, batch_size, shard_size, share, _say)
    parts = load_complete(output, plan)
    if parts is None:
        _say(f"part {share[0] + 1} of {share[1]} is done, others are missing in {output}")
        return
    faces = join_shards(parts, output)
    counts = faces.counts()
    yaw = faces.fitted().rotation[:, 1].rad2deg()
    summary = {
        "faces": counts,
        "mean_landmark_error": _mean(faces.landmark_error),
        "mean_colour_error": _mean(faces.colour_error),
        "mean_steps": _mean(faces.steps.float()),
        "yaw_deg_deviation": float(yaw.std()) if len(yaw) > 1 else None,
        "fitted_with": dict(plan.description),
    }
    write_text(output / "summary.json", json_text(summary))
    reasons = ", ".join(f"{number} {reason}" for reason, number in counts.items() if number and reason != "kept")
    print(
        f"{counts['kept']} of {plan.count} faces fitted{f' ({reasons})' if reasons else ''}; files and summary.json in {output}"
    )


def parse_share(text: str | None) -> tuple[int, int]:
    """(i, n), i from 0, of ``I/N`` with I from 1; without a text, of the process's place under torchrun; else (0, 1).

    Raises:
        InputError: for another form or a part that is not there.
    """
    if text is None:
        rank, ranks = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
        text = f"{int(rank) + 1}/{ranks}" if rank.isdecimal() else f"{rank}/{ranks}"
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise InputError(f"expected a part such as 1/4, counted from 1, got {text!r}; correct --shard")
    return int(match[1]) - 1, int(match[2])


def _settings(
    preset: Literal["demo", "published"], rigid_steps: int | None, steps: int | None, tolerance: float | None
) -> FaceFitSettings:
    chosen = FaceFitSettings.preset(preset)
    return replace(
        chosen,
        rigid_steps=chosen.rigid_steps if rigid_steps is None else rigid_steps,
        steps=chosen.steps if steps is None else steps,
        tolerance=chosen.tolerance if tolerance is None else tolerance,
    )


def _mean(values: torch.Tensor) -> float | None:
    return float(values.mean()) if len(values) else None


def _say(text: str) -> None:
    print(f"fit-faces: {text}", flush=True)
