"""Training of lifted generators: losses against their formulas, perturbations, memory, resumption, outputs and errors."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from datamodules.latent_pairs import PairRecipe
from lightning_modules.lifted_gan import LiftedGanModule
from lightning_modules.lifted_gan_losses import (
    PictureDistance,
    convex_error,
    counted_pixels,
    cycle_error,
    high_passed_albedo,
    identity_error,
    nuclear_norm,
    style_prior,
)
from lightning_modules.lifted_gan_measures import depth_figures, judged_turn, psnr, turned_view
from lightning_modules.lifted_gan_perturbation import draw_perturbation
from lightning_modules.lifted_gan_settings import LiftedTraining
from models.lifted_gan import LiftedGAN, LiftedRender, LiftedSettings, pose_of_view
from models.observers import Judge, JudgeReading, load_face_embedder
from models.perceptual import FeatureExtractor, PerceptualLoss
from models.stylegan2 import load_generator
from renderers.errors import InputError
from tests.lifted_gan_files import TINY, tiny_lifted
from tests.tiny_lifted_gan import PLAIN, TRAINING, lifted_module, tiny_pairs, write_judge, write_lifted_gan_networks
from tests.tiny_stylerig import quiet_trainer

PARTS = ("view", "light", "manipulation", "depth", "transformation")


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    return write_lifted_gan_networks(tmp_path)


def train(model: LiftedGanModule, folder: Path, steps: int, checkpoint: Path | None = None, **options: Any) -> Trainer:
    trainer = quiet_trainer(
        folder, max_steps=steps, **{"limit_val_batches": 0, "enable_checkpointing": False, **options}
    )
    trainer.fit(model, datamodule=tiny_pairs(), ckpt_path=checkpoint)
    return trainer


def pictured(model: LiftedGanModule, pairs: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Codes of W, their pictures and the pairs' indices."""
    made = PairRecipe(0, 1).pairs(model.generator, "train", torch.arange(pairs), images=True)
    assert made.image_w is not None and made.image_v is not None
    return torch.cat([made.w, made.v])[:, 0], torch.cat([made.image_w, made.image_v]), made.indices


class Halves(FeatureExtractor):
    """Pictures as their own features, and the same at half the size."""

    name = "pixels"

    def forward(self, images: Tensor) -> list[Tensor]:
        return [images, torch.nn.functional.avg_pool2d(images, 2)]


# Terms


def test_pictures_are_compared_where_the_mask_is() -> None:
    """L1 per picture over its own pixels; features see no difference elsewhere."""
    distance = PictureDistance(1.0, PerceptualLoss(Halves(), normalise=True))
    image, target = torch.rand(2, 3, 4, 4) - 0.5, torch.rand(2, 3, 4, 4) - 0.5
    mask = torch.zeros(2, 1, 4, 4)
    mask[0, :, :2], mask[1] = 1, 1
    found = distance(image, target, mask)
    outside = torch.where(mask > 0, image, torch.rand_like(image))
    torch.testing.assert_close(distance(outside, target, mask), found)
    torch.testing.assert_close(distance(image, target, mask, distance.feature_maps(target)), found)
    absolute = (image[0] - target[0])[:, :2].abs().mean() + (image[1] - target[1]).abs().mean()
    seen = torch.where(mask > 0, image, target)
    features = torch.zeros(())
    for scale in (1, 2):
        one, other = (torch.nn.functional.avg_pool2d(each, scale) for each in (seen, target))
        one, other = (each / each.norm(dim=1, keepdim=True) for each in (one, other))
        features = features + (one - other).square().sum(dim=1).mean() / 2
    torch.testing.assert_close(found, absolute / 2 + features, atol=1e-5, rtol=1e-4)
    assert float(distance(target, target, mask)) == 0


def test_pixels_beyond_the_depths_are_left_out() -> None:
    depth = torch.tensor([[[1.0, 1.19], [1.2, 1.3]]])
    render = LiftedRender(torch.zeros(1, 3, 2, 2), depth, torch.ones(1, 1, 2, 2))
    assert counted_pixels(render, 1.2).flatten().tolist() == [1, 1, 0, 0]


def test_prior_and_cycle_of_paper_and_release() -> None:
    codes, mean, deviation = torch.tensor([[1.0, 3.0], [2.0, -1.0]]), torch.tensor([1.0, 0.0]), torch.tensor([1.0, 3.0])
    # Squares 0, 9, 1, 1 over a variance of 2 x 2, halved.
    assert float(style_prior(codes, mean, deviation, TRAINING)) == pytest.approx(11 / 4 / 8)
    paper = LiftedTraining.paper()
    assert float(style_prior(codes, mean, deviation, paper)) == pytest.approx(11 / 2 / 8)
    view, light = torch.zeros(2, 6), torch.zeros(2, 4)
    asked = torch.full((2, 6), 0.5)
    assert float(cycle_error(view, light, asked, light + 1, TRAINING)) == pytest.approx(0.25 + 1)
    assert float(cycle_error(view, light, asked, light + 1, paper)) == pytest.approx(6 * 0.25 + 4)


def test_identity_counts_samples_that_are_turned_little(files: dict[str, str]) -> None:
    embedder = load_face_embedder(files["embedder"])
    texture, render = torch.rand(3, 3, 16, 16), torch.rand(3, 3, 16, 16)
    yaw = torch.tensor([0.1, -0.5, -0.4])
    squares = (embedder(texture) - embedder(render)).square().sum(dim=1)
    found = identity_error(embedder, texture, render, yaw, 0.45)
    torch.testing.assert_close(found, (squares[0] + squares[2]) / 3)
    assert float(identity_error(embedder, texture, render, yaw, 0.01)) == 0


@pytest.mark.parametrize("high_pass", ["blur", "laplacian"])
def test_smooth_albedo_has_no_rank(high_pass: Any) -> None:
    lifted = tiny_lifted()
    with torch.no_grad():
        output = lifted(torch.randn(3, 8))
    settings = replace(TRAINING, high_pass=high_pass)
    rough = high_passed_albedo(lifted, output, settings)
    assert rough.shape == (3, 64 if high_pass == "blur" else 14 * 14) and float(nuclear_norm(rough)) > 0
    flat = replace(output, albedo=torch.full_like(output.albedo, 0.3))
    torch.testing.assert_close(high_passed_albedo(lifted, flat, settings), torch.zeros_like(rough), atol=1e-5, rtol=0)
    nearer = replace(output, depth=torch.full_like(output.depth, 1.05))
    behind = high_passed_albedo(lifted, nearer, settings)
    assert bool(behind.any()) == (high_pass == "laplacian")


@pytest.mark.parametrize("high_pass", ["blur", "laplacian"])
def test_high_passed_albedo_is_exact_under_autocast(high_pass: Any) -> None:
    lifted, settings = tiny_lifted(), replace(TRAINING, high_pass=high_pass)
    with torch.no_grad():
        output = lifted(torch.randn(2, 8))
    # Fine detail on a bright face is below the precision of bfloat16.
    albedo = 0.8 + 0.002 * torch.randn_like(output.albedo)
    output = replace(output, albedo=albedo, depth=torch.full_like(output.depth, 0.95))
    exact = high_passed_albedo(lifted, output, settings)
    with torch.autocast("cpu", torch.bfloat16):
        found = high_passed_albedo(lifted, output, settings)
    assert float(exact.abs().max()) > 0
    torch.testing.assert_close(found, exact, atol=0, rtol=0)


def test_nuclear_norm_is_the_sum_of_singular_values() -> None:
    rows = torch.randn(3, 20, dtype=torch.float32, requires_grad=True)
    norm = nuclear_norm(rows)
    expected = torch.linalg.eigvalsh(rows.detach() @ rows.detach().T).sqrt().sum()
    torch.testing.assert_close(norm, expected, atol=1e-4, rtol=1e-4)
    same = torch.ones(4, 9, requires_grad=True)
    nuclear_norm(same).backward()
    assert same.grad is not None and bool(same.grad.isfinite().all())


def test_hollow_faces_are_far_from_convex_ones() -> None:
    sizes = LiftedSettings()
    x = torch.linspace(-1, 1, 32)
    bulge = (1 - (x / 0.55) ** 2 - (x[:, None] / 0.75) ** 2).clamp_min(0).sqrt()[None]
    convex, hollow = 1.0 - 0.06 * bulge, 1.0 + 0.06 * bulge
    assert float(convex_error(convex, sizes)) == pytest.approx(0, abs=1e-9)
    assert float(convex_error(convex + 0.03, sizes)) == pytest.approx(0, abs=1e-9)
    assert float(convex_error(hollow, sizes)) > 4 * float(convex_error(torch.ones(1, 32, 32), sizes)) * 0.99


# Perturbations


def test_perturbed_views_are_those_of_the_appendix() -> None:
    light = torch.arange(800.0).view(200, 4)
    drawn = draw_perturbation(torch.arange(100), 3, light, TRAINING, TINY)
    rotation = torch.rad2deg(drawn.view[:, :3] * TINY.rotation_range)
    for axis, limit in ((0, 15.0), (1, 45.0)):
        assert limit * 0.9 < float(rotation[:, axis].abs().max()) <= limit
        assert float(rotation[:, axis].std()) == pytest.approx(limit / math.sqrt(3), rel=0.15)
    assert not bool(rotation[:, 2].any() or drawn.view[:, 4:].any())
    torch.testing.assert_close(drawn.view[:, 3], 0.2 * drawn.yaw.sin())
    torch.testing.assert_close(torch.rad2deg(drawn.yaw), rotation[:, 1])
    # Noses that turn to the image's right are moved to the left.
    pose = pose_of_view(drawn.view, TINY)
    assert bool((pose.rotation[:, 1].sign() == -pose.translation[:, 0].sign()).all())
    assert not torch.equal(drawn.light, light) and torch.equal(drawn.light.sort(dim=0).values, light)
    paper = draw_perturbation(torch.arange(100), 3, light, LiftedTraining.paper(), TINY)
    assert float(torch.rad2deg(paper.view[:, 0] * TINY.rotation_range).abs().max()) <= 10 and not bool(
        paper.view[:, 3].any()
    )


def test_perturbations_follow_from_seed_pair_and_step() -> None:
    light, indices = torch.zeros(8, 4), torch.arange(4)
    first = draw_perturbation(indices, 5, light, TRAINING, TINY).view
    assert torch.equal(draw_perturbation(indices, 5, light, TRAINING, TINY).view, first)
    part = draw_perturbation(indices[2:], 5, light[:4], TRAINING, TINY).view
    assert torch.equal(part, first[[2, 3, 6, 7]])
    for other in (
        draw_perturbation(indices, 6, light, TRAINING, TINY),
        draw_perturbation(indices + 4, 5, light, TRAINING, TINY),
        draw_perturbation(indices, 5, light, replace(TRAINING, seed=1), TINY),
    ):
        assert not bool((other.view[:, :2] == first[:, :2]).any())


# The objective


def gradients(model: LiftedGanModule, settings: LiftedTraining) -> tuple[dict[str, Tensor], float]:
    """Of a step's backward passes, with these settings, by parameter; and the loss."""
    model.objective.settings = model.settings = settings
    model.lifted.networks.zero_grad()
    codes, images, indices = pictured(model)
    faces = model.objective.faces(model.lifted, codes, images, indices, 0)
    faces.loss.backward()
    loss = float(faces.loss.detach())
    if settings.parts_in_turn and settings.perturbation > 0:
        assert faces.perturbed is not None
        second, _ = model.objective.manipulation(model.lifted, codes, faces.perturbed)
        second.backward()
        loss += float(second.detach())
    return {
        name: torch.zeros_like(each) if each.grad is None else each.grad.clone()
        for name, each in model.lifted.networks.named_parameters()
    }, loss


@pytest.mark.parametrize("choices", ["release", "paper"])
def test_two_backward_passes_have_the_gradient_of_one(files: dict[str, str], choices: str) -> None:
    settings = TRAINING
    if choices == "paper":
        settings = replace(LiftedTraining.paper(), perceptual=0.0)
    settings = replace(settings, identity_limit_deg=89.0)
    model = lifted_module(files, settings)
    (together, loss), (apart, other) = (
        gradients(model, replace(settings, parts_in_turn=turns)) for turns in (False, True)
    )
    assert loss == pytest.approx(other, rel=1e-5)
    for name, value in together.items():
        torch.testing.assert_close(apart[name], value, atol=1e-5, rtol=1e-3, msg=name)


def test_what_each_part_trains(files: dict[str, str]) -> None:
    """Part a trains M alone; part b reaches M in the release and not in the paper; flip, identity and albedo reach their parts."""
    model = lifted_module(files)
    codes, images, indices = pictured(model)
    networks = model.lifted.networks

    def trained(loss: Tensor) -> set[str]:
        networks.zero_grad()
        loss.backward()
        return {
            part
            for part in PARTS
            if any(
                each.grad is not None and bool(each.grad.any()) for each in networks.get_submodule(part).parameters()
            )
        }

    faces = model.objective.faces(model.lifted, codes, images, indices, 0)
    assert faces.perturbed is not None and set(faces.terms) == {
        "reconstruction", "flip", "albedo", "perturbed", "cycle", "identity"
    }  # fmt: skip
    assert trained(faces.loss) == set(PARTS)
    assert trained(model.objective.manipulation(model.lifted, codes, faces.perturbed)[0]) == {"manipulation"}
    for release in (True, False):
        model.objective.settings = replace(PLAIN, flip=0.0, albedo=0.0, estimate_trains_manipulation=release)
        output = model.lifted(codes)
        names = ("depth", "albedo", "transformation", "light", "view", "texture", "code")
        fixed = replace(output, **{name: getattr(output, name).detach() for name in names})
        asked = faces.perturbed.asked
        loss, _ = model.objective._turned(model.lifted, codes, fixed, asked, faces.perturbed.render, None)
        assert trained(loss) == ({"view", "light", "manipulation"} if release else {"view", "light"})


def test_weights_multiply_what_paper_and_release_say(files: dict[str, str]) -> None:
    model = lifted_module(files)
    codes, images, indices = pictured(model)

    def loss(settings: LiftedTraining) -> tuple[float, dict[str, float]]:
        model.objective.settings = settings
        with torch.no_grad():
            faces = model.objective.faces(model.lifted, codes, images, indices, 0)
        return float(faces.loss), {name: float(value) for name, value in faces.terms.items()}

    whole = replace(TRAINING, parts_in_turn=False, identity_limit_deg=89.0)
    total, terms = loss(whole)
    rest = (
        2 * (terms["perturbed"] + 2 * terms["cycle"] + terms["manipulation"])
        + terms["identity"]
        + 0.01 * terms["albedo"]
    )
    pictures = 5 * (terms["reconstruction"] + 0.8 * terms["flip"])
    assert total == pytest.approx(pictures + rest + 0.5 * terms["prior"], rel=1e-5)
    beside = loss(replace(whole, flip_within=False, prior_within=True))[0]
    pictures = 5 * terms["reconstruction"] + 0.8 * terms["flip"]
    assert beside == pytest.approx(pictures + rest + 2 * 0.5 * terms["prior"], rel=1e-5)
    alone, few = loss(replace(PLAIN, flip=0.0, perturbation=0.0, albedo=0.0))
    assert set(few) == {"reconstruction"} and alone == pytest.approx(5 * few["reconstruction"])
    drawn, _ = loss(replace(whole, identity_render="perturbed"))
    assert drawn != pytest.approx(total, rel=1e-7)
    early, found = loss(replace(whole, convex_steps=1))
    assert early == pytest.approx(total + 10 * found["convex"], rel=1e-5)


# Measures


def test_depth_that_has_collapsed_is_found() -> None:
    x = torch.linspace(-1, 1, 16)
    sound = (1.05 - 0.1 * torch.exp(-3 * (x**2 + x[:, None] ** 2)))[None]
    assert float(depth_figures(sound, TINY).degenerate) == 0 and float(depth_figures(sound, TINY).spread) > 0.1
    flat = 1.0 + 0.001 * torch.rand(1, 16, 16)
    ended = torch.where(torch.rand(1, 16, 16) < 0.5, 0.9, 1.1)
    figures = depth_figures(torch.cat([sound, flat, ended]), TINY)
    assert float(figures.degenerate) == pytest.approx(2 / 3)


def test_turned_views_turn_the_nose_to_the_right() -> None:
    with torch.no_grad():
        output = tiny_lifted()(torch.randn(2, 8))
    view = turned_view(output, TINY, 30.0, 0.2)
    pose = pose_of_view(view, TINY)
    torch.testing.assert_close(torch.rad2deg(pose.rotation), torch.tensor([[0.0, 30.0, 0.0]] * 2))
    # As training draws them: against the turn, so to the image's left.
    assert torch.equal(view[:, 4:], torch.zeros(2, 2)) and (pose.translation[:, 0] < 0).all()
    torch.testing.assert_close(view[:, 3].abs(), torch.full((2,), 0.1))
    assert not turned_view(output, TINY, 30.0, 0.0)[:, 3].any()
    drawn = draw_perturbation(torch.arange(1), 0, output.light, TRAINING, TINY)
    expected = torch.cat([turned_view(output, TINY, -math.degrees(float(yaw)), 0.2)[:1] for yaw in drawn.yaw])
    torch.testing.assert_close(drawn.view[:, 3], expected[:, 3])


class Scripted(Judge):
    """Reads these yaws, in degrees, in turn."""

    def __init__(self, yaws: list[float]) -> None:
        super().__init__(widths=(4, 8), blocks=(1, 1), num_features=8, working_size=16)
        self.yaws = yaws

    def forward(self, images: Tensor) -> JudgeReading:
        rotation = torch.full((len(images), 3), math.radians(self.yaws.pop(0)))
        return super().forward(images)._replace(rotation=rotation)


def test_turns_are_judged_from_the_front() -> None:
    lifted = tiny_lifted()
    with torch.no_grad():
        output = lifted(torch.randn(2, 8))
        right = judged_turn(Scripted([-15.0, 5.0, 25.0]), lifted, output, 0.2)
        wrong = judged_turn(Scripted([15.0, 5.0, -15.0]), lifted, output, 0.2)
    assert float(right["yaw_gain"]) == pytest.approx(1) and float(right["yaw_error_deg"]) == pytest.approx(0, abs=1e-3)
    assert float(wrong["yaw_gain"]) == pytest.approx(-0.75) and float(wrong["yaw_error_deg"]) == pytest.approx(35)


def test_psnr_counts_the_mask() -> None:
    render = LiftedRender(torch.full((2, 3, 2, 2), 0.2), torch.ones(2, 2, 2), torch.ones(2, 1, 2, 2))
    mask = torch.ones(2, 1, 2, 2)
    mask[0, 0, 0] = 0
    # 0.2 and 0 in [-1, 1] are a tenth apart in [0, 1].
    assert float(psnr(render, torch.zeros(2, 3, 2, 2), mask)) == pytest.approx(20.0, abs=1e-3)
    mask[0] = 0
    assert float(psnr(render, torch.zeros(2, 3, 2, 2), mask)) == pytest.approx(10.0, abs=1e-3)


# Runs


def test_training_comes_closer_to_the_pictures(files: dict[str, str], tmp_path: Path) -> None:
    """The frozen networks stay; file, metrics and samples are written; the file opens and may be tested and gone on from."""
    judge = write_judge(tmp_path)
    model = lifted_module(files, replace(TRAINING, learning_rate=3e-3), judge=judge, sample_every=10)
    codes, images, _ = pictured(model)
    frozen = {name: value.clone() for name, value in model.objective.named_parameters()} | {
        name: value.clone() for name, value in model.generator.named_parameters()
    }
    assert model.objective.embedder is not None and frozen

    def error(lifted: LiftedGAN) -> float:
        with torch.no_grad():
            return float((lifted.render(lifted(codes)).image - images).abs().mean())

    before = error(model.average)
    trainer = train(
        model, tmp_path / "run", 25, limit_val_batches=1, check_val_every_n_epoch=None, val_check_interval=25
    )
    assert int(model.steps) == 25 and int(model.images_seen) == 100 and trainer.global_step == 25
    assert error(model.average) < 0.9 * before
    figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
    for name in (
        "reconstruction",
        "psnr_db",
        "perturbed",
        "identity_similarity",
        "depth_spread",
        "yaw_error_deg",
        "yaw_gain",
    ):
        assert math.isfinite(figures[f"validate/{name}"]), name
    after = dict(model.objective.named_parameters()) | dict(model.generator.named_parameters())
    assert all(torch.equal(after[name], value) for name, value in frozen.items())
    assert not model.objective.embedder.training
    written = tmp_path / "run/lifted_gan.safetensors"
    opened = LiftedGAN.load(written, load_generator(files["generator"]))
    with torch.no_grad():
        torch.testing.assert_close(opened(codes).depth, model.average(codes).depth, atol=2e-3, rtol=0)
    assert sorted(path.name for path in (tmp_path / "run/samples").iterdir())[-1] == "000000100.png"
    again = lifted_module(files, weights=str(written))
    assert again.lifted.networks.training and all(each.requires_grad for each in again.lifted.networks.parameters())
    (tested,) = quiet_trainer(tmp_path).test(again, datamodule=tiny_pairs(), verbose=False)
    assert math.isfinite(tested["test/psnr_db"]) and "test/yaw_gain" not in tested


def test_the_average_follows_the_networks(files: dict[str, str], tmp_path: Path) -> None:
    model = lifted_module(files, replace(PLAIN, learning_rate=1e-2, average_rampup=None))
    start = [each.detach().clone() for each in model.average.networks.parameters()]
    train(model, tmp_path, 1)
    new = 1 - 0.5 ** (4 / 8.0)
    for before, own, average in zip(
        start, model.lifted.networks.parameters(), model.average.networks.parameters(), strict=True
    ):
        torch.testing.assert_close(average, before.lerp(own.detach(), new))


def test_a_resumed_run_continues_exactly(files: dict[str, str], tmp_path: Path) -> None:
    class Save(Callback):
        def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            trainer.save_checkpoint(tmp_path / "half.ckpt")

    whole = lifted_module(files)
    train(whole, tmp_path / "whole", 6)
    train(lifted_module(files), tmp_path / "first", 3, callbacks=[Save()])
    second = lifted_module(files)
    torch.manual_seed(99)
    train(second, tmp_path / "second", 6, tmp_path / "half.ckpt")
    state = second.state_dict()
    assert int(second.steps) == 6
    assert not any(name.split(".")[0] in ("generator", "objective", "judge") or ".generator." in name for name in state)
    for name, value in whole.state_dict().items():
        assert torch.equal(state[name], value), name


def test_mixed_precision(files: dict[str, str], tmp_path: Path) -> None:
    model = lifted_module(files)
    before = [each.detach().clone() for each in model.lifted.networks.parameters()]
    train(model, tmp_path, 2, precision="bf16-mixed")
    after = list(model.lifted.networks.parameters())
    assert all(bool(each.isfinite().all()) for each in after)
    assert any(not torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_collapsed_depth_is_warned_of(files: dict[str, str], tmp_path: Path) -> None:
    model = lifted_module(files, replace(PLAIN, learning_rate=1e-9))
    with torch.no_grad():
        for networks in (model.lifted.networks, model.average.networks):
            networks.depth.head[-1].get_parameter("weight").zero_()
    options: dict[str, Any] = {"limit_val_batches": 1, "check_val_every_n_epoch": None, "val_check_interval": 3}
    with pytest.warns(UserWarning, match="depth of 100 % of the faces is flat"):
        trainer = train(model, tmp_path, 3, **options)
    assert float(trainer.callback_metrics["validate/depth_degenerate"]) == 1


def test_options_that_contradict_each_other(files: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a face embedder where settings.identity is above 0"):
        LiftedGanModule(files["generator"], networks=TINY, settings=TRAINING)
    with pytest.raises(InputError, match="features as perceptual"):
        lifted_module(files, replace(TRAINING, perceptual=1.0))
    with pytest.raises(InputError, match="networks.blur_radius above 0"):
        lifted_module(files, networks=replace(TINY, blur_radius=0))
    with pytest.raises(InputError, match="expected a trained lifted generator to test"):
        quiet_trainer(tmp_path).test(lifted_module(files), datamodule=tiny_pairs(), verbose=False)
    with pytest.raises(InputError, match="max_latents 1 to train LiftedGAN on, .* got max_latents 5"):
        quiet_trainer(tmp_path, max_steps=1).fit(lifted_module(files), datamodule=tiny_pairs(max_latents=5))
    weights = str(lifted_module(files).average.save(tmp_path / "l.safetensors"))
    with pytest.raises(InputError, match="expected networks.mlp_width 8 of"):
        lifted_module(files, weights=weights, networks=replace(TINY, mlp_width=12))
    with pytest.raises(InputError, match="expected weights of kind lifted-gan"):
        lifted_module(files, weights=files["generator"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"reconstruction": 0.0},
        {"flip": -1.0},
        {"prior": math.nan},
        {"learning_rate": 0.0},
        {"largest_yaw_deg": 90.0},
        {"perceptual_scales": ()},
        {"albedo_pooling": 0},
        {"turn_shift": math.inf},
    ],
)
def test_settings_that_cannot_be_used(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="expected"):
        replace(TRAINING, **wrong)


@pytest.mark.parametrize("name", ["squares", "identity_render", "high_pass"])
def test_choices_that_are_unknown_stand_for_no_other(name: str) -> None:
    settings = replace(TRAINING)
    # Types are checked by the tests alone: what a caller of their own code gets is asked for here.
    object.__setattr__(settings, name, "other")
    with pytest.raises(InputError, match=f"expected {name} .* got 'other'"):
        settings.__post_init__()
