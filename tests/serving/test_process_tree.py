"""What /proc says of a process and of those it started."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from benchmarks.process_tree import (
    cpu_seconds,
    forget_peaks,
    peak_resident_bytes,
    pin,
    resident_bytes,
    tree_of,
    two_cores,
)

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-S", "-c", sys.argv[1]], stdin=subprocess.PIPE)
print("ready", flush=True)
sys.stdin.read()
child.kill()
"""
BUSY_CHILD = "import time\nwhile time.process_time() < 0.3: pass\ntime.sleep(60)"
HOLDING_CHILD = "import time\nheld = bytearray(b'x' * 80_000_000)\ndel held\ntime.sleep(60)"


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("child", [BUSY_CHILD, HOLDING_CHILD], ids=["cpu", "memory"])
def test_children_count(child: str) -> None:
    command = [sys.executable, "-S", "-c", PARENT, child]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None and parent.stdin is not None
        parent.stdout.readline()
        assert len(tree_of(parent.pid)) == 2
        if child is BUSY_CHILD:
            wait_until(lambda: cpu_seconds(parent.pid) >= 0.3)
            assert cpu_seconds(parent.pid) < 5
        else:
            wait_until(lambda: peak_resident_bytes(parent.pid) > 80_000_000)
            wait_until(lambda: resident_bytes(parent.pid) < 70_000_000)
            forget_peaks(parent.pid)
            assert peak_resident_bytes(parent.pid) < 70_000_000
        core = [min(os.sched_getaffinity(0))]
        pin(parent.pid, core)
        assert all(os.sched_getaffinity(process) == set(core) for process in tree_of(parent.pid))
        parent.stdin.close()


def test_a_process_that_is_gone_has_nothing() -> None:
    with subprocess.Popen([sys.executable, "-S", "-c", ""]) as process:
        process.wait()
    assert (cpu_seconds(process.pid), resident_bytes(process.pid)) == (0, 0)


def test_server_and_measurement_have_a_core_each_where_there_are_two() -> None:
    server, ours = two_cores()
    assert (server == ours) == (len(os.sched_getaffinity(0)) == 1)
