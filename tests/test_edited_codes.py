"""Training codes moved as edits move them: which, how far, with which pictures, and under the training of a face reconstruction."""

from pathlib import Path

import pytest
import torch

from datamodules.latent_pairs import LatentPairDataModule, LatentPairs, PairRecipe
from lightning_modules.edited_codes import EditedCodes, edit_pairs
from lightning_modules.face_reconstruction import DifferentiableFaceReconstruction, FaceReconstructionSettings
from models.stylegan2 import Generator, load_generator
from models.stylerig import RigNet, RigSources
from renderers.errors import InputError
from tests.tiny_stylerig import LAYERS, WIDTH, quiet_trainer, use_toy_face, write_networks
from tests.toy_face import SIZES


@pytest.fixture
def generator(tmp_path: Path) -> Generator:
    return load_generator(write_networks(tmp_path)["generator"])


def pairs(generator: Generator, indices: range = range(40)) -> LatentPairs:
    return PairRecipe(0).pairs(generator, "train", torch.tensor(list(indices)), images=True)


def moves(before: LatentPairs, after: LatentPairs) -> torch.Tensor:
    return torch.cat([after.w - before.w, after.v - before.v])


def test_the_share_of_codes_is_moved_with_their_pictures(generator: Generator) -> None:
    before = pairs(generator)
    copies = [value.clone() for value in before]
    after = edit_pairs(EditedCodes(share=0.3), generator, None, before)
    assert all(torch.equal(value, copy) for value, copy in zip(before, copies, strict=True))
    moved = moves(before, after).flatten(1).any(dim=1)
    assert 0.15 < moved.float().mean() < 0.45
    codes, images = torch.cat([after.w, after.v]), torch.cat([after.image_w, after.image_v])
    torch.testing.assert_close(images, generator.synthesis(codes).clamp(-1, 1), rtol=0, atol=1e-5)
    kept = torch.cat([before.image_w, before.image_v])[~moved]
    assert torch.equal(images[~moved], kept)


def test_no_share_changes_nothing(generator: Generator) -> None:
    before = pairs(generator, range(3))
    after = edit_pairs(EditedCodes(), generator, None, before)
    assert all(torch.equal(value, other) for value, other in zip(before, after, strict=True))


def test_codes_move_along_the_line_to_the_other_one(generator: Generator) -> None:
    before = pairs(generator)
    change = moves(before, edit_pairs(EditedCodes(share=1.0, extrapolation=1.3, step=0.0), generator, None, before))
    way = torch.cat([before.v - before.w, before.w - before.v])
    t = (change * way).sum(dim=(1, 2)) / way.square().sum(dim=(1, 2))
    torch.testing.assert_close(change, t[:, None, None] * way, rtol=0, atol=1e-5)
    assert 0 <= t.min() < 0.15 and 1.15 < t.max() <= 1.3


@pytest.mark.parametrize("step", [0.5, [0.1, 0.2, 0.3, 0.4, 0.5, 0.0]])
def test_steps_have_the_deviations_asked_for(generator: Generator, step: float | list[float]) -> None:
    before = pairs(generator, range(200))
    change = moves(before, edit_pairs(EditedCodes(share=1.0, extrapolation=0.0, step=step), generator, None, before))
    unit = generator.std_w.square().mean().sqrt()
    asked = torch.tensor(step).expand(LAYERS)
    torch.testing.assert_close(change.square().mean(dim=(0, 2)).sqrt() / unit, asked, rtol=0.05, atol=0)
    assert abs(torch.corrcoef(change[:, 0].T)[0, 1]) < 0.2


def test_targets_are_the_edits_of_a_rignet(generator: Generator) -> None:
    """A RigNet that adds yaw, in units of its statistics, to each entry of the first layer."""
    rignet = RigNet(LAYERS, WIDTH, ("rotation",), SIZES, latent=2)
    rignet.parameter_mean.fill_(0.1)
    rignet.parameter_std.fill_(0.5)
    with torch.no_grad():
        rignet.decoder_weight[0, 3] = 1.0  # two numbers of the latent, pitch, yaw
    before = pairs(generator, range(300))
    settings = EditedCodes(share=1.0, extrapolation=1.0, step=0.0)
    change = moves(before, edit_pairs(settings, generator, rignet, before))
    assert not change[:, 1:].any()
    torch.testing.assert_close(change[:, 0], change[:, 0, :1].expand(-1, WIDTH), rtol=0, atol=1e-5)
    # A standard normal yaw times a uniform t: mean 0, variance 1/3.
    assert abs(change[:, 0, 0].mean()) < 0.1 and float(change[:, 0, 0].std()) == pytest.approx(3**-0.5, rel=0.15)


def test_moves_follow_from_the_index_alone(generator: Generator) -> None:
    settings = EditedCodes(share=0.5)
    whole = edit_pairs(settings, generator, None, pairs(generator, range(8)))
    for part in (range(0, 8, 2), range(5, 8)):
        alone = edit_pairs(settings, generator, None, pairs(generator, part))
        for value, other in zip(alone, whole, strict=True):
            assert value is not None and other is not None
            torch.testing.assert_close(value, other[list(part)], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "settings", [{"share": -0.1}, {"share": 1.1}, {"extrapolation": -1.0}, {"step": -0.1}, {"step": [0.1, -0.1]}]
)
def test_bad_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(InputError, match="share from 0 to 1"):
        EditedCodes(**settings)  # type: ignore[arg-type]


def test_training_sees_moved_codes_and_validation_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_toy_face(monkeypatch)
    networks = write_networks(tmp_path)
    plain = DifferentiableFaceReconstruction(**networks, settings=FaceReconstructionSettings(hidden=8))
    editor = RigNet(LAYERS, WIDTH, ("rotation",), SIZES, latent=2)
    with torch.no_grad():
        editor.decoder_weight.normal_()
    path = str(editor.save(tmp_path / "editor.safetensors", plain.provenance, RigSources("g", "f", "m")))
    settings = FaceReconstructionSettings(hidden=8, landmark_steps=0, edited=EditedCodes(share=1.0, rignet=path))
    module = DifferentiableFaceReconstruction(**networks, settings=settings)
    assert all(key.startswith("network.") for key in module.state_dict())
    seen: list[torch.Tensor] = []
    read = module.network.parameters_of
    monkeypatch.setattr(module.network, "parameters_of", lambda codes: (seen.append(codes), read(codes))[1])
    data = LatentPairDataModule(batch_size=2, train_pairs=8, validation_pairs=2)
    trainer = quiet_trainer(tmp_path, max_steps=1, enable_checkpointing=False, limit_val_batches=1, val_check_interval=1)
    trainer.fit(module, data)
    drawn, checked = (
        PairRecipe(0).pairs(module.generator, split, torch.arange(2)) for split in ("train", "validate")
    )
    assert len(seen) == 2 and (seen[0] - torch.cat([drawn.w, drawn.v])).flatten(1).any(dim=1).all()
    torch.testing.assert_close(seen[1], torch.cat([checked.w, checked.v]))


def test_moves_that_do_not_fit_the_generator_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_toy_face(monkeypatch)
    networks = write_networks(tmp_path)

    def module(edited: EditedCodes) -> DifferentiableFaceReconstruction:
        return DifferentiableFaceReconstruction(**networks, settings=FaceReconstructionSettings(hidden=8, edited=edited))

    for steps in ([], [0.1] * (LAYERS - 1)):
        with pytest.raises(InputError, match=f"each of the generator's {LAYERS} layers"):
            module(EditedCodes(share=0.5, step=steps))
    with pytest.raises(InputError, match="found none"):
        module(EditedCodes(share=0.5, rignet=str(tmp_path / "none.safetensors")))
