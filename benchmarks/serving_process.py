"""Servers as processes of their own: ours and its peers, started, waited for, pinned to cores, stopped."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.process_tree import descendants, kill_descendants, pin
from desed_task.errors import DesedTaskError

HOST = "127.0.0.1"
_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Running:
    """A server that answers. log: what it printed so far."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def pid(self) -> int:
        """Of its main process."""
        return self.process.pid

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{HOST}:{self.port}"

    @property
    def alive(self) -> bool:
        """Whether its main process runs."""
        return self.process.poll() is None

    def stop(self, seconds: float = 60.0) -> int:
        """SIGTERM, then the exit code; what has not gone after so long is killed, and so are descendants it left."""
        known = descendants(self.pid) if self.alive else {}
        if self.alive:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        kill_descendants(known)
        return code


@contextmanager
def serving(
    bundle: Path, folder: Path, settings: Mapping[str, Any] | None = None, cores: Sequence[int] | None = None
) -> Iterator[Running]:
    """`python -m serving` on a free port of this machine; `settings` replace those of ServingOptions."""
    flags = [flag for name, value in (settings or {}).items() for flag in ("--set", f"{name}={_as_yaml(value)}")]
    device = [] if any(name == "device" for name in settings or {}) else ["--device", "cpu"]
    command = [sys.executable, "-m", "serving", "--bundle", str(bundle), "--port", "0", *device, *flags]
    with started([*command, "--port-file", "{port_file}"], folder, cores) as running:
        yield running


@contextmanager
def started(
    command: Sequence[str], folder: Path, cores: Sequence[int] | None = None, patience: float = 180.0
) -> Iterator[Running]:
    """A command that writes its port into the file that takes the place of `{port_file}` once it answers."""
    number = len(list(folder.glob("server*.log")))
    port_file, log = folder / f"server{number}.port", folder / f"server{number}.log"
    words = [word.replace("{port_file}", str(port_file)) for word in command]
    with log.open("wb") as output:
        process = subprocess.Popen(words, stdout=output, stderr=subprocess.STDOUT, cwd=_ROOT)
    known: dict[int, str] = {}
    deadline = time.monotonic() + patience
    try:
        while not port_file.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                said = log.read_text(encoding="utf-8", errors="replace")[-2_000:]
                raise DesedTaskError(f"{' '.join(words[:4])} ...: did not start; it said: {said}")
            known = descendants(process.pid)
            time.sleep(0.05)
        running = Running(process, int(port_file.read_text(encoding="ascii")), log)
        if cores is not None:
            pin(running.pid, cores)
        yield running
    finally:
        if process.poll() is None:
            Running(process, 0, log).stop()
        kill_descendants(known)


def _as_yaml(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
