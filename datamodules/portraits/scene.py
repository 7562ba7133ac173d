"""All parts of a portrait as two meshes in the camera's frame: what is solid, and the hair over it."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from datamodules.portraits.anatomy import HeadAnatomy, HeadPose
from datamodules.portraits.clothes import NECK_BASE, Clothes, ClothesControls
from datamodules.portraits.eyes import Eyes
from datamodules.portraits.glasses import Glasses, GlassesControls
from datamodules.portraits.hair import Hair, HairControls
from datamodules.portraits.occlusion import SelfShadow
from datamodules.portraits.skin_maps import SkinMaps
from datamodules.portraits.teeth import Teeth
from renderers.rotation import euler_to_matrix
from renderers.shading import vertex_normals

HEAD, EYES, TEETH, GLASSES, CLOTHES = range(5)


@dataclass(frozen=True)
class Layer:
    """A mesh of a batch, faces shared: positions in the camera's frame (dm) and attributes to interpolate.

    Attributes of the solid layer: normal (3), local coordinates (3), albedo (3), share of light left by self-shadowing.
    Attributes of the hair layer: normal (3), tangent along the strands (3), local coordinates (4).
    """

    vertices: Float[Tensor, "batch vertices 3"]
    attributes: Float[Tensor, "batch vertices channels"]


@dataclass(frozen=True)
class BodyPose:
    """Rotation (Euler radians, object to camera) and translation (dm) of the head, yaw of the body."""

    rotation: Float[Tensor, "batch 3"]
    translation: Float[Tensor, "batch 3"]
    body_yaw: Float[Tensor, "batch"]


class PortraitScene(nn.Module):
    """Joins the parts. `faces`, `part` and `face_region` (per face of the solid mesh) and `hair.faces` never change."""

    faces: Tensor
    part: Tensor
    face_region: Tensor

    def __init__(self, anatomy: HeadAnatomy) -> None:
        super().__init__()
        self.anatomy = anatomy
        self.skin_maps = SkinMaps(anatomy)
        self.eyes, self.teeth, self.glasses, self.clothes = Eyes(), Teeth(), Glasses(), Clothes()
        self.hair = Hair(anatomy)
        model = anatomy.model
        count = model.mean_shape.shape[0]
        torso = self.clothes.torso + anatomy.origin + torch.tensor(NECK_BASE)
        shadow_vertices = torch.cat([model.mean_shape, torso])
        torso_faces = self.clothes.faces[(self.clothes.faces < len(torso)).all(1)]
        self.self_shadow = SelfShadow(shadow_vertices, torch.cat([model.faces, torso_faces + count]))
        self._torso_count = len(torso)
        faces, part, start = [], [], 0
        for number, (mesh, vertices) in enumerate(
            (
                (model.faces, count),
                (self.eyes.faces, len(self.eyes.directions)),
                (self.teeth.faces, len(self.teeth.local)),
                (self.glasses.faces, int(self.glasses.faces.max()) + 1),
                (self.clothes.faces, len(self.clothes.is_band)),
            )
        ):
            faces.append(mesh + start)
            part.append(torch.full((len(mesh),), number))
            start += vertices
        in_face = model.regions["face"][model.faces].all(1)
        self.register_buffer("faces", torch.cat(faces), persistent=False)
        self.register_buffer("part", torch.cat(part), persistent=False)
        others = len(self.faces) - len(in_face)
        self.register_buffer(
            "face_region", torch.cat([in_face, torch.zeros(others, dtype=torch.bool)]), persistent=False
        )

    def solid(
        self,
        head: HeadPose,
        albedo: Float[Tensor, "batch head 3"],
        pose: BodyPose,
        glasses: GlassesControls,
        clothes: ClothesControls,
        light: Float[Tensor, "batch 9"],
    ) -> Layer:
        """Head, eyes, teeth, spectacles and clothes.

        Args:
            light: luminance harmonics with the tools' constant, camera frame.
        """
        batch = len(head.vertices)
        matrix = euler_to_matrix(pose.rotation)
        rigid = torch.cat(
            [head.vertices, self.eyes.vertices(head), self.teeth.vertices(head), self.glasses.vertices(head, glasses)],
            dim=1,
        )
        rigid = rigid @ matrix.transpose(1, 2) + pose.translation[:, None]
        zero = torch.zeros_like(pose.body_yaw)
        turn = euler_to_matrix(torch.stack([zero, pose.body_yaw, zero], dim=1))
        base = self.anatomy.origin + albedo.new_tensor(NECK_BASE)
        base = matrix @ base + pose.translation
        body_local = self.clothes.vertices(clothes)
        body = body_local @ turn.transpose(1, 2) + base[:, None]
        vertices = torch.cat([rigid, body], dim=1)
        normals = vertex_normals(vertices, self.faces)

        ratio = self.self_shadow(light, matrix)
        head_count, torso_count = head.vertices.shape[1], self._torso_count
        one = torch.ones(batch, vertices.shape[1] - head_count - body.shape[1], device=albedo.device)
        rest = torch.ones(batch, body.shape[1] - torso_count, device=albedo.device)
        shadow = torch.cat([ratio[:, :head_count], one, ratio[:, head_count:], rest], dim=1)
        local = torch.cat(
            [
                self.skin_maps.coordinates.expand(batch, -1, -1),
                self.eyes.directions.expand(batch, -1, -1),
                self.teeth.local.expand(batch, -1, -1),
                torch.zeros(batch, self.glasses_count, 3, device=albedo.device),
                body_local,
            ],
            dim=1,
        )
        # Cloth has no albedo of its own per vertex: the channel tells the collar from the torso.
        others = torch.zeros(batch, vertices.shape[1] - head_count, 3, device=albedo.device)
        others[:, -body.shape[1] :, 0] = self.clothes.is_band.float()
        colours = torch.cat([albedo, others], dim=1)
        return Layer(vertices, torch.cat([normals, local, colours, shadow[..., None]], dim=2))

    @property
    def glasses_count(self) -> int:
        return int(self.glasses.faces.max()) + 1

    def hair_layer(self, head: HeadPose, controls: HairControls, pose: BodyPose) -> Layer:
        """The hair shell."""
        shell = self.hair(self.anatomy, head, controls)
        matrix = euler_to_matrix(pose.rotation)
        vertices = shell.vertices @ matrix.transpose(1, 2) + pose.translation[:, None]
        normals = vertex_normals(vertices, self.hair.faces)
        tangents = self._strand_tangents(vertices, shell.local)
        return Layer(vertices, torch.cat([normals, tangents, shell.local], dim=2))

    def _strand_tangents(
        self, vertices: Float[Tensor, "batch vertices 3"], local: Float[Tensor, "batch vertices 4"]
    ) -> Float[Tensor, "batch vertices 3"]:
        """Unit directions in which `across` stays constant, from each vertex' faces."""
        faces = self.hair.faces
        corners = [vertices.index_select(1, faces[:, k]) for k in range(3)]
        across = [local[..., 0].index_select(1, faces[:, k]) for k in range(3)]
        e1, e2 = corners[1] - corners[0], corners[2] - corners[0]
        a1, a2 = (across[1] - across[0])[..., None], (across[2] - across[0])[..., None]
        direction = e2 * a1 - e1 * a2
        # Azimuth jumps at the back of the head; those faces show no strands from the front.
        direction = direction * ((a1.abs() < 0.6) & (a2.abs() < 0.6))
        direction = direction * torch.where(direction[..., 1:2] > 0, -1.0, 1.0)
        summed = torch.zeros_like(vertices)
        for k in range(3):
            summed = summed.index_add(1, faces[:, k], direction)
        return nn.functional.normalize(summed, dim=-1, eps=1e-12)
