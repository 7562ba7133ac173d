"""``lightning export``: textured meshes of the detailed faces of codes, as glTF binary, Wavefront OBJ or PLY."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch

from commands.devices import choose_device, repeatable_convolutions
from commands.warning_filters import warnings_as_lines
from evaluation.edit_subjects import load_subjects
from models.meshes import (
    METRES_PER_MODEL_UNIT,
    FaceMeshes,
    ShapeOffset,
    TexturedMesh,
    expression_offsets,
    identity_offsets,
    write_glb,
    write_obj,
    write_ply,
)
from models.meshes.wavefront import obj_files
from models.morphable import MorphableModel
from models.stylefaceuv.opening import open_detailed_faces
from renderers.errors import InputError
from renderers.rotation import euler_to_matrix

Format = Literal["glb", "obj", "ply"]

# Every blendshape of the face model, without the composites that are combinations of them.
_ALL = "all"


def export(
    codes: Path,
    output: Path,
    format: Format = "glb",
    uv_generator: Path = Path("assets/demo_uv_generator.safetensors"),
    names: tuple[str, ...] = (),
    posed: bool = False,
    neutral_expression: bool = False,
    expressions: tuple[str, ...] = (),
    identity_components: int = 0,
    generator: Path | None = None,
    coefficients: Path | None = None,
    face_model: str | None = None,
    batch_size: int = 16,
    device: str = "auto",
    overwrite: bool = False,
) -> None:
    """Write a textured mesh of each code: `lightning export --codes out/codes.safetensors --format glb --output meshes`.

    The shape is that of the face model's coefficients with the generated displacement, the texture the generated diffuse map,
    without light. Meshes are in metres, y up, the face towards +z. Files are called as the codes: NAME.glb; NAME.obj, NAME.mtl and
    NAME.diffuse.png; or NAME.ply, which has a colour at each vertex in place of the texture.

    Args:
        codes: file of codes, as `lightning generate` writes it; an embedding, or a folder of embeddings.
        output: folder to write to.
        format: glb (glTF binary, all in one file), obj or ply.
        uv_generator: weights of a trained UV generator; it names the networks below.
        names: of the codes to export; by default all.
        posed: turned and placed as in the picture of the code, the camera at z = its distance; by default frontal.
        neutral_expression: without the expression of the code.
        expressions: morph targets of GLB files, such as smile jaw_open: expressions that are added at weight 1 to what the mesh shows;
            all for every blendshape of the face model.
        identity_components: so many morph targets id0, id1, ... of identity, by a standard deviation at weight 1.
        generator: StyleGAN2 file, where it is not where the UV generator says.
        coefficients: weights of the coefficients' network (F3D), likewise.
        face_model: face model, likewise; another density of the same one gives other vertex counts.
        batch_size: codes worked on together.
        device: auto, cpu, cuda, cuda:1, mps.
        overwrite: replace files of the names of this call's.
    """
    if batch_size < 1:
        raise InputError(f"expected a batch of one code at least, got {batch_size}; raise --batch-size")
    if (expressions or identity_components) and format != "glb":
        raise InputError(
            f"expected --format glb for morph targets, got {format}, which has none; leave out --expressions and --identity-components"
        )
    if output.exists() and not output.is_dir():
        raise InputError(f"expected a folder to write to, {output} is a file; name another")
    subjects = load_subjects(codes)
    asked = (subjects.select(names) if names else subjects).codes
    files = [path for name in asked.names for path in _files(output, name, format)]
    present = [path for path in files if path.exists()]
    if present and not overwrite:
        raise InputError(
            f"expected a folder without {present[0].name}, {output} holds one; name another, or give --overwrite"
        )
    with warnings_as_lines():
        faces = open_detailed_faces(uv_generator, generator, coefficients, face_model).to(choose_device(device))
    asked.require(faces.generator)
    meshes = FaceMeshes(faces.surface, _offsets(faces.surface, expressions, identity_components))
    output.mkdir(parents=True, exist_ok=True)
    vertices = 0
    with repeatable_convolutions(), torch.no_grad():
        for start in range(0, len(asked), batch_size):
            rows = asked.w_plus[start : start + batch_size].to(faces.surface.mean_shape.device)
            parameters, maps = faces.parameters(rows), faces.maps(rows)
            if neutral_expression:
                parameters = parameters.replace(expression=torch.zeros_like(parameters.expression))
            shapes = faces.shape(parameters, maps)
            turns = euler_to_matrix(parameters.rotation)
            for row, name in enumerate(asked.names[start : start + batch_size]):
                place = (turns[row], parameters.translation[row]) if posed else (None, None)
                mesh = meshes.mesh(name, shapes[row], maps.diffuse[row], *place)
                _write(mesh, output, format)
                vertices = len(mesh.vertices)
    targets = f", {len(meshes.offsets)} morph targets" if meshes.offsets else ""
    print(
        f"{len(asked)} {format} mesh{'es' * (len(asked) != 1)} of {vertices} vertices{targets}, in metres (a unit of the face model is "
        f"{METRES_PER_MODEL_UNIT:g} m): {output}"
    )


def _files(folder: Path, name: str, format: Format) -> Sequence[Path]:
    path = folder / f"{name}.{format}"
    return obj_files(path) if format == "obj" else (path,)


def _write(mesh: TexturedMesh, folder: Path, format: Format) -> None:
    path = _files(folder, mesh.name, format)[0]
    if format == "glb":
        write_glb(mesh, path)
    elif format == "obj":
        write_obj(mesh, path)
    else:
        write_ply(mesh, path)


def _offsets(surface: MorphableModel, expressions: Sequence[str], identity_components: int) -> list[ShapeOffset]:
    # Face models with fewer expressions than there are coefficients have some that move nothing.
    moving = surface.expression_basis.flatten(0, 1).any(dim=0).tolist()
    blendshapes = (
        [name for name, moves in zip(surface.expression_names, moving, strict=True) if moves]
        if _ALL in expressions
        else []
    )
    named = [*blendshapes, *(name for name in expressions if name != _ALL)]
    return [*expression_offsets(surface, named), *identity_offsets(surface, identity_components)]
