"""Face reconstruction from latent codes: the network, its training, and its weights."""

from pathlib import Path

import pytest
import torch

from datamodules.latent_pairs import LatentPairDataModule, PairRecipe
from lightning_modules.face_reconstruction import (
    ILLUMINATION_DEVIATION,
    DifferentiableFaceReconstruction,
    FaceReconstructionSettings,
    landmark_error,
    statistical_regulariser,
)
from lightning_modules.face_scene import FaceScene
from lightning_modules.frozen import freeze
from lightning_modules.render_loss import RenderLossWeights
from models.morphable import FaceParameters, ParameterSizes
from models.stylegan2 import load_generator
from models.stylerig import FaceReconstruction, Provenance
from models.weights import asset_path, load_weights, save_weights
from renderers.errors import InputError
from tests.tiny_stylerig import LAYERS, WIDTH, as_written, quiet_trainer, use_toy_face, write_networks
from tests.toy_face import SIZES


def data(**settings: object) -> LatentPairDataModule:
    return LatentPairDataModule(**{"batch_size": 4, "train_pairs": 400, "validation_pairs": 4, **settings})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("layers", "w_dim", "sizes"), [(18, 512, ParameterSizes()), (10, 128, ParameterSizes()), (3, 5, SIZES)]
)
def test_network_starts_near_the_mean_face(layers: int, w_dim: int, sizes: ParameterSizes) -> None:
    network = FaceReconstruction(layers, w_dim, sizes, hidden=32)
    parameters = network(torch.randn(4, layers, w_dim))
    assert parameters.shape == (4, sizes.total) and 0 < parameters.abs().max() < 0.2
    assert sum(isinstance(module, torch.nn.Linear) for module in network.modules()) == 3
    assert sum(isinstance(module, torch.nn.ELU) for module in network.modules()) == 2


def test_whitening_is_an_affine_map_of_the_codes() -> None:
    network, other = FaceReconstruction(3, 5, SIZES, 8), FaceReconstruction(3, 5, SIZES, 8)
    other.load_state_dict(network.state_dict())
    mean, std, codes = torch.randn(5), torch.rand(5) + 0.5, torch.randn(2, 3, 5)
    network.whiten_by(mean, std)
    torch.testing.assert_close(network(codes * std + mean), other(codes))
    network.whiten_by(mean, torch.tensor([1.0, 1, 1, 1, 0]))
    assert torch.isfinite(network(codes)).all()


def test_gradients_reach_codes_and_weights() -> None:
    network = FaceReconstruction(2, 3, SIZES, 6).double()
    codes = torch.randn(2, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(network, (codes,))


def test_codes_of_another_generator_are_refused() -> None:
    with pytest.raises(InputError, match=r"\(batch, 3, 5\)"):
        FaceReconstruction(3, 5, SIZES)(torch.zeros(1, 4, 5))


def test_regulariser_weighs_squares_as_published() -> None:
    ones = FaceParameters.zeros(2, SIZES).replace(rotation=torch.ones(2, 3))
    assert statistical_regulariser(ones) == 0
    full = ones.replace(
        identity=torch.full((2, SIZES.identity), 2.0),
        expression=torch.ones(2, SIZES.expression),
        reflectance=torch.ones(2, SIZES.reflectance),
    )
    expected = 4 * SIZES.identity + 0.8 * SIZES.expression + 1.7e-3 * SIZES.reflectance
    torch.testing.assert_close(statistical_regulariser(full), torch.tensor(expected))


def test_regulariser_weighs_skin_and_light_as_asked() -> None:
    """The light in units of its own deviation, all 27 coefficients of it; nothing of it unless asked for."""
    zeros = FaceParameters.zeros(2, SIZES)
    skin, light = zeros.replace(reflectance=torch.ones(2, SIZES.reflectance)), zeros.replace(illumination=torch.full((2, 27), 0.12))
    assert statistical_regulariser(light) == 0 and statistical_regulariser(zeros, 0.4, 1.0, 2.0) == 0
    torch.testing.assert_close(statistical_regulariser(skin, reflectance_ratio=0.5), torch.tensor(0.5 * SIZES.reflectance))
    expected = torch.tensor(2.0 * 27 * (0.12 / ILLUMINATION_DEVIATION) ** 2)
    torch.testing.assert_close(statistical_regulariser(light, illumination_ratio=2.0), expected)


def test_training_counts_skin_and_light_in_the_regulariser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_toy_face(monkeypatch)
    settings = FaceReconstructionSettings(hidden=8, reflectance_ratio=3.0, illumination_ratio=2.0, expression_deviation=0.4)
    module = DifferentiableFaceReconstruction(**write_networks(tmp_path), settings=settings)
    logged: dict[str, torch.Tensor] = {}
    monkeypatch.setattr(module, "log", lambda *_, **__: None)
    monkeypatch.setattr(module, "log_dict", lambda values, **_: logged.update(values))
    batch = PairRecipe(0).pairs(module.generator, "train", torch.arange(2), images=True)
    module.training_step(batch, 0)
    own = module.network.parameters_of(torch.cat([batch.w, batch.v]))
    torch.testing.assert_close(logged["train/regulariser"], statistical_regulariser(own, 0.4, 3.0, 2.0))
    assert logged["train/regulariser"] != statistical_regulariser(own, 0.4)


@pytest.mark.parametrize("ratio", ["reflectance_ratio", "illumination_ratio", "regulariser"])
def test_negative_weights_are_refused(ratio: str) -> None:
    with pytest.raises(InputError, match="weights of 0 or more"):
        FaceReconstructionSettings(**{ratio: -0.1})  # type: ignore[arg-type]


def test_landmark_error_is_a_mean_distance_over_66() -> None:
    observed = torch.zeros(1, 68, 2)
    found = observed + torch.tensor([3.0, 4.0])
    found[:, [60, 64]] = 1000
    assert landmark_error(found, observed).tolist() == [5.0]


def test_frozen_networks_stay_out_of_checkpoints_and_load_strictly() -> None:
    module = torch.nn.Module()
    module.trained = torch.nn.Linear(2, 2)
    module.fixed = freeze(torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3)))
    state = module.state_dict()
    assert set(state) == {"trained.weight", "trained.bias"} and not module.fixed.training
    before = module.fixed[0].weight.clone()
    module.load_state_dict({key: value + 1 for key, value in state.items()}, strict=True)
    assert torch.equal(module.fixed[0].weight, before) and not module.fixed[0].weight.requires_grad
    with pytest.raises(RuntimeError, match="Missing"):
        module.load_state_dict({"trained.bias": state["trained.bias"]}, strict=True)


@pytest.mark.parametrize("primitive", ["triangles", "points"])
def test_training_lowers_the_loss_and_writes_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, primitive: str
) -> None:
    use_toy_face(monkeypatch)
    scene = FaceScene(primitive=primitive)  # type: ignore[arg-type]
    settings = FaceReconstructionSettings(hidden=32, learning_rate=1e-2, landmark_steps=5)
    module = DifferentiableFaceReconstruction(**write_networks(tmp_path), scene=scene, settings=settings)
    batch = PairRecipe(0).pairs(module.generator, "validate", torch.arange(8), images=True)

    def error() -> float:
        codes, images, landmarks = module._observe(batch)
        return module.loss(*module.loss.targets(images, landmarks), module.network.parameters_of(codes)).landmark.item()

    before = error()
    quiet_trainer(tmp_path, max_steps=40, enable_checkpointing=False, limit_val_batches=1).fit(module, data())
    assert error() < 0.5 * before
    (figures,) = quiet_trainer(tmp_path).test(module, data(test_pairs=4), verbose=False)
    assert set(figures) == {"test/loss", "test/photometric", "test/landmark_error_px"}
    present = Provenance.of(module.generator, scene.load_face_model(), scene.camera)
    loaded = FaceReconstruction.load(tmp_path / "face_reconstruction.safetensors", present)
    codes = torch.randn(2, LAYERS, WIDTH)
    as_written(module.network)
    torch.testing.assert_close(loaded(codes), module(codes))
    assert all(key.startswith("network.") for key in module.state_dict())


def test_weights_know_their_generator_and_face_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_toy_face(monkeypatch)
    module = DifferentiableFaceReconstruction(**write_networks(tmp_path))
    path = module.network.save(tmp_path / "f.safetensors", module.provenance)
    (tmp_path / "other").mkdir()
    other = DifferentiableFaceReconstruction(**write_networks(tmp_path / "other", seed=1))
    with pytest.raises(InputError, match="expected the generator that"):
        FaceReconstruction.load(path, other.provenance)
    with pytest.raises(InputError, match="expected weights of kind"):
        FaceReconstruction.load(tmp_path / "generator.safetensors", module.provenance)
    state, config = load_weights(path, "face-reconstruction")
    short = save_weights(tmp_path / "short.safetensors", {**state, "code_mean": torch.zeros(2)}, "face-reconstruction", config)
    with pytest.raises(InputError, match="another size of code_mean"):
        FaceReconstruction.load(short, module.provenance)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="cut short"):
        FaceReconstruction.load(cut, module.provenance)


def test_shipped_network_fits_the_shipped_generator() -> None:
    generator = load_generator(asset_path("demo_generator.safetensors"))
    scene = FaceScene()
    present = Provenance.of(generator, scene.load_face_model(), scene.camera)
    network = FaceReconstruction.load(asset_path("demo_face_reconstruction.safetensors"), present)
    codes = PairRecipe(1).pairs(generator, "test", torch.arange(50)).w
    yaw = network.parameters_of(codes).rotation[:, 1].rad2deg()
    assert 8 < yaw.std() < 25


def test_only_trained_networks_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By `validate` and `test`; the validation within a fit looks at what is being trained."""
    use_toy_face(monkeypatch)
    settings = FaceReconstructionSettings(hidden=8, landmark_steps=1)
    module = DifferentiableFaceReconstruction(**write_networks(tmp_path), settings=settings)
    for verb in ("validate", "test"):
        with pytest.raises(InputError, match=f"to {verb}, got an untrained one; add --ckpt_path"):
            getattr(quiet_trainer(tmp_path), verb)(module, data(test_pairs=4), verbose=False)
    trainer = quiet_trainer(tmp_path, max_steps=1, enable_checkpointing=False, num_sanity_val_steps=1, val_check_interval=1)
    trainer.fit(module, data())
    assert "validate/landmark_error_px" in trainer.callback_metrics
    (figures,) = quiet_trainer(tmp_path).validate(module, data(), verbose=False)
    assert set(figures) == {"validate/loss", "validate/photometric", "validate/landmark_error_px"}


def test_training_is_the_same_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_toy_face(monkeypatch)
    networks, results = write_networks(tmp_path), []
    for _ in range(2):
        torch.manual_seed(3)
        module = DifferentiableFaceReconstruction(
            **networks, settings=FaceReconstructionSettings(hidden=8, landmark_steps=1)
        )
        quiet_trainer(tmp_path, max_steps=3, enable_checkpointing=False, limit_val_batches=0).fit(module, data())
        results.append(module.network.net[0].weight.detach().clone())
    assert torch.equal(*results)


def test_bad_settings_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_toy_face(monkeypatch)
    with pytest.raises(InputError, match="learning rate"):
        FaceReconstructionSettings(learning_rate=0.0)
    networks = write_networks(tmp_path)
    with pytest.raises(InputError, match="image_size"):
        DifferentiableFaceReconstruction(**networks, scene=FaceScene(image_size=64))
    with pytest.raises(InputError, match="found none"):
        DifferentiableFaceReconstruction(**{**networks, "landmarker": str(tmp_path / "none.safetensors")})
    module = DifferentiableFaceReconstruction(**networks, settings=FaceReconstructionSettings(loss=RenderLossWeights()))
    with pytest.raises(InputError, match="with images"):
        quiet_trainer(tmp_path, max_steps=1, enable_checkpointing=False, limit_val_batches=0).fit(
            module, data(images=False)
        )
