"""Synthetic portraits: the latent determines the picture, and the truth fits it."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from commands.render_portraits import render_portraits
from datamodules.portraits import LatentLayout, PortraitSampler
from datamodules.portraits.controls import expression_strengths, light, rotation
from datamodules.portraits.distributions import excess, gate, palette, plateaus, smoothstep, uniform
from datamodules.portraits.hair import STYLES, hair_controls
from datamodules.portraits.noise import band_limited, noise_texture, sample_tiled
from datamodules.portraits.occlusion import sphere_directions
from renderers.errors import InputError
from renderers.shading import irradiance


@pytest.fixture(scope="module")
def sampler() -> PortraitSampler:
    return PortraitSampler("coarse")


def _latents(sampler: PortraitSampler, count: int, seed: int = 0) -> torch.Tensor:
    index = torch.arange(count)
    return sampler.latents(index, torch.zeros_like(index), seed)


def test_layout_slices_cover_the_vector() -> None:
    layout = LatentLayout()
    stops = [part.stop for part in layout.slices.values()]
    assert [part.start for part in layout.slices.values()] == [0, *stops[:-1]]
    assert stops[-1] == layout.total
    assert 192 <= layout.total <= 256
    assert layout.person == layout.slices["complexion"].stop
    with pytest.raises(InputError, match="numbers, got 7"):
        layout.split(torch.zeros(2, 7))


def test_latents_depend_on_the_sample_alone(sampler: PortraitSampler) -> None:
    person, shot = torch.tensor([5, 5, 9]), torch.tensor([0, 1, 0])
    rows = sampler.latents(person, shot, seed=3)
    assert torch.equal(rows[1:2], sampler.latents(person[1:2], shot[1:2], seed=3))
    own = sampler.layout.person
    assert torch.equal(rows[0, :own], rows[1, :own])
    assert not torch.equal(rows[0, own:], rows[1, own:])
    assert not torch.equal(rows[0], sampler.latents(person[:1], shot[:1], seed=4)[0])
    with pytest.raises(InputError, match="person numbers"):
        sampler.latents(torch.tensor([-1]), torch.tensor([0]), 0)


def test_latents_are_standard_normal(sampler: PortraitSampler) -> None:
    rows = _latents(sampler, 2000)
    assert abs(rows.mean().item()) < 0.01
    assert abs(rows.std().item() - 1) < 0.01


def test_picture_does_not_depend_on_the_batch(sampler: PortraitSampler) -> None:
    latents = _latents(sampler, 4)
    together = sampler.render(latents, 32, 1)
    alone = sampler.render(latents[2:3], 32, 1)
    # A pixel on an edge may change hands where a matrix product rounds differently.
    changed = (together.image[2] - alone.image[0]).abs().amax(0) > 0.02
    assert changed.float().mean() < 0.005
    assert torch.allclose(together.parameters.pack()[2], alone.parameters.pack()[0], atol=1e-5)
    assert torch.equal(sampler.render(latents, 32, 1).image, together.image)


def test_shapes_ranges_and_truth(sampler: PortraitSampler) -> None:
    picture = sampler.render(_latents(sampler, 3), 48, 2)
    assert picture.image.shape == (3, 3, 48, 48)
    assert picture.image.isfinite().all() and picture.image.abs().max() <= 1
    assert picture.mask.shape == (3, 1, 48, 48) and picture.mask.dtype == torch.bool
    assert picture.landmarks.shape == (3, 68, 2)
    assert picture.parameters.sizes == sampler.face_model.sizes
    covered = picture.depth.isfinite()
    # The camera stands 10 dm away, heads are about 1 dm further.
    assert (picture.depth[covered] > 8).all() and (picture.depth[covered] < 14).all()
    assert (covered | ~picture.mask).all()
    share = picture.mask.float().mean((1, 2, 3))
    assert (share > 0.08).all() and (share < 0.6).all()


def test_landmarks_lie_where_the_face_is(sampler: PortraitSampler) -> None:
    """The nose's landmark of a frontal bare face falls on the face mask, the eyes at the alignment's height."""
    latents = torch.zeros(1, sampler.latent_size)
    picture = sampler.render(latents, 64, 1)
    x, y = picture.landmarks[0, 30].long().tolist()
    assert picture.mask[0, 0, y, x]
    assert 0.42 < picture.landmarks[0, 36:48, 1].mean() / 64 < 0.52
    assert 0.78 < picture.landmarks[0, 8, 1] / 64 < 0.95


def test_rotation_of_the_truth_turns_the_nose(sampler: PortraitSampler) -> None:
    latents = torch.zeros(3, sampler.latent_size)
    yaw = sampler.layout.slices["rotation"].start + 1
    latents[:, yaw] = torch.tensor([-1.5, 0.0, 1.5])
    picture = sampler.render(latents, 32, 1)
    nose = picture.landmarks[:, 30, 0] - picture.landmarks[:, 36:48, 0].mean(1)
    assert nose[0] < nose[1] < nose[2]
    assert torch.allclose(picture.parameters.rotation[0, 1], -picture.parameters.rotation[2, 1])


def test_every_latent_part_changes_the_picture(sampler: PortraitSampler) -> None:
    base = torch.zeros(1, sampler.latent_size)
    reference = sampler.render(base, 48, 1).image
    for name, part in sampler.layout.slices.items():
        changed = base.clone()
        changed[:, part] = 1.6
        assert not torch.equal(sampler.render(changed, 48, 1).image, reference), name


def test_near_latents_give_near_pictures(sampler: PortraitSampler) -> None:
    latents = _latents(sampler, 6)
    step = 1e-3 * torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
    near = (sampler.render(latents + step, 32, 2).image - sampler.render(latents, 32, 2).image).abs().mean()
    far = (sampler.render(latents.flip(0), 32, 2).image - sampler.render(latents, 32, 2).image).abs().mean()
    assert near < 0.02 * far


def test_pose_distribution() -> None:
    angles = torch.rad2deg(rotation(torch.randn(20000, 3)))
    pitch, yaw, roll = angles.std(0).tolist()
    assert 17 < yaw < 21 and 6 < pitch < 8 and 2.5 < roll < 3.5
    assert angles[:, 1].abs().max() < 60


def test_expressions_are_mostly_neutral_to_smiling() -> None:
    strengths = expression_strengths(torch.randn(5000, 16))
    assert 0.25 < strengths["smile_left"].median() < 0.7
    assert (strengths["jaw_open"] > 0.35).float().mean() < 0.25
    assert (strengths["blink"] > 0.6).float().mean() < 0.08
    assert all((value >= 0).all() for name, value in strengths.items() if name != "jaw_side")


def test_light_is_positive_and_well_exposed() -> None:
    lit = light(torch.randn(500, 12))
    received = irradiance(sphere_directions(64).expand(500, -1, -1), lit.illumination)
    front = irradiance(torch.tensor([0.0, 0.0, 1.0]).expand(500, 1, 3), lit.illumination)
    assert 0.85 < front.mean() < 1.25
    assert (received > 0).float().mean() > 0.99
    assert torch.allclose(lit.key_direction.norm(dim=1), torch.ones(500))


def test_hair_styles_all_occur_and_follow_their_shares() -> None:
    latent = torch.randn(8000, 12)
    bald = (hair_controls(latent).style.opacity < 0.5).float().mean()
    expected = sum(style.share for style in STYLES if style.opacity == 0) / sum(style.share for style in STYLES)
    assert len(STYLES) >= 8
    assert abs(bald - expected) < 0.02


def test_distribution_helpers() -> None:
    latent = torch.randn(40000, generator=torch.Generator().manual_seed(1))
    assert abs(uniform(latent, 2.0, 4.0).mean() - 3) < 0.01
    assert abs((gate(latent, 0.2) > 0.5).float().mean() - 0.2) < 0.01
    assert abs((excess(latent, 0.3) > 0).float().mean() - 0.3) < 0.01
    assert smoothstep(1.0, 0.0, torch.tensor([0.0, 0.5, 1.0])).tolist() == [1.0, 0.5, 0.0]
    ramp = palette(torch.tensor([-1.0, 0.25, 2.0]), torch.tensor([0.0, 0.5, 1.0]), torch.tensor([[0.0], [1.0], [3.0]]))
    assert ramp[:, 0].tolist() == [0.0, 0.5, 3.0]
    rows = plateaus(torch.tensor([0.1, 0.5, 0.9]), torch.tensor([0.5]), torch.tensor([[0.0], [2.0]]), 0.1)
    assert rows[:, 0].tolist() == pytest.approx([0.0, 1.0, 2.0])


def test_noise_tiles_and_loses_its_fine_waves() -> None:
    texture = noise_texture()
    assert texture.std((1, 2)).tolist() == pytest.approx([1, 1, 1], abs=1e-3)
    at = torch.tensor([[0.2, 0.7]])
    assert torch.allclose(sample_tiled(texture, at), sample_tiled(texture, at + torch.tensor([1.0, -2.0])), atol=1e-4)
    coarse = band_limited(texture, 1.0, 0.1)
    assert (coarse.std((1, 2)) < texture.std((1, 2))).all()


def test_bad_sizes_are_refused(sampler: PortraitSampler) -> None:
    with pytest.raises(InputError, match="image size"):
        sampler.render(torch.zeros(1, sampler.latent_size), 0)


def test_contact_sheet_and_arrays(tmp_path: Path) -> None:
    render_portraits(tmp_path / "sheet.png", num_samples=3, image_size=16, density="coarse", columns=2, supersample=1)
    assert Image.open(tmp_path / "sheet.png").size == (32, 32)
    folder = tmp_path / "corpus"
    render_portraits(folder, num_samples=3, image_size=16, density="coarse", supersample=1)
    images = np.load(folder / "images.npy")
    assert images.shape == (3, 3, 16, 16) and images.dtype == np.uint8
    assert np.load(folder / "parameters.npy").shape == (3, 257)
    with pytest.raises(InputError, match="png"):
        render_portraits(tmp_path / "sheet.jpg", num_samples=1)
    assert math.isfinite(float(np.load(folder / "landmarks.npy").mean()))
