"""Figures of evaluation samples, exact over batches and ranks of different sizes."""

from collections.abc import Mapping

import torch
import torch.distributed as distributed
from jaxtyping import Float, Int
from pytorch_lightning import LightningModule
from torch import Tensor


def log_means(
    module: LightningModule, means: Mapping[str, Float[Tensor, ""]], samples: int, prog_bar: bool = False
) -> None:
    """Log means over a batch so that what is reported in the end is the mean over all samples of all ranks.

    Args:
        module: In a validation or test step.
        means: By name.
        samples: Number of samples of the batch on this rank.
        prog_bar: Whether they are shown as the run goes.
    """
    # Lightning averages the ranks' integer counts and drops the fraction, which multiples of the number of ranks do not have.
    weight = samples * module.trainer.world_size
    module.log_dict(dict(means), batch_size=weight, sync_dist=True, prog_bar=prog_bar)


def of_all_ranks(module: LightningModule, values: Float[Tensor, "samples *dims"] | Int[Tensor, "samples *dims"]) -> Tensor:
    """What all ranks hold of a figure's samples, the same on each, for figures that are no means of samples.

    Args:
        module: Of a run.
        values: Of this rank; ranks may hold different numbers of samples, but all hold at least one.
    """
    if module.trainer.world_size == 1:
        return values
    gathered: list[Tensor] = [values] * module.trainer.world_size
    distributed.all_gather_object(gathered, values.cpu())
    return torch.cat(gathered).to(values.device)
