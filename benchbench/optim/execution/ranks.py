"""Ranks: processes that share every batch, and what they tell each other."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import distributed_c10d

from benchbench.devices import use
from benchbench.optim.execution.flat import flattened
from benchbench.optim.execution.parts import Evaluated

_TIMEOUT = timedelta(minutes=10)
"""Time for which a rank waits for another one's share of a sum."""

LEAVE_SECONDS = 30.0
"""Time limit for a rank that waits for the others to leave, or for its device to have sent everything."""


class RankEndedError(RuntimeError):
    """The process of another rank has ended before its time, or does not answer."""

    def __init__(self, rank: int | None = None) -> None:
        super().__init__(f"the process of {'another rank' if rank is None else f'rank {rank}'} has ended; see the log")


def all_reduce(tensor: Tensor, operation: dist.ReduceOp.RedOpType = dist.ReduceOp.SUM) -> None:
    """Replace a tensor by its sum over all ranks.

    Raises:
        RankEndedError: Another rank cannot be reached.
    """
    try:
        dist.all_reduce(tensor, operation)
    except RuntimeError as error:
        raise RankEndedError from error


class Ranks:
    """This process among those that share every batch.

    Args:
        rank: Number of this process, from 0.
        size: Number of processes.

    Attributes:
        counts: Whether what this process evaluates now counts: it may replace a part that a small batch does not have.
    """

    def __init__(self, rank: int, size: int) -> None:
        self.rank = rank
        self.size = size
        self.counts = True
        self._used: list[bool] = []

    def summed(self, found: Evaluated, parameters: Sequence[Tensor]) -> Evaluated:
        """Return the sums over all ranks; every rank gets the same bits.

        Which parameters have a gradient on any rank is settled by the first call, for the host would have to wait for
        the device to learn it each time.

        Raises:
            RuntimeError: A parameter has a gradient now that had none on any rank in the first call.
        """
        if not self._used:
            flags = torch.tensor([g is not None for g in found.gradients], dtype=torch.uint8, device=found.loss.device)
            all_reduce(flags, dist.ReduceOp.MAX)
            self._used = [bool(flag) for flag in flags.tolist()]
        gradients = []
        for gradient, used, parameter in zip(found.gradients, self._used, parameters, strict=True):
            if gradient is not None and not used:
                raise RuntimeError("with several ranks, a loss has to depend on the same parameters in every step")
            if used:
                gradients.append(torch.zeros_like(parameter) if gradient is None else gradient)
        used_parameters = [parameter for parameter, used in zip(parameters, self._used, strict=True) if used]
        # Kernels may lay gradients out in one way here and in another there: the parameters are the same everywhere.
        sums = iter(
            self.total(
                [found.loss, *gradients, *(each for product in found.products for each in product)],
                [found.loss, *used_parameters, *(parameter for _ in found.products for parameter in parameters)],
            )
        )
        return Evaluated(
            next(sums),
            [next(sums) if used else None for used in self._used],
            [[next(sums) for _ in product] for product in found.products],
        )

    def total(self, tensors: Sequence[Tensor], like: Sequence[Tensor] | None = None) -> list[Tensor]:
        """Return the sum of each tensor over all ranks, with one message for each of their types.

        Args:
            tensors: Of the same shapes on every rank.
            like: Tensors of these shapes whose memory formats are the same on every rank; by default plain ones.
        """
        buffers, views = flattened(tensors, like)
        for buffer in buffers:
            all_reduce(buffer)
        return views


@contextmanager
def joined(ranks: Ranks, store: Path, device: torch.device) -> Iterator[None]:
    """Let ranks on this machine reach each other inside, through a file and the loopback interface.

    At the end all of them leave together: each waits for the others, up to `LEAVE_SECONDS`. After an exception, a rank
    cuts its connection to the others without waiting for them.

    Args:
        ranks: This process.
        store: A file that all of them name and that does not exist yet.
        device: Where this process computes; no other rank is on the same GPU.
    """
    interface = "lo0" if sys.platform == "darwin" else "lo"
    for backend in ("GLOO", use.collective(device).upper()):
        os.environ.setdefault(f"{backend}_SOCKET_IFNAME", interface)
    dist.init_process_group(
        use.collective(device),
        store=dist.FileStore(str(store), ranks.size),  # type: ignore[attr-defined]
        rank=ranks.rank,
        world_size=ranks.size,
        timeout=_TIMEOUT,
    )
    try:
        yield
    except BaseException:
        # The others may be anywhere, or dead. Leaving with them would wait for them; this does not.
        _done_in_time(distributed_c10d._abort_process_group, device)
        raise
    if not _done_in_time(dist.destroy_process_group, device):
        sys.stderr.write("the ranks did not leave each other in time; the connection between them is cut\n")
        _done_in_time(distributed_c10d._abort_process_group, device)


def _done_in_time(leave: Callable[[], None], device: torch.device) -> bool:
    """Return whether a way to leave the other ranks has come to its end; what it raises is printed.

    NCCL waits for all ranks in some of these calls, without a limit. So a thread makes them, which is left to itself
    when they take too long: it ends with the process.
    """
    done = threading.Event()

    def run() -> None:
        try:
            use.make_current(device)  # a thread begins with the first one
            leave()
        except Exception:  # noqa: BLE001 - what counts has been written, and must not be lost by this
            traceback.print_exc()
        else:
            done.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(LEAVE_SECONDS)
    return done.is_set()
