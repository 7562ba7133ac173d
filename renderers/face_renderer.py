"""The face renderer: face model, parameters and camera joined into a picture with mask, depth and landmarks."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from renderers.camera import PerspectiveCamera
from renderers.displacement import coincident_vertices, sample_displacement
from renderers.errors import InputError
from renderers.images import check_image_size
from renderers.points import closing_radius, splat_points
from renderers.protocols import FaceModel, FaceParameters
from renderers.rasterizer import Fragments, interpolate, rasterize
from renderers.rotation import euler_to_matrix
from renderers.shading import irradiance, shade_spherical_harmonics, vertex_normals
from renderers.texture import sample_texture

# Half a pixel's diagonal, slightly more: a smaller disc could fall between pixel centres.
_SMALLEST_RADIUS = 0.75


@dataclass(frozen=True)
class FaceRender:
    """What a face renderer returns.

    Attributes:
        image: (B, 3, H, W) RGB in [0, 1], black where empty.
        mask: (B, 1, H, W), 1 where the face covers the pixel's centre, else 0; carries no gradient.
        depth: (B, 1, H, W) distance from the camera's plane in model units, infinite where empty.
        landmarks: (B, L, 2) projected landmarks in pixels of the image, x right, y down; those of the coefficients alone,
            without displacement.
        vertices: (B, V, 3) posed vertices in the world frame (the camera's axes, origin `camera.distance` in front of
            it), displaced.
        fragments: which face each pixel sees; None where points are drawn.
    """

    image: Float[Tensor, "batch 3 height width"]
    mask: Float[Tensor, "batch 1 height width"]
    depth: Float[Tensor, "batch 1 height width"]
    landmarks: Float[Tensor, "batch landmarks 2"]
    vertices: Float[Tensor, "batch vertices 3"]
    fragments: Fragments | None = None


class FaceRenderer(nn.Module):
    """Differentiable picture of a morphable face.

    Vertices are posed as p R^T + translation (rotation about the object's origin first), coloured by albedo times
    spherical-harmonic light at the rotated vertex normals, projected, and drawn as triangles or as points. Colours are
    interpolated unclamped and clamped to [0, 1] afterwards, as by the public BFM tools, whose picture it reproduces
    with `PerspectiveCamera(1015 / 224, 10.0)`.

    Vertices that always coincide, as those of a texture seam do, share their normal and their displacement.

    Args:
        face_model: the mesh to draw.
        camera: in the face model's unit.
        image_size: pixels, (height, width) or one number for a square.
        primitive: "triangles" rasterizes the faces; "points" splats the vertices (StyleRig's renderer) with discs that
            just close the surface of the mean face (`renderers.points.closing_radius`).
        landmark_model: the model whose landmarks are projected; `face_model` by default. Give the whole model here when
            `face_model` is a region of it that lacks some of the landmark vertices.

    Raises:
        InputError: an image size that is not positive, a landmark model without all its landmarks.
    """

    point_radius: Float[Tensor, "vertices"]
    coincident: Int64[Tensor, "vertices"] | None

    def __init__(
        self,
        face_model: FaceModel,
        camera: PerspectiveCamera,
        image_size: int | tuple[int, int],
        primitive: Literal["triangles", "points"] = "triangles",
        landmark_model: FaceModel | None = None,
    ) -> None:
        super().__init__()
        size = (image_size, image_size) if isinstance(image_size, int) else image_size
        check_image_size(size)
        height, width = size
        if primitive not in ("triangles", "points"):
            raise InputError(f"expected primitive 'triangles' or 'points', got '{primitive}': choose one of the two")
        self.face_model = face_model
        self.landmark_model = face_model if landmark_model is None else landmark_model
        if bool((self.landmark_model.landmark_indices < 0).any()):
            missing = int((self.landmark_model.landmark_indices < 0).sum())
            raise InputError(
                f"expected a face model with all its landmarks, got one that lacks {missing}: "
                "pass the whole model as landmark_model"
            )
        self.camera = camera
        self.image_size = (height, width)
        self.primitive = primitive
        self.register_buffer("point_radius", closing_radius(face_model.mean_shape, face_model.faces), persistent=False)
        coincident = coincident_vertices(face_model.mean_shape, face_model.identity_basis, face_model.expression_basis)
        seams = coincident != torch.arange(len(coincident), device=coincident.device)
        self.register_buffer("coincident", coincident if bool(seams.any()) else None, persistent=False)

    def forward(
        self,
        parameters: FaceParameters,
        texture: Float[Tensor, "batch 3 rows columns"] | None = None,
        texture_sampling: Literal["pixel", "vertex"] = "pixel",
        displacement: Float[Tensor, "batch 3 map_rows map_columns"] | None = None,
    ) -> FaceRender:
        """Render a batch of faces.

        Args:
            parameters: one face per batch entry.
            texture: diffuse map in [0, 1] in place of the model's albedo, looked up at the model's `uv`; its first row
                is v = 1.
            texture_sampling: "pixel" looks the texture and the light up at every pixel, which keeps detail finer than
                the mesh (triangles only); "vertex" at every vertex.
            displacement: offset map, added to the vertices in the object frame and in the model's unit before they are
                posed; looked up as the texture is, once per vertex. Normals are those of the displaced surface.

        Returns:
            FaceRender.

        Raises:
            InputError: a texture or displacement for a model without `uv`, per-pixel sampling with points.
        """
        shape = self.face_model.vertices(parameters.identity, parameters.expression)
        if displacement is not None:
            shape = shape + sample_displacement(displacement, self._uv(), self.coincident)
        vertices = self.pose(shape, parameters)
        normals = self._normals(vertices)
        if texture is None:
            albedo = self.face_model.albedo(parameters.reflectance)
            attributes = shade_spherical_harmonics(albedo, normals, parameters.illumination)
        elif texture_sampling == "vertex":
            albedo = sample_texture(texture, self._uv())
            attributes = shade_spherical_harmonics(albedo, normals, parameters.illumination)
        elif self.primitive == "points":
            raise InputError("expected triangles for per-pixel texture, got points: pass texture_sampling='vertex'")
        else:
            attributes = torch.cat((self._uv().expand(vertices.shape[0], -1, -1), normals), dim=2)

        pixels, mask, depth, fragments = self._draw(vertices, attributes)
        if texture is not None and texture_sampling == "pixel":
            pixels = self._shade_pixels(pixels, texture, parameters.illumination) * mask.unsqueeze(-1)
        return FaceRender(
            image=pixels.clamp(0, 1).permute(0, 3, 1, 2),
            mask=mask.unsqueeze(1).to(vertices.dtype),
            depth=depth.unsqueeze(1),
            landmarks=self.project_landmarks(parameters),
            vertices=vertices,
            fragments=fragments,
        )

    def project_landmarks(self, parameters: FaceParameters) -> Float[Tensor, "batch landmarks 2"]:
        """Landmarks in pixels (x right, y down), without drawing and evaluating the bases at the landmarks alone."""
        model = self.landmark_model
        index = model.landmark_indices
        offsets = torch.einsum("lcn,bn->blc", model.identity_basis[index], parameters.identity)
        offsets = offsets + torch.einsum("lcn,bn->blc", model.expression_basis[index], parameters.expression)
        return self.camera.to_pixels(self.pose(model.mean_shape[index] + offsets, parameters), self.image_size)

    @staticmethod
    def pose(points: Float[Tensor, "batch points 3"], parameters: FaceParameters) -> Float[Tensor, "batch points 3"]:
        """Object frame to world frame: p R^T + translation."""
        return points @ euler_to_matrix(parameters.rotation).transpose(1, 2) + parameters.translation.unsqueeze(1)

    def _normals(self, vertices: Tensor) -> Tensor:
        """Unit normals (B, V, 3), of the surface closed at its texture seams."""
        faces = self.face_model.faces
        if self.coincident is None:
            return vertex_normals(vertices, faces)
        return vertex_normals(vertices, self.coincident[faces]).index_select(1, self.coincident)

    def _draw(self, vertices: Tensor, attributes: Tensor) -> tuple[Tensor, Tensor, Tensor, Fragments | None]:
        """Attributes (B, H, W, C), mask (B, H, W) and depth (B, H, W) of the visible surface, and its fragments."""
        height, width = self.image_size
        clip = self.camera.to_clip(vertices, aspect_ratio=width / height)
        if self.primitive == "points":
            # Perspective: a near disc is larger. Vertices at or behind the camera's plane are left out by `splat_points`.
            depth = clip[..., 2]
            pixels_per_unit = self.camera.focal_length * height / torch.where(depth > 0, depth, self.camera.distance)
            radius = (self.point_radius * pixels_per_unit).clamp(min=_SMALLEST_RADIUS, max=math.hypot(height, width))
            splats = splat_points(clip, attributes, self.image_size, radius)
            return splats.features, splats.mask, splats.depth, None
        fragments = rasterize(clip, self.face_model.faces, self.image_size)
        pixels = interpolate(fragments, self.face_model.faces, attributes)
        return pixels, fragments.face_index >= 0, fragments.depth, fragments

    @staticmethod
    def _shade_pixels(pixels: Tensor, texture: Tensor, illumination: Tensor) -> Tensor:
        """Colours from per-pixel (u, v, normal), (B, H, W, 5)."""
        uv, normals = pixels.flatten(1, 2).split((2, 3), dim=2)
        normals = torch.nn.functional.normalize(normals, dim=-1)
        colours = sample_texture(texture, uv) * irradiance(normals, illumination)
        return colours.unflatten(1, pixels.shape[1:3])

    def _uv(self) -> Tensor:
        uv = getattr(self.face_model, "uv", None)
        if uv is None:
            raise InputError(
                "expected a face model with uv coordinates, got one without: leave texture and displacement out"
            )
        return uv
