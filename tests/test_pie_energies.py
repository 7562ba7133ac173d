"""PIE's energies: each term against its equation, what weights of 0 leave out, gradients, units."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_modules.pie.energies import PieEnergies, PieSample, PieTarget
from lightning_modules.pie.settings import EnergyWeights
from lightning_modules.render_loss import NOMINAL_FACE_SHARE, landmarks_66
from models.morphable import FaceParameters
from models.observers import IdentityNet, LandmarkNet
from models.perceptual import FeatureExtractor, PerceptualLoss
from models.stylegan2 import Generator
from models.stylerig import RigNet
from models.stylerig.face_encoder import FaceEncoder
from renderers.camera import PerspectiveCamera
from renderers.errors import InputError
from renderers.face_renderer import FaceRenderer
from tests.tiny_rig import LAYERS, WIDTH, tiny_generator
from tests.toy_face import SIZES, toy_face_model, toy_parameters

TERMS = ("pixels", "perceptual", "identity", "edit", "invariance", "recognition", "edited_recognition")
# Section 5 of the paper.
PUBLISHED = EnergyWeights(1e-6, 1e-6, 1.0, 10.0, 10.0, 0.001, 0.2, 0.1, 0.1, normalised=False)
ROTATION = SIZES.slice("rotation")
NO_TERM = dict.fromkeys(TERMS, 0.0)


class Colours(FeatureExtractor):
    """Features that a test can compute: the picture, and its squares at half the size."""

    name = "colours"

    def forward(self, images: Tensor) -> list[Tensor]:
        return [images, functional.avg_pool2d(images, 2).square()]


def energies(weights: EnergyWeights = EnergyWeights(), size: int = 16, generator: Generator | None = None, **changes: Any) -> PieEnergies:
    """Of random networks that are the same on every call; rendering at `size` pixels."""
    generator = generator or tiny_generator()
    torch.manual_seed(2)
    network = RigNet(LAYERS, WIDTH, ("rotation",), SIZES, latent=4)
    nn.init.normal_(network.decoder_weight, std=0.2)
    encoder = FaceEncoder(SIZES, widths=(4, 8), blocks=(1, 1), num_features=8, working_size=16)
    nn.init.normal_(encoder.readout.weight, std=0.5)
    parts: dict[str, Any] = {
        "perceptual": PerceptualLoss(Colours(), reduction="mean" if weights.normalised else "sum"),
        "embedder": IdentityNet(embedding_dim=6, base_width=4, working_size=16),
        **changes,
    }
    landmarker = LandmarkNet(working_size=16, widths=(4, 8, 8), blocks=(1, 1))
    renderer = FaceRenderer(toy_face_model(), PerspectiveCamera(), size)
    made = PieEnergies(generator, network, encoder, landmarker, renderer, weights, **parts)
    return made.eval().requires_grad_(False)


def codes(count: int = 2, seed: int = 0) -> Tensor:
    return torch.randn(count, LAYERS, WIDTH, generator=torch.Generator().manual_seed(seed))


def pictures(count: int = 2, size: int = 16, seed: int = 5) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def alone(term: str, **changes: float) -> EnergyWeights:
    """Weights of one term beside the pixels, without which no code is tied to a photo."""
    return EnergyWeights(**{**NO_TERM, "pixels": 1.0, term: 1.0, **changes})  # type: ignore[arg-type]


def edited_pictures(made: PieEnergies, w: Tensor, sample: PieSample) -> Tensor:
    """I(rignet(w, theta_v^tau)), step by step."""
    own = made.encoder(made.generator.synthesis(w).clamp(-1, 1))
    asked = own.clone()
    asked[:, ROTATION] = sample.parameters[:, ROTATION]
    return made.generator.synthesis(made.network.edit(w, own, asked)).clamp(-1, 1)


def render_loss(made: PieEnergies, images: Tensor, landmarks: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Squared residuals over the face's pixels in 0..1, of landmarks in pixels, and the numbers of face pixels."""
    render = made.loss.renderer(FaceParameters.unpack(parameters, SIZES))
    colours = (render.mask * ((images + 1) / 2 - render.image)).square().sum(dim=(1, 2, 3))
    points = (landmarks_66(landmarks) - landmarks_66(render.landmarks)).square().sum(dim=(1, 2))
    return colours, points, render.mask.sum(dim=(1, 2, 3))


def test_synthesis_term_compares_pixels_and_features() -> None:
    """Equation 7: sums over colours in 0..255 as published; normalised per pixel of colours in 0..1, and per feature."""
    photo, w = pictures(), codes()
    image = tiny_generator().synthesis(w)
    difference = (image - photo) / 2
    maps = [(one - other).square() for one, other in zip(Colours()(image), Colours()(photo), strict=True)]
    for weights in (PUBLISHED, EnergyWeights()):
        made = energies(weights)
        terms = made(w, made.target(photo), made.sample(codes(seed=1)))
        if weights.normalised:
            torch.testing.assert_close(terms["pixels"], difference.square().sum(dim=(1, 2, 3)) / 16**2)
            torch.testing.assert_close(terms["perceptual"], maps[0].mean(dim=(1, 2, 3)) + maps[1].mean(dim=(1, 2, 3)))
        else:
            torch.testing.assert_close(terms["pixels"], (255 * difference).square().sum(dim=(1, 2, 3)))
            torch.testing.assert_close(terms["perceptual"], maps[0].sum(dim=(1, 2, 3)) + maps[1].sum(dim=(1, 2, 3)))


def test_identity_term_asks_that_a_codes_own_parameters_leave_it_unchanged() -> None:
    """Equation 8; normalised per entry in units of the variance of W."""
    w = codes()
    for weights in (PUBLISHED, EnergyWeights()):
        made = energies(weights)
        own = made.encoder(made.generator.synthesis(w).clamp(-1, 1))
        moved = (w - made.network.edit(w, own, own)).square()
        expected = moved.mean(dim=(1, 2)) / made.generator.std_w.square().mean() if weights.normalised else moved.sum(dim=(1, 2))
        got = made(w, made.target(pictures()), made.sample(codes(seed=1)))["identity"]
        torch.testing.assert_close(got, expected)
        assert bool((got > 0).all())


def test_edit_and_invariance_terms_render_what_the_edited_picture_shows() -> None:
    """Equations 10, 11 and 13: the sample's picture under the achieved rotation, the photo under the achieved rest."""
    photo, w, v = pictures(), codes(), codes(seed=1)
    for weights in (PUBLISHED, EnergyWeights()):
        made = energies(weights)
        target, sample = made.target(photo), made.sample(v)
        terms = made(w, target, sample)
        achieved = made.encoder(edited_pictures(made, w, sample))
        image_v = made.generator.synthesis(v).clamp(-1, 1)
        turned, kept = sample.parameters.clone(), achieved.clone()
        turned[:, ROTATION], kept[:, ROTATION] = achieved[:, ROTATION], target.parameters[:, ROTATION]
        torch.testing.assert_close(sample.parameters, made.encoder(image_v))
        torch.testing.assert_close(target.parameters, made.encoder(photo))
        for name, images, parameters in (("edit", image_v, turned), ("invariance", photo, kept)):
            colours, points, covered = render_loss(made, images, made.landmarker(images), parameters)
            if weights.normalised:
                expected = weights.photometric * colours / covered + weights.landmark * points / (NOMINAL_FACE_SHARE * 16**2)
            else:
                expected = 0.001 * 255**2 * colours + 0.2 * points
            torch.testing.assert_close(terms[name], expected)


def test_edit_term_sees_the_edited_component_alone_and_invariance_the_others() -> None:
    made = energies()
    target, sample = made.target(pictures()), made.sample(codes(seed=1))
    achieved = toy_parameters(2, seed=3).pack()
    turned, other = achieved.clone(), achieved.clone()
    turned[:, ROTATION] += 0.2
    other[:, SIZES.slice("expression")] += 1.0
    other[:, SIZES.slice("illumination")] += 0.1
    torch.testing.assert_close(made.edit(other, sample), made.edit(achieved, sample))
    torch.testing.assert_close(made.invariance(turned, target), made.invariance(achieved, target))
    assert bool((made.edit(turned, sample) != made.edit(achieved, sample)).all())
    assert bool((made.invariance(other, target) != made.invariance(achieved, target)).all())


def test_recognition_terms_are_squared_distances_of_unit_vectors() -> None:
    """Equations 14 and 15: of the reconstruction and of the edited picture, both to the photo."""
    made, photo, w, v = energies(), pictures(), codes(), codes(seed=1)
    target, sample = made.target(photo), made.sample(v)
    terms = made(w, target, sample)
    for name, picture in (
        ("recognition", made.generator.synthesis(w).clamp(-1, 1)),
        ("edited_recognition", edited_pictures(made, w, sample)),
    ):
        assert made.embedder is not None
        cosine = (made.embedder(picture) * made.embedder(photo)).sum(dim=1)
        torch.testing.assert_close(terms[name], 2 - 2 * cosine, atol=1e-5, rtol=1e-4)
    assert bool((made.recognition(photo, target) < 1e-10).all())


def test_total_is_the_weighted_sum() -> None:
    for weights in (PUBLISHED, EnergyWeights()):
        made = energies(weights)
        terms = made(codes(), made.target(pictures()), made.sample(codes(seed=1)))
        assert set(terms) == {*TERMS, "total"} and made.terms == TERMS
        torch.testing.assert_close(terms["total"], sum(getattr(weights, name) * terms[name] for name in TERMS))


@pytest.mark.parametrize("left_out", TERMS)
def test_a_weight_of_zero_leaves_its_term_out(left_out: str) -> None:
    made = energies(replace(EnergyWeights(), **{left_out: 0.0}))  # type: ignore[arg-type]
    terms = made(codes(), made.target(pictures()), made.sample(codes(seed=1)))
    assert set(terms) == {*TERMS, "total"} - {left_out} and left_out not in made.terms
    whole = energies()
    expected = whole(codes(), whole.target(pictures()), whole.sample(codes(seed=1)))
    torch.testing.assert_close(terms["total"], expected["total"] - getattr(EnergyWeights(), left_out) * expected[left_out])


def test_the_fit_alone_needs_neither_samples_nor_other_networks() -> None:
    """As Image2StyleGAN's embedding: nothing is edited, nobody recognised."""
    weights = EnergyWeights(**{**NO_TERM, "pixels": 1.0})  # type: ignore[arg-type]
    made = energies(weights, perceptual=None, embedder=None)
    target = made.target(pictures())
    assert target.features == [] and target.embedding is None
    assert not weights.uses_rig and not weights.samples_edits
    assert set(made(codes(), target, None)) == {"pixels", "total"}
    own = alone("identity")
    assert own.uses_rig and not own.samples_edits
    made = energies(own, perceptual=None, embedder=None)
    assert set(made(codes(), made.target(pictures()), None)) == {"pixels", "identity", "total"}


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("per_layer", [True, False], ids=["W+", "W"])
def test_gradients_of_every_term_reach_the_codes(term: str, per_layer: bool) -> None:
    made = energies()
    target, sample = made.target(pictures()), made.sample(codes(seed=1))
    free = (codes() if per_layer else codes()[:, :1]).requires_grad_()
    made(free.expand(-1, LAYERS, -1), target, sample)[term].sum().backward()
    assert free.grad is not None and bool(torch.isfinite(free.grad).all())
    assert bool((free.grad.flatten(1).norm(dim=1) > 0).all())
    assert not any(tensor.requires_grad for tensor in (*target.rendering, *sample.rendering, sample.parameters, target.parameters))


def test_gradient_is_that_of_the_energy() -> None:
    """Against finite differences down the slope, where the energy has no edges: without rendering."""
    made = energies(replace(EnergyWeights(), edit=0.0, invariance=0.0))
    target, sample = made.target(pictures()), made.sample(codes(seed=1))
    w = codes().requires_grad_()
    made(w, target, sample)["total"].sum().backward()
    assert w.grad is not None
    length = w.grad.norm()
    step = 3e-3 * w.grad / length
    with torch.no_grad():
        ahead, behind = (made(w + sign * step, target, sample)["total"].double().sum() for sign in (1, -1))
    torch.testing.assert_close(float(ahead - behind) / 6e-3, float(length), rtol=0.02, atol=0)


def test_portraits_of_a_batch_do_not_touch_each_other() -> None:
    made, photo, w, v = energies(), pictures(3), codes(3), codes(3, seed=1)
    together = made(w, made.target(photo), made.sample(v))
    for row in range(3):
        one = slice(row, row + 1)
        single = made(w[one], made.target(photo[one]), made.sample(v[one]))
        for name, value in single.items():
            torch.testing.assert_close(value, together[name][one], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e38])
def test_a_code_that_is_lost_stops_no_other(value: float) -> None:
    """Its own energy is not finite; the renderer, which refuses such parameters, draws the other portrait's all the same."""
    made, w = energies(), codes()
    target, sample = made.target(pictures()), made.sample(codes(seed=1))
    whole = made(w, target, sample)["total"]
    lost = w.clone()
    lost[1] = value
    lost.requires_grad_()
    total = made(lost, target, sample)["total"]
    total.sum().backward()
    torch.testing.assert_close(total[0], whole[0])
    assert lost.grad is not None and bool(torch.isfinite(lost.grad[0]).all()) and not bool(torch.isfinite(total[1]))


def test_normalised_terms_mean_the_same_at_any_resolution() -> None:
    """The same face, difference and codes at another size: no term of the fit or of the rendering grows with the pixels."""
    values = []
    for size in (32, 128):
        made = energies(size=size)
        render = made.loss.renderer(toy_parameters(2))
        target = made.loss.targets(render.image * 2 - 1, render.landmarks)
        photo = functional.interpolate(pictures(size=8), size=size, mode="nearest")
        other = functional.interpolate(pictures(size=8, seed=6), size=size, mode="nearest")
        whole = PieTarget(photo, torch.zeros(2, 68, 2), toy_parameters(2).pack(), target, made.perceptual.feature_maps(photo), None)  # type: ignore[union-attr]
        sample = PieSample(toy_parameters(2).pack(), target)
        achieved = toy_parameters(2, seed=1).pack()
        values.append({**made.synthesis(other, whole), "edit": made.edit(achieved, sample), "invariance": made.invariance(achieved, whole)})
    for name in ("pixels", "perceptual"):
        torch.testing.assert_close(values[0][name], values[1][name])
    for name in ("edit", "invariance"):
        torch.testing.assert_close(values[0][name], values[1][name], rtol=0.03, atol=0)


def test_normalised_identity_term_does_not_hang_on_the_scale_of_w() -> None:
    """A generator of codes ten times as wide, and a network that edits ten times as far: the same energy, as no other term changes."""
    generator = tiny_generator()
    made = energies(generator=generator)
    own = toy_parameters(2).pack()
    before = made.identity(codes(), own)
    generator.std_w.mul_(10.0)
    with torch.no_grad():
        for weight in (made.network.decoder_weight, made.network.decoder_bias):
            assert isinstance(weight, Tensor)
            weight.mul_(10.0)
    torch.testing.assert_close(made.identity(codes(), own), before)


@pytest.mark.parametrize("changes", [{"edit": -0.1}, {"landmark": -1.0}, {"pixels": 0.0, "perceptual": 0.0}])
def test_weights_that_mean_nothing_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(InputError, match="weights of 0 or more"):
        replace(EnergyWeights(), **changes)  # type: ignore[arg-type]
