"""Lifted faces from all sides and in any light, beside their maps and the pictures that M gives of the same views."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from evaluation import moving_views
from evaluation.lifted_gan.controls import asked_light, asked_view, check_sliders, replaced, said_light
from evaluation.report import to_picture
from lightning_modules.image_error import masked_psnr
from models.lifted_gan import LiftedGAN, LiftedOutput, lighting_of, pose_of_view
from models.stylerig.sliders import Slider
from renderers.images import to_signed, to_unit

# What draws a view: the mesh, or the 2D generator from the code that M moves.
Drawn = Literal["render", "generator"]
# A light of less is darkness.
_DARK = 1e-6


@dataclass(frozen=True)
class LiftedCodes:
    """Codes with all that is made of them once, whatever views are drawn.

    Attributes:
        codes: Codes of W.
        pictures: What the 2D generator makes of them, in [-1, 1].
        output: Their parts.
    """

    codes: Float[Tensor, "batch w_dim"]
    pictures: Float[Tensor, "batch 3 height width"]
    output: LiftedOutput

    def __len__(self) -> int:
        return len(self.codes)


class LiftedViews:
    """Draws lifted faces.

    Args:
        model: The lifted generator.
    """

    def __init__(self, model: LiftedGAN) -> None:
        self.model = model

    @torch.no_grad()
    def read(self, codes: Float[Tensor, "batch w_dim"]) -> LiftedCodes:
        """Pictures and parts of codes of W, which may be on any device.

        Raises:
            InputError: for codes of another width.
        """
        codes = codes.to(self.model.generator.mean_w.device)
        output = self.model(codes)
        return LiftedCodes(codes, self.model.picture(codes).clamp(-1, 1), output)

    def asked(self, lifted: LiftedCodes, sliders: Sequence[Slider] = ()) -> tuple[Tensor, Tensor]:
        """View (B, 6) and light (B, 4) in normalised units that sliders ask for, all else the faces' own.

        Raises:
            InputError: for sliders that lifted faces do not have, one given twice, or values out of reach.
        """
        return self._asked(lifted.output.view, lifted.output.light, sliders)

    @torch.no_grad()
    def check(self, codes: Float[Tensor, "codes w_dim"], steps: Iterable[Sequence[Slider]]) -> None:
        """Refuse what any of these faces cannot show, without drawing them: what is relative reaches further for some than for others.

        Args:
            codes: Codes of W, which may be on any device.
            steps: What is asked, one after the other.

        Raises:
            InputError: as `asked`.
        """
        codes = codes.to(self.model.generator.mean_w.device)
        view, light = self.model.networks.view(codes), self.model.networks.light(codes)
        for sliders in steps:
            self._asked(view, light, sliders)

    def _asked(self, view: Tensor, light: Tensor, sliders: Sequence[Slider]) -> tuple[Tensor, Tensor]:
        check_sliders(sliders)
        return asked_view(view, self.model.settings, sliders), asked_light(light, sliders)

    @torch.no_grad()
    def draw(
        self, lifted: LiftedCodes, sliders: Sequence[Slider] = (), drawn: Drawn = "render"
    ) -> Float[Tensor, "batch 3 height width"]:
        """Pictures in [-1, 1] of faces under a view and a light.

        Args:
            lifted: The faces, of `read`.
            sliders: What shall differ from their own view and light.
            drawn: "render" by the mesh, white where it is empty; "generator" by G2D(M(w, L, V)).

        Raises:
            InputError: as `asked`.
        """
        view, light = self.asked(lifted, sliders)
        if drawn == "generator":
            return self.model.picture(self.model.manipulate(lifted.codes, view, light)).clamp(-1, 1)
        return self.model.render(lifted.output, view, light).image.clamp(-1, 1)

    @torch.no_grad()
    def shading(self, lifted: LiftedCodes, sliders: Sequence[Slider] = ()) -> Float[Tensor, "batch 3 height width"]:
        """Shading maps under a light, grey, of the face as it lies in its own map: white is a surface that faces the light."""
        _, light = self.asked(lifted, sliders)
        lighting = lighting_of(light)
        shading = self.model.shading(self.model.normals(lifted.output.depth), light)
        brightest = (lighting.ambient + lighting.diffuse).clamp_min(_DARK)[:, None, None, None]
        return to_signed((shading / brightest).expand(-1, 3, -1, -1)).clamp(-1, 1)

    def maps(self, lifted: LiftedCodes) -> dict[str, Float[Tensor, "batch 3 height width"]]:
        """Albedo, normals, depth and transformation map as pictures in [-1, 1].

        Of normals red is x, green y and blue z, -1 black; of depth white is `min_depth` and black `max_depth` of the settings; of the
        transformation map white is what moves with the face.
        """
        output, settings = lifted.output, self.model.settings
        near = (settings.max_depth - output.depth) / (settings.max_depth - settings.min_depth)
        return {
            "albedo": output.albedo.clamp(-1, 1),
            "normals": self.normals(lifted).permute(0, 3, 1, 2),
            "depth": to_signed(near)[:, None].expand(-1, 3, -1, -1),
            "map": to_signed(output.transformation).expand(-1, 3, -1, -1),
        }

    def normals(self, lifted: LiftedCodes) -> Float[Tensor, "batch height width 3"]:
        """Unit normals, x right, y up, z towards the viewer."""
        return torch.nn.functional.normalize(self.model.normals(lifted.output.depth), dim=3)

    def readings(self, lifted: LiftedCodes) -> dict[str, Float[Tensor, " batch"]]:
        """What was read of the codes, and how near the render in its own view comes to the picture: columns of a table.

        Angles are in degrees; translations in the depth's unit; `psnr_db` is the peak signal-to-noise ratio where the mesh is seen
        nearer than the background depth, 0 for a face that no pixel shows.
        """
        output = lifted.output
        pose, light = pose_of_view(output.view, self.model.settings), said_light(lighting_of(output.light))
        render = self.model.render(output)
        seen = (render.depth < self.model.settings.background_depth)[:, None] * render.mask
        psnr = masked_psnr(to_unit(render.image.clamp(-1, 1)), to_unit(lifted.pictures), seen)
        angles = {f"{name}_deg": pose.rotation[:, at].rad2deg() for name, at in (("yaw", 1), ("pitch", 0), ("roll", 2))}
        places = {name: pose.translation[:, at] for at, name in enumerate("xyz")}
        lights = {f"{name}_deg": light[name].rad2deg() for name in ("light_azimuth", "light_elevation")}
        strengths = {name: light[name] for name in ("light_strength", "light_brightness")}
        return {**angles, **places, **lights, **strengths, "psnr_db": psnr}


def interpolated(codes: Float[Tensor, "codes w_dim"], frames: int, closed: bool = True) -> Float[Tensor, "steps w_dim"]:
    """Codes of W on the straight lines from each to the next, `frames` of each line (Fig. 6).

    Args:
        codes: Two or more.
        frames: Of each line, its start counted and its end not.
        closed: Whether the last goes back to the first; it is the end otherwise.
    """
    ends = codes.roll(-1, dims=0) if closed else codes[1:]
    starts = codes if closed else codes[:-1]
    shares = torch.arange(frames, dtype=codes.dtype, device=codes.device) / frames
    lines = starts[:, None].lerp(ends[:, None], shares[None, :, None]).flatten(0, 1)
    return lines if closed else torch.cat([lines, codes[-1:]])


def view_frames(
    views: LiftedViews,
    parts: Sequence[LiftedCodes],
    sliders: Sequence[Slider],
    steps: Sequence[Sequence[Slider]],
    drawn: Drawn = "render",
) -> Iterator[Image.Image]:
    """Frames of a video: in each the views of all codes, side by side as nearly square as they go.

    Args:
        views: Draws them.
        parts: Batches of codes; of several codes views are reduced to 256 pixels.
        sliders: What is asked in all frames.
        steps: What each frame asks, in place of sliders of the same names and on top.
        drawn: As of `LiftedViews.draw`.

    Raises:
        InputError: as `LiftedViews.draw`.
    """
    return moving_views.view_frames(
        lambda asked: (image for part in parts for image in views.draw(part, asked, drawn)),
        (replaced(sliders, step) for step in steps),
    )


def interpolation_frames(
    views: LiftedViews,
    codes: Float[Tensor, "steps w_dim"],
    sliders: Sequence[Slider],
    drawn: Drawn = "render",
    batch_size: int = 16,
) -> Iterator[Image.Image]:
    """Frames of a face that becomes others: one for each code, under the view and light that are asked.

    Raises:
        InputError: as `LiftedViews.draw`.
    """
    for part in codes.split(batch_size):
        yield from (to_picture(image) for image in views.draw(views.read(part), sliders, drawn))
