"""Views and lights of lifted faces as they are asked for: degrees, shares and brightness, in the signs of the rest of the project."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from models.lifted_gan import LiftedSettings, Lighting, light_of, lighting_of, pose_of_view, view_of_pose
from models.lifted_gan.frames import Pose
from models.stylerig.sliders import FIXED_SLIDERS, Slider, unit_of
from renderers.errors import InputError
from renderers.shading import direction_from_angles

ANGLES = ("pitch", "yaw", "roll")
LIGHTS = ("light_azimuth", "light_elevation", "light_strength", "light_brightness")
# Training shifts turned faces by this times the sine of their yaw, in the unit of translations, so that they stay in the picture
# (authors' release).
_SHIFT = 0.2
# Mean of max(0, cos) over all directions: what directed light adds to the brightness of the mean surface.
_MEAN_COSINE = 0.25
# Light below this is darkness, whose share of directed light cannot be said.
_DARK = 1e-6


def check_sliders(sliders: Sequence[Slider]) -> None:
    """Refuse what a lifted face does not have.

    Raises:
        InputError: for an expression, an identity or the warmth of light, and for one slider twice.
    """
    names = [slider.name for slider in sliders]
    for name in names:
        if name == "light_warmth":
            raise InputError(
                "expected azimuth, elevation, strength or brightness of a light, got warmth: LiftedGAN's light is white"
            )
        if name not in FIXED_SLIDERS:
            raise InputError(
                f"expected a pose or light of a lifted face, got {name}: LiftedGAN knows no expressions or shapes; try 'lightning edit'"
            )
        if names.count(name) > 1:
            raise InputError(f"expected {name} once, got it {names.count(name)} times; keep one")


def replaced(sliders: Sequence[Slider], by: Sequence[Slider]) -> list[Slider]:
    """Sliders of which some are replaced by others of their names, and those that come on top."""
    names = {slider.name for slider in by}
    return [*(slider for slider in sliders if slider.name not in names), *by]


def asked_view(
    own: Float[Tensor, "batch 6"], settings: LiftedSettings, sliders: Sequence[Slider] = ()
) -> Float[Tensor, "batch 6"]:
    """Views in normalised units: angles as asked, all else the faces' own.

    With the yaw the place changes as it does in training, by 0.2 sin(yaw) of its range against the turn.

    Args:
        own: The faces' own, in normalised units.
        settings: Of the model.
        sliders: yaw, pitch and roll in degrees; others are left to `asked_light`.

    Raises:
        InputError: for a yaw or pitch beyond a right angle: a depth map has no back.
    """
    angles = [slider for slider in sliders if slider.name in ANGLES]
    if not angles:
        return own
    rotation = pose_of_view(own, settings).rotation.clone()
    for slider in angles:
        place = ANGLES.index(slider.name)
        rotation[:, place] = _asked(slider, rotation[:, place])
        beyond = rotation[:, place][rotation[:, place].abs() > math.pi / 2 + 1e-4]
        if slider.name != "roll" and len(beyond):
            raise InputError(
                f"expected a {slider.name} from -90 to 90 degrees, got {math.degrees(beyond[0]):.0f}: lifted faces have no back; "
                "ask for less"
            )
    return rotated_view(own, settings, rotation)


def rotated_view(
    own: Float[Tensor, "batch 6"], settings: LiftedSettings, rotation: Float[Tensor, "batch 3"]
) -> Float[Tensor, "batch 6"]:
    """Views in normalised units of faces in another rotation (pitch, yaw, roll in radians), whose place follows the yaw as in training."""
    pose = pose_of_view(own, settings)
    shift = _SHIFT * settings.translation_range[0] * (pose.rotation[:, 1].sin() - rotation[:, 1].sin())
    along_x = pose.translation.new_tensor([1.0, 0.0, 0.0])
    return view_of_pose(Pose(rotation, pose.translation + shift[:, None] * along_x), settings)


def asked_light(own: Float[Tensor, "batch 4"], sliders: Sequence[Slider] = ()) -> Float[Tensor, "batch 4"]:
    """Lights in normalised units: as asked, all else the faces' own.

    Strength and brightness are those of `models.stylerig.light.Light` for a light of ambient a and diffuse d: d / (d + 4 a), and
    a + d / 4, what a surface gets on average over all directions.

    Args:
        own: The faces' own, in normalised units.
        sliders: light_azimuth and light_elevation in degrees, light_strength and light_brightness; others are left to `asked_view`.

    Raises:
        InputError: for a light beside or behind the face, a strength outside 0 to 1, and a negative brightness.
    """
    lights = [slider for slider in sliders if slider.name in LIGHTS]
    if not lights:
        return own
    said = said_light(lighting_of(own))
    for slider in lights:
        said[slider.name] = _asked(slider, said[slider.name])
    strength, brightness = said["light_strength"], said["light_brightness"]
    for name, values, most in (("strength", strength, 1.0), ("brightness", brightness, math.inf)):
        beyond = values[(values < 0) | (values > most)]
        if len(beyond):
            limits = "from 0 to 1" if most == 1 else "of 0 or more"
            raise InputError(f"expected a light {name} {limits}, got {float(beyond[0]):.3g}; change it")
    directed, even = brightness * strength / _MEAN_COSINE, brightness * (1 - strength)
    direction = direction_from_angles(said["light_azimuth"], said["light_elevation"])
    return light_of(Lighting(even, directed, direction))


def said_light(lighting: Lighting) -> dict[str, Float[Tensor, " batch"]]:
    """Azimuth and elevation in radians, strength and brightness of lights, by the names of their sliders."""
    x, y, z = lighting.direction.unbind(1)
    brightness = lighting.ambient + _MEAN_COSINE * lighting.diffuse
    return {
        "light_azimuth": torch.atan2(x, z),
        "light_elevation": torch.atan2(y, torch.hypot(x, z)),
        "light_strength": _MEAN_COSINE * lighting.diffuse / brightness.clamp_min(_DARK),
        "light_brightness": brightness,
    }


def _asked(slider: Slider, own: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    value = torch.as_tensor(slider.value, dtype=own.dtype, device=own.device).expand_as(own)
    value = value.deg2rad() if unit_of(slider.name) == "degrees" else value
    return own + value if slider.relative else value
