"""Training batches that ranks share out without overlap, and that a resumed run goes on with where it stopped."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from datamodules.counter_random import sample_keys, subkeys
from renderers.errors import InputError


def batch_as_is(batch: Any) -> Any:
    """For `collate_fn`, where a data set makes whole batches."""
    return batch


class IndexDataset(Dataset[int]):
    """The numbers 0 to `size` - 1: all that a worker has to hand over where samples follow from their index."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> int:
        return index


class RankSampler(DistributedSampler[int]):
    """Indices dealt out to the ranks in turn, without the duplicates by which the usual one fills up.

    The order of a pass follows from the seed and the number of the pass alone, so it does not depend on ranks or resumption. The
    loader counts the passes, not Lightning's epochs: a run that ends within a pass ends an epoch, too.

    Attributes:
        start: Position in the order at which the next iteration begins.
        pass_number: Which pass the next iteration belongs to.
    """

    def __init__(self, size: int, ranks: int, rank: int, drop_uneven: bool, shuffle_seed: int | None = None) -> None:
        """
        Args:
            size: Number of samples.
            ranks: Number of ranks.
            rank: This rank.
            drop_uneven: Leave out the tail that would give ranks different numbers of samples, which gradient synchronisation
                asks for.
            shuffle_seed: Another order in each pass under this seed; None for the order of the indices.
        """
        super().__init__(IndexDataset(size), num_replicas=ranks, rank=rank, shuffle=False)
        self._size = size
        self._end = size - size % ranks if drop_uneven else size
        self._shuffle_seed = shuffle_seed
        self.start = 0
        self.pass_number = 0

    def __iter__(self) -> Iterator[int]:
        mine = slice(self.start + self.rank, self._end, self.num_replicas)
        if self._shuffle_seed is None:
            return iter(range(self._size)[mine])
        keys = subkeys(sample_keys(self._shuffle_seed, 0, torch.arange(self._size)), 1 + self.pass_number)
        return iter(keys.argsort()[mine].tolist())

    def __len__(self) -> int:
        return len(range(self.rank, self._end, self.num_replicas))


class ResumableLoader(DataLoader[Any]):
    """Loader of whole training batches whose place Lightning saves with a checkpoint."""

    def __init__(
        self,
        dataset: Dataset[Any],
        sampler: RankSampler,
        batch_size: int,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
    ) -> None:
        """
        Args:
            dataset: What the sampler's indices count.
            sampler: The order.
            batch_size: Samples of a batch on each rank.
            num_workers: Worker processes, kept from pass to pass.
            collate_fn: As for `DataLoader`.

        Raises:
            InputError: if a rank has less than one batch.
        """
        if len(sampler) < batch_size:
            raise InputError(
                f"expected at least one batch of {batch_size} training samples on each of {sampler.num_replicas} ranks, "
                f"got {len(sampler)}; give more samples or lower the batch size"
            )
        super().__init__(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            num_workers=num_workers,
            drop_last=True,
            collate_fn=collate_fn,
            persistent_workers=num_workers > 0,
        )
        self._seen = 0
        self._next_pass = 0
        self._resume_at = 0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        sampler = self._rank_sampler
        sampler.pass_number, self._next_pass = self._next_pass, self._next_pass + 1
        sampler.start, self._resume_at = self._resume_at, 0
        self._seen = sampler.start
        assert self.batch_size is not None
        for batch in super().__iter__():
            # Counted before it is handed over: a checkpoint written after a step must count that step's batch.
            self._seen += self.batch_size * sampler.num_replicas
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Number of the current pass, and samples of it that all ranks together have seen."""
        return {"pass": self._rank_sampler.pass_number, "seen": self._seen}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Make the next iteration start after the samples seen; after a whole pass, at the start of the following one."""
        sampler = self._rank_sampler
        assert self.batch_size is not None
        left = len(sampler) - state["seen"] // sampler.num_replicas
        within = left >= self.batch_size
        self._resume_at = state["seen"] if within else 0
        self._next_pass = state["pass"] + (not within)

    @property
    def _rank_sampler(self) -> RankSampler:
        assert isinstance(self.sampler, RankSampler)
        return self.sampler


@runtime_checkable
class MeasuredPictures(Protocol):
    """A data module whose training pictures a generator's are measured against."""

    def measured_loader(self, count: int | None, batch_size: int) -> DataLoader[dict[str, Tensor]]:
        """The first `count` training pictures, or all, in their order and never mirrored, shared out to the ranks.

        Reading it leaves the process's stream of random numbers alone.
        """


class ResumableDataModule(LightningDataModule):
    """Data module whose place in the training data is saved with every checkpoint.

    Lightning restores the place of a loader only for a run that was interrupted. One that ended, perhaps within a pass, and is given
    more steps goes on where it stopped by this.
    """

    def __init__(self) -> None:
        super().__init__()
        self._training: ResumableLoader | None = None
        self._place: dict[str, int] | None = None

    def resumable(self, loader: ResumableLoader) -> ResumableLoader:
        """The training loader of this run, at the place of the checkpoint if there is one."""
        if self._place is not None:
            loader.load_state_dict(self._place)
            self._place = None
        self._training = loader
        return loader

    def rank_sampler(self, size: int, drop_uneven: bool, shuffle_seed: int | None = None) -> RankSampler:
        """The part of `size` samples of this rank, of one rank without a trainer; see `RankSampler`."""
        ranks, rank = (self.trainer.world_size, self.trainer.global_rank) if self.trainer is not None else (1, 0)
        return RankSampler(size, ranks, rank, drop_uneven, shuffle_seed)

    def state_dict(self) -> dict[str, int]:
        """The place of the training loader; empty before training."""
        return {} if self._training is None else self._training.state_dict()

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Keep the place for the training loader, which is made later."""
        self._place = state_dict or None
