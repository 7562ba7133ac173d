"""`lightning lift` and what it draws with: views, lights, maps, styles, meshes, and what is refused in one line."""

import csv
import json
import math
import shlex
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

import cli
from commands.edit_options import slider_sweeps, sliders_of
from commands.lift import check_foreground
from evaluation.edit_subjects import EditSubjects
from evaluation.lifted_gan.controls import asked_light, asked_view, check_sliders, replaced, said_light
from evaluation.lifted_gan.stills import Stills
from evaluation.lifted_gan.style import restyled, style_layer
from evaluation.lifted_gan.subjects import LiftSubjects, subjects_of_codes, subjects_of_photos
from evaluation.lifted_gan.views import LiftedCodes, LiftedViews, interpolated
from evaluation.report import to_picture
from models.code_encoder import CodeEncoder
from models.latent_codes import LatentCodes, load_codes, save_codes
from models.lifted_gan import LiftedGAN, lighting_of, pose_of_view
from models.lifted_gan.meshes import PICTURE_METRES, lifted_mesh
from models.lifted_gan.opening import open_lifted
from models.portrait_embedding import PortraitEmbedding, save_embedding
from models.stylegan2.digest import generator_digest
from models.stylegan2.loading import load_generator, save_generator
from models.stylegan2.sampling import codes_of_seeds
from models.stylerig.sliders import Slider
from renderers.depth_mesh import depth_points
from renderers.errors import InputError
from tests.conftest import ROOT
from tests.lifted_gan_files import TINY, official_state, tiny_generator, tiny_lifted, write_official

COUNT, SIZE, CELL = 3, 16, 98


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """A lifted generator with a nose, its generator, codes of W, and a code encoder."""
    folder = tmp_path_factory.mktemp("lift")
    generator = tiny_generator()
    save_generator(folder / "generator.safetensors", generator)
    generator = load_generator(folder / "generator.safetensors")
    model = LiftedGAN(generator, TINY)
    model.save(folder / "lifted.safetensors")
    w = codes_of_seeds(generator, range(COUNT))
    codes = LatentCodes(generator.broadcast(w), tuple("abc"), generator_digest(generator), w)
    save_codes(folder / "codes.safetensors", codes)
    encoder = CodeEncoder(generator.w_dim, widths=(4,), blocks=(1,), num_features=4, working_size=8)
    encoder.set_statistics(generator)
    encoder.save(folder / "encoder.safetensors", generator)
    save_generator(folder / "other.safetensors", tiny_generator(levels=4))
    return folder


@pytest.fixture(scope="module")
def views(world) -> LiftedViews:
    return LiftedViews(open_lifted(world / "lifted.safetensors", world / "generator.safetensors"))


@pytest.fixture
def lifted(world, views) -> LiftedCodes:
    w = load_codes(world / "codes.safetensors").w
    assert w is not None
    return views.read(w)


def run(world: Path, output: Path, *words: str) -> Path:
    files = {"--lifted": "lifted", "--generator": "generator", "--code-encoder": "encoder"}
    networks = [part for option, name in files.items() if option not in words
                for part in (option, str(world / f"{name}.safetensors"))]  # fmt: skip
    given = any(option in words for option in ("--seeds", "--photos", "--codes"))
    source = [] if given else ["--codes", str(world / "codes.safetensors")]
    cli.main(["lift", *networks, *source, "--output", str(output), *words])
    return output


def refusal(capsys, world: Path, output: Path, *words: str) -> str:
    with pytest.raises(SystemExit) as stop:
        run(world, output, *words)
    lines = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2 and len(lines) == 1
    return lines[0]


def ellipsoid(views: LiftedViews, lifted: LiftedCodes) -> LiftedCodes:
    """The same faces with depth that bulges in the middle."""
    place = (torch.arange(SIZE) + 0.5) / (SIZE / 2) - 1
    depth = 1.05 - 0.1 * (1 - 1.5 * (place[:, None] ** 2 + place**2)).clamp(0).sqrt()
    output = replace(lifted.output, depth=depth.expand(len(lifted), -1, -1).contiguous())
    return replace(lifted, output=output)


def test_angles_are_those_asked_and_all_else_is_the_own(views, lifted):
    settings = views.model.settings
    view = asked_view(lifted.output.view, settings, [Slider("yaw", 30.0), Slider("pitch", -5.0, relative=True)])
    own, pose = pose_of_view(lifted.output.view, settings), pose_of_view(view, settings)
    torch.testing.assert_close(pose.rotation[:, 1], torch.full((COUNT,), math.radians(30)))
    torch.testing.assert_close(pose.rotation[:, 0], own.rotation[:, 0] - math.radians(5))
    torch.testing.assert_close(pose.rotation[:, 2], own.rotation[:, 2])
    # The release moves turned faces by 0.2 sin(yaw) of the range; positive yaw, ours, turns to the right, so faces go to the left.
    expected = own.translation[:, 0] - 0.2 * 0.1 * (0.5 - own.rotation[:, 1].sin())
    torch.testing.assert_close(pose.translation[:, 0], expected)
    torch.testing.assert_close(pose.translation[:, 1:], own.translation[:, 1:])
    assert asked_view(lifted.output.view, settings, [Slider("light_azimuth", 5.0)]) is lifted.output.view


def test_lights_are_those_asked(lifted):
    sliders = [Slider("light_azimuth", 40.0), Slider("light_strength", 0.5), Slider("light_brightness", 0.8)]
    lighting = lighting_of(asked_light(lifted.output.light, sliders))
    said = said_light(lighting)
    torch.testing.assert_close(said["light_azimuth"].rad2deg(), torch.full((COUNT,), 40.0))
    own = said_light(lighting_of(lifted.output.light))
    torch.testing.assert_close(said["light_elevation"], own["light_elevation"])
    # Share d / (d + 4 a) of a brightness a + d / 4.
    torch.testing.assert_close(lighting.ambient, torch.full((COUNT,), 0.4))
    torch.testing.assert_close(lighting.diffuse, torch.full((COUNT,), 1.6))
    turned = asked_light(lifted.output.light, [Slider("light_elevation", 10.0, relative=True)])
    torch.testing.assert_close(turned[:, :2], lifted.output.light[:, :2])


@pytest.mark.parametrize(
    ("slider", "message"),
    [
        (Slider("smile", 1.0), "LiftedGAN knows no expressions"),
        (Slider("id0", 1.0), "LiftedGAN knows no expressions or shapes"),
        (Slider("light_warmth", 1.0), "LiftedGAN's light is white"),
        (Slider("yaw", 100.0), "from -90 to 90 degrees, got 100: lifted faces have no back"),
        (Slider("light_azimuth", 120.0), "expected lights in front of the face"),
        (Slider("light_strength", 1.5), "expected a light strength from 0 to 1, got 1.5"),
        (Slider("light_brightness", -9.0, relative=True), "expected a light brightness of 0 or more, got -"),
        (Slider("yaw", -100.0), "from -90 to 90 degrees, got -100"),
    ],
)
def test_what_lifted_faces_cannot_show(views, lifted, slider, message):
    with pytest.raises(InputError, match=message):
        views.asked(lifted, [slider])


def test_sliders_that_are_asked_twice_or_replaced():
    with pytest.raises(InputError, match="expected yaw once, got it 2 times"):
        check_sliders([Slider("yaw", 1.0), Slider("yaw", 2.0)])
    both = replaced([Slider("yaw", 1.0), Slider("pitch", 2.0)], [Slider("yaw", 3.0)])
    assert both == [Slider("pitch", 2.0), Slider("yaw", 3.0)]


def test_views_are_renders_or_pictures_of_moved_codes(views, lifted):
    own = views.draw(lifted)
    torch.testing.assert_close(own, views.model.render(lifted.output).image.clamp(-1, 1))
    sliders = [Slider("yaw", 25.0)]
    view, light = views.asked(lifted, sliders)
    moved = views.model.picture(views.model.manipulate(lifted.codes, view, light)).clamp(-1, 1)
    torch.testing.assert_close(views.draw(lifted, sliders, "generator"), moved)
    assert not torch.allclose(views.draw(lifted, sliders), own)


def test_light_from_a_side_brightens_that_side_and_its_shading(views, lifted):
    face = ellipsoid(views, lifted)
    sides = {}
    for azimuth in (-50.0, 50.0):
        sliders = [Slider("light_azimuth", azimuth), Slider("light_elevation", 0.0), Slider("light_strength", 0.8)]
        shading = views.shading(face, sliders)
        assert float(shading.min()) >= -1 and float(shading.max()) <= 1
        sides[azimuth] = shading[:, 0, :, 9:13].mean() - shading[:, 0, :, 3:7].mean()
    assert float(sides[50.0]) > 0.1 and float(sides[-50.0]) < -0.1


def test_maps_as_pictures(views, lifted):
    face = ellipsoid(views, lifted)
    maps = views.maps(face)
    assert set(maps) == {"albedo", "normals", "depth", "map"}
    assert all(each.shape == (COUNT, 3, SIZE, SIZE) and float(each.abs().max()) <= 1 for each in maps.values())
    # Nearer is brighter; depth 1.1 is black and 0.9 white.
    torch.testing.assert_close(maps["depth"][:, 0], (1.0 - face.output.depth) / 0.1)
    torch.testing.assert_close(views.normals(face).norm(dim=3), torch.ones(COUNT, SIZE, SIZE))
    # Right of the middle a bulge faces right, above it up.
    assert bool((maps["normals"][:, 0, 8, 11] > 0.05).all()) and bool((maps["normals"][:, 1, 4, 8] > 0.05).all())


def test_readings_are_those_of_the_parts(views, lifted):
    readings = views.readings(lifted)
    pose = pose_of_view(lifted.output.view, views.model.settings)
    torch.testing.assert_close(readings["yaw_deg"], pose.rotation[:, 1].rad2deg())
    torch.testing.assert_close(readings["y"], pose.translation[:, 1])
    render = views.model.render(lifted.output)
    seen = render.mask[0, 0] > 0
    error = ((render.image.clamp(-1, 1) - lifted.pictures)[0][:, seen] / 2).square().mean()
    assert float(readings["psnr_db"][0]) == pytest.approx(-10 * math.log10(float(error)), abs=1e-3)


def test_styles_change_the_texture_and_keep_the_geometry(views, lifted):
    model = views.model
    output = lifted.output.select(torch.tensor([0, 0]))
    style_w = lifted.codes[1:]
    layers = model.generator.num_layers
    changed = restyled(model, output, model.generator.broadcast(style_w), style_w, style_layer(model, None))
    for part in ("depth", "transformation", "view", "light", "code"):
        assert torch.equal(getattr(changed, part), getattr(output, part))
    assert not torch.allclose(changed.texture, output.texture)
    # All layers of a style: its own texture on this face.
    whole = restyled(model, output, model.generator.broadcast(style_w), style_w, 0)
    torch.testing.assert_close(whole.texture, lifted.output.texture[1:])
    same = lifted.codes[:1].expand(2, -1)
    kept = restyled(model, output, model.generator.broadcast(same), same, layers // 2)
    torch.testing.assert_close(kept.albedo, output.albedo)
    with pytest.raises(InputError, match=f"expected a layer from 0 to {layers - 1}"):
        style_layer(model, layers)


def test_interpolation_goes_evenly_through_all_codes():
    codes = torch.randn(3, 5)
    loop = interpolated(codes, 4)
    assert loop.shape == (12, 5)
    torch.testing.assert_close(loop[[0, 4, 8]], codes)
    torch.testing.assert_close(loop[10], (codes[2] + codes[0]) / 2)
    line = interpolated(codes, 4, closed=False)
    assert line.shape == (9, 5)
    torch.testing.assert_close(line[-1], codes[2])


def test_meshes_have_a_vertex_for_each_pixel_and_its_albedo(views, lifted):
    face = ellipsoid(views, lifted)
    model = views.model
    mesh = lifted_mesh(model, face.output, 1, "b", "whole")
    assert len(mesh.vertices) == SIZE**2 and len(mesh.faces) == 2 * (SIZE - 1) ** 2
    # The picture spans a quarter of a metre at the pivot, 2 tan(5 degrees) of the model's units.
    scale = PICTURE_METRES / (2 * math.tan(math.radians(5)))
    expected = depth_points(face.output.depth[1:2], model.camera)[0].flatten(0, 1) * scale
    np.testing.assert_allclose(mesh.vertices, expected, atol=1e-6)
    pixels = (face.output.albedo[1] / 2 + 0.5).clamp(0, 1).mul(255).round().permute(1, 2, 0).flatten(0, 1)
    np.testing.assert_allclose(mesh.vertex_colours(), pixels, atol=1)
    assert mesh.metres_per_unit == pytest.approx(scale) and bool((mesh.normals[:, 2] > 0).all())
    near = lifted_mesh(model, face.output, 1, "b")
    assert 0 < len(near.vertices) < SIZE**2
    assert float(near.vertices[:, 2].min()) >= -0.04 * scale - 1e-6
    view, _ = views.asked(face, [Slider("yaw", 40.0)])
    turned = lifted_mesh(model, face.output, 1, "b", view=view[1:2])
    tip, nose = near.vertices[:, 2].argmax(), near.vertices
    assert turned.vertices[tip, 0] > nose[tip, 0] + 0.01
    flat = replace(face.output, depth=torch.full_like(face.output.depth, 1.05))
    with pytest.raises(InputError, match="the depth of b shows none"):
        lifted_mesh(model, flat, 1, "b")


def test_what_the_command_writes(world, tmp_path, capsys, views, lifted):
    words = ["--maps", "--mesh", "glb", "--mesh-part", "whole", "--turntable-deg", "20", "--turntable-frames", "6",
             "--sweep", "light-azimuth-deg=-40:40:3", "--there-and-back", "--interpolate", "2", "--yaws-deg", "-30", "30",
             "--pitches-deg", "10", "--lights-deg", "-50:0", "--manipulated", "--batch-size", "2"]  # fmt: skip
    folder = run(world, tmp_path / "out", *words)
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "3 lifted faces, turntable of 6 frames, sweep of 4 frames, interpolation of 6 frames" in said
    ends = ("png", "albedo.png", "normals.png", "depth.png", "map.png", "npz", "glb")
    videos = {f"{stem}.{kind}" for stem in ("turntable", "sweep", "interpolation") for kind in ("mp4", "gif")}
    own = {"lift.png", "lift.csv", "interpolation.png", *videos}
    assert {path.name for path in folder.iterdir()} == own | {f"{name}.{end}" for name in "abc" for end in ends}
    with av.open(str(folder / "turntable.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 6
    rows = list(csv.DictReader((folder / "lift.csv").open()))
    assert [row["name"] for row in rows] == ["a", "b", "c"]
    np.testing.assert_allclose([float(row["yaw_deg"]) for row in rows], views.readings(lifted)["yaw_deg"], atol=1e-3)
    numbers = np.load(folder / "b.npz")
    np.testing.assert_allclose(numbers["depth"], lifted.output.depth[1], atol=1e-6)
    assert numbers["normals"].shape == (SIZE, SIZE, 3) and numbers["transformation"].shape == (SIZE, SIZE)
    depth = np.asarray(Image.open(folder / "b.depth.png"))
    np.testing.assert_allclose(1.1 - depth / 65535 * 0.2, numbers["depth"], atol=2e-5)
    mesh: trimesh.Trimesh = trimesh.load_mesh(folder / "b.glb")
    assert len(mesh.vertices) == SIZE**2
    # Strips: parts, yaw with M, pitch with M, light with shading.
    assert Image.open(folder / "a.png").height == 4 * 18 + 7 * CELL
    shown = np.asarray(Image.open(folder / "a.png"))
    turned = np.asarray(to_picture(views.draw(views.read(lifted.codes[:2]), [Slider("yaw", -30.0)])[0], CELL - 2))
    # Below the strip of parts, right of the labels of rows.
    top, left = 18 + CELL + 18, 8 + 7 * len("shading")
    assert np.array_equal(shown[top : top + CELL - 2, left : left + CELL - 2], turned)


def test_codes_of_seeds_are_truncated_as_lifted_generators_are_trained(world, tmp_path, views):
    folder = run(
        world, tmp_path / "out", "--seeds", "1,4", "--yaws-deg", "[]", "--pitches-deg", "[]", "--lights-deg", "[]"
    )
    assert {path.name for path in folder.iterdir()} == {"seed0001.png", "seed0004.png", "lift.png", "lift.csv"}
    w = codes_of_seeds(views.model.generator, [1, 4], 0.7)
    rows = list(csv.DictReader((folder / "lift.csv").open()))
    np.testing.assert_allclose(
        [float(row["pitch_deg"]) for row in rows], views.readings(views.read(w))["pitch_deg"], atol=1e-3
    )


def test_photos_are_lifted_by_what_the_encoder_reads(world, tmp_path, views):
    photos = tmp_path / "photos"
    (photos / "more").mkdir(parents=True)
    for place in ("x.png", "more/y.png"):
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(photos / place)
    found = subjects_of_photos(photos, world / "encoder.safetensors", views.model.generator)
    assert (
        found.names == ("more_y", "x") and found.portraits is not None and found.portraits.shape == (2, 3, SIZE, SIZE)
    )
    encoder = CodeEncoder.load(world / "encoder.safetensors", views.model.generator)
    torch.testing.assert_close(found.w, encoder(found.portraits))
    folder = run(
        world, tmp_path / "out", "--photos", str(photos), "--names", "x", "--mesh", "obj", "--mesh-part", "whole"
    )
    names = {"x.png", "x.obj", "x.mtl", "x.diffuse.png", "lift.png", "lift.csv"}
    assert {path.name for path in folder.iterdir()} == names


def test_codes_of_w_plus_stand_for_a_code_of_w(world, tmp_path, views, capsys):
    generator = views.model.generator
    w_plus = generator.broadcast(torch.randn(2, 8)).clone()
    w_plus[1, 0] += 1
    codes = LatentCodes(w_plus, ("one", "two"), generator_digest(generator))
    found = subjects_of_codes(EditSubjects(codes), generator)
    torch.testing.assert_close(found.w, w_plus.mean(dim=1))
    assert found.note.endswith("of 2 codes of W+ stand in 1 by the mean over their layers")
    image, w = torch.zeros(3, SIZE, SIZE, dtype=torch.uint8), torch.randn(8)
    embedding = PortraitEmbedding("two", "photo", {}, w_plus[1], w, image, torch.zeros(68, 2), torch.zeros(5), None, {}, {},
                                  generator_digest(generator))  # fmt: skip
    save_embedding(tmp_path / "embedded" / "two.safetensors", embedding)
    folder = run(world, tmp_path / "out", "--codes", str(tmp_path / "embedded"), "--yaws-deg", "0", "--style",
                 str(world / "codes.safetensors"))  # fmt: skip
    assert "1 by the code of W of their first stage" in capsys.readouterr().err
    rows = list(csv.DictReader((folder / "lift.csv").open()))
    expected = views.readings(views.read(w[None]))["yaw_deg"]
    assert float(rows[0]["yaw_deg"]) == pytest.approx(float(expected), abs=1e-3)
    # The face and three styles, in picture and one view.
    assert Image.open(folder / "two.style.png").height == 18 + 4 * CELL


def test_overwriting_deletes_what_an_earlier_call_wrote_and_nothing_else(world, tmp_path, capsys):
    folder = run(
        world,
        tmp_path / "out",
        "--mesh",
        "ply",
        "--mesh-part",
        "whole",
        "--turntable-deg",
        "5",
        "--turntable-frames",
        "4",
    )
    (folder / "a.glb").write_bytes(b"x")
    assert "expected a folder without lifted faces" in refusal(capsys, world, folder)
    run(world, folder, "--names", "b", "--overwrite")
    assert {path.name for path in folder.iterdir()} == {"a.glb", "b.png", "lift.png", "lift.csv"}


def test_nothing_of_others_is_overwritten(world, tmp_path, capsys):
    words = ["--names", "a", "--yaws-deg", "[]", "--pitches-deg", "[]", "--lights-deg", "[]"]
    folder = run(world, tmp_path / "out", *words)
    (folder / "b.png").write_bytes(b"a photo")
    said = refusal(capsys, world, folder, "--names", "b", "--overwrite")
    assert "expected a folder of lifted faces to overwrite, b.png in" in said
    assert (folder / "b.png").read_bytes() == b"a photo" and (folder / "a.png").exists()
    run(world, folder, *words, "--overwrite")
    assert (folder / "b.png").read_bytes() == b"a photo"
    other = tmp_path / "other"
    other.mkdir()
    (other / "lift.csv").write_text("name,weight\nx,3\n")
    assert "lift.csv in" in refusal(capsys, world, other, "--overwrite")
    assert (other / "lift.csv").read_text().startswith("name,weight")


def test_what_any_code_cannot_show_is_refused_before_anything_is_written(world, tmp_path, views, lifted, capsys):
    own = views.readings(lifted)["yaw_deg"]
    near, far = int(own.argmin()), int(own.argmax())
    # As far as the one can be turned, which is too far for the other.
    by = 90 - float(own[near] + own[far]) / 2
    assert float(own[far] - own[near]) > 0.05
    views.check(lifted.codes[[near]], [[Slider("yaw", by, relative=True)]])
    with pytest.raises(InputError, match="expected a yaw from -90 to 90 degrees"):
        views.check(lifted.codes[[near, far]], [[], [Slider("yaw", by, relative=True)]])
    names = ["abc"[near], "abc"[far]]
    words = ["--names", json.dumps(names), "--sweep", f"yaw-by-deg=0:{by}:3"]
    assert "lifted faces have no back" in refusal(capsys, world, tmp_path / "none", *words)
    assert not (tmp_path / "none").exists()


def test_meshes_without_a_face_are_refused_before_anything_is_written(views, lifted, monkeypatch):
    face = ellipsoid(views, lifted)
    depth = face.output.depth.clone()
    depth[2] = 1.05
    flat = replace(face, output=replace(face.output, depth=depth))
    monkeypatch.setattr(views, "read", lambda codes: flat)
    subjects = LiftSubjects(tuple("abc"), lifted.codes, views.model.generator.broadcast(lifted.codes))
    with pytest.raises(InputError, match="the depth of c shows none"):
        check_foreground(views, subjects, 16)


def test_examples_of_the_documentation_are_taken():
    lines = [line for line in (ROOT / "docs/lift.md").read_text().splitlines() if line.startswith("lightning lift")]
    assert len(lines) >= 5
    for line in lines:
        words = shlex.split(line, comments=True)
        sliders = sliders_of([], light=words_after(words, "--light"))
        assert len(slider_sweeps(words_after(words, "--sweep"), sliders, "a light")) == ("--sweep" in words)


def words_after(words: list[str], option: str) -> list[str]:
    """What is given to an option of several words."""
    if option not in words:
        return []
    rest = words[words.index(option) + 1 :]
    return rest[: next((place for place, word in enumerate(rest) if word.startswith("--")), len(rest))]


def test_stills_without_views_show_the_parts(views, lifted):
    labels, rows = Stills().parts(views, lifted)
    assert labels == ["picture", "render", "albedo", "normals", "depth", "map"] and len(rows) == COUNT
    asked, _ = Stills((Slider("yaw", 5.0),)).parts(views, lifted, torch.zeros(COUNT, 3, SIZE, SIZE))
    assert asked[:4] == ["photo", "picture", "render", "asked"]


def test_checkpoints_of_the_authors_open_too(tmp_path, views):
    model = tiny_lifted()
    paths = write_official(tmp_path, official_state(model), model.generator)
    opened = open_lifted(*paths)
    codes = torch.randn(2, 8)
    torch.testing.assert_close(opened(codes).light, model.eval()(codes).light)
    with pytest.raises(InputError, match="holds a StyleGAN2 generator; give it as the generator"):
        open_lifted(paths[1], paths[1])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--seeds", "0", "--codes", "x.safetensors"],
            "expected one of --codes, --photos, --seeds, got --codes and --seeds",
        ),
        (["--seeds", "0", "--truncation", "1.5"], "expected a truncation from 0 to 1, got 1.5"),
        (["--seeds", "0", "--truncation", "-0.1"], "expected a truncation from 0 to 1"),
        (["--truncation", "0.7"], "expected --truncation with --seeds, got it with --codes"),
        (["--seeds", "0", "--names", "a"], "expected --names with --codes or --photos"),
        (["--names", "z"], "expected one of the codes"),
        (["--lights-deg", "left"], "expected --lights-deg AZIMUTH:ELEVATION such as -60:0, got 'left'"),
        (["--lights-deg", "95:0"], "expected lights in front of the face"),
        (["--light", "warmth=1"], "LiftedGAN's light is white"),
        (["--sweep", "smile=0:1:3"], "LiftedGAN knows no expressions"),
        (["--sweep", "d.safetensors:yaw=0:1:3"], "lightning edit' moves codes along directions"),
        (["--turntable-deg", "95"], "lifted faces have no back"),
        (["--seeds", "0", "--interpolate", "5"], "expected two codes or more to interpolate, got 1"),
        (["--interpolate", "-1"], "expected 0 to 12000 frames from code to code"),
        (["--style-from-layer", "99", "--style", "CODES"], "expected a layer from 0 to"),
        (["--style-from-layer", "1"], "expected --style with --style-from-layer, got none"),
        (["--there-and-back"], "expected --sweep with --there-and-back, got none"),
        (["--posed"], "expected --mesh with --posed, got none"),
        (["--mesh-part", "whole"], "expected --mesh with --mesh-part whole, got none"),
        (["--light", "azimuth-deg=40", "--sweep", "light-azimuth-deg=0:9:3"], "expected light_azimuth_deg once"),
        (["--batch-size", "0"], "expected --batch-size and --video-codes of 1 or more"),
        (["--turntable-deg", "20", "--fps", "90"], "frames a second"),
        (["--lifted", "absent.safetensors"], "expected a file at absent.safetensors"),
        (["--style", "absent.safetensors"], "expected a file at absent.safetensors"),
    ],
)
def test_one_line_for_what_cannot_be_used(capsys, world, tmp_path, words, message):
    words = [str(world / "codes.safetensors") if word == "CODES" else word for word in words]
    assert message in refusal(capsys, world, tmp_path / "none", *words) and not (tmp_path / "none").exists()


def test_files_of_another_kind_or_size(capsys, world, tmp_path):
    generator, other = str(world / "generator.safetensors"), str(world / "other.safetensors")
    none = tmp_path / "none"
    said = refusal(capsys, world, none, "--lifted", generator)
    assert "expected weights of kind lifted-gan" in said and "stylegan2-generator" in said
    assert "expected a generator of 16 pixels" in refusal(capsys, world, none, "--generator", other)
    assert "expected another folder than that of the codes" in refusal(capsys, world, world)
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (30, 20)).save(photos / "wide.png")
    assert "square" in refusal(capsys, world, none, "--photos", str(photos))
    lift = tmp_path / "lift.safetensors"
    codes = load_codes(world / "codes.safetensors")
    save_codes(lift, replace(codes, names=("lift", "b", "c")))
    assert "expected codes of other names than lift" in refusal(capsys, world, none, "--codes", str(lift))
    assert not none.exists()


def test_the_mesh_of_a_face_says_its_scale(world, tmp_path, views, lifted):
    folder = run(
        world, tmp_path / "out", "--names", "a", "--mesh", "glb", "--mesh-part", "whole", "--posed", "--yaw-deg", "20"
    )
    data = (folder / "a.glb").read_bytes()
    tree = json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")])
    scale = PICTURE_METRES / (2 * math.tan(math.radians(5)))
    assert tree["asset"]["extras"]["metres_per_model_unit"] == pytest.approx(scale)
    view, _ = views.asked(lifted, [Slider("yaw", 20.0)])
    expected = lifted_mesh(views.model, lifted.output, 0, "a", "whole", view[:1]).vertices
    written = trimesh.load_mesh(folder / "a.glb", process=False)
    np.testing.assert_allclose(written.vertices, expected, atol=1e-6)
