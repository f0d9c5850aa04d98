import torch

from benchbench.workloads.streams import Streams


def draw(streams: Streams, name: str, index: int = 0) -> list[int]:
    return torch.randint(0, 2**31, (8,), generator=streams.generator(name, index)).tolist()


def test_a_stream_is_decided_by_seed_name_and_index() -> None:
    assert draw(Streams(0), "order", 3) == draw(Streams(0), "order", 3)


def test_seed_name_and_index_each_make_another_stream() -> None:
    streams = {
        tuple(draw(Streams(seed), name, index))
        for seed in (0, 1)
        for name in ("order", "augmentation")
        for index in (0, 1)
    }
    assert len(streams) == 8


def test_seeds_fit_every_generator() -> None:
    seeds = [Streams(root).seed("dropout", step) for root in (0, 2**32 - 1) for step in range(100)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert len(set(seeds)) == len(seeds)
