"""Check that every file and folder that a configuration names is there, can be read, and is of the right kind."""

import os
from collections.abc import Sequence
from pathlib import Path

from evaluation.run_checks.kinds import PACKAGE_WEIGHTS, Artefact, Kind, identify
from evaluation.run_checks.references import Reference
from evaluation.run_checks.report import Check, failed, failed_by
from models.morphable.loading import SHIPPED as PROCEDURAL
from models.weights import locate
from renderers.errors import InputError

_CODE_READERS: tuple[Kind, ...] = ("code coefficients", "face reconstruction", "face encoder")
# Kinds that a parameter takes, by class and parameter where its name alone does not tell, else by its name.
_WANTED: dict[str, tuple[Kind, ...]] = {
    "StyleRig.weights": ("RigNet", "steering network"),
    "StyleGAN2.weights": ("generator",),
    "FaceAutoencoder.weights": ("face encoder",),
    "StyleFaceUV.weights": ("UV generator",),
    "LiftedGanModule.weights": ("LiftedGAN checkpoint",),
    "CodeEncoderModule.weights": ("code encoder",),
    "PIE.rig": ("RigNet",),
    "StyleFaceUVFigures.one_view": ("UV generator",),
    "StyleFaceUVFigures.features": ("Inception features", "judge", "identity network"),
    "StyleFaceUVFigures.real_pictures": ("photos",),
    "StyleFaceUVFigures.embeddings": ("folder",),
    "FittedFacesDataModule.folder": ("fitted faces",),
    "EmbeddingDataModule.photos": ("photos", "picture"),
    "EmbeddingDataModule.landmarks": ("landmark network",),
    "generator": ("generator",),
    # Checkpoints of other projects hold both networks.
    "discriminator": ("discriminator", "generator"),
    "discriminator_weights": ("discriminator", "generator"),
    "landmarker": ("landmark network",),
    "face_reconstruction": ("face reconstruction", "face encoder"),
    "face_encoder": ("face encoder",),
    "code_encoder": ("code encoder",),
    "coefficients": _CODE_READERS,
    "second_reader": _CODE_READERS,
    "directions": ("linear directions",),
    "step_size": ("step size",),
    "perceptual": ("perceptual features",),
    "identity": ("identity network",),
    "embedder": ("identity network",),
    "judge": ("judge",),
    "reader": ("judge",),
    "face_model": ("face model",),
    "root": ("photos",),
    "photos": ("photos",),
}


def check_files(references: Sequence[Reference]) -> tuple[list[Check], dict[str, Artefact]]:
    """One line per reference.

    Returns:
        The lines, and what was found at each key that is read.
    """
    checks: list[Check] = []
    artefacts: dict[str, Artefact] = {}
    for reference in references:
        if reference.role == "written":
            checks.append(check_writable(reference.key, Path(reference.value)))
            continue
        if reference.value in PACKAGE_WEIGHTS:
            kind, layout = PACKAGE_WEIGHTS[reference.value]
            artefacts[reference.key] = Artefact(Path(reference.value), kind, layout)
            checks.append(Check(reference.key, "ok", f"{reference.value}: {kind}, from its package or its download"))
            continue
        if reference.parameter == "face_model" and reference.value.partition(":")[0] == PROCEDURAL:
            checks.append(Check(reference.key, "ok", f"{reference.value}: face model, built by the software"))
            continue
        try:
            path = locate(reference.value)
            artefact = identify(path)
        except InputError as error:
            checks.append(failed_by(reference.key, error))
            continue
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            checks.append(failed(reference.key, f"a readable file at {reference.value}", reason, "correct its rights"))
            continue
        artefacts[reference.key] = artefact
        wanted = _WANTED.get(f"{reference.owner}.{reference.parameter}") or _WANTED.get(reference.parameter)
        if wanted is not None and artefact.kind not in wanted:
            what, got = _phrase(" or ".join(wanted)), f"{path}, {_phrase(artefact.described)}"
            checks.append(failed(reference.key, what, got, f"name {_phrase(wanted[0])} by --{reference.key}"))
        else:
            checks.append(Check(reference.key, "ok", f"{reference.value}: {artefact.described}"))
    return checks, artefacts


def _phrase(kind: str) -> str:
    """A kind of file with its article."""
    if kind.startswith(("photos", "fitted faces")):
        return f"a folder of {kind}"
    return f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"


def check_writable(name: str, path: Path) -> Check:
    """Whether something can be written at a path that need not exist."""
    path = path.expanduser().absolute()
    there = nearest_folder(path)
    if not there.is_dir():
        return failed(name, f"a folder to write {path} to", f"the file {there}", "choose another place")
    if not os.access(there, os.W_OK | os.X_OK):
        return failed(
            name, f"a folder that can be written, for {path}", f"no right to write in {there}", "choose another place"
        )
    return Check(name, "ok", f"{path}: {'exists' if path.exists() else 'will be made'}")


def nearest_folder(path: Path) -> Path:
    """The path itself or the nearest thing above it that exists."""
    path = path.expanduser().absolute()
    if path.is_file():
        return path.parent
    while not path.exists():
        path = path.parent
    return path
