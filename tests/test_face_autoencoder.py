"""Training of the face autoencoder (MoFA): it learns from pictures alone, and is measured against the truth."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from datamodules.portraits import PortraitSampler
from lightning_modules.face_autoencoder import FaceAutoencoder, FaceAutoencoderSettings
from lightning_modules.face_scene import FaceScene
from lightning_modules.render_loss import RenderLossWeights
from models.morphable.loading import load_face_model
from models.stylerig import FaceEncoder, Provenance
from models.weights import asset_path, describe_weights
from renderers.camera import PerspectiveCamera
from renderers.errors import InputError
from renderers.face_renderer import FaceRenderer
from renderers.images import to_signed
from renderers.rotation import rotation_distance
from tests.tiny_stylerig import quiet_trainer, use_toy_face, write_networks
from tests.toy_face import SIZES, toy_face_model, toy_parameters

SIDE = 16
TINY = {"widths": (8, 16), "blocks": (1, 1), "num_features": 16, "working_size": SIDE}


@pytest.fixture(scope="module")
def faces() -> dict[str, Tensor]:
    """Pictures of toy faces on black with their truth."""
    parameters = toy_parameters(24, seed=1)
    render = FaceRenderer(toy_face_model(), PerspectiveCamera(), SIDE)(parameters)
    image = to_signed(render.image * render.mask)
    return {"image": image.detach(), "parameters": parameters.pack(), "landmarks": render.landmarks}


class Observed(nn.Module):
    """The landmarks that are there, whatever landmark network the module was given."""

    def __init__(self, faces: dict[str, Tensor]) -> None:
        super().__init__()
        self.faces = faces

    def forward(self, images: Tensor) -> Tensor:
        distance = (images[:, None] - self.faces["image"][None]).abs().sum(dim=(2, 3, 4))
        return self.faces["landmarks"][distance.argmin(dim=1)]


class KnownReading(FaceEncoder):
    """The truth of known pictures, of which something is made."""

    def __init__(self, faces: dict[str, Tensor], change: Callable[[Tensor], Tensor]) -> None:
        super().__init__(SIZES, **TINY)
        self.faces, self.change = faces, change

    def forward(self, images: Tensor) -> Tensor:
        distance = (images[:, None] - self.faces["image"][None]).abs().sum(dim=(2, 3, 4))
        return self.change(self.faces["parameters"][distance.argmin(dim=1)])


def loader(faces: dict[str, Tensor], batch_size: int = 12) -> DataLoader[Any]:
    rows = [{name: values[index : index + batch_size] for name, values in faces.items()} for index in range(0, 24, batch_size)]
    return DataLoader(rows, batch_size=None)  # type: ignore[arg-type]


@pytest.fixture
def networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    use_toy_face(monkeypatch)
    return {"landmarker": write_networks(tmp_path)["landmarker"], "image_size": SIDE}


def settings(**changes: Any) -> FaceAutoencoderSettings:
    return FaceAutoencoderSettings(**{**TINY, "landmark_steps": 10, "learning_rate": 0.01, **changes})


def measures_of(trainer: Trainer, module: FaceAutoencoder, faces: dict[str, Tensor]) -> dict[str, float]:
    (results,) = trainer.test(module, loader(faces), verbose=False)
    return {name.removeprefix("test/"): value for name, value in results.items()}


def test_training_by_rendering_alone_nears_the_truth(networks: dict[str, Any], faces: dict[str, Tensor], tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = FaceAutoencoder(**networks, settings=settings())
    module.landmarker = Observed(faces)  # type: ignore[assignment]
    module._trained = True
    before = measures_of(quiet_trainer(tmp_path), module, faces)
    pictures = loader({"image": faces["image"]})
    trainer = quiet_trainer(tmp_path / "run", max_steps=40, enable_checkpointing=False)
    trainer.fit(module, pictures)
    after = measures_of(quiet_trainer(tmp_path), module, faces)
    assert after["landmark_error_px"] < 0.6 * before["landmark_error_px"]
    assert after["rotation_error_deg"] < before["rotation_error_deg"] and after["yaw_slope"] > 0.1

    path = tmp_path / "run" / "face_encoder.safetensors"
    assert describe_weights(path).kind == "face-encoder"
    again = FaceAutoencoder(**networks, settings=settings(), weights=str(path))
    assert measures_of(quiet_trainer(tmp_path), again, faces)["landmark_error_px"] == pytest.approx(after["landmark_error_px"], rel=0.05)
    # It goes on from there, and is not frozen.
    again.landmarker = Observed(faces)  # type: ignore[assignment]
    start = {name: value.clone() for name, value in again.network.state_dict().items()}
    quiet_trainer(tmp_path / "more", max_steps=1, enable_checkpointing=False).fit(again, pictures)
    moved = {name for name, value in again.network.state_dict().items() if not torch.equal(value, start[name])}
    assert "readout.weight" in moved and any(name.endswith("running_mean") for name in moved)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda truth: truth, {"landmark_error_px": 0.0, "rotation_error_deg": 0.0, "yaw_slope": 1.0, "identity_slope": 1.0}),
        (lambda truth: 0.5 * truth, {"yaw_slope": 0.5, "expression_slope": 0.5, "expression_correlation": 1.0}),
        (lambda truth: -truth, {"yaw_slope": -1.0, "identity_correlation": -1.0, "illumination_correlation": -1.0}),
    ],
    ids=["truth", "half", "opposite"],
)
def test_measures_are_those_of_known_readings(
    networks: dict[str, Any], faces: dict[str, Tensor], tmp_path: Path, change: Callable[[Tensor], Tensor], expected: dict[str, float]
) -> None:
    module = FaceAutoencoder(**networks, settings=settings())
    module.network, module._trained = KnownReading(faces, change), True
    found = measures_of(quiet_trainer(tmp_path), module, faces)
    for name, value in expected.items():
        # The arc cosine of 1 is off by a few hundredths of a degree.
        assert found[name] == pytest.approx(value, abs=0.05 if name.endswith("deg") else 1e-3), name


def test_a_turn_by_a_known_angle_is_measured_in_degrees(networks: dict[str, Any], faces: dict[str, Tensor], tmp_path: Path) -> None:
    def rolled(truth: Tensor) -> Tensor:
        # Roll is applied last or first by any order of Euler angles, so that a change of it alone turns by just that.
        return truth + math.radians(7) * nn.functional.one_hot(torch.tensor(SIZES.slice("rotation").start + 2), SIZES.total)

    module = FaceAutoencoder(**networks, settings=settings())
    module.network, module._trained = KnownReading(faces, rolled), True
    assert measures_of(quiet_trainer(tmp_path), module, faces)["rotation_error_deg"] == pytest.approx(7, abs=0.01)


def test_first_steps_look_at_landmarks_alone(networks: dict[str, Any], faces: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    use = settings(landmark_steps=5, loss=RenderLossWeights(landmark=2.0, photometric=3.0), regulariser=0.5)
    module = FaceAutoencoder(**networks, settings=use)
    logged: dict[str, Tensor] = {}
    monkeypatch.setattr(module, "log", lambda *_, **__: None)
    monkeypatch.setattr(module, "log_dict", lambda values, **_: logged.update(values))
    batch = {"image": faces["image"][:4]}
    step = 0
    monkeypatch.setattr(FaceAutoencoder, "global_step", property(lambda _: step))
    early = module.training_step(batch, 0)
    torch.testing.assert_close(early, 2 * logged["train/landmark"] + 0.5 * logged["train/regulariser"])
    assert logged["train/photometric"] == 0
    step = 5
    late = module.training_step(batch, 0)
    expected = 2 * logged["train/landmark"] + 3 * logged["train/photometric"] + 0.5 * logged["train/regulariser"]
    torch.testing.assert_close(late, expected)
    assert logged["train/photometric"] > 0


def test_only_the_encoder_is_trained_and_saved(networks: dict[str, Any], faces: dict[str, Tensor]) -> None:
    module = FaceAutoencoder(**networks, settings=settings())
    assert module.provenance.generator is None
    assert all(name.startswith("network.") for name in module.state_dict())
    assert {name.split(".")[0] for name, parameter in module.named_parameters() if parameter.requires_grad} == {"network"}
    assert torch.equal(module.eval()(faces["image"]), module.network(faces["image"]))


def test_untrained_encoders_are_not_measured(networks: dict[str, Any], faces: dict[str, Tensor], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="add --model.weights with a face_encoder.safetensors"):
        measures_of(quiet_trainer(tmp_path), FaceAutoencoder(**networks, settings=settings()), faces)


@pytest.mark.parametrize("wrong", [{"learning_rate": 0.0}, {"regulariser": -1.0}, {"expression_deviation": 0.0}, {"landmark_steps": -1}])
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="correct them"):
        settings(**wrong)


def test_weights_of_another_scene_are_refused(networks: dict[str, Any], tmp_path: Path) -> None:
    path = FaceEncoder(SIZES, **TINY).save(tmp_path / "e.safetensors", Provenance.of(None, toy_face_model(), PerspectiveCamera(3.0)))
    with pytest.raises(InputError, match="expected the camera that .*e.safetensors was trained for"):
        FaceAutoencoder(**networks, settings=settings(), weights=str(path))


def test_shipped_encoder_reads_poses_of_portraits_that_it_never_saw() -> None:
    model = load_face_model(FaceScene().face_model_source)
    file = asset_path("demo_face_encoder.safetensors")
    encoder = FaceEncoder.load(file, Provenance.of(None, model, FaceScene().camera))
    sampler = PortraitSampler("coarse")
    latents = torch.randn(8, sampler.latent_size, generator=torch.Generator().manual_seed(12345))
    portraits = sampler.render(latents, 64, supersample=1)
    read = encoder.parameters_of(portraits.image)
    assert math.degrees(rotation_distance(read.rotation, portraits.parameters.rotation).median()) < 6
    yaw = torch.stack([read.rotation[:, 1], portraits.parameters.rotation[:, 1]])
    assert torch.corrcoef(yaw)[0, 1] > 0.9
    assert file.stat().st_size < 2e6
