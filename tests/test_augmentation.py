"""Adaptive discriminator augmentation: each step against its definition, gradients, and how the probability adapts."""

import math

import pytest
import torch
from torch.nn import functional as F

from models.stylegan2.augmentation import AdaptiveAugmentation, Augmentation
from models.stylegan2.augmentation_steps import (
    SYM2,
    SYM6,
    blit,
    colour_matrices,
    cut_out,
    filter_bands,
    inverse_geometry,
    recolour,
    warp,
)
from renderers.errors import InputError

GROUPS = ("blitting", "geometry", "colour", "filtering", "noise", "cutout")
EVERYTHING = Augmentation(filtering=True, noise=True, cutout=True)
IDENTITY = torch.eye(2, 3)


def only(group: str) -> Augmentation:
    return Augmentation(**{name: name == group for name in GROUPS})


def pictures(batch: int = 4, size: int = 16) -> torch.Tensor:
    """Smooth random pictures within [-1, 1]."""
    coarse = torch.randn(batch, 3, 5, 5, generator=torch.Generator().manual_seed(5))
    return F.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=True).tanh()


class Draws:
    """Draws for a batch whose uniform and normal numbers are given, and whose changes are all chosen or none."""

    def __init__(self, batch: int, always: bool = True, uniforms: tuple[float, ...] = (), normals: tuple[float, ...] = ()):
        self.batch, self.always = batch, always
        self.uniforms, self.normals = iter(uniforms), iter(normals)

    def chosen(self, chance: object = None) -> torch.Tensor:
        return torch.full((self.batch,), self.always)

    def uniform(self, *shape: int) -> torch.Tensor:
        return torch.full((self.batch, *shape), next(self.uniforms))

    def normal(self, *shape: int) -> torch.Tensor:
        return torch.full((self.batch, *shape), next(self.normals))


@pytest.mark.parametrize("size", [4, 16, 33])
def test_nothing_changes_at_probability_zero(size: int) -> None:
    images = pictures(size=size)
    assert torch.equal(EVERYTHING(images, torch.tensor(0.0)), images)


@pytest.mark.parametrize("group", GROUPS)
def test_each_group_changes_pictures_and_follows_its_seed(group: str) -> None:
    images = pictures()
    first, second, third = (
        only(group)(images, torch.tensor(1.0), torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(first, second) and not torch.equal(first, third)
    assert first.shape == images.shape and torch.isfinite(first).all()


def test_the_probability_is_how_often_pictures_change() -> None:
    images = pictures(4000, size=4)
    for probability in (0.2, 0.7):
        for group, chance in (("noise", probability), ("geometry", 1 - (1 - probability) ** 4)):
            changed = only(group)(images, torch.tensor(probability)) != images
            assert changed.flatten(1).any(dim=1).float().mean() == pytest.approx(chance, abs=0.03)


@pytest.mark.parametrize("group", GROUPS)
def test_gradients_reach_the_images(group: str) -> None:
    images = pictures(2, size=8).double()
    # In float64 throughout, which the module itself avoids.
    draws = torch.Generator()

    def chosen(chance: object = None) -> torch.Tensor:
        return torch.ones(2, dtype=torch.bool)

    def number(draw: object) -> object:
        return lambda *shape: draw(2, *shape, generator=draws, dtype=torch.float64)  # type: ignore[operator]

    uniform, normal = number(torch.rand), number(torch.randn)

    def change(x: torch.Tensor) -> torch.Tensor:
        draws.manual_seed(3)
        if group == "blitting":
            return blit(x, chosen, uniform)
        if group == "geometry":
            return warp(x, inverse_geometry(torch.tensor(1.0, dtype=torch.float64), chosen, normal, uniform)[0])
        if group == "colour":
            matrices = colour_matrices(lambda: torch.ones(2, dtype=torch.bool), lambda: normal().float(), lambda: uniform().float())
            return recolour(x, matrices.double())
        if group == "filtering":
            return filter_bands(x, chosen, lambda: normal().float())
        if group == "noise":
            return x + 0.1 * normal(3, 8, 8)
        return cut_out(x, chosen, uniform)

    assert torch.autograd.gradcheck(change, images.clone().requires_grad_(), fast_mode=True)


def test_gradients_reach_the_generator_through_everything() -> None:
    images = pictures(8).requires_grad_()
    EVERYTHING(images, torch.tensor(0.8)).square().sum().backward()
    assert images.grad is not None and torch.isfinite(images.grad).all()
    assert (images.grad.flatten(1).abs().sum(dim=1) > 0).all()


def test_wavelets_are_orthonormal() -> None:
    for taps in (SYM2, SYM6):
        wavelet = torch.tensor(taps, dtype=torch.float64)
        assert float(wavelet.sum()) == pytest.approx(math.sqrt(2), abs=1e-7)
        for shift in range(0, len(taps), 2):
            product = float((wavelet[: len(taps) - shift] * wavelet[shift:]).sum())
            assert product == pytest.approx(1.0 if shift == 0 else 0.0, abs=1e-7)


def test_blitting_moves_pixels_whole() -> None:
    images = pictures(2)
    # Numbers in the order they are drawn: mirror, quarter turns, shift.
    still = 0.5 - 1e-6
    mirrored = blit(images, Draws(2, uniforms=(0.1, 0.0, still)).chosen, Draws(2, uniforms=(0.1, 0.0, still)).uniform)
    assert torch.equal(mirrored, images.flip(3))
    for turns in range(4):
        turned = blit(images, Draws(2).chosen, Draws(2, uniforms=(0.9, turns / 4 + 0.1, still)).uniform)
        assert torch.equal(turned, torch.rot90(images, turns, (2, 3)))
    shifted = blit(images, Draws(2).chosen, Draws(2, uniforms=(0.9, 0.0, 1 - 1e-6)).uniform)
    assert torch.equal(shifted[:, :, 2:, 2:], images[:, :, :-2, :-2])
    assert torch.equal(shifted[:, :, 0], shifted[:, :, 4])
    # Every value stays somewhere: the reflected border repeats values of the picture.
    assert torch.isin(shifted, images).all()


def test_warping_by_the_identity_keeps_pictures() -> None:
    images = torch.randn(2, 3, 16, 16)
    same = warp(images, IDENTITY.repeat(2, 1, 1))
    torch.testing.assert_close(same[:, :, 3:-3, 3:-3], images[:, :, 3:-3, 3:-3], atol=1e-5, rtol=0)
    flat = torch.full((1, 3, 16, 16), 0.3)
    everywhere = torch.tensor([[[0.4, -1.3, 0.7], [0.9, 0.2, -1.1]]])
    torch.testing.assert_close(warp(flat, everywhere), flat, atol=1e-5, rtol=0)


def test_warping_moves_the_right_way() -> None:
    images = pictures(1, size=32)
    # Four pixels to the right and two up: the inverse looks as far left and down.
    inverse = IDENTITY.clone()[None]
    inverse[0, 0, 2], inverse[0, 1, 2] = -4 / 16, 2 / 16
    moved = warp(images, inverse)
    torch.testing.assert_close(moved[:, :, 4:-6, 8:-4], images[:, :, 6:-4, 4:-8], atol=1e-4, rtol=0)
    quarter = torch.tensor([[[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]])
    assert (warp(images, quarter) - torch.rot90(images, 1, (2, 3))).abs().mean() < 0.02


def test_warping_reflects_at_the_borders() -> None:
    images = pictures(1, size=32)
    # All that is seen lies to the right of the picture: its mirror image.
    beyond = IDENTITY.clone()[None]
    beyond[0, 0, 2] = 2.0
    assert (warp(images, beyond) - images.flip(3)).abs().mean() < 0.02


def test_warping_does_not_alias() -> None:
    stripes = torch.ones(1, 3, 64, 64)
    stripes[..., ::2] = -1
    half = torch.tensor([[[2.0, 0.0, 0.03], [0.0, 2.0, 0.0]]])
    # Stripes of one pixel cannot be shown at half the size; plain sampling would show some.
    assert warp(stripes, half)[:, :, 24:40, 24:40].abs().max() < 0.1


def test_geometry_inverts_its_parts_in_order() -> None:
    # Scale by 2^0.2, turn by 90 degrees, stretch by 2^0.2, turn by -90 degrees, shift by a quarter of the half side.
    draws = Draws(1, normals=(1.0, 1.0, 1.0), uniforms=(0.75, 0.25))
    inverse, moved = inverse_geometry(torch.tensor(1.0), draws.chosen, draws.normal, draws.uniform)
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    linear = turn.T @ torch.diag(torch.tensor([2**0.2, 2**-0.2])) @ turn * 2**0.2
    forward = torch.cat([torch.cat([linear, torch.full((2, 1), 0.25)], dim=1), torch.tensor([[0.0, 0.0, 1.0]])])
    torch.testing.assert_close(inverse[0], torch.linalg.inv(forward)[:2], atol=1e-6, rtol=1e-5)
    assert moved.all()


def test_colours_keep_what_they_should() -> None:
    def matrix(normals: tuple[float, ...], uniforms: tuple[float, ...]) -> torch.Tensor:
        draws = Draws(1, normals=normals, uniforms=uniforms)
        return colour_matrices(draws.chosen, draws.normal, draws.uniform)[0]

    # Normals: brightness, contrast, saturation; uniforms: luma flip, hue (0.5 is no turn).
    grey, red = torch.ones(3), torch.tensor([1.0, 0.0, 0.0])
    torch.testing.assert_close(matrix((0.0, 0.0, 0.0), (0.9, 0.5)), torch.eye(3, 4), atol=1e-6, rtol=0)
    brighter = matrix((1.0, 0.0, 0.0), (0.9, 0.5))
    torch.testing.assert_close(brighter, torch.cat([torch.eye(3), torch.full((3, 1), 0.2)], 1), atol=1e-6, rtol=0)
    contrast = matrix((0.0, 2.0, 0.0), (0.9, 0.5))
    torch.testing.assert_close(contrast, 2 * torch.eye(3, 4), atol=1e-6, rtol=0)
    flipped = matrix((1.0, 0.0, 0.0), (0.1, 0.5))
    torch.testing.assert_close(flipped[:, :3] @ grey + flipped[:, 3], torch.full((3,), -1.2), atol=1e-6, rtol=0)
    chroma = red - grey / 3
    torch.testing.assert_close(flipped[:, :3] @ chroma, chroma, atol=1e-6, rtol=0)
    # A third of a turn takes red to green and keeps greys.
    turned = matrix((0.0, 0.0, 0.0), (0.9, 0.5 + 1 / 3))
    torch.testing.assert_close(turned[:, :3] @ red, red.roll(1), atol=1e-6, rtol=0)
    torch.testing.assert_close(turned[:, :3] @ grey, grey, atol=1e-6, rtol=0)
    vivid = matrix((0.0, 0.0, 1.0), (0.9, 0.5))
    torch.testing.assert_close(vivid[:, :3] @ chroma, 2 * chroma, atol=1e-6, rtol=0)
    torch.testing.assert_close(vivid[:, :3] @ grey, grey, atol=1e-6, rtol=0)


def test_colours_keep_the_mean_over_many_pictures() -> None:
    """Grey pictures stay grey on average: no change prefers a colour or, with as many flips as not, a brightness."""
    images = torch.zeros(20_000, 3, 4, 4)
    mean = only("colour")(images, torch.tensor(1.0)).mean(dim=(0, 2, 3))
    assert mean.abs().max() < 0.01


def test_filters_change_one_band_at_constant_expected_power() -> None:
    flat = torch.full((1, 3, 32, 32), 0.5)
    expected = []
    for band in range(4):
        gains = [0.0] * 4
        gains[band] = 1.0
        draws = Draws(1, normals=tuple(gains))
        factor = 1 / math.sqrt(1 + 3 * (10 / 13 if band == 0 else 1 / 13))
        result = filter_bands(flat, draws.chosen, draws.normal)
        # A flat picture has its power in the lowest band alone,
        # along both axes.
        torch.testing.assert_close(result, flat * (factor * (2 if band == 0 else 1)) ** 2, atol=1e-5, rtol=0)
        expected.append(factor)
    checker = torch.ones(1, 3, 32, 32)
    checker[..., ::2] = -1
    draws = Draws(1, normals=(0.0, 0.0, 0.0, 1.0))
    result = filter_bands(checker, draws.chosen, draws.normal)
    # Up and down the stripes are flat, across them they belong to the highest band.
    torch.testing.assert_close(result[..., 8:-8, 8:-8], checker[..., 8:-8, 8:-8] * 2 * expected[3] ** 2, atol=1e-4, rtol=0)


def test_noise_and_cutout_have_the_published_strength() -> None:
    images = torch.zeros(3000, 3, 8, 8)
    noisy = only("noise")(images, torch.tensor(1.0))
    assert noisy.std() == pytest.approx(0.1, abs=0.005) and abs(float(noisy.mean())) < 1e-3
    ones = torch.ones(3000, 3, 8, 8)
    hidden = (only("cutout")(ones, torch.tensor(1.0)) == 0).float()
    # A side of one half anywhere: three quarters of it lie inside on average along each axis.
    assert hidden.mean() == pytest.approx((0.5 * 0.875) ** 2, abs=0.01)


def test_full_precision_under_autocast() -> None:
    images = pictures()
    plain = EVERYTHING(images, torch.tensor(1.0), torch.Generator().manual_seed(1))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = EVERYTHING(images, torch.tensor(1.0), torch.Generator().manual_seed(1))
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, plain)


def test_oblong_pictures_are_refused() -> None:
    with pytest.raises(InputError, match="square"):
        Augmentation()(torch.zeros(1, 3, 4, 8), torch.tensor(1.0))


def test_the_probability_adapts_to_the_signs() -> None:
    augmentation = AdaptiveAugmentation(target=0.6, images_to_one=1000.0, interval=2)
    sure, unsure = torch.ones(4), torch.tensor([1.0, 1.0, 1.0, -1.0])
    augmentation.adapt(sure, 10)
    assert augmentation.probability == 0
    augmentation.adapt(sure, 10)
    # Two steps of ten images towards 1 within a thousand.
    assert augmentation.probability == pytest.approx(0.02)
    for _ in range(2):
        augmentation.adapt(unsure, 10)
    assert augmentation.probability == pytest.approx(0.0, abs=1e-7)
    for _ in range(4):
        augmentation.adapt(-sure, 10)
    assert augmentation.probability == 0
    for _ in range(200):
        augmentation.adapt(sure, 10)
    assert augmentation.probability == 1


def test_ranks_agree_on_the_probability() -> None:
    mine, theirs = torch.ones(4), -torch.ones(4)
    augmentation = AdaptiveAugmentation(images_to_one=100.0, interval=1, initial=0.5)
    augmentation.adapt(mine, 8, lambda own: (own + theirs.mean()) / 2)
    assert augmentation.probability == pytest.approx(0.42)


def test_its_state_is_kept() -> None:
    first, second = AdaptiveAugmentation(interval=3, images_to_one=100.0), AdaptiveAugmentation(interval=3, images_to_one=100.0)
    first.adapt(torch.ones(2), 6)
    second.load_state_dict(first.state_dict())
    for augmentation in (first, second):
        augmentation.adapt(torch.ones(2), 6)
        augmentation.adapt(torch.ones(2), 6)
    assert first.probability == second.probability == pytest.approx(0.18)


@pytest.mark.parametrize("options", [{"target": 2.0}, {"images_to_one": 0.0}, {"interval": 0}, {"initial": 1.5}])
def test_bad_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match="correct them"):
        AdaptiveAugmentation(**options)
