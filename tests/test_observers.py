"""Landmark network, identity network and judge: contracts, sizes, files, errors."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from models.morphable.parameters import FaceParameters, ParameterSizes
from models.observers import (
    JUDGED_COMPONENTS,
    FaceEmbedder,
    FacenetIdentity,
    IdentityNet,
    Judge,
    LandmarkNet,
    load_face_embedder,
    load_judge,
    load_landmark_detector,
    save_observer,
    verification_scores,
)
from models.observers.cropping import (
    CropBox,
    central_boxes,
    checked_crop,
    crop_and_resize,
    resize_square,
    square_around,
)
from models.observers.judge import correlation
from models.weights import asset_path
from renderers.errors import InputError


def small_judge() -> Judge:
    torch.manual_seed(0)
    return Judge(4, 3, 5, widths=(4, 8), blocks=(1, 1), num_features=6, working_size=32).eval()


def test_landmark_net_gives_pixels_of_the_given_image():
    torch.manual_seed(0)
    network = LandmarkNet().eval()
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    # Twice the size by repetition and antialiased reduction: the same picture for the network.
    large = images.repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)
    small_points, large_points = network(images), network(large)
    assert small_points.shape == (2, 68, 2)
    torch.testing.assert_close(large_points / 2, small_points, atol=0.3, rtol=0)
    assert sum(parameter.numel() for parameter in network.parameters()) <= 500_000


@pytest.mark.parametrize("batch", [1, 3])
def test_landmark_net_is_the_same_in_every_batch_and_differentiable(batch):
    torch.manual_seed(0)
    network = LandmarkNet(working_size=32, widths=(4, 8, 8), blocks=(1, 1), num_landmarks=5).eval()
    images = (torch.rand(batch, 3, 48, 48) * 2 - 1).requires_grad_()
    points = network(images)
    torch.testing.assert_close(points[:1], network(images[:1]), atol=1e-4, rtol=1e-4)
    points.sum().backward()
    assert images.grad is not None and torch.isfinite(images.grad).all() and images.grad.abs().sum() > 0


def test_landmark_net_points_are_cell_centres_when_maps_are_flat():
    network = LandmarkNet(working_size=32, widths=(4, 8, 8), blocks=(1, 1), num_landmarks=2).eval()
    torch.nn.init.zeros_(network.head[1].weight)
    torch.nn.init.zeros_(network.head[1].bias)
    points = network(torch.zeros(1, 3, 40, 40))
    torch.testing.assert_close(points, torch.full((1, 2, 2), 20.0))


def test_identity_is_a_unit_vector_at_any_size():
    network = IdentityNet(embedding_dim=16, base_width=4).eval()
    for size in (64, 100):
        embedding = network(torch.rand(2, 3, size, size) * 2 - 1)
        torch.testing.assert_close(embedding.norm(dim=-1), torch.ones(2))


def test_images_that_are_not_square_are_refused():
    # Of the functions that have this shape in their signature, which refuses it first where signatures are checked.
    with pytest.raises(InputError, match="square RGB"):
        resize_square(torch.zeros(1, 3, 64, 32), 64)
    with pytest.raises(InputError, match="square RGB"):
        resize_square(torch.zeros(1, 1, 64, 64), 64)


def test_judge_reads_in_the_units_of_the_truth():
    judge = small_judge()
    sizes = ParameterSizes(4, 3, 5)
    parameters = torch.randn(200, sizes.total) * 3 + 1
    targets = judge.targets(parameters)
    named = FaceParameters.unpack(parameters, sizes)
    for name, values in judge.split(targets).items():
        torch.testing.assert_close(values, getattr(named, name))
    judge.set_statistics(targets)
    torch.testing.assert_close(judge.component_spread("expression"), named.expression.std(dim=0))
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    reading = judge(images)
    features = judge.features(images)
    torch.testing.assert_close(reading.features, features)
    standard = judge.split(judge.standardised(features))
    torch.testing.assert_close(
        reading.rotation, standard["rotation"] * named.rotation.std(dim=0) + named.rotation.mean(dim=0)
    )
    assert [getattr(reading, name).shape[1] for name in JUDGED_COMPONENTS] == [3, 3, 27, 4, 5]
    with pytest.raises(InputError, match="width 45"):
        judge.targets(parameters[:, :-1])
    with pytest.raises(InputError, match="expression names"):
        Judge(expression_names=("smile",))


def test_a_constant_coefficient_keeps_a_finite_spread():
    judge = small_judge()
    parameters = torch.randn(20, ParameterSizes(4, 3, 5).total)
    parameters[:, 4] = 2.0
    judge.set_statistics(judge.targets(parameters))
    assert judge.component_spread("expression")[0] == 1


def test_default_observers_are_small():
    count = {
        type(net).__name__: sum(p.numel() for p in net.parameters()) for net in (LandmarkNet(), IdentityNet(), Judge())
    }
    assert count["LandmarkNet"] <= 500_000
    assert count["IdentityNet"] <= 1_500_000
    assert count["Judge"] <= 3_000_000


def test_saved_observers_read_back(tmp_path):
    torch.manual_seed(1)
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    landmarker = LandmarkNet(working_size=32, widths=(4, 8, 8), blocks=(1, 1)).eval()
    identity = IdentityNet(embedding_dim=8, base_width=4, working_size=32).eval()
    judge = small_judge()
    save_observer(tmp_path / "landmarks.safetensors", landmarker)
    save_observer(tmp_path / "identity.safetensors", identity)
    save_observer(tmp_path / "judge.safetensors", judge)
    # float16 weights: a thousandth of the values.
    torch.testing.assert_close(
        load_landmark_detector(tmp_path / "landmarks.safetensors")(images), landmarker(images), atol=0.1, rtol=1e-2
    )
    torch.testing.assert_close(
        load_face_embedder(tmp_path / "identity.safetensors")(images), identity(images), atol=0.02, rtol=0
    )
    loaded = load_judge(tmp_path / "judge.safetensors")
    torch.testing.assert_close(loaded(images).rotation, judge(images).rotation, atol=0.02, rtol=0)
    assert not loaded.training and not any(parameter.requires_grad for parameter in loaded.parameters())
    with pytest.raises(InputError, match="kind"):
        load_judge(tmp_path / "landmarks.safetensors")
    with pytest.raises(InputError):
        load_landmark_detector(tmp_path / "absent.safetensors")
    whole = (tmp_path / "judge.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError):
        load_judge(tmp_path / "cut.safetensors")


def test_facenet_from_a_local_file(tmp_path):
    from facenet_pytorch import InceptionResnetV1

    torch.manual_seed(0)
    network = InceptionResnetV1(pretrained=None, classify=False).eval()
    # The published files carry a classification layer, too.
    state = dict(network.state_dict()) | {"logits.weight": torch.zeros(7, 512), "logits.bias": torch.zeros(7)}
    torch.save(state, tmp_path / "facenet.pt")
    loaded = load_face_embedder(tmp_path / "facenet.pt")
    assert isinstance(loaded, FacenetIdentity)
    images = torch.rand(1, 3, 64, 64) * 2 - 1
    embedding = loaded(images)
    assert embedding.shape == (1, loaded.embedding_dim)
    torch.testing.assert_close(embedding.norm(dim=-1), torch.ones(1))
    crop = crop_and_resize(images, central_boxes(images, loaded.crop), 160) * (127.5 / 128)
    torch.testing.assert_close(embedding, network(crop))
    # MTCNN's face boxes are enlarged as facenet-pytorch does for a crop of 160 px with a margin of 14.
    box = torch.tensor([[20.0, 10, 40, 50]])
    around = torch.tensor([[20 - 10 * 14 / 146, 10 - 20 * 14 / 146, 40 + 10 * 14 / 146, 50 + 20 * 14 / 146]])
    torch.testing.assert_close(loaded.face_crops(images, box), crop_and_resize(images, around, 160))
    torch.save({"something": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match="does not match"):
        load_face_embedder(tmp_path / "other.pt")
    (tmp_path / "broken.pt").write_bytes(b"not a file of torch")
    with pytest.raises(InputError, match="cannot be read"):
        load_face_embedder(tmp_path / "broken.pt")
    torch.save([torch.zeros(3)], tmp_path / "list.pt")
    with pytest.raises(InputError, match="state dict"):
        load_face_embedder(tmp_path / "list.pt")


def test_facenet_by_its_own_download(monkeypatch):
    from facenet_pytorch.models import inception_resnet_v1

    asked = []

    def fetch(network: torch.nn.Module, name: str) -> None:
        asked.append(name)
        torch.nn.init.constant_(network.last_bn.bias, 0.25)

    monkeypatch.setattr(inception_resnet_v1, "load_weights", fetch)
    loaded = load_face_embedder("vggface2")
    assert asked == ["vggface2"] and isinstance(loaded, FacenetIdentity)
    assert not any(name.startswith("network.logits") for name in loaded.state_dict())
    torch.testing.assert_close(loaded.network.last_bn.bias, torch.full((512,), 0.25))

    def unreachable(network: torch.nn.Module, name: str) -> None:
        raise OSError("no connection")

    monkeypatch.setattr(inception_resnet_v1, "load_weights", unreachable)
    with pytest.raises(InputError, match=r"casia-webface, it could not \(no connection\)"):
        load_face_embedder("casia-webface")


def test_embedders_have_one_interface():
    torch.manual_seed(0)
    network = IdentityNet(embedding_dim=16, base_width=4).eval()
    assert isinstance(network, FaceEmbedder) and issubclass(FacenetIdentity, FaceEmbedder)
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    # A face box is enlarged to what the network is trained to see: its width and its height by fractions of their own.
    left, top, right, bottom = central_boxes(images, network.crop).unbind(dim=-1)
    inset_x, inset_y = (right - left) * (1 - 1 / 1.32) / 2, (bottom - top) * (1 - 1 / 1.10) / 2
    boxes = torch.stack([left + inset_x, top + inset_y, right - inset_x, bottom - inset_y], dim=-1)
    torch.testing.assert_close(network(images, boxes), network(images))


def test_identity_by_face_boxes_is_that_of_the_whole_portrait(shared):
    from facenet_pytorch import MTCNN

    network, detector = load_face_embedder(asset_path("demo_identity.safetensors")), MTCNN(keep_all=False)
    for path in sorted((shared / "data" / "portraits").glob("aligned_1024_*.jpg")):
        picture = Image.open(path).convert("RGB").resize((512, 512), Image.Resampling.LANCZOS)
        boxes, _ = detector.detect(picture)
        image = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 127.5 - 1
        box = torch.from_numpy(np.asarray(boxes[:1]).astype(np.float32))
        assert (network(image) * network(image, box)).sum() > 0.9


def test_a_crop_is_refused_where_the_network_has_its_own(tmp_path):
    save_observer(tmp_path / "landmarks.safetensors", LandmarkNet(working_size=32, widths=(4, 8, 8), blocks=(1, 1)))
    save_observer(tmp_path / "identity.safetensors", IdentityNet(embedding_dim=8, base_width=4, working_size=32))
    with pytest.raises(InputError, match="expected no crop"):
        load_landmark_detector(tmp_path / "landmarks.safetensors", crop=(0.0, 0.0, 1.0, 1.0))
    with pytest.raises(InputError, match="expected no crop"):
        load_face_embedder(tmp_path / "identity.safetensors", crop=(0.0, 0.0, 1.0, 1.0))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_near(dtype):
    torch.manual_seed(0)
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    landmarker = LandmarkNet(working_size=32, widths=(4, 8, 8), blocks=(1, 1)).eval()
    identity = IdentityNet(embedding_dim=8, base_width=4, working_size=32).eval()
    points, embeddings = landmarker(images), identity(images)
    half_points, half_embeddings = landmarker.to(dtype)(images.to(dtype)), identity.to(dtype)(images.to(dtype))
    assert half_points.dtype == half_embeddings.dtype == torch.float32
    torch.testing.assert_close(half_points, points, atol=0.5, rtol=0)
    assert (half_embeddings * embeddings).sum(dim=-1).min() > 0.98


def test_feature_maps_end_in_what_the_networks_say():
    torch.manual_seed(0)
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    landmarker = LandmarkNet(working_size=32, widths=(4, 6, 8), blocks=(1, 1)).eval()
    assert [tuple(maps.shape[1:]) for maps in landmarker.feature_maps(images)] == [(4, 16, 16), (6, 8, 8), (8, 4, 4)]
    identity = IdentityNet(embedding_dim=8, base_width=4, working_size=32).eval()
    maps = identity.feature_maps(images)
    assert [tuple(values.shape[1:]) for values in maps] == [(4, 16, 16), (8, 8, 8), (16, 4, 4), (32, 2, 2)]
    said = torch.nn.functional.normalize(identity.embed(maps[-1].mean(dim=(-2, -1))), dim=-1)
    torch.testing.assert_close(identity(images), said)


def test_config_builds_the_same_network():
    for network in (
        LandmarkNet(num_landmarks=5),
        IdentityNet(embedding_dim=8, crop=(0.1, 0.2, 0.8, 0.9)),
        small_judge(),
    ):
        config = json.loads(json.dumps(network.config))
        assert type(network)(**config).config == network.config
        assert config == network.config


def test_verification_scores():
    people = torch.tensor([0, 0, 1, 1])
    apart = torch.eye(2)[people]
    assert verification_scores(apart, people) == (1.0, 1.0)
    swapped = torch.eye(2)[torch.tensor([0, 1, 0, 1])]
    area, accuracy = verification_scores(swapped, people)
    assert area < 0.5 and accuracy <= 0.75
    torch.manual_seed(0)
    random = torch.nn.functional.normalize(torch.randn(400, 32), dim=-1)
    area, accuracy = verification_scores(random, torch.arange(400) // 4)
    assert area == pytest.approx(0.5, abs=0.05) and accuracy == pytest.approx(0.5, abs=0.05)
    assert all(score != score for score in verification_scores(apart, torch.arange(4)))


def test_crop_of_the_whole_image_is_the_image():
    images = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    boxes = central_boxes(images, CropBox(0, 0, 1, 1))
    torch.testing.assert_close(crop_and_resize(images, boxes, 32), images)
    quarter = crop_and_resize(images, boxes, 8)
    torch.testing.assert_close(quarter, torch.nn.functional.avg_pool2d(images, 4))
    part = crop_and_resize(images, torch.tensor([[8.0, 0, 24, 16]] * 2, dtype=torch.float64), 16)
    # Sixteen pixels sampled two by two times, half a sample off the centres: the bilinear kernel's small blur.
    torch.testing.assert_close(part.mean(), images[:, :, 0:16, 8:24].mean(), atol=0.02, rtol=0)


def test_crops_of_boxes_of_several_sizes_are_those_of_each_alone():
    images = torch.rand(3, 3, 40, 60, dtype=torch.float64)
    boxes = torch.tensor([[1.0, 2, 9, 10], [0, 0, 40, 40], [5, 5, 45, 30]], dtype=torch.float64)
    together = crop_and_resize(images, boxes, 8)
    for index in range(3):
        alone = crop_and_resize(images[index : index + 1], boxes[index : index + 1], 8)
        torch.testing.assert_close(together[index : index + 1], alone)


def test_crop_gradients():
    torch.manual_seed(0)
    images = torch.rand(1, 3, 6, 6, dtype=torch.float64, requires_grad=True)
    boxes = torch.tensor([[0.7, 1.1, 4.9, 5.2]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda i, b: crop_and_resize(i, b, 4), (images, boxes))


def test_square_around_a_box():
    boxes = torch.tensor([[10.0, 20.0, 30.0, 30.0]])
    torch.testing.assert_close(square_around(boxes, 1.5), torch.tensor([[5.0, 10.0, 35.0, 40.0]]))
    with pytest.raises(InputError, match="left < right"):
        checked_crop((0.5, 0.0, 0.5, 1.0))


def test_correlation():
    first = torch.tensor([[1.0, 0.0, 1.0], [2.0, 1.0, 1.0], [3.0, 0.0, 1.0]])
    second = torch.tensor([[2.0, 0.0, 5.0], [4.0, -1.0, 6.0], [6.0, 0.0, 7.0]])
    result = correlation(first, second)
    torch.testing.assert_close(result[:2], torch.tensor([1.0, -1.0]))
    assert result[2].isnan()
