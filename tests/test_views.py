"""`lightning views` and what it draws with: poses, expressions, light, pasted faces, videos, and what is refused in one line."""

import csv
import math
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import cli
from evaluation.moving_views import turntable
from evaluation.report import to_picture
from evaluation.stylefaceuv.alignment import turned_parameters
from evaluation.stylefaceuv.compositing import fading, paste_face
from evaluation.stylefaceuv.views import DetailedViews, ViewGrid, view_frames
from models.latent_codes import LatentCodes, load_codes, save_codes
from models.stylefaceuv import DetailedFaces, MirrorStep, StepSize, open_detailed_faces, render_detailed
from models.stylegan2.digest import generator_digest
from models.stylegan2.sampling import codes_of_seeds
from models.stylerig.light import light_of
from models.stylerig.sliders import Slider, read_slider
from renderers.errors import InputError
from renderers.images import to_signed
from tests.tiny_stylefaceuv import write_uv_network, yaw_direction

COUNT, SIZE = 3, 16


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """A UV generator with its networks, codes, and a step size that moves codes by an angle in fifths of a spread."""
    folder = tmp_path_factory.mktemp("views")
    torch.manual_seed(0)
    write_uv_network(folder)
    faces = open_detailed_faces(folder / "uv_generator.safetensors")
    generator = faces.generator
    w_plus = generator.broadcast(generator.mapping(torch.randn(COUNT, generator.z_dim)))
    save_codes(folder / "codes.safetensors", LatentCodes(w_plus, tuple("abc"), generator_digest(generator)))
    step, yaw = StepSize(generator.num_layers, generator.w_dim, hidden=(1,)), yaw_direction(generator)
    step.move_along(yaw.normal.expand(generator.num_layers, -1), yaw.spread)
    with torch.no_grad():
        step.net[-1].get_parameter("weight").zero_()
        step.linear.weight[0, -1] = 1.0
    step.save(folder / "step.safetensors", faces.provenance)
    mirror = MirrorStep(generator.num_layers, generator.w_dim, hidden=(1,))
    mirror.move_along(step.direction, 1.0)
    mirror.save(folder / "mirror.safetensors", faces.provenance)
    return folder


@pytest.fixture(scope="module")
def faces(world) -> DetailedFaces:
    return open_detailed_faces(world / "uv_generator.safetensors")


@pytest.fixture(scope="module")
def step(world, faces) -> StepSize:
    return StepSize.load(world / "step.safetensors", faces.provenance)


@pytest.fixture(scope="module")
def codes(faces) -> Tensor:
    return faces.generator.broadcast(codes_of_seeds(faces.generator, range(COUNT)))


def disc(size: int = 32, radius: float = 10.0) -> Tensor:
    place = torch.arange(size) + 0.5 - size / 2
    return (place[:, None] ** 2 + place**2 < radius**2).float()[None, None]


def run(world: Path, output: Path, *words: str) -> Path:
    networks = ["--uv-generator", str(world / "uv_generator.safetensors"), "--output", str(output)]
    source = [] if "--seeds" in words else ["--codes", str(world / "codes.safetensors")]
    cli.main(["views", *networks, *source, *words])
    return output


def refusal(capsys, world: Path, output: Path, *words: str) -> str:
    with pytest.raises(SystemExit) as stop:
        run(world, output, *words)
    lines = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2 and len(lines) == 1
    return lines[0]


def test_a_hard_seam_shows_the_face_wherever_it_is():
    picture, mask = torch.rand(1, 3, 32, 32) * 2 - 1, disc()
    face = torch.rand(1, 3, 32, 32) * mask
    torch.testing.assert_close(paste_face(picture, face, mask, "hard"), torch.where(mask > 0, to_signed(face), picture))


def test_a_soft_seam_fades_inside_the_face_alone():
    picture, mask = torch.full((1, 3, 32, 32), -1.0), disc()
    pasted = paste_face(picture, mask.expand(-1, 3, -1, -1), mask, "soft", fade=1 / 8)[0, 0]
    assert bool((pasted[mask[0, 0] == 0] == -1).all()) and float(pasted[16, 16]) == 1
    along = pasted[16, 16:]
    assert bool((along.diff() <= 0).all()) and float(along.diff().abs().max()) < 2 * 0.4
    assert float(paste_face(picture, mask.expand(-1, 3, -1, -1), mask, "hard")[0, 0, 16, 16:].diff().abs().max()) == 2


def test_pixels_covered_in_part_keep_the_colours_of_their_part():
    picture, coverage = torch.zeros(1, 3, 8, 8), torch.full((1, 1, 8, 8), 0.25)
    # Averages of finer pixels: colour 0.8 on a quarter of each.
    pasted = paste_face(picture, torch.full_like(picture, 0.2), coverage, "hard")
    torch.testing.assert_close(pasted, torch.full_like(picture, 0.25 * 0.6))


def test_no_seam_where_a_face_leaves_the_picture():
    mask = torch.zeros(2, 1, 16, 16)
    mask[0, :, :, :8], mask[1] = 1, 1
    weights = fading(mask, 1 / 4)
    assert bool((weights[0, 0, :, 0] == 1).all()) and bool((weights[1] == 1).all()) and float(weights[0, 0, 3, 7]) < 0.1


def test_pasting_refuses_what_does_not_fit():
    picture, mask = torch.zeros(1, 3, 32, 32), disc()
    with pytest.raises(InputError, match="of the pictures' size"):
        paste_face(picture, torch.zeros(1, 3, 16, 16), torch.zeros(1, 1, 16, 16))
    with pytest.raises(InputError, match="fades over a share of the height above 0"):
        paste_face(picture, picture, mask, "soft", 0.0)


def test_a_view_in_the_own_pose_is_the_render_over_the_picture(faces, codes):
    views = DetailedViews(faces, seam="hard")
    viewed = views.read(codes)
    drawn = views.draw(viewed)
    pictures = faces.generator.synthesis(codes, "const").clamp(-1, 1)
    render = render_detailed(faces.renderer(2 * SIZE), faces.parameters(codes), faces.maps(codes))
    coverage = torch.nn.functional.avg_pool2d(render.mask, 2)
    shown = to_signed(torch.nn.functional.avg_pool2d(render.image, 2))
    whole = (coverage == 1).expand(-1, 3, -1, -1)
    torch.testing.assert_close(drawn[whole], shown[whole])
    beside = (coverage == 0).expand(-1, 3, -1, -1)
    assert bool(whole.any()) and bool(beside.any())
    torch.testing.assert_close(drawn[beside], pictures[beside])


def test_turned_heads_stand_alone_without_a_step(faces, codes):
    views = DetailedViews(faces)
    viewed = views.read(codes)
    turned, back = (views.draw(viewed, [Slider("yaw", yaw)]) for yaw in (30.0, -30.0))
    # Black beside the face: corners never show it.
    assert bool((turned[:, :, 0, 0] == -1).all()) and not torch.allclose(turned, back)
    own = DetailedViews(faces, background="own").draw(viewed, [Slider("yaw", 30.0)])
    torch.testing.assert_close(own[:, :, 0, 0], viewed.pictures[:, :, 0, 0])
    alone = DetailedViews(faces, background="none").draw(viewed)
    assert bool((alone[:, :, 0, 0] == -1).all())


def test_behind_a_turned_head_is_the_picture_of_the_moved_code(faces, codes, step):
    views = DetailedViews(faces, step=step)
    viewed = views.read(codes)
    drawn = views.draw(viewed, [Slider("yaw", 30.0)])
    moved = step.turned(codes, math.radians(30))
    pictures = faces.generator.synthesis(moved, "const").clamp(-1, 1)
    torch.testing.assert_close(drawn[:, :, 0, 0], pictures[:, :, 0, 0])
    assert not torch.allclose(pictures[:, :, 0, 0], viewed.pictures[:, :, 0, 0])
    # The picture of a moved code promises nothing of another pitch.
    assert bool((views.draw(viewed, [Slider("yaw", 30.0), Slider("pitch", 5.0)])[:, :, 0, 0] == -1).all())


def test_turned_faces_stay_at_the_point_that_portraits_are_aligned_by(faces, codes, step, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "evaluation.stylefaceuv.views.render_detailed",
        lambda renderer, parameters, maps: drawn.append(parameters) or render_detailed(renderer, parameters, maps),
    )

    def drawn_of(sliders: list[Slider], **options):
        views = DetailedViews(faces, **options)
        views.draw(views.read(codes), sliders)
        return drawn[-1]

    own, moved, yaw = faces.parameters(codes), step.turned(codes, math.radians(50)), [Slider("yaw", 50.0)]
    angles = torch.full((COUNT,), math.radians(50))
    # Over the moved code's picture at the point read of it, though that may show another yaw; on black at the code's own.
    for shown, options in ((faces.parameters(moved), {"step": step}), (own, {}), (own, {"background": "none"})):
        expected = turned_parameters(faces.face_model, own, shown, angles)
        found = drawn_of(yaw, **options)
        torch.testing.assert_close(found.rotation, expected.rotation)
        torch.testing.assert_close(found.translation, expected.translation)
        assert not torch.allclose(found.translation, shown.translation, atol=0.005)
    # The head of the code's own picture does not turn, and the face turns about its middle.
    torch.testing.assert_close(drawn_of(yaw, background="own").translation, own.translation)
    torch.testing.assert_close(drawn_of([Slider("smile", 1.0)]).translation, own.translation)


def test_expression_and_light_are_those_asked_and_leave_the_pose(faces, codes):
    views = DetailedViews(faces)
    viewed = views.read(codes)
    sliders = [Slider("jaw_open", 0.8), Slider("light_azimuth", 50.0), Slider("light_strength", 0.6)]
    asked = views.parameters(viewed, sliders)
    torch.testing.assert_close(read_slider(asked, "jaw_open", faces.face_model), torch.full((COUNT,), 0.8))
    torch.testing.assert_close(light_of(asked.illumination).azimuth, torch.full((COUNT,), math.radians(50)))
    torch.testing.assert_close(asked.rotation, viewed.parameters.rotation)
    own, lit = views.draw(viewed), views.draw(viewed, sliders)
    torch.testing.assert_close(own[:, :, 0, 0], lit[:, :, 0, 0])
    assert not torch.allclose(own, lit)


def test_views_of_any_size(faces, codes):
    views = DetailedViews(faces, image_size=40)
    drawn = views.draw(views.read(codes[:1]))
    assert drawn.shape == (1, 3, 40, 40) and float(drawn.abs().max()) <= 1
    for size in (0, 5000):
        with pytest.raises(InputError, match="expected views of 1 to 4096 pixels"):
            DetailedViews(faces, image_size=size)


def test_fidelity_is_that_of_the_face_to_the_picture(faces, codes):
    views = DetailedViews(faces, seam="hard")
    viewed = views.read(codes)
    render = render_detailed(faces.renderer(2 * SIZE), viewed.parameters, viewed.maps)
    coverage = torch.nn.functional.avg_pool2d(render.mask, 2)
    face = torch.nn.functional.avg_pool2d(render.image, 2) / coverage.clamp_min(1e-6)
    for row in range(COUNT):
        inside = coverage[row, 0] >= 0.5
        error = (to_signed(face[row]) - viewed.pictures[row])[:, inside].div(2).square().mean()
        assert float(views.fidelity(viewed)[row]) == pytest.approx(-10 * math.log10(float(error)), abs=1e-3)


def test_the_grid_has_a_row_for_each_pitch_and_a_column_for_each_yaw(faces, codes):
    views = DetailedViews(faces)
    viewed = views.read(codes[:2])
    grid = ViewGrid((Slider("jaw_open", 1.0),), (-20.0, 20.0), (-10.0, 0.0, 10.0))
    assert grid.labels == ("picture", "face", "asked", "-20 deg", "20 deg") and len(grid.row_labels) == 3
    drawn = grid.draw(views, viewed)
    assert [len(rows) for rows in drawn] == [3, 3] and all(len(row) == 5 for rows in drawn for row in rows)
    assert drawn[1][0][0] is not None and drawn[1][1][:3] == [None] * 3
    sliders = [Slider("jaw_open", 1.0), Slider("yaw", 20.0), Slider("pitch", -10.0)]
    expected = to_picture(views.draw(viewed, sliders)[1])
    assert np.array_equal(np.asarray(drawn[1][0][4]), np.asarray(expected))
    assert ViewGrid(pitches=(5.0,)).labels == ("picture", "face", "own yaw")


def test_a_turntable_is_a_loop_to_both_sides():
    angles = [step[0].value for step in turntable(40.0, 8)]
    np.testing.assert_allclose(angles, [0, 28.28, 40, 28.28, 0, -28.28, -40, -28.28], atol=0.01)
    with pytest.raises(InputError, match="expected 4 to 12000 frames"):
        turntable(40.0, 3)


def test_frames_show_codes_side_by_side(faces, codes):
    views = DetailedViews(faces)
    frames = list(view_frames(views, codes, [], turntable(30.0, 4), batch_size=2))
    assert len(frames) == 4 and frames[0].size == (2 * (SIZE + 2), 2 * (SIZE + 2))
    expected = to_picture(views.draw(views.read(codes[2:]), [Slider("yaw", 30.0)])[0])
    assert np.array_equal(np.asarray(frames[1].crop((0, 18, 16, 34))), np.asarray(expected))


def test_what_the_command_writes(world, tmp_path, capsys):
    folder = run(world, tmp_path / "out", "--yaws-deg", "-30", "30", "--expression", "smile=0.5", "--turntable-deg", "20",
                 "--turntable-frames", "6", "--sweep", "light-azimuth-deg=-40:40:3", "--there-and-back", "--batch-size", "2")  # fmt: skip
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "views of 3 codes, sweep of 4 frames, turntable of 6 frames" in said
    videos = {f"{stem}.{suffix}" for stem in ("sweep", "turntable") for suffix in ("mp4", "gif")}
    assert {path.name for path in folder.iterdir()} == {"a.png", "b.png", "c.png", "views.png", "views.csv", *videos}
    # Picture, face, asked and two yaws, with gaps of 2, below their labels.
    assert Image.open(folder / "b.png").size == (5 * 18, 18 + 18)
    assert Image.open(folder / "views.png").height == 18 + 3 * 18
    with av.open(str(folder / "turntable.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 6
    rows = list(csv.DictReader((folder / "views.csv").open()))
    opened = open_detailed_faces(world / "uv_generator.safetensors")
    views = DetailedViews(opened)
    viewed = views.read(load_codes(world / "codes.safetensors").w_plus)
    assert [row["name"] for row in rows] == ["a", "b", "c"]
    np.testing.assert_allclose(
        [float(row["yaw_deg"]) for row in rows], torch.rad2deg(viewed.parameters.rotation[:, 1]), atol=1e-3
    )
    np.testing.assert_allclose([float(row["psnr_db"]) for row in rows], views.fidelity(viewed), atol=1e-3)


def test_codes_of_seeds_are_those_of_generate(world, tmp_path, faces):
    folder = run(world, tmp_path / "out", "--seeds", "1,4", "--yaws-deg", "[]")
    assert {path.name for path in folder.iterdir()} == {"seed0001.png", "seed0004.png", "views.png", "views.csv"}
    own = faces.generator.broadcast(codes_of_seeds(faces.generator, [4]))
    shown = np.asarray(Image.open(folder / "seed0004.png"))[18 : 18 + SIZE, :SIZE]
    picture = to_picture(faces.generator.synthesis(own, "const").clamp(-1, 1)[0])
    assert np.array_equal(shown, np.asarray(picture))


def test_overwriting_deletes_what_an_earlier_call_drew(world, tmp_path, capsys):
    folder = run(world, tmp_path / "out", "--yaws-deg", "0", "--turntable-deg", "5", "--turntable-frames", "4")
    (folder / "mine.png").write_bytes(b"x")
    assert "expected a folder without views" in refusal(capsys, world, folder)
    run(world, folder, "--names", "b", "--yaws-deg", "0", "--overwrite")
    assert {path.name for path in folder.iterdir()} == {"b.png", "mine.png", "views.png", "views.csv"}


def test_a_step_size_turns_the_picture_behind(world, tmp_path, faces, codes, step):
    folder = run(
        world, tmp_path / "out", "--seeds", "0", "--yaws-deg", "25", "--step-size", str(world / "step.safetensors")
    )
    views = DetailedViews(faces, step=step)
    expected = to_picture(views.draw(views.read(codes[:1]), [Slider("yaw", 25.0)])[0])
    shown = np.asarray(Image.open(folder / "seed0000.png"))[18 : 18 + SIZE, 2 * 18 : 2 * 18 + SIZE]
    assert np.array_equal(shown, np.asarray(expected))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds", "0", "--codes", "x.safetensors"], "expected --codes or --seeds"),
        (["--seeds", "0", "--names", "a"], "expected --names with --codes"),
        (["--names", "z"], "expected one of the codes"),
        (["--truncation", "0.5"], "expected --truncation with --seeds, got 0.5"),
        (
            ["--step-size", "s.safetensors", "--background", "own"],
            "expected --background auto with --step-size, got own",
        ),
        (["--there-and-back"], "expected --sweep with --there-and-back"),
        (["--expression", "grin=1"], "expected a slider of this face model, got 'grin'"),
        (["--sweep", "d.safetensors:yaw=0:1:3"], "lightning edit' moves codes along directions"),
        (["--sweep", "yaw=0:1:3"], "expected an angle in degrees to be named so"),
        (["--yaws-deg", "400"], "expected yaw in degrees from -180 to 180, got 400"),
        (["--turntable-deg", "200"], "expected yaw in degrees from -180 to 180"),
        (["--turntable-deg", "20", "--fps", "90"], "frames a second"),
        (["--image-size", "0"], "expected views of 1 to 4096 pixels, got 0"),
        (["--batch-size", "0"], "expected --batch-size and --video-codes of 1 or more"),
        (["--uv-generator", "absent.safetensors"], "expected a file at absent.safetensors"),
    ],
)
def test_one_line_for_what_cannot_be_used(capsys, world, tmp_path, words, message):
    assert message in refusal(capsys, world, tmp_path / "none", *words) and not (tmp_path / "none").exists()


def test_places_and_steps_that_do_not_suit(capsys, world, tmp_path):
    mirror = str(world / "mirror.safetensors")
    assert "knows the mirrored yaw alone" in refusal(capsys, world, tmp_path / "none", "--step-size", mirror)
    assert "expected another folder than that of the codes" in refusal(capsys, world, world)
    (tmp_path / "file").touch()
    assert "is a file; name another" in refusal(capsys, world, tmp_path / "file")
    generated = tmp_path / "generated"
    cli.main(
        ["generate", "--generator", str(world / "generator.safetensors"), "--seeds", "0", "--output", str(generated)]
    )
    capsys.readouterr()
    assert "are of another command" in refusal(capsys, world, generated, "--seeds", "0", "--overwrite")
