"""A trained UV generator opened by its file alone, and the surface of its maps."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lightning_modules.face_scene import FaceScene
from models.morphable.procedural import procedural_model
from models.stylefaceuv import FaceSources, UVGenerator, UVSurface, open_detailed_faces, render_detailed
from models.stylegan2 import load_generator
from models.stylegan2.sampling import codes_of_seeds
from models.stylerig import Provenance
from models.weights import describe_weights, save_weights
from renderers.errors import InputError
from tests.tiny_stylefaceuv import write_uv_network


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_uv_network(tmp_path_factory.mktemp("uv"))


def test_codes_become_detailed_faces(path: str) -> None:
    faces = open_detailed_faces(path)
    codes = faces.generator.broadcast(codes_of_seeds(faces.generator, [0, 1]))
    parameters, maps = faces.parameters(codes), faces.maps(codes)
    render = render_detailed(faces.renderer(32), parameters, maps)
    coarse = faces.coarse_renderer(32)(parameters)
    assert render.image.shape == coarse.image.shape == (2, 3, 32, 32)
    # Eyes and mouth are closed in the one and open in the other.
    assert render.mask.sum() >= coarse.mask.sum() > 100
    posed = faces.renderer(32).pose(faces.shape(parameters, maps), parameters)
    torch.testing.assert_close(posed, render.vertices)
    assert not any(parameter.requires_grad for parameter in faces.network.parameters())


def test_another_density_of_the_face_model(path: str) -> None:
    faces = open_detailed_faces(path, face_model="procedural:medium")
    assert faces.surface.vertex_count > 2 * open_detailed_faces(path).surface.vertex_count


def test_files_that_do_not_belong_together(path: str, tmp_path: Path) -> None:
    other = write_uv_network(tmp_path, seed=1)
    with pytest.raises(InputError, match="generator that .* was trained for"):
        open_detailed_faces(path, generator=str(Path(other).parent / "generator.safetensors"))
    with pytest.raises(InputError, match="of kind stylefaceuv-uv-generator"):
        open_detailed_faces(str(Path(path).parent / "generator.safetensors"))


def test_a_named_file_that_has_moved_is_said_to_be_named_there(tmp_path: Path) -> None:
    path = write_uv_network(tmp_path)
    (tmp_path / "coefficients.safetensors").rename(tmp_path / "moved.safetensors")
    with pytest.raises(InputError, match="expected the coefficients that .*uv_generator.* was trained with at"):
        open_detailed_faces(path)
    open_detailed_faces(path, coefficients=tmp_path / "moved.safetensors")


def test_seams_are_looked_for_once(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    faces = open_detailed_faces(path)
    codes = faces.generator.broadcast(codes_of_seeds(faces.generator, [0]))
    parameters, maps = faces.parameters(codes), faces.maps(codes)
    first = faces.shape(parameters, maps)
    monkeypatch.setattr("models.stylefaceuv.opening.coincident_vertices", None)
    torch.testing.assert_close(faces.shape(parameters, maps), first)


def test_a_file_without_its_sources(path: str, tmp_path: Path) -> None:
    config = {name: value for name, value in describe_weights(path).config.items() if name != "sources"}
    bare = save_weights(tmp_path / "bare.safetensors", load_file(path), "stylefaceuv-uv-generator", config)
    with pytest.raises(InputError, match="expected a configuration that fits this version.*sources"):
        open_detailed_faces(bare)


def test_the_surface_is_that_of_the_file(tmp_path: Path) -> None:
    path = write_uv_network(tmp_path)
    generator, scene = load_generator(str(tmp_path / "generator.safetensors")), FaceScene()
    model = scene.load_face_model()
    surface = UVSurface.of(model, "face", closed=False)
    network = UVGenerator.from_generator(generator, 0.01, surface)
    sources = FaceSources(
        str(tmp_path / "generator.safetensors"), str(tmp_path / "coefficients.safetensors"), "procedural:coarse"
    )
    network.save(path, Provenance.of(generator, model, scene.camera), sources)
    faces = open_detailed_faces(path)
    assert faces.network.surface == surface
    region = procedural_model("coarse").region("face")
    assert faces.surface.vertex_count == region.vertex_count
    torch.testing.assert_close(faces.surface.uv.amin(dim=0), torch.zeros(2), atol=1e-6, rtol=0)
