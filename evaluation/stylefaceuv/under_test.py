"""What the figures of StyleFaceUV look at: a trained UV generator with its views, and the networks that look at its renders."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from datamodules.latent_pairs import PairRecipe
from lightning_modules.stylefaceuv import StyleFaceUV
from lightning_modules.stylefaceuv_views import FaceViews, PosedView
from models.morphable import FaceParameters
from models.observers import FaceEmbedder, Judge, LandmarkDetector
from models.perceptual import PerceptualLoss
from models.stylefaceuv.opening import DetailedFaces
from models.stylefaceuv.uv_generator import UVGenerator, UVMaps
from renderers.errors import InputError
from renderers.face_renderer import FaceRender
from renderers.images import to_signed

COARSE, ONE_VIEW, DETAILED = "coarse", "detailed (one view)", "detailed"
ORIGINAL, SYMMETRIC = "original", "symmetric"
# Codes that are rendered at once.
BATCH = 50
# A grey skin under a light from the viewer's left and above: what shows a shape without its colours. Ours.
_GREY = 0.6
_LIGHT = {1: -0.3, 2: 0.3, 3: 0.3}


@dataclass(frozen=True, eq=False)
class FacesUnderTest:
    """A trained UV generator, all parts on one device and frozen.

    Attributes:
        faces: The UV generator with generator, coefficients and face model.
        views: Poses and draws the original view of codes and, where there is a step network, the symmetric one.
        recipe: Of codes; those of its test split were never trained on.
        landmarker: 68-landmark network.
        embedder: Identity network.
        perceptual: What the perceptual distance compares.
        judge: Reads pictures and took no part in any training; None where none knows pictures like these.
        one_view: The UV generator that was trained on the original view alone; None for none.
    """

    faces: DetailedFaces
    views: FaceViews
    recipe: PairRecipe
    landmarker: LandmarkDetector
    embedder: FaceEmbedder
    perceptual: PerceptualLoss
    judge: Judge | None = None
    one_view: UVGenerator | None = None

    @property
    def device(self) -> torch.device:
        """Where all parts are."""
        return self.faces.generator.mean_w.device

    @property
    def size(self) -> int:
        """Side of pictures and renders in pixels."""
        return self.faces.generator.resolution

    @property
    def networks(self) -> dict[str, UVGenerator]:
        """The UV generators by the name of their faces in tables, the one in question last."""
        compared = {} if self.one_view is None else {ONE_VIEW: self.one_view}
        return {**compared, DETAILED: self.faces.network}

    def to(self, device: torch.device | str) -> "FacesUnderTest":
        """The same, all parts moved to a device."""
        self.faces.to(device)
        for part in (self.views, self.landmarker, self.embedder, self.perceptual, self.judge, self.one_view):
            if part is not None:
                part.to(device)
        return self

    def unseen_codes(self, count: int, start: int = 0) -> Float[Tensor, "count layers width"]:
        """Codes of the test split from index `start` on."""
        return self.recipe.pairs(self.faces.generator, "test", torch.arange(start, start + count, device=self.device)).w

    def batches(self, count: int, start: int = 0) -> Iterator[Float[Tensor, "batch layers width"]]:
        """The same, `BATCH` of them at a time."""
        for first in range(start, start + count, BATCH):
            yield self.unseen_codes(min(BATCH, start + count - first), first)

    @torch.no_grad()
    def pictures(self, codes: Float[Tensor, "batch layers width"]) -> Float[Tensor, "batch 3 size size"]:
        """Pictures of codes, clamped to [-1, 1]."""
        parts = codes.split(BATCH)
        return torch.cat([self.faces.generator.synthesis(part, noise="const").clamp(-1, 1) for part in parts])

    def posed(self, codes: Float[Tensor, "batch layers width"]) -> dict[str, PosedView]:
        """The views of codes by name: `ORIGINAL` and, where there is a step network, `SYMMETRIC`."""
        views = self.views.posed(codes, self.pictures(codes))
        return dict(zip((ORIGINAL, SYMMETRIC), views, strict=False))

    @torch.no_grad()
    def maps(self, network: UVGenerator, view: PosedView, original: PosedView) -> UVMaps:
        """The maps that a view shows: those of the original view's codes, or its own where the training renders it so."""
        return network((view if self.views.symmetric_maps == "own" else original).codes)

    @torch.no_grad()
    def renders(self, view: PosedView, original: PosedView) -> dict[str, FaceRender]:
        """The coarse face and the detailed faces of all networks in a view, by name."""
        detailed = {
            name: self.views.detailed(view, self.maps(network, view, original))
            for name, network in self.networks.items()
        }
        return {COARSE: self.views.coarse(view), **detailed}

    @torch.no_grad()
    def shape_picture(self, parameters: FaceParameters, maps: UVMaps) -> Float[Tensor, "batch 3 size size"]:
        """The displaced shape in grey under one light for all, white beside it, in [-1, 1]."""
        light = torch.zeros(len(parameters), 3, 9, device=self.device)
        for harmonic, amount in _LIGHT.items():
            light[:, :, harmonic] = amount
        grey = UVMaps(torch.full_like(maps.diffuse, _GREY), maps.displacement)
        lit = FaceParameters(**{**vars(parameters), "illumination": light.flatten(1)})
        render = self.views.detailed(PosedView(light.flatten(1)[:, None], lit, maps.diffuse), grey)
        return to_signed(render.image + 1 - render.mask)


def under_test(
    module: StyleFaceUV,
    recipe: PairRecipe,
    landmarker: LandmarkDetector,
    embedder: FaceEmbedder,
    perceptual: PerceptualLoss,
    judge: Judge | None = None,
    one_view: str | None = None,
) -> FacesUnderTest:
    """What the figures look at of a training module; perhaps on several devices.

    Args:
        module: With trained weights.
        recipe: Of its data.
        landmarker, embedder, perceptual, judge: See `FacesUnderTest`.
        one_view: File of the UV generator that was trained on the original view alone; None for none.

    Raises:
        InputError: for a file that is missing or broken, of another kind, trained for another generator, face model or camera, or for
            another surface.
    """
    views = module.views
    faces = DetailedFaces(
        module.generator,
        views.reader,
        module.average,
        module.face_model,
        views.face_model,
        views.renderer.camera,
        module.provenance,
    )
    other = None if one_view is None else UVGenerator.load(one_view, module.provenance)
    if other is not None and other.surface != module.average.surface:
        raise InputError(
            f"expected a UV generator of the surface {module.average.surface}, {one_view} is of {other.surface}; train it with the same "
            "scene and settings.closed"
        )
    return FacesUnderTest(faces, views, recipe, landmarker, embedder, perceptual, judge, other)
