"""The supervised loss of a generator's warm start, term by term."""

import pytest
import torch
from pytorch_lightning import LightningModule

from lightning_modules.painting_loss import PaintingLoss, PaintingWeights
from lightning_modules.warm_start import WarmStart, weigh_latents
from models.observers import Judge, LandmarkNet
from models.stylegan2.generator import Generator
from models.stylegan2.losses import reconstruction_loss
from models.weights import asset_path
from renderers.errors import InputError

LANDMARKS = str(asset_path("demo_landmarks.safetensors"))
JUDGE = str(asset_path("demo_judge.safetensors"))


def portraits(count: int = 3, size: int = 64) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    mask = torch.zeros(count, 1, size, size, dtype=torch.bool)
    mask[:, :, size // 4 : size // 2, size // 4 : size // 2] = True
    return {"image": torch.rand(count, 3, size, size, generator=rng) * 2 - 1, "mask": mask}


def test_the_pixel_term_alone_is_the_reconstruction_loss():
    batch = portraits()
    painted = batch["image"] * 0.5
    loss, terms = PaintingLoss(PaintingWeights(detail=0.5))(painted, batch)
    torch.testing.assert_close(loss, reconstruction_loss(painted, batch["image"], 0.5))
    assert set(terms) == {"pixels"}


def test_the_portrait_itself_costs_nothing():
    batch = portraits()
    loss, terms = PaintingLoss(PaintingWeights(face=1.0, landmarks=1.0, features=1.0), LANDMARKS)(batch["image"], batch)
    assert loss == 0 and set(terms) == {"pixels", "face", "landmarks", "features"}


def test_the_face_counts_by_its_own_pixels():
    batch = portraits()
    inside, outside = batch["image"] + batch["mask"] * 0.25, batch["image"] + ~batch["mask"] * 0.25
    loss = PaintingLoss(PaintingWeights(face=2.0))
    # At full size and over blocks, three colours: the face's mean is divided by its share of the pixels, not of the colours.
    torch.testing.assert_close(loss(inside, batch)[1]["face"], torch.tensor(0.5))
    torch.testing.assert_close(loss(outside, batch)[1]["face"], torch.tensor(0.0))
    total, terms = loss(inside, batch)
    torch.testing.assert_close(total, terms["pixels"] + 2 * terms["face"])


def test_landmarks_and_features_are_read_through_the_frozen_network():
    batch = portraits(2)
    module = LightningModule()
    module.painting = PaintingLoss(PaintingWeights(landmarks=1.0, features=0.5), LANDMARKS)
    painted = (batch["image"] * 0.9).requires_grad_()
    loss, terms = module.painting(painted, batch)
    network = module.painting.landmarker
    assert isinstance(network, LandmarkNet)
    distance = (network(painted) - network(batch["image"])).abs().mean(dim=(0, 2))
    weights = module.painting.landmark_weights.flatten()
    torch.testing.assert_close(terms["landmarks"], (distance * weights).mean())
    assert weights[60] == weights.max() and weights[0] == weights.min()
    torch.testing.assert_close(loss, terms["pixels"] + terms["landmarks"] + 0.5 * terms["features"])
    loss.backward()
    assert painted.grad is not None and painted.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not module.state_dict()


def test_what_a_reader_reads_counts_in_units_of_its_spread_over_the_portraits():
    batch = portraits(4)
    loss = PaintingLoss(PaintingWeights(readings=2.0, reader_features=0.5), reader=JUDGE)
    assert loss(batch["image"], batch)[0] == 0
    painted = (batch["image"] * 0.5).requires_grad_()
    total, terms = loss(painted, batch)
    reader = loss.reader
    assert isinstance(reader, Judge)
    expected = 0.0
    weights = {"rotation": 2.0, "expression": 3.0, "illumination": 2.0, "identity": 1.0, "reflectance": 0.5}
    read, true = (reader.split(reader.standardised(reader.features(x))) for x in (painted, batch["image"]))
    for name, weight in weights.items():
        spread = true[name] - true[name].mean(dim=0)
        expected += weight * float((read[name] - true[name]).square().mean() / spread.square().mean())
    assert float(terms["readings"]) == pytest.approx(expected, rel=1e-4)
    torch.testing.assert_close(total, terms["pixels"] + 2 * terms["readings"] + 0.5 * terms["reader_features"])
    total.backward()
    assert painted.grad is not None and painted.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in reader.parameters())


def test_a_network_is_needed_exactly_where_it_is_weighed():
    with pytest.raises(InputError, match="reader exactly where"):
        PaintingLoss(PaintingWeights(readings=1.0))
    with pytest.raises(InputError, match="reader exactly where"):
        PaintingLoss(PaintingWeights(), reader=JUDGE)
    with pytest.raises(InputError, match="landmark network exactly where"):
        PaintingLoss(PaintingWeights(landmarks=1.0))
    with pytest.raises(InputError, match="landmark network exactly where"):
        PaintingLoss(PaintingWeights(), LANDMARKS)
    with pytest.raises(InputError, match="masks of the portraits"):
        PaintingLoss(PaintingWeights(face=1.0))(torch.zeros(1, 3, 8, 8), {"image": torch.zeros(1, 3, 8, 8)})


def test_latents_that_move_landmarks_alone_are_read_too():
    latent = torch.randn(200, 4, generator=torch.Generator().manual_seed(1))
    batch = {
        "image": latent[:, :1, None, None].expand(-1, 3, 8, 8),
        "mask": torch.ones(200, 1, 8, 8, dtype=torch.bool),
        "landmarks": latent[:, 1:2, None].expand(-1, 68, 2),
        "latent": latent,
    }

    def scale(painting: PaintingWeights) -> torch.Tensor:
        generator = Generator([4], z_dim=4, w_dim=8, mapping_layers=1)
        before = generator.mapping.first.weight.clone()
        weigh_latents(generator, [batch], WarmStart(importance_images=200, painting=painting), lambda values: values)
        return (generator.mapping.first.weight / before)[0]

    pixels, both = scale(PaintingWeights()), scale(PaintingWeights(landmarks=1.0))
    assert pixels[1] < 0.1 * pixels[0]
    torch.testing.assert_close(both[1], both[0], rtol=0.05, atol=0.0)
