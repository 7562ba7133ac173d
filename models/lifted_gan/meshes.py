"""Lifted faces as textured meshes for other programs: a vertex per pixel, the albedo as the texture."""

import math
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from models.lifted_gan.frames import pose_of_view
from models.lifted_gan.model import LiftedGAN, LiftedOutput
from models.meshes import TexturedMesh
from renderers.depth_mesh import depth_points, move_points
from renderers.errors import InputError
from renderers.images import to_unit
from renderers.shading import vertex_normals

MeshPart = Literal["foreground", "whole"]

# What a picture spans at the pivot's distance. The paper's lengths have no unit; the demo's portraits span so much.
PICTURE_METRES = 0.25


def lifted_mesh(
    model: LiftedGAN,
    output: LiftedOutput,
    row: int,
    name: str,
    part: MeshPart = "foreground",
    view: Float[Tensor, "1 6"] | None = None,
) -> TexturedMesh:
    """One lifted face in metres, x right, y up, looking along +z, the pivot of rotations as its origin.

    Args:
        model: Whose face it is.
        output: Of `model`, one face or several.
        row: Which of them.
        name: What viewers call it.
        part: "foreground" leaves out what the model takes for background: pixels whose depth comes within the settings'
            `foreground_margin` of `border_depth`. "whole" keeps every pixel.
        view: In normalised units, for a face that is turned and placed as `LiftedGAN.render` draws it; canonical where not given.

    Raises:
        InputError: for a face without any foreground.
    """
    settings = model.settings
    chosen = output.select(torch.tensor([row], device=output.depth.device))
    points = depth_points(chosen.depth, model.camera)
    if view is not None:
        pose = pose_of_view(view, settings)
        points = move_points(points, pose.rotation, pose.translation, chosen.transformation)
    faces = model.faces
    if part == "foreground":
        near = chosen.depth[0].flatten() <= settings.border_depth - settings.foreground_margin
        faces = faces[near[faces].all(dim=1)]
        if not len(faces):
            raise InputError(
                f"expected a face nearer than its background, the depth of {name} shows none; train longer, or ask for the whole mesh"
            )
    vertices = points.flatten(1, 2)
    metres = PICTURE_METRES / (2 * settings.pivot_depth * math.tan(settings.field_of_view / 2))
    normals = vertex_normals(vertices, faces)
    height, width = chosen.depth.shape[1:]
    return TexturedMesh(
        name,
        _array(vertices[0] * metres),
        faces.cpu().numpy(),
        _centres(height, width),
        _array(_facing(normals[0])),
        (to_unit(chosen.albedo[0]).clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy(),
        np.arange(height * width),
        metres_per_unit=metres,
    ).without_loose_vertices()


def _centres(height: int, width: int) -> Float[np.ndarray, "pixels 2"]:
    """Texture coordinates of the centres of pixels, row by row from the top; v runs up."""
    u, v = (np.arange(width) + 0.5) / width, 1 - (np.arange(height) + 0.5) / height
    return np.stack(np.meshgrid(u, v), axis=2).reshape(-1, 2).astype(np.float32)


def _facing(normals: Float[Tensor, "vertices 3"]) -> Float[Tensor, "vertices 3"]:
    """The same, towards the viewer where no face with an area says otherwise."""
    without = normals.norm(dim=1, keepdim=True) < 0.5
    return torch.where(without, normals.new_tensor([0.0, 0.0, 1.0]), normals)


def _array(values: Tensor) -> np.ndarray:
    return np.ascontiguousarray(values.detach().float().cpu().numpy())
