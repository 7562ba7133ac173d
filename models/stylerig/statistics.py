"""Mean and standard deviation of the face parameters over a training set, by which control parameters are normalised."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from renderers.errors import InputError

# Below this share of the largest standard deviation of all parameters, one is a constant of the training set.
_CONSTANT = 1e-4


@dataclass(frozen=True)
class ParameterStatistics:
    """Statistics of packed parameter vectors.

    Attributes:
        mean: (total,).
        std: (total,), positive: parameters that do not vary in the training set have 1.
    """

    mean: Float[Tensor, " total"]
    std: Float[Tensor, " total"]

    @classmethod
    def over(cls, batches: Iterable[Float[Tensor, "_ total"]]) -> "ParameterStatistics":
        """Statistics over all rows of all batches, accumulated in float64.

        Raises:
            InputError: for fewer than two rows.
        """
        count, total, squares = 0, None, None
        for batch in batches:
            rows = batch.detach().double()
            count += len(rows)
            total = rows.sum(dim=0) if total is None else total + rows.sum(dim=0)
            squares = (rows**2).sum(dim=0) if squares is None else squares + (rows**2).sum(dim=0)
        if total is None or squares is None or count < 2:
            raise InputError(
                f"expected at least 2 parameter vectors for their statistics, got {count}; give more samples"
            )
        mean = total / count
        std = ((squares / count - mean**2).clamp_min(0) * count / (count - 1)).sqrt()
        std = torch.where(std > _CONSTANT * std.max(), std, torch.ones_like(std))
        return cls(mean.float(), std.float())
