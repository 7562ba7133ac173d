"""Photos that are refused, each for its one reason, and those that are not."""

import math
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image

from datamodules.photos import Detection, FaceDetector, decode_photo
from datamodules.photos.screening import PhotoScreen, ScreenSettings, cut_share, yaw_of
from renderers.errors import InputError
from tests.photo_pictures import smooth_photo


def face(
    centre: tuple[float, float] = (200.0, 150.0), side: float = 80.0, nose: float = 0.0, width: float = 1.0
) -> Detection:
    """A face with a square box; its nose leaves the middle by a share of the eyes' distance, that is `width` of a frontal face's."""
    eye = 0.22 * side * width
    points = [(-eye, -0.15), (eye, -0.15), (2 * eye * nose, 0.08), (-eye * 0.8, 0.35), (eye * 0.8, 0.35)]
    placed = torch.tensor([[centre[0] + x, centre[1] + y * side] for x, y in points])
    x, y = centre
    box = torch.tensor([x - side / 2, y - side / 2, x + side / 2, y + side / 2])
    return Detection(box, 0.99, placed)


def show(monkeypatch: pytest.MonkeyPatch, *faces: Detection) -> None:
    """Let the detector find these faces in every photo, whatever its size."""

    def detect(self: FaceDetector, photos: Sequence[Image.Image]) -> list[list[Detection]]:
        return [sorted(faces, key=lambda each: -each.area) for _ in photos]

    monkeypatch.setattr(FaceDetector, "detect", detect)


@pytest.fixture(scope="module")
def screen() -> PhotoScreen:
    return PhotoScreen()


PHOTO = smooth_photo(400, 300)


@pytest.mark.parametrize(
    ("faces", "reason"),
    [
        ([], "found none"),
        ([face(side=20)], "at least 40 px, the largest has 20"),
        ([face(), face((320, 150), 60)], "one face, found 2"),
        ([face(), face((320, 150), 60), face((60, 150), 30)], "one face, found 3"),
        ([face((20, 150))], "cuts off 25%"),
        ([face((200, 290))], "cuts off 38%"),
        ([face(nose=0.8)], "profile (about 72)"),
        ([face(nose=-0.8)], "profile (about 72)"),
        ([face(width=0.4)], "profile"),
    ],
)
def test_one_reason_each_on_one_line(
    screen: PhotoScreen, monkeypatch: pytest.MonkeyPatch, faces: list[Detection], reason: str
) -> None:
    show(monkeypatch, *faces)
    with pytest.raises(InputError, match=re.escape(reason)) as error:
        screen.face(PHOTO)
    assert str(error.value).startswith("expected ") and "\n" not in str(error.value) and ";" in str(error.value)


@pytest.mark.parametrize(
    "others", [[], [face((330, 60), 19)], [face((395, 150), 70)]], ids=["alone", "far behind", "cut by the frame"]
)
def test_faces_that_may_be_embedded(
    screen: PhotoScreen, monkeypatch: pytest.MonkeyPatch, others: list[Detection]
) -> None:
    portrait = face(nose=0.3)
    show(monkeypatch, portrait, *others)
    assert screen.face(PHOTO) is portrait


def test_limits_are_those_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    lenient = PhotoScreen(ScreenSettings(10, largest_yaw_deg=80.0, largest_cut=0.3, second_face=0.9))
    for faces in ([face(side=20)], [face(nose=0.8)], [face((20, 150))], [face(), face((320, 150), 60)]):
        show(monkeypatch, *faces)
        assert lenient.face(PHOTO) is faces[0]
    strict = PhotoScreen(ScreenSettings(100))
    with pytest.raises(InputError, match="at least 100 px"):
        strict.face(PHOTO)


@pytest.mark.parametrize(
    "options",
    [
        {"smallest_face": 0},
        {"largest_yaw_deg": 0.0},
        {"largest_yaw_deg": 200.0},
        {"largest_cut": 1.5},
        {"second_face": -0.1},
        {"max_pixels": 0},
    ],
)
def test_settings_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InputError):
        ScreenSettings(**options)  # type: ignore[arg-type]


def test_cut_is_the_share_of_the_box_outside() -> None:
    assert cut_share(face(), (400, 300)) == pytest.approx(0)
    assert cut_share(face((0, 0)), (400, 300)) == pytest.approx(0.75)
    assert cut_share(face((380, 150)), (400, 300)) == pytest.approx(0.25)
    assert cut_share(face((900, 150)), (400, 300)) == 1


def test_yaw_is_the_same_to_both_sides_and_under_rotation_in_the_plane() -> None:
    assert yaw_of(face()) < math.radians(12)
    assert yaw_of(face(nose=0.5)) == pytest.approx(math.radians(45), abs=1e-5)
    assert yaw_of(face(nose=-0.5)) == pytest.approx(yaw_of(face(nose=0.5)))
    turned = face(nose=0.5)
    turn = torch.tensor([[0.6, 0.8], [-0.8, 0.6]])
    assert yaw_of(Detection(turned.box, 0.9, turned.points @ turn)) == pytest.approx(yaw_of(turned), abs=1e-5)
    hidden = face(width=0.0)
    assert yaw_of(hidden) == pytest.approx(math.pi / 2)


def test_a_photograph_in_pieces(screen: PhotoScreen) -> None:
    data = pytest.importorskip("skimage.data", reason="scikit-image, whose pictures these are, is not installed")
    photo = Image.fromarray(data.astronaut())
    found = screen.face(photo)
    left, top, right, bottom = found.box.tolist()
    side = min(right - left, bottom - top)
    assert 60 < side < 140
    small = photo.resize((round(photo.width * 20 / side),) * 2, Image.Resampling.LANCZOS)
    scene = Image.new("RGB", (800, 600), (120, 140, 110))
    scene.paste(small, (300, 200))
    for picture in (small, scene):
        with pytest.raises(InputError, match="at least 40 px, the largest has (19|20|21)"):
            screen.face(picture)
    for pieces in (
        photo.crop((0, 0, round(right - 0.3 * side), photo.height)),
        photo.crop((round(left + 0.2 * side), 0, photo.width, photo.height)),
        photo.crop((0, 0, photo.width, round(bottom - 0.25 * side))),
    ):
        with pytest.raises(InputError, match="the frame cuts off"):
            screen.face(pieces)
    twice = Image.new("RGB", (photo.width * 2, photo.height))
    twice.paste(photo, (0, 0))
    twice.paste(photo, (photo.width, 0))
    with pytest.raises(InputError, match="one face, found 2"):
        screen.face(twice)
    for name in ("coffee", "gravel"):
        with pytest.raises(InputError, match="found none"):
            screen.face(Image.fromarray(getattr(data, name)()).convert("RGB"))
    # A man at a camera, seen from his side.
    with pytest.raises(InputError, match="profile"):
        screen.face(Image.fromarray(data.camera()).convert("RGB"))


def test_a_face_that_a_large_photo_loses_in_shrinking_is_found(screen: PhotoScreen) -> None:
    data = pytest.importorskip("skimage.data", reason="scikit-image, whose picture this is, is not installed")
    scene = Image.new("RGB", (3200, 2400), (120, 140, 110))
    scene.paste(Image.fromarray(data.astronaut()), (2000, 900))
    found = screen.face(scene)
    alone = screen.face(Image.fromarray(data.astronaut()))
    offset = found.points - alone.points - torch.tensor([2000.0, 900.0])
    assert float(offset.abs().max()) < 10


def test_photographs_of_people(screen: PhotoScreen, shared: Path) -> None:
    photos = sorted((shared / "data" / "portraits").glob("*.jpg"))
    if not photos:
        pytest.skip("no portraits in the shared data")
    reasons: dict[str, str] = {}
    for path in photos:
        try:
            screen.face(decode_photo(path).image)
        except InputError as error:
            reasons[path.stem] = str(error)
    # The first is three pictures of one person on one photo, all turned away.
    assert set(reasons) == {"photo_02_profile", "photo_03_two_faces"}
    assert "found 3" in reasons["photo_02_profile"] and "found 2" in reasons["photo_03_two_faces"]
    three = decode_photo(next(path for path in photos if path.stem == "photo_02_profile")).image
    with pytest.raises(InputError, match="profile"):
        screen.face(three.crop((1310, 0, 2560, three.height)))
