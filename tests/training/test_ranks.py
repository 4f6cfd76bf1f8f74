"""Ranks: what two processes agree on, who speaks, and that one process asks nobody."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch

from desed_task.data.source import Share
from desed_task.errors import CorpusError, DesedTaskError, OptionsError, RunStoppedError
from desed_task.training.divergence import DivergedError
from desed_task.training.interruption import StopRequested
from desed_task.training.ranks import ALONE, EndedElsewhere, Ranks, SeveralRanks, choose_rank_device, joined

DEADLINE_SECONDS = 60.0


def _raise(error: BaseException) -> Any:
    raise error


def _what_happens(work: Callable[[], Any]) -> Any:
    """The result, or the error as (class, message or code)."""
    try:
        return work()
    except EndedElsewhere as error:
        return "EndedElsewhere", error.code
    except BaseException as error:
        return type(error).__name__, str(error)


def _agree(ranks: SeveralRanks, folder: Path) -> dict[str, Any]:
    """What each question comes to in this rank."""
    rank = ranks.share.rank
    made = folder / "made"

    def make_or_find() -> str:
        if made.exists():
            return "found"
        made.touch()
        return "made"

    seen: dict[str, Any] = {
        "every": ranks.every(lambda: rank),
        "first": ranks.first(lambda: f"of rank {rank}"),
        "alone": ranks.alone(lambda: rank),
        "in_turn": ranks.in_turn(make_or_find),
        "gather": ranks.gather(10 * rank),
        "highest": ranks.highest(rank, 3 - rank),
        "mean": ranks.mean(torch.tensor([float(rank), 4.0])).tolist(),
    }
    refused = CorpusError("of rank 1")
    seen["one fails"] = _what_happens(lambda: ranks.every(lambda: _raise(refused) if rank else None))
    seen["both fail"] = _what_happens(lambda: ranks.every(lambda: _raise(CorpusError(f"of rank {rank}"))))
    seen["first fails"] = _what_happens(lambda: ranks.first(lambda: _raise(RunStoppedError("stopped", 143))))
    heard = DivergedError(f"in rank {rank}", is_heard=rank == 1)
    seen["one knows why"] = _what_happens(lambda: ranks.every(lambda: _raise(heard)))
    seen["one is stopped"] = _what_happens(lambda: ranks.every(lambda: _raise(StopRequested()) if rank else None))
    if rank:
        ranks.put_off(DesedTaskError("put off"))
    seen["put off"] = _what_happens(lambda: ranks.highest(0))
    return seen


def _one_rank(rank: int, folder: Path) -> None:
    try:
        meeting, patience = f"file://{folder / 'meeting'}", timedelta(seconds=DEADLINE_SECONDS)
        torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2, timeout=patience)
        torch.save(_agree(SeveralRanks(rank, 2, rank, 2), folder), folder / f"{rank}.pt")
    except BaseException:
        (folder / f"{rank}.error").write_text(traceback.format_exc())


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What two processes saw, by rank."""
    folder = tmp_path_factory.mktemp("ranks")
    context: Any = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["desed_task.training.ranks"])
    processes = [context.Process(target=_one_rank, args=(rank, folder)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(2 * DEADLINE_SECONDS)
        process.kill()
    assert [path.read_text() for path in folder.glob("*.error")] == []
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize(
    ("question", "of_rank_0", "of_rank_1"),
    [
        ("every", 0, 1),
        ("first", "of rank 0", "of rank 0"),
        ("alone", 0, None),
        ("in_turn", "made", "found"),
        ("gather", [0, 10], [0, 10]),
        ("highest", (1, 3), (1, 3)),
        ("mean", [0.5, 4.0], [0.5, 4.0]),
        ("one fails", ("EndedElsewhere", 2), ("CorpusError", "of rank 1")),
        ("both fail", ("CorpusError", "of rank 0"), ("EndedElsewhere", 2)),
        ("first fails", ("RunStoppedError", "stopped"), ("EndedElsewhere", 143)),
        ("one knows why", ("EndedElsewhere", 2), ("DivergedError", "in rank 1")),
        ("one is stopped", ("StopRequested", ""), ("StopRequested", "")),
        ("put off", ("EndedElsewhere", 2), ("DesedTaskError", "put off")),
    ],
)
def test_two_processes_agree(seen: list[dict[str, Any]], question: str, of_rank_0: Any, of_rank_1: Any) -> None:
    assert (seen[0][question], seen[1][question]) == (of_rank_0, of_rank_1)


def test_one_process_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")  # some clusters set it for everything
    with joined() as ranks:
        assert ranks is ALONE
        assert not torch.distributed.is_initialized()
        assert (ranks.share, ranks.is_first, ranks.num_nodes) == (Share(), True, 1)
        assert (
            ranks.first(lambda: 1) == ranks.every(lambda: 1) == ranks.in_turn(lambda: 1) == ranks.alone(lambda: 1) == 1
        )
        assert ranks.highest(3, 0) == (3, 0)
        with pytest.raises(CorpusError):
            ranks.put_off(CorpusError("at once"))


def test_each_process_takes_its_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    sixth = SeveralRanks(rank=6, world=8, local_rank=2, local_world=4)
    assert sixth.num_nodes == 2
    assert choose_rank_device("auto", sixth) == choose_rank_device("cuda", sixth) == torch.device("cuda:2")
    assert choose_rank_device("cpu", sixth) == torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "gpus", "sentence"),
    [
        ("cuda:1", 4, "every process takes a GPU of its own; write auto or cpu"),
        ("auto", 1, "--nproc_per_node 2: this machine has 1 CUDA devices; start as many processes"),
        ("cuda", 0, "this machine has 0 CUDA devices"),
    ],
)
def test_a_device_that_not_every_process_has_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, gpus: int, sentence: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(OptionsError, match=sentence):
        choose_rank_device(name, SeveralRanks(0, 2, 0, 2))


def test_without_gpus_the_processes_share_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    ranks: Ranks = SeveralRanks(0, 2, 0, 2)
    assert choose_rank_device("auto", ranks) == torch.device("cpu")
