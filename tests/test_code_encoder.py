"""The network that reads codes of W from pictures: its output, its training, its file."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from datamodules.latent_pairs import LatentPairDataModule, PairRecipe
from lightning_modules.code_encoder import CodeEncoderModule, CodeEncoderSettings
from lightning_modules.pie.module import PIE
from lightning_modules.pie.settings import EnergyWeights, PieSettings, Schedule
from models.code_encoder import CodeEncoder
from models.observers import Judge, save_observer
from models.portrait_embedding import load_embeddings
from models.stylegan2 import Generator, load_generator
from models.weights import describe_weights, load_weights
from renderers.errors import InputError
from tests.conftest import ROOT
from tests.tiny_pie import embed, write_pie_networks
from tests.tiny_rig import WIDTH, tiny_generator
from tests.tiny_stylerig import quiet_trainer, use_toy_face, write_networks

TINY = CodeEncoderSettings(widths=(8, 16), blocks=(1, 1), num_features=16, working_size=16, learning_rate=1e-2)

NO_TERM = dict.fromkeys(
    ("pixels", "perceptual", "identity", "edit", "invariance", "recognition", "edited_recognition"), 0.0
)


def encoder(generator: Generator | None = None) -> CodeEncoder:
    torch.manual_seed(0)
    network = CodeEncoder(WIDTH, TINY.widths, TINY.blocks, TINY.num_features, TINY.working_size)
    network.set_statistics(generator or tiny_generator())
    return network.eval()


def data(**settings: int) -> LatentPairDataModule:
    sizes = {"batch_size": 8, "train_pairs": 800, "validation_pairs": 16, "max_latents": 1, **settings}
    return LatentPairDataModule(**sizes)  # type: ignore[arg-type]


def test_untrained_network_gives_about_the_mean_code_for_pictures_of_any_size() -> None:
    generator = tiny_generator()
    for size in (8, 16, 40):
        codes = encoder()(torch.rand(3, 3, size, size) * 2 - 1)
        assert codes.shape == (3, WIDTH)
        assert bool(((codes - generator.mean_w).abs() < 0.05 * generator.std_w).all())


def test_codes_count_in_standard_deviations_of_w() -> None:
    network, generator = encoder(), tiny_generator()
    with torch.no_grad():
        network.readout.bias.fill_(2.0)
        network.readout.weight.zero_()
    codes = network(torch.zeros(1, 3, 16, 16))
    torch.testing.assert_close(codes[0], generator.mean_w + 2 * generator.std_w)
    flat = tiny_generator()
    flat.std_w[0] = 0.0
    assert bool((encoder(flat).std_w > 0).all()), "errors are divided by them"
    with pytest.raises(InputError, match="width 12"):
        encoder().set_statistics(Generator([4, 4], z_dim=4, w_dim=5, mapping_layers=1))


def test_codes_are_learnt_and_the_weights_written(tmp_path: Path) -> None:
    """After a few steps it knows more of a picture's code than the mean, in codes and in pictures; its file reads the same."""
    files = write_networks(tmp_path)
    module = CodeEncoderModule(files["generator"], TINY)
    trainer = quiet_trainer(
        tmp_path, max_steps=60, limit_val_batches=2, check_val_every_n_epoch=None, val_check_interval=60
    )
    trainer.fit(module, datamodule=data())
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert metrics["validate/code_error"] < 0.8 * metrics["validate/code_error_of_mean"]
    assert metrics["validate/psnr_db"] > metrics["validate/psnr_db_of_mean"]
    written = tmp_path / "code_encoder.safetensors"
    assert describe_weights(written).kind == "code-encoder"
    loaded = CodeEncoder.load(written, module.generator)
    assert not loaded.training and not any(parameter.requires_grad for parameter in loaded.parameters())
    images = PairRecipe(0, 1).pairs(module.generator, "test", torch.arange(4), images=True).image_w
    torch.testing.assert_close(loaded(images), module.eval()(images), rtol=1e-2, atol=1e-2)
    tested = CodeEncoderModule(files["generator"], TINY, weights=str(written))
    (test,) = quiet_trainer(tmp_path).test(tested, datamodule=data(test_pairs=16), verbose=False)
    assert test["test/code_error"] < test["test/code_error_of_mean"]


def test_checkpoints_hold_the_encoder_alone(tmp_path: Path) -> None:
    files = write_networks(tmp_path)
    module = CodeEncoderModule(files["generator"], TINY)
    assert {name.split(".")[0] for name in module.state_dict()} == {"network"}
    assert not any(parameter.requires_grad for parameter in module.generator.parameters())


def test_an_untrained_encoder_is_not_tested(tmp_path: Path) -> None:
    module = CodeEncoderModule(write_networks(tmp_path)["generator"], TINY)
    with pytest.raises(InputError, match="trained code encoder"):
        quiet_trainer(tmp_path).test(module, datamodule=data(test_pairs=8), verbose=False)


def test_training_that_starts_from_a_file_adapts_its_batch_statistics(tmp_path: Path) -> None:
    generator = write_networks(tmp_path)["generator"]
    weights = str(encoder(load_generator(generator)).save(tmp_path / "start.safetensors", load_generator(generator)))
    module = CodeEncoderModule(generator, TINY, weights=weights)
    before = module.network.state_dict()["trunk.2.running_mean"].clone()
    quiet_trainer(tmp_path, max_steps=2, limit_val_batches=0).fit(module, datamodule=data())
    assert not torch.equal(module.network.state_dict()["trunk.2.running_mean"], before)


def test_mixed_codes_are_refused(tmp_path: Path) -> None:
    """A picture of several latents has no code of W."""
    module = CodeEncoderModule(write_networks(tmp_path)["generator"], TINY)
    with pytest.raises(InputError, match="max_latents to 1"):
        quiet_trainer(tmp_path, max_steps=1).fit(module, datamodule=data(max_latents=5))


def test_matrices_are_written_as_half_precision(tmp_path: Path) -> None:
    network = encoder()
    state, _ = load_weights(network.save(tmp_path / "e.safetensors", tiny_generator()), "code-encoder")
    assert {value.dtype for value in state.values() if value.dim() > 1} == {torch.float16}
    assert state["mean_w"].dtype == state["std_w"].dtype == torch.float32


def test_files_of_another_generator_or_kind_are_refused(tmp_path: Path) -> None:
    generator = tiny_generator()
    path = encoder().save(tmp_path / "e.safetensors", generator)
    assert CodeEncoder.load(path, generator).w_dim == WIDTH
    other = tiny_generator()
    with torch.no_grad():
        other.const.add_(1.0)
    with pytest.raises(InputError, match="name that generator or train anew"):
        CodeEncoder.load(path, other)
    judge = save_observer(
        tmp_path / "j.safetensors", Judge(3, 2, 2, widths=(4, 8), blocks=(1, 1), num_features=8, working_size=16)
    )
    with pytest.raises(InputError, match="kind code-encoder"):
        CodeEncoder.load(judge, generator)


@pytest.mark.parametrize("rate", [0.0, -1.0])
def test_learning_rates_that_are_none_are_refused(rate: float) -> None:
    with pytest.raises(InputError, match="positive learning rate"):
        CodeEncoderSettings(learning_rate=rate)


def test_pie_starts_from_the_code_that_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By configs/demo/pie/encoder_start.yaml, before its first step; a network that is named but not asked for is refused."""
    use_toy_face(monkeypatch)
    networks = write_pie_networks(tmp_path)
    generator = load_generator(networks["generator"])
    reader = encoder(generator)
    with torch.no_grad():
        reader.readout.bias.fill_(0.5)
    path = str(reader.save(tmp_path / "code_encoder.safetensors", generator))
    overlay = yaml.safe_load((ROOT / "configs/demo/pie/encoder_start.yaml").read_text())["model"]["init_args"]
    assert overlay["settings"] == {"schedule": {"start": "encoder"}} and "code_encoder" in overlay
    # Steps that go nowhere: what is written is where it started.
    still = Schedule(1, 1, "adam", 1e-12, 1e-12, **overlay["settings"]["schedule"])
    settings = PieSettings(EnergyWeights(**{**NO_TERM, "pixels": 1.0}), still)  # type: ignore[arg-type]
    named = {**networks, "perceptual": "observers", "output": str(tmp_path / "codes"), "code_encoder": path}
    module = PIE(**named, settings=settings)  # type: ignore[arg-type]
    embed(tmp_path, module, samples=2)
    for embedding in load_embeddings(tmp_path / "codes"):
        read = CodeEncoder.load(path, generator)(embedding.pixels[None])[0]
        assert embedding.w is not None
        torch.testing.assert_close(embedding.w, read, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(embedding.w_plus, read.expand(len(embedding.w_plus), -1), rtol=1e-4, atol=1e-4)
    for start, given in (("mean", path), ("encoder", None)):
        wrong = PieSettings(schedule=replace(still, start=start))  # type: ignore[arg-type]
        with pytest.raises(InputError, match="code_encoder where the schedule starts from one"):
            PIE(**networks, perceptual="observers", settings=wrong, code_encoder=given)  # type: ignore[arg-type]
