"""What a component is transferred from: codes or embeddings of the same generator, or a picture whose parameters are read or fitted."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from datamodules.photos.decoding import SUFFIXES, decode_photo
from evaluation.code_edits import codes_at_a_time
from evaluation.edit_subjects import load_subjects
from lightning_modules.parameter_fit import ParameterFitSettings, fit_parameters
from models.morphable import FaceParameters
from models.observers import load_landmark_detector
from models.stylerig.face_encoder import PictureReconstruction
from models.stylerig.opening import OpenedRig
from renderers.errors import InputError
from renderers.face_renderer import FaceRenderer

# Pictures are fitted at this size at most: parameters of a face change no more beyond it, and the time does.
_FIT_SIZE = 256
_SMALLEST = 32


def read_reference(
    reference: str, opened: OpenedRig, landmarker: str, expression_deviation: float, batch_size: int = 16
) -> FaceParameters:
    """Face parameters of ``FILE.safetensors`` (all its codes, or an embedding), of a folder of embeddings, of one by name
    (``FILE.safetensors:NAME``, ``FOLDER:NAME``), or of a picture: read by MoFA where the rig reads pictures (PIE, section 3.1), else
    fitted.

    Args:
        reference: As above.
        opened: Who reads codes, and whose face model and camera a picture is fitted with.
        landmarker: 68-landmark network, for a picture that is fitted.
        expression_deviation: See `ParameterFitSettings`, for a picture that is fitted.
        batch_size: Pictures at a time, where codes are read through theirs.

    Raises:
        InputError: for a file that is missing, broken or of another kind, codes of another generator, or a picture that is not an
            aligned portrait.
    """
    if Path(reference).suffix.lower() in SUFFIXES:
        return _of_picture(Path(reference), opened, landmarker, expression_deviation)
    path, colon, name = (reference, "", "") if Path(reference).exists() else reference.rpartition(":")
    codes = load_subjects(path if colon else reference).codes
    codes.require(opened.generator)
    if colon:
        codes = codes.select([name])
    with torch.no_grad():
        parts = codes.w_plus.to(opened.generator.mean_w.device).split(codes_at_a_time(opened, batch_size, 1024))
        return FaceParameters.cat([opened.rig.parameters_of(part) for part in parts])


def _of_picture(path: Path, opened: OpenedRig, landmarker: str, expression_deviation: float) -> FaceParameters:
    picture = decode_photo(path).image
    size = min(opened.generator.resolution, picture.width, _FIT_SIZE)
    if picture.width != picture.height or picture.width < min(_SMALLEST, opened.generator.resolution):
        raise InputError(
            f"expected a square aligned portrait, {path} has {picture.width} x {picture.height} pixels; "
            "cut the face out by 'lightning align'"
        )
    reader = opened.rig.face_reconstruction
    device = opened.generator.mean_w.device
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].to(device)
    images = pixels.float() / 127.5 - 1
    if isinstance(reader, PictureReconstruction):
        with torch.no_grad():
            return reader.encoder.parameters_of(images)
    model = opened.face_model
    renderer = FaceRenderer(model.region("face"), opened.camera, size, landmark_model=model).to(device)
    settings = replace(ParameterFitSettings(), expression_deviation=expression_deviation)
    fit = fit_parameters(
        images, load_landmark_detector(landmarker).to(device), renderer, model.sizes, settings
    )
    if not bool(fit.reliable.all()):
        raise InputError(
            f"expected an aligned portrait that the face model can follow, the fit to {path} misses its landmarks by "
            f"{float(fit.landmark_error):.1%} of its side and its colours by {float(fit.colour_error):.2f}; cut the face out by "
            "'lightning align', or name another --landmarker"
        )
    return fit.parameters
