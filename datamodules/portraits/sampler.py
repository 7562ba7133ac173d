"""Synthetic portraits: a deterministic map from Gaussian latents to pictures with every true parameter."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from datamodules.portraits import controls as draw
from datamodules.portraits.actions import ACTIONS, action_matrix
from datamodules.portraits.anatomy import HeadAnatomy
from datamodules.portraits.background import background
from datamodules.portraits.clothes import ClothesControls, clothes_controls
from datamodules.portraits.distributions import excess, gate, smoothstep, uniform
from datamodules.portraits.eyes import gaze_axis
from datamodules.portraits.glasses import glasses_controls
from datamodules.portraits.hair import HairControls, hair_controls
from datamodules.portraits.latent import LatentLayout, PortraitLatent, draw_latents
from datamodules.portraits.noise import band_limited, noise_texture
from datamodules.portraits.scene import BodyPose, Layer, PortraitScene
from datamodules.portraits.shading import TILE, Appearance, shade_hair, shade_solid
from models.morphable.model import MorphableModel
from models.morphable.parameters import FaceParameters
from models.morphable.procedural import Density, procedural_model
from renderers.camera import PerspectiveCamera
from renderers.errors import InputError
from renderers.images import to_signed
from renderers.rasterizer import Fragments, rasterize
from renderers.rotation import euler_to_matrix

# Colour of the mean face in pictures under unit light: about the middle of photographed skin, display-referred.
_MEAN_SKIN = (0.70, 0.50, 0.42)
# The tools' constant on the first harmonic of each channel (see renderers.shading).
_AMBIENT = 0.8


@dataclass(frozen=True)
class Portraits:
    """A batch of pictures with their truth.

    Attributes:
        image: [-1, 1].
        parameters: identity, expression, reflectance, rotation, illumination, translation.
        landmarks: 68 points in pixels (x right, y down), of the face also where hidden.
        mask: where the face region itself is seen (not hair, spectacles or background before it).
        depth: distance from the camera's plane (dm), infinite on the background.
    """

    image: Float[Tensor, "batch 3 height width"]
    parameters: FaceParameters
    landmarks: Float[Tensor, "batch 68 2"]
    mask: Bool[Tensor, "batch 1 height width"]
    depth: Float[Tensor, "batch 1 height width"]


@dataclass(frozen=True)
class _Scene:
    parameters: FaceParameters
    solid: Layer
    hair: Layer
    landmarks: Tensor
    light: draw.LightControls
    look: Appearance


class PortraitSampler(nn.Module):
    """Gaussian latents to portraits; a latent fully determines its picture.

    Args:
        density: of the procedural head's mesh; ignored when `model` is given.
        model: another face model with the same regions and blendshapes.
        camera: shared by all portraits.
    """

    _actions: Tensor
    _response: Tensor
    _noise: Tensor

    def __init__(
        self,
        density: Density = "medium",
        model: MorphableModel | None = None,
        camera: PerspectiveCamera = PerspectiveCamera(focal_length=4.0, distance=10.0),
    ) -> None:
        super().__init__()
        self.face_model = procedural_model(density) if model is None else model
        self.camera = camera
        sizes = self.face_model.sizes
        self.layout = LatentLayout(identity=sizes.identity, reflectance=sizes.reflectance)
        self.anatomy = HeadAnatomy(self.face_model)
        self.scene = PortraitScene(self.anatomy)
        face = self.face_model.mean_albedo[self.face_model.regions["face"]].mean(0)
        response = torch.tensor(_MEAN_SKIN).log() / face.clamp(0.05, 0.95).log()
        self.register_buffer("_response", response, persistent=False)
        self.register_buffer("_actions", action_matrix(self.face_model.expression_names), persistent=False)
        self.register_buffer("_noise", noise_texture(), persistent=False)

    @property
    def latent_size(self) -> int:
        """Width D of a portrait latent."""
        return self.layout.total

    def latents(
        self, person: Int64[Tensor, "batch"], shot: Int64[Tensor, "batch"], seed: int
    ) -> Float[Tensor, "batch latent"]:
        """Latents of shots of people; each row depends on (seed, person, shot) alone. See `draw_latents`."""
        device = self._noise.device
        return draw_latents(self.layout, person.to(device), shot.to(device), seed)

    def face_parameters(self, latents: Float[Tensor, "batch latent"]) -> FaceParameters:
        """True face parameters of the portraits, without drawing them."""
        return self._place(self.layout.split(latents))[0]

    def _place(self, latent: PortraitLatent) -> tuple[FaceParameters, draw.LightControls]:
        strengths = draw.expression_strengths(latent.expression)
        expression = torch.stack([strengths[name] for name in ACTIONS], dim=1) @ self._actions
        rotation = draw.rotation(latent.rotation)
        light = draw.light(latent.light)
        index = self.face_model.landmark_indices
        marks = self.face_model.mean_shape[index] + torch.einsum(
            "lci,bi->blc", self.face_model.identity_basis[index], latent.identity
        )
        # The point that the usual alignment centres: a tenth of the way from the eyes to the mouth (FFHQ, Karras 2019).
        anchor = 0.9 * marks[:, 36:48].mean(1) + 0.1 * marks[:, [48, 54]].mean(1)
        turned = torch.einsum("bij,bj->bi", euler_to_matrix(rotation), anchor)
        parameters = FaceParameters(
            identity=latent.identity,
            expression=expression,
            reflectance=latent.reflectance,
            rotation=rotation,
            illumination=light.illumination,
            translation=draw.anchor_position(latent.placement) - turned,
        )
        return parameters, light

    def _compose(self, latents: Tensor) -> _Scene:
        latent = self.layout.split(latents)
        parameters, light = self._place(latent)
        head = self.anatomy.pose(parameters.identity, parameters.expression)
        albedo = self.face_model.albedo(parameters.reflectance).clamp(0.02, 0.98) ** self._response
        skin = albedo[:, self.face_model.regions["face"]].mean(1)
        luminance = skin @ skin.new_tensor([0.299, 0.587, 0.114])
        hair = hair_controls(latent.hair)
        clothes = clothes_controls(latent.clothes)
        rotation = parameters.rotation
        pose = BodyPose(rotation, parameters.translation, 0.45 * rotation[:, 1] + clothes.lean)
        glasses = glasses_controls(latent.glasses)
        harmonics = self._harmonics(parameters)
        solid = self.scene.solid(head, albedo, pose, glasses, clothes, harmonics.mean(1))
        layer = self.scene.hair_layer(head, hair, pose)
        landmarks = self.face_model.landmarks(head.vertices) @ euler_to_matrix(rotation).transpose(1, 2)
        look = self._appearance(latent, parameters, hair, skin, luminance, glasses.colour, clothes)
        return _Scene(parameters, solid, layer, landmarks + parameters.translation[:, None], light, look)

    def _harmonics(self, parameters: FaceParameters) -> Float[Tensor, "batch 3 9"]:
        harmonics = parameters.illumination.unflatten(1, (3, 9))
        return harmonics + functional.one_hot(torch.tensor(0, device=harmonics.device), 9) * _AMBIENT

    def _appearance(
        self,
        latent: PortraitLatent,
        parameters: FaceParameters,
        hair: HairControls,
        skin: Tensor,
        luminance: Tensor,
        glasses: Tensor,
        clothes: ClothesControls,
    ) -> Appearance:
        pigment, brow = draw.hair_pigment(latent.hair, luminance)
        beardless = hair.beardless
        style = uniform(latent.face_hair[:, 0])
        length = 0.55 + 0.4 * uniform(latent.face_hair[:, 1])
        grown = 1 - beardless
        complexion = latent.complexion
        return Appearance(
            hair=pigment,
            brow=brow,
            iris=draw.iris_pigment(latent.iris, luminance),
            gaze=gaze_axis(latent.gaze, parameters.rotation[:, 1]),
            skin=skin,
            beard=grown * (0.10 + 0.18 * smoothstep(0.35, 0.6, style) + smoothstep(0.76, 0.80, style) * length),
            goatee=grown * smoothstep(0.60, 0.62, style) * length,
            moustache=grown * smoothstep(0.53, 0.55, style) * length,
            brow_strength=(0.74 - 0.12 * beardless + 0.13 * latent.face_hair[:, 2]).clamp(0.3, 1.1),
            stubble=hair.stubble,
            recede=hair.recede,
            makeup=beardless * excess(complexion[:, 0], 0.55, 0.9),
            freckles=gate(complexion[:, 1], 0.15, 0.8) * smoothstep(0.45, 0.6, luminance),
            blush=0.15 + 0.15 * torch.tanh(complexion[:, 2]) + 0.12 * beardless,
            gloss=torch.exp(0.4 * complexion[:, 3]),
            hair_opacity=hair.opacity,
            curly=hair.curly,
            glasses=glasses,
            clothes=clothes,
        )

    @torch.no_grad()
    def render(self, latents: Float[Tensor, "batch latent"], image_size: int, supersample: int = 2) -> Portraits:
        """Draw portraits.

        Args:
            latents: (B, D).
            image_size: height and width in pixels.
            supersample: rays per pixel and axis.

        Raises:
            InputError: latents of another width, or sizes below 1.
        """
        if image_size < 1 or supersample < 1:
            raise InputError(f"image size and supersampling must be at least 1, got {image_size} and {supersample}")
        scene = self._compose(latents)
        size = (image_size * supersample,) * 2
        # The face plane spans distance / focal length; texture finer than a pixel would only flicker.
        pitch = self.camera.distance / self.camera.focal_length / size[0]
        noise = band_limited(self._noise, TILE, pitch)
        harmonics = self._harmonics(scene.parameters)
        latent = self.layout.split(latents)

        mesh = self.scene
        solid = rasterize(self.camera.to_clip(scene.solid.vertices), mesh.faces, size)
        over = rasterize(self.camera.to_clip(scene.hair.vertices), mesh.hair.faces, size)
        tint = scene.light.key_colour
        picture = background(latent.background, tint, size)
        shape = picture.shape
        picture = picture.flatten(0, 2)

        hair_pixel, hair_sample, hair_values = _visible(over, mesh.hair.faces, scene.hair.attributes)
        outline = _outline((solid.face_index >= 0) | (over.face_index >= 0)).flatten()[hair_pixel]
        colour, opacity, backing = shade_hair(
            hair_values, hair_sample, scene.light, harmonics, noise, scene.look, outline
        )
        near = over.depth.flatten()[hair_pixel] <= solid.depth.flatten()[hair_pixel] + 0.01
        opacity = opacity * near
        cover = picture.new_zeros(len(picture)).index_put((hair_pixel,), opacity)

        pixel, sample, values = _visible(solid, mesh.faces, scene.solid.attributes)
        face = solid.face_index.flatten()[pixel]
        shaded = shade_solid(mesh.part[face], values, sample, scene.light, harmonics, mesh.skin_maps, noise, scene.look)
        shadow = _hair_shadow(cover.view(shape[:3]), solid.depth, scene.light.key_direction, self.camera.distance)
        picture[pixel] = shaded * (1 - 0.55 * shadow.flatten()[pixel])[:, None]
        below = picture[hair_pixel]
        open_behind = backing * ~solid.depth.flatten()[hair_pixel].isfinite()
        below = below + (0.4 * colour - below) * open_behind[:, None]
        picture[hair_pixel] = below + (colour - below) * opacity[:, None]

        seen = picture.new_zeros(len(picture)).index_put((pixel,), mesh.face_region[face].to(picture.dtype))
        seen = (seen * (cover < 0.5)).view(shape[:3])[:, None]
        depth = torch.where(cover > 0.5, over.depth.flatten(), solid.depth.flatten()).view(shape[:3])[:, None]
        image = _develop(picture.view(shape).permute(0, 3, 1, 2), latent.photo)
        return Portraits(
            image=to_signed(functional.avg_pool2d(image, supersample)).clamp(-1, 1),
            parameters=scene.parameters,
            landmarks=self.camera.to_pixels(scene.landmarks, (image_size, image_size)),
            mask=functional.avg_pool2d(seen, supersample) > 0.5,
            depth=-functional.max_pool2d(-depth, supersample),
        )


def _visible(fragments: Fragments, faces: Tensor, attributes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Flat pixel index, sample index and interpolated attributes of covered pixels."""
    pixel = (fragments.face_index.flatten() >= 0).nonzero()[:, 0]
    area = fragments.face_index[0].numel()
    sample = torch.div(pixel, area, rounding_mode="floor")
    corner = faces[fragments.face_index.flatten()[pixel]] + (sample * attributes.shape[1])[:, None]
    flat = attributes.flatten(0, 1)
    weight = fragments.barycentric.flatten(0, 2)[pixel]
    first, second, third = (flat[corner[:, k]] * weight[:, k : k + 1] for k in range(3))
    return pixel, sample, first + second + third


def _outline(covered: Bool[Tensor, "batch height width"]) -> Float[Tensor, "batch height width"]:
    """1 at the border to the background, 0 from about a hundredth of the picture inwards."""
    radius = max(1, round(0.012 * covered.shape[1]))
    near = functional.avg_pool2d(covered.float()[:, None], 2 * radius + 1, 1, radius, count_include_pad=False)
    return smoothstep(1.0, 0.8, near[:, 0])


def _hair_shadow(cover: Tensor, depth: Tensor, direction: Tensor, distance: float) -> Tensor:
    """Soft shadow of the hair on what lies behind it: its outline, shifted away from the light and blurred."""
    batch, height, width = cover.shape
    reach = 0.07
    theta = torch.zeros(batch, 2, 3, device=cover.device)
    theta[:, 0, 0] = theta[:, 1, 1] = 1
    # Looking up towards the light; light from above lengthens shadows downwards.
    theta[:, 0, 2] = reach * direction[:, 0]
    theta[:, 1, 2] = -reach * (direction[:, 1] + 0.35)
    grid = functional.affine_grid(theta, [batch, 1, height, width], align_corners=False)
    moved = functional.grid_sample(cover[:, None], grid, align_corners=False)
    radius = max(1, round(0.022 * height))
    for _ in range(2):
        moved = functional.avg_pool2d(moved, 2 * radius + 1, 1, radius, count_include_pad=False)
    return moved[:, 0]


def _develop(image: Float[Tensor, "batch 3 height width"], latent: Float[Tensor, "batch 3"]) -> Tensor:
    """The camera's response: contrast, saturation, lens falloff and soft highlights."""
    contrast, saturation, falloff = (latent[:, k, None, None, None] for k in range(3))
    grey = image.mean(1, keepdim=True)
    image = grey + (image - grey) * (1.05 + 0.10 * torch.tanh(saturation))
    image = 0.45 + (image - 0.45) * (1.06 + 0.08 * torch.tanh(contrast))
    height, width = image.shape[-2:]
    y = torch.linspace(-1, 1, height, device=image.device)[:, None]
    x = torch.linspace(-1, 1, width, device=image.device)
    image = image * (1 - (0.07 + 0.04 * torch.tanh(falloff)) * (x**2 + y**2) / 2)
    bright = (image - 0.78).clamp(min=0)
    return (image - bright + 0.22 * torch.tanh(bright / 0.22)).clamp(0, 1)
