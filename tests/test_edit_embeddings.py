"""`lightning edit` of embedded portraits: photos beside them and pasted back, read by MoFA, moved along directions, by rigs in turn."""

import csv
import hashlib
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import cli
from datamodules.photos import FaceTransform, crop_quad
from evaluation.code_edits import CodeEdit, edit_codes
from evaluation.edit_pasting import PhotoPlace, changed_region, paste_edit
from evaluation.edit_reference import read_reference
from models.latent_codes import load_codes
from models.latent_directions import LatentDirection, LatentDirections, LatentMove, load_directions, save_directions
from models.morphable.loading import save_face_model
from models.portrait_embedding import PortraitEmbedding, load_embeddings, save_embedding
from models.stylegan2 import load_generator
from models.stylegan2.digest import generator_digest
from models.stylegan2.sampling import pictures_of_codes
from models.stylerig import FaceReconstruction, Provenance, RigNet, RigSources
from models.stylerig.face_encoder import FaceEncoder
from models.stylerig.opening import open_rig
from models.stylerig.sliders import Slider
from renderers.camera import PerspectiveCamera
from renderers.errors import InputError
from tests.tiny_stylerig import LAYERS, RESOLUTION, WIDTH, write_networks
from tests.toy_face import SIZES, toy_face_model

QUAD = [[20.0, 8.0], [20.0, 40.0], [52.0, 40.0], [52.0, 8.0]]
NAMES = ("ann", "bob", "made")


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """Three embeddings, two of photos and one of a synthetic portrait; rigs for one control each; directions; F and a face encoder."""
    folder = tmp_path_factory.mktemp("world")
    files = write_networks(folder)
    generator, model = load_generator(files["generator"]), toy_face_model()
    save_face_model(folder / "face.safetensors", model, "toy")
    present = Provenance.of(generator, model, PerspectiveCamera())
    f = FaceReconstruction(LAYERS, WIDTH, SIZES, hidden=16)
    torch.nn.init.normal_(f.net[-1].weight, std=0.1)
    f.save(folder / "f.safetensors", present)
    encoder = FaceEncoder(SIZES, widths=(4, 8), blocks=(1, 1), num_features=8, working_size=16)
    torch.nn.init.normal_(encoder.readout.weight, std=0.3)
    encoder.save(folder / "encoder.safetensors", replace(present, generator=None))
    sources = RigSources(files["generator"], str(folder / "f.safetensors"), str(folder / "face.safetensors"))
    for name, component in {"pose": "rotation", "light": "illumination", "expression": "expression"}.items():
        rig = RigNet(LAYERS, WIDTH, (component,), SIZES, latent=4)
        torch.nn.init.normal_(rig.decoder_weight, std=0.2)
        rig.save(folder / f"{name}.safetensors", present, sources)
    normals = torch.eye(WIDTH)
    pair = (LatentDirection("yaw", normals[0], 0.5, 0.1), LatentDirection("age", normals[1], 1.0, 0.0))
    save_directions(folder / "directions.safetensors", LatentDirections(pair, generator_digest(generator), {}))
    (folder / "photos" / "trip").mkdir(parents=True)
    noise = np.random.default_rng(0)
    codes = generator.broadcast(generator.mapping(torch.randn(3, 10, generator=torch.Generator().manual_seed(1))))
    for row, name in enumerate(NAMES):
        photo = Image.fromarray(noise.integers(0, 256, (48, 64, 3), dtype=np.uint8))
        path = folder / "photos" / "trip" / f"{name}.png"
        origin: dict = {"index": row, "seed": 0}
        image = crop_quad(photo, torch.tensor(QUAD), RESOLUTION).image
        if name != "made":
            photo.save(path)
            transform = FaceTransform(f"{name}.png", RESOLUTION, QUAD, (0.0, 0.0, 0.0, 0.0), photo.size, 0.9, [[0.0, 0.0]] * 5, None)
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            origin = {"path": f"somewhere/photos/trip/{name}.png", "sha256": sha256, "transform": asdict(transform)}
        embedding = PortraitEmbedding(
            name,
            "portrait" if name == "made" else "photo",
            origin,
            codes[row],
            None,
            torch.from_numpy(np.array(image)).permute(2, 0, 1),
            torch.zeros(68, 2),
            torch.zeros(SIZES.total),
            None,
            {"total": 1.0},
            {},
            generator_digest(generator),
        )
        save_embedding(folder / "embeddings" / f"{name}.safetensors", embedding)
    return folder


def run(world: Path, output: Path, *words: str, rigs: tuple[str, ...] = ("pose",), codes: str = "embeddings") -> Path:
    files = ["--rig", *(str(world / f"{rig}.safetensors") for rig in rigs), "--codes", str(world / codes)]
    cli.main(["edit", *files, "--output", str(output), *words])
    return output


def refused(capsys, world: Path, output: Path, *words: str, **options) -> str:
    with pytest.raises(SystemExit) as stop:
        run(world, output, *words, **options)
    lines = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2 and len(lines) == 1 and not output.exists()
    return lines[0]


def table(folder: Path) -> dict[str, list[float]]:
    rows = list(csv.DictReader((folder / "edits.csv").open()))
    return {name: [float(row[name]) for row in rows] for name in rows[0] if name != "name"}


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


def test_a_folder_of_embeddings_is_edited_beside_its_photos(world, tmp_path):
    folder = run(world, tmp_path / "out", "--yaw-deg", "20")
    assert {path.name for path in folder.iterdir()} == {*(f"{name}.png" for name in NAMES), "grid.png", "edits.csv", "codes.safetensors"}
    codes, embeddings = load_codes(folder / "codes.safetensors"), load_embeddings(world / "embeddings")
    assert codes.names == NAMES
    opened = open_rig([world / "pose.safetensors"])
    before = torch.stack([each.w_plus for each in embeddings])
    expected = opened.rig.edit_by(before, [Slider("yaw", 20.0)], opened.face_model)
    torch.testing.assert_close(codes.w_plus, expected)
    # Nine cells with gaps of 2 below their labels: photo, embedding, edited of each.
    grid = pixels(folder / "grid.png")
    assert grid.shape[1] == 9 * (RESOLUTION + 2)
    step, top = RESOLUTION + 2, grid.shape[0] - RESOLUTION - 2
    cells = [grid[top : top + RESOLUTION, start : start + RESOLUTION] for start in range(0, 3 * step, step)]
    wanted = [
        embeddings[0].image.permute(1, 2, 0).numpy(),
        pictures_of_codes(opened.generator, before[:1])[0].permute(1, 2, 0).numpy(),
        pixels(folder / "ann.png"),
    ]
    for cell, picture in zip(cells, wanted, strict=True):
        np.testing.assert_array_equal(cell, picture)


def test_one_embedding_and_names_of_a_folder_are_the_same_edit(world, tmp_path):
    one = run(world, tmp_path / "a", "--yaw-by-deg", "8", codes="embeddings/bob.safetensors")
    named = run(world, tmp_path / "b", "--yaw-by-deg", "8", "--names", "bob")
    first, second = load_codes(one / "codes.safetensors"), load_codes(named / "codes.safetensors")
    assert first.names == second.names == ("bob",)
    torch.testing.assert_close(first.w_plus, second.w_plus)


def test_edits_do_not_land_among_embeddings(world, tmp_path, capsys):
    for codes in ("embeddings", "embeddings/bob.safetensors"):
        with pytest.raises(SystemExit):
            run(world, world / "embeddings", "--yaw-deg", "5", codes=codes)
        assert "another folder than that of the codes" in capsys.readouterr().err
    assert "found none" in refused(capsys, world, tmp_path / "o", "--yaw-deg", "5", codes="photos")
    assert "got zoe" in refused(capsys, world, tmp_path / "o", "--yaw-deg", "5", "--names", "zoe")


def test_three_rigs_edit_pose_then_light_then_expression(world, tmp_path):
    """PIE, section 5.4: each network reads the code that the one before it left."""
    words = ["--expression", "first=0.6", "--light", "azimuth-deg=30", "--yaw-deg", "15"]
    folder = run(world, tmp_path / "out", *words, rigs=("expression", "pose", "light"))
    codes = torch.stack([each.w_plus for each in load_embeddings(world / "embeddings")])
    opened = open_rig([world / f"{name}.safetensors" for name in ("pose", "light", "expression")])
    target = CodeEdit((Slider("first", 0.6), Slider("light_azimuth", 30.0), Slider("yaw", 15.0))).target(
        opened.rig.parameters_of(codes), opened
    )
    for component in ("rotation", "illumination", "expression"):
        codes = opened.rig.edit(codes, target, (component,))
    torch.testing.assert_close(load_codes(folder / "codes.safetensors").w_plus, codes)


def test_photos_get_what_the_edit_changed_and_nothing_else(world, tmp_path):
    folder = run(world, tmp_path / "out", "--yaw-deg", "30", "--paste-back", str(world / "photos"))
    assert not (folder / "made.photo.png").exists()
    for name in ("ann", "bob"):
        photo, pasted = (pixels(path) for path in (world / "photos" / "trip" / f"{name}.png", folder / f"{name}.photo.png"))
        assert photo.shape == pasted.shape
        inside = np.zeros(photo.shape[:2], bool)
        inside[8:40, 20:52] = True
        np.testing.assert_array_equal(pasted[~inside], photo[~inside])
        assert (pasted[inside] != photo[inside]).any()
    # Asked for again, these are its own files; an edit without photos leaves none behind.
    run(world, folder, "--yaw-deg", "10", "--overwrite")
    assert not (folder / "ann.photo.png").exists()


def test_an_edit_that_changes_nothing_leaves_photos_as_they_are(world, tmp_path):
    direction = f"{world / 'directions.safetensors'}:age=0"
    for mode in ("picture", "difference"):
        folder = run(world, tmp_path / mode, "--direction", direction, "--paste-back", str(world / "photos"), "--paste-mode", mode)
        difference = pixels(folder / "ann.photo.png") - pixels(world / "photos" / "trip" / "ann.png")
        assert abs(difference).max() <= 1


@pytest.fixture
def place(tmp_path) -> PhotoPlace:
    photo = Image.fromarray(np.random.default_rng(1).integers(60, 190, (64, 64, 3), dtype=np.uint8))
    photo.save(tmp_path / "photo.png")
    return PhotoPlace(tmp_path / "photo.png", hashlib.sha256((tmp_path / "photo.png").read_bytes()).hexdigest(), None)


def test_differences_keep_the_photos_detail(place):
    photo = pixels(place.path)
    embedded = np.full((64, 64, 3), 100, np.uint8)
    pasted = np.asarray(paste_edit(place, embedded, embedded + 40, "difference")).astype(int)
    # An aligned portrait is its own crop; within its faded border the change is the edit's, whatever the embedding missed.
    assert abs(pasted - photo - 40)[8:-8, 8:-8].max() <= 1


def test_pictures_show_where_the_edit_changed_something(place):
    photo = pixels(place.path)
    embedded = np.full((64, 64, 3), 100, np.uint8)
    edited = embedded.copy()
    edited[20:36, 20:36] = 200
    # A flat middle that the edit left as it was is a part of what moved.
    edited[26:30, 26:30] = 100
    pasted = np.asarray(paste_edit(place, embedded, edited, "picture")).astype(int)
    assert abs(pasted - edited)[20:36, 20:36].max() <= 1
    np.testing.assert_array_equal(pasted[:12], photo[:12])
    np.testing.assert_array_equal(pasted[:, 44:], photo[:, 44:])


def test_the_changed_region_is_whole_and_fades():
    before, after = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64, 3), np.uint8)
    assert not changed_region(before, after).any()
    after[24:40, 24:40, 1] = 255
    after[30:34, 30:34] = 0
    region = changed_region(before, after)
    assert region[24:40, 24:40].min() == 1 and region[32, 50:].max() == 0
    assert (np.diff(region[32, 32:]) <= 0).all() and ((region > 0) & (region < 1)).any()
    assert changed_region(before, np.full_like(before, 255)).min() == 1


def test_a_face_that_changed_at_its_borders_is_shown_whole():
    before, after = np.zeros((2, 1024, 1024, 3), np.uint8)
    # What changed is open below, so that it encloses nothing.
    after[200:800, 250:350] = after[200:800, 650:750] = after[200:300, 250:750] = 255
    region = changed_region(before, after)
    assert region[250:750, 300:700].min() == 1
    assert region[:100].max() == region[950:].max() == region[:, :150].max() == region[:, 850:].max() == 0


def test_no_edit_is_written_among_the_photos(world, tmp_path, capsys):
    photos = world / "photos" / "trip"
    before = {path: path.read_bytes() for path in photos.iterdir()}
    with pytest.raises(SystemExit):
        run(world, photos, "--yaw-deg", "5", "--paste-back", str(world / "photos"), "--overwrite")
    assert "that of the photos" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in photos.iterdir()} == before


def test_photos_that_are_missing_or_others_are_refused(world, tmp_path, capsys):
    words = ("--yaw-deg", "5", "--paste-back")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "found none" in refused(capsys, world, tmp_path / "o", *words, str(empty))
    other = tmp_path / "others" / "ann.png"
    other.parent.mkdir()
    Image.new("RGB", (64, 48)).save(other)
    assert "has other contents" in refused(capsys, world, tmp_path / "o", *words, str(other.parent), "--names", "ann")
    assert "embeddings of photos" in refused(capsys, world, tmp_path / "o", *words, str(world / "photos"), "--names", "made")
    sweep = ("--sweep", "yaw-deg=0:5:2", "--paste-back", str(world / "photos"))
    assert "got sweeps alone" in refused(capsys, world, tmp_path / "o", *sweep)


def test_a_damaged_place_in_a_photo_is_one_line(world, tmp_path, capsys):
    embedding = load_embeddings(world / "embeddings" / "ann.safetensors")[0]
    crooked = {**embedding.origin["transform"], "quad": [[0.0, 0.0]] * 4}
    save_embedding(tmp_path / "e" / "ann.safetensors", replace(embedding, origin={**embedding.origin, "transform": crooked}))
    with pytest.raises(SystemExit):
        cli.main(
            ["edit", "--rig", str(world / "pose.safetensors"), "--codes", str(tmp_path / "e"), "--yaw-deg", "5"]
            + ["--output", str(tmp_path / "o"), "--paste-back", str(world / "photos")]
        )
    assert "place of a crop in its photo in the embedding ann" in capsys.readouterr().err


def test_codes_move_along_directions_before_the_rig_edits(world, tmp_path):
    words = [f"{world / 'directions.safetensors'}:{move}" for move in ("yaw=1.5", "age=-1")]
    moved = run(world, tmp_path / "a", "--direction", *words)
    before = torch.stack([each.w_plus for each in load_embeddings(world / "embeddings")])
    expected = before.clone()
    expected[:, :, 0] += 0.75
    expected[:, :, 1] -= 1.0
    torch.testing.assert_close(load_codes(moved / "codes.safetensors").w_plus, expected)
    rows = table(moved)
    assert set(rows) == {f"{name}_{when}" for name in ("yaw_deg", "along_yaw", "along_age") for when in ("before", "after")}
    np.testing.assert_allclose(np.subtract(rows["along_yaw_after"], rows["along_yaw_before"]), 1.5, atol=2e-4)
    both = run(world, tmp_path / "b", "--direction", *words, "--yaw-by-deg", "10")
    opened = open_rig([world / "pose.safetensors"])
    edited = opened.rig.edit_by(expected, [Slider("yaw", 10.0, True)], opened.face_model)
    torch.testing.assert_close(load_codes(both / "codes.safetensors").w_plus, edited)
    read = torch.rad2deg(opened.rig.parameters_of(expected).rotation[:, 1]) + 10
    np.testing.assert_allclose(table(both)["yaw_deg_asked"], read.numpy(), atol=2e-4)


def test_sweeps_go_along_directions(world, tmp_path):
    place = f"{world / 'directions.safetensors'}:age"
    sweep = run(world, tmp_path / "a", "--sweep", f"{place}=-2:2:3", "yaw-deg=-5:5:3", "--names", "bob")
    still = run(world, tmp_path / "b", "--direction", f"{place}=2", "--yaw-deg", "5", "--names", "bob")
    with Image.open(sweep / "sweep.gif") as gif:
        assert gif.n_frames == 3
        gif.seek(2)
        last = np.asarray(gif.convert("RGB")).astype(int)
    assert abs(last - pixels(still / "bob.png")).mean() < 4


@pytest.mark.parametrize(
    "words, says",
    [
        (("--direction", "{}:yaw"), "FILE:NAME=AMOUNT"),
        (("--direction", "yaw=1"), "FILE:NAME=AMOUNT"),
        (("--direction", "{}:yaw=far"), "finite number"),
        (("--direction", "{}:smile=1"), "one of the directions yaw, age"),
        (("--direction", "{}:age=1", "{}:age=2"), "once"),
        (("--direction", "{}:age=1", "--sweep", "{}:age=0:1:3"), "once"),
        # Another spelling of the file, whose columns in the table would be the same.
        (("--direction", "{}:age=1", "/{}:age=2"), "each direction once"),
        (("--direction", "{}:age=1", "--sweep", "/{}:age=0:1:3"), "each direction once"),
        (("--sweep", "{}:age=0:1:1"), "2 to 12000 frames"),
        (("--direction", "none.safetensors:age=1"), "none.safetensors"),
    ],
)
def test_directions_that_cannot_be_used_are_one_line(world, tmp_path, capsys, words, says):
    filled = [word.format(world / "directions.safetensors") for word in words]
    assert says in refused(capsys, world, tmp_path / "o", *filled)


def test_directions_of_another_generator_are_refused(world, tmp_path, capsys):
    found = load_directions(world / "directions.safetensors")
    save_directions(tmp_path / "d.safetensors", replace(found, generator_digest="0" * 64))
    assert "in whose W" in refused(capsys, world, tmp_path / "o", "--direction", f"{tmp_path / 'd.safetensors'}:age=1")


def test_directions_that_no_slider_is_named_after_are_measured_along_themselves(world):
    opened = open_rig([world / "pose.safetensors"])
    age = load_directions(world / "directions.safetensors").named("age")
    done = edit_codes(opened, torch.zeros(2, LAYERS, WIDTH), CodeEdit(moves=(LatentMove(age, 0.5),)))
    assert done.columns == ("along_age_before", "along_age_after") and done.rows == ((0.0, 0.5),) * 2


def test_a_reference_picture_is_read_by_the_face_encoder(world, tmp_path):
    opened = open_rig([world / "pose.safetensors"], face_reconstruction=world / "encoder.safetensors")
    picture = tmp_path / "reference.png"
    embedding = load_embeddings(world / "embeddings")[1]
    Image.fromarray(embedding.image.permute(1, 2, 0).numpy()).save(picture)
    read = read_reference(str(picture), opened, "no landmark network is needed", 0.4)
    encoder = opened.rig.face_reconstruction.encoder
    torch.testing.assert_close(read.pack(), encoder(embedding.pixels[None]))
    words = ["--transfer", "pose", "--reference", str(picture), "--face-reconstruction", str(world / "encoder.safetensors")]
    asked = table(run(world, tmp_path / "out", *words))["yaw_deg_asked"]
    np.testing.assert_allclose(asked, [float(torch.rad2deg(read.rotation[0, 1]))] * 3, atol=2e-4)
    Image.new("RGB", (20, 16)).save(picture)
    with pytest.raises(InputError, match="square aligned portrait"):
        read_reference(str(picture), opened, "", 0.4)


def test_a_reference_may_be_an_embedding(world):
    opened = open_rig([world / "pose.safetensors"])
    bob = load_embeddings(world / "embeddings")[1]
    own = opened.rig.parameters_of(bob.w_plus[None]).pack()
    for reference in (world / "embeddings" / "bob.safetensors", f"{world / 'embeddings'}:bob"):
        torch.testing.assert_close(read_reference(str(reference), opened, "", 0.4).pack(), own)
    assert len(read_reference(str(world / "embeddings"), opened, "", 0.4)) == 3
