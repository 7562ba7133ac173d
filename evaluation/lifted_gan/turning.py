"""Ways to turn the head of a code: lifted faces, M's codes, and the methods that LiftedGAN is compared with on the same codes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from evaluation.lifted_gan.controls import rotated_view
from evaluation.lifted_gan.published import PROPOSED
from evaluation.lifted_gan.views import Drawn, LiftedViews
from evaluation.stylefaceuv.turning import (
    CodeTurner,
    FaceTurner,
    MovedCodes,
    RiggedCodes,
    open_rotation_rig,
    turners_of,
)
from models.latent_directions import LatentDirection, load_directions
from models.lifted_gan import LiftedOutput, pose_of_view
from models.morphable import FaceParameters, MorphableModel, ParameterSizes
from models.stylefaceuv import StepSize
from models.stylefaceuv.loading import CodeReader, load_yaw_step
from models.stylefaceuv.opening import open_detailed_faces
from models.stylegan2 import Generator
from models.stylegan2.digest import generator_digest
from models.stylerig import Provenance
from renderers.camera import PerspectiveCamera
from renderers.errors import InputError

RENDERED, MANIPULATED, DIRECTED = PROPOSED, f"{PROPOSED}'s M", "linear direction"
# The direction's name in its file, and codes that its step is measured on.
_YAW, _MEASURED_ON = "yaw", 64
# Codes at a time.
_BATCH = 25


class LiftedTurner(FaceTurner):
    """Turns lifted faces; pitch, roll and light stay as they are read of the codes.

    Args:
        views: Of the lifted generator.
        drawn: "render" shows the mesh, "generator" the 2D generator's picture of M's code.
    """

    def __init__(self, views: LiftedViews, drawn: Drawn = "render") -> None:
        self.views, self.drawn = views, drawn
        self.name = RENDERED if drawn == "render" else MANIPULATED

    @torch.no_grad()
    def turned(
        self, codes: Float[Tensor, "batch layers width"], yaw: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch 3 size size"]:
        model, w = self.views.model, codes.mean(dim=1)
        output = model(w)
        view = view_at_yaw(self.views, output, yaw)
        if self.drawn == "generator":
            return model.picture(model.manipulate(w, view, output.light)).clamp(-1, 1)
        return model.render(output, view, output.light).image.clamp(-1, 1)


def view_at_yaw(views: LiftedViews, output: LiftedOutput, yaw: Float[Tensor, " batch"]) -> Float[Tensor, "batch 6"]:
    """Views of faces at yaws in radians, positive to the image's right; else their own."""
    rotation = pose_of_view(output.view, views.model.settings).rotation.clone()
    rotation[:, 1] = yaw
    return rotated_view(output.view, views.model.settings, rotation)


class DirectedCodes(CodeTurner):
    """Codes moved along a linear direction (Shen et al. 2020) by as much as the yaw changes along it on average.

    The same step per degree for all codes: what a hyperplane alone gives, without a network that knows the code.

    Args:
        generator: G2D.
        direction: Of the yaw.
        reader: Reads the yaw of codes.
        sizes: Of the face model whose parameters it reads.
        codes: W+ codes that the step is measured on.

    Raises:
        InputError: for a direction along which the yaw that is read does not change.
    """

    def __init__(
        self,
        generator: Generator,
        direction: LatentDirection,
        reader: CodeReader,
        sizes: ParameterSizes,
        codes: Float[Tensor, "batch layers width"],
    ) -> None:
        super().__init__(DIRECTED, generator)
        self.direction, self.reader, self.sizes = direction, reader, sizes
        ends = [self._yaw(direction.move(codes, amount)) for amount in (-1.0, 1.0)]
        self.radians_per_spread = float((ends[1] - ends[0]).mean() / 2)
        if abs(self.radians_per_spread) < 1e-4:
            raise InputError(
                f"expected a direction along which the yaw changes, along {direction.name} it stays; name a file with one of the yaw"
            )

    @torch.no_grad()
    def moved(
        self, codes: Float[Tensor, "batch layers width"], yaw: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch layers width"]:
        return self.direction.move(codes, (yaw - self._yaw(codes)) / self.radians_per_spread)

    @torch.no_grad()
    def _yaw(self, codes: Float[Tensor, "batch layers width"]) -> Float[Tensor, " batch"]:
        read = torch.cat([self.reader(part) for part in codes.split(_BATCH)])
        return FaceParameters.unpack(read, self.sizes).rotation[:, 1]


@dataclass(frozen=True)
class OtherMethods:
    """Files of the methods that faces are turned by for comparison, each for the same generator.

    Attributes:
        uv_generator: StyleFaceUV's, which names what it was trained with.
        step_size: Fyaw of StyleFaceUV, which also turns the pictures that its renders are pasted into.
        directions: Linear directions, one of them called yaw.
        rigs: StyleRig's networks, one of which turns heads.
    """

    uv_generator: str | None = None
    step_size: str | None = None
    directions: str | None = None
    rigs: Sequence[str] = ()


def turners(
    views: LiftedViews,
    methods: OtherMethods,
    reader: CodeReader | None,
    face_model: MorphableModel,
    camera: PerspectiveCamera,
    codes: Float[Tensor, "batch layers width"],
) -> list[FaceTurner]:
    """All ways of turning the head of a code, the lifted generator first, then M.

    Args:
        views: Of the lifted generator.
        methods: The others.
        reader: Reads the yaw of codes, for a linear direction; None for none.
        face_model, camera: That parameters of codes refer to.
        codes: W+ codes that the linear direction's step is measured on.

    Raises:
        InputError: for files that are missing, broken or of another generator, or a direction without a reader.
    """
    generator = views.model.generator
    device = generator.mean_w.device
    rig = open_rotation_rig(methods.rigs, generator).to(device) if methods.rigs else None
    present = Provenance.of(generator, face_model, camera)
    step = None if methods.step_size is None else load_yaw_step(methods.step_size, present).to(device)
    ways: list[FaceTurner] = [LiftedTurner(views), LiftedTurner(views, "generator")]
    if methods.uv_generator is not None:
        faces = open_detailed_faces(methods.uv_generator).to(device)
        if generator_digest(faces.generator) != present.generator:
            raise InputError(
                f"expected a UV generator of the generator in question, {methods.uv_generator} is of another; name one of it or null"
            )
        ways += turners_of(faces, step, rig)
    else:
        ways += [MovedCodes(generator, step)] if isinstance(step, StepSize) else []
        ways += [] if rig is None else [RiggedCodes(generator, rig)]
    if methods.directions is not None:
        if reader is None:
            raise InputError(
                "expected a reader of codes for a linear direction, got null; name reader or no directions"
            )
        found = load_directions(methods.directions)
        found.require(generator)
        ways.append(DirectedCodes(generator, found.named(_YAW), reader, face_model.sizes, codes[:_MEASURED_ON]))
    return ways
