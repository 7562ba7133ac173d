"""Training of a StyleGAN2: losses against their formulas, phases, averaging, resumption, exports and errors."""

import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pytorch_lightning import Callback, Trainer
from torch import nn
from torch.utils.data import Dataset

from datamodules.loading import RankSampler, ResumableDataModule, ResumableLoader
from evaluation.frechet import feature_statistics
from lightning_modules.gan_progress import GENERATOR_FILE
from lightning_modules.painting_loss import PaintingWeights
from lightning_modules.stylegan2 import StyleGAN2
from lightning_modules.warm_start import WarmStart
from models.observers import load_judge
from models.stylegan2 import Discriminator, Generator, load_discriminator, load_generator
from models.stylegan2.importance import latent_importance, scale_mapping_inputs
from models.stylegan2.loading import save_discriminator, save_generator
from models.stylegan2.losses import (
    PathLengthPenalty,
    discriminator_loss,
    generator_loss,
    path_lengths,
    r1_penalty,
    reconstruction_loss,
)
from renderers.errors import InputError
from tests.conftest import ROOT

Z = 5


class Portraits(Dataset[dict[str, torch.Tensor]]):
    """Plain pictures whose colour follows from the first three numbers of their latents."""

    def __init__(self, count: int = 12) -> None:
        self.latent = torch.randn(count, Z, generator=torch.Generator().manual_seed(1))
        self.image = torch.tanh(self.latent[:, :3, None, None]).expand(-1, -1, 8, 8).contiguous()

    def __len__(self) -> int:
        return len(self.latent)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"image": self.image[index], "latent": self.latent[index]}


class Data(ResumableDataModule):
    """The portraits, four at a time, in another order in each pass."""

    def __init__(self, count: int = 12) -> None:
        super().__init__()
        self.count = count

    def train_dataloader(self) -> ResumableLoader:
        sampler = RankSampler(self.count, 1, 0, drop_uneven=True, shuffle_seed=3)
        return self.resumable(ResumableLoader(Portraits(self.count), sampler, batch_size=4))


def module(**options: object) -> StyleGAN2:
    torch.manual_seed(0)
    generator = Generator([8, 6], z_dim=Z, w_dim=6, mapping_layers=2)
    return StyleGAN2(generator, Discriminator([8, 6]), **options)


def train(
    model: StyleGAN2, folder, epochs: int, count: int = 12, checkpoint: object = None, **options: object
) -> Trainer:
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        **options,
    )
    trainer.fit(model, Data(count), ckpt_path=checkpoint)
    return trainer


def copy_of(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def changed(network: nn.Module, before: dict[str, torch.Tensor]) -> bool:
    return any(not torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_logistic_losses():
    real, fake = torch.tensor([0.3, -1.0]), torch.tensor([2.0])
    torch.testing.assert_close(generator_loss(fake), -torch.sigmoid(fake).log().mean())
    expected = -torch.sigmoid(real).log().mean() - (1 - torch.sigmoid(fake)).log().mean()
    torch.testing.assert_close(discriminator_loss(real, fake), expected)


def test_r1_is_the_squared_gradient_norm():
    discriminator = Discriminator([4, 3], deviation_group=1).double()
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    step, expected = 1e-5, torch.zeros(2, dtype=torch.float64)
    with torch.no_grad():
        for index in range(3 * 64):
            shift = torch.zeros(3 * 64, dtype=torch.float64).index_fill(0, torch.tensor(index), step).view(1, 3, 8, 8)
            expected += ((discriminator(images + shift) - discriminator(images - shift)) / (2 * step)).square()
    torch.testing.assert_close(r1_penalty(discriminator, images), expected.mean(), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("autocast", [False, True])
def test_penalties_reach_the_weights_in_full_precision(autocast):
    discriminator, generator = Discriminator([4, 3]), Generator([4, 3], z_dim=2, w_dim=3)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        penalty = r1_penalty(discriminator, torch.randn(4, 3, 8, 8))
        lengths = path_lengths(generator, generator.broadcast(generator.mapping(torch.randn(4, 2))))
    assert penalty.dtype == lengths.dtype == torch.float32 and lengths.shape == (4,)
    (penalty + lengths.sum()).backward()
    assert discriminator.from_rgb.weight.grad.abs().sum() > 0
    assert generator.convolutions[0].weight.grad.abs().sum() > 0
    assert generator.mapping.layers[0].weight.grad.abs().sum() > 0


def test_path_lengths_are_norms_of_projected_jacobians():
    generator = Generator([4, 3], z_dim=2, w_dim=3).double()
    codes = torch.randn(2, 4, 3, dtype=torch.float64)
    found = path_lengths(generator, codes, torch.Generator().manual_seed(3))
    y = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(3), dtype=torch.float64) / 8
    for index in range(2):
        jacobian = torch.autograd.functional.jacobian(lambda code: generator.synthesis(code[None])[0], codes[index])
        product = torch.einsum("chw,chwlk->lk", y[index], jacobian)
        torch.testing.assert_close(found[index], product.square().sum(dim=1).mean().sqrt())


def test_path_length_penalty_follows_the_mean():
    penalty = PathLengthPenalty(decay=0.5)
    first = penalty(torch.tensor([1.0, 3.0]))
    assert penalty.mean_length == 1.0 and first == (0.0 + 4.0) / 2
    penalty(torch.tensor([1.0, 1.0]))
    assert penalty.mean_length == 1.0


def test_reconstruction_loss():
    images = torch.rand(2, 3, 16, 16, requires_grad=True)
    assert reconstruction_loss(images, images.detach()) == 0
    torch.testing.assert_close(reconstruction_loss(images, images.detach() + 0.5), torch.tensor(1.5))
    checker = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(8, 8).expand(1, 3, -1, -1)
    torch.testing.assert_close(reconstruction_loss(checker, 0 * checker), torch.tensor(1.0 + 0 + 0 + 8 / 4))
    torch.testing.assert_close(reconstruction_loss(checker, 0 * checker, detail=0.0), torch.tensor(1.0))
    reconstruction_loss(images, images.detach() + 0.1).backward()
    assert images.grad is not None and images.grad.abs().sum() > 0


def test_importance_finds_the_numbers_that_show():
    data = Portraits(4000)
    view = data.image.flatten(1)
    importance = latent_importance([view, 100 * view], data.latent)
    torch.testing.assert_close(importance.sum(), torch.tensor(2.0))
    torch.testing.assert_close(importance, 2 * latent_importance([view], data.latent))
    assert importance[:3].min() > 100 * importance[3:].max()
    generator = Generator([4], z_dim=Z, w_dim=4, mapping_layers=1)
    before = generator.mapping.first.weight.clone()
    scale_mapping_inputs(generator, importance)
    ratio = (generator.mapping.first.weight / before)[0]
    torch.testing.assert_close(ratio.square().mean(), torch.tensor(1.0))
    torch.testing.assert_close(ratio[0] / ratio[1], (importance[0] / importance[1]).sqrt())
    with pytest.raises(InputError, match="more than 5 portraits"):
        latent_importance([view[:5]], data.latent[:5])


def test_training_samples_mix_as_often_as_asked():
    never, always = module(mixing_probability=0.0), module(mixing_probability=1.0)
    rng = torch.Generator().manual_seed(0)
    codes = never.sample_codes(50, rng)
    assert torch.equal(codes, codes[:, :1].expand_as(codes))
    codes = always.sample_codes(50, rng)
    assert (codes[:, 0] != codes[:, -1]).any(dim=1).all()


def test_supervision_fades():
    plain = WarmStart()
    assert plain.supervision(0)[0] == 0
    warm = WarmStart(images=100, transition_images=50, transition_weight=2.0, transition_fraction=0.5)
    assert warm.supervision(99) == (1.0, 1.0)
    assert warm.supervision(100) == (2.0, 0.5)
    assert warm.supervision(125) == (1.0, 0.5)
    assert warm.supervision(150)[0] == warm.supervision(10**9)[0] == 0


def test_warm_start_trains_the_generator_alone(tmp_path):
    model = module(warm_start=WarmStart(images=1000))
    generator, discriminator = copy_of(model.generator), copy_of(model.discriminator)
    train(model, tmp_path, 1)
    assert changed(model.generator, generator) and not changed(model.discriminator, discriminator)
    assert int(model.images_seen) == 12


def test_warm_start_learns_the_portraits(tmp_path):
    model = module(warm_start=WarmStart(images=10**6, importance_images=12), average_half_life=20.0)
    data = Portraits()
    before = reconstruction_loss(model.average(data.latent), data.image)
    train(model, tmp_path, 20)
    after = reconstruction_loss(model.average(data.latent), data.image)
    assert after < 0.7 * before


def test_the_discriminator_joins_before_the_game(tmp_path):
    model = module(warm_start=WarmStart(images=1000, discriminator_images=1000))
    discriminator = copy_of(model.discriminator)
    train(model, tmp_path, 1)
    assert changed(model.discriminator, discriminator)


@pytest.mark.parametrize("options", [{}, {"path_length_weight": 2.0, "path_length_interval": 2}])
def test_adversarial_training(tmp_path, options):
    model = module(r1_interval=2, **options)
    generator, discriminator = copy_of(model.generator), copy_of(model.discriminator)
    trainer = train(model, tmp_path, 2)
    assert changed(model.generator, generator) and changed(model.discriminator, discriminator)
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())
    logged = trainer.callback_metrics
    assert {"train/generator", "train/discriminator", "train/r1", "train/images_seen"} <= logged.keys()
    assert logged["train/images_seen"] == 24 and ("train/path_length" in logged) == ("path_length_weight" in options)


def test_lazy_regularisation_corrects_adam():
    model = module(r1_interval=16, path_length_weight=2.0, path_length_interval=4, learning_rate=0.01)
    generator, discriminator = model.configure_optimizers()
    assert generator.defaults["lr"] == pytest.approx(0.01 * 4 / 5)
    assert discriminator.defaults["lr"] == pytest.approx(0.01 * 16 / 17)
    assert discriminator.defaults["betas"] == (0.0, pytest.approx(0.99 ** (16 / 17)))
    assert module(learning_rate=0.01).configure_optimizers()[0].defaults["lr"] == 0.01
    generator, discriminator = module(
        learning_rate=0.01, discriminator_learning_rate=0.03, r1_gamma=0.0
    ).configure_optimizers()
    assert generator.defaults["lr"] == 0.01 and discriminator.defaults["lr"] == 0.03
    assert discriminator.defaults["betas"] == (0.0, 0.99)


@pytest.mark.parametrize("name", ["r1_interval", "path_length_interval", "path_length_shrink", "sample_every"])
def test_intervals_of_nothing_are_refused(name):
    with pytest.raises(InputError, match=f"{name} of at least 1, got 0"):
        module(**{name: 0})


def test_r1_can_be_left_out(tmp_path):
    assert "train/r1" not in train(module(r1_gamma=0.0), tmp_path, 1).callback_metrics


def test_average_has_the_asked_half_life():
    model = module(average_half_life=8.0, average_rampup=math.inf)
    model.images_seen += 100
    before = model.average.const.clone()
    with torch.no_grad():
        model.generator.const.fill_(1.0)
    model._update_average(8)
    torch.testing.assert_close(model.average.const.data, (before + 1) / 2)


def test_average_without_a_bound_remembers_its_start():
    model = module(average_half_life=8.0, average_rampup=None)
    before = model.average.const.clone()
    with torch.no_grad():
        model.generator.const.fill_(1.0)
    model._update_average(8)
    torch.testing.assert_close(model.average.const.data, (before + 1) / 2)


def test_discriminator_learns_to_tell(tmp_path):
    model = module(learning_rate=0.005, r1_gamma=0.1)
    train(model, tmp_path, 15)
    with torch.no_grad():
        gap = model.discriminator(Portraits().image).mean() - model.discriminator(3 * torch.randn(12, 3, 8, 8)).mean()
    assert gap > 0.2


@pytest.mark.parametrize(
    "options", [{}, {"warm_start": WarmStart(images=10, discriminator_images=4, transition_images=100)}]
)
def test_resumption_is_exact(tmp_path, options):
    options = {"r1_interval": 2, "path_length_weight": 2.0, "path_length_interval": 3, **options}
    whole = module(**options)
    train(whole, tmp_path / "whole", 2)
    first = module(**options)
    train(first, tmp_path / "parts", 1)
    torch.manual_seed(99)
    second = module(**options)
    train(second, tmp_path / "other", 2, checkpoint=tmp_path / "parts" / "checkpoints" / "last.ckpt")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


class KeepCheckpoint(Callback):
    """Copies the checkpoint that is there before step `step`, as an interruption would leave it."""

    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path, self.steps = step, path, 0

    def on_train_batch_start(self, trainer: Trainer, pl_module: StyleGAN2, batch: object, batch_idx: int) -> None:
        if self.steps == self.step:
            shutil.copy(Path(trainer.default_root_dir) / "checkpoints" / "last.ckpt", self.path)
        self.steps += 1


@pytest.mark.parametrize(
    ("end", "stopped", "importance"),
    [("interrupted", 1, 8), ("interrupted", 5, 0), ("ended", 1, 0), ("ended", 3, 0), ("ended", 5, 8)],
)
def test_resumption_within_a_pass_is_exact(tmp_path, importance, stopped, end):
    """Three steps a pass, seven in all; `ended` stops at its number of images, which is then raised."""
    options = {"r1_interval": 2, "sample_every": 4}
    options["warm_start"] = WarmStart(images=8, transition_images=100, importance_images=importance)
    keep = KeepCheckpoint(stopped, tmp_path / "kept.ckpt")
    whole = module(total_images=28, **options)
    train(whole, tmp_path / "whole", -1, callbacks=[keep])
    checkpoint = keep.path
    if end == "ended":
        train(module(total_images=4 * stopped, **options), tmp_path / "parts", -1)
        checkpoint = tmp_path / "parts" / "checkpoints" / "last.ckpt"
    torch.manual_seed(99)
    second = module(total_images=28, **options)
    train(second, tmp_path / "other", -1, checkpoint=checkpoint)
    assert int(second.images_seen) == 28
    for name, value in whole.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_a_finished_run_stays_as_it_is(tmp_path):
    first = module(total_images=8)
    train(first, tmp_path, -1)
    second = module(total_images=8)
    train(second, tmp_path, -1, checkpoint=tmp_path / "checkpoints" / "last.ckpt")
    assert int(second.images_seen) == 8
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_checkpoints_without_the_place_in_the_data_load(tmp_path):
    """As written by earlier versions, which had one learning rate for both networks."""
    train(module(total_images=8, learning_rate=0.002), tmp_path, -1)
    path = tmp_path / "checkpoints" / "last.ckpt"
    contents = torch.load(path, weights_only=True)
    assert contents["loops"]["fit_loop"]["state_dict"].pop("combined_loader") and contents.pop("Data")
    torch.save(contents, path)
    model = module(total_images=24, learning_rate=0.001, discriminator_learning_rate=0.003, r1_gamma=0.0)
    trainer = train(model, tmp_path, -1, checkpoint=path)
    assert int(model.images_seen) == 24
    assert [optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers] == [0.001, 0.003]


def test_random_numbers_differ_by_seed_rank_and_step(monkeypatch):
    models = [module(seed=seed) for seed in (0, 1, 2)]
    draws = []
    for rank in range(3):
        monkeypatch.setattr(StyleGAN2, "global_rank", rank)
        for model in models:
            for images in (0, 4):
                model.images_seen.fill_(images)
                draws.append(torch.randn(4, generator=model.step_rng()))
    assert len(torch.stack(draws).unique(dim=0)) == 18
    torch.testing.assert_close(draws[-1], torch.randn(4, generator=models[2].step_rng()), rtol=0, atol=0)


@pytest.mark.slow
def test_two_processes_train_one_generator(tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "LOCAL_RANK"}
    command = [sys.executable, "-m", "tests.two_rank_gan", str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(2))
    assert first["images_seen"] == second["images_seen"] == 32
    # Each rank reads its part of the pictures, and both know those of all.
    judge = load_judge(tmp_path / "judge.safetensors")
    expected = feature_statistics(judge.features(Portraits(32).image[:7]))
    for rank in (first, second):
        torch.testing.assert_close(rank["real_mean"], expected.mean, rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(rank["real_covariance"], expected.covariance, rtol=1e-5, atol=1e-7)
    for name, value in first["parameters"].items():
        assert torch.equal(value, second["parameters"][name]), name
    assert load_generator(tmp_path / GENERATOR_FILE).resolution == 8


def test_progress_is_written(tmp_path):
    model = module(sample_every=8, total_images=10_000)
    train(model, tmp_path, 1)
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == ["000000008.png", "000000012.png"]
    generator = load_generator(tmp_path / GENERATOR_FILE)
    for name, value in model.average.state_dict().items():
        torch.testing.assert_close(generator.state_dict()[name], value)
    codes = generator.mapping(torch.randn(20_000, Z, generator=torch.Generator().manual_seed(7)))
    torch.testing.assert_close(generator.mean_w, codes.mean(dim=0), atol=0.05, rtol=0.05)
    torch.testing.assert_close(generator.std_w, codes.std(dim=0), atol=0.05, rtol=0.05)
    assert load_discriminator(tmp_path / "discriminator.safetensors").resolution == 8


def test_training_ends_after_the_images_asked_for(tmp_path):
    model = module(total_images=16)
    train(model, tmp_path, 10)
    assert int(model.images_seen) == 16


def test_bfloat16_training(tmp_path):
    model = module(r1_interval=2, warm_start=WarmStart(images=4, transition_images=100))
    train(model, tmp_path, 1, precision="bf16-mixed")
    assert all(value.dtype != torch.bfloat16 and torch.isfinite(value).all() for value in model.state_dict().values())


def test_weights_to_start_from(tmp_path):
    torch.manual_seed(5)
    earlier = Generator([8, 6], z_dim=Z, w_dim=6, mapping_layers=2)
    path = save_generator(tmp_path / "g.safetensors", earlier)
    model = module(weights=str(path))
    torch.testing.assert_close(model.generator.const, earlier.const)
    torch.testing.assert_close(model.average.const, earlier.const)
    other = save_generator(tmp_path / "h.safetensors", Generator([8, 4], z_dim=Z, w_dim=6, mapping_layers=2))
    with pytest.raises(InputError, match="the configuration describes"):
        module(weights=str(other))


def test_weights_to_start_from_are_not_scaled(tmp_path):
    earlier = Generator([8, 6], z_dim=Z, w_dim=6, mapping_layers=2)
    path = save_generator(tmp_path / "g.safetensors", earlier)
    warm_start = WarmStart(images=1000, importance_images=8, learning_rate=0.0)
    model, fresh = module(weights=str(path), warm_start=warm_start), module(warm_start=warm_start)
    before = fresh.generator.mapping.first.weight.clone()
    train(model, tmp_path, 1)
    assert torch.equal(model.generator.mapping.first.weight, earlier.mapping.first.weight)
    train(fresh, tmp_path, 1)
    assert not torch.equal(fresh.generator.mapping.first.weight, before)


def test_both_networks_start_from_weights(tmp_path):
    torch.manual_seed(5)
    earlier = Discriminator([8, 6])
    path = save_discriminator(tmp_path / "d.safetensors", earlier)
    model = module(discriminator_weights=str(path))
    for name, value in earlier.state_dict().items():
        assert torch.equal(model.discriminator.state_dict()[name], value), name
    assert all(parameter.requires_grad for parameter in model.discriminator.parameters())
    other = save_discriminator(tmp_path / "e.safetensors", Discriminator([8, 4]))
    with pytest.raises(InputError, match="of the discriminator that the configuration describes"):
        module(discriminator_weights=str(other))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": -1.0}, "positive learning_rate, got -1"),
        ({"discriminator_learning_rate": 0.0}, "positive discriminator_learning_rate, got 0"),
        ({"average_half_life": 0.0}, "positive average_half_life, got 0"),
        ({"average_rampup": 0.0}, "positive average_rampup, got 0"),
        ({"total_images": -5}, "positive total_images, got -5"),
        ({"mixing_probability": 7.0}, "a mixing_probability in 0..1, got .* and 7"),
        ({"r1_gamma": -1.0}, "an r1_gamma .* got -1"),
        ({"path_length_weight": math.nan}, "a path_length_weight .* got 1.0, nan"),
        ({"seed": -1}, "expected a seed from 0"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        module(**options)


@pytest.mark.parametrize("precision", ["bf16-true", "64-true"])
def test_precisions_of_weights_other_than_float32_are_refused(tmp_path, precision):
    with pytest.raises(InputError, match=f"32-true, 16-mixed or bf16-mixed to train a StyleGAN2, got {precision}"):
        train(module(), tmp_path, 1, precision=precision)


def test_batches_that_groups_do_not_divide_are_refused_at_the_start(tmp_path):
    model = StyleGAN2(
        Generator([8, 6], z_dim=Z, w_dim=6), Discriminator([8, 6], deviation_group=3), warm_start=WarmStart(images=1000)
    )
    with pytest.raises(InputError, match="a multiple of the discriminator's deviation_group 3, got 4"):
        train(model, tmp_path, 1)


def test_portraits_that_cannot_be_weighed_are_refused(tmp_path):
    data = Portraits(10)
    with pytest.raises(InputError, match="vary from portrait to portrait"):
        latent_importance([data.image.flatten(1), torch.ones(10, 3)], data.latent)
    faces = WarmStart(importance_images=8, painting=PaintingWeights(face=1.0))
    with pytest.raises(InputError, match="expected mask of the portraits"):
        train(module(warm_start=faces), tmp_path, 1)


def test_networks_of_two_sizes_are_refused():
    with pytest.raises(InputError, match="one size"):
        StyleGAN2(Generator([4, 4], z_dim=2, w_dim=2), Discriminator([4]))


def test_missing_and_wrong_latents_are_refused(tmp_path):
    model = StyleGAN2(Generator([8, 6], z_dim=Z + 1, w_dim=6), Discriminator([8, 6]), warm_start=WarmStart(images=8))
    with pytest.raises(InputError, match=r"\(batch, 6\)"):
        train(model, tmp_path, 1)


def test_training_without_noise_keeps_noise_out_of_pictures(tmp_path):
    torch.manual_seed(0)
    model = module(noise="none")
    with torch.no_grad():
        for layer in model.generator.convolutions:
            layer.noise_strength.fill_(0.5)
    train(model, tmp_path, epochs=1)
    codes = model.average.broadcast(model.average.mapping(torch.randn(2, Z)))
    for network in (model.generator, model.average):
        torch.testing.assert_close(network.synthesis(codes, "const"), network.synthesis(codes, "none"), rtol=0, atol=0)
