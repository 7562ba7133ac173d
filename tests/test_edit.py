"""`lightning edit` on tiny networks: what each option asks, what is written, and what is refused in one line."""

import csv
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

import cli
import commands.edit as edit_module
from commands.edit_options import sliders_of, sweeps_of
from evaluation.code_edits import CodeEdit, warnings_for
from evaluation.edit_reference import read_reference
from lightning_modules.parameter_fit import ParameterFitSettings
from models.latent_codes import LatentCodes, load_codes, save_codes
from models.morphable.loading import save_face_model
from models.stylegan2 import load_generator
from models.stylegan2.digest import generator_digest
from models.stylerig import FaceReconstruction, Provenance, RigNet, RigSources
from models.stylerig.calibration import calibration_path, rig_digest, save_calibration
from models.stylerig.opening import open_rig
from models.stylerig.sliders import Slider
from renderers.camera import PerspectiveCamera
from renderers.errors import InputError
from tests.known_calibrations import calibration_of, control_of
from tests.tiny_stylerig import LAYERS, WIDTH, write_networks
from tests.toy_face import SIZES, toy_face_model

COUNT = 5


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """Codes, a rig per control, one for all, and what they belong to, untrained but for random weights."""
    folder = tmp_path_factory.mktemp("edit")
    files = write_networks(folder)
    generator, model = load_generator(files["generator"]), toy_face_model()
    save_face_model(folder / "face.safetensors", model, "toy")
    present = Provenance.of(generator, model, PerspectiveCamera())
    reading = FaceReconstruction(LAYERS, WIDTH, SIZES, hidden=16)
    torch.nn.init.normal_(reading.net[-1].weight, std=0.1)
    reading.save(folder / "f.safetensors", present)
    sources = RigSources(files["generator"], str(folder / "f.safetensors"), str(folder / "face.safetensors"))
    single = {"pose": ("rotation",), "expression": ("expression",), "light": ("illumination",)}
    for name, components in {**single, "all": ("rotation", "expression", "identity")}.items():
        rig = RigNet(LAYERS, WIDTH, components, SIZES, latent=4)
        torch.nn.init.normal_(rig.decoder_weight, std=0.2)
        rig.save(folder / f"{name}.safetensors", present, sources)
    w_plus = generator.broadcast(generator.mapping(torch.randn(COUNT, 10)))
    save_codes(folder / "codes.safetensors", LatentCodes(w_plus, tuple("abcde"), generator_digest(generator)))
    return folder


def run(world: Path, output: Path, *words: str, rig: str = "pose") -> Path:
    files = [
        "--rig",
        str(world / f"{rig}.safetensors"),
        "--codes",
        str(world / "codes.safetensors"),
        "--output",
        str(output),
    ]
    cli.main(["edit", *files, *words])
    return output


def fails(capsys, world: Path, output: Path, *words: str, rig: str = "pose") -> str:
    with pytest.raises(SystemExit) as stop:
        run(world, output, *words, rig=rig)
    lines = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2 and len(lines) == 1 and not output.exists()
    return lines[0]


def test_calibrated_edits_ask_what_pictures_need(world: Path, tmp_path: Path, capsys) -> None:
    rig = tmp_path / "turner.safetensors"
    shutil.copy(world / "pose.safetensors", rig)
    words = ["--rig", str(rig), "--codes", str(world / "codes.safetensors"), "--calibrated"]

    def refusal(*more: str) -> str:
        with pytest.raises(SystemExit) as stop:
            cli.main(["edit", *words, "--output", str(tmp_path / "none"), *more])
        assert stop.value.code == 2 and not (tmp_path / "none").exists()
        return capsys.readouterr().err

    assert "expected a calibration beside" in refusal("--yaw-deg", "10")
    network = open_rig([rig]).rig.networks[0]
    half = calibration_of(control_of(lambda value: 0.5 * value), weights=rig_digest(network))
    save_calibration(calibration_path(rig), half)
    cli.main(["edit", *words, "--yaw-deg", "10", "--output", str(tmp_path / "out")])
    assert table(tmp_path / "out")["yaw_deg_asked"] == [20.0] * COUNT
    assert "yaw: asking 20 of the rig for 10 in pictures, expect about 10" in capsys.readouterr().err
    # The calibration asked 45 at most, of which half is seen.
    cli.main(["edit", *words, "--yaw-deg", "40", "--output", str(tmp_path / "far")])
    assert table(tmp_path / "far")["yaw_deg_asked"] == [45.0] * COUNT
    assert "for 40 in pictures, expect about 22.5" in capsys.readouterr().err
    assert "got yaw by so much" in refusal("--yaw-by-deg", "10")
    assert "without --sweep" in refusal("--yaw-deg", "10", "--sweep", "pitch-deg=0:10:3")
    assert "expected a calibrated control" in refusal("--pitch-deg", "10")


def table(folder: Path) -> dict[str, list[float]]:
    rows = list(csv.DictReader((folder / "edits.csv").open()))
    assert [row["name"] for row in rows] == list("abcde")[: len(rows)]
    return {name: [float(row[name]) for row in rows] for name in rows[0] if name != "name"}


def test_what_is_written_and_said(world, tmp_path, capsys):
    folder = run(world, tmp_path / "out", "--yaw-deg", "20", "--names", "a", "c")
    said = capsys.readouterr()
    assert said.out.count("\n") == 1 and "2 codes edited" in said.out
    assert all(line.startswith("note: yaw: asked 20 deg") for line in said.err.splitlines())
    assert {path.name for path in folder.iterdir()} == {"a.png", "c.png", "grid.png", "edits.csv", "codes.safetensors"}
    codes, before = load_codes(folder / "codes.safetensors"), load_codes(world / "codes.safetensors").select(["a", "c"])
    assert codes.names == ("a", "c") and codes.generator_digest == before.generator_digest
    assert not torch.allclose(codes.w_plus, before.w_plus)
    generator = load_generator(world / "generator.safetensors")
    expected = (generator.synthesis(codes.w_plus[1:]).clamp(-1, 1)[0].permute(1, 2, 0) + 1) * 127.5
    assert abs(np.asarray(Image.open(folder / "c.png")) - expected.numpy()).max() <= 0.51
    # Two pairs of 16 pixels with gaps of 2, below their labels.
    assert Image.open(folder / "grid.png").size == (4 * 18, 18 + 18)


def test_the_edit_is_that_of_the_rig(world, tmp_path):
    folder = run(world, tmp_path / "out", "--yaw-deg", "12", "--pictures", "false", "--feedback", "1")
    opened = open_rig([world / "pose.safetensors"])
    codes = load_codes(world / "codes.safetensors").w_plus
    expected = opened.rig.edit_by(codes, [Slider("yaw", 12.0)], opened.face_model, feedback=1)
    torch.testing.assert_close(load_codes(folder / "codes.safetensors").w_plus, expected)
    assert {path.name for path in folder.iterdir()} == {"grid.png", "edits.csv", "codes.safetensors"}


def test_angles_are_absolute_unless_by(world, tmp_path):
    absolute = table(run(world, tmp_path / "a", "--yaw-deg", "20", "--pitch_deg=-5"))
    assert absolute["yaw_deg_asked"] == [20.0] * COUNT and absolute["pitch_deg_asked"] == [-5.0] * COUNT
    relative = table(run(world, tmp_path / "b", "--yaw-by-deg", "-15"))
    assert relative["yaw_deg_before"] == absolute["yaw_deg_before"] and len(set(relative["yaw_deg_before"])) == COUNT
    np.testing.assert_allclose(relative["yaw_deg_asked"], np.array(relative["yaw_deg_before"]) - 15, atol=2e-4)


def test_every_group_of_options(world, tmp_path):
    one = table(run(world, tmp_path / "a", "--expression", "first=0.8", "--expression", "second=0.3", rig="expression"))
    assert one["first_asked"] == [0.8] * COUNT and one["second_asked"] == [0.3] * COUNT
    both = table(run(world, tmp_path / "b", "--expression", "first=0.8", "second=0.3", rig="expression"))
    assert one == both
    lit = table(run(world, tmp_path / "c", "--light", "azimuth-deg=40", "--light-by", "strength=0.1", rig="light"))
    np.testing.assert_allclose(lit["light_azimuth_deg_asked"], 40, atol=1e-3)
    np.testing.assert_allclose(lit["light_strength_asked"], np.array(lit["light_strength_before"]) + 0.1, atol=2e-4)
    shaped = table(
        run(
            world,
            tmp_path / "d",
            "--identity",
            "0=1.5",
            "--identity-by",
            "id2=-1",
            "--expression-by",
            "first=0.2",
            rig="all",
        )
    )
    assert shaped["id0_asked"] == [1.5] * COUNT
    np.testing.assert_allclose(shaped["id2_asked"], np.array(shaped["id2_before"]) - 1, atol=2e-4)
    np.testing.assert_allclose(shaped["first_asked"], np.array(shaped["first_before"]) + 0.2, atol=2e-4)


def test_several_rigs_in_one_call(world, tmp_path):
    rigs = ["--rig", str(world / "light.safetensors"), str(world / "all.safetensors")]
    folder = run(world, tmp_path / "out", *rigs, "--yaw-deg", "5", "--light", "elevation-deg=20", "--identity=1=1")
    opened = open_rig([world / f"{name}.safetensors" for name in ("pose", "light", "all")])
    sliders = [Slider("yaw", 5.0), Slider("light_elevation", 20.0), Slider("id1", 1.0)]
    expected = opened.rig.edit_by(load_codes(world / "codes.safetensors").w_plus, sliders, opened.face_model)
    torch.testing.assert_close(load_codes(folder / "codes.safetensors").w_plus, expected)


def test_transfer_from_codes(world, tmp_path):
    source = f"{world / 'codes.safetensors'}:c"
    one = run(world, tmp_path / "a", "--transfer", "pose", "--reference", source)
    asked = table(one)
    assert asked["yaw_deg_asked"] == [asked["yaw_deg_before"][2]] * COUNT
    paired = table(run(world, tmp_path / "b", "--transfer", "pose", "--reference", str(world / "codes.safetensors")))
    assert paired["yaw_deg_asked"] == paired["yaw_deg_before"]
    on_top = table(
        run(
            world,
            tmp_path / "c",
            "--transfer",
            "pose",
            "geometry",
            "--reference",
            source,
            "--yaw-by-deg",
            "3",
            rig="all",
        )
    )
    np.testing.assert_allclose(on_top["yaw_deg_asked"], np.array(asked["yaw_deg_asked"]) + 3, atol=2e-4)
    assert on_top["identity_distance_before"][2] == 0 < on_top["identity_distance_before"][0]


def test_feedback_also_corrects_what_is_transferred(world):
    opened = open_rig([world / "pose.safetensors"])
    codes = load_codes(world / "codes.safetensors").w_plus
    reference = opened.rig.parameters_of(codes[:1])
    edited, own, target = CodeEdit((), reference, ("rotation",), 1).run(opened, codes)
    torch.testing.assert_close(edited, opened.rig.edit(codes, target, ("rotation",), 1))
    torch.testing.assert_close(target.pack(), own.replace(rotation=reference.rotation.expand(COUNT, 3)).pack())
    with pytest.raises(InputError, match="without the other"):
        CodeEdit((), reference)


def test_transfer_from_a_picture(world, tmp_path, capsys, monkeypatch):
    picture = tmp_path / "p.png"
    run(world, tmp_path / "a", "--yaw-deg", "1", "--names", "a")
    shutil.copy(tmp_path / "a" / "a.png", picture)
    words = ["--transfer", "pose", "--reference", str(picture), "--landmarker", str(world / "landmarks.safetensors")]
    capsys.readouterr()
    quick = ParameterFitSettings(rigid_steps=2, steps=2, batch_size=1)
    monkeypatch.setattr("evaluation.edit_reference.ParameterFitSettings", lambda: quick)
    assert "aligned portrait" in fails(capsys, world, tmp_path / "b", *words)
    Image.new("RGB", (20, 16)).save(picture)
    assert "square" in fails(capsys, world, tmp_path / "b", *words)
    fitted = open_rig([world / "pose.safetensors"]).rig.parameters_of(
        load_codes(world / "codes.safetensors").w_plus[3:4]
    )
    monkeypatch.setattr(edit_module, "read_reference", lambda *_: fitted)
    asked = table(run(world, tmp_path / "c", *words))
    assert asked["yaw_deg_asked"] == [asked["yaw_deg_before"][3]] * COUNT


def test_a_sweep_is_a_video_and_a_gif(world, tmp_path):
    words = [
        "--sweep",
        "yaw-deg=-20:20:5",
        "--sweep",
        "light-azimuth-by-deg=0:30:5",
        "--rig",
        str(world / "light.safetensors"),
    ]
    folder = run(world, tmp_path / "a", *words, "--fps", "10", "--sweep-codes", "2", "--there-and-back")
    assert {path.name for path in folder.iterdir()} == {"sweep.mp4", "sweep.gif"}
    with av.open(str(folder / "sweep.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert container.streams.video[0].average_rate == 10
    # There in 5, back in 3: the end and the start are not shown twice. Two codes of 16 pixels with gaps of 2.
    assert len(frames) == 8 and frames[0].shape == (18, 36, 3)
    with Image.open(folder / "sweep.gif") as gif:
        assert gif.n_frames == 8 and gif.size == (36, 18)
    each = run(
        world,
        tmp_path / "b",
        "--sweep",
        "yaw-deg=-20:20:3",
        "--sweep-layout",
        "each",
        "--sweep-codes=2",
        "--pitch-deg",
        "3",
    )
    assert {"a.mp4", "a.gif", "b.mp4", "b.gif", "grid.png", "e.png"} <= {path.name for path in each.iterdir()}
    assert not (each / "c.mp4").exists()


def test_the_frames_of_a_sweep_are_edits(world, tmp_path):
    run(world, tmp_path / "a", "--sweep", "yaw-deg=-20:20:3", "--names", "b")
    run(world, tmp_path / "b", "--yaw-deg", "20", "--names", "b")
    with Image.open(tmp_path / "a" / "sweep.gif") as gif:
        gif.seek(2)
        last = np.asarray(gif.convert("RGB")).astype(int)
    assert abs(last - np.asarray(Image.open(tmp_path / "b" / "b.png"))).mean() < 4


def test_many_codes_in_batches_equal_single_ones(world, tmp_path):
    generator = load_generator(world / "generator.safetensors")
    w_plus = generator.broadcast(generator.mapping(torch.randn(300, 10)))
    names = tuple(f"n{index:03d}" for index in range(300))
    save_codes(tmp_path / "many.safetensors", LatentCodes(w_plus, names, generator_digest(generator)))
    words = [
        "edit",
        "--rig",
        str(world / "pose.safetensors"),
        "--codes",
        str(tmp_path / "many.safetensors"),
        "--yaw-by-deg",
        "9",
    ]
    cli.main([*words, "--output", str(tmp_path / "a"), "--batch-size", "64", "--pictures=false"])
    edited = load_codes(tmp_path / "a" / "codes.safetensors")
    assert edited.names == names and Image.open(tmp_path / "a" / "grid.png").size == (8 * 18, 18 + 16 * 18)
    cli.main([*words, "--output", str(tmp_path / "b"), "--batch-size", "1", "--names", "n299", "n007"])
    single = load_codes(tmp_path / "b" / "codes.safetensors")
    torch.testing.assert_close(single.w_plus, edited.select(["n299", "n007"]).w_plus)


def test_overwriting_deletes_its_own_files_alone(world, tmp_path, capsys):
    folder = run(world, tmp_path / "out", "--yaw-deg", "5")
    (folder / "mine.png").touch()
    with pytest.raises(SystemExit):
        run(world, folder, "--yaw-deg", "5")
    assert "--overwrite" in capsys.readouterr().err
    run(world, folder, "--sweep", "yaw-deg=0:5:2", "--overwrite")
    assert {path.name for path in folder.iterdir()} == {"mine.png", "sweep.mp4", "sweep.gif"}
    shutil.copy(world / "codes.safetensors", folder / "codes.safetensors")
    with pytest.raises(SystemExit):
        run(world, folder, "--yaw-deg", "5", "--overwrite")
    assert "another command" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run(world, world, "--yaw-deg", "5", "--overwrite")
    assert "another folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, rig, says",
    [
        ((), "pose", "something to edit"),
        (("--expression", "smil=0.5"), "expression", "smil"),
        (("--expression", "first"), "expression", "NAME=VALUE"),
        (("--expression", "first=much"), "expression", "finite number"),
        (("--expression", "yaw=5"), "expression", "its own option"),
        (("--light", "azimuth=4"), "light", "azimuth-deg"),
        (("--identity", "nose=1"), "all", "number of an identity coefficient"),
        (("--identity", "7=1"), "all", "id0 to id2"),
        (("--light", "azimuth-deg=40"), "pose", "add a rig that was trained for illumination"),
        (("--sweep", "first=0:1:3"), "pose", "add a rig that was trained for expression"),
        (("--yaw-deg", "5", "--yaw-by-deg", "5"), "pose", "yaw_deg once"),
        (("--yaw-deg", "400"), "pose", "-180 to 180"),
        (("--yaw-deg", "5", "--sweep", "yaw-deg=0:1:3"), "pose", "yaw_deg once"),
        (("--sweep", "yaw-deg=0:1"), "pose", "NAME=FROM:TO:FRAMES"),
        (("--sweep", "yaw=0:1:3"), "pose", "yaw-deg"),
        (("--sweep", "first-deg=0:1:3"), "expression", "leave out -deg"),
        (("--sweep", "yaw-deg=0:1:1"), "pose", "2 to 12000 frames"),
        (("--sweep", "yaw-deg=0:1:3", "pitch-deg=0:1:4"), "pose", "as many frames"),
        (("--sweep", "yaw-deg=0:1:3", "--fps", "0"), "pose", "frames a second"),
        (("--transfer", "pose"), "pose", "--reference together"),
        (("--transfer", "hair", "--reference", "x"), "pose", "hair"),
        (("--transfer", "pose", "--reference", "no.safetensors:a"), "pose", "no.safetensors"),
        (("--transfer", "pose", "--reference", "no.png"), "pose", "no.png"),
        (("--yaw-deg", "5", "--names", "z"), "pose", "got z"),
        (("--yaw-deg", "5", "--feedback", "-1"), "pose", "--feedback"),
        (("--yaw-deg", "5", "--batch-size", "0"), "pose", "--batch_size"),
        (("--yaw-deg", "5", "--generator", "assets/demo_generator.safetensors"), "pose", "generator"),
        (("--yaw-deg", "5"), "codes", "rig"),
    ],
)
def test_what_cannot_be_done_is_one_line(world, tmp_path, capsys, words, rig, says):
    assert says in fails(capsys, world, tmp_path / "out", *words, rig=rig)


def test_codes_of_another_generator_are_refused(world, tmp_path, capsys):
    codes = load_codes(world / "codes.safetensors")
    other = LatentCodes(codes.w_plus, codes.names, "0" * 64)
    save_codes(tmp_path / "other.safetensors", other)
    files = ["--rig", str(world / "pose.safetensors"), "--codes", str(tmp_path / "other.safetensors")]
    with pytest.raises(SystemExit):
        cli.main(["edit", *files, "--yaw-deg", "5", "--output", str(tmp_path / "o")])
    assert "these codes were made with" in capsys.readouterr().err
    with pytest.raises(InputError, match="these codes were made with"):
        read_reference(str(tmp_path / "other.safetensors"), open_rig([world / "pose.safetensors"]), "", 0.2)
    two = LatentCodes(codes.w_plus[:2], ("a", "b"), codes.generator_digest)
    save_codes(tmp_path / "two.safetensors", two)
    words = ("--transfer", "pose", "--reference", str(tmp_path / "two.safetensors"))
    assert "one for each of 5 codes" in fails(capsys, world, tmp_path / "o", *words)


def test_words_become_sliders():
    sliders = sliders_of(
        [("yaw", 5.0, False), ("roll", None, True)],
        ["mouth-smile-left=0.5"],
        light=["warmth=-0.5"],
        identity_by=["3=1"],
    )
    assert sliders == [
        Slider("yaw", 5.0),
        Slider("mouth_smile_left", 0.5),
        Slider("light_warmth", -0.5),
        Slider("id3", 1.0, True),
    ]
    sweeps = sweeps_of(["light-strength-by=0:0.4:5", "pitch-by-deg=-4:4:5", "jaw-open=0:1:5"], sliders)
    assert [(each.name, each.relative) for each in sweeps] == [
        ("light_strength", True),
        ("pitch", True),
        ("jaw_open", False),
    ]
    assert [sweeps[1].at(frame).value for frame in range(5)] == [-4.0, -2.0, 0.0, 2.0, 4.0]


def test_nothing_is_overwritten_without_being_asked(world, tmp_path, capsys):
    words = ("--sweep", "yaw-deg=0:5:2", "--sweep-layout", "each", "--sweep-codes", "1")
    folder = run(world, tmp_path / "out", *words)
    before = (folder / "a.mp4").stat().st_mtime_ns
    with pytest.raises(SystemExit):
        run(world, folder, *words)
    assert "holds a.mp4" in capsys.readouterr().err and (folder / "a.mp4").stat().st_mtime_ns == before
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "c.png").write_bytes(b"mine")
    with pytest.raises(SystemExit):
        run(world, photos, "--yaw-deg", "5")
    assert "holds c.png" in capsys.readouterr().err and (photos / "c.png").read_bytes() == b"mine"
    run(world, photos, "--yaw-deg", "5", "--names", "a")
    assert (photos / "c.png").read_bytes() == b"mine" and (photos / "a.png").exists()


def test_a_table_of_other_letters_does_not_stop_an_edit(world, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "edits.csv").write_bytes(b"name,x\n\xff\xfe,1\n")
    assert table(run(world, folder, "--yaw-deg", "5", "--overwrite", "--names", "a"))["yaw_deg_asked"] == [5.0]


def test_a_transfer_beyond_what_was_seen_is_noted(world):
    opened = open_rig([world / "pose.safetensors"])
    codes = load_codes(world / "codes.safetensors").w_plus
    own = opened.rig.parameters_of(codes[:1])
    far = own.replace(rotation=torch.tensor([[0.0, 1.2, 0.0]]))
    paths = [world / "pose.safetensors"]
    seen = own.replace(rotation=opened.rig.networks[0].parameter_mean[None, opened.rig.sizes.slice("rotation")])
    assert warnings_for(opened, paths, codes, CodeEdit((), seen, ("rotation",))) == []
    notes = warnings_for(opened, paths, codes, CodeEdit((), far, ("rotation",)))
    assert any(line.startswith("yaw: asked 69 deg") for line in notes)
    # A relative slider starts where the transfer ends, and is said once.
    notes = warnings_for(opened, paths, codes, CodeEdit((Slider("yaw", 10.0, True),), far, ("rotation",)))
    assert [line for line in notes if line.startswith("yaw")] and all("yaw: asked 79 deg" in each for each in notes if "yaw" in each)


def test_a_reference_names_its_code(world):
    opened = open_rig([world / "pose.safetensors"])
    with pytest.raises(InputError, match="got"):
        read_reference(f"{world / 'codes.safetensors'}:", opened, "", 0.2)
