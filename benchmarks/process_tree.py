"""A process and its descendants as Linux counts them: CPU time, memory, cores. Read from /proc.

CPU time is exact to the nanosecond for what lives, in ticks of 10 ms for children that have ended. Memory of a tree is
the sum over its processes: pages that they share count for each, so growth is never understated.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from desed_task.errors import DesedTaskError

_PROC = Path("/proc")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
# Fields of /proc/PID/stat after the name, which may hold blanks: state ppid ... utime stime cutime cstime.
_PARENT, _TIMES_OF_CHILDREN, _STARTED = 1, slice(13, 15), 19
_CLOCK_OF_SCHEDULER = 2


def tree_of(pid: int) -> list[int]:
    """The process and all its descendants that live, itself first."""
    children: dict[int, list[int]] = {}
    for process in _living():
        fields = _stat_fields(process)
        if fields is not None:
            children.setdefault(int(fields[_PARENT]), []).append(process)
    found = [pid]
    for process in found:
        found.extend(children.get(process, []))
    return found


def children_of(pid: int) -> list[int]:
    """Those that the process itself started, and that live."""
    return [process for process in tree_of(pid)[1:] if (_stat_fields(process) or ["", "0"])[_PARENT] == str(pid)]


def kill_descendants(known: Mapping[int, str]) -> None:
    """Kill those processes of `descendants` that still live; a number that another process has by now is left alone."""
    for process, started in known.items():
        fields = _stat_fields(process)
        if fields is not None and fields[_STARTED] == started:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def descendants(pid: int) -> dict[int, str]:
    """The descendants that live, with when each began."""
    found = {process: _stat_fields(process) for process in tree_of(pid)[1:]}
    return {process: fields[_STARTED] for process, fields in found.items() if fields is not None}


def cpu_seconds(pid: int) -> float:
    """User and system time of the tree, that of its processes that ended and were waited for too."""
    return sum(_cpu_seconds_of(process) for process in tree_of(pid))


def resident_bytes(pid: int) -> int:
    """VmRSS of the tree."""
    return sum(_status_bytes(process, "VmRSS") for process in tree_of(pid))


def peak_resident_bytes(pid: int) -> int:
    """VmHWM of the tree: the most that each was at since it began, or since `forget_peaks`."""
    return sum(_status_bytes(process, "VmHWM") for process in tree_of(pid))


def forget_peaks(pid: int) -> None:
    """Let the peaks of the tree begin anew."""
    for process in tree_of(pid):
        try:
            (_PROC / str(process) / "clear_refs").write_text("5", encoding="ascii")
        except (FileNotFoundError, ProcessLookupError):
            continue
        except OSError as error:
            raise DesedTaskError(f"memory: the peak of process {process} cannot be reset ({error.strerror})") from None


def pin(pid: int, cores: Sequence[int]) -> None:
    """Let all threads of the tree run on these cores only; what it starts later inherits them."""
    for process in tree_of(pid):
        for thread in _threads_of(process):
            try:
                os.sched_setaffinity(thread, cores)
            except ProcessLookupError:
                continue


def two_cores() -> tuple[list[int], list[int]]:
    """Cores for a server and for who measures it: one each where there are two, else the same."""
    cores = sorted(os.sched_getaffinity(0))
    return [cores[0]], [cores[-1]]


def _living() -> Iterator[int]:
    return (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit())


def _stat_fields(process: int) -> list[str] | None:
    try:
        text = (_PROC / str(process) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()


def _status_bytes(process: int, name: str) -> int:
    try:
        lines = (_PROC / str(process) / "status").read_text(encoding="utf-8", errors="replace").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)


def _cpu_seconds_of(process: int) -> float:
    fields = _stat_fields(process)
    if fields is None:
        return 0.0
    of_children = sum(map(int, fields[_TIMES_OF_CHILDREN])) / _TICKS_PER_SECOND
    try:
        # The clock of another process (clock_getcpuclockid), in nanoseconds where stat has ticks.
        return time.clock_gettime((~process << 3) | _CLOCK_OF_SCHEDULER) + of_children
    except OSError:
        return of_children


def _threads_of(process: int) -> list[int]:
    try:
        return [int(entry.name) for entry in (_PROC / str(process) / "task").iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        return []
