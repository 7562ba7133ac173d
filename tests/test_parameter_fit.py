"""Face parameters of pictures by optimisation, against pictures whose parameters are known."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from lightning_modules.face_scene import FaceScene
from lightning_modules.parameter_fit import ParameterFit, ParameterFitSettings, fit_parameters
from models.morphable import FaceParameters
from renderers.camera import PerspectiveCamera
from renderers.errors import InputError
from renderers.face_renderer import FaceRenderer
from renderers.images import to_signed
from renderers.rotation import rotation_distance
from renderers.shading import directional_light, light_angles
from tests.toy_face import SIZES, toy_face_model, toy_parameters

SIZE = 24
QUICK = ParameterFitSettings(rigid_steps=30, steps=40)


class KnownLandmarks(nn.Module):
    """A landmark network that is never wrong: it looks a picture's landmarks up."""

    def __init__(self, images: Tensor, landmarks: Tensor) -> None:
        super().__init__()
        self.images, self.landmarks = images, landmarks

    def forward(self, images: Tensor) -> Tensor:
        rows = [int((self.images - image).abs().sum(dim=(1, 2, 3)).argmin()) for image in images]
        return self.landmarks[rows]


def world(count: int) -> tuple[FaceParameters, Tensor, FaceRenderer, KnownLandmarks]:
    """Toy faces under directed light, their pictures, and who draws and reads them."""
    renderer = FaceRenderer(toy_face_model(), PerspectiveCamera(), SIZE)
    azimuth = torch.linspace(-0.8, 0.8, count)
    light = directional_light(azimuth, torch.full((count,), 0.3), torch.full((count,), 0.8), torch.full((count,), 0.4))
    truth = toy_parameters(count, spread=0.5).replace(illumination=light)
    render = renderer(truth)
    images = to_signed(render.image)
    return truth, images, renderer, KnownLandmarks(images, render.landmarks)


def fit(count: int, settings: ParameterFitSettings = QUICK) -> tuple[FaceParameters, ParameterFit]:
    truth, images, renderer, landmarker = world(count)
    return truth, fit_parameters(images, landmarker, renderer, SIZES, settings)


def test_rotation_and_light_of_known_pictures_are_recovered():
    truth, found = fit(3, ParameterFitSettings(rigid_steps=40, steps=80))
    assert float(rotation_distance(found.parameters.rotation, truth.rotation).rad2deg().max()) < 4
    # How far to the side the light comes from trades off with how strong and even it is; the side does not.
    azimuth = light_angles(found.parameters.illumination)[:, 0].rad2deg()
    assert azimuth[0] < -20 and abs(azimuth[1]) < 15 and azimuth[2] > 20
    assert found.reliable.all() and float(found.landmark_error.max()) < 0.01 and float(found.colour_error.max()) < 0.1


def test_fits_do_not_depend_on_the_batch():
    _, images, renderer, landmarker = world(3)
    few = ParameterFitSettings(rigid_steps=5, steps=5)
    together = fit_parameters(images, landmarker, renderer, SIZES, few)
    apart = fit_parameters(images, landmarker, renderer, SIZES, replace(few, batch_size=1))
    assert len(together) == len(apart) == 3
    torch.testing.assert_close(together.parameters.pack(), apart.parameters.pack(), atol=2e-3, rtol=1e-2)
    torch.testing.assert_close(together.loss, apart.loss, atol=1e-3, rtol=1e-2)


def test_more_steps_fit_better_and_nothing_carries_a_gradient():
    _, first = fit(2, ParameterFitSettings(rigid_steps=20, steps=5))
    with torch.no_grad():
        _, last = fit(2, ParameterFitSettings(rigid_steps=20, steps=50))
    assert (last.loss < 0.5 * first.loss).all()
    assert not last.parameters.pack().requires_grad and not last.loss.requires_grad


def test_pictures_that_show_no_such_face_are_flagged():
    _, images, renderer, landmarker = world(2)
    noise = torch.rand(1, 3, SIZE, SIZE) * 2 - 1
    scattered = KnownLandmarks(noise, torch.rand(1, 68, 2) * SIZE)
    assert not fit_parameters(noise, scattered, renderer, SIZES, QUICK).reliable.any()
    inverted = KnownLandmarks(-images, landmarker.landmarks)
    light_alone = ParameterFitSettings(rigid_steps=30, steps=5, largest_colour_error=0.1)
    assert not fit_parameters(-images, inverted, renderer, SIZES, light_alone).reliable.any()
    unread = KnownLandmarks(images, torch.full_like(landmarker.landmarks, torch.nan))
    assert not fit_parameters(
        images, unread, renderer, SIZES, ParameterFitSettings(rigid_steps=2, steps=2)
    ).reliable.any()


def test_larger_pictures_are_reduced():
    truth, _, renderer, _ = world(2)
    large = FaceRenderer(toy_face_model(), PerspectiveCamera(), 2 * SIZE)(truth)
    images = to_signed(large.image)
    found = fit_parameters(images, KnownLandmarks(images, large.landmarks), renderer, SIZES, QUICK)
    assert float(rotation_distance(found.parameters.rotation, truth.rotation).rad2deg().max()) < 8


def test_wrong_pictures_and_settings_are_refused():
    _, images, renderer, landmarker = world(1)
    for wrong in (images[:, :, ::2, ::2], images * float("nan")):
        with pytest.raises(InputError, match="finite pictures of at least 24 pixels"):
            fit_parameters(wrong, landmarker, renderer, SIZES)
    for options in ({"steps": 0}, {"batch_size": 0}, {"regulariser": -1.0}, {"largest_landmark_error": 0.0}):
        with pytest.raises(InputError, match="above 0"):
            ParameterFitSettings(**options)


def test_a_portrait_is_read_with_the_shipped_networks():
    from datamodules.portraits.corpus import CorpusSpec, draw_samples
    from datamodules.portraits.sampler import PortraitSampler
    from models.observers import load_landmark_detector

    spec = CorpusSpec(64, 2, 1, 123, 100_000, "coarse", 1)
    samples = draw_samples(PortraitSampler("coarse"), spec, torch.arange(2))
    face_model = FaceScene().load_face_model()
    truth = FaceParameters.unpack(samples["parameters"], face_model.sizes)
    renderer = FaceScene().renderer(face_model, 64)
    landmarker = load_landmark_detector("assets/demo_landmarks.safetensors")
    found = fit_parameters(samples["image"].float() / 127.5 - 1, landmarker, renderer, face_model.sizes, QUICK)
    assert float(rotation_distance(found.parameters.rotation, truth.rotation).rad2deg().max()) < 6
    assert found.reliable.all()
