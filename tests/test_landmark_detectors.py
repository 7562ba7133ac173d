"""Landmark detectors for photos: the face-alignment network, crops by face boxes, and real photos where they are."""

import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from models.observers import (
    CropLandmarkDetector,
    FaceApiLandmarks,
    FanLandmarks,
    LandmarkDetector,
    LandmarkNet,
    load_fan,
    load_landmark_detector,
)
from models.observers.face_api import FaceApiNetwork
from models.observers.fan import NUM_HOURGLASSES, peak_centroids
from renderers.errors import InputError

SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data"


class SpotNetwork(nn.Module):
    """A stand-in for FAN: 68 equal heat maps, each the brightness of the crop; it finds a bright spot."""

    def __init__(self, num_modules: int = NUM_HOURGLASSES) -> None:
        super().__init__()
        self.num_modules = num_modules
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, crops: torch.Tensor) -> list[torch.Tensor]:
        maps = nn.functional.avg_pool2d(crops.mean(dim=1, keepdim=True), 4) * self.scale
        return [torch.zeros_like(maps).expand(-1, 68, -1, -1), maps.expand(-1, 68, -1, -1)]


def spots(places: list[tuple[float, float]], size: int, width: float) -> torch.Tensor:
    """Black images with a Gaussian spot each, at pixels (x, y)."""
    centres = torch.arange(size) + 0.5
    rows = [torch.exp(-((centres[None, :] - x) ** 2 + (centres[:, None] - y) ** 2) / (2 * width**2)) for x, y in places]
    return torch.stack(rows)[:, None].expand(-1, 3, -1, -1) * 2 - 1


@pytest.fixture
def package(monkeypatch):
    """The face-alignment package, stood in for: its network, and a download that fails."""

    def load_file_from_url(url: str) -> str:
        raise OSError(f"no connection to {url}")

    modules = {name: types.ModuleType(f"face_alignment{name}") for name in ("", ".api", ".models", ".utils")}
    modules[".api"].models_urls = {"2DFAN-4": "https://example.invalid/2DFAN4.pth.tar"}
    modules[".models"].FAN = SpotNetwork
    modules[".utils"].load_file_from_url = load_file_from_url
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, f"face_alignment{name}", module)
    return modules


def test_all_detectors_have_one_interface():
    torch.manual_seed(0)
    images = torch.rand(2, 3, 64, 64, requires_grad=True)
    for detector in (LandmarkNet(), FaceApiLandmarks(FaceApiNetwork()), FanLandmarks(SpotNetwork())):
        assert isinstance(detector, LandmarkDetector) and detector.differentiable
        points = detector.eval()(images)
        assert points.shape == (2, 68, 2) and points.dtype == torch.float32
        assert torch.autograd.grad(points.sum(), images)[0].abs().sum() > 0


def test_centroids_of_gaussian_peaks():
    places = torch.tensor([[10.2, 20.9], [31.5, 31.5], [1.0, 40.0], [63.4, 5.1]])
    cells = torch.arange(64) + 0.5
    maps = torch.exp(-((cells - places[:, :1, None]) ** 2 + (cells[:, None] - places[:, 1:, None]) ** 2) / 2)
    found = peak_centroids(maps[None])[0] * 64
    torch.testing.assert_close(found[:2], places[:2], atol=0.03, rtol=0)
    # Half a cell and one and a half from the border, where part of the peak is cut off.
    torch.testing.assert_close(found[2:], places[2:], atol=0.8, rtol=0)
    # What lies elsewhere does not pull the centroid, nor do maps below zero.
    distracted = maps.clone()
    distracted[:, 50:, 50:] += 0.4
    torch.testing.assert_close(peak_centroids(distracted[None])[0] * 64, found, atol=1e-3, rtol=0)
    torch.testing.assert_close(peak_centroids(maps[None] - 10 * (maps[None] < 1e-4))[0] * 64, found, atol=0.02, rtol=0)


def test_centroids_of_empty_maps_are_finite():
    for maps in (torch.zeros(1, 1, 16, 16), torch.full((1, 1, 16, 16), -1.0)):
        assert torch.isfinite(peak_centroids(maps)).all()


def test_centroid_gradients():
    torch.manual_seed(0)
    maps = (torch.rand(1, 2, 8, 8, dtype=torch.float64) + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(peak_centroids, (maps,))


@pytest.mark.parametrize("refinements", [0, 1])
def test_a_spot_is_found_where_it_is(refinements):
    places = [(60.3, 50.8), (40.0, 70.5), (64.0, 64.0)]
    detector = FanLandmarks(SpotNetwork(), refinements=0)
    points = detector(spots(places, 128, 3.0))
    torch.testing.assert_close(points, torch.tensor(places)[:, None].expand(3, 68, 2), atol=0.3, rtol=0)
    # By face boxes, in any place and size; the last also reaches beyond the picture.
    boxes = torch.tensor([[40.0, 30, 90, 80], [10, 40, 70, 100], [30, 30, 140, 150]])
    boxed = detector(spots(places, 128, 3.0), boxes)
    torch.testing.assert_close(boxed, points, atol=0.3, rtol=0)


def test_the_crop_of_a_face_box_is_that_of_the_package():
    # face_alignment/api.py: 200 / 195 of width plus height, centre raised by 0.12 of the height.
    frame = FanLandmarks(SpotNetwork()).frame(torch.tensor([[100.0, 100, 200, 220]]))
    side, middle = 200 * (100 + 120) / 195, (150.0, 160 - 0.12 * 120)
    expected = [middle[0] - side / 2, middle[1] - side / 2, middle[0] + side / 2, middle[1] + side / 2]
    torch.testing.assert_close(frame, torch.tensor([expected]))


def test_points_do_not_hang_on_the_batch_nor_on_resolution():
    torch.manual_seed(0)
    network = FaceApiNetwork().eval()
    detector = FaceApiLandmarks(network)
    images = torch.rand(3, 3, 96, 96) * 2 - 1
    boxes = torch.tensor([[10.0, 10, 30, 34], [0, 0, 96, 96], [20, 30, 70, 90]])
    together = detector(images, boxes)
    for index in range(3):
        alone = detector(images[index : index + 1], boxes[index : index + 1])
        torch.testing.assert_close(together[index : index + 1], alone, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_images_keep_places(dtype):
    places = [(160.3, 150.8)]
    points = FanLandmarks(SpotNetwork().to(dtype))(spots(places, 320, 6.0).to(dtype))
    assert points.dtype == torch.float32
    torch.testing.assert_close(points, torch.tensor(places)[:, None].expand(1, 68, 2), atol=1.5, rtol=0)


def test_wrong_number_of_refinements():
    with pytest.raises(InputError, match="refinements"):
        FanLandmarks(SpotNetwork(), refinements=-1)


def test_face_alignment_weights_from_a_file(package, tmp_path):
    network = SpotNetwork()
    torch.save({"scale": torch.tensor(2.5)}, tmp_path / "2DFAN4-11f355bf06.pth.tar")
    detector = load_landmark_detector(tmp_path / "2DFAN4-11f355bf06.pth.tar")
    assert isinstance(detector, FanLandmarks) and not detector.training
    assert float(detector.network.scale) == 2.5 and not detector.network.scale.requires_grad
    images = spots([(20.0, 30.0)], 64, 2.0)
    torch.testing.assert_close(detector(images), FanLandmarks(network)(images), atol=0.05, rtol=0)
    torch.save({"other": torch.tensor(2.5)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="does not match"):
        load_landmark_detector(tmp_path / "other.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(InputError, match="state dict"):
        load_landmark_detector(tmp_path / "list.pth")
    (tmp_path / "broken.pth").write_bytes(b"no file of torch")
    with pytest.raises(InputError, match="cannot be read"):
        load_landmark_detector(tmp_path / "broken.pth")


def test_face_alignment_by_its_own_download(package, tmp_path):
    with pytest.raises(InputError, match="another machine"):
        load_landmark_detector("face-alignment")
    torch.save({"scale": torch.tensor(0.5)}, tmp_path / "cached.pth.tar")
    package[".utils"].load_file_from_url = lambda url: str(tmp_path / "cached.pth.tar")
    detector = load_landmark_detector("face-alignment", crop=(0.0, 0.0, 1.0, 1.0))
    assert isinstance(detector, FanLandmarks) and detector.crop == (0, 0, 1, 1)


def test_face_alignment_that_is_not_installed(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "face_alignment", None)
    monkeypatch.delitem(sys.modules, "face_alignment.api", raising=False)
    with pytest.raises(InputError, match=r"pip install 'latentrig\[face-alignment\]'"):
        load_landmark_detector("face-alignment")


def test_the_package_itself_reads_alike(tmp_path):
    face_alignment = pytest.importorskip("face_alignment", reason="the extra face-alignment is not installed")
    # Its own class around a network that finds a spot, without the constructor, which downloads.
    own = object.__new__(face_alignment.FaceAlignment)
    own.flip_input, own.device, own.dtype, own.max_batch_size = False, "cpu", torch.float32, 1
    own.landmarks_type, own.face_alignment_net = face_alignment.LandmarksType.TWO_D, SpotNetwork()
    own.face_detector = types.SimpleNamespace(reference_scale=195)
    detector = FanLandmarks(SpotNetwork(), refinements=0)
    for place, box in (((130.3, 150.8), (70, 90, 190, 225)), ((100.0, 200.0), (60, 100, 190, 220))):
        image = ((spots([place], 300, 6.0)[0] + 1) * 127.5).byte()
        expected = own.get_landmarks_from_image(image.permute(1, 2, 0).numpy(), [np.array(box, dtype=np.float64)])[0]
        found = detector(image[None] / 127.5 - 1, torch.tensor([box], dtype=torch.float32))[0]
        # The package rounds crops and points to whole pixels, and peaks to a quarter of a cell, of 1 px here.
        torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float32), atol=2.0, rtol=0)
    network = face_alignment.models.FAN(NUM_HOURGLASSES).eval()
    torch.save(network.state_dict(), tmp_path / "2DFAN4.pth.tar")
    loaded = load_fan(tmp_path / "2DFAN4.pth.tar").network
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in loaded.state_dict().items())


def photos_with_faces() -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Photos (1, 3, H, W) in [-1, 1] with the box and the five points of MTCNN's surest face."""
    from facenet_pytorch import MTCNN

    detector = MTCNN(keep_all=False)
    found = []
    for path in sorted((SHARED / "portraits").glob("photo_1[1-7]*.jpg")):
        picture = Image.open(path).convert("RGB")
        boxes, _, points = detector.detect(picture, landmarks=True)
        image = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 127.5 - 1
        # facenet-pytorch 2.5.3 gives object arrays under today's NumPy.
        box, five = (torch.from_numpy(np.asarray(values).astype(np.float32)) for values in (boxes[:1], points[0]))
        found.append((image, box, five))
    return found


def test_face_api_on_photos_agrees_with_the_face_detector():
    weights = SHARED / "face_landmark_68"
    if not weights.is_dir() or not (SHARED / "portraits").is_dir():
        pytest.skip("../shared/data/face_landmark_68 or ../shared/data/portraits is not on this machine")
    detector = load_landmark_detector(weights)
    assert isinstance(detector, CropLandmarkDetector)
    for image, box, five in photos_with_faces():
        points = detector(image, box)[0]
        mine = torch.stack([points[36:42].mean(0), points[42:48].mean(0), points[30], points[48], points[54]])
        side = (box[:, 2:] - box[:, :2]).max()
        assert ((mine - five).norm(dim=-1) / side).mean() < 0.05
