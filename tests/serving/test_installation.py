"""What an operator installs: the service alone, without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_serve_extra_answers_without_torch(project: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("uv")
    python = tmp_path / "venv" / "bin" / "python"
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, str(tmp_path / "venv")], check=True)
    install = ["pip", "install", "--quiet", "--python", str(python), "--constraint", "constraints.txt", ".[serve]"]
    subprocess.run([*uv, *install], cwd=project, check=True)
    program = (
        "import importlib.util as found, sys, numpy, pathlib\n"
        "from desed_task.detector import Detector\n"
        "import serving.app\n"
        "assert not any(found.find_spec(name) for name in ('torch', 'pandas', 'numba', 'pytorch_lightning'))\n"
        "print(Detector(pathlib.Path(sys.argv[1])).detect(numpy.ones(16000, dtype=numpy.float32))[0].event_label)\n"
    )
    done = subprocess.run(
        [str(python), "-c", program, str(tiny_bundle)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "loud", done.stderr
