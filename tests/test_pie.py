"""PIE as its users run it: what is written, what is gone on with, what is left alone."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from datamodules.portrait_batches import EmbeddingDataModule, PortraitStep, portrait_key, share_out
from datamodules.portrait_sources import PreparedPortrait
from lightning_modules.pie.energies import PieEnergies, PieSample, PieTarget
from lightning_modules.pie.settings import EnergyWeights, PieSettings, Schedule
from models.portrait_embedding import load_embedding, load_embeddings
from renderers.errors import InputError
from tests.tiny_pie import SCHEDULE, WEIGHTS, embed, pie, write_pie_networks
from tests.tiny_stylerig import quiet_trainer, use_toy_face


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        use_toy_face(patch)
        yield write_pie_networks(tmp_path_factory.mktemp("networks"))


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    use_toy_face(monkeypatch)


@pytest.fixture(scope="module")
def embedded(networks: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three samples, embedded in one run without interruption."""
    folder = tmp_path_factory.mktemp("embedded")
    with pytest.MonkeyPatch.context() as patch:
        use_toy_face(patch)
        embed(folder, pie(networks, folder / "codes"))
    return folder / "codes"


def codes(folder: Path) -> Tensor:
    return torch.stack([embedding.w_plus for embedding in load_embeddings(folder)])


def assert_alike(one: Tensor, other: Tensor) -> None:
    """Up to rounding, which differs between sizes of a batch and which Adam enlarges where gradients are small."""
    assert float((one - other).norm(dim=(1, 2)).max()) < 0.02 * float(
        (other - other.mean(dim=0)).norm(dim=(1, 2)).min()
    )


class Stop(Exception):
    """The run is killed."""


class Killer(Callback):
    """Kills a run before one of its iterations."""

    def __init__(self, before: int) -> None:
        self.before = before

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: PortraitStep, batch_idx: int
    ) -> None:
        if batch_idx == self.before:
            raise Stop


def test_every_portrait_is_written_with_what_edits_need(embedded: Path) -> None:
    found = load_embeddings(embedded)
    assert [each.name for each in found] == ["sample_0000", "sample_0001", "sample_0002"]
    for each in found:
        assert each.source == "sample" and each.image.shape == (3, 16, 16) and each.landmarks.shape == (68, 2)
        assert each.w is not None and each.w_plus.shape == (6, 12)
        assert {"pixels", "identity", "edit", "invariance", "recognition", "edited_recognition", "total"} == set(
            each.energies
        )
        assert each.settings["schedule"]["w_iterations"] == SCHEDULE.w_iterations
    summary = json.loads((embedded / "summary.json").read_text())
    assert [entry["status"] for entry in summary] == ["embedded"] * 3
    assert (embedded / "contact_sheet.png").exists() and not list((embedded / ".states").glob("*"))


def test_the_first_stage_stays_in_w_and_the_second_leaves_it(networks: dict[str, str], tmp_path: Path) -> None:
    embed(tmp_path, pie(networks, tmp_path / "w", schedule=Schedule(4, 0, "adam", 0.3, 0.1)), samples=1)
    (in_w,) = load_embeddings(tmp_path / "w")
    assert in_w.w is not None and torch.equal(in_w.w_plus, in_w.w.expand(6, -1))
    embed(tmp_path, pie(networks, tmp_path / "both", schedule=Schedule(4, 3, "adam", 0.3, 0.1)), samples=1)
    (both,) = load_embeddings(tmp_path / "both")
    assert both.w is not None and torch.equal(both.w, in_w.w) and float(both.w_plus.std(dim=0).max()) > 0


def test_direct_optimisation_has_no_first_stage(networks: dict[str, str], tmp_path: Path) -> None:
    embed(tmp_path, pie(networks, tmp_path / "direct", schedule=Schedule(0, 4, "adam", 0.3, 0.1)), samples=1)
    (found,) = load_embeddings(tmp_path / "direct")
    assert found.w is None and float(found.w_plus.std(dim=0).max()) > 0


@pytest.mark.parametrize("optimiser", ["adam", "adadelta"])
def test_the_energy_falls(networks: dict[str, str], tmp_path: Path, optimiser: Any) -> None:
    """That of the portrait's own pixels, from the mean code on."""
    weights = EnergyWeights(1.0, 0.0, 0.0, 0.0, 0.0, recognition=0.0, edited_recognition=0.0)
    step = 0.2 if optimiser == "adam" else 50.0
    module = pie(networks, tmp_path / "codes", weights, Schedule(30, 20, optimiser, step, step / 2))
    embed(tmp_path, module, samples=2)
    for each in load_embeddings(tmp_path / "codes"):
        start = module.generator.synthesis(module.generator.mean_w.expand(1, 6, -1), noise="const")
        before = float(((start - each.pixels) / 2).square().sum(dim=1).mean())
        assert set(each.energies) == {"pixels", "total"} and each.energies["pixels"] < 0.5 * before


@pytest.mark.parametrize("kill", [1, 3, 4, 6])
@pytest.mark.parametrize("optimiser", ["adam", "adadelta"])
def test_a_killed_run_goes_on_in_the_middle_of_a_portrait(
    networks: dict[str, str], tmp_path: Path, embedded: Path, kill: int, optimiser: Any
) -> None:
    """In either stage, and between the two: the codes are those of a run that nobody killed, bit for bit."""
    schedule = Schedule(4, 3, optimiser, 0.3, 0.1, 0.1, 10)
    with pytest.raises(Stop):
        embed(tmp_path, pie(networks, tmp_path / "codes", schedule=schedule), callbacks=[Killer(kill)])
    states = len(list((tmp_path / "codes" / ".states").glob("*.safetensors"))) if kill > 1 else 0
    assert states == (3 if kill > 1 else 0)
    trainer = embed(tmp_path, pie(networks, tmp_path / "codes", schedule=schedule))
    assert trainer.global_step == 7 - kill // 2 * 2
    if optimiser == "adadelta":
        embed(tmp_path, pie(networks, tmp_path / "whole", schedule=schedule))
    assert torch.equal(codes(tmp_path / "codes"), codes(embedded if optimiser == "adam" else tmp_path / "whole"))


def test_a_broken_state_starts_that_portrait_anew_and_says_so(
    networks: dict[str, str], tmp_path: Path, embedded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Stop):
        embed(tmp_path, pie(networks, tmp_path / "codes"), callbacks=[Killer(5)])
    (tmp_path / "codes/.states/sample_0001.safetensors").write_bytes(b"cut")
    embed(tmp_path, pie(networks, tmp_path / "codes"))
    notes = [line for line in capsys.readouterr().err.splitlines() if "starts anew" in line]
    assert len(notes) == 1 and notes[0].startswith("note: sample_0001 starts anew: its state")
    assert_alike(codes(tmp_path / "codes"), codes(embedded))


def test_an_embedding_does_not_depend_on_what_it_is_batched_with(
    networks: dict[str, str], tmp_path: Path, embedded: Path
) -> None:
    embed(tmp_path, pie(networks, tmp_path / "single"), batch_size=1)
    assert_alike(codes(tmp_path / "single"), codes(embedded))


def test_finished_portraits_are_left_alone(networks: dict[str, str], tmp_path: Path, embedded: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in embedded.glob("*.safetensors")}
    trainer = embed(tmp_path, pie(networks, embedded), samples=4)
    assert trainer.global_step == 7 and len(load_embeddings(embedded)) == 4
    assert before == {path: path.stat().st_mtime_ns for path in before}
    (embedded / "sample_0003.safetensors").unlink()


def test_embeddings_of_other_settings_are_not_written_over(
    networks: dict[str, str], tmp_path: Path, embedded: Path
) -> None:
    with pytest.raises(InputError, match="choose another --model.output"):
        embed(tmp_path, pie(networks, embedded, weights=EnergyWeights(perceptual=0.0, edit=0.7)))
    assert load_embedding(embedded / "sample_0000.safetensors").settings["weights"]["edit"] == WEIGHTS.edit


def test_a_portrait_whose_energy_overflows_stops_no_other(
    networks: dict[str, str],
    tmp_path: Path,
    embedded: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    forward = PieEnergies.forward

    def overflowing(self: PieEnergies, codes: Tensor, target: PieTarget, sample: PieSample | None) -> dict[str, Tensor]:
        energies = forward(self, codes, target, sample)
        factor = torch.ones(len(codes))
        factor[1] = torch.nan
        return {name: value * factor for name, value in energies.items()}

    monkeypatch.setattr(PieEnergies, "forward", overflowing)
    module = pie(networks, tmp_path / "codes")
    embed(tmp_path, module)
    assert module.failures == 1
    assert "sample_0001: its energy was not finite at iteration 0; lower the step sizes" in capsys.readouterr().err
    monkeypatch.undo()
    for name in ("sample_0000", "sample_0002"):
        found, whole = (load_embedding(folder / f"{name}.safetensors") for folder in (tmp_path / "codes", embedded))
        assert torch.equal(found.w_plus, whole.w_plus)
    assert not (tmp_path / "codes/sample_0001.safetensors").exists()


def test_a_test_averages_the_energies_of_the_embeddings(
    networks: dict[str, str], tmp_path: Path, embedded: Path
) -> None:
    (metrics,) = (
        quiet_trainer(tmp_path, enable_checkpointing=False).test(
            pie(networks, embedded), EmbeddingDataModule(test_samples=size)
        )[0]
        for size in (2,)
    )
    own = [embedding.energies["pixels"] for embedding in load_embeddings(embedded)]
    assert metrics["test/pixels"] == pytest.approx(sum(own) / 3, rel=1e-4)
    assert metrics["test/total"] > 0


def test_another_batch_size_goes_on_where_portraits_stand(
    networks: dict[str, str], tmp_path: Path, embedded: Path
) -> None:
    with pytest.raises(Stop):
        embed(tmp_path, pie(networks, tmp_path / "codes"), batch_size=2, callbacks=[Killer(9)])
    # Two are finished, the third is after its second iteration.
    assert len(load_embeddings(tmp_path / "codes")) == 2
    trainer = embed(tmp_path, pie(networks, tmp_path / "codes"), batch_size=5)
    assert trainer.global_step == 5
    assert_alike(codes(tmp_path / "codes"), codes(embedded))


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_ranks_share_out_portraits_without_loss_or_repetition(ranks: int, batch_size: int) -> None:
    image = torch.zeros(3, 4, 4, dtype=torch.uint8)
    portraits = [(PreparedPortrait(f"p{i}", "photo", {}, image, None), 0 if i < 5 else 3) for i in range(7)]
    shares = share_out(portraits, ranks, batch_size)
    assert len(shares) == ranks
    groups = [group for share in shares for group in share]
    assert sorted(portrait.name for group in groups for portrait in group.portraits) == [f"p{i}" for i in range(7)]
    assert all(len(group.portraits) <= batch_size for group in groups)
    assert {portrait.name: group.start for group in groups for portrait in group.portraits} == {
        portrait.name: start for portrait, start in portraits
    }


def test_codes_v_are_fresh_each_iteration_and_those_of_the_portrait(networks: dict[str, str], tmp_path: Path) -> None:
    seen: dict[str, list[Tensor]] = {}

    class Watch(Callback):
        def on_train_batch_start(
            self, trainer: Trainer, pl_module: LightningModule, batch: PortraitStep, batch_idx: int
        ) -> None:
            for portrait, v in zip(batch.portraits, batch.v, strict=True):
                seen.setdefault(portrait.name, []).append(v)

    embed(tmp_path, pie(networks, tmp_path / "a"), samples=2, callbacks=[Watch()])
    first = seen.pop("sample_0000")
    assert len(first) == 7 and all(not torch.equal(one, other) for one, other in zip(first, first[1:], strict=False))
    assert not torch.equal(first[0], seen["sample_0001"][0])
    seen.clear()
    embed(tmp_path, pie(networks, tmp_path / "b"), samples=2, batch_size=1, callbacks=[Watch()])
    assert all(torch.equal(one, other) for one, other in zip(first, seen["sample_0000"], strict=True))


def test_the_key_of_a_portrait_is_of_its_bytes() -> None:
    image = torch.arange(48, dtype=torch.uint8).reshape(3, 4, 4)
    assert portrait_key(image) == portrait_key(image.clone()) != portrait_key(image.flip(0))


def test_step_sizes_decay_within_each_stage() -> None:
    schedule = Schedule()
    assert schedule.step_size(0) == 50.0 and schedule.step_size(1000) == pytest.approx(50 * 0.1**0.5)
    assert schedule.step_size(2000) == 10.0 and schedule.step_size(2999) == pytest.approx(10 * 0.1 ** (999 / 2000))


def test_what_cannot_be_embedded_is_said(networks: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="photos, portraits or samples"):
        quiet_trainer(tmp_path, max_epochs=1, enable_checkpointing=False).fit(
            pie(networks, tmp_path / "x"), EmbeddingDataModule()
        )
    with pytest.raises(InputError, match="expected a code_encoder where the schedule starts from one"):
        pie(networks, tmp_path / "x", schedule=Schedule(start="encoder"))
    with pytest.raises(InputError, match="above 0"):
        EnergyWeights(pixels=0.0, perceptual=0.0)
    with pytest.raises(InputError, match="at least one in all"):
        Schedule(0, 0)
    with pytest.raises(InputError, match="save_every"):
        PieSettings(save_every=0)
    with pytest.raises(InputError, match="found none"):
        quiet_trainer(tmp_path, enable_checkpointing=False).test(
            pie(networks, tmp_path / "none"), EmbeddingDataModule()
        )


def test_an_untrained_rig_is_refused(networks: dict[str, str], tmp_path: Path) -> None:
    module = pie(networks, tmp_path / "x")
    rig = module.energies.network
    untrained = type(rig)(rig.num_layers, rig.w_dim, rig.components, rig.sizes, 4)
    from models.stylerig import Provenance, sources_of

    provenance = Provenance.of(
        module.generator, module.energies.loss.renderer.landmark_model, module.energies.loss.renderer.camera
    )
    path = untrained.save(tmp_path / "rig.safetensors", provenance, sources_of(networks["rig"]))
    with pytest.raises(InputError, match="was never trained"):
        pie({**networks, "rig": str(path)}, tmp_path / "x")
    # Synthesis alone asks nothing of it.
    pie(
        {**networks, "rig": str(path)},
        tmp_path / "x",
        EnergyWeights(1.0, 0.0, 0.0, 0.0, 0.0, recognition=0.0, edited_recognition=0.0),
    )
