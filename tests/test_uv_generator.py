"""The UV generator: its start from a 2D generator, ranges of the maps, files; detailed renders, displacement and texture seams."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.morphable import FaceParameters, MorphableModel
from models.morphable.procedural import procedural_model
from models.stylefaceuv.sources import FaceSources
from models.stylefaceuv.surface import UVSurface
from models.stylefaceuv.texture_frame import TextureFrame
from models.stylefaceuv.uv_generator import UVGenerator, UVMaps, release_displacement_bound, render_detailed
from models.stylegan2 import Generator
from models.stylerig.provenance import Provenance
from renderers.camera import PerspectiveCamera
from renderers.displacement import coincident_vertices, sample_displacement
from renderers.errors import InputError
from renderers.face_renderer import FaceRenderer
from renderers.rotation import euler_to_matrix
from renderers.shading import directional_light
from tests.toy_face import SIZES, toy_face_model, toy_parameters

CAMERA = PerspectiveCamera()
ROWS, COLUMNS = 14, 12
SOURCES = FaceSources("generator.safetensors", "coefficients.safetensors", "procedural:coarse")


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    generator = Generator([8, 8, 6], z_dim=10, w_dim=12, mapping_layers=2)
    for name, parameter in generator.named_parameters():
        if name.endswith("noise_strength"):
            torch.nn.init.constant_(parameter, 0.2)
    return generator.eval().requires_grad_(False)


def codes(batch: int = 2) -> Tensor:
    return torch.randn(batch, 6, 12, generator=torch.Generator().manual_seed(1))


def stirred(network: UVGenerator, scale: float = 1.0) -> UVGenerator:
    """The network with a displacement head that has learned something."""
    rng = torch.Generator().manual_seed(2)
    for level in range(len(network.channels)):
        torch.nn.init.normal_(network.get_parameter(f"to_displacement.{level}.weight"), std=scale, generator=rng)
    return network


def split_face() -> tuple[MorphableModel, Tensor]:
    """The toy face cut along a column whose vertices are there twice, each side with a texture of its own; and the second ones."""
    whole = toy_face_model(ROWS, COLUMNS)
    middle, count = COLUMNS // 2, ROWS * COLUMNS
    old = torch.arange(ROWS) * COLUMNS + middle
    copy = torch.arange(count)
    copy[old] = count + torch.arange(ROWS)
    right = (whole.faces % COLUMNS).amin(dim=1) >= middle
    u = torch.where(torch.arange(count) % COLUMNS <= middle, 0.4 * whole.uv[:, 0], 0.1 + 0.9 * whole.uv[:, 0])
    per_vertex = {
        name: torch.cat([tensor, tensor[old]])
        for name, tensor in whole.tensors().items()
        if name not in ("faces", "landmark_indices")
    }
    per_vertex["uv"] = torch.stack([u, whole.uv[:, 1]], dim=1)
    moved = torch.stack([0.1 + 0.9 * whole.uv[old, 0], whole.uv[old, 1]], dim=1)
    per_vertex["uv"] = torch.cat([per_vertex["uv"], moved])
    tensors = {**per_vertex, "landmark_indices": whole.landmark_indices}
    tensors["faces"] = torch.where(right[:, None], copy[whole.faces], whole.faces)
    return MorphableModel.from_tensors(tensors, whole.expression_names), old


def random_map(seed: int, side: int = 16, scale: float = 0.05) -> Tensor:
    return scale * torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(seed))


def test_starts_as_the_2d_generator_without_displacement(generator: Generator) -> None:
    maps = UVGenerator.from_generator(generator)(codes())
    torch.testing.assert_close(maps.diffuse, torch.sigmoid(2 * generator.synthesis(codes(), noise="none")))
    assert maps.displacement.shape == (2, 3, 16, 16) and not maps.displacement.any()


def test_copies_the_weights(generator: Generator) -> None:
    before = generator.synthesis(codes())
    network = UVGenerator.from_generator(generator)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1.0)
    torch.testing.assert_close(generator.synthesis(codes()), before)


def test_maps_keep_their_ranges(generator: Generator) -> None:
    network = stirred(UVGenerator.from_generator(generator, displacement_bound=0.03), scale=100.0)
    maps = network(100 * codes())
    assert maps.diffuse.min() >= 0 and maps.diffuse.max() <= 1
    assert 0.029 < maps.displacement.abs().max() <= 0.03


def test_every_weight_learns(generator: Generator) -> None:
    network = UVGenerator.from_generator(generator)
    assert network.training and all(parameter.requires_grad for parameter in network.parameters())
    maps = network(codes())
    (maps.diffuse.square().sum() + 100 * maps.displacement.sum()).backward()
    # The styles of the displacement head wait for its weights to leave zero; noise is not added.
    still = {
        name for name, parameter in network.named_parameters() if parameter.grad is None or not parameter.grad.any()
    }
    waiting = {name for name in still if not name.endswith("noise_strength")}
    assert waiting and all(name.startswith("to_displacement") and ".affine." in name for name in waiting)


def test_noise_of_the_2d_generator_is_left_out(generator: Generator) -> None:
    """It would be the same speckles on every face."""
    network = UVGenerator.from_generator(generator)
    before = network(codes()).diffuse
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("noise_strength"):
                parameter.add_(1.0)
    assert torch.equal(network(codes()).diffuse, before)


def test_runs_under_autocast(generator: Generator) -> None:
    network = stirred(UVGenerator.from_generator(generator))
    full = network(codes())
    with torch.autocast("cpu", torch.bfloat16):
        mixed = network(codes())
    assert mixed.diffuse.dtype == mixed.displacement.dtype == torch.float32
    torch.testing.assert_close(mixed.diffuse, full.diffuse, atol=0.05, rtol=0)


def test_a_file_restores_the_network(generator: Generator, tmp_path: Path) -> None:
    network = stirred(
        UVGenerator.from_generator(generator, 0.02, UVSurface("skin", False, TextureFrame(0.1, 0.2, 0.9, 0.8)))
    )
    provenance = Provenance.of(generator, toy_face_model(), CAMERA)
    found = UVGenerator.load(network.save(tmp_path / "u.safetensors", provenance, SOURCES), provenance)
    assert found.config == network.config and not found.training
    # Matrices are stored in half precision.
    for mine, other in zip(found(codes()), network(codes()), strict=True):
        torch.testing.assert_close(mine, other.detach(), atol=5e-3, rtol=0)
    with pytest.raises(InputError, match="generator that .* was trained for"):
        UVGenerator.load(tmp_path / "u.safetensors", replace(provenance, generator="0" * 64))


def test_refuses_other_codes_and_bounds(generator: Generator) -> None:
    with pytest.raises(InputError, match=r"expected codes \(batch, 6, 12\)"):
        UVGenerator.from_generator(generator)(torch.zeros(2, 5, 12))
    with pytest.raises(InputError, match="positive displacement_bound"):
        UVGenerator.from_generator(generator, displacement_bound=0.0)
    with pytest.raises(InputError, match="positive w_dim"):
        UVGenerator([4], w_dim=0)


def test_the_bound_of_the_release() -> None:
    assert release_displacement_bound(PerspectiveCamera(4.0, 10.0)) == pytest.approx(0.01)
    assert release_displacement_bound(PerspectiveCamera(4.0, 1000.0)) == pytest.approx(1.0)


def test_a_detailed_render_without_displacement_is_the_textured_face() -> None:
    renderer = FaceRenderer(toy_face_model(), CAMERA, 48)
    texture = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for sampling in ("pixel", "vertex"):
        detailed = render_detailed(renderer, toy_parameters(2), UVMaps(texture, torch.zeros(2, 3, 16, 16)), sampling)
        plain = renderer(toy_parameters(2), texture, sampling)
        torch.testing.assert_close(detailed.image, plain.image)
        torch.testing.assert_close(detailed.mask, plain.mask)
        assert (detailed.image * (1 - detailed.mask) == 0).all()


def test_displacement_is_in_the_object_frame() -> None:
    renderer = FaceRenderer(toy_face_model(), CAMERA, 32)
    offset = torch.tensor([0.1, -0.2, 0.3])
    displacement = offset[None, :, None, None].expand(2, 3, 8, 8)
    given = toy_parameters(2)
    moved = renderer(given, displacement=displacement)
    still = renderer(given)
    expected = offset @ euler_to_matrix(given.rotation).transpose(1, 2)
    torch.testing.assert_close(moved.vertices - still.vertices, expected[:, None].expand_as(moved.vertices))
    torch.testing.assert_close(moved.landmarks, still.landmarks)


def test_displacement_is_looked_up_the_right_way_up() -> None:
    displacement = torch.zeros(1, 3, 32, 32)
    displacement[:, 2, :16] = 0.1  # the upper half, v > 0.5
    face = toy_face_model()
    change = FaceRenderer(face, CAMERA, 32)(toy_parameters(1, spread=0.0), displacement=displacement)
    forwards = change.vertices[0, :, 2] - face.mean_shape[:, 2]
    assert (forwards[face.uv[:, 1] > 0.55] > 0.09).all() and (forwards[face.uv[:, 1] < 0.45] < 0.01).all()


def test_a_bump_is_shaded() -> None:
    """Light from the right: a bump is brighter on its right than on its left, on an even texture."""
    face = toy_face_model(40, 40)
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 64), indexing="ij")
    bump = torch.zeros(1, 3, 64, 64)
    bump[0, 2] = 0.1 * torch.exp(-60 * ((rows + 0.45).square() + columns.square()))
    light = directional_light(*(torch.tensor([value]) for value in (1.0, 0.0, 0.6, 0.3)))
    given = toy_parameters(1, spread=0.0).replace(illumination=light)
    renderer = FaceRenderer(face, CAMERA, 96)
    texture = torch.full((1, 3, 8, 8), 0.5)
    change = renderer(given, texture, displacement=bump).image - renderer(given, texture).image
    assert change[0, :, 20:40, 50:56].mean() > 0.01 and change[0, :, 20:40, 40:46].mean() < -0.01


def test_coincident_vertices_are_those_that_move_together() -> None:
    face, old = split_face()
    count = ROWS * COLUMNS
    found = coincident_vertices(face.mean_shape, face.identity_basis, face.expression_basis)
    torch.testing.assert_close(found[:count], torch.arange(count))
    torch.testing.assert_close(found[count:], old)
    # Lips that touch in the mean face alone.
    expression = face.expression_basis.clone()
    expression[count:] += 0.1
    apart = coincident_vertices(face.mean_shape, face.identity_basis, expression)
    torch.testing.assert_close(apart, torch.arange(count + ROWS))


def test_the_shipped_head_has_no_seam() -> None:
    assert FaceRenderer(procedural_model("coarse"), CAMERA, 32).coincident is None


def test_displacement_does_not_open_a_seam() -> None:
    face, old = split_face()
    displacement = random_map(0)
    apart = sample_displacement(displacement, face.uv)[0]
    assert (apart[ROWS * COLUMNS :] - apart[old]).abs().max() > 0.01
    renderer = FaceRenderer(face, CAMERA, 64)
    render = renderer(toy_parameters(1), displacement=displacement)
    torch.testing.assert_close(render.vertices[0, ROWS * COLUMNS :], render.vertices[0, old])
    shared = sample_displacement(displacement, face.uv, renderer.coincident)[0]
    torch.testing.assert_close(shared[old], (apart[old] + apart[ROWS * COLUMNS :]) / 2)


def test_a_seam_is_not_seen_in_the_shading() -> None:
    """A mesh cut along its texture seam shades like the whole one."""
    face, _ = split_face()
    whole = FaceRenderer(toy_face_model(ROWS, COLUMNS), CAMERA, 64)(toy_parameters(2))
    torch.testing.assert_close(FaceRenderer(face, CAMERA, 64)(toy_parameters(2)).image, whole.image, atol=1e-5, rtol=0)


@pytest.mark.parametrize("seamed", [False, True])
def test_gradient_of_the_displacement(seamed: bool) -> None:
    """Against central differences, inside the silhouette."""
    face = (split_face()[0] if seamed else toy_face_model(ROWS, COLUMNS)).double()
    renderer = FaceRenderer(face, PerspectiveCamera(focal_length=14.0), 16)
    given = FaceParameters.unpack(toy_parameters(1, spread=0.2).pack().double(), SIZES)
    texture = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    weights = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def value(displacement: Tensor) -> Tensor:
        render = renderer(given, texture, displacement=displacement)
        assert render.mask.all()
        return (render.image * weights).sum()

    start = random_map(3, scale=0.005).double().requires_grad_()
    (gradient,) = torch.autograd.grad(value(start), start)
    step = 1e-7 * torch.randn(start.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    expected = (value(start + step) - value(start - step)) / 2
    torch.testing.assert_close((gradient * step).sum(), expected, rtol=1e-4, atol=1e-10)


def test_a_frame_fills_the_texture_and_serves_other_densities() -> None:
    coarse = procedural_model("coarse").region("face")
    frame = TextureFrame.around(coarse)
    framed = frame.apply(coarse)
    torch.testing.assert_close(framed.uv.amin(dim=0), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(framed.uv.amax(dim=0), torch.ones(2), atol=1e-6, rtol=0)
    landmark = coarse.landmark_indices >= 0
    dense = procedural_model("medium")
    at = frame.apply(dense).uv[dense.landmark_indices[landmark]]
    torch.testing.assert_close(at, framed.uv[coarse.landmark_indices[landmark]], atol=0.02, rtol=0)


def test_a_frame_keeps_the_picture() -> None:
    """A map of the whole texture and its part in the frame show the same."""
    face = toy_face_model()
    frame = TextureFrame(0.25, 0.5, 0.75, 1.0)
    texture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    given = toy_parameters(1)
    whole = FaceRenderer(face, CAMERA, 64)(given, texture)
    part = FaceRenderer(frame.apply(face), CAMERA, 64)(given, texture[:, :, :16, 8:24])
    inside = ((face.uv - 0.5).abs()[:, 0] < 0.2) & (face.uv[:, 1] > 0.55)
    pixels = CAMERA.to_pixels(whole.vertices[:, inside], (64, 64))[0].long()
    seen = [image[0, :, pixels[:, 1], pixels[:, 0]] for image in (whole.image, part.image)]
    torch.testing.assert_close(seen[0], seen[1], atol=1e-5, rtol=0)


@pytest.mark.parametrize("edges", [(0.5, 0.0, 0.5, 1.0), (0.0, -0.1, 1.0, 1.0), (float("nan"), 0.0, 1.0, 1.0)])
def test_refuses_an_empty_frame(edges: tuple[float, float, float, float]) -> None:
    with pytest.raises(InputError, match="expected a texture frame"):
        TextureFrame(*edges)
