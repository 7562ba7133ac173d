"""F3D: its loss, its training on fitted faces, what is measured of it, and its weights."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from datamodules.face_fits.fitting import FaceFits
from datamodules.face_fits.shards import FitPlan, save_shard
from datamodules.fitted_faces import FittedFacesDataModule
from datamodules.latent_pairs import LatentPairDataModule
from lightning_modules.code_coefficients import (
    CodeCoefficientsModule,
    CodeCoefficientsSettings,
    coefficient_errors,
    coefficient_loss,
    colour_error,
)
from lightning_modules.face_scene import FaceScene
from models.morphable import COMPONENTS, FaceParameters
from models.stylefaceuv import CodeCoefficients
from models.stylefaceuv.loading import load_code_reader
from models.stylegan2 import load_generator
from models.stylerig import FaceReconstruction, ParameterStatistics, Provenance
from renderers.errors import InputError
from renderers.images import to_signed
from tests.tiny_stylerig import LAYERS, WIDTH, quiet_trainer, use_toy_face, write_networks
from tests.toy_face import SIZES, toy_parameters

TINY = CodeCoefficientsSettings(hidden=(2, 1), learning_rate=1e-2)
COUNT = 240


@pytest.fixture
def generator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    use_toy_face(monkeypatch)
    return write_networks(tmp_path)["generator"]


def provenance_of(generator: str) -> Provenance:
    scene = FaceScene()
    return Provenance.of(load_generator(generator), scene.load_face_model(), scene.camera)


def write_fits(folder: Path, generator: str, provenance: Provenance | None = None) -> FittedFacesDataModule:
    """Fits that are linear in the whitened code, as if faces had been fitted to the pictures of `COUNT` codes."""
    network = load_generator(generator)
    with torch.no_grad():
        w = network.mapping(torch.randn(COUNT, network.z_dim))
    mixing = toy_parameters(WIDTH, seed=3, spread=0.3).pack()
    parameters = FaceParameters.unpack((w - network.mean_w) / network.std_w @ mixing + 0.2, SIZES)
    nothing, whole = torch.zeros(COUNT), torch.zeros(COUNT, dtype=torch.int64)
    plan = FitPlan(COUNT, COUNT, {}, provenance or provenance_of(generator), SIZES)
    fits = FaceFits(parameters, nothing, nothing, nothing, whole, whole, whole)
    names = tuple(str(number) for number in range(COUNT))
    save_shard(plan.path(folder, 0), plan, range(COUNT), fits, network.broadcast(w), names)
    return FittedFacesDataModule(str(folder), batch_size=16, validation_fraction=0.2)


def rows(*values: float) -> Tensor:
    """Packed parameters whose six components have one value each."""
    widths = SIZES.widths
    return torch.cat([torch.full((1, width), float(value)) for width, value in zip(widths, values, strict=True)], dim=1)


def test_loss_is_the_mean_over_coefficients_or_alike_over_components():
    fitted, predicted = rows(*[0.0] * 6), rows(1, 0, 0, 2, 0, 0)
    published = (SIZES.identity * 1 + SIZES.rotation * 2) / SIZES.total
    torch.testing.assert_close(coefficient_loss(predicted, fitted, SIZES), torch.tensor(published))
    alike = coefficient_loss(predicted, fitted, SIZES, rows(0.5, 1, 1, 4, 1, 1)[0])
    torch.testing.assert_close(alike, torch.tensor((1 / 0.5 + 2 / 4) / 6))


def test_errors_are_told_by_component():
    fitted = FaceParameters.zeros(2, SIZES)
    turned = fitted.replace(rotation=torch.tensor([[0.0, 0.1, 0.0], [0.0, 0.3, 0.0]]))
    errors = coefficient_errors(turned.replace(identity=torch.full((2, SIZES.identity), -0.5)), fitted)
    assert set(errors) == {*COMPONENTS, "rotation_deg"} and errors["expression"] == 0
    torch.testing.assert_close(errors["identity"], torch.tensor(0.5))
    torch.testing.assert_close(errors["rotation"], torch.tensor(0.4 / 6))
    torch.testing.assert_close(errors["rotation_deg"], torch.tensor(0.2).rad2deg(), rtol=1e-3, atol=1e-3)


def test_colours_of_its_own_rendering_have_no_error(generator):
    module = CodeCoefficientsModule(generator, settings=TINY)
    faces = toy_parameters(2, spread=0.5)
    own = to_signed(module.renderer(faces).image)
    torch.testing.assert_close(colour_error(module.renderer, faces, own), torch.zeros(2), atol=1e-4, rtol=0)
    brighter = colour_error(module.renderer, faces, own + 0.2)
    torch.testing.assert_close(brighter, torch.full((2,), 0.1 * 3**0.5), atol=1e-4, rtol=1e-4)
    # A face that is out of the picture agrees with nothing in it.
    away = faces.replace(translation=torch.tensor([[50.0, 0.0, 0.0]]).expand(2, -1))
    assert bool(colour_error(module.renderer, away, own).isinf().all())


def test_fits_are_learnt_and_the_weights_written(tmp_path, generator):
    """Held-out codes are read far better than by the mean of the fits; the file reads the same, also where any reader is taken."""
    data = write_fits(tmp_path / "fits", generator)
    module = CodeCoefficientsModule(generator, settings=TINY)
    quiet_trainer(tmp_path, max_steps=100, enable_checkpointing=False, limit_val_batches=1).fit(module, data)
    (figures,) = quiet_trainer(tmp_path).test(module, data, verbose=False)
    for name in ("loss", "identity", "expression", "rotation_deg", "landmarks_px"):
        assert figures[f"test/{name}"] < 0.6 * figures[f"test/{name}_of_mean"], name
    assert figures["test/colours"] > 0 and figures["test/colours_of_fit"] > 0
    written, codes = tmp_path / "code_coefficients.safetensors", torch.randn(3, LAYERS, WIDTH)
    loaded = CodeCoefficients.load(written, module.provenance)
    torch.testing.assert_close(loaded(codes), module(codes), rtol=2e-2, atol=2e-2)
    reader = load_code_reader(written, module.provenance, module.generator)
    assert isinstance(reader, CodeCoefficients) and torch.equal(reader(codes), loaded(codes))
    assert all(key.startswith("network.") for key in module.state_dict())


def test_normalised_outputs_count_in_the_fits_deviations_and_published_ones_do_not(tmp_path, generator):
    data = write_fits(tmp_path / "fits", generator)
    published = CodeCoefficientsSettings(hidden=(2, 1), normalised=False, learning_rate=1e-2, milestones=(1, 2))
    for settings in (TINY, published):
        module = CodeCoefficientsModule(generator, settings=settings)
        trainer = quiet_trainer(tmp_path, max_epochs=3, limit_train_batches=1, limit_val_batches=0)
        trainer.fit(module, data)
        statistics = ParameterStatistics.over([data.training_parameters])
        # Held-out faces take no part.
        assert len(data.training_parameters) < COUNT
        network, plain = module.network, torch.ones(SIZES.total)
        torch.testing.assert_close(network.parameter_std, statistics.std if settings is TINY else plain)
        torch.testing.assert_close(network.code_std, module.generator.std_w if settings is TINY else torch.ones(WIDTH))
        (rate,) = trainer.optimizers[0].param_groups
        # Along the half cosine to nothing; a tenth after each milestone.
        assert rate["lr"] == pytest.approx(0.0 if settings is TINY else 1e-4, abs=1e-9)


def test_another_reader_is_measured_on_the_same_codes(tmp_path, generator):
    data, provenance = write_fits(tmp_path / "fits", generator), provenance_of(generator)
    f = FaceReconstruction(LAYERS, WIDTH, SIZES, hidden=4)
    path = str(f.save(tmp_path / "f.safetensors", provenance))
    module = CodeCoefficientsModule(generator, settings=TINY, face_reconstruction=path)
    trainer = quiet_trainer(tmp_path, max_steps=1, enable_checkpointing=False, check_val_every_n_epoch=None)
    trainer.fit(module, data)
    (figures,) = quiet_trainer(tmp_path).validate(module, data, verbose=False)
    batches = list(data.val_dataloader())
    codes = torch.cat([batch.codes for batch in batches])
    fitted = torch.cat([batch.parameters for batch in batches])
    read = FaceReconstruction.load(path, provenance).parameters_of(codes)
    for name, value in coefficient_errors(read, FaceParameters.unpack(fitted, SIZES)).items():
        assert figures[f"validate/{name}_of_f"] == pytest.approx(float(value), rel=1e-4)
    assert "validate/colours" not in figures


def test_a_run_goes_on_where_it_stopped(tmp_path, generator):
    """Six steps are six steps, whether or not the run was interrupted after three."""
    results = []
    for interrupted in (False, True):
        folder = tmp_path / str(interrupted)
        torch.manual_seed(4)
        module = CodeCoefficientsModule(generator, settings=CodeCoefficientsSettings(hidden=(1,), milestones=(9,)))
        checkpoint = None
        for steps in (3, 6) if interrupted else (6,):
            torch.manual_seed(1)
            data = write_fits(tmp_path / "fits", generator)
            trainer = quiet_trainer(folder, max_steps=steps, limit_val_batches=0)
            trainer.fit(module, data, ckpt_path=checkpoint)
            checkpoint = str(folder / "last.ckpt")
            trainer.save_checkpoint(checkpoint)
            module = module if steps == 6 else CodeCoefficientsModule(generator, settings=module.settings)
        results.append(module.network.geometry[0].weight.detach().clone())
    torch.testing.assert_close(*results)


def test_only_trained_networks_are_measured(tmp_path, generator):
    data, module = write_fits(tmp_path / "fits", generator), CodeCoefficientsModule(generator, settings=TINY)
    for verb in ("validate", "test"):
        with pytest.raises(InputError, match=f"to {verb}, got an untrained one; add --ckpt_path"):
            getattr(quiet_trainer(tmp_path), verb)(module, data, verbose=False)


def test_other_data_and_fits_of_something_else_are_refused(tmp_path, generator):
    module, trainer = CodeCoefficientsModule(generator, settings=TINY), quiet_trainer(tmp_path, max_steps=1)
    with pytest.raises(InputError, match="expected fitted faces to learn from, got a LatentPairDataModule"):
        trainer.fit(module, LatentPairDataModule(batch_size=2, train_pairs=4))
    (tmp_path / "other").mkdir()
    other = provenance_of(write_networks(tmp_path / "other", seed=1)["generator"])
    with pytest.raises(InputError, match="expected the generator that what is fitted in"):
        trainer.fit(module, write_fits(tmp_path / "fits", generator, other))


def test_files_of_other_kinds_and_wrong_settings_are_refused(tmp_path, generator):
    network = load_generator(generator)
    with pytest.raises(InputError, match="expected a code-coefficients, face-reconstruction or face-encoder file"):
        load_code_reader(generator, provenance_of(generator), network)
    for wrong in ({"learning_rate": 0.0}, {"milestones": (0,)}):
        with pytest.raises(InputError, match="milestones of 1 or more"):
            CodeCoefficientsSettings(**wrong)
