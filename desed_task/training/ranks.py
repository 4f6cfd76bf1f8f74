"""Ranks: the processes of one training, one per GPU (or per share of a CPU), started by torchrun.

Without torchrun there is one process, `ALONE`, which has nobody to ask: no process group is made. With it, `joined`
makes a gloo group for what the hosts agree on (plain values, which step is the last, who failed) and, for GPUs, an NCCL
group for what the devices exchange. Words: rank 0 of all is the first, it writes and speaks; the others are silent.

A refusal in one rank must end all of them, with one sentence and one exit code. So whatever can fail in some ranks only
is done in `every`, `first` or `in_turn`, after which all know of a failure: the rank that failed says what it was, the
others end as `EndedElsewhere`.
"""

from __future__ import annotations

import logging
import os
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from desed_task.data.source import Share
from desed_task.errors import DesedTaskError, OptionsError, RunStoppedError
from desed_task.training.divergence import DivergedError
from desed_task.training.interruption import StopRequested

Result = TypeVar("Result")
# One rank packs the audio or tests the finished system, the others wait for it.
PATIENCE = timedelta(days=2)
_STOPPED = -1


class EndedElsewhere(SystemExit):
    """Another rank failed, or says the last sentence for all."""


class Ranks:
    """A training in one process; what `SeveralRanks` ask one another needs no answer here."""

    share = Share()
    local_rank = 0
    local_world = 1
    group: Any = None

    @property
    def is_first(self) -> bool:
        """Whether this process writes and speaks."""
        return self.share.rank == 0

    @property
    def num_nodes(self) -> int:
        """Machines that train together."""
        return self.share.world // self.local_world

    def use(self, device: torch.device) -> None:
        """Say where tensors will be exchanged; by all at once."""

    def breakable_by(self, breakable: Callable[[Callable[[], Any]], Callable[[], Any]]) -> None:
        """Say what makes work breakable."""

    def breakable(self, work: Callable[[], Result]) -> Callable[[], Result]:
        """The same work, to be done in `every`: ended by StopRequested in all ranks when a signal arrives in one."""
        return work

    def every(self, work: Callable[[], Result]) -> Result:
        """This rank's result of what all ranks do; the failure of one is that of all."""
        return work()

    def in_turn(self, work: Callable[[], Result]) -> Result:
        """As `every`, rank 0 before all, then one rank of each other machine: what one makes the next one finds."""
        return work()

    def alone(self, work: Callable[[], Result]) -> Result | None:
        """What rank 0 does while the others wait; its result there, None elsewhere."""
        return work()

    def first(self, work: Callable[[], Result]) -> Result:
        """What rank 0 does while the others wait; its result for all (it travels pickled)."""
        return work()

    def gather(self, value: Result) -> list[Result]:
        """The value of each rank (pickled), for all."""
        return [value]

    def highest(self, *numbers: int) -> tuple[int, ...]:
        """The highest of all ranks' numbers, place by place; a failure that is put off ends all of them here."""
        return numbers

    def put_off(self, error: DesedTaskError) -> None:
        """Fail where all ranks fail together next: at once when there is one."""
        raise error

    def mean(self, values: Tensor) -> Tensor:
        """Over ranks."""
        return values


ALONE = Ranks()


class SeveralRanks(Ranks):
    """One of the processes that torchrun started, joined with the others."""

    def __init__(self, rank: int, world: int, local_rank: int, local_world: int) -> None:
        self.share = Share(rank, world)
        self.local_rank, self.local_world = local_rank, local_world
        self.ending_together = False
        self._breakable: Callable[[Callable[[], Any]], Callable[[], Any]] = lambda work: work
        self._put_off: DesedTaskError | None = None

    def use(self, device: torch.device) -> None:
        """Make the devices' own group. NCCL ends a hanging exchange after ten minutes, the hosts' group waits long."""
        if device.type == "cuda":
            torch.cuda.set_device(device)
            self.group = dist.new_group(backend="nccl")

    def breakable_by(self, breakable: Callable[[Callable[[], Any]], Callable[[], Any]]) -> None:
        """See Ranks."""
        self._breakable = breakable

    def breakable(self, work: Callable[[], Result]) -> Callable[[], Result]:
        """See Ranks."""
        return self._breakable(work)

    def every(self, work: Callable[[], Result]) -> Result:
        """See Ranks. A bug in one rank, too, ends the others in silence."""
        result: Any = None
        error: BaseException | None = self._put_off
        if error is None:
            try:
                result = work()
            except BaseException as raised:  # also StopRequested and KeyboardInterrupt: nobody must be left waiting
                error = raised
        failures = self.gather((_code_of(error), isinstance(error, DivergedError) and error.is_heard))
        if any(code is not None for code, _ in failures):
            raise self._failure(error, failures)
        return result  # type: ignore[no-any-return]

    def in_turn(self, work: Callable[[], Result]) -> Result:
        """See Ranks."""
        turn = 0 if self.is_first else 1 if self.local_rank == 0 else 2
        results = [self.every(work if turn == now else _nothing) for now in range(3)]
        return results[turn]  # type: ignore[return-value]

    def alone(self, work: Callable[[], Result]) -> Result | None:
        """See Ranks."""
        return self.every(work if self.is_first else _nothing)

    def first(self, work: Callable[[], Result]) -> Result:
        """See Ranks."""
        results: list[Any] = [self.alone(work)]
        dist.broadcast_object_list(results, src=0)
        return results[0]  # type: ignore[no-any-return]

    def gather(self, value: Result) -> list[Result]:
        """See Ranks."""
        values: list[Any] = [None] * self.share.world
        dist.all_gather_object(values, value)
        return values

    def highest(self, *numbers: int) -> tuple[int, ...]:
        """See Ranks. One message between the hosts, made at every step; no device waits for it."""
        flags = torch.tensor([*numbers, int(self._put_off is not None)])
        dist.all_reduce(flags, dist.ReduceOp.MAX)
        *agreed, failed = flags.tolist()
        if failed:
            self.every(_nothing)
        return tuple(agreed)

    def put_off(self, error: DesedTaskError) -> None:
        """See Ranks: the others are in the middle of a step and wait for this rank's part of it."""
        self._put_off = self._put_off or error

    def mean(self, values: Tensor) -> Tensor:
        """See Ranks."""
        total = values.detach().clone()
        dist.all_reduce(total, group=self.group)
        return total / self.share.world

    def _failure(self, error: BaseException | None, failures: list[tuple[int | None, bool]]) -> BaseException:
        """What this rank raises: its own error if it is the first of those that failed, or of those that know why."""
        codes = [code for code, _ in failures]
        if _STOPPED in codes:  # all write what they have, so this is no end yet
            return StopRequested()
        self.ending_together = True
        failed = [rank for rank, code in enumerate(codes) if code is not None]
        speaker = min(failed, key=lambda rank: (not failures[rank][1], rank))
        if speaker == self.share.rank:
            assert error is not None
            return error
        return EndedElsewhere(codes[speaker])


@contextmanager
def joined() -> Iterator[Ranks]:
    """The ranks that torchrun started, while the block lasts; without torchrun this process alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or "TORCHELASTIC_RUN_ID" not in os.environ:
        yield ALONE
        return
    store, rank, world = next(rendezvous("env://"))
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world, timeout=PATIENCE)
    ranks = SeveralRanks(rank, world, int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"]))
    if not ranks.is_first:
        logging.getLogger().setLevel(logging.ERROR)
        warnings.simplefilter("ignore")
    try:
        yield ranks
    except BaseException as error:
        # torchrun sends it to all as soon as one has ended; each is about to, with an exit code of its own.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        said = _last_words(error, ranks, store)
        if said is error:
            raise
        raise said from None
    finally:
        dist.destroy_process_group()


def choose_rank_device(name: str, ranks: Ranks) -> torch.device:
    """auto | cpu | cuda -> the device of this rank, cuda:LOCAL_RANK or the CPU; OptionsError when it is not there."""
    if name not in ("auto", "cpu", "cuda"):
        raise OptionsError(f"--device {name}: under torchrun every process takes a GPU of its own; write auto or cpu")
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and gpus == 0):
        return torch.device("cpu")
    if ranks.local_world > gpus:
        raise OptionsError(
            f"--nproc_per_node {ranks.local_world}: this machine has {gpus} CUDA devices; start as many processes, or "
            f"train with --device cpu"
        )
    return torch.device("cuda", ranks.local_rank)


def _last_words(error: BaseException, ranks: SeveralRanks, store: Any) -> BaseException:
    """What is raised instead of `error`: it in one rank, silence in the others."""
    if isinstance(error, EndedElsewhere) or ranks.ending_together:
        with suppress(RuntimeError):  # whoever has gone already
            dist.barrier()
        return error
    if isinstance(error, RunStoppedError | KeyboardInterrupt):  # of all ranks alike
        return error if ranks.is_first else EndedElsewhere(_code_of(error))
    lost = isinstance(error, RuntimeError) and ("gloo" in str(error) or isinstance(error, dist.DistError))
    if not lost and not isinstance(error, DesedTaskError):
        return error
    with suppress(RuntimeError):  # the store lives in torchrun's own process
        if store.add("desed_task/last_words", 1) > 1:
            return EndedElsewhere(2)
    if not lost:
        return error
    return DesedTaskError("another process of this training was ended; resume it from its run folder")


def _code_of(error: BaseException | None) -> int | None:
    """The exit code of a failure, `_STOPPED` for a request to stop, None for none."""
    if isinstance(error, StopRequested):
        return _STOPPED
    if isinstance(error, RunStoppedError):
        return error.exit_code
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    if isinstance(error, KeyboardInterrupt):
        return 130
    if isinstance(error, DesedTaskError | OSError):
        return 2
    return None if error is None else 1


def _nothing() -> None:
    """This rank's part of what others do."""
