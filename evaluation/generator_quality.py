"""How near a generator's pictures are to those it is trained on, measured as it trains."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from datamodules.loading import MeasuredPictures
from evaluation.frechet import FeatureStatistics, RunningStatistics, gaussian_frechet_distance
from lightning_modules.gan_progress import is_due
from lightning_modules.loggers import log_figures
from lightning_modules.progress import rank_seed
from lightning_modules.stylegan2 import StyleGAN2
from models.inception import FidInception, load_inception
from models.observers import Judge, load_face_embedder, load_judge
from models.weights import describe_weights, locate
from renderers.errors import InputError


class FeatureReader(NamedTuple):
    """A network that turns pictures into feature vectors.

    Attributes:
        metric: Name of the Fréchet distance between its vectors.
        network: The network.
        read: Vectors (batch, features) of images (batch, 3, height, width) in [-1, 1].
    """

    metric: str
    network: nn.Module
    read: Callable[[Tensor], Tensor]


def load_features(path: str | Path) -> FeatureReader:
    """The feature network of a weights file; what it is, and so the name of the metric, is read from the file.

    - ``fid``: Inception-v3 weights of torch-fidelity or pytorch-fid (the published metric),
    - ``frechet_torchvision``: torchvision's Inception-v3,
    - ``frechet_judge`` and ``frechet_identity``: this project's judge and identity network.

    Raises:
        InputError: if the file is missing or of another kind.
    """
    found = locate(path)
    if found.suffix != ".safetensors":
        inception = load_inception(found)
        return FeatureReader("fid" if isinstance(inception, FidInception) else "frechet_torchvision", inception, inception)
    if describe_weights(found).kind == Judge.kind:
        judge = load_judge(found)
        return FeatureReader("frechet_judge", judge, judge.features)
    identity = load_face_embedder(found)
    return FeatureReader("frechet_identity", identity, identity)


class FrechetDistance(Callback):
    """Fréchet distance between pictures of the averaged generator and those of the training data (Heusel et al. 2017).

    It is logged as ``quality/<metric>`` with the name of `load_features`: only with the published network's weights is it called FID.
    Fewer pictures than 50,000 raise it: compare distances of the same numbers. Training goes on as without this callback, as the latents
    have their own random numbers. All ranks share the work.

    Args:
        features: Weights file of the feature network.
        every: Training images from one measurement to the next; one more is taken at the end.
        generated: Pictures of the generator (50,000 as published).
        real: Pictures of the training data, from the first; None for all. Mirrored ones do not count, as in the published FID.
        batch_size: Pictures at once.
        seed: Of the latents.

    Attributes:
        real_statistics: Of the features of the training data, once they were measured.
    """

    def __init__(
        self,
        features: str = "assets/demo_judge.safetensors",
        every: int = 200_000,
        generated: int = 50_000,
        real: int | None = None,
        batch_size: int = 32,
        seed: int = 0,
    ) -> None:
        if min(every, batch_size) < 1 or generated < 2 or (real is not None and real < 2):
            raise InputError(
                f"expected positive every and batch_size and at least 2 pictures, got every {every}, batch_size {batch_size}, "
                f"generated {generated} and real {real}; raise them"
            )
        self.reader = load_features(features)
        self.every = every
        self.generated = generated
        self.real = real
        self.batch_size = batch_size
        self.seed = seed
        self.real_statistics: FeatureStatistics | None = None
        self._measured_at = -1

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse what cannot be measured before training begins."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(pl_module, StyleGAN2) or not isinstance(data, MeasuredPictures):
            raise InputError(
                "expected a StyleGAN2 and a data module of pictures to measure the Fréchet distance between, got "
                f"{type(pl_module).__name__} and {type(data).__name__}; "
                "remove the callback evaluation.generator_quality.FrechetDistance"
            )
        fewest = self.generated if self.real is None else min(self.generated, self.real)
        if fewest < trainer.world_size:
            raise InputError(
                f"expected at least one picture for each of {trainer.world_size} ranks, got generated {self.generated} and real "
                f"{self.real}; raise them"
            )

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: dict[str, Tensor], batch_idx: int
    ) -> None:
        """Measure where a multiple of `every` was reached."""
        if is_due(trainer, pl_module, batch, self.every):
            self.measure(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the last state."""
        self.measure(trainer, pl_module)

    def measure(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the averaged generator as it is, unless that was done."""
        assert isinstance(pl_module, StyleGAN2)
        seen = int(pl_module.images_seen)
        if seen == self._measured_at:
            return
        self._measured_at = seen
        self.reader.network.to(pl_module.device)
        if self.real_statistics is None:
            self.real_statistics = self._statistics(trainer, self._real_pictures(trainer, pl_module.device))
        generated = self._statistics(trainer, self._generated_pictures(trainer, pl_module))
        distance = gaussian_frechet_distance(generated, self.real_statistics)
        name = f"quality/{self.reader.metric}"
        log_figures(trainer, {name: distance, "quality/images_seen": float(seen)})
        if trainer.is_global_zero:
            # Lightning's own notices are silenced, and a metrics file is not where one looks first.
            print(f"{name} {distance:.4g} after {seen} images", flush=True)

    @torch.no_grad()
    def _statistics(self, trainer: Trainer, pictures: Any) -> FeatureStatistics:
        running = RunningStatistics()
        for images in pictures:
            # On the CPU, as Apple's devices have no float64.
            running.add(self.reader.read(images).float().cpu())
        return running.statistics(lambda values: _sum_over_ranks(trainer, values))

    def _real_pictures(self, trainer: Trainer, device: torch.device) -> Any:
        loader = trainer.datamodule.measured_loader(self.real, self.batch_size)  # type: ignore[attr-defined]
        return (batch["image"].to(device) for batch in loader)

    def _generated_pictures(self, trainer: Trainer, module: StyleGAN2) -> Any:
        rng = torch.Generator(module.device).manual_seed(rank_seed(self.seed, trainer.global_rank))
        mine = len(range(trainer.global_rank, self.generated, trainer.world_size))
        for start in range(0, mine, self.batch_size):
            yield self._pictures(module, min(self.batch_size, mine - start), rng)

    def _pictures(self, module: StyleGAN2, count: int, rng: torch.Generator) -> Float[Tensor, "batch 3 height width"]:
        generator = module.average
        z = torch.randn(count, generator.z_dim, generator=rng, device=module.device)
        codes = generator.broadcast(generator.mapping(z))
        return generator.synthesis(codes, module.noise, rng).clamp(-1, 1)


def _sum_over_ranks(trainer: Trainer, values: Tensor) -> Tensor:
    if trainer.world_size == 1:
        return values
    return trainer.strategy.reduce(values.to(trainer.strategy.root_device), reduce_op="sum").cpu()
