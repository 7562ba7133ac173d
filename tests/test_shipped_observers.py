"""The shipped observers on people that nobody has seen: the figures of their model cards hold, roughly."""

import math

import pytest
import torch

from datamodules.portraits import Portraits, PortraitSampler
from models.observers import load_face_embedder, load_judge, load_landmark_detector, verification_scores
from models.observers.judge import correlation
from models.weights import asset_path
from renderers.rotation import rotation_distance

SEED = 987654
PEOPLE, SHOTS = 20, 4


@pytest.fixture(scope="module")
def portraits() -> Portraits:
    sampler = PortraitSampler("coarse")
    index = torch.arange(PEOPLE * SHOTS)
    return sampler.render(sampler.latents(index // SHOTS, index % SHOTS, SEED), 64)


def test_landmarks(portraits):
    points = load_landmark_detector(asset_path("demo_landmarks.safetensors"))(portraits.image)
    assert float((points - portraits.landmarks).norm(dim=-1).mean()) < 0.8


def test_judge(portraits):
    judge = load_judge(asset_path("demo_judge.safetensors"))
    reading, truth = judge(portraits.image), portraits.parameters
    assert math.degrees(float(rotation_distance(reading.rotation, truth.rotation).median())) < 2.5
    assert float(correlation(reading.illumination, truth.illumination).mean()) > 0.8
    assert len(judge.expression_names) == truth.expression.shape[1]
    smile = [judge.expression_names.index(name) for name in ("mouth_smile_left", "jaw_open")]
    assert float(correlation(reading.expression[:, smile], truth.expression[:, smile]).min()) > 0.8


def test_identity(portraits):
    embeddings = load_face_embedder(asset_path("demo_identity.safetensors"))(portraits.image)
    area, _ = verification_scores(embeddings, torch.arange(PEOPLE * SHOTS) // SHOTS)
    assert area > 0.9


def test_they_are_small():
    for name in ("landmarks", "judge", "identity"):
        path = asset_path(f"demo_{name}.safetensors")
        assert path.stat().st_size < 3_000_000
        assert path.with_suffix(".md").is_file()
