"""Ways to show the face of a code at another yaw, side by side: what StyleFaceUV is compared with in Fig. 4 and section 4.3."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from evaluation.stylefaceuv.alignment import turned_parameters
from evaluation.stylefaceuv.compositing import Seam, paste_face
from lightning_modules.stylefaceuv_views import on_face
from models.morphable import FaceParameters
from models.stylefaceuv.opening import DetailedFaces
from models.stylefaceuv.step_size import StepSize, YawStep
from models.stylefaceuv.uv_generator import render_detailed
from models.stylegan2 import Generator
from models.stylegan2.digest import generator_digest
from models.stylerig.opening import open_rig
from models.stylerig.rig import Rig
from renderers.errors import InputError
from renderers.images import to_signed

# Names of the ways in tables; claims look them up.
DETAILED, COARSE, MOVED, RIGGED, PICTURES = "detailed face", "coarse face", "moving along d", "StyleRig", "StyleGAN2"
ALONE = ", alone"

# Pixels of renders are means of this many squared, so that outlines are not jagged.
_SAMPLES = 2


class FaceTurner(ABC):
    """Shows faces of codes at asked yaws.

    Attributes:
        name: As tables and figures say it.
    """

    name: str

    @abstractmethod
    def turned(
        self, codes: Float[Tensor, "batch layers width"], yaw: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch 3 size size"]:
        """Pictures in [-1, 1].

        Args:
            codes: W+ codes.
            yaw: What the picture of each is to show, radians, positive to the image's right.
        """


class CodeTurner(FaceTurner):
    """Turns codes, and shows the pictures that the generator makes of them.

    Args:
        name: As tables and figures say it.
        generator: G2D.
    """

    def __init__(self, name: str, generator: Generator) -> None:
        self.name, self.generator = name, generator

    @abstractmethod
    def moved(
        self, codes: Float[Tensor, "batch layers width"], yaw: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch layers width"]:
        """Codes whose pictures are to show yaws; arguments as of `turned`."""

    @torch.no_grad()
    def turned(
        self, codes: Float[Tensor, "batch layers width"], yaw: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch 3 size size"]:
        return self.generator.synthesis(self.moved(codes, yaw), noise="const").clamp(-1, 1)


class OwnPictures(CodeTurner):
    """The pictures of the codes as they are, whatever is asked: what renders in the codes' own pose are pasted into.

    Args:
        generator: G2D.
    """

    def __init__(self, generator: Generator) -> None:
        super().__init__(PICTURES, generator)

    def moved(
        self, codes: Float[Tensor, "batch layers width"], yaw: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch layers width"]:
        return codes


class MovedCodes(CodeTurner):
    """Codes moved along the yaw direction, w + Fyaw(w, a) d: InterFaceGAN's edit with StyleFaceUV's step (equation 2).

    Args:
        generator: G2D.
        step: Fyaw.
    """

    def __init__(self, generator: Generator, step: StepSize) -> None:
        super().__init__(MOVED, generator)
        self.step = step

    @torch.no_grad()
    def moved(
        self, codes: Float[Tensor, "batch layers width"], yaw: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch layers width"]:
        return self.step.turned(codes, yaw)


class RiggedCodes(CodeTurner):
    """Codes edited by a rig of StyleRig, which is asked for the yaw and to leave all else.

    Args:
        generator: G2D.
        rig: That controls the rotation.

    Raises:
        InputError: for a rig that does not.
    """

    def __init__(self, generator: Generator, rig: Rig) -> None:
        super().__init__(RIGGED, generator)
        self.rig = rig
        rig.network_of("rotation")

    @torch.no_grad()
    def moved(
        self, codes: Float[Tensor, "batch layers width"], yaw: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch layers width"]:
        own = self.rig.parameters_of(codes)
        return self.rig.edit(codes, own.replace(rotation=_with_yaw(own, yaw)), ("rotation",))


class TurnedRenders(FaceTurner):
    """Renders at the asked yaw, where the head of a turned picture is: pasted into that picture, or alone on black.

    Args:
        faces: Where codes become 3D faces.
        behind: Gives the pictures that renders are pasted into; None leaves them alone, in the place of the code's own head.
        detailed: With the maps of the UV generator, else the face model's own colours and shape, whose eyes and mouth are open where
            the model's are.
        seam: Of what is pasted; the paper's is hard.
        alone: Leave the picture behind out, and black instead.
    """

    def __init__(
        self,
        faces: DetailedFaces,
        behind: CodeTurner | None,
        detailed: bool = True,
        seam: Seam = "hard",
        alone: bool = False,
    ) -> None:
        self.alone = alone or behind is None
        self.name = (DETAILED if detailed else COARSE) + (ALONE if self.alone else "")
        self.faces, self.behind, self.detailed = faces, behind, detailed
        self.seam: Seam = seam
        size = _SAMPLES * faces.generator.resolution
        self.renderer = faces.renderer(size) if detailed else faces.coarse_renderer(size)

    @torch.no_grad()
    def turned(
        self, codes: Float[Tensor, "batch layers width"], yaw: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch 3 size size"]:
        pictures, face, coverage = self.parts(codes, yaw)
        return to_signed(face) if self.alone or pictures is None else paste_face(pictures, face, coverage, self.seam)

    @torch.no_grad()
    def parts(
        self, codes: Float[Tensor, "batch layers width"], yaw: Float[Tensor, " batch"], as_behind: bool = False
    ) -> tuple[
        Float[Tensor, "batch 3 size size"] | None,
        Float[Tensor, "batch 3 size size"],
        Float[Tensor, "batch 1 size size"],
    ]:
        """What `turned` joins: the pictures behind in [-1, 1], None for none; the faces in [0, 1], black beside; and the share of each
        pixel that they cover.

        Args:
            codes, yaw: As of `turned`.
            as_behind: Turn faces as far as the heads behind them are read to be turned, who need not reach the yaw that is asked.
        """
        own = self.faces.parameters(codes)
        pictures, shown = None, own
        if self.behind is not None:
            pictures = self.behind.turned(codes, yaw)
            shown = self.faces.parameters(self.behind.moved(codes, yaw), pictures)
        parameters = turned_parameters(self.faces.face_model, own, shown, shown.rotation[:, 1] if as_behind else yaw)
        if self.detailed:
            render = render_detailed(self.renderer, parameters, self.faces.maps(codes))
        else:
            render = self.renderer(parameters)
        return pictures, functional.avg_pool2d(render.image, _SAMPLES), functional.avg_pool2d(render.mask, _SAMPLES)


class FacesCutOut(FaceTurner):
    """Pictures of turned codes, black but where the detailed face covers their heads: what renders alone are compared with.

    Identity networks look at hair and whatever else is in the frame, too; so that faces are compared, all are on black. Heads are cut out
    in the pose that is read of their picture: in the one that was asked, a head that does not reach it would lose a part of its face.

    Args:
        faces: Whose detailed face says where the face is.
        behind: Gives the pictures.
    """

    def __init__(self, faces: DetailedFaces, behind: CodeTurner) -> None:
        self.name = behind.name + ALONE
        self.renders = TurnedRenders(faces, behind)

    @torch.no_grad()
    def turned(
        self, codes: Float[Tensor, "batch layers width"], yaw: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch 3 size size"]:
        pictures, _, coverage = self.renders.parts(codes, yaw, as_behind=True)
        assert pictures is not None
        return on_face(pictures, coverage)


def turners_of(
    faces: DetailedFaces, step: YawStep | None, rig: Rig | None = None, alone: bool = False
) -> list[FaceTurner]:
    """The ways that figures compare, the detailed face first.

    Args:
        faces: In question.
        step: Fyaw, which turns the pictures that renders are pasted into; None, or the release's form, which knows the mirrored yaw
            alone, leaves moving along d out, and renders alone.
        rig: Of the same generator, controlling the rotation; None for none.
        alone: Show faces on black, without hair and background: those of pictures cut out.
    """
    moved = MovedCodes(faces.generator, step) if isinstance(step, StepSize) else None
    turners: list[FaceTurner] = [
        TurnedRenders(faces, moved, alone=alone),
        TurnedRenders(faces, moved, detailed=False, alone=alone),
    ]
    others = [] if rig is None else [RiggedCodes(faces.generator, rig)]
    for each in others if moved is None else [moved, *others]:
        turners.append(FacesCutOut(faces, each) if alone else each)
    return turners


def own_faces(faces: DetailedFaces, codes: Float[Tensor, "faces layers width"]) -> Float[Tensor, "faces 3 size size"]:
    """The faces of the codes' own pictures in [-1, 1], cut out where the detailed face covers them in its own pose."""
    yaw = faces.parameters(codes).rotation[:, 1]
    return FacesCutOut(faces, OwnPictures(faces.generator)).turned(codes, yaw)


def open_rotation_rig(rigs: Sequence[str], generator: Generator) -> Rig:
    """StyleRig's networks of a generator, one of which turns heads.

    Args:
        rigs: Their files.
        generator: Whose codes they are to turn.

    Raises:
        InputError: for files that are missing, broken or do not fit each other, rigs of another generator, or none for the rotation.
    """
    opened = open_rig(rigs)
    if opened.provenance.generator != generator_digest(generator):
        raise InputError(
            f"expected rigs of the generator in question, {rigs[0]} is of another; name rigs of that one or none"
        )
    opened.rig.network_of("rotation")
    return opened.rig


def _with_yaw(own: FaceParameters, yaw: Float[Tensor, " batch"]) -> Float[Tensor, "batch 3"]:
    return torch.stack([own.rotation[:, 0], yaw, own.rotation[:, 2]], dim=1)
