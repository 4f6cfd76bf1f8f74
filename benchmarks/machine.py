"""The machine that a benchmark runs on: what it is, and what it gives at this moment."""

from __future__ import annotations

import platform
import time
from pathlib import Path

import numpy as np

from desed_task.errors import DesedTaskError

_PROBE_SIZE = 768
_CPU_INFO = Path("/proc/cpuinfo")


def probe_gflops() -> float:
    """What the machine gives at this moment: a float32 matrix product."""
    matrix = np.ones((_PROBE_SIZE, _PROBE_SIZE), dtype=np.float32)
    start = time.perf_counter()
    for _ in range(5):
        matrix @ matrix
    return 5 * 2 * _PROBE_SIZE**3 / (time.perf_counter() - start) / 1e9


def describe_machine() -> str:
    """CPU model, threads, GPU or none, torch."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{_cpu_model()}, {torch.get_num_threads()} threads, {gpu}, torch {torch.__version__}"


def anonymous_bytes() -> int:
    """RssAnon of this process: its memory that is no page of a file."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon:"):
            return 1024 * int(line.split()[1])
    raise DesedTaskError("memory: /proc/self/status tells no RssAnon; measure on Linux")


def _cpu_model() -> str:
    lines = _CPU_INFO.read_text(encoding="utf-8").splitlines() if _CPU_INFO.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
