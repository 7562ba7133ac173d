"""`lightning export` and the mesh files: places, texture coordinates, colours, seams and morph targets as other programs read them."""

import json
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

import cli
from lightning_modules.face_scene import FaceScene
from models.latent_codes import LatentCodes, load_codes, save_codes
from models.meshes import FaceMeshes, MorphTarget, TexturedMesh, identity_offsets, write_glb, write_obj, write_ply
from models.morphable import FaceParameters, MorphableModel
from models.morphable.closing import boundary_loops
from models.morphable.obj import read_obj
from models.stylefaceuv.opening import DetailedFaces, open_detailed_faces
from models.stylefaceuv.uv_generator import UVMaps, render_detailed
from models.stylegan2 import load_generator
from models.stylegan2.digest import generator_digest
from renderers.errors import InputError
from renderers.shading import vertex_normals
from renderers.texture import sample_texture
from tests.tiny_stylefaceuv import write_uv_network
from tests.toy_face import toy_face_model

ROWS, COLUMNS, SEAM = 14, 12, 5


def seamed_face() -> MorphableModel:
    """The toy face cut along a column: its vertices are there twice, the right half lies elsewhere in the texture."""
    whole = toy_face_model(ROWS, COLUMNS)
    column = torch.arange(ROWS) * COLUMNS + SEAM
    faces = whole.faces.clone()
    right = (faces % COLUMNS >= SEAM).all(dim=1)
    second = torch.arange(ROWS * COLUMNS)
    second[column] = ROWS * COLUMNS + torch.arange(ROWS)
    faces[right] = second[faces[right]]
    doubled = (
        "mean_shape",
        "identity_basis",
        "expression_basis",
        "mean_albedo",
        "reflectance_basis",
        "uv",
        "region_face",
    )
    tensors = {n: torch.cat([t, t[column]]) if n in doubled else t for n, t in whole.tensors().items()}
    moved = torch.cat([torch.arange(ROWS * COLUMNS) % COLUMNS > SEAM, torch.ones(ROWS, dtype=torch.bool)])
    uv = tensors["uv"] * torch.tensor([1.0, 0.8])
    uv[moved] += torch.tensor([0.0, 0.2])
    return MorphableModel.from_tensors({**tensors, "faces": faces, "uv": uv}, whole.expression_names)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("export")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FaceScene, "load_face_model", lambda self: seamed_face())
        patch.setattr("models.stylefaceuv.opening.load_face_model", lambda source: seamed_face())
        torch.manual_seed(1)
        write_uv_network(folder)
        yield fill(folder)


def fill(folder: Path) -> Path:
    generator = load_generator(folder / "generator.safetensors")
    w_plus = generator.broadcast(generator.mapping(torch.randn(3, 10)))
    save_codes(folder / "codes.safetensors", LatentCodes(w_plus, ("a", "b", "c d"), generator_digest(generator)))
    return folder


@pytest.fixture(scope="module")
def faces(world: Path) -> DetailedFaces:
    return open_detailed_faces(world / "uv_generator.safetensors")


@pytest.fixture(scope="module")
def made(world: Path, faces: DetailedFaces) -> tuple[FaceParameters, UVMaps]:
    codes = load_codes(world / "codes.safetensors").w_plus
    return faces.parameters(codes), faces.maps(codes)


def words(world: Path, output: Path, *more: str) -> list[str]:
    network = ["--uv-generator", str(world / "uv_generator.safetensors")]
    codes = [] if "--codes" in more else ["--codes", str(world / "codes.safetensors")]
    return ["export", *codes, "--output", str(output), *network, *more]


def run(world: Path, output: Path, *more: str) -> Path:
    cli.main(words(world, output, *more))
    return output


class Glb:
    """A glTF binary, its accessors as arrays."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        magic, version, total, length, kind = struct.unpack("<4sIII4s", data[:20])
        assert (magic, version, total, kind) == (b"glTF", 2, len(data), b"JSON") and length % 4 == 0
        self.tree = json.loads(data[20 : 20 + length])
        size, kind = struct.unpack("<I4s", data[20 + length : 28 + length])
        assert kind == b"BIN\0" and 28 + length + size == len(data)
        self.binary = data[28 + length :]
        self.primitive = self.tree["meshes"][0]["primitives"][0]

    def bytes_of(self, view: int) -> bytes:
        described = self.tree["bufferViews"][view]
        assert described["byteOffset"] % 4 == 0
        return self.binary[described["byteOffset"] :][: described["byteLength"]]

    def array(self, number: int) -> np.ndarray:
        accessor = self.tree["accessors"][number]
        kinds = {5123: "<u2", 5125: "<u4", 5126: "<f4"}
        width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3}[accessor["type"]]
        values = np.zeros((accessor["count"], width), kinds[accessor["componentType"]])
        if "bufferView" in accessor:
            values = np.frombuffer(self.bytes_of(accessor["bufferView"]), values.dtype).reshape(-1, width)
        if "sparse" in accessor:
            indices, rows = accessor["sparse"]["indices"], accessor["sparse"]["values"]
            index = np.frombuffer(self.bytes_of(indices["bufferView"]), kinds[indices["componentType"]])
            assert len(index) == accessor["sparse"]["count"] > 0 and (np.diff(index.astype(int)) > 0).all()
            values[index] = np.frombuffer(self.bytes_of(rows["bufferView"]), values.dtype).reshape(-1, width)
        assert len(values) == accessor["count"]
        if "min" in accessor:
            assert accessor["min"] == values.min(axis=0).tolist() and accessor["max"] == values.max(axis=0).tolist()
        return values

    def attribute(self, name: str) -> np.ndarray:
        return self.array(self.primitive["attributes"][name])


def doubled() -> tuple[torch.Tensor, torch.Tensor]:
    """The two vertices of each place of the seam."""
    return torch.arange(ROWS) * COLUMNS + SEAM, torch.arange(ROWS) + ROWS * COLUMNS


def test_glb_is_the_detailed_face(world, faces, made, tmp_path, capsys):
    folder = run(world, tmp_path / "out")
    assert {path.name for path in folder.iterdir()} == {"a.glb", "b.glb", "c d.glb"}
    said = capsys.readouterr().out
    assert "3 glb meshes of 182 vertices" in said and "metres (a unit of the face model is 0.1 m)" in said
    parameters, maps = made
    shapes = faces.shape(parameters, maps)
    for row, name in enumerate(("a", "b", "c d")):
        glb = Glb(folder / f"{name}.glb")
        np.testing.assert_allclose(glb.attribute("POSITION"), 0.1 * shapes[row].numpy(), atol=1e-6)
        assert glb.tree["meshes"][0]["name"] == name and glb.tree["asset"]["extras"]["metres_per_model_unit"] == 0.1
        opened = trimesh.load_scene(folder / f"{name}.glb", process=False).to_mesh()
        # trimesh turns v over, as glTF's runs down.
        np.testing.assert_allclose(opened.visual.uv, faces.surface.uv.numpy(), atol=1e-6)
        np.testing.assert_array_equal(opened.faces, faces.surface.faces.numpy())
        picture = np.asarray(opened.visual.material.baseColorTexture.convert("RGB")) / 255
        np.testing.assert_allclose(picture, maps.diffuse[row].permute(1, 2, 0).numpy(), atol=0.51 / 255)
    np.testing.assert_allclose(glb.attribute("TEXCOORD_0")[:, 1], 1 - faces.surface.uv[:, 1].numpy(), atol=1e-6)
    # Displacement is part of the shape: without it places differ by up to its bound.
    flat = faces.surface.vertices(parameters.identity, parameters.expression)
    assert 0.001 < float((shapes - flat).abs().max()) <= 0.01


def test_seams_are_closed(world, faces, tmp_path):
    for kind in ("glb", "obj", "ply"):
        run(world, tmp_path, "--names", "b", "--format", kind)
    glb, (one, other) = Glb(tmp_path / "b.glb"), doubled()
    for name in ("POSITION", "NORMAL"):
        values = glb.attribute(name)
        np.testing.assert_array_equal(values[one], values[other])
    assert not np.allclose(glb.attribute("TEXCOORD_0")[one], glb.attribute("TEXCOORD_0")[other])
    np.testing.assert_allclose(np.linalg.norm(glb.attribute("NORMAL"), axis=1), 1, atol=1e-5)
    # Normals are those of the displaced surface, as though it had never been cut.
    whole = toy_face_model(ROWS, COLUMNS).faces
    places = torch.from_numpy(glb.attribute("POSITION").copy())[None, : ROWS * COLUMNS]
    np.testing.assert_allclose(
        glb.attribute("NORMAL")[: ROWS * COLUMNS], vertex_normals(places, whole)[0].numpy(), atol=1e-4
    )
    # Formats that count places apart from texture coordinates have one rim, the outline of the uncut mesh.
    obj, ply = read_obj(tmp_path / "b.obj"), trimesh.load_mesh(tmp_path / "b.ply", process=False)
    rim = 2 * (ROWS + COLUMNS - 2)
    for triangles in (torch.from_numpy(obj.faces), torch.from_numpy(np.array(ply.faces, dtype=np.int64)), whole):
        assert [len(loop) for loop in boundary_loops(triangles)] == [rim]
    assert len(obj.vertices) == len(ply.vertices) == ROWS * COLUMNS


def test_obj_keeps_the_texture(world, faces, made, tmp_path):
    folder = run(world, tmp_path / "out", "--format", "obj", "--names", "c d")
    assert {path.name for path in folder.iterdir()} == {"c d.obj", "c d.mtl", "c d.diffuse.png"}
    parameters, maps = made
    obj, surface = read_obj(folder / "c d.obj"), faces.surface
    np.testing.assert_allclose(obj.texture_vertices[obj.texture_faces], surface.uv[surface.faces].numpy(), atol=1e-6)
    shape = 0.1 * faces.shape(parameters, maps)[2]
    np.testing.assert_allclose(obj.vertices[obj.faces], shape[surface.faces].numpy(), atol=1e-6)
    opened = trimesh.load_mesh(folder / "c d.obj", process=False)
    texture = np.asarray(opened.visual.material.image.convert("RGB"))
    np.testing.assert_array_equal(texture, np.asarray(Image.open(folder / "c d.diffuse.png")))
    np.testing.assert_allclose(texture / 255, maps.diffuse[2].permute(1, 2, 0).numpy(), atol=0.51 / 255)
    assert "metres" in (folder / "c d.obj").read_text().splitlines()[0]


def test_ply_has_the_colours_of_the_map(world, faces, made, tmp_path):
    ply = trimesh.load_mesh(run(world, tmp_path, "--format", "ply", "--names", "a") / "a.ply", process=False)
    sampled = sample_texture(made[1].diffuse[:1], faces.surface.uv)[0].numpy() * 255
    one, other = (index.numpy() for index in doubled())
    sampled[one] = (sampled[one] + sampled[other]) / 2
    np.testing.assert_allclose(ply.visual.vertex_colors[:, :3], sampled[: ROWS * COLUMNS], atol=1.01)
    np.testing.assert_allclose(np.linalg.norm(ply.vertex_normals, axis=1), 1, atol=1e-5)


def test_posed_as_in_the_picture(world, faces, made, tmp_path):
    glb = Glb(run(world, tmp_path, "--posed", "--names", "b") / "b.glb")
    parameters, maps = made
    render = render_detailed(faces.renderer(16), parameters, maps)
    np.testing.assert_allclose(10 * glb.attribute("POSITION"), render.vertices[1].numpy(), atol=1e-5)
    frontal = Glb(run(world, tmp_path / "frontal", "--names", "b") / "b.glb")
    assert not np.allclose(glb.attribute("POSITION"), frontal.attribute("POSITION"), atol=1e-3)
    # The reader's own parameters stay as they were.
    assert torch.equal(made[0].rotation, faces.parameters(load_codes(world / "codes.safetensors").w_plus).rotation)


def test_neutral_expression(world, faces, made, tmp_path):
    glb = Glb(run(world, tmp_path, "--neutral-expression", "--names", "a") / "a.glb")
    parameters, maps = made
    neutral = parameters.replace(expression=torch.zeros_like(parameters.expression))
    np.testing.assert_allclose(glb.attribute("POSITION"), 0.1 * faces.shape(neutral, maps)[0].numpy(), atol=1e-6)


@pytest.mark.parametrize("posed", [False, True])
def test_morph_targets_move_as_the_face_model(world, faces, made, tmp_path, posed):
    more = ["--expressions", "second", "e0", "--identity-components", "2", "--names", "a", *["--posed"] * posed]
    glb = Glb(run(world, tmp_path, *more) / "a.glb")
    mesh = glb.tree["meshes"][0]
    assert mesh["extras"]["targetNames"] == ["second", "e0", "id0", "id1"] and mesh["weights"] == [0.0] * 4
    parameters, maps = (made[0][0], UVMaps(*(each[:1] for each in made[1])))
    strong = parameters.replace(expression=parameters.expression + torch.tensor([[0.0, 1.0]]))
    other = parameters.replace(identity=parameters.identity + torch.tensor([[0.0, 1.0, 0.0]]))
    for number, asked in ((0, strong), (3, other)):
        shape = faces.shape(asked, maps)
        expected = 0.1 * (faces.renderer(16).pose(shape, asked) if posed else shape)
        target = glb.primitive["targets"][number]
        moved = glb.attribute("POSITION") + glb.array(target["POSITION"])
        np.testing.assert_allclose(moved, expected[0].numpy(), atol=1e-6)
        turned = glb.attribute("NORMAL") + glb.array(target["NORMAL"])
        np.testing.assert_allclose(np.linalg.norm(turned, axis=1), 1, atol=1e-3)
        inside = 6 * COLUMNS + 2
        normals = vertex_normals(expected, faces.surface.faces)[0].numpy()
        np.testing.assert_allclose(turned[inside], normals[inside], atol=1e-3)


def test_all_expressions(world, tmp_path):
    glb = Glb(run(world, tmp_path, "--expressions", "all", "--names", "a") / "a.glb")
    assert glb.tree["meshes"][0]["extras"]["targetNames"] == ["first", "second"]


def simple_mesh(targets: tuple[MorphTarget, ...] = ()) -> TexturedMesh:
    """A strip of four triangles and a vertex beside it that no face has."""
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 2, 0], [1, 2, 0], [5, 5, 5]], np.float32)
    faces = np.array([[0, 1, 3], [0, 3, 2], [2, 3, 5], [2, 5, 4]])
    normals = np.repeat(np.array([[0, 0, 1]], np.float32), 7, axis=0)
    texture = np.zeros((2, 2, 3), np.uint8)
    # Red at the top left: u = 0, v = 1.
    texture[0, 0] = (255, 0, 0)
    uv = np.clip(vertices[:, :2] / np.array([1, 2], np.float32), 0, 1)
    return TexturedMesh("strip", vertices, faces, uv, normals, texture, np.arange(7), targets)


def test_targets_that_move_little_take_little_room(tmp_path):
    blank = np.zeros((7, 3), np.float32)
    few = blank.copy()
    few[3] = (0, 0, 0.5)
    few[1] = 1e-9
    glb = Glb(write_glb(simple_mesh((MorphTarget("few", few, blank),)), tmp_path / "few.glb"))
    target = glb.primitive["targets"][0]
    assert (
        "sparse" in glb.tree["accessors"][target["POSITION"]]
        and "sparse" not in glb.tree["accessors"][target["NORMAL"]]
    )
    few[1] = 0
    np.testing.assert_array_equal(glb.array(target["POSITION"]), few)
    np.testing.assert_array_equal(glb.array(target["NORMAL"]), blank)
    assert len(trimesh.load_scene(tmp_path / "few.glb", process=False).to_mesh().faces) == 4


def test_texture_is_upright_in_every_format(tmp_path):
    mesh = simple_mesh().without_loose_vertices()
    assert mesh.vertices.max() == 2 and len(mesh.vertices) == 6
    upper_left = 4
    glb = Glb(write_glb(mesh, tmp_path / "m.glb"))
    # glTF: (0, 0) is the picture's top left corner.
    assert glb.attribute("TEXCOORD_0")[upper_left].tolist() == [0, 0]
    write_obj(mesh, tmp_path / "m.obj")
    assert read_obj(tmp_path / "m.obj").texture_vertices[upper_left].tolist() == [0, 1]
    ply = trimesh.load_mesh(write_ply(mesh, tmp_path / "m.ply"), process=False)
    assert ply.visual.vertex_colors[upper_left, :3].tolist() == [255, 0, 0]
    assert ply.visual.vertex_colors[:, 0].sum() < 3 * 255


def test_obj_does_not_show_the_other_side_of_the_texture(tmp_path):
    """Denser meshes reach beyond the frame of the maps; this format's textures repeat there."""
    mesh = simple_mesh()
    beyond = np.where(mesh.uv == 1, np.float32(1.02), np.where(mesh.uv == 0, np.float32(-0.01), mesh.uv))
    write_obj(replace(mesh, uv=beyond), tmp_path / "m.obj")
    assert read_obj(tmp_path / "m.obj").texture_vertices.tolist() == mesh.uv.tolist()


def test_places_survive_without_their_first_vertex():
    mesh = simple_mesh()
    first = mesh.first.copy()
    first[[2, 3]] = 6
    joined = TexturedMesh(mesh.name, mesh.vertices, mesh.faces, mesh.uv, mesh.normals, mesh.texture, first)
    start, place = joined.without_loose_vertices().welded()
    assert place.tolist() == [0, 1, 2, 2, 3, 4] and start.tolist() == [0, 1, 2, 4, 5]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"faces": np.array([[0, 1, 9]])}, "expected faces of 7 vertices, got 0 to 9"),
        ({"faces": np.zeros((0, 3), np.int64)}, "give it faces"),
        ({"uv": np.full((7, 2), np.nan, np.float32)}, "expected finite uv"),
        ({"first": np.array([0, 1, 2, 3, 4, 5, -1])}, "expected first of 7 vertices, got -1 to 5"),
        ({"texture": np.zeros((0, 2, 3), np.uint8)}, "expected a texture"),
    ],
)
def test_broken_meshes_are_refused(changed, message):
    fields = {name: getattr(simple_mesh(), name) for name in ("vertices", "faces", "uv", "normals", "texture", "first")}
    with pytest.raises(InputError) as refused:
        TexturedMesh("broken", **{**fields, **changed})
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_shapes_of_another_mesh_are_refused():
    surface = toy_face_model()
    with pytest.raises(InputError, match="expected vertices"):
        FaceMeshes(surface).mesh("a", torch.zeros(4, 3), torch.zeros(3, 2, 2))
    with pytest.raises(InputError, match="0 to 3 identity components"):
        identity_offsets(surface, 4)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--format", "obj", "--expressions", "first"], "expected --format glb for morph targets, got obj"),
        (["--format", "ply", "--identity-components", "2"], "expected --format glb for morph targets, got ply"),
        (["--expressions", "smirk"], "expected an expression of this face model, got 'smirk'"),
        (["--identity-components", "4"], "expected 0 to 3 identity components"),
        (["--identity-components", "-1"], "expected 0 to 3 identity components"),
        (["--names", "z"], "expected one of the codes"),
        (["--batch-size", "0"], "expected a batch of one code at least"),
        (["--format", "fbx"], "format"),
        (["--codes", "missing.safetensors"], "missing.safetensors"),
        (["--uv-generator", "missing.safetensors"], "missing.safetensors"),
    ],
)
def test_refusals_are_one_line(world, tmp_path, capsys, more, message):
    with pytest.raises(SystemExit) as stop:
        run(world, tmp_path / "out", *more)
    lines = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2 and len(lines) == 1 and message in lines[0]
    assert not (tmp_path / "out").exists()


def test_files_of_other_kinds_and_generators(world, tmp_path, capsys):
    def refusal(*more: str) -> str:
        with pytest.raises(SystemExit) as stop:
            run(world, tmp_path / "out", *more)
        lines = capsys.readouterr().err.splitlines()
        assert stop.value.code == 2 and len(lines) == 1
        return lines[0]

    codes = load_codes(world / "codes.safetensors")
    save_codes(tmp_path / "others.safetensors", LatentCodes(codes.w_plus, codes.names, "0" * 64))
    assert "expected the generator that these codes were made with" in refusal(
        "--codes", str(tmp_path / "others.safetensors")
    )
    assert "uv-generator" in refusal("--uv-generator", str(world / "coefficients.safetensors"))
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").write_text("a file")
    assert "expected a folder to write to" in refusal()


def test_earlier_files_stay_unless_overwritten(world, tmp_path, capsys):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "b.mtl").write_text("mine")
    with pytest.raises(SystemExit):
        run(world, folder, "--format", "obj")
    assert "holds one; name another, or give --overwrite" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["b.mtl"] and (folder / "b.mtl").read_text() == "mine"
    # Other formats and names do not touch it.
    run(world, folder, "--names", "b")
    assert (folder / "b.mtl").read_text() == "mine"
    run(world, folder, "--format", "obj", "--overwrite")
    assert "map_Kd b.diffuse.png" in (folder / "b.mtl").read_text()
