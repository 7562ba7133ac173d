"""Illumination as direction, strength, brightness and warmth."""

import math

import pytest
import torch
from torch import Tensor

from models.morphable import FaceParameters
from models.stylerig.light import light_of, rotate_illumination, with_light
from renderers.camera import PerspectiveCamera
from renderers.errors import InputError
from renderers.face_renderer import FaceRenderer
from renderers.rotation import euler_to_matrix
from renderers.shading import direction_from_angles, directional_light, irradiance
from tests.toy_face import SIZES, toy_face_model

FIELDS = ("azimuth", "elevation", "strength", "brightness", "warmth")


def random_illumination(batch: int, seed: int = 0) -> Tensor:
    return 0.15 * torch.randn(batch, 27, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_normals(batch: int, count: int = 200) -> Tensor:
    points = torch.randn(batch, count, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return torch.nn.functional.normalize(points, dim=-1)


@pytest.mark.parametrize("batch", [1, 3])
def test_turned_light_shines_on_turned_normals_as_before(batch: int) -> None:
    illumination, normals = random_illumination(batch), random_normals(batch)
    rotation = euler_to_matrix(
        3 * torch.randn(batch, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    )
    turned = rotate_illumination(illumination, rotation)
    expected = irradiance(normals, illumination)
    torch.testing.assert_close(irradiance(normals @ rotation.transpose(1, 2), turned), expected, atol=1e-13, rtol=0)


def test_reads_what_directional_light_makes() -> None:
    azimuth, elevation = torch.tensor([0.6, -1.2]).double(), torch.tensor([0.3, -0.7]).double()
    strength, ambient = torch.tensor([0.8, 1.5]).double(), torch.tensor([0.5, 0.2]).double()
    light = light_of(directional_light(azimuth, elevation, strength, ambient))
    torch.testing.assert_close(light.azimuth, azimuth)
    torch.testing.assert_close(light.elevation, elevation)
    torch.testing.assert_close(light.strength, strength / (strength + 4 * ambient))
    torch.testing.assert_close(light.brightness, ambient + strength / 4)
    torch.testing.assert_close(light.warmth, torch.zeros(2).double())


def test_zero_coefficients_are_even_white_light_in_front() -> None:
    light = light_of(torch.zeros(1, 27))
    found = [float(getattr(light, name)) for name in FIELDS]
    assert found == pytest.approx([0, 0, 0, 0.8 * math.pi / (4 * math.pi) ** 0.5, 0])


@pytest.mark.parametrize(
    "asked",
    [
        {"azimuth": 1.1},
        {"elevation": -0.8},
        {"azimuth": -2.5, "elevation": 0.4},
        {"strength": 0.05},
        {"strength": 0.9},
        {"brightness": 1.3},
        {"warmth": 0.7},
        {"azimuth": 0.3, "elevation": 0.2, "strength": 0.6, "brightness": 0.5, "warmth": -0.4},
    ],
)
def test_lands_where_asked_and_keeps_the_rest(asked: dict[str, float]) -> None:
    illumination = random_illumination(5)
    before, after = light_of(illumination), light_of(with_light(illumination, **asked))
    for name in FIELDS:
        expected = torch.full((5,), asked[name]).double() if name in asked else getattr(before, name)
        torch.testing.assert_close(getattr(after, name), expected, msg=lambda text, name=name: f"{name}: {text}")


def test_direction_alone_turns_the_light_rigidly() -> None:
    illumination = random_illumination(3)
    own = light_of(illumination)
    turned = with_light(illumination, azimuth=own.azimuth + 0.7)
    about_vertical = euler_to_matrix(torch.tensor([0, 0.7, 0]).double()).expand(3, 3, 3)
    torch.testing.assert_close(turned, rotate_illumination(illumination, about_vertical))


def test_the_way_does_not_matter() -> None:
    illumination = random_illumination(3)
    by_others = with_light(with_light(illumination, azimuth=2.0, elevation=1.0), elevation=-0.3)
    torch.testing.assert_close(
        with_light(by_others, azimuth=0.1), with_light(illumination, azimuth=0.1, elevation=-0.3)
    )


def test_strength_and_brightness_follow_one_distant_light() -> None:
    angles = torch.tensor([0.5]).double(), torch.tensor([0.2]).double()
    weak = directional_light(*angles, torch.tensor([0.4]).double(), torch.tensor([0.7]).double())
    # The same mean light, 0.8, of which 0.25 is directed.
    strong = directional_light(*angles, torch.tensor([0.8]).double(), torch.tensor([0.6]).double())
    torch.testing.assert_close(with_light(weak, strength=0.25), strong)
    torch.testing.assert_close(with_light(strong, strength=0.125), weak)
    brighter = directional_light(*angles, torch.tensor([0.8]).double(), torch.tensor([1.4]).double())
    torch.testing.assert_close(with_light(weak, brightness=1.6), brighter)


def test_a_light_without_direction_is_frontal() -> None:
    even = torch.zeros(1, 27).double()
    light = with_light(even, strength=0.5)
    front, back = irradiance(torch.tensor([[[0, 0, 1.0], [0, 0, -1.0]]]).double(), light)[0, :, 0]
    assert front > 1.5 * back
    torch.testing.assert_close(light_of(light).azimuth, torch.zeros(1).double())
    torch.testing.assert_close(with_light(light, strength=0.0), even)


@pytest.mark.parametrize(
    "name, angle, brighter", [("azimuth", 1.2, "right"), ("azimuth", -1.2, "left"), ("elevation", 1.2, "top")]
)
def test_light_from_a_side_makes_that_side_of_the_picture_bright(name: str, angle: float, brighter: str) -> None:
    model = toy_face_model()
    face = FaceParameters.zeros(1, SIZES)
    asked = {"azimuth": 0.0, "elevation": 0.0, "strength": 0.6, name: angle}
    face = face.replace(illumination=with_light(face.illumination, **asked))
    picture = FaceRenderer(model, PerspectiveCamera(), 32)(face)
    total = picture.image.mean(dim=1)[0]
    even = FaceRenderer(model, PerspectiveCamera(), 32)(FaceParameters.zeros(1, SIZES)).image.mean(dim=1)[0]
    ratio = torch.where(even > 0, total / even.clamp_min(1e-3), torch.nan)
    halves = {"right": ratio[:, 16:], "left": ratio[:, :16], "top": ratio[:16], "bottom": ratio[16:]}
    opposite = {"right": "left", "left": "right", "top": "bottom"}[brighter]
    assert halves[brighter].nanmean() > 1.2 * halves[opposite].nanmean()


def test_is_differentiable_also_without_direction() -> None:
    illumination = torch.cat((random_illumination(2), torch.zeros(1, 27).double())).requires_grad_()
    with_light(illumination, azimuth=0.3, strength=0.4, brightness=0.9).sum().backward()
    assert illumination.grad is not None and illumination.grad.isfinite().all()

    def edit(values: Tensor) -> Tensor:
        return with_light(values, azimuth=0.4, elevation=0.1, strength=0.7, brightness=0.9, warmth=0.2)

    assert torch.autograd.gradcheck(edit, random_illumination(2).requires_grad_(), fast_mode=True)


def test_nothing_asked_is_nothing_changed() -> None:
    illumination = random_illumination(2)
    assert torch.equal(with_light(illumination), illumination)


def test_refuses_negative_light_and_darkness() -> None:
    with pytest.raises(InputError, match="strength of 0 or more, got -0.1"):
        with_light(torch.zeros(1, 27), strength=-0.1)
    with pytest.raises(InputError, match="brightness of 0 or more"):
        with_light(torch.zeros(1, 27), brightness=-1.0)
    dark = torch.zeros(1, 3, 9)
    dark[:, :, 0] = -0.9
    with pytest.raises(InputError, match="light to start from"):
        with_light(dark.flatten(1), strength=0.5)


def test_direction_agrees_with_the_renderers() -> None:
    light = light_of(with_light(random_illumination(2), azimuth=0.9, elevation=-0.2))
    expected = torch.tensor([math.sin(0.9) * math.cos(0.2), -math.sin(0.2), math.cos(0.9) * math.cos(0.2)]).double()
    torch.testing.assert_close(direction_from_angles(light.azimuth, light.elevation), expected.expand(2, 3))
