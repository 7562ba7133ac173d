"""LiftedGAN (Shi et al., CVPR 2021): a fixed StyleGAN2 becomes a generator of depth, albedo, light and view, drawn as a mesh."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from models.lifted_gan.frames import lighting_of, pose_of_view
from models.lifted_gan.networks import LIGHT_SIZE, VIEW_SIZE, LiftedNetworks
from models.lifted_gan.settings import LiftedSettings
from models.stylegan2 import Generator
from models.stylegan2.digest import generator_digest
from models.weights import build_from, fill, half_matrices, load_weights, save_weights
from renderers.depth_mesh import (
    clip_contour_gradient,
    depth_normals,
    depth_points,
    move_points,
    pixel_faces,
    render_depth_mesh,
)
from renderers.errors import InputError
from renderers.images import to_signed, to_unit

KIND = "lifted-gan"
# Keeps albedo finite where no light falls (authors' release).
_DARKEST = 1e-8


@dataclass(frozen=True)
class LiftedOutput:
    """A face in parts, of a batch of codes. Light and view are in the networks' normalised units: see `models.lifted_gan.frames`.

    Attributes:
        depth: (B, H, W) canonical depth, within the settings' range; row 0 is the top.
        albedo: (B, 3, H, W) RGB on the scale of pictures, [-1, 1], not clamped.
        light: (B, 4) ambient, diffuse, light x and y.
        view: (B, 6) rotation about x, y and z, then translation.
        transformation: (B, 1, H, W) how far each pixel moves with the face, in [0, 1].
        texture: (B, 3, H, W) the generator's picture of the neutral code, on the scale of pictures.
        code: (B, w_dim) the neutral code w0.
    """

    depth: Float[Tensor, "batch height width"]
    albedo: Float[Tensor, "batch 3 height width"]
    light: Float[Tensor, "batch 4"]
    view: Float[Tensor, "batch 6"]
    transformation: Float[Tensor, "batch 1 height width"]
    texture: Float[Tensor, "batch 3 height width"]
    code: Float[Tensor, "batch w_dim"]

    def select(self, index: Int64[Tensor, "chosen"]) -> "LiftedOutput":
        """Some of the faces, in any order and as often as named: one face for many views, say."""
        return LiftedOutput(**{field.name: getattr(self, field.name).index_select(0, index) for field in fields(self)})

    def flipped(self) -> "LiftedOutput":
        """With mirrored depth and albedo, for the symmetric reconstruction (section 3.2.1); the transformation map stays (release)."""
        mirrored = {"depth": self.depth.flip(2), "albedo": self.albedo.flip(3)}
        return LiftedOutput(**{**{field.name: getattr(self, field.name) for field in fields(self)}, **mirrored})


@dataclass(frozen=True)
class LiftedRender:
    """A picture of a lifted face.

    Attributes:
        image: (B, 3, H, W) RGB on the scale of pictures, [-1, 1], not clamped; white where empty.
        depth: (B, H, W) distance from the camera's plane; `LiftedSettings.background_depth` where empty.
        mask: (B, 1, H, W), 1 where the mesh covers the pixel's centre, else 0.
    """

    image: Float[Tensor, "batch 3 height width"]
    depth: Float[Tensor, "batch height width"]
    mask: Float[Tensor, "batch 1 height width"]


class LiftedGAN(nn.Module):
    """G3D: codes of W to depth, albedo, light, view and transformation map, and their pictures under any view and light.

    Args:
        generator: G2D, which is frozen. It is part of the module, and no part of what is saved.
        settings: Sizes and choices; those of the authors' release by default.

    Attributes:
        networks: All that is trained.

    Raises:
        InputError: for a generator of a size that cannot be lifted.
    """

    faces: Int64[Tensor, "faces 3"]
    blur: Float[Tensor, "taps"]

    def __init__(self, generator: Generator, settings: LiftedSettings = LiftedSettings()) -> None:
        super().__init__()
        self.generator = generator.eval().requires_grad_(False)
        self.networks = LiftedNetworks(generator.resolution, generator.w_dim, generator.channels[-1], settings)
        self.settings = settings
        self.camera = settings.camera
        offsets = torch.arange(-settings.blur_radius, settings.blur_radius + 1, dtype=torch.float32)
        taps = torch.exp(-((offsets / settings.blur_scale) ** 2))
        self.register_buffer("blur", taps / taps.sum(), persistent=False)
        self.register_buffer("faces", pixel_faces(generator.resolution, generator.resolution), persistent=False)

    def forward(self, codes: Float[Tensor, "batch w_dim"]) -> LiftedOutput:
        """The parts of codes of W. Under autocast the networks run in its precision, geometry and light in that of the codes.

        Raises:
            InputError: for codes of another size.
        """
        self._check_codes(codes)
        full = codes.dtype
        light, view = self.networks.light(codes).to(full), self.networks.view(codes).to(full)
        neutral_light = self.neutral_light(light)
        neutral = self.networks.manipulation(codes, neutral_light, torch.zeros_like(view)).to(full)
        texture, features = self._picture(neutral)
        raw_depth, raw_map = (
            self.networks.depth(neutral, features).to(full),
            self.networks.transformation(neutral).to(full),
        )
        # Differences of neighbouring depths are below the precision of bfloat16.
        with torch.autocast(codes.device.type, enabled=False):
            depth = self._depth(raw_depth[:, 0])
            transformation = self._transformation(raw_map, depth)
            shading = self.shading(self.normals(depth), neutral_light)
            albedo = to_signed(to_unit(texture) / (shading + _DARKEST))
        return LiftedOutput(depth, albedo, light, view, transformation, texture, neutral)

    def render(
        self,
        output: LiftedOutput,
        view: Float[Tensor, "views view_size"] | None = None,
        light: Float[Tensor, "lights light_size"] | None = None,
    ) -> LiftedRender:
        """R(A, S, T, V, L): pictures of lifted faces, in full precision also under autocast.

        Args:
            output: What `forward` gave.
            view: (B, 6) in normalised units (see `models.lifted_gan.frames`); the faces' own by default.
            light: (B, 4) in normalised units; the faces' own by default.

        Raises:
            InputError: for a view or light of another shape.
        """
        view = self._checked("view", output.view if view is None else view, (len(output.depth), VIEW_SIZE))
        light = self._checked("light", output.light if light is None else light, (len(output.depth), LIGHT_SIZE))
        with torch.autocast(view.device.type, enabled=False):
            pose = pose_of_view(view, self.settings)
            colours = to_signed(to_unit(output.albedo) * self.shading(self.normals(output.depth), light))
            depth = clip_contour_gradient(output.depth) if self.settings.clip_contour else output.depth
            points = move_points(
                depth_points(depth, self.camera), pose.rotation, pose.translation, output.transformation
            )
            drawn = render_depth_mesh(points, colours, self.camera, background=1.0, faces=self.faces)
        seen_depth = torch.where(drawn.mask[:, 0] > 0, drawn.depth, self.settings.background_depth)
        return LiftedRender(drawn.image, seen_depth, drawn.mask)

    def manipulate(
        self,
        codes: Float[Tensor, "batch w_dim"],
        view: Float[Tensor, "views view_size"],
        light: Float[Tensor, "lights light_size"],
    ) -> Float[Tensor, "batch w_dim"]:
        """M(w, L, V): codes of the same faces under a view and a light in normalised units, for the generator.

        Raises:
            InputError: for codes, views or lights of another shape.
        """
        self._check_codes(codes)
        view = self._checked("view", view, (len(codes), VIEW_SIZE))
        return self.networks.manipulation(codes, self._checked("light", light, (len(codes), LIGHT_SIZE)), view)

    def picture(self, codes: Float[Tensor, "batch w_dim"]) -> Float[Tensor, "batch 3 height width"]:
        """G2D(w), with the stored noise, not clamped."""
        return self.generator.synthesis(self.generator.broadcast(codes))

    def normals(self, depth: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch height width 3"]:
        """Normals of canonical depth towards the viewer, x right, y up, z towards the viewer."""
        return depth_normals(depth, self.camera, self.settings.normal_epsilon)

    @staticmethod
    def shading(
        normals: Float[Tensor, "batch height width 3"], light: Float[Tensor, "batch 4"]
    ) -> Float[Tensor, "batch 1 height width"]:
        """Lambert's model: ambient + diffuse max(0, n . l), of a light in normalised units; it multiplies albedo in [0, 1]."""
        lighting = lighting_of(light)
        cosine = (normals * lighting.direction[:, None, None]).sum(dim=3).clamp_min(0)
        return (lighting.ambient[:, None, None] + lighting.diffuse[:, None, None] * cosine)[:, None]

    def save(self, path: str | Path) -> Path:
        """Write what was trained, matrices as float16, with the digest of the generator that it was trained for."""
        config = {**self.networks.config, "generator_digest": generator_digest(self.generator)}
        return save_weights(path, half_matrices(self.networks.state_dict()), KIND, config)

    @classmethod
    def load(cls, path: str | Path, generator: Generator) -> "LiftedGAN":
        """The model of a file, frozen, in evaluation mode.

        Args:
            path: The file, as given or relative to the project root.
            generator: That it was trained for; shared, not copied.

        Raises:
            InputError: for a missing or broken file, another kind of network (a StyleGAN2 among them), or one trained for another
                generator.
        """
        state, config = load_weights(path, KIND)
        resolution, digest, settings = build_from(path, lambda: _facts(config))
        if resolution != generator.resolution:
            raise InputError(
                f"expected a generator of {resolution} pixels, which {path} was trained for, got one of {generator.resolution}; "
                "name that one"
            )
        own = generator_digest(generator)
        if digest != own:
            raise InputError(
                f"expected the generator that {path} was trained for (weights {digest[:12]}), got one with weights {own[:12]}; "
                "name that generator or train anew for this one"
            )
        model = build_from(path, lambda: cls(generator, settings))
        fill(model.networks, state, path)
        return model.eval().requires_grad_(False)

    def neutral_light(self, light: Float[Tensor, "batch 4"]) -> Float[Tensor, "batch 4"]:
        """L0 of faces with these lights: what their texture is lit by."""
        own = self.settings.neutral_light == "own"
        kept = light.new_tensor([1.0, 1.0, 0.0, 0.0]) if own else light.new_zeros(LIGHT_SIZE)
        return light * kept

    def _picture(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """The picture of codes and the features below its last colours."""
        seen: list[Tensor] = []
        handle = self.generator.convolutions[-1].register_forward_hook(
            lambda _, inputs, features: seen.append(features)
        )
        try:
            image = self.picture(codes)
        finally:
            handle.remove()
        return image, seen[0]

    def _depth(self, raw: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch height width"]:
        settings = self.settings
        centred = torch.tanh(raw - raw.mean(dim=(1, 2), keepdim=True))
        depth = settings.min_depth + (centred + 1) / 2 * (settings.max_depth - settings.min_depth)
        return self._framed(depth, settings.border_columns, 0, settings.border_depth)

    def _transformation(
        self, raw: Float[Tensor, "batch 1 height width"], depth: Float[Tensor, "batch height width"]
    ) -> Float[Tensor, "batch 1 height width"]:
        settings = self.settings
        free = torch.sigmoid(raw + settings.map_bias)
        foreground = depth[:, None] <= settings.border_depth - settings.foreground_margin
        moves = torch.where(foreground, torch.ones_like(free), free)
        # The weights exp(-(x^2 + y^2) / s^2) are a product of one filter along rows and one along columns.
        moves = functional.pad(moves, (settings.blur_radius,) * 4, mode="reflect")
        moves = functional.conv2d(functional.conv2d(moves, self.blur[None, None, :, None]), self.blur[None, None, None])
        return self._framed(moves, settings.border_columns, settings.border_rows, 0.0)

    @staticmethod
    def _framed(values: Tensor, columns: int, rows: int, border: float) -> Tensor:
        """The same with a border of so many columns and rows set to a number."""
        height, width = values.shape[-2:]
        inner = values[..., rows : height - rows, columns : width - columns]
        return functional.pad(inner, (columns, columns, rows, rows), value=border)

    def _check_codes(self, codes: Tensor) -> None:
        if codes.ndim != 2 or codes.shape[1] != self.networks.w_dim:
            raise InputError(
                f"expected codes of W (batch, {self.networks.w_dim}), got {tuple(codes.shape)}; give one code of W for each picture"
            )

    @staticmethod
    def _checked(name: str, values: Tensor, shape: tuple[int, int]) -> Tensor:
        if tuple(values.shape) != shape:
            raise InputError(f"expected a {name} of shape {shape}, got {tuple(values.shape)}; give one for each face")
        return values


def _facts(config: Mapping[str, Any]) -> tuple[int, str, LiftedSettings]:
    resolution, digest = config["resolution"], config["generator_digest"]
    if not isinstance(resolution, int) or not isinstance(digest, str):
        raise TypeError("a resolution is a number and a digest text")
    return resolution, digest, LiftedSettings.from_config(config["settings"])
