"""StyleRig trained otherwise than by default: the steering baseline, without a loss, with all controls, and what its file says."""

from pathlib import Path

import pytest
import torch
from torch import nn

from datamodules.latent_pairs import LatentPairDataModule, PairRecipe
from lightning_modules.face_reconstruction import DifferentiableFaceReconstruction, FaceReconstructionSettings
from lightning_modules.face_scene import FaceScene
from lightning_modules.nested_reconstruction import FaceReconstructionRun
from lightning_modules.rig_losses import Control
from lightning_modules.stylerig import StyleRig
from lightning_modules.stylerig_settings import StyleRigSettings
from models.stylerig import RigNet, RigSources, SteeringNetwork, load_rig_network, sources_of
from models.weights import PROJECT_ROOT
from renderers.errors import InputError
from tests.tiny_stylerig import quiet_trainer, use_toy_face, write_networks

ALL = [Control("rotation"), Control("expression", weight=10.0), Control("illumination", weight=0.5)]


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


def moved(networks: dict[str, str], **settings: object) -> StyleRig:
    """With a decoder of random numbers, the same for the same network."""
    rig = StyleRig(**networks, settings=StyleRigSettings(**settings))  # type: ignore[arg-type]
    nn.init.normal_(rig.rignet.decoder_weight, std=0.1, generator=torch.Generator().manual_seed(3))
    return rig


def losses_of(rig: StyleRig) -> dict[str, torch.Tensor]:
    return rig.pair_losses(PairRecipe(0).pairs(rig.generator, "train", torch.arange(3), images=True))


def fit(rig: StyleRig, folder: Path, steps: int = 2) -> None:
    data = LatentPairDataModule(batch_size=3, train_pairs=30, validation_pairs=4, test_pairs=4)
    quiet_trainer(folder, max_steps=steps, limit_val_batches=0, enable_checkpointing=False).fit(rig, data)


@pytest.mark.parametrize("controls", [[Control("illumination")], ALL])
@pytest.mark.parametrize("left_out", ["reconstruction", "consistency"])
def test_losses_of_no_weight_are_shown_and_not_followed(
    networks: dict[str, str], left_out: str, controls: list[Control]
) -> None:
    rigs = []
    for settings in ({}, {left_out: 0.0}):
        torch.manual_seed(0)
        rigs.append(moved(networks, controls=controls, **settings))
    full, ablated = (losses_of(rig) for rig in rigs)
    expected = torch.zeros(())
    for control in controls:
        suffix = f"_{control.component}" if len(controls) > 1 else ""
        terms = {"reconstruction": full["reconstruction"]}
        terms |= {name: control.weight * full[name + suffix] for name in ("edit", "consistency")}
        expected = expected + sum(value for name, value in terms.items() if name != left_out)
    torch.testing.assert_close(ablated["loss"], expected)
    for name in full.keys() - {"loss"}:
        torch.testing.assert_close(ablated[name], full[name])
        assert ablated[name].requires_grad == (not name.startswith(left_out))
    wanted, whole, followed = (
        torch.autograd.grad(loss, rig.rignet.decoder_weight, retain_graph=True)[0]
        for rig, loss in ((rigs[0], expected), (rigs[0], full["loss"]), (rigs[1], ablated["loss"]))
    )
    torch.testing.assert_close(followed, wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()))
    assert not torch.allclose(whole, wanted, rtol=1e-3)


def test_steering_is_trained_saved_and_trained_further(networks: dict[str, str], tmp_path: Path) -> None:
    settings = StyleRigSettings(network="steering", statistics_pairs=20, controls=ALL)
    rig = StyleRig(**networks, settings=settings)
    fit(rig, tmp_path / "run")
    loaded = load_rig_network(tmp_path / "run" / "rignet.safetensors", rig.provenance)
    assert isinstance(loaded, SteeringNetwork) and loaded.is_trained and (loaded.parameter_std != 1).any()
    assert loaded.components == ("rotation", "expression", "illumination")
    again = StyleRig(**networks, settings=settings, weights=str(tmp_path / "run" / "rignet.safetensors"))
    fit(again, tmp_path / "again")
    assert not torch.equal(again.rignet.state_dict()["decoder_weight"], loaded.decoder_weight)


def test_steering_has_no_reconstruction_loss(networks: dict[str, str]) -> None:
    rig = moved(networks, network="steering")
    results = losses_of(rig)
    results["loss"].backward()
    gradient = rig.rignet.decoder_weight.grad
    assert results["reconstruction"] == 0 and gradient is not None and gradient.abs().max() > 0
    assert results["edit"] > 0 and results["consistency"] > 0


def test_edits_of_the_module_are_those_of_its_network(networks: dict[str, str]) -> None:
    """What a code shows now, which the baseline asks for, is read by F."""
    for kind in ("rignet", "steering"):
        rig = moved(networks, network=kind)
        codes = PairRecipe(0).pairs(rig.generator, "test", torch.arange(2)).w
        assert rig.face_reconstruction is not None
        own = rig.face_reconstruction(codes)
        torch.testing.assert_close(rig(codes, own + 0.1), rig.rignet.edit(codes, own, own + 0.1))


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"network": "steering"}, "a rignet network that controls rotation with latents of 32"),
        ({"latent": 8}, "a rignet network that controls rotation with latents of 32"),
        ({"controls": ALL}, "a rignet network that controls rotation"),
    ],
)
def test_weights_of_other_settings_are_refused(
    networks: dict[str, str], tmp_path: Path, settings: dict[str, object], found: str
) -> None:
    rig = moved(networks)
    path = rig.rignet.save(tmp_path / "r.safetensors", rig.provenance, RigSources("g", "f", "m"))
    with pytest.raises(InputError, match=f"expected a .* network that controls .*holds {found}"):
        StyleRig(**networks, settings=StyleRigSettings(**settings), weights=str(path))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "settings", [{"consistency": -1.0}, {"reconstruction": -0.5}, {"learning_rate": 0.0}, {"latent": 0}, {"statistics_pairs": 0}]
)
def test_bad_settings_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(InputError, match="expected weights of 0 or more"):
        StyleRigSettings(**settings)  # type: ignore[arg-type]


def test_a_negative_weight_of_a_control_is_refused() -> None:
    with pytest.raises(InputError, match="a weight of 0 or more for expression, got -1.0"):
        Control("expression", weight=-1.0)


def test_rigs_say_where_their_networks_are(networks: dict[str, str], tmp_path: Path) -> None:
    """Files outside the project by absolute paths, whatever folder they were named from."""
    settings = StyleRigSettings(statistics_pairs=20)
    fit(StyleRig(**networks, settings=settings), tmp_path / "given", steps=1)
    sources = sources_of(tmp_path / "given" / "rignet.safetensors")
    assert sources == RigSources(networks["generator"], networks["face_reconstruction"], "procedural:coarse")
    run = FaceReconstructionRun(1, 2, FaceReconstructionSettings(hidden=8, landmark_steps=1))
    arguments = {**networks, "face_reconstruction": None, "settings": settings, "face_reconstruction_run": run}
    fit(StyleRig(**arguments), tmp_path / "own", steps=1)  # type: ignore[arg-type]
    own = tmp_path / "own"
    assert sources_of(own / "rignet.safetensors").face_reconstruction == str(own / "face_reconstruction.safetensors")


def test_shipped_files_are_named_relative_to_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    files = [f"assets/demo_{name}.safetensors" for name in ("generator", "landmarks", "face_reconstruction")]
    rig = StyleRig(str(PROJECT_ROOT / files[0]), files[1], files[2])
    assert isinstance(rig.rignet, RigNet) and rig.sources == RigSources(files[0], files[2], "procedural:coarse")


def test_sources_are_known_before_the_training(networks: dict[str, str]) -> None:
    """Neither a shipped face model by its name nor a file that moves meanwhile may cost the weights at the end of a fit."""
    rig = StyleRig(**networks, scene=FaceScene(face_model="procedural:coarse"))
    for name in ("generator", "face_reconstruction"):
        Path(networks[name]).rename(networks[name] + ".moved")
    assert rig.sources == RigSources(networks["generator"], networks["face_reconstruction"], "procedural:coarse")


def test_the_scene_names_its_face_model() -> None:
    assert FaceScene().face_model_source == "procedural:coarse"
    assert FaceScene(density="full").face_model_source == "procedural:full"
    assert FaceScene(face_model="my/basel.mat").face_model_source == "my/basel.mat"
