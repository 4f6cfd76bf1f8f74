"""The folder of one run: <log_dir>/version_N, new every time, never overwritten.

It holds the resolved conf (`conf.yaml`), what the code was (`code.json`), TensorBoard's events, checkpoints, energy and
`metrics_test/`. Two runs started at once get two numbers, because making the folder is what claims the number.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from filelock import FileLock, Timeout

from desed_task.errors import CheckpointError, DesedTaskError
from desed_task.options import Options, write_options


def require_log_dir(log_dir: Path) -> None:
    """DesedTaskError when runs cannot be written to `log_dir`, asked before the long work; makes nothing."""
    existing = next(path for path in (log_dir, *log_dir.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise DesedTaskError(f"{log_dir}: {existing} is a file; name a folder for the runs")
    if not os.access(existing, os.W_OK):
        raise DesedTaskError(f"{log_dir}: {existing} cannot be written to; name another folder for the runs")


def create_run_folder(log_dir: Path) -> Path:
    """Make and return the next version_N under `log_dir`."""
    try:
        log_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DesedTaskError(f"{log_dir}: the log folder cannot be made ({error.strerror})") from None
    taken = [int(path.name[8:]) for path in log_dir.glob("version_*") if path.name[8:].isdigit()]
    number = max(taken, default=-1) + 1
    while True:
        folder = log_dir / f"version_{number}"
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            number += 1


def write_provenance(folder: Path, options: Options, fast_dev_run: bool = False) -> None:
    """Write what the run is: its resolved conf and its code, and that it was only a trial where it was one."""
    write_options(options, folder / "conf.yaml")
    code = {**code_version(), **({"fast_dev_run": "yes"} if fast_dev_run else {})}
    (folder / "code.json").write_text(json.dumps(code, indent=2) + "\n", encoding="utf-8")


def find_checkpoint(path: Path) -> Path:
    """A checkpoint, or the best one of a run folder (`epoch=E-step=S.ckpt`; `last.ckpt` when nothing was selected)."""
    if not path.is_dir():
        return path
    selected = sorted(path.glob("epoch=*.ckpt"), key=lambda file: file.stat().st_mtime_ns)
    checkpoint = selected[-1] if selected else path / "last.ckpt"
    if not checkpoint.is_file():
        raise CheckpointError(f"{path}: holds no checkpoint; name a run folder (version_N) or a .ckpt file")
    return checkpoint


def is_of_whole_training(path: Path, run_folder: Path) -> bool:
    """Whether what a test wrote is there, and not of a training that was lengthened since."""
    last = run_folder / "last.ckpt"
    return path.is_file() and not (last.is_file() and last.stat().st_mtime_ns > path.stat().st_mtime_ns)


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Two trainings in one run folder would write over one another: DesedTaskError for the second."""
    path = folder / ".training.lock"
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise DesedTaskError(f"{folder}: a training is running in there; wait for it or end it first") from None
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()


def code_version() -> dict[str, str]:
    """Package, git commit where there is one, and the libraries that decide the numbers."""
    versions = {name: _installed(name) for name in ("desed-task", "torch", "numpy", "pytorch-lightning")}
    return {"commit": _commit(), "python": platform.python_version(), **versions}


def _installed(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    source = Path(__file__).resolve().parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=source,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return described.stdout.strip()
