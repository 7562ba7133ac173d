"""The procedural head: measured proportions, mesh quality, statistics, densities and the cache."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from models.morphable.model import MorphableModel
from models.morphable.procedural import build
from models.morphable.procedural.basis import calibrated_deviations, principal_mix
from models.morphable.procedural.proportions import (
    MILLIMETRES_PER_UNIT,
    ORIGIN,
    landmark_deviations,
    landmark_means,
)


@pytest.fixture(scope="module")
def model() -> MorphableModel:
    return build.build_model("coarse")


def millimetres(vertices: torch.Tensor) -> np.ndarray:
    return vertices.double().numpy() * MILLIMETRES_PER_UNIT + ORIGIN


def named(model: MorphableModel, **strengths: float) -> torch.Tensor:
    coefficients = torch.zeros(1, model.sizes.expression)
    for name, strength in strengths.items():
        coefficients[0, model.expression_names.index(name)] = strength
    return coefficients


def moved(model: MorphableModel, landmark: int, **strengths: float) -> np.ndarray:
    vertices = model.vertices(torch.zeros(1, model.sizes.identity), named(model, **strengths))
    return (model.landmarks(vertices)[0, landmark] - model.mean_shape[model.landmark_indices[landmark]]).numpy() * 100


def test_sizes(model: MorphableModel) -> None:
    assert (model.sizes.identity, model.sizes.expression, model.sizes.reflectance) == (80, 64, 80)
    assert len(set(model.expression_names)) == 64
    assert model.landmark_indices.shape == (68,)
    assert len(set(model.landmark_indices.tolist())) == 68
    assert 2800 <= model.vertex_count <= 3600
    assert 1900 <= model.region("face").vertex_count <= 2500


def test_landmarks_stand_where_they_were_measured(model: MorphableModel) -> None:
    placed = millimetres(model.mean_shape[model.landmark_indices])
    assert np.abs(placed - landmark_means()).max() < 0.5
    assert bool((model.region("face").landmark_indices >= 0).all())


def test_landmark_deviations_follow_the_measured_ones(model: MorphableModel) -> None:
    deviations = model.identity_basis.norm(dim=2)[model.landmark_indices].numpy() * MILLIMETRES_PER_UNIT
    measured = landmark_deviations()
    assert np.abs(deviations.mean(axis=0) / measured.mean(axis=0) - 1).max() < 0.2
    assert np.corrcoef(deviations.ravel(), measured.ravel())[0, 1] > 0.9


def test_mean_is_symmetric(model: MorphableModel) -> None:
    vertices = model.mean_shape.double().numpy()
    distance, partner = cKDTree(vertices).query(vertices * (-1, 1, 1))
    assert distance.max() < 1e-4
    mirrored = np.sort(partner[model.faces.numpy()], axis=1)
    assert set(map(tuple, mirrored)) == set(map(tuple, np.sort(model.faces.numpy(), axis=1)))


def test_mesh_is_closed_but_for_eyes_and_neck(model: MorphableModel) -> None:
    faces = model.faces
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    codes = edges[:, 0] * model.vertex_count + edges[:, 1]
    assert len(torch.unique(codes)) == len(codes), "an edge is walked twice in the same direction: inconsistent winding"
    opposite = edges[:, 1] * model.vertex_count + edges[:, 0]
    border = edges[~torch.isin(opposite, codes)][:, 0]
    allowed = model.regions["eyelids"] | model.regions["neck"]
    assert bool(allowed[border].all())
    assert bool(torch.isin(torch.arange(model.vertex_count), faces).all())


def test_faces_look_outwards_and_none_is_degenerate(model: MorphableModel) -> None:
    vertices = torch.cat([model.mean_shape[None], model.vertices(_random(8, 80), torch.zeros(8, 64))])
    a, b, c = (vertices[:, model.faces[:, k]] for k in range(3))
    normals = torch.cross(b - a, c - a, dim=-1)
    assert float(normals[0].norm(dim=-1).min()) > 1e-6
    # Every radius from within the head leaves the skin through front sides; ears, lids and lips fold over.
    open_skin = model.regions["scalp"] | (model.regions["face"] & ~model.regions["lips"] & ~model.regions["eyelids"])
    chosen = open_skin[model.faces].all(dim=1)
    outward = (normals * ((a + b + c) / 3 - torch.tensor([0.0, 0.05, -0.6]))).sum(dim=-1)[:, chosen]
    assert float((outward[0] > 0).double().mean()) > 0.98
    assert float((outward > 0).double().mean()) > 0.96


def _random(batch: int, width: int) -> torch.Tensor:
    return torch.randn(batch, width, generator=torch.Generator().manual_seed(5))


def test_expressions_have_their_measured_sizes(model: MorphableModel) -> None:
    assert moved(model, 8, jaw_open=1.0) == pytest.approx([0, -28, -29], abs=4)
    assert np.linalg.norm(moved(model, 57, jaw_open=1.0)) == pytest.approx(40, abs=5)
    assert np.linalg.norm(moved(model, 51, jaw_open=1.0)) < 1
    assert moved(model, 54, mouth_smile_left=1.0) == pytest.approx([7, 10, -9], abs=1.5)
    assert moved(model, 48, mouth_smile_right=1.0) == pytest.approx([-7, 10, -9], abs=1.5)
    assert np.linalg.norm(moved(model, 48, mouth_smile_left=1.0)) < 0.5
    assert moved(model, 22, brow_inner_up_left=1.0)[1] == pytest.approx(5, abs=1)
    assert moved(model, 43, eye_blink_left=1.0)[1] == pytest.approx(-8, abs=1)
    assert moved(model, 62, mouth_pucker=1.0)[2] == pytest.approx(12, abs=1.5)
    assert moved(model, 54, mouth_pucker=1.0)[0] == pytest.approx(-5, abs=1.5)


def test_blink_closes_the_lids(model: MorphableModel) -> None:
    closed = model.vertices(torch.zeros(1, 80), named(model, eye_blink_left=1.0, eye_blink_right=1.0))
    marks = millimetres(model.landmarks(closed)[0])
    for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46)):
        assert abs(marks[upper, 1] - marks[lower, 1]) < 1.5


def test_jaw_opens_the_mouth_onto_its_dark_inside(model: MorphableModel) -> None:
    opened = millimetres(model.landmarks(model.vertices(torch.zeros(1, 80), named(model, jaw_open=1.0)))[0])
    assert opened[62, 1] - opened[66, 1] > 20
    inside = model.mean_albedo[model.regions["mouth_interior"]]
    assert float(inside[-1].max()) < 0.3


def test_albedo_spans_light_to_dark_within_range(model: MorphableModel) -> None:
    albedo = model.albedo(_random(256, 80))
    assert float(((albedo < 0) | (albedo > 1)).double().mean()) < 0.01
    skin = model.regions["face"] & ~model.regions["lips"] & ~model.regions["eyelids"]
    brightness = albedo[:, skin].mean(dim=(1, 2))
    assert float(brightness.min()) < 0.35
    assert float(brightness.max()) > 0.68
    tone = model.reflectance_basis[skin, :, 0].mean(dim=0)
    assert bool((tone.sign() == tone[0].sign()).all())


def test_components_are_uncorrelated_and_ordered() -> None:
    scans = np.random.default_rng(0).normal(size=(50, 30, 3)) * np.linspace(0.1, 2, 30)[:, None]
    weight = np.linspace(1, 2, 30)
    mean, mix = principal_mix(scans, weight, 6)
    components = np.einsum("kn,nvc->kvc", mix, scans)
    assert np.allclose(np.einsum("n,nvc->vc", mean, scans), scans.mean(axis=0))
    gram = np.einsum("kvc,v,lvc->kl", components, weight, components)
    assert np.allclose(gram, np.diag(np.diag(gram)), atol=1e-8)
    assert (np.diff(np.diag(gram)) <= 0).all()
    centred = scans - scans.mean(axis=0)
    scores = np.einsum("nvc,v,kvc->nk", centred, weight, components) / np.diag(gram)
    assert np.allclose(scores.std(axis=0), 1)


def test_calibration_recovers_known_sizes() -> None:
    effects = np.random.default_rng(1).normal(size=(3, 68, 3)) * 4
    sizes = np.array([0.4, 0.8, 1.1])
    target = np.sqrt(np.einsum("klc,k->lc", effects**2, sizes**2))
    assert np.allclose(calibrated_deviations(effects, target), sizes, atol=0.05)


def test_texture_coordinates_unfold_without_overlap(model: MorphableModel) -> None:
    assert float(model.uv.min()) >= 0
    assert float(model.uv.max()) <= 1
    a, b, c = (model.uv[model.faces[:, k]] for k in range(3))
    area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    face = model.regions["face"][model.faces].all(dim=1)
    assert bool((area[face] > 0).all())
    assert float((area > 0).double().mean()) > 0.99


def test_same_coefficients_mean_the_same_head_at_another_density(model: MorphableModel) -> None:
    finer = build.build_model("medium")
    assert finer.vertex_count > 2 * model.vertex_count
    assert finer.expression_names == model.expression_names
    identity, expression = _random(3, 80), 0.5 * _random(3, 64).clamp(0, 2)
    coarse_marks = model.landmarks(model.vertices(identity, expression))
    fine_marks = finer.landmarks(finer.vertices(identity, expression))
    assert float((coarse_marks - fine_marks).abs().max()) < 0.002
    reflectance = _random(3, 80)
    coarse_skin = model.albedo(reflectance)[:, model.landmark_indices]
    fine_skin = finer.albedo(reflectance)[:, finer.landmark_indices]
    assert float((coarse_skin - fine_skin).abs().max()) < 0.02
    _, nearest = cKDTree(finer.mean_shape.numpy()).query(model.mean_shape[model.regions["face"]].numpy())
    gap = (finer.mean_shape[nearest] - model.mean_shape[model.regions["face"]]).norm(dim=1)
    assert float(gap.max()) < 0.06  # a spacing of the finer mesh


def test_building_is_deterministic(model: MorphableModel) -> None:
    build.statistics.cache_clear()
    build.head_surface.cache_clear()
    again = build.build_model("coarse").tensors()
    assert all(torch.equal(tensor, again[name]) for name, tensor in model.tensors().items())


def test_cache_is_read_and_a_damaged_file_is_rebuilt(
    model: MorphableModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LATENTRIG_CACHE", str(tmp_path))
    built = []

    def counted(density: str) -> MorphableModel:
        built.append(density)
        return model

    monkeypatch.setattr(build, "build_model", counted)
    first = build.procedural_model()
    second = build.procedural_model()
    assert built == ["coarse"]
    assert torch.equal(first.identity_basis, second.identity_basis)
    assert second.expression_names == model.expression_names
    path = build.cache_path("coarse")
    assert [path] == list(tmp_path.iterdir())
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"not a model"):
        path.write_bytes(damaged)
        assert torch.equal(build.procedural_model().mean_shape, model.mean_shape)
        assert path.stat().st_size == len(whole)
    assert built == ["coarse"] * 4
