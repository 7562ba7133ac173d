"""`lightning align`: crops and records, failures, resumption, processes, and the contact sheet."""

import json
import multiprocessing
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import cli
from datamodules.photos import (
    AlignSettings,
    Detection,
    FaceDetector,
    Outcome,
    align_photos,
    aligner,
    crop_quad,
    decode_photo,
    list_photos,
    paste_back,
    pipeline,
    read_record,
)
from datamodules.photos.contact_sheet import CAPTION, contact_sheet
from datamodules.photos.records import PART_PREFIX, PART_SUFFIX
from renderers.errors import InputError
from tests.photo_pictures import bomb, decibels, five_points, smooth_photo, square


def found_by_colour(self: FaceDetector, photos: Sequence[Image.Image]) -> list[list[Detection]]:
    """Faces where the test says: two in wide photos, one in others, none in those whose first pixel is black."""
    faces: list[list[Detection]] = []
    for photo in photos:
        if photo.getpixel((0, 0)) == (255, 0, 255):
            raise RuntimeError("the detector stumbled")
        if photo.getpixel((0, 0)) == (0, 0, 0):
            faces.append([])
            continue
        centres = [0.25, 0.75] if photo.width >= 2 * photo.height else [0.5]
        faces.append([])
        for number, share in enumerate(centres):
            side = photo.height * (0.6 - 0.2 * number)
            points = five_points(square((photo.width * share, photo.height * 0.5), side, 10)).float()
            box = torch.cat([points.amin(0) - side / 4, points.amax(0) + side / 4])
            faces[-1].append(Detection(box, 0.99, points))
    return faces


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of MTCNN, which sees no face in painted waves."""
    monkeypatch.setattr(FaceDetector, "detect", found_by_colour)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of good and bad photos."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    smooth_photo(200, 180).save(folder / "one.png")
    smooth_photo(400, 190).save(folder / "two.png")
    smooth_photo(200, 180).convert("L").save(folder / "more" / "one.png")
    Image.new("RGB", (90, 80)).save(folder / "black.png")
    Image.new("RGB", (90, 80), (255, 0, 255)).save(folder / "stumble.png")
    (folder / "bomb.png").write_bytes(bomb())
    (folder / "cut.png").write_bytes((folder / "one.png").read_bytes()[:3000])
    return folder


def align(photos: Path, out: Path, **options: int | str) -> None:
    words = [f"--{name}={value}" for name, value in options.items()]
    cli.main(["align", str(photos), str(out), "--size", "32", *words])


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_folder_of_good_and_bad_photos(
    detector: None, photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    align(photos, out)
    assert set(content(out)) == {
        "one_0.png",
        "one.faces.json",
        "two_0.png",
        "two_1.png",
        "two.faces.json",
        "more/one_0.png",
        "more/one.faces.json",
        "black.faces.json",
        "contact_sheet.jpg",
        "failures.json",
    }
    failures = {failure["photo"]: failure["reason"] for failure in json.loads((out / "failures.json").read_text())}
    assert set(failures) == {"black.png", "bomb.png", "cut.png", "stumble.png"}
    assert failures["black.png"] == "no face found" and failures["stumble.png"] == "the detector stumbled"
    assert "million pixels" in failures["bomb.png"]
    captured = capfd.readouterr()
    for name, reason in failures.items():
        assert f"{name}: {reason}" in captured.err.splitlines()
    assert (
        "4 crops of 3 photos" in captured.out and "4 without a crop" in captured.out and "five points" in captured.out
    )
    assert Image.open(out / "contact_sheet.jpg").size == (4 * 128, 128 + CAPTION)


def test_record_says_where_a_crop_is_from(detector: None, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    align(photos, out)
    record = read_record(out / "two.faces.json")
    photo = decode_photo(photos / record.photo)
    assert record.sha256 == photo.sha256 and record.settings["size"] == 32
    assert [face.crop for face in record.faces] == ["two_0.png", "two_1.png"]
    for face in record.faces:
        assert face.photo_size == (400, 190) and face.landmarks is None
        crop = Image.open(out / face.crop)
        again = crop_quad(photo.image, face.quad_tensor, face.size)
        assert crop.tobytes() == again.image.tobytes() and face.padding == again.padding
        # The face was put where `five_points` has it, in every crop alike.
        np.testing.assert_allclose(np.array(face.points)[:, 1] / 32, [0.475, 0.475, 0.6, 0.725, 0.725], atol=0.05)
        assert decibels(photo.image, paste_back(photo.image, crop, face)) > 30


def test_largest_face_only_and_landmark_network(
    detector: None, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class Network(torch.nn.Module):
        """Eyes and mouth of the usual place, whatever it sees."""

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            points = torch.full((len(images), 68, 2), 0.5)
            points[:, 36:42] = torch.tensor([0.4, 0.5])
            points[:, 42:48] = torch.tensor([0.6, 0.5])
            points[:, 48], points[:, 54] = torch.tensor([0.45, 0.7]), torch.tensor([0.55, 0.7])
            return points * images.shape[-1]

    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"first")
    monkeypatch.setattr(aligner, "load_landmark_detector", lambda path: Network())
    out = tmp_path / "out"
    align(photos, out, landmarks=str(weights), faces="largest")
    assert not (out / "two_1.png").exists()
    assert "five points" not in capfd.readouterr().out
    (face,) = read_record(out / "two.faces.json").faces
    landmarks = torch.tensor(face.landmarks)
    assert landmarks.shape == (68, 2)
    mouth = (landmarks[48] + landmarks[54]) / 2
    # By FFHQ's recipe the larger of twice the eyes' distance and 1.8 times that to the mouth is half the crop.
    half = max(
        float((landmarks[36] - landmarks[42]).norm()) * 2, float((mouth - landmarks[[36, 42]].mean(0)).norm()) * 1.8
    )
    assert half == pytest.approx(16, abs=1e-3)
    before = (out / "one.faces.json").stat().st_mtime_ns
    align(photos, out, landmarks=str(weights), faces="largest")
    assert (out / "one.faces.json").stat().st_mtime_ns == before
    weights.write_bytes(b"other")
    align(photos, out, landmarks=str(weights), faces="largest")
    assert (out / "one.faces.json").stat().st_mtime_ns > before


def test_what_is_done_is_not_done_again(
    detector: None, photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    align(photos, out)
    first = content(out)
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*_?.png")}
    killed = out / f"{PART_PREFIX}killed{PART_SUFFIX}"
    killed.write_bytes(b"half")
    os.utime(killed, (0, 0))
    align(photos, out)
    assert content(out) == first
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*_?.png")} == times
    assert "4 photos were done before" not in capfd.readouterr().out
    # Another content, a crop that is gone or cut, and a damaged record are each done again.
    (out / "two_0.png").write_bytes(first["two_0.png"][:400])
    smooth_photo(210, 180).save(photos / "one.png")
    (out / "two_1.png").unlink()
    (out / "more" / "one.faces.json").write_text("{}")
    align(photos, out)
    assert read_record(out / "one.faces.json").faces[0].photo_size == (210, 180)
    assert (out / "two_0.png").read_bytes() == first["two_0.png"]
    assert (out / "two_1.png").exists() and read_record(out / "more" / "one.faces.json").faces
    # Fewer faces than before: no crop is left that the record does not name.
    align(photos, out, faces="largest")
    assert not (out / "two_1.png").exists()
    assert len(read_record(out / "two.faces.json").faces) == 1


def test_files_of_others_stay(detector: None, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    # Of the user, of another program, and of a run that is writing at this moment.
    names = [".download.part", "film.part", f"{PART_PREFIX}now{PART_SUFFIX}"]
    for name in names:
        (out / name).write_bytes(b"mine")
    for name in names[:2]:
        os.utime(out / name, (0, 0))
    align(photos, out)
    assert all((out / name).read_bytes() == b"mine" for name in names)


def test_a_photo_under_a_new_name_is_not_there_twice(
    detector: None, photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    align(photos, out)
    # Of another folder, by an equal path but with other content, and of a photo that is gone.
    other = tmp_path / "other"
    other.mkdir()
    smooth_photo(150, 180).save(other / "one.PNG")
    smooth_photo(160, 180).save(other / "gone.png")
    align(other, out / "more")
    smooth_photo(180, 200).save(photos / "two.jpg")
    capfd.readouterr()
    align(photos, out)
    remaining = set(content(out))
    assert {"two.png_0.png", "two.png_1.png", "two.png.faces.json", "two.jpg_0.png", "two.jpg.faces.json"} <= remaining
    assert not {"two_0.png", "two_1.png", "two.faces.json"} & remaining
    assert {"more/gone_0.png", "more/gone.faces.json", "one_0.png"} <= remaining
    said = capfd.readouterr().err
    assert "two: crops removed" in said and "1 records" in said and "more/gone" in said


def test_a_record_does_not_have_others_files_removed(detector: None, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    align(photos, out)
    record = json.loads((out / "two.faces.json").read_text())
    record["faces"][0]["crop"] = "one_0.png"
    (out / "old.faces.json").write_text(json.dumps(record))
    align(photos, out)
    assert not (out / "old.faces.json").exists() and (out / "one_0.png").exists()


def test_a_kill_leaves_no_half_file(
    detector: None, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    replace = os.replace

    def killed(source: str, target: str | Path) -> None:
        if Path(target).name == "two_1.png":
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(SystemExit) as stop:
        align(photos, out)
    assert stop.value.code == 130
    assert not list(out.rglob("*.part")) and not (out / "two.faces.json").exists()
    for crop in out.rglob("*_?.png"):
        Image.open(crop).load()
    monkeypatch.undo()
    monkeypatch.setattr(FaceDetector, "detect", found_by_colour)
    align(photos, out)
    assert len(read_record(out / "two.faces.json").faces) == 2


def test_batches_give_what_single_photos_give(detector: None, photos: Path, tmp_path: Path) -> None:
    align(photos, tmp_path / "single", batch_size=1)
    align(photos, tmp_path / "batch", batch_size=5)
    assert content(tmp_path / "single") == content(tmp_path / "batch")


@pytest.mark.slow  # two processes import torch
def test_processes_give_what_one_gives(photos: Path, tmp_path: Path) -> None:
    # The true detector, since replacements do not reach other processes; with a face where scikit-image is installed.
    try:
        from skimage.data import astronaut
    except ImportError:
        pass
    else:
        Image.fromarray(astronaut()[:300, 100:400]).save(photos / "astronaut.png")
    named = list_photos(photos)
    settings = AlignSettings(size=32)
    one = align_photos(named, photos, tmp_path / "one", settings)
    reported: list[Outcome] = []
    two = align_photos(named, photos, tmp_path / "two", settings, 2, processes=2, report=reported.append)
    assert one == two and sorted(reported, key=lambda outcome: list(named).index(outcome.name)) == two
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_a_photo_that_kills_its_process_is_named(
    detector: None, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Pool:
        """Runs at once, in this process; dies of `two.png`, and with it all that is not done."""

        def __init__(self, *arguments: object, **options: object) -> None:
            self.dead = False

        def __enter__(self) -> "Pool":
            return self

        def __exit__(self, *error: object) -> None:
            pass

        def submit(self, work, *arguments):
            future: Future = Future()
            self.dead |= any(task.photo == "two.png" for task in arguments[-1])
            if self.dead:
                future.set_exception(BrokenProcessPool())
            else:
                future.set_result(work(*arguments))
            return future

    monkeypatch.setattr(pipeline, "ProcessPoolExecutor", Pool)
    said: list[str] = []
    outcomes = align_photos(
        list_photos(photos), photos, tmp_path / "out", AlignSettings(size=32), 2, processes=2, notice=said.append
    )
    # A pool for the first chunks, and after the death of its process one that is alone with each of those photos.
    assert len(said) == 1 and "one by one" in said[0]
    failures = {outcome.photo: outcome.failure for outcome in outcomes}
    assert failures["two.png"] is not None and "died" in failures["two.png"]
    assert failures["one.png"] is None and failures["more/one.png"] is None and len(failures) == 7


@pytest.mark.slow  # four processes import torch
def test_a_process_that_is_killed_costs_no_photo(photos: Path, tmp_path: Path) -> None:
    said: list[str] = []

    def kill_one(outcome: Outcome) -> None:
        if not said:
            said.append("killed")
            multiprocessing.active_children()[0].kill()

    named = list_photos(photos)
    settings = AlignSettings(size=32)
    outcomes = align_photos(named, photos, tmp_path / "out", settings, 1, 2, report=kill_one)
    assert [outcome.name for outcome in outcomes] == list(named)
    assert not any("died" in (outcome.failure or "") for outcome in outcomes)


@pytest.mark.slow  # a process imports torch
def test_processes_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import multiprocessing, os, sys, time\n"
        f"sys.path.insert(0, {str(Path(__file__).resolve().parents[1])!r})\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from datamodules.photos import pipeline\n"
        "if __name__ == '__main__':\n"
        "    context = multiprocessing.get_context('spawn')\n"
        "    pool = ProcessPoolExecutor(1, context, initializer=pipeline._start_process)\n"
        "    print(pool.submit(os.getpid).result(), flush=True)\n"
        "    time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        child = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
        # The pipe closes when the last process that holds it has ended.
        ready, _, _ = select.select([parent.stdout], [], [], 30)
        ended = bool(ready)
    if not ended:
        os.kill(child, signal.SIGKILL)
    assert ended


def test_memory_bounds_a_batch(detector: None, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def counted(self: FaceDetector, images: Sequence[Image.Image]) -> list[list[Detection]]:
        sizes.append(len(images))
        return found_by_colour(self, images)

    (photos / "stumble.png").unlink()
    monkeypatch.setattr(FaceDetector, "detect", counted)
    monkeypatch.setattr(aligner, "BATCH_PIXELS", 80_000)
    align(photos, tmp_path / "out")
    # black, more/one, one of 7,200 and 36,000 pixels each; two of 76,000.
    assert sizes == [3, 1]


@pytest.mark.parametrize(
    "words,message",
    [
        (["nowhere", "out"], "nothing at nowhere"),
        (["photos", "photos"], "another folder"),
        (["photos", "out.png"], "without a suffix"),
        (["photos", "more"], "is a file"),
        (["photos", "."], "does not hold the photos"),
        (["photos", "out", "--size", "2"], "at least 8 px"),
        (["photos", "out", "--size", "4097"], "at most 4096 px"),
        (["photos", "out", "--processes", "0"], "at least one"),
        (["photos", "out", "--landmarks", "nowhere"], "nowhere"),
        (["photos", "out", "--faces", "some"], "faces"),
        (["photos", "out", "--device", "abacus"], "abacus"),
        (["photos/black.png", "out"], "no face found"),
    ],
)
def test_errors_are_one_line(
    detector: None,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(photos.parent)
    Path("more").write_bytes(b"")
    with pytest.raises(SystemExit) as stop:
        cli.main(["align", *words])
    assert stop.value.code == 2
    assert message in capfd.readouterr().err.splitlines()[-1]


def test_a_folder_may_have_a_dot(detector: None, photos: Path, tmp_path: Path) -> None:
    align(photos, tmp_path / "faces.v2")
    assert (tmp_path / "faces.v2" / "one_0.png").exists()


@pytest.mark.parametrize(
    "field,value",
    [
        ("size", "Infinity"),
        ("size", "1e400"),
        ("size", "NaN"),
        ("size", "0"),
        ("size", "64.5"),
        ("size", "100000"),
        ("padding", "[0, NaN, 0, 0]"),
        ("padding", "[0, -1, 0, 0]"),
        ("photo_size", "[0, 200]"),
        ("confidence", "NaN"),
        ("crop", '"../one_0.png"'),
        ("quad", "[[0, 0], [0, NaN], [9, 9], [9, 0]]"),
        ("quad", "[[5, 5], [5, 5], [5, 5], [5, 5]]"),
        ("quad", "[[0, 0], [0, 9], [9, 9], [8, 0]]"),
        ("quad", "[[0, 0], [0, 9], [18, 9], [18, 0]]"),
        ("quad", "[[0, 0], [9, 0], [9, 9], [0, 9]]"),
        ("points", "[[0, 0], [0, 0], [0, 0], [0, 0], [0, Infinity]]"),
    ],
)
def test_records_whose_numbers_make_no_crop(
    detector: None, photos: Path, tmp_path: Path, field: str, value: str
) -> None:
    path = tmp_path / "one.faces.json"
    align(photos / "one.png", tmp_path)
    record = json.loads(path.read_text())
    record["faces"][0][field] = "HERE"
    path.write_text(json.dumps(record).replace('"HERE"', value))
    with pytest.raises(InputError, match="record of crops"):
        read_record(path)


def test_records_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "a.faces.json"
    for text in ("", "[]", "{}", '{"format": "other"}', '{"format": "latentrig-faces-1", "photo": 1}', "\x00\xff"):
        path.write_bytes(text.encode("latin-1"))
        with pytest.raises(InputError, match="record of crops"):
            read_record(path)
    with pytest.raises(InputError, match="could not read"):
        read_record(tmp_path / "nowhere.faces.json")


def test_contact_sheet(tmp_path: Path) -> None:
    crops = []
    for number in range(5):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (20, 20), (50 * number, 0, 0)).save(path)
        crops.append((f"a name that is far too long for its cell {number}", path))
    sheet = contact_sheet(crops, columns=3, cell=40)
    assert sheet.size == (120, 2 * (40 + CAPTION))
    assert sheet.getpixel((60, 40 + CAPTION + 20)) == (200, 0, 0)
    with pytest.raises(InputError):
        contact_sheet([])
    crops[3][1].write_bytes(crops[3][1].read_bytes()[:50])
    with pytest.raises(InputError, match="3.png"):
        contact_sheet(crops)


def test_astronaut_end_to_end(tmp_path: Path) -> None:
    data = pytest.importorskip("skimage.data", reason="scikit-image, whose picture this is, is not installed")
    (tmp_path / "photos").mkdir()
    Image.fromarray(data.astronaut()).save(tmp_path / "photos" / "astronaut.png")
    cli.main(["align", str(tmp_path / "photos"), str(tmp_path / "out")])
    (face,) = read_record(tmp_path / "out" / "astronaut.faces.json").faces
    photo = decode_photo(tmp_path / "photos" / "astronaut.png").image
    crop = Image.open(tmp_path / "out" / face.crop)
    assert crop.size == (256, 256)
    assert decibels(photo, paste_back(photo, crop, face)) > 35
    assert paste_back(photo, crop, face, keep_detail=True).tobytes() == photo.tobytes()
