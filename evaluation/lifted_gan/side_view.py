"""The mesh of a turning face, seen from its side: what the transformation map is for (Fig. 4 (d) of LiftedGAN)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from models.lifted_gan import LiftedGAN, LiftedOutput, pose_of_view
from renderers.depth_mesh import depth_points, move_points, render_depth_mesh
from renderers.images import to_signed, to_unit

# Where the camera stands, about the vertical axis through the pivot; the paper leaves it open.
SIDE_DEG = 60.0


@torch.no_grad()
def side_view(
    model: LiftedGAN,
    output: LiftedOutput,
    view: Float[Tensor, "batch 6"],
    transformation: Float[Tensor, "batch 1 height width"],
    side_deg: float = SIDE_DEG,
) -> tuple[Float[Tensor, "batch 3 height width"], Float[Tensor, " batch"]]:
    """Pictures in [-1, 1] of faces that are turned to views, from a camera at their side that stays where it is.

    Args:
        model: The lifted generator.
        output: Its faces.
        view: That the faces are turned to, in normalised units.
        transformation: How far each pixel moves with the face; of the output, or 1 for all.
        side_deg: Where the camera stands, to the viewer's right.

    Returns:
        The pictures, white where empty, and how far the pixels of the border move on average, as a part of the picture's width at the
        pivot.
    """
    settings = model.settings
    pose = pose_of_view(view, settings)
    points = depth_points(output.depth, model.camera)
    moved = move_points(points, pose.rotation, pose.translation, transformation)
    # The world turns against the camera.
    aside = torch.zeros_like(pose.rotation)
    aside[:, 1] = -math.radians(side_deg)
    seen = move_points(moved, aside, torch.zeros_like(pose.translation))
    colours = to_signed(to_unit(output.albedo) * model.shading(model.normals(output.depth), output.light))
    image = render_depth_mesh(seen, colours, model.camera, background=1.0, faces=model.faces).image
    distance = (moved - points).norm(dim=3)
    edges = [distance[:, 0], distance[:, -1], distance[:, :, 0], distance[:, :, -1]]
    width = 2 * settings.pivot_depth * math.tan(settings.field_of_view / 2)
    return image.clamp(-1, 1), torch.cat(edges, dim=1).mean(dim=1) / width
