"""Counter-based random numbers and the pairs of latent codes made from them."""

import math
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor, nn

from datamodules.counter_random import mix, normal, random_words, sample_keys, subkeys, uniform
from datamodules.latent_pairs import LatentPairDataModule, LatentPairs, PairRecipe, mixing_sources
from datamodules.loading import RankSampler
from renderers.errors import InputError


class ToyGenerator(nn.Module):
    """A fixed linear mapping and a picture that shows the code."""

    def __init__(self, num_layers: int = 6, w_dim: int = 8, z_dim: int = 4) -> None:
        super().__init__()
        self.num_layers, self.w_dim, self.z_dim = num_layers, w_dim, z_dim
        self.register_buffer("weight", torch.randn(z_dim, w_dim, generator=torch.Generator().manual_seed(0)))
        self.register_buffer("mean_w", torch.full((w_dim,), 0.5))

    def mapping(self, z: Tensor) -> Tensor:
        return z @ self.weight + 0.5

    def synthesis(self, codes: Tensor, noise: str = "const") -> Tensor:
        return codes.mean(dim=(1, 2))[:, None, None, None].expand(-1, 3, 4, 4)


class Recorder(pl.LightningModule):
    """Trains one number and records what it was fed."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = ToyGenerator()
        self.scale = nn.Parameter(torch.ones(()))
        self.seen: list[LatentPairs] = []

    def training_step(self, batch: LatentPairs, batch_idx: int) -> Tensor:
        self.seen.append(batch)
        return self.scale * batch.w.mean()

    def validation_step(self, batch: LatentPairs, batch_idx: int) -> None:
        self.seen.append(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([self.scale], lr=0.0)


def quiet_trainer(root: Path, **settings: object) -> pl.Trainer:
    return pl.Trainer(
        default_root_dir=root,
        logger=False,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )


def test_mix_agrees_with_plain_integers() -> None:
    def reference(word: int) -> int:
        word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) % 2**64
        return word ^ (word >> 31)

    words = [0, 1, 2**63, 2**64 - 1, 0x0123456789ABCDEF]
    got = mix(torch.tensor([w - 2**64 if w >= 2**63 else w for w in words]))
    assert [int(g) % 2**64 for g in got] == [reference(w) for w in words]


def test_numbers_have_the_right_distribution() -> None:
    keys = sample_keys(3, 0, torch.arange(400))
    flat = uniform(keys, 257)
    assert 0 < flat.min() and flat.max() < 1 and flat.shape == (400, 257)
    histogram = torch.histc(flat, 16, 0, 1) / flat.numel()
    assert (histogram - 1 / 16).abs().max() < 0.004
    bell = normal(keys, 257).double()
    assert abs(bell.mean()) < 0.012 and abs(bell.std() - 1) < 0.01 and abs((bell**4).mean() - 3) < 0.15
    # Neighbouring samples, and the cosine and sine halves of one sample, are uncorrelated.
    centred = bell - bell.mean()
    assert abs((centred[1:] * centred[:-1]).mean()) < 0.015
    assert abs((centred[:, :128] * centred[:, 129:]).mean()) < 0.02


def test_numbers_depend_on_seed_stream_index_position_and_purpose_only() -> None:
    keys = sample_keys(1, 0, torch.arange(1000))
    everything = torch.cat(
        [keys, sample_keys(1, 1, torch.arange(1000)), sample_keys(2, 0, torch.arange(1000)), subkeys(keys, 1)]
    )
    assert everything.unique().numel() == 4000
    assert random_words(keys, 9).unique().numel() == 9000
    assert torch.equal(random_words(keys, 9)[:, :4], random_words(keys, 4))
    assert torch.equal(normal(keys[5:6], 6), normal(keys, 6)[5:6])
    with pytest.raises(InputError, match="stream"):
        sample_keys(0, -1, keys)
    for seed in (1 << 63, -(1 << 63), 1 << 80):
        with pytest.raises(InputError, match="seed below"):
            sample_keys(seed, 0, keys)
    sample_keys((1 << 63) - 1, 0, keys)


def test_each_bit_flips_half_of_the_bits() -> None:
    words = random_words(sample_keys(0, 0, torch.arange(8)), 64).flatten()
    for bit in (0, 1, 31, 32, 62):
        changed = mix(words) ^ mix(words ^ (1 << bit))
        ones = torch.stack([(changed >> b) & 1 for b in range(64)]).double().mean(dim=1)
        assert (ones - 0.5).abs().max() < 0.12


@pytest.mark.parametrize(("layers", "latents"), [(1, 1), (3, 3), (10, 5), (18, 5)])
def test_mixing_sources_are_runs_of_one_to_max_latents(layers: int, latents: int) -> None:
    source = mixing_sources(sample_keys(0, 0, torch.arange(3000)), layers, latents)
    assert (source[:, 0] == 0).all()
    steps = source.diff(dim=1)
    assert ((steps == 0) | (steps == 1)).all()
    count = source[:, -1] + 1
    share = torch.bincount(count, minlength=latents + 1)[1:] / len(count)
    assert (share - 1 / latents).abs().max() < 0.04
    if latents > 1:
        crossover_share = steps[count == 2].double().mean(dim=0)
        assert (crossover_share - 1 / (layers - 1)).abs().max() < 0.08


def test_pairs_do_not_depend_on_the_batch() -> None:
    generator, recipe = ToyGenerator(), PairRecipe(seed=7)
    whole = recipe.pairs(generator, "train", torch.arange(12), images=True)
    assert whole.w.shape == (12, 6, 8) and whole.image_w is not None and whole.image_w.shape == (12, 3, 4, 4)
    part = recipe.pairs(generator, "train", torch.tensor([10, 3]), images=False)
    assert part.image_w is None
    torch.testing.assert_close(part.w, whole.w[[10, 3]])
    torch.testing.assert_close(part.v, whole.v[[10, 3]])
    for other in (
        recipe.pairs(generator, "test", torch.arange(12)),
        PairRecipe(8).pairs(generator, "train", torch.arange(12)),
    ):
        assert not torch.isclose(other.w[:, 0], whole.w[:, 0]).all(dim=1).any()
    assert not torch.isclose(whole.w, whole.v).all(dim=(1, 2)).any()


def test_truncation_draws_codes_to_the_mean() -> None:
    generator = ToyGenerator()
    plain = PairRecipe(0).pairs(generator, "train", torch.arange(4))
    half = PairRecipe(0, truncation=0.5).pairs(generator, "train", torch.arange(4))
    torch.testing.assert_close(half.w - 0.5, (plain.w - 0.5) / 2)


@pytest.mark.parametrize("settings", [{"max_latents": 0}, {"truncation": 1.5}, {"batch_size": 0}, {"train_pairs": 3}])
def test_bad_settings_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(InputError):
        LatentPairDataModule(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_ranks_share_out_the_samples(ranks: int) -> None:
    everything = [list(RankSampler(20, ranks, rank, drop_uneven=False)) for rank in range(ranks)]
    assert sorted(sum(everything, [])) == list(range(20))
    even = [list(RankSampler(20, ranks, rank, drop_uneven=True)) for rank in range(ranks)]
    assert len({len(part) for part in even}) == 1 and len(set(sum(even, []))) == 20 - 20 % ranks


def test_resumption_on_another_number_of_ranks_goes_on_where_it_stopped() -> None:
    module = LatentPairDataModule(batch_size=2, train_pairs=24)
    loader = module.train_dataloader()
    iterator = iter(loader)
    first = [next(iterator) for _ in range(3)]
    state = loader.state_dict()
    assert state == {"pass": 0, "seen": 6}
    rest: list[int] = []
    for rank in range(2):
        sampler = RankSampler(24, 2, rank, drop_uneven=True)
        sampler.start = state["seen"]
        rest += list(sampler)
    assert sorted(torch.cat(first).tolist() + rest) == list(range(24))


@pytest.mark.parametrize(("stop", "workers"), [(3, 0), (8, 0), (6, 0), (7, 1)])
def test_training_resumes_with_the_next_sample(tmp_path: Path, stop: int, workers: int) -> None:
    """Passes of 6 steps: stopped inside the first, inside the second, at a border, and with a worker process."""

    def data() -> LatentPairDataModule:
        return LatentPairDataModule(batch_size=2, train_pairs=13, validation_pairs=3, seed=5, num_workers=workers)

    straight, before, after = Recorder(), Recorder(), Recorder()
    settings = {"limit_val_batches": 0, "max_epochs": -1}
    quiet_trainer(tmp_path, max_steps=15, enable_checkpointing=False, **settings).fit(straight, data())
    saving = ModelCheckpoint(tmp_path, filename="stopped", every_n_train_steps=stop)
    quiet_trainer(tmp_path, max_steps=stop, callbacks=[saving], **settings).fit(before, data())
    resumed = quiet_trainer(tmp_path, max_steps=15, enable_checkpointing=False, **settings)
    resumed.fit(after, data(), ckpt_path=tmp_path / "stopped.ckpt")
    expected = torch.cat([batch.indices for batch in straight.seen])
    assert expected.tolist()[:12] == list(range(12)) and expected.tolist()[12:24] == list(range(12))
    got = before.seen + after.seen
    assert torch.cat([batch.indices for batch in got]).tolist() == expected.tolist()
    torch.testing.assert_close(torch.cat([b.v for b in got]), torch.cat([b.v for b in straight.seen]))


def test_splits_in_a_trainer_are_disjoint_and_complete(tmp_path: Path) -> None:
    module = Recorder()
    data = LatentPairDataModule(batch_size=2, train_pairs=6, validation_pairs=5, test_pairs=3, images=False)
    quiet_trainer(tmp_path, max_epochs=1, num_sanity_val_steps=0, enable_checkpointing=False).fit(module, data)
    assert [batch.indices.tolist() for batch in module.seen] == [[0, 1], [2, 3], [4, 5], [0, 1], [2, 3], [4]]
    train, validate = module.seen[0], module.seen[3]
    assert not torch.isclose(train.w, validate.w).all(dim=(1, 2)).any() and train.image_w is None


def test_module_without_a_generator_is_refused(tmp_path: Path) -> None:
    module = Recorder()
    del module.generator
    with pytest.raises(InputError, match="Recorder has none"):
        quiet_trainer(tmp_path, max_steps=1, enable_checkpointing=False).fit(module, LatentPairDataModule(2, 4))


def test_codes_of_a_wide_generator_stay_normal() -> None:
    generator = ToyGenerator(num_layers=18, w_dim=8, z_dim=512)
    codes = PairRecipe(0).pairs(generator, "train", torch.arange(300)).w - 0.5
    expected = generator.weight.norm(dim=0)
    assert ((codes[:, 0].std(dim=0) / expected - 1).abs() < 4 / math.sqrt(600)).all()
