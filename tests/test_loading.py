"""Training batches: shared out among ranks, resumed within and after a pass."""

import pytest
import torch

from datamodules.loading import IndexDataset, RankSampler, ResumableLoader
from renderers.errors import InputError


def test_training_order_is_shared_out_and_resumed() -> None:
    def order(ranks: int, rank: int, start: int = 0, number: int = 0, seed: int = 0) -> list[int]:
        sampler = RankSampler(50, ranks, rank, drop_uneven=True, shuffle_seed=seed)
        sampler.start, sampler.pass_number = start, number
        return list(sampler)

    whole = order(1, 0)
    assert sorted(whole) == list(range(50)) and whole != list(range(50))
    assert len({tuple(order(1, 0, number=number, seed=seed)) for number in range(3) for seed in range(3)}) == 9
    three = [order(3, rank) for rank in range(3)]
    assert {len(part) for part in three} == {16} and sorted(sum(three, [])) == sorted(whole[:48])
    assert sorted(order(1, 0, start=12) + whole[:12]) == list(range(50))
    assert sorted(order(2, 0, start=12) + order(2, 1, start=12)) == sorted(whole[12:])


def test_loader_goes_on_within_and_after_a_pass() -> None:
    def loader() -> ResumableLoader:
        return ResumableLoader(IndexDataset(10), RankSampler(10, 1, 0, drop_uneven=True, shuffle_seed=1), batch_size=4)

    straight = loader()
    passes = [torch.cat(list(straight)).tolist() for _ in range(3)]
    assert passes[0] != passes[1] != passes[2] and all(len(numbers) == 8 for numbers in passes)
    for batches, expected in ((1, passes[0][4:]), (2, passes[1])):
        first, second = loader(), loader()
        iterator = iter(first)
        for _ in range(batches):
            next(iterator)
        second.load_state_dict(first.state_dict())
        assert torch.cat(list(second)).tolist() == expected
    with pytest.raises(InputError, match="at least one batch of 8"):
        ResumableLoader(IndexDataset(10), RankSampler(10, 2, 0, drop_uneven=True), batch_size=8)
