"""The face encoder of MoFA, and rigs that read codes by it from their pictures in place of F."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn

import cli
from datamodules.latent_pairs import LatentPairDataModule, PairRecipe
from evaluation.picture_readers import ReconstructionReader
from evaluation.run_checks.files import check_files
from evaluation.run_checks.kinds import identify
from evaluation.run_checks.references import Reference
from evaluation.run_checks.shapes import check_provenance
from lightning_modules.stylerig import StyleRig, StyleRigSettings
from models.latent_codes import LatentCodes, load_codes, save_codes
from models.morphable import ParameterSizes
from models.morphable.loading import save_face_model
from models.stylegan2 import Generator, load_generator
from models.stylegan2.digest import generator_digest
from models.stylerig import (
    FaceEncoder,
    FaceReconstruction,
    PictureReconstruction,
    Provenance,
    RigNet,
    RigSources,
    load_face_reconstruction,
    read_pictured,
    sources_of,
)
from models.stylerig.calibration import calibration_path, load_calibration
from models.stylerig.opening import open_rig
from renderers.camera import PerspectiveCamera
from renderers.errors import InputError
from tests.tiny_rig import tiny_generator
from tests.tiny_stylerig import LAYERS, RESOLUTION, WIDTH, quiet_trainer, use_toy_face, write_networks
from tests.toy_face import SIZES, toy_face_model

OF_PICTURES = Provenance.of(None, toy_face_model(), PerspectiveCamera())


def tiny_encoder(seed: int = 0) -> FaceEncoder:
    """An encoder whose readings differ clearly between pictures."""
    torch.manual_seed(seed)
    encoder = FaceEncoder(SIZES, widths=(4, 8), blocks=(1, 1), num_features=8, working_size=RESOLUTION)
    nn.init.normal_(encoder.readout.weight, std=0.5)
    return encoder.eval().requires_grad_(False)


@pytest.fixture
def networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Arguments of `StyleRig`, with a face encoder as what reads its codes."""
    use_toy_face(monkeypatch)
    return {**write_networks(tmp_path), "face_reconstruction": str(tiny_encoder().save(tmp_path / "e.safetensors", OF_PICTURES))}


def codes_of(generator: Generator, count: int, seed: int = 0) -> torch.Tensor:
    return generator.broadcast(generator.mapping(torch.randn(count, 10, generator=torch.Generator().manual_seed(seed)))).clone()


@pytest.mark.parametrize(("sizes", "side"), [(ParameterSizes(), 64), (ParameterSizes(), 100), (SIZES, 17)])
def test_network_starts_near_the_mean_face_whatever_the_pictures_size(sizes: ParameterSizes, side: int) -> None:
    network = FaceEncoder(sizes, widths=(4, 8), blocks=(1, 1), num_features=8)
    images = torch.rand(3, 3, side, side) * 2 - 1
    parameters = network(images)
    assert parameters.shape == (3, sizes.total) and 0 < parameters.abs().max() < 0.2
    assert torch.equal(network.eval().parameters_of(images).pack(), network(images))


def test_weights_are_read_as_written_for_any_generator(tmp_path: Path) -> None:
    encoder, images = tiny_encoder(), torch.rand(2, 3, 20, 20) * 2 - 1
    path = encoder.save(tmp_path / "e.safetensors", OF_PICTURES)
    read = FaceEncoder.load(path, replace(OF_PICTURES, generator="any generator"))
    # Half precision keeps 11 bits of a weight.
    torch.testing.assert_close(read(images), encoder(images), rtol=0.02, atol=2e-3)
    assert read.sizes == SIZES and read.working_size == RESOLUTION and not read.training
    assert not any(parameter.requires_grad for parameter in read.parameters())
    with pytest.raises(InputError, match="expected the face model that .*e.safetensors was trained for"):
        FaceEncoder.load(path, replace(OF_PICTURES, face_model=(1.0, 2.0)))
    with pytest.raises(InputError, match="expected the camera"):
        FaceEncoder.load(path, replace(OF_PICTURES, focal_length=3.0))
    with pytest.raises(InputError, match="leave it out"):
        encoder.save(tmp_path / "g.safetensors", replace(OF_PICTURES, generator="one generator"))


def test_codes_are_read_from_their_pictures_as_these_are_shown() -> None:
    """theta(v) = MoFA(I(v)) (PIE, equation 5)."""
    generator, encoder = tiny_generator(), tiny_encoder()
    reading, codes = PictureReconstruction(generator, encoder), codes_of(generator, 3) * 3
    images = generator.synthesis(codes, noise="const")
    assert images.abs().max() > 1
    torch.testing.assert_close(reading(codes), encoder(images.clamp(-1, 1)))
    assert torch.equal(reading.parameters_of(codes).rotation, reading(codes)[:, SIZES.slice("rotation")])
    assert (reading.num_layers, reading.w_dim, reading.sizes) == (LAYERS, WIDTH, SIZES)
    with pytest.raises(InputError, match=rf"\(batch, {LAYERS}, {WIDTH}\)"):
        reading(codes[:, 1:])


def test_gradients_of_what_is_read_reach_the_codes_through_the_generator() -> None:
    generator = tiny_generator()
    reading, codes = PictureReconstruction(generator, tiny_encoder()), codes_of(generator, 1).requires_grad_()
    weights = torch.randn(SIZES.total, generator=torch.Generator().manual_seed(2))
    (gradient,) = torch.autograd.grad(reading(codes)[0] @ weights, codes)
    step = 0.01 * gradient / gradient.norm()
    with torch.no_grad():
        ahead, behind = (reading(codes + sign * step)[0] @ weights for sign in (1, -1))
    assert float(gradient.norm()) > 0
    assert float(ahead - behind) / 0.02 == pytest.approx(float(gradient.norm()), rel=0.05)


def test_pictures_at_hand_are_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = tiny_generator()
    codes = codes_of(generator, 2)
    images = generator.synthesis(codes).clamp(-1, 1)
    by_picture, by_code = PictureReconstruction(generator, tiny_encoder()), FaceReconstruction(LAYERS, WIDTH, SIZES, hidden=4)
    expected = by_picture(codes)
    monkeypatch.setattr(generator, "synthesis", lambda *_, **__: pytest.fail("a picture was made"))
    assert torch.equal(read_pictured(by_picture, codes, images), expected)
    assert torch.equal(read_pictured(by_code, codes, images), by_code(codes))
    reader = ReconstructionReader(by_picture, torch.ones(SIZES.total))
    assert torch.equal(reader.read(images, codes).rotation, expected[:, SIZES.slice("rotation")])
    assert "autoencoder" in reader.name and "F" in ReconstructionReader(by_code, torch.ones(SIZES.total)).name


def test_a_file_says_who_reads(networks: dict[str, str], tmp_path: Path) -> None:
    generator = load_generator(networks["generator"])
    present = Provenance.of(generator, toy_face_model(), PerspectiveCamera())
    by_picture = load_face_reconstruction(networks["face_reconstruction"], present, generator)
    assert isinstance(by_picture, PictureReconstruction) and by_picture.generator is generator
    path = FaceReconstruction(LAYERS, WIDTH, SIZES, hidden=4).save(tmp_path / "f.safetensors", present)
    assert isinstance(load_face_reconstruction(path, present, generator), FaceReconstruction)
    with pytest.raises(InputError, match="expected a face-reconstruction or face-encoder file, .* is of kind 'landmark-net'"):
        load_face_reconstruction(networks["landmarker"], present, generator)


def test_losses_are_those_of_any_other_reader_with_fewer_pictures(
    networks: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pairs bring their pictures along: the generator makes those of the edited codes alone."""
    rig = StyleRig(**networks, settings=StyleRigSettings())
    nn.init.normal_(rig.rignet.decoder_weight, std=0.1)
    batch = PairRecipe(0).pairs(rig.generator, "train", torch.arange(3), images=True)
    made: list[int] = []
    synthesis = rig.generator.synthesis
    monkeypatch.setattr(rig.generator, "synthesis", lambda codes, **words: (made.append(len(codes)), synthesis(codes, **words))[1])
    losses = rig.pair_losses(batch)
    assert made == [6]
    reading = rig.face_reconstruction
    assert isinstance(reading, PictureReconstruction) and reading.generator is rig.generator

    class AnyReader(FaceReconstruction):
        """The same readings, of codes alone."""

        def forward(self, codes: torch.Tensor) -> torch.Tensor:
            return reading(codes)

    rig.face_reconstruction = AnyReader(LAYERS, WIDTH, SIZES, hidden=2)
    for name, value in rig.pair_losses(batch).items():
        torch.testing.assert_close(losses[name], value, rtol=1e-4, atol=1e-6)
    losses["loss"].backward()
    gradient = rig.rignet.decoder_weight.grad
    assert gradient is not None and gradient.abs().max() > 0 and torch.isfinite(gradient).all()
    assert all(parameter.grad is None for name, parameter in rig.named_parameters() if not name.startswith("rignet."))


def test_a_rig_is_trained_written_resumed_and_opened(networks: dict[str, str], tmp_path: Path) -> None:
    use = {**networks, "settings": StyleRigSettings(statistics_pairs=6)}

    def trained(folder: str, steps: int, resume: str | None = None) -> StyleRig:
        torch.manual_seed(0)
        rig = StyleRig(**use, output=str(tmp_path / folder / "rig.safetensors"))
        data = LatentPairDataModule(batch_size=3, train_pairs=30, validation_pairs=2)
        keep = ModelCheckpoint(tmp_path / folder, "after_{step}", every_n_train_steps=2, save_top_k=-1, auto_insert_metric_name=False)
        trainer = quiet_trainer(tmp_path / folder, max_steps=steps, limit_val_batches=0, callbacks=[keep])
        trainer.fit(rig, data, ckpt_path=resume)
        trainer.save_checkpoint(tmp_path / folder / "last.ckpt")
        return rig

    rig = trained("whole", 4)
    checkpoint = torch.load(tmp_path / "whole" / "last.ckpt", weights_only=False)["state_dict"]
    assert checkpoint and all(name.startswith("rignet.") for name in checkpoint)
    resumed = trained("resumed", 4, resume=str(tmp_path / "whole" / "after_2.ckpt"))
    assert torch.equal(resumed.rignet.decoder_weight, rig.rignet.decoder_weight)
    assert rig.rignet.is_trained
    pairs = PairRecipe(0).pairs(rig.generator, "train", torch.arange(6))
    read = rig.face_reconstruction(torch.cat([pairs.w, pairs.v]))  # type: ignore[misc]
    torch.testing.assert_close(rig.rignet.parameter_std[SIZES.slice("rotation")], read.std(dim=0)[SIZES.slice("rotation")])

    path = tmp_path / "whole" / "rig.safetensors"
    assert sources_of(path).face_reconstruction == networks["face_reconstruction"]  # type: ignore[union-attr]
    face = str(save_face_model(tmp_path / "face.safetensors", toy_face_model(), "toy"))
    opened = open_rig([path], face_model=face)
    assert isinstance(opened.rig.face_reconstruction, PictureReconstruction)
    assert opened.rig.face_reconstruction.generator is opened.generator
    codes = codes_of(opened.generator, 2)
    torch.testing.assert_close(opened.rig.parameters_of(codes).pack(), rig.face_reconstruction(codes))  # type: ignore[misc]
    target = opened.rig.parameters_of(codes).replace(rotation=torch.full((2, 3), 0.3))
    assert not torch.equal(opened.rig.edit(codes, target, ("rotation",)), codes)


@pytest.fixture
def rig_file(networks: dict[str, str], tmp_path: Path) -> Path:
    """A rig of random weights that names a face encoder."""
    face = str(save_face_model(tmp_path / "face.safetensors", toy_face_model(), "toy"))
    generator = load_generator(networks["generator"])
    present = Provenance.of(generator, toy_face_model(), PerspectiveCamera())
    rig = RigNet(LAYERS, WIDTH, ("rotation",), SIZES, latent=4)
    nn.init.normal_(rig.decoder_weight, std=0.2)
    path = rig.save(tmp_path / "rig.safetensors", present, RigSources(networks["generator"], networks["face_reconstruction"], face))
    save_codes(tmp_path / "codes.safetensors", LatentCodes(codes_of(generator, 3), tuple("abc"), generator_digest(generator)))
    return path


def test_rigs_by_f_and_by_pictures_do_not_mix_unasked(rig_file: Path, networks: dict[str, str], tmp_path: Path) -> None:
    other = RigNet(LAYERS, WIDTH, ("expression",), SIZES, latent=4)
    nn.init.normal_(other.decoder_weight, std=0.2)
    own = open_rig([rig_file])
    f = FaceReconstruction(LAYERS, WIDTH, SIZES, hidden=4).save(tmp_path / "f.safetensors", own.provenance)
    second = other.save(tmp_path / "second.safetensors", own.provenance, replace(own.sources, face_reconstruction=str(f)))
    with pytest.raises(InputError, match="one face reconstruction, .*e.safetensors and .*f.safetensors; give --face_reconstruction"):
        open_rig([rig_file, second])
    both = open_rig([rig_file, second], face_reconstruction=networks["face_reconstruction"])
    assert isinstance(both.rig.face_reconstruction, PictureReconstruction) and both.rig.components == ("rotation", "expression")


def test_codes_are_edited_and_rigs_calibrated_on_the_command_line(rig_file: Path, tmp_path: Path) -> None:
    words = ["--rig", str(rig_file), "--device", "cpu"]
    cli.main(["edit", *words, "--codes", str(tmp_path / "codes.safetensors"), "--yaw-deg", "15", "--output", str(tmp_path / "out")])
    edited, own = load_codes(tmp_path / "out" / "codes.safetensors"), load_codes(tmp_path / "codes.safetensors")
    opened = open_rig([rig_file])
    target = opened.rig.parameters_of(own.w_plus)
    rotation = target.rotation.clone()
    rotation[:, 1] = torch.deg2rad(torch.tensor(15.0))
    expected = opened.rig.edit(own.w_plus, target.replace(rotation=rotation), ("rotation",))
    torch.testing.assert_close(edited.w_plus, expected, rtol=1e-4, atol=1e-5)
    few = ["--judge", "null", "--controls", "yaw", "--codes", "10", "--samples", "20"]
    cli.main(["calibrate", *words, *few])
    assert load_calibration(calibration_path(rig_file)).names == ("yaw",)


def test_run_checks_know_face_encoders(networks: dict[str, str]) -> None:
    path, generator = Path(networks["face_reconstruction"]), Path(networks["generator"])
    references = [
        Reference("model.face_reconstruction", str(path), "StyleRig", "face_reconstruction", "input", ("model",)),
        Reference("model.face_encoder", str(path), "PIE", "face_encoder", "input", ("model",)),
        Reference("model.generator", str(generator), "StyleRig", "generator", "input", ("model",)),
    ]
    checks, artefacts = check_files(references)
    assert [check.status for check in checks] == ["ok", "ok", "ok"] and identify(path).kind == "face encoder"
    # It was trained for no generator, so that any is right.
    assert check_provenance(artefacts) == []
    wrong = Reference("model.face_encoder", str(generator), "PIE", "face_encoder", "input", ("model",))
    assert check_files([wrong])[0][0].status == "fix"
