"""The two views that StyleFaceUV compares with the 2D generator's pictures (section 3.3)."""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.morphable import FaceParameters, MorphableModel
from models.stylefaceuv.loading import CodeReader, read_codes
from models.stylefaceuv.step_size import YawStep
from models.stylefaceuv.texel_masks import TextureSampling, texel_masks, view_weights
from models.stylefaceuv.uv_generator import UVGenerator, UVMaps, render_detailed
from models.stylegan2 import Generator
from renderers.face_renderer import FaceRender, FaceRenderer
from renderers.images import to_signed


class PosedView(NamedTuple):
    """What a view is to show, without gradients.

    Attributes:
        codes: (B, layers, width) W+ codes.
        parameters: What is read of them: pose, light and coarse shape of the render.
        target: (B, 3, S, S) their pictures in [-1, 1].
    """

    codes: Float[Tensor, "batch layers width"]
    parameters: FaceParameters
    target: Float[Tensor, "batch 3 size size"]


class RenderedView(NamedTuple):
    """A detailed render beside its target; pixels beside the face are black in both.

    Attributes:
        image: (B, 3, S, S) the render, in [-1, 1].
        target: (B, 3, S, S) the target times the rendered mask, in [-1, 1].
        weights: (B, 1, S, S) M_render of equation 5: 0 beside the face.
        mask: (B, 1, S, S) 1 on the face.
        displacement: (B, 3, R, C) the displacement map that it shows, in parts of its bound.
    """

    image: Float[Tensor, "batch 3 size size"]
    target: Float[Tensor, "batch 3 size size"]
    weights: Float[Tensor, "batch 1 size size"]
    mask: Float[Tensor, "batch 1 size size"]
    displacement: Float[Tensor, "batch 3 rows columns"]


class FaceViews(nn.Module):
    """Poses, targets and renders of the original and the symmetric view; every part of it is frozen.

    Args:
        generator: G2D, whose pictures are the targets.
        reader: F3D, or what stands in for it.
        step: Fyaw, for the symmetric view; None for the original view alone.
        renderer: Of triangles, of the surface of the maps, at the generator's size.
        coarse_renderer: Of the face model's own region, of triangles, at the same size.
        symmetric_maps: "shared" renders the symmetric view with the maps of the code itself, "own" with those of the moved code.
        texture_sampling: How renders look their diffuse map up.
    """

    def __init__(
        self,
        generator: Generator,
        reader: CodeReader,
        step: YawStep | None,
        renderer: FaceRenderer,
        coarse_renderer: FaceRenderer,
        symmetric_maps: Literal["shared", "own"] = "shared",
        texture_sampling: TextureSampling = "pixel",
    ) -> None:
        super().__init__()
        self.generator = generator
        self.reader = reader
        self.step = step
        self.renderer = renderer
        self.coarse_renderer = coarse_renderer
        self.symmetric_maps = symmetric_maps
        self.texture_sampling: TextureSampling = texture_sampling

    @torch.no_grad()
    def posed(
        self, codes: Float[Tensor, "batch layers width"], images: Float[Tensor, "batch 3 size size"]
    ) -> list[PosedView]:
        """The original view of codes and, where there is a step network, the symmetric one.

        w_sym = w + Fyaw(w, -yaw) d with the yaw that is read of w; its own parameters pose its render.

        Args:
            codes: W+ codes.
            images: Their pictures, with the generator's stored noise, clamped to [-1, 1].
        """
        # Angles and depths do not bear bfloat16, and targets are those that data modules make.
        with torch.autocast(codes.device.type, enabled=False):
            views = [self._view(codes, images)]
            if self.step is not None:
                moved = self.step.mirrored(codes, views[0].parameters.rotation[:, 1])
                views.append(self._view(moved, self.generator.synthesis(moved, noise="const").clamp(-1, 1)))
        return views

    def rendered(self, network: UVGenerator, views: list[PosedView]) -> list[RenderedView]:
        """The detailed renders of views; differentiable in the network's weights.

        Args:
            network: Makes the maps.
            views: Of `posed`.
        """
        maps = [network(view.codes) for view in (views if self.symmetric_maps == "own" else views[:1])]
        maps = [UVMaps(*(each.float() for each in own)) for own in maps]
        maps += maps[: len(views) - len(maps)]
        with torch.autocast(views[0].codes.device.type, enabled=False):
            renders = [self.detailed(view, own) for view, own in zip(views, maps, strict=True)]
            weights = self._weights(renders, maps[0])
        return [
            RenderedView(
                to_signed(render.image),
                on_face(view.target, render.mask),
                weight,
                render.mask,
                own.displacement / network.displacement_bound,
            )
            for view, render, weight, own in zip(views, renders, weights, maps, strict=True)
        ]

    def detailed(self, view: PosedView, maps: UVMaps) -> FaceRender:
        """The render of maps in a view."""
        return render_detailed(self.renderer, view.parameters, maps, self.texture_sampling)

    def coarse(self, view: PosedView) -> FaceRender:
        """The face model's own render of a view, without patches in eyes and mouth: what the maps have to improve on."""
        return self.coarse_renderer(view.parameters)

    @property
    def face_model(self) -> MorphableModel:
        """The surface of the maps."""
        face_model = self.renderer.face_model
        assert isinstance(face_model, MorphableModel)
        return face_model

    def _view(self, codes: Tensor, images: Tensor) -> PosedView:
        packed = read_codes(self.reader, codes, images)
        return PosedView(codes, FaceParameters.unpack(packed, self.face_model.sizes), images)

    def _weights(self, renders: list[FaceRender], maps: UVMaps) -> list[Tensor]:
        """M_render of each view."""
        if len(renders) == 1:
            # Every texel that the only view reads weighs 1.
            return [renders[0].mask]
        original, symmetric = renders
        size = (maps.diffuse.shape[2], maps.diffuse.shape[3])
        masks = texel_masks(self.face_model, original, symmetric, size, self.texture_sampling)
        return [
            view_weights(self.face_model, render, mask, self.texture_sampling)
            for render, mask in zip(renders, masks, strict=True)
        ]


def on_face(
    image: Float[Tensor, "batch 3 size size"], mask: Float[Tensor, "batch 1 size size"]
) -> Float[Tensor, "batch 3 size size"]:
    """A picture in [-1, 1], black beside the face."""
    return (image + 1) * mask - 1
