"""Faces fitted in batches to known pictures: descent of each row, terms, failures."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from datamodules.face_fits import (
    FAILURES,
    FaceFits,
    FaceFitSettings,
    FitWeights,
    fit_faces,
)
from datamodules.face_fits.descent import DescentSchedule, descend_rows
from datamodules.face_fits.objective import FitObjective
from models.morphable import FaceParameters, MorphableModel
from renderers.camera import PerspectiveCamera
from renderers.errors import InputError
from renderers.face_renderer import FaceRenderer
from renderers.images import to_signed
from renderers.rotation import rotation_distance
from tests.toy_face import SIZES, toy_face_model, toy_parameters

SIZE = 24
QUICK = FaceFitSettings(rigid_steps=50, steps=30)


def world(count: int) -> tuple[FaceParameters, Tensor, Tensor, FaceRenderer, MorphableModel]:
    """Toy faces, their pictures and landmarks, and who draws them."""
    model = toy_face_model()
    renderer = FaceRenderer(model, PerspectiveCamera(), SIZE)
    truth = toy_parameters(count, spread=0.5)
    render = renderer(truth)
    return truth, to_signed(render.image), render.landmarks, renderer, model


def fitted(count: int, settings: FaceFitSettings = QUICK, batch_size: int = 64) -> tuple[FaceParameters, FaceFits]:
    truth, *rest = world(count)
    return truth, fit_faces(*rest, settings, batch_size)


def bowl(targets: Tensor, scale: Tensor):
    """Losses whose least values lie at `targets`, of identity coefficients."""

    def loss(rows: Tensor, parameters: FaceParameters) -> Tensor:
        return scale[rows] * (parameters.identity[:, :1] - targets[rows]).square().sum(dim=1)

    return loss


def test_poses_of_known_pictures_are_recovered_and_kept():
    truth, fits = fitted(4, replace(QUICK, rigid_steps=60, steps=45, tolerance=0.0))
    assert float(rotation_distance(fits.parameters.rotation, truth.rotation).rad2deg().max()) < 4
    assert fits.failure.tolist() == [0] * 4 and float(fits.landmark_error.max()) < 0.01
    # The weight on even skin, which the toy's is not, keeps colours from agreeing entirely.
    assert float(fits.colour_error.max()) < 0.2
    assert not fits.parameters.pack().requires_grad


def test_fits_do_not_depend_on_the_batch():
    few = replace(QUICK, rigid_steps=6, steps=4, tolerance=0.0)
    _, together = fitted(3, few)
    _, apart = fitted(3, few, batch_size=2)
    torch.testing.assert_close(together.parameters.pack(), apart.parameters.pack(), atol=2e-3, rtol=1e-2)
    assert together.steps.tolist() == apart.steps.tolist() == [4] * 3


def test_a_row_is_optimised_as_by_torch_alone():
    start, targets = FaceParameters.zeros(3, SIZES), torch.tensor([[1.0], [-2.0], [0.5]])
    found = descend_rows(
        bowl(targets, torch.ones(3)), start, DescentSchedule(20, {"identity": 0.1}, decay=True, batch_size=2)
    )
    for row in range(3):
        value = torch.zeros(1, requires_grad=True)
        adam = torch.optim.Adam([value], lr=0.1)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(adam, 20)
        for _ in range(20):
            adam.zero_grad()
            (value - targets[row]).square().sum().backward()
            adam.step()
            cosine.step()
        torch.testing.assert_close(found.parameters.identity[row, :1], value.detach(), atol=1e-5, rtol=1e-4)
    assert not found.parameters.identity[:, 1:].any() and not found.parameters.rotation.any()


def test_a_row_that_has_converged_ends_and_makes_room():
    targets = torch.tensor([[0.05], [3.0], [0.05], [3.0]])
    schedule = DescentSchedule(400, {"identity": 0.05}, tolerance=0.1, window=10, batch_size=2)
    # A constant that nothing moves: the near targets are soon as good as reached.
    loss = bowl(targets, torch.ones(4))
    found = descend_rows(
        lambda rows, parameters: loss(rows, parameters) + 0.1, FaceParameters.zeros(4, SIZES), schedule
    )
    assert (found.steps[[0, 2]] < found.steps[[1, 3]]).all() and int(found.steps.max()) < 400
    torch.testing.assert_close(found.parameters.identity[:, :1], targets, atol=0.2, rtol=0)
    alone = descend_rows(
        lambda rows, parameters: loss(rows, parameters) + 0.1,
        FaceParameters.zeros(4, SIZES),
        replace(schedule, batch_size=1),
    )
    assert alone.steps.tolist() == found.steps.tolist()


def test_failures_are_told_apart():
    _, images, landmarks, renderer, model = world(4)
    landmarks[1] = torch.nan
    landmarks[2] = torch.rand(68, 2) * SIZE
    images[3] = -images[3]
    fits = fit_faces(
        images,
        landmarks,
        renderer,
        model,
        replace(QUICK, steps=5, largest_landmark_error=0.05, largest_colour_error=0.1),
    )
    assert [FAILURES[number] for number in fits.failure[1:].tolist()] == [
        "landmarks not read",
        "landmarks missed",
        "colours missed",
    ]
    assert bool(torch.isfinite(fits.parameters.pack()).all())


def test_terms_have_the_published_form():
    truth, images, landmarks, renderer, model = world(2)
    objective = FitObjective(renderer, model, FitWeights(), images, landmarks)
    everyone, mean = torch.arange(2), FaceParameters.zeros(2, SIZES)
    weights = torch.ones(68)
    weights[28:31] = weights[48:68] = 10
    squared = (renderer.project_landmarks(mean) - landmarks).square().sum(dim=2) / SIZE**2
    wanted = 100 * (squared * weights).sum(dim=1) / weights.sum()
    torch.testing.assert_close(objective.rigid(everyone, mean), wanted)
    colours = model.albedo(truth.reflectance)
    flatness = (colours - colours.mean(dim=1, keepdim=True)).square().sum(dim=2).mean(dim=1)
    priors = [
        scale * getattr(truth, name).square().sum(dim=1)
        for name, scale in (("identity", 1e-3), ("expression", 8e-4), ("reflectance", 1.7e-6))
    ]
    # At the truth landmarks agree, and colours to the root of the smallest square.
    torch.testing.assert_close(objective.full(everyone, truth), flatness + sum(priors), atol=1e-3, rtol=0)
    published = FaceFitSettings.published()
    assert (published.rigid_steps, published.steps, set(vars(published.rates).values())) == (1000, 500, {0.01})


def test_wrong_settings_and_pictures_are_refused():
    for options in ({"steps": 0}, {"tolerance": 1.0}, {"largest_colour_error": 0.0}):
        with pytest.raises(InputError, match="expected"):
            FaceFitSettings(**options)
    with pytest.raises(InputError, match="landmarks that count"):
        FitWeights(landmark=0.0)
    with pytest.raises(InputError, match="finite step sizes"):
        DescentSchedule(1, {"rotation": 0.0})
    _, images, landmarks, renderer, model = world(1)
    with pytest.raises(InputError, match="finite pictures"):
        fit_faces(images * torch.nan, landmarks, renderer, model)
    with pytest.raises(InputError, match="at least 24 x 24 pixels"):
        fit_faces(images[:, :, ::2, ::2], landmarks, renderer, model)
    with pytest.raises(InputError, match="68 landmarks, got 66"):
        fit_faces(images, landmarks[:, :66], renderer, model)
