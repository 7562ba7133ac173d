"""Everything that the demo measures of a pose rig: figures, targets and pictures."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from datamodules.latent_pairs import PairRecipe
from datamodules.portraits import PortraitSampler
from evaluation.distributions import spread_ratios
from evaluation.frechet import frechet_distance, frechet_distance_of_halves
from evaluation.picture_readers import JudgeReader
from evaluation.rasterizer_benchmark import RasterizerMeasurement, measure_rasterizer
from evaluation.stylerig.edits import EditMeasurement, measure_edits, transfer_by
from evaluation.stylerig.pictures import (
    mixing_grid,
    reconstruction_overlays,
    sample_grid,
    slider_sweep,
    style_mixing_grid,
)
from evaluation.stylerig.reconstruction import ReconstructionMeasurement, measure_reconstruction
from evaluation.stylerig.true_turns import TrueTurns, measure_true_turns
from models.morphable import MorphableModel
from models.observers import Judge, JudgeReading
from models.stylegan2 import Generator
from models.stylerig import FaceReconstruction, RigNet
from renderers.face_renderer import FaceRenderer

SWEEP_DEGREES = (-30.0, -20.0, -10.0, 0.0, 10.0, 20.0, 30.0)
# Streams of portraits by seed: those that the judge and the generator were trained on have smaller ones.
PORTRAIT_SEED = 90_000


@dataclass(frozen=True)
class DemoNetworks:
    """The networks of the demo, all on one device."""

    generator: Generator
    landmarker: nn.Module
    judge: Judge
    face_reconstruction: FaceReconstruction
    rignet: RigNet
    renderer: FaceRenderer
    face_model: MorphableModel


@dataclass(frozen=True)
class Target:
    """A figure that the demo is meant to reach.

    Attributes:
        name: What is measured.
        value: What came; None where it could not be measured here.
        bound: What was wanted.
        sense: Whether the value should be at most or at least the bound.
    """

    name: str
    value: float | None
    bound: float
    sense: Literal["at most", "at least"] = "at most"

    @property
    def reached(self) -> bool:
        """Whether the figure is as wanted."""
        if self.value is None:
            return False
        return self.value <= self.bound if self.sense == "at most" else self.value >= self.bound

    @property
    def outcome(self) -> str:
        """Reached, not reached or not measured."""
        return "not measured" if self.value is None else "reached" if self.reached else "not reached"

    @property
    def sentence(self) -> str:
        """The figure, what was wanted, and the outcome."""
        value = "none" if self.value is None else f"{self.value:.3g}"
        return f"{self.name}: {value} (wanted {self.sense} {self.bound:.3g}): {self.outcome}"


@dataclass(frozen=True)
class GeneratorMeasurement:
    """The generator against portraits, both read by the judge.

    Attributes:
        samples: Generated pictures; there are as many portraits in each half.
        frechet_to_portraits: Fréchet distance in the judge's features to a half of the portraits.
        frechet_between_halves: That between both halves: what sampling alone causes.
        spread_ratio: Spread of each property over that of the portraits.
    """

    samples: int
    frechet_to_portraits: float
    frechet_between_halves: float
    spread_ratio: dict[str, float]


@torch.no_grad()
def measure_generator(
    generator: Generator, judge: Judge, samples: int, seed: int = 0, batch_size: int = 50
) -> GeneratorMeasurement:
    """Compare a generator's samples (plain, untruncated, unmixed) with as many and twice as many fresh portraits."""
    device = generator.mean_w.device
    rng = torch.Generator().manual_seed(seed)
    latents = torch.randn(samples, generator.z_dim, generator=rng).to(device)
    generated = _read_all(judge, [generator(part).clamp(-1, 1) for part in latents.split(batch_size)])
    sampler = PortraitSampler().to(device)
    people = torch.arange(2 * samples)
    shots = sampler.latents(people, torch.zeros_like(people), PORTRAIT_SEED + seed)
    portraits = _read_all(judge, [sampler.render(part, generator.resolution).image for part in shots.split(batch_size)])
    half = portraits.features[:samples]
    return GeneratorMeasurement(
        samples=samples,
        frechet_to_portraits=frechet_distance(generated.features, half),
        frechet_between_halves=frechet_distance_of_halves(portraits.features, seed),
        spread_ratio=asdict(spread_ratios(judge, generated, portraits)),
    )


def _read_all(judge: Judge, batches: list[Tensor]) -> JudgeReading:
    readings = [judge(images) for images in batches]
    return JudgeReading(*(torch.cat(values) for values in zip(*readings, strict=True)))


def targets_of(
    rasterizer: RasterizerMeasurement,
    generator: GeneratorMeasurement,
    reconstruction: ReconstructionMeasurement,
    edits: EditMeasurement,
) -> list[Target]:
    """The figures with what is wanted of each."""
    spreads = [
        Target(f"spread of {name} over that of portraits", generator.spread_ratio[name], 0.7, "at least")
        for name in ("yaw", "pitch", "expression", "illumination")
    ]
    kept = [
        Target(f"change of {name} over that of style mixing for the same rotation", ratio, 0.5)
        for name, ratio in edits.change_ratio.items()
    ]
    size = f"ms per image on the CPU, {rasterizer.faces} faces at {rasterizer.pixels} px"
    return [
        Target("rasterizer: share of pixels equal to PyTorch3D's", rasterizer.equal_pixels, 0.995, "at least"),
        Target(f"rasterizer: forward, {size}", rasterizer.forward_ms, 20.0),
        Target(f"rasterizer: forward and backward, {size}", rasterizer.forward_backward_ms, 80.0),
        *spreads,
        Target("face reconstruction: mean landmark error, px at 64 px", reconstruction.mean_px_at_64, 1.5),
        Target("pose edits: rotation error edited over unedited", edits.error_ratio, 1 / 3),
        *kept,
    ]


@dataclass(frozen=True)
class DemoResults:
    """Figures and pictures of a demo run."""

    rasterizer: RasterizerMeasurement
    generator: GeneratorMeasurement
    reconstruction: ReconstructionMeasurement
    edits: EditMeasurement
    true_turns: TrueTurns
    pictures: dict[str, Image.Image]

    @property
    def targets(self) -> list[Target]:
        """See `targets_of`."""
        return targets_of(self.rasterizer, self.generator, self.reconstruction, self.edits)

    def metrics(self) -> dict[str, Any]:
        """All figures as plain values."""
        return {
            "targets": [{**asdict(target), "reached": target.reached} for target in self.targets],
            "rasterizer": asdict(self.rasterizer),
            "generator": asdict(self.generator),
            "face_reconstruction": asdict(self.reconstruction),
            "pose_edits": self.edits.as_dict(),
            "true_turns_of_portraits": asdict(self.true_turns.full),
            "true_turns_of_portraits_as_far_as_edits": asdict(self.true_turns.as_asked),
        }


@torch.no_grad()
def measure_demo(
    networks: DemoNetworks,
    recipe: PairRecipe,
    pairs: int,
    reconstruction_codes: int,
    portraits: int,
    announce: Callable[[str], None],
) -> DemoResults:
    """Measure and draw everything, on unseen codes of the test split.

    Args:
        networks: What is measured.
        recipe: Of the pairs; those of its test split were never trained on.
        pairs: Number of pairs of pose edits.
        reconstruction_codes: Codes whose reconstruction is measured.
        portraits: Samples of the generator, and half of the portraits that they are compared with.
        announce: Told what is being done.
    """
    generator, device = networks.generator, networks.generator.mean_w.device
    unseen = recipe.pairs(
        generator, "test", torch.arange(max(pairs, math.ceil(reconstruction_codes / 2)), device=device)
    )
    codes = torch.cat([unseen.w, unseen.v])
    announce("timing the rasterizer")
    rasterizer = measure_rasterizer()
    announce(f"comparing {portraits} samples of the generator with portraits")
    quality = measure_generator(generator, networks.judge, portraits)
    announce(f"reconstructing {reconstruction_codes} unseen codes")
    reconstruction = measure_reconstruction(
        generator, networks.landmarker, networks.face_reconstruction, networks.renderer, codes[:reconstruction_codes]
    )
    announce(f"editing {pairs} unseen pairs")
    transfer = transfer_by(networks.rignet, networks.face_reconstruction, "rotation")
    reader = JudgeReader(networks.judge)
    edits = measure_edits(generator, transfer, reader, unseen.w[:pairs], unseen.v[:pairs], "rotation")
    announce(f"turning {portraits} portraits in truth")
    sampler = PortraitSampler().to(device)
    true_turns = measure_true_turns(
        networks.judge, sampler, portraits, generator.resolution, PORTRAIT_SEED + 1, edits.edited.moved
    )
    announce("drawing")
    pictures = _pictures(networks, codes, max(edits.mixing))
    return DemoResults(rasterizer, quality, reconstruction, edits, true_turns, pictures)


def _pictures(
    networks: DemoNetworks, codes: Float[Tensor, "codes layers width"], mixing_layers: int
) -> dict[str, Image.Image]:
    generator = networks.generator
    # Plain codes for samples, as the generator was trained; mixed ones, as the rig was trained, elsewhere.
    rng = torch.Generator().manual_seed(1)
    plain = generator.broadcast(generator.mapping(torch.randn(64, generator.z_dim, generator=rng).to(codes.device)))
    # Faces that look to the sides make sources that show what a transfer of the pose does.
    yaw = networks.face_reconstruction.parameters_of(plain).rotation[:, 1]
    order = yaw.argsort()
    sources = plain[order[torch.linspace(1, len(order) - 2, 5).long()]]
    targets = plain[:6]
    transfer = transfer_by(networks.rignet, networks.face_reconstruction, "rotation")
    return {
        "samples": sample_grid(generator, plain),
        "reconstructions": reconstruction_overlays(
            generator, networks.landmarker, networks.face_reconstruction, networks.renderer, codes[:9]
        ),
        "yaw sweep": slider_sweep(
            generator,
            networks.rignet,
            networks.face_reconstruction,
            networks.face_model,
            plain[6:12],
            "yaw",
            SWEEP_DEGREES,
        ),
        "pose mixing": mixing_grid(generator, transfer, targets, sources),
        "style mixing": style_mixing_grid(generator, mixing_layers, targets, sources),
    }
