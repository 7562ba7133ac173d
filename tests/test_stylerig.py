"""StyleRig's training: equations, both directions, resumption, checks, and a case whose solution is known."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from datamodules.latent_pairs import LatentPairDataModule, LatentPairs, PairRecipe
from evaluation.stylerig.measuring import StyleRigEdits, _of_all_ranks
from lightning_modules.face_reconstruction import DifferentiableFaceReconstruction, FaceReconstructionSettings
from lightning_modules.nested_reconstruction import FaceReconstructionRun
from lightning_modules.rig_losses import Control
from lightning_modules.stylerig import StyleRig, StyleRigSettings
from models.morphable import FaceParameters
from models.stylerig import FaceReconstruction, RigNet, RigSources, preserved_components
from renderers.errors import InputError
from renderers.images import to_signed
from tests.tiny_stylerig import LAYERS, WIDTH, as_written, quiet_trainer, use_toy_face, write_networks
from tests.toy_face import SIZES


@pytest.fixture
def networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Arguments of `StyleRig`: tiny untrained networks, and a face reconstruction for them."""
    use_toy_face(monkeypatch)
    arguments = write_networks(tmp_path)
    module = DifferentiableFaceReconstruction(**arguments, settings=FaceReconstructionSettings(hidden=16))
    with torch.no_grad():
        module.network.net[4].weight.mul_(30)
    path = module.network.save(tmp_path / "f.safetensors", module.provenance)
    return {**arguments, "face_reconstruction": str(path)}


def data(**settings: object) -> LatentPairDataModule:
    return LatentPairDataModule(
        **{"batch_size": 3, "train_pairs": 30, "validation_pairs": 4, "test_pairs": 6, **settings}
    )  # type: ignore[arg-type]


class LinearFaces(FaceReconstruction):
    """An analytic reconstruction: parameters are an orthonormal linear reading of the codes, scaled to plausible faces."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        reading = torch.linalg.qr(torch.randn(LAYERS * WIDTH, SIZES.total, generator=torch.Generator().manual_seed(0)))[
            0
        ]
        self.sizes = SIZES
        scale = torch.ones(SIZES.total)
        for component, value in (("rotation", 0.25), ("illumination", 0.08), ("translation", 0.1)):
            scale[SIZES.slice(component)] = value
        self.register_buffer("reading", reading * scale)

    def forward(self, codes: Tensor) -> Tensor:
        return codes.flatten(1) @ self.reading

    def parameters_of(self, codes: Tensor) -> FaceParameters:
        return FaceParameters.unpack(self(codes), self.sizes)


def test_losses_are_the_papers(networks: dict[str, str]) -> None:
    """Against the equations of section 7 written out, one direction and one pair at a time."""
    rig = StyleRig(**networks, settings=StyleRigSettings(normalised=False, controls=[Control("expression", 3.0)]))
    nn.init.normal_(rig.rignet.decoder_weight, std=0.1)
    batch = PairRecipe(0).pairs(rig.generator, "train", torch.arange(3), images=True)
    results = rig.pair_losses(batch)
    network, loss, total = rig.face_reconstruction, rig.losses[0].loss, 0.0
    assert network is not None
    for k in range(3):
        for w, v, image_w, image_v in (
            (batch.w, batch.v, batch.image_w, batch.image_v),
            (batch.v, batch.w, batch.image_v, batch.image_w),
        ):
            w, v, image_w, image_v = w[k : k + 1], v[k : k + 1], image_w[k : k + 1], image_v[k : k + 1]
            p_w, p_v = network.parameters_of(w), network.parameters_of(v)
            reconstruction = (rig.rignet(w, network(w)) - w).square().sum()
            p_hat = network.parameters_of(rig.rignet(w, network(v)))
            p_edit = p_v.replace(expression=p_hat.expression)
            p_consist = p_hat.replace(expression=p_w.expression, translation=p_w.translation)
            edit = loss(*loss.targets(image_v, rig.landmarker(image_v)), p_edit).total
            consist = loss(*loss.targets(image_w, rig.landmarker(image_w)), p_consist).total
            total = total + (reconstruction + edit + consist) / 6
    torch.testing.assert_close(results["loss"], total, rtol=1e-4, atol=0)
    torch.testing.assert_close(results["loss"], results["reconstruction"] + results["edit"] + results["consistency"])


def test_networks_for_several_controls_sum_weighted_losses(networks: dict[str, str]) -> None:
    """Section 8.5: a sample per control, in which that component alone is asked for."""
    controls = [Control("rotation", 17.5, 1.0), Control("illumination", 7.8, 0.5)]
    rig = StyleRig(**networks, settings=StyleRigSettings(controls=controls))
    nn.init.normal_(rig.rignet.decoder_weight, std=0.1)
    assert rig.rignet.components == ("rotation", "illumination")
    results = rig.pair_losses(PairRecipe(0).pairs(rig.generator, "train", torch.arange(2), images=True))
    expected = 2 * results["reconstruction"]  # equation 2 holds for each sample of a pair
    for control in controls:
        expected = expected + control.weight * (
            results[f"edit_{control.component}"] + results[f"consistency_{control.component}"]
        )
    torch.testing.assert_close(results["loss"], expected)


def test_only_rignet_is_trained_and_saved(networks: dict[str, str]) -> None:
    rig = StyleRig(**networks)
    nn.init.normal_(rig.rignet.decoder_weight, std=0.1)
    rig.pair_losses(PairRecipe(0).pairs(rig.generator, "train", torch.arange(2), images=True))["loss"].backward()
    assert all(key.startswith("rignet.") for key in rig.state_dict())
    for name, parameter in rig.named_parameters():
        assert parameter.requires_grad == name.startswith("rignet.")
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0


def test_known_linear_world_is_rigged(
    networks: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With faces that are a linear reading of the codes, an exact edit that changes nothing else exists: training nears it."""
    settings = StyleRigSettings(learning_rate=2e-2, statistics_pairs=100)
    rig = StyleRig(**networks, settings=settings)
    faces = LinearFaces()
    rig.face_reconstruction = faces  # type: ignore[assignment]
    renderer = rig.losses[0].loss.renderer

    def picture(codes: Tensor, noise: str = "const") -> Tensor:
        return to_signed(renderer(faces.parameters_of(codes)).image)

    class TrueLandmarks(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return renderer.project_landmarks(faces.parameters_of(self.codes))

    landmarker = TrueLandmarks()
    original = rig._observe

    def observe(codes: Tensor, images: Tensor) -> tuple[Tensor, FaceParameters]:
        landmarker.codes = codes
        return original(codes, images)

    rig.landmarker = landmarker  # type: ignore[assignment]
    monkeypatch.setattr(rig, "_observe", observe)
    monkeypatch.setattr(rig.generator, "synthesis", picture)
    quiet_trainer(tmp_path, max_steps=250, enable_checkpointing=False, limit_val_batches=0).fit(
        rig, data(batch_size=8, train_pairs=4000)
    )
    pairs = PairRecipe(0).pairs(rig.generator, "test", torch.arange(64))
    asked, own = faces.parameters_of(pairs.v), faces.parameters_of(pairs.w)
    achieved = faces.parameters_of(rig(pairs.w, asked.pack()))

    def distance(first: FaceParameters, second: FaceParameters, component: str) -> float:
        return (getattr(first, component) - getattr(second, component)).norm(dim=1).median().item()

    assert distance(achieved, asked, "rotation") < 0.25 * distance(own, asked, "rotation")
    for component in preserved_components("rotation"):
        assert distance(achieved, own, component) < 0.5 * distance(asked, own, component), component


def test_fit_writes_weights_and_resumes_exactly(networks: dict[str, str], tmp_path: Path) -> None:
    def train(steps: int, folder: str, resume: str | None = None) -> StyleRig:
        torch.manual_seed(5)
        rig = StyleRig(**networks, settings=StyleRigSettings(statistics_pairs=20, decay=False))
        trainer = quiet_trainer(tmp_path / folder, max_steps=steps, limit_val_batches=0, enable_checkpointing=False)
        trainer.fit(rig, data(), ckpt_path=resume)
        trainer.save_checkpoint(tmp_path / folder / "end.ckpt")
        return rig

    straight = train(8, "straight")
    train(5, "stopped")
    resumed = train(8, "resumed", str(tmp_path / "stopped" / "end.ckpt"))
    assert straight.rignet.decoder_weight.abs().max() > 0
    torch.testing.assert_close(resumed.rignet.decoder_weight, straight.rignet.decoder_weight)
    loaded = RigNet.load(tmp_path / "straight" / "rignet.safetensors", straight.provenance)
    assert torch.equal(loaded.parameter_std, straight.rignet.parameter_std) and (loaded.parameter_std != 1).any()


def test_a_face_reconstruction_is_not_trained_for_no_step() -> None:
    with pytest.raises(InputError, match="at least 1 step"):
        FaceReconstructionRun(steps=0)


def test_missing_face_reconstruction_is_trained_first(networks: dict[str, str], tmp_path: Path) -> None:
    run = FaceReconstructionRun(3, 2, FaceReconstructionSettings(hidden=8, landmark_steps=1))
    settings = StyleRigSettings(statistics_pairs=20)
    arguments = {**networks, "face_reconstruction": None, "settings": settings, "face_reconstruction_run": run}
    for _ in range(2):
        rig = StyleRig(**arguments)  # type: ignore[arg-type]
        quiet_trainer(tmp_path / "run", max_steps=2, limit_val_batches=0, enable_checkpointing=False).fit(rig, data())
        written = tmp_path / "run" / "face_reconstruction.safetensors"
        changed = written.stat().st_mtime_ns
        assert rig.face_reconstruction is not None and rig.face_reconstruction.hidden == 8
    # The second run found what the first had trained.
    assert written.stat().st_mtime_ns == changed


def test_nested_training_follows_the_run(networks: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F is trained on pairs of the run's own recipe, under its precision."""
    seen: list[tuple[PairRecipe, str]] = []
    original = DifferentiableFaceReconstruction.on_fit_end

    def record(module: DifferentiableFaceReconstruction) -> None:
        seen.append((module.trainer.datamodule.recipe, module.trainer.precision))  # type: ignore[attr-defined]
        original(module)

    monkeypatch.setattr(DifferentiableFaceReconstruction, "on_fit_end", record)
    run = FaceReconstructionRun(2, 2, FaceReconstructionSettings(hidden=8, landmark_steps=1))
    rig = StyleRig(
        networks["generator"], networks["landmarker"], None, settings=StyleRigSettings(statistics_pairs=20),
        face_reconstruction_run=run,
    )  # fmt: skip
    trainer = quiet_trainer(tmp_path, max_steps=1, limit_val_batches=0, enable_checkpointing=False, precision="bf16-mixed")
    trainer.fit(rig, data(seed=7, truncation=0.6, max_latents=2))
    assert seen == [(PairRecipe(7, 2, 0.6), "bf16-mixed")]


def test_weights_are_tested_and_started_from(networks: dict[str, str], tmp_path: Path) -> None:
    settings = StyleRigSettings(statistics_pairs=20)
    rig = StyleRig(**networks, settings=settings)
    for verb in ("validate", "test"):
        with pytest.raises(InputError, match=f"to {verb}, got an untrained one; add --model.weights"):
            getattr(quiet_trainer(tmp_path), verb)(rig, data(), verbose=False)
    nn.init.normal_(rig.rignet.decoder_weight, std=0.1)
    rig.rignet.parameter_mean.fill_(0.25)
    path = str(rig.rignet.save(tmp_path / "trained.safetensors", rig.provenance, RigSources("g", "f", "m")))
    loaded = StyleRig(**networks, settings=settings, weights=path)
    as_written(rig.rignet)
    assert torch.equal(loaded.rignet.decoder_weight, rig.rignet.decoder_weight)
    for verb in ("validate", "test"):
        first, second = (getattr(quiet_trainer(tmp_path), verb)(module, data(), verbose=False)[0] for module in (rig, loaded))
        assert first == pytest.approx(second) and f"{verb}/consistency" in first
    quiet_trainer(tmp_path, max_steps=1, limit_val_batches=0, enable_checkpointing=False).fit(loaded, data())
    assert not torch.equal(loaded.rignet.decoder_weight, rig.rignet.decoder_weight)
    assert (loaded.rignet.parameter_mean == 0.25).all()
    with pytest.raises(InputError, match="controls expression"):
        StyleRig(**networks, settings=StyleRigSettings(controls=[Control("expression")]), weights=path)


def test_fits_of_untrained_networks_are_validated(networks: dict[str, str], tmp_path: Path) -> None:
    rig = StyleRig(**networks, settings=StyleRigSettings(statistics_pairs=20))
    trainer = quiet_trainer(tmp_path, max_steps=1, enable_checkpointing=False, num_sanity_val_steps=1, val_check_interval=1)
    trainer.fit(rig, data())
    assert "validate/loss" in trainer.callback_metrics


def test_trained_networks_are_measured_with_their_own_face_reconstruction(networks: dict[str, str], tmp_path: Path) -> None:
    """A face reconstruction trained for the measurement alone would read other parameters."""
    rig = StyleRig(networks["generator"], networks["landmarker"], None)
    with pytest.raises(InputError, match="expected the face_reconstruction that the RigNet was trained with, got null"):
        quiet_trainer(tmp_path / "test").test(rig, data(), verbose=False)
    assert not (tmp_path / "test" / "face_reconstruction.safetensors").exists()


def test_controls_have_the_published_landmark_weights() -> None:
    values = {name: Control(name).landmark_weight for name in ("rotation", "expression", "illumination")}  # type: ignore[arg-type]
    assert values == {"rotation": 17.5, "expression": 100.0, "illumination": 7.8}
    assert Control("expression", 3.0).landmark_weight == 3.0


def test_face_reconstruction_of_another_generator_is_refused(networks: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = write_networks(tmp_path / "other", seed=1)
    with pytest.raises(InputError, match="generator that"):
        StyleRig(**{**networks, **other})


def test_other_data_and_codes_without_pictures_are_refused(networks: dict[str, str], tmp_path: Path) -> None:
    trainer = quiet_trainer(tmp_path, max_steps=1, limit_val_batches=0, enable_checkpointing=False)
    with pytest.raises(InputError, match="with images"):
        trainer.fit(StyleRig(**networks), data(images=False))
    with pytest.raises(InputError, match="LatentPairDataModule"):
        loader = torch.utils.data.DataLoader(torch.zeros(4, 1))
        quiet_trainer(tmp_path, max_steps=1, limit_val_batches=0, enable_checkpointing=False).fit(
            StyleRig(**networks), loader
        )


def test_rotation_edits_are_measured_in_test_runs_and_after_fits(networks: dict[str, str], tmp_path: Path) -> None:
    rig = StyleRig(**networks, settings=StyleRigSettings(statistics_pairs=20))
    settings = {"enable_checkpointing": False, "max_steps": 2, "val_check_interval": 2, "check_val_every_n_epoch": None}
    quiet_trainer(tmp_path / "fit", callbacks=[StyleRigEdits()], **settings).fit(rig, data())
    quiet_trainer(tmp_path / "test", callbacks=[StyleRigEdits()]).test(rig, data(), verbose=False)
    texts = [(tmp_path / verb / StyleRigEdits.file_of("rotation")).read_text() for verb in ("fit", "test")]
    assert '"pairs": 4' in texts[0] and '"pairs": 6' in texts[1] and '"change_ratio": {}' in texts[1]


def test_pairs_of_the_sanity_check_are_not_measured(networks: dict[str, str], tmp_path: Path) -> None:
    rig = StyleRig(**networks, settings=StyleRigSettings(statistics_pairs=20))
    settings = {"enable_checkpointing": False, "max_steps": 1, "num_sanity_val_steps": 1, "val_check_interval": 2}
    quiet_trainer(tmp_path, callbacks=[StyleRigEdits()], check_val_every_n_epoch=None, **settings).fit(rig, data())
    assert not (tmp_path / StyleRigEdits.file_of("rotation")).exists()


@pytest.mark.parametrize("others", [0, 2])
def test_a_rank_without_pairs_takes_part(others: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would leave the others waiting."""
    pairs = [LatentPairs(torch.tensor([3, 1]), torch.ones(2, 6, 4), torch.zeros(2, 6, 4))]

    def gather(gathered: list[object], own: object) -> None:
        gathered[:] = [own, [tuple(pair[:3]) for pair in pairs[:others]]]

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    found = _of_all_ranks([])
    assert found is None if not others else found.indices.tolist() == [1, 3]
