"""What LiftedGAN's paper and the authors' release leave to choose."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from models.stylegan2.generator import is_number
from renderers.camera import PerspectiveCamera
from renderers.errors import InputError


@dataclass(frozen=True)
class LiftedSettings:
    """Sizes, ranges and choices of a lifted generator; the defaults are those of the authors' release, `paper` gives the paper's.

    Lengths are in units of the pivot's distance where that is 1, as in the release.

    Attributes:
        mlp_width: Hidden width of the perceptrons (512: appendix B.1).
        map_mlp_width: Width of the perceptron below the transformation map: 16 in the release, 512 in table 4.
        base_channels: Channels of both decoders at full size (16: tables 3 and 4); they double at each halving of the size.
        max_channels: Most channels of a size (512: tables 3 and 4).
        normalise_manipulation: Whether M has group normalisation, and a scale and shift after each embedding; the paper names neither.
        residual_manipulation: Whether M gives what is added to a code, nothing at first, rather than the new code: ours, for short
            trainings, as a network that writes codes anew draws every face to the mean one for thousands of steps.
        neutral_light: Under what the texture is made: "own", the sample's own ambient and diffuse light with zero direction (release),
            or "default", the middle of their ranges for every sample (the default parameters of section 3.1).
        field_of_view: Of the camera, in radians (10 degrees: appendix B).
        pivot_depth: Distance of the centre of rotation (release; the paper leaves it open).
        min_depth, max_depth: Range of depth (appendix B).
        border_depth: Depth of the border columns, and near that depth pixels are background (release; the paper leaves it open).
        border_columns, border_rows: Width of the border that cannot move, in pixels; columns have the border's depth too (release).
        foreground_margin: Pixels nearer than `border_depth` by more than this are foreground, which moves whole (release).
        rotation_range: Largest rotation about each axis, in radians (60 degrees: appendix B).
        translation_range: Largest translation in x, y and z: 0.1 each in appendix B, 0.01 for z in the release.
        map_bias: Added to the transformation map before its sigmoid, so that all moves at first (release).
        blur_radius: Of the transformation map's blur, in pixels; 0 for none (release).
        blur_scale: Its weights are exp(-(d / blur_scale)^2), d in pixels (release).
        normal_epsilon: See `renderers.depth_mesh.depth_normals` (release); 0 gives unit normals, which the paper's Lambert model asks for.
        clip_contour: Whether silhouettes give depth no gradient (release; the paper leaves it open).
    """

    mlp_width: int = 512
    map_mlp_width: int = 16
    base_channels: int = 16
    max_channels: int = 512
    normalise_manipulation: bool = True
    residual_manipulation: bool = False
    neutral_light: Literal["own", "default"] = "own"
    field_of_view: float = math.radians(10)
    pivot_depth: float = 1.0
    min_depth: float = 0.9
    max_depth: float = 1.1
    border_depth: float = 1.05
    border_columns: int = 2
    border_rows: int = 1
    foreground_margin: float = 0.01
    rotation_range: float = math.radians(60)
    translation_range: tuple[float, float, float] = (0.1, 0.1, 0.01)
    map_bias: float = 5.0
    blur_radius: int = 10
    blur_scale: float = 8.0
    normal_epsilon: float = 1e-7
    clip_contour: bool = True

    def __post_init__(self) -> None:
        sizes = {"mlp_width": self.mlp_width, "map_mlp_width": self.map_mlp_width}
        sizes |= {"base_channels": self.base_channels, "max_channels": self.max_channels}
        for name, size in sizes.items():
            if not _is_whole(size) or size < 4 or size % 4:
                raise InputError(
                    f"expected a {name} that is a multiple of 4, got {size!r}: features are normalised in groups of four"
                )
        for name, size in (
            ("border_columns", self.border_columns),
            ("border_rows", self.border_rows),
            ("blur_radius", self.blur_radius),
        ):
            if not _is_whole(size) or size < 0:
                raise InputError(f"expected a {name} of 0 pixels or more, got {size!r}; raise it")
        if not all(is_number(value) for value in self._numbers()):
            raise InputError(
                "expected finite numbers as ranges of a lifted generator, got others; correct the settings"
            )
        if not 0 < self.min_depth < self.max_depth or not 0 < self.pivot_depth:
            raise InputError(
                f"expected 0 < min_depth < max_depth and a positive pivot_depth, got {self.min_depth}, {self.max_depth} and "
                f"{self.pivot_depth}; correct the settings"
            )
        if not self.min_depth <= self.border_depth <= self.max_depth:
            raise InputError(
                f"expected a border_depth from {self.min_depth} to {self.max_depth}, got {self.border_depth}; correct it"
            )
        if not 0 < self.field_of_view < math.pi:
            raise InputError(
                f"expected a field_of_view in radians between 0 and pi, got {self.field_of_view}; 0.1745 is the paper's"
            )
        if len(self.translation_range) != 3 or min(self.rotation_range, self.blur_scale, *self.translation_range) <= 0:
            raise InputError(
                f"expected a positive rotation_range and blur_scale and three positive numbers as translation_range, got "
                f"{self.rotation_range}, {self.blur_scale} and {self.translation_range}; correct them"
            )
        if self.normal_epsilon < 0:
            raise InputError(f"expected a normal_epsilon of 0 or more, got {self.normal_epsilon}; correct it")
        for name, switch in (
            ("normalise_manipulation", self.normalise_manipulation),
            ("residual_manipulation", self.residual_manipulation),
            ("clip_contour", self.clip_contour),
        ):
            if not isinstance(switch, bool):
                raise InputError(f"expected true or false as {name}, got {switch!r}; correct it")
        if self.neutral_light not in ("own", "default"):
            raise InputError(
                f"expected neutral_light 'own' or 'default', got {self.neutral_light!r}; choose one of the two"
            )

    @classmethod
    def paper(cls) -> "LiftedSettings":
        """Where paper and release differ, the paper's choices."""
        return cls(
            map_mlp_width=512,
            normalise_manipulation=False,
            neutral_light="default",
            translation_range=(0.1, 0.1, 0.1),
            normal_epsilon=0.0,
        )

    @property
    def camera(self) -> PerspectiveCamera:
        """At the distance of the pivot, which is the world's origin."""
        return PerspectiveCamera(0.5 / math.tan(self.field_of_view / 2), self.pivot_depth)

    @property
    def background_depth(self) -> float:
        """Depth of pixels without a mesh: half the range beyond `max_depth`, 1.2 in the release."""
        return self.max_depth + 0.5 * (self.max_depth - self.min_depth)

    def to_config(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "translation_range": list(self.translation_range)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "LiftedSettings":
        """Inverse of `to_config`; raises KeyError, TypeError or ValueError for anything else, also where an entry is absent."""
        absent = [field.name for field in fields(cls) if field.name not in config]
        if absent:
            raise KeyError(absent[0])
        translation: Sequence[float] = config["translation_range"]
        x, y, z = translation
        return cls(**{**config, "translation_range": (x, y, z)})

    def _numbers(self) -> tuple[Any, ...]:
        depths = (self.pivot_depth, self.min_depth, self.max_depth, self.border_depth, self.foreground_margin)
        others = (self.field_of_view, self.rotation_range, self.map_bias, self.blur_scale, self.normal_epsilon)
        return (*depths, *others, *self.translation_range)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
