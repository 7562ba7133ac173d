"""Write any face model that can be read as this project's compact file, which opens at once."""

from pathlib import Path

from models.morphable.loading import load_face_model, save_face_model, source_of
from renderers.errors import InputError


def convert_face_model(source: str, output: Path, *, landmarks: Path | None = None) -> None:
    """Convert a face model to a .safetensors file with all its components.

    The file holds the model's geometry: it stays under the licence of the model it came from.

    Args:
        source: ICT-FaceKit's FaceXModel folder or its packed .npz, a Basel model of 2017 or 2019 (.h5), BFM_model_front.mat of
            the public tools, or procedural:coarse (medium, fine, full).
        output: the .safetensors file to write.
        landmarks: list of the 68 landmark vertices, .npy or text, counted from 0. The Basel .h5 files hold none: without a list
            they are found on the mean shape, approximately.
    """
    if output.suffix.lower() != ".safetensors":
        raise InputError(f"expected a .safetensors file to write, got {output}; rename it")
    model = load_face_model(source, sizes=None, landmarks=landmarks)
    save_face_model(output, model, source_of(source))
    sizes = model.sizes
    print(
        f"{model.vertex_count} vertices, {sizes.identity} identity, {sizes.expression} expression and {sizes.reflectance} "
        f"reflectance components in {output}"
    )
