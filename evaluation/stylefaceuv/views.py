"""Detailed faces of codes seen from anywhere, with other expressions and in other light, alone or in the pictures of the codes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional

from evaluation import moving_views
from evaluation.report import to_picture
from evaluation.stylefaceuv.alignment import aligned_as, turned_parameters
from evaluation.stylefaceuv.compositing import Seam, paste_face
from lightning_modules.image_error import masked_psnr
from models.morphable import FaceParameters
from models.stylefaceuv import StepSize, UVMaps, render_detailed
from models.stylefaceuv.opening import DetailedFaces
from models.stylegan2.generator import NoiseMode
from models.stylerig.sliders import Slider, apply_sliders, component_of
from renderers.errors import InputError
from renderers.images import to_signed, to_unit

Background = Literal["auto", "own", "none"]

# Pixels are means of this many squared, so that the outlines of faces are not jagged.
_SAMPLES = 2
# Four times the side of the largest published generators' pictures; beyond it a slip of the keyboard is likelier than a wish.
_LARGEST = 4096


@dataclass(frozen=True)
class ViewedCodes:
    """Codes with all that is made of them once, whatever views are drawn.

    Attributes:
        codes: W+ codes.
        pictures: What the 2D generator makes of them, in [-1, 1].
        parameters: What is read of them.
        maps: Of the UV generator.
    """

    codes: Float[Tensor, "batch layers width"]
    pictures: Float[Tensor, "batch 3 size size"]
    parameters: FaceParameters
    maps: UVMaps

    def __len__(self) -> int:
        return len(self.codes)


class DetailedViews:
    """Draws detailed faces.

    Args:
        faces: The UV generator and what it is used with.
        image_size: Pixels of a view; None for those of the generator. Pictures behind faces are enlarged or reduced to it.
        step: Fyaw, by which the picture behind a turned head is turned.
        background: What a face is pasted over. "auto": the code's own picture as long as the pose is its own, the picture of the code
            moved by `step` where yaw alone is asked for, nothing otherwise. "own": always the code's own picture. "none": nothing,
            black.
        seam: How it is pasted.
        noise: Of the 2D generator.

    Raises:
        InputError: for a size outside 1 to 4096 pixels, and another background or seam.
    """

    def __init__(
        self,
        faces: DetailedFaces,
        image_size: int | None = None,
        step: StepSize | None = None,
        background: Background = "auto",
        seam: Seam = "soft",
        noise: NoiseMode = "const",
    ) -> None:
        self.image_size = faces.generator.resolution if image_size is None else image_size
        if not 1 <= self.image_size <= _LARGEST:
            raise InputError(f"expected views of 1 to {_LARGEST} pixels, got {self.image_size}; correct --image-size")
        if background not in ("auto", "own", "none") or seam not in ("soft", "hard"):
            raise InputError(
                f"expected background auto, own or none and a soft or hard seam, got {background!r} and {seam!r}; correct them"
            )
        self.faces = faces
        self.step = step
        self.background = background
        self.seam: Seam = seam
        self.noise: NoiseMode = noise
        self._renderer = faces.renderer(_SAMPLES * self.image_size)

    @torch.no_grad()
    def read(self, codes: Float[Tensor, "batch layers width"]) -> ViewedCodes:
        """Pictures, parameters and maps of W+ codes.

        Args:
            codes: On any device; what is returned is on that of the networks.

        Raises:
            InputError: for codes of another generator's size.
        """
        codes = codes.to(self.faces.generator.mean_w.device)
        pictures = self._picture(codes)
        return ViewedCodes(codes, pictures, self.faces.parameters(codes, pictures), self.faces.maps(codes))

    def parameters(self, viewed: ViewedCodes, sliders: Sequence[Slider] = ()) -> FaceParameters:
        """What sliders ask for, all else as it was read.

        Raises:
            InputError: for sliders that the face model does not have, or one given twice.
        """
        return apply_sliders(viewed.parameters, sliders, self.faces.face_model)

    @torch.no_grad()
    def draw(self, viewed: ViewedCodes, sliders: Sequence[Slider] = ()) -> Float[Tensor, "batch 3 size size"]:
        """Views of detailed faces, RGB in [-1, 1].

        The maps are always those of the codes themselves, which is what makes views of one face consistent. A face in another pose
        stays at the point that portraits are aligned by (`aligned_as`), but over the code's own picture, where it turns about the
        middle of the head. Over the picture of a moved code it has the yaw that is asked for, and lies where the head of that picture
        does: pitch, roll and that point are those read of the moved code, since Fyaw promises its yaw alone.

        Args:
            viewed: The codes, of `read`.
            sliders: What shall differ from what was read.

        Raises:
            InputError: as `parameters`.
        """
        target = self.parameters(viewed, sliders)
        posed = {each.name for each in sliders if component_of(each.name) == "rotation"}
        behind, target = self._behind(viewed, target, posed) if posed else (self._unturned(viewed), target)
        face, coverage = self._face(target, viewed.maps)
        return to_signed(face) if behind is None else paste_face(behind, face, coverage, self.seam)

    @torch.no_grad()
    def fidelity(self, viewed: ViewedCodes) -> Float[Tensor, " batch"]:
        """Peak signal-to-noise ratio in decibels of the faces in their own pose against the pictures, where at least half a pixel is
        covered; 0 for a face that no pixel shows."""
        face, coverage = self._face(viewed.parameters, viewed.maps)
        # Colours of a pixel that the face covers in part are those of that part, as where it is pasted.
        colours = face / torch.where(coverage > 0, coverage, 1.0)
        return masked_psnr(colours, to_unit(self._sized(viewed.pictures)), (coverage >= 0.5).to(face.dtype))

    def _face(self, parameters: FaceParameters, maps: UVMaps) -> tuple[Tensor, Tensor]:
        """Colours in [0, 1], black beside the face, and the share of each pixel that it covers."""
        render = render_detailed(self._renderer, parameters, maps)
        return functional.avg_pool2d(render.image, _SAMPLES), functional.avg_pool2d(render.mask, _SAMPLES)

    def _behind(
        self, viewed: ViewedCodes, target: FaceParameters, posed: set[str]
    ) -> tuple[Tensor | None, FaceParameters]:
        """The pictures behind faces in another pose, None for none, and the faces' parameters over them."""
        face_model = self.faces.face_model
        if self.background == "own":
            # The head behind stays where it is, and faces turn about its middle.
            return self._unturned(viewed), target
        if self.background == "none" or self.step is None or posed != {"yaw"}:
            return None, aligned_as(face_model, target, viewed.parameters)
        moved = self.step.turned(viewed.codes, target.rotation[:, 1])
        pictures = self._picture(moved)
        shown = self.faces.parameters(moved, pictures)
        return self._sized(pictures), turned_parameters(face_model, target, shown, target.rotation[:, 1])

    def _unturned(self, viewed: ViewedCodes) -> Tensor | None:
        return None if self.background == "none" else self._sized(viewed.pictures)

    def _picture(self, codes: Tensor) -> Tensor:
        return self.faces.generator.synthesis(codes, self.noise).clamp(-1, 1)

    def _sized(self, pictures: Tensor) -> Tensor:
        size = (self.image_size, self.image_size)
        if pictures.shape[2:] == size:
            return pictures
        return functional.interpolate(pictures, size=size, mode="bicubic", antialias=True).clamp(-1, 1)

    def shown_pictures(self, viewed: ViewedCodes) -> list[Image.Image]:
        """The codes' own pictures in the size of views."""
        return [to_picture(picture) for picture in self._sized(viewed.pictures)]


@dataclass(frozen=True)
class ViewGrid:
    """What is shown of each code in stills: its picture, its face in its own pose as it was read and as it is asked, and turned.

    Attributes:
        sliders: What differs from what was read, in all but the first face.
        yaws: Degrees, one column each.
        pitches: Degrees, one row each; none for one row in the code's own pitch.
    """

    sliders: tuple[Slider, ...] = ()
    yaws: tuple[float, ...] = ()
    pitches: tuple[float, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """Of the columns."""
        turned = tuple(f"{yaw:g} deg" for yaw in self.yaws) or (("own yaw",) if self.pitches else ())
        return ("picture", "face", *(("asked",) if self.sliders else ()), *turned)

    @property
    def row_labels(self) -> tuple[str, ...]:
        """Of the rows of one code: its pitches, or nothing."""
        return tuple(f"pitch {pitch:g}" for pitch in self.pitches) or ("",)

    def views(self) -> list[list[tuple[Slider, ...]]]:
        """What each turned face is asked, row by row."""
        yaws: list[tuple[Slider, ...]] = [(Slider("yaw", yaw),) for yaw in self.yaws] or ([()] if self.pitches else [])
        pitches: list[tuple[Slider, ...]] = [(Slider("pitch", pitch),) for pitch in self.pitches] or [()]
        return [[(*self.sliders, *yaw, *pitch) for yaw in yaws] for pitch in pitches]

    def draw(self, views: DetailedViews, viewed: ViewedCodes) -> list[list[list[Image.Image | None]]]:
        """Of each code its rows of pictures, as many as labels say; places left of further rows are empty.

        Raises:
            InputError: as `DetailedViews.draw`.
        """

        def drawn(sliders: Sequence[Slider]) -> list[Image.Image]:
            return [to_picture(image) for image in views.draw(viewed, sliders)]

        first = [views.shown_pictures(viewed), drawn(()), *([drawn(self.sliders)] if self.sliders else [])]
        rows: list[list[list[Image.Image | None]]] = [[] for _ in range(len(viewed))]
        for position, asked in enumerate(self.views()):
            columns = [drawn(sliders) for sliders in asked]
            for code, row in enumerate(rows):
                left: list[Image.Image | None] = [column[code] if position == 0 else None for column in first]
                row.append([*left, *(column[code] for column in columns)])
        return rows


def view_frames(
    views: DetailedViews,
    codes: Float[Tensor, "codes layers width"],
    sliders: Sequence[Slider],
    steps: Sequence[Sequence[Slider]],
    batch_size: int = 16,
) -> Iterator[Image.Image]:
    """Frames of a video: in each the views of all codes, side by side as nearly square as they go.

    Args:
        views: Draws them.
        codes: At least one; of several, views are reduced to 256 pixels.
        sliders: What is asked in all frames.
        steps: What each frame asks on top.
        batch_size: Views drawn together.

    Raises:
        InputError: as `DetailedViews.draw`.
    """
    parts = [views.read(part) for part in codes.split(batch_size)]
    return moving_views.view_frames(
        lambda step: (image for part in parts for image in views.draw(part, (*sliders, *step))), steps
    )
