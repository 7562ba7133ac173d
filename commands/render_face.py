"""Draw faces from coefficients, in the camera of the public BFM tools."""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image

from models.morphable import FaceParameters
from models.morphable.coefficients import load_coefficients
from models.morphable.loading import load_face_model
from renderers.camera import PerspectiveCamera
from renderers.errors import InputError
from renderers.face_renderer import FaceRenderer

# Chosen by us: a picture of this side takes about a gigabyte while it is drawn.
_LARGEST_IMAGE = 4096
# Faces drawn at once: bounds the memory, changes nothing else.
_CHUNK = 8


def render_face(
    face_model: str,
    coefficients: Path,
    output: Path,
    image_size: int = 224,
    focal_length: float = 1015 / 224,
    distance: float = 10.0,
    region: str | None = None,
    primitive: Literal["triangles", "points"] = "triangles",
    landmarks: Path | None = None,
) -> None:
    """Draw one picture per coefficient vector: 000.png, 001.png, ... on black, and landmarks.npy.

    Args:
        face_model: BFM_model_front.mat of the public tools, a Basel model of 2017 or 2019 (.h5), ICT-FaceKit (folder or .npz), a
            converted .safetensors, or procedural:coarse (medium, fine, full).
        coefficients: .npy of (N, 257) or (257,): identity, expression, reflectance, rotation, illumination, translation; or a .mat
            as Deep3DFaceRecon writes it.
        output: folder for the pictures and landmarks.npy: (N, 68, 2) pixels, x right, y down.
        image_size: height and width in pixels.
        focal_length: of the camera, in image sizes. The public tools use 1015 pixels at 224; for those that use 1015 pixels at 256
            give 3.965.
        distance: from the camera to the origin, decimetres.
        region: draw this region of the face model alone, such as "face".
        primitive: triangles, or points (a splat per vertex).
        landmarks: list of the model's 68 landmark vertices, .npy or text, counted from 0; by default the model's own.
    """
    if not 1 <= image_size <= _LARGEST_IMAGE:
        raise InputError(
            f"expected an image size of at least 1 pixel and at most {_LARGEST_IMAGE}, got {image_size}; change it"
        )
    if output.exists() and not output.is_dir():
        raise InputError(f"expected a folder to write pictures to, {output} is a file; name another")
    model = load_face_model(face_model, landmarks=landmarks)
    parameters = FaceParameters.unpack(load_coefficients(coefficients, model.sizes), model.sizes)
    drawn = model if region is None else model.region(region)
    if not len(drawn.faces):
        raise InputError(
            f"expected a region with faces to draw, '{region}' of {face_model} has none; name another region"
        )
    renderer = FaceRenderer(
        drawn, PerspectiveCamera(focal_length, distance), image_size, primitive, landmark_model=model
    )
    output.mkdir(parents=True, exist_ok=True)
    points = []
    with torch.no_grad():
        for start in range(0, len(parameters), _CHUNK):
            render = renderer(parameters[start : start + _CHUNK])
            points.append(render.landmarks)
            pictures = (render.image * 255).round().byte().permute(0, 2, 3, 1).numpy()
            for number, picture in enumerate(pictures, start):
                Image.fromarray(picture).save(output / f"{number:03d}.png")
    np.save(output / "landmarks.npy", torch.cat(points).numpy())
    print(f"{len(parameters)} pictures and landmarks.npy in {output}")
