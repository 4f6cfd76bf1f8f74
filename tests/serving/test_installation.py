"""What an operator installs, as the Dockerfile does: the service alone, without torch, in a venv of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

MAX_VENV_BYTES = 700_000_000
UNWANTED = ("torch", "pandas", "numba", "pytorch_lightning", "codecarbon", "scipy", "pytest")


def size_of(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def answer_of(port_file: Path, body: bytes) -> dict[str, object]:
    """What the server answers once it is ready."""
    deadline = time.monotonic() + 60
    while not port_file.exists():
        assert time.monotonic() < deadline, "the server did not become ready"
        time.sleep(0.1)
    request = urllib.request.Request(f"http://127.0.0.1:{int(port_file.read_text())}/v1/events", data=body)
    with urllib.request.urlopen(request, timeout=30) as response:
        document: dict[str, object] = json.load(response)
    return document


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_serve_extra_answers_without_torch(
    project: Path, tiny_bundle: Path, tmp_path: Path, ten_seconds: bytes
) -> None:
    pytest.importorskip("uv")
    venv = tmp_path / "venv"
    python = venv / "bin" / "python"
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, str(venv)], check=True)
    install = ["pip", "install", "--quiet", "--python", str(python), "--constraint", "constraints.txt", ".[serve]"]
    subprocess.run([*uv, *install], cwd=project, check=True)
    found = f"import importlib.util as u; print([n for n in {UNWANTED!r} if u.find_spec(n)])"
    listed = subprocess.run([str(python), "-c", found], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert listed.stdout.strip() == "[]"
    assert size_of(venv) < MAX_VENV_BYTES, f"the venv holds {size_of(venv) / 1e6:.0f} MB"

    port_file = tmp_path / "port"
    settings = {
        "DESED_TASK_SERVING_BUNDLE": str(tiny_bundle),
        "DESED_TASK_SERVING_PORT": "0",
        "DESED_TASK_SERVING_PORT_FILE": str(port_file),
        "DESED_TASK_SERVING_DEVICE": "cpu",
    }
    command = [str(venv / "bin" / "desed-task"), "serve"]
    with subprocess.Popen(command, env={**os.environ, **settings}, cwd=tmp_path) as server:
        try:
            assert answer_of(port_file, ten_seconds)["events"]
            server.terminate()
            assert server.wait(timeout=20) == 0
        finally:
            server.kill()
