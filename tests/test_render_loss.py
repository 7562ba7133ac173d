"""The rerendering loss: values, balance, independence of resolution, gradients."""

import pytest
import torch
from torch.nn import functional

from lightning_modules.render_loss import NOMINAL_FACE_SHARE, RenderLoss, RenderLossWeights, landmarks_66
from models.morphable import FaceParameters
from renderers.camera import PerspectiveCamera
from renderers.errors import InputError
from renderers.face_renderer import FaceRenderer
from renderers.images import to_signed
from tests.toy_face import toy_face_model, toy_parameters


def make_loss(size: int = 32, primitive: str = "triangles", **weights: object) -> RenderLoss:
    renderer = FaceRenderer(toy_face_model(), PerspectiveCamera(), size, primitive)  # type: ignore[arg-type]
    return RenderLoss(renderer, RenderLossWeights(**weights))  # type: ignore[arg-type]


def truth(loss: RenderLoss, batch: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    render = loss.renderer(toy_parameters(batch))
    return loss.targets(to_signed(render.image), render.landmarks)


def test_66_landmarks_lack_the_inner_corners_of_the_mouth() -> None:
    numbers = torch.arange(68.0)[None, :, None].expand(1, 68, 2)
    kept = landmarks_66(numbers)[0, :, 0].tolist()
    assert len(kept) == 66 and 60 not in kept and 64 not in kept and kept[59:62] == [59, 61, 62]


@pytest.mark.parametrize("primitive", ["triangles", "points"])
def test_loss_vanishes_at_the_truth_only(primitive: str) -> None:
    loss = make_loss(primitive=primitive)
    target = truth(loss)
    terms = loss(*target, toy_parameters(3))
    assert terms.total < 1e-8
    other = loss(*target, toy_parameters(3, seed=1))
    assert other.photometric > 1e-3 and other.landmark > 1e-2
    torch.testing.assert_close(other.total, other.photometric + 17.5 * other.landmark)


def test_published_sums_and_their_normalisation() -> None:
    parameters = toy_parameters(1, seed=1)
    published, normalised = make_loss(normalised=False), make_loss()
    target = truth(published, batch=1)
    sums, means = published(*target, parameters), normalised(*target, parameters)
    render = published.renderer(parameters)
    expected = (render.mask * (target[0] - render.image)).square().sum()
    torch.testing.assert_close(sums.photometric, expected)
    torch.testing.assert_close(sums.landmark, (landmarks_66(render.landmarks) - target[1]).square().sum())
    torch.testing.assert_close(means.photometric, expected / render.mask.sum())
    torch.testing.assert_close(means.landmark, sums.landmark / (NOMINAL_FACE_SHARE * 32 * 32))


def test_normalised_loss_does_not_depend_on_resolution() -> None:
    values = []
    for size in (48, 192):
        loss = make_loss(size)
        values.append(loss(*truth(loss), toy_parameters(3, seed=1)))
    torch.testing.assert_close(values[0].landmark, values[1].landmark)
    torch.testing.assert_close(values[0].photometric, values[1].photometric, rtol=0.05, atol=0)


def test_larger_pictures_are_reduced_to_the_rendering() -> None:
    small, large = make_loss(24), make_loss(96)
    render = large.renderer(toy_parameters(2))
    target, landmarks = small.targets(to_signed(render.image), render.landmarks)
    assert target.shape == (2, 3, 24, 24) and target.min() >= 0 and target.max() <= 1
    torch.testing.assert_close(landmarks, landmarks_66(small.renderer.project_landmarks(toy_parameters(2))))
    assert small(target, landmarks, toy_parameters(2)).landmark < 1e-9


def test_robust_residuals_bound_what_one_pixel_can_cost() -> None:
    plain, robust = make_loss(landmark=0.0), make_loss(landmark=0.0, robust=0.1)
    target, landmarks = truth(plain)
    parameters = toy_parameters(3, seed=1)
    assert robust(target, landmarks, parameters).total < min(0.01, plain(target, landmarks, parameters).total)
    faint = target + 0.01
    torch.testing.assert_close(
        robust(faint, landmarks, toy_parameters(3)).total,
        plain(faint, landmarks, toy_parameters(3)).total,
        rtol=0.05,
        atol=0,
    )


def test_without_photometric_term_nothing_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    loss = make_loss(photometric=0.0)
    target = truth(loss)
    monkeypatch.setattr(loss.renderer, "forward", lambda parameters: pytest.fail("rendered"))
    terms = loss(*target, toy_parameters(3, seed=1))
    assert terms.photometric == 0 and terms.total > 0


def test_faces_outside_the_picture_cost_nothing_photometrically() -> None:
    loss = make_loss(landmark=0.0)
    away = toy_parameters(2).replace(translation=torch.full((2, 3), 50.0))
    assert loss(*truth(loss, 2), away).total == 0


@pytest.mark.parametrize("photometric", [1.0, 0.0])
def test_losses_of_each_sample_are_those_of_batches_of_one(photometric: float) -> None:
    loss = make_loss(photometric=photometric, robust_landmarks=0.1)
    target, landmarks = truth(loss)
    parameters = toy_parameters(3, seed=1)
    each = loss.of_each(target, landmarks, parameters)
    for sample in range(3):
        single = loss(target[sample : sample + 1], landmarks[sample : sample + 1], parameters[sample])
        torch.testing.assert_close(torch.stack([term[sample] for term in each]), torch.stack(single))
    torch.testing.assert_close(each.total.mean(), loss(target, landmarks, parameters).total)


@pytest.mark.parametrize("component", ["rotation", "translation", "identity", "expression"])
def test_landmark_gradients(component: str) -> None:
    loss = make_loss(photometric=0.0).double()
    target = [part.double() for part in truth(make_loss(), 2)]
    parameters = toy_parameters(2, seed=1).to(dtype=torch.float64)

    def value(changed: torch.Tensor) -> torch.Tensor:
        return loss(target[0], target[1], parameters.replace(**{component: changed})).total

    assert torch.autograd.gradcheck(value, (getattr(parameters, component).requires_grad_(True),))


def test_gradient_descent_on_parameters_finds_the_truth() -> None:
    loss = make_loss(40)
    target = truth(loss, 2)
    vector = toy_parameters(2, seed=3, spread=0.3).pack().requires_grad_(True)
    sizes = toy_parameters(1).sizes
    optimiser = torch.optim.Adam([vector], lr=0.03)
    parameters = toy_parameters(2)
    for _ in range(300):
        terms = loss(*target, type(parameters).unpack(vector, sizes))
        optimiser.zero_grad()
        terms.total.backward()
        optimiser.step()
    assert terms.photometric < 5e-3 and terms.landmark < 5e-3
    assert (type(parameters).unpack(vector, sizes).rotation - parameters.rotation).abs().max() < 0.1


def test_robust_landmarks_bound_what_a_wrong_one_can_cost() -> None:
    plain, robust = (
        make_loss(photometric=0.0, landmark=1.0),
        make_loss(photometric=0.0, landmark=1.0, robust_landmarks=0.1),
    )
    target, landmarks = truth(plain)
    wrong = landmarks.clone()
    wrong[:, 5] += 30
    torch.testing.assert_close(
        plain(target, wrong, toy_parameters(3)).total, torch.tensor(1800 / (NOMINAL_FACE_SHARE * 32 * 32))
    )
    assert robust(target, wrong, toy_parameters(3)).total < 3.2**2 / (NOMINAL_FACE_SHARE * 32 * 32)
    near = landmarks + 0.1
    torch.testing.assert_close(
        robust(target, near, toy_parameters(3)).total, plain(target, near, toy_parameters(3)).total, rtol=0.01, atol=0
    )


@pytest.mark.parametrize(
    "weights", [{"landmark": -1.0}, {"photometric": -1.0}, {"robust": 0.0}, {"robust_landmarks": 0.0}]
)
def test_bad_weights_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(InputError):
        RenderLossWeights(**weights)


@pytest.mark.parametrize("primitive", ["triangles", "points"])
@pytest.mark.parametrize("robust", [{}, {"robust": 0.3, "robust_landmarks": 0.1}])
def test_the_same_weights_pull_as_hard_on_an_upscaled_picture(primitive: str, robust: dict[str, float]) -> None:
    """A picture and the same one four times as large: equal losses, and equal gradients for the parameters."""
    small, large = (make_loss(size, primitive, landmark=100.0, **robust) for size in (64, 256))
    with torch.no_grad():
        image, landmarks = truth(small)
    targets = ((image, landmarks), (functional.interpolate(image, scale_factor=4, mode="nearest"), 4 * landmarks))
    values, gradients = [], []
    for loss, target in zip((small, large), targets, strict=True):
        vector = toy_parameters(3, seed=1).pack().requires_grad_(True)
        value = loss(*target, FaceParameters.unpack(vector, toy_face_model().sizes)).total
        values.append(value.detach())
        gradients.append(torch.autograd.grad(value, vector)[0])
    torch.testing.assert_close(values[1], values[0], rtol=0.02, atol=0)
    assert functional.cosine_similarity(*(g.flatten() for g in gradients), dim=0) > 0.99
    torch.testing.assert_close(gradients[1].norm(), gradients[0].norm(), rtol=0.05, atol=0)
