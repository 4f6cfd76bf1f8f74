"""Every command of the README is run: as written but for fewer scenes and steps, in an empty folder.

`make test` is what runs this; `make demo` is run in full by tests/recipes/test_demo.py (slow).
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

# A part of a command -> what makes it short. A command that matches none is run as it is.
SHORTER = {
    "confs/soundscapes/demo.yaml": [
        f"parts.{part}.num_scenes={n}"
        for part, n in {"train": 24, "weak": 8, "unlabeled": 8, "validation": 4, "test": 4}.items()
    ],
    "confs/soundscapes/esc10.yaml": [
        f"parts.{part}.num_scenes={n}"
        for part, n in {"train": 36, "weak": 12, "unlabeled": 16, "validation": 4, "test": 4}.items()
    ],
    "confs/sed/": [
        "training.n_epochs=1",
        "training.n_epochs_warmup=0",
        "training.decay_from_epoch=null",
        "training.validation_interval=1",
    ],
}
START_SECONDS = 60.0


def blocks(readme: str) -> list[list[str]]:
    """The command lines of each ```bash block."""
    found = re.findall(r"```bash\n(.*?)```", readme, flags=re.DOTALL)
    return [[line.split("  #")[0].strip() for line in block.splitlines() if line.strip()] for block in found]


@pytest.fixture
def folder(tmp_path: Path, project: Path) -> Path:
    """An empty folder in which the README's relative paths lead to the project's code."""
    for name in ("recipes", "confs", "benchmarks", "serving", "desed_task"):
        (tmp_path / name).symlink_to(project / name)
    (tmp_path / "docs").mkdir()
    return tmp_path


class Shell:
    """Runs README commands one after another; a service runs on until the end."""

    def __init__(self, folder: Path, esc10: Path | None) -> None:
        self.folder = folder
        self.esc10 = esc10
        self.service: subprocess.Popen[bytes] | None = None
        self.answers: list[dict[str, object]] = []

    def run(self, line: str) -> None:
        words = [word.replace("ESC10", str(self.esc10)) for word in shlex.split(line)]
        if words[:3] == ["python", "-m", "serving"]:
            self._serve(words)
        elif words[0] == "curl":
            self._post(words)
        else:
            assert words[0] == "python", f"no way is known to test {line!r}"
            self._finish([*words[1:], *self._shorter(line)], line)

    def _shorter(self, line: str) -> list[str]:
        overrides = next((values for part, values in SHORTER.items() if part in line), [])
        named = {word.split("=")[0] for word in shlex.split(line)}
        return [f"--set={override}" for override in overrides if override.split("=")[0] not in named]

    def _finish(self, words: list[str], line: str) -> None:
        done = subprocess.run(
            [sys.executable, *words], cwd=self.folder, capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"

    def _serve(self, words: list[str]) -> None:
        port = words.index("--port") + 1
        command = [sys.executable, *words[1:port], "0", *words[port + 1 :], "--port-file", "port"]
        self.service = subprocess.Popen(command, cwd=self.folder)
        deadline = time.monotonic() + START_SECONDS
        while not (self.folder / "port").is_file():
            assert self.service.poll() is None and time.monotonic() < deadline, "the service did not start"
            time.sleep(0.1)

    def _post(self, words: list[str]) -> None:
        """What curl would send, whether or not this machine has curl."""
        body = (self.folder / words[words.index("--data-binary") + 1].removeprefix("@")).read_bytes()
        address = re.sub(r":\d+", ":" + (self.folder / "port").read_text().strip(), words[-1], count=1)
        with urllib.request.urlopen(urllib.request.Request(address, data=body, method="POST"), timeout=30) as response:
            self.answers.append(json.load(response))

    def close(self) -> None:
        if self.service is not None:
            self.service.terminate()
            self.service.wait(timeout=30)


@pytest.fixture
def shell(folder: Path, request: pytest.FixtureRequest) -> Iterator[Shell]:
    needs_recordings = "ESC10" in request.node.name
    shell = Shell(folder, request.getfixturevalue("shared_data") / "esc10" if needs_recordings else None)
    yield shell
    shell.close()


def block_with(project: Path, word: str) -> list[str]:
    return next(block for block in blocks((project / "README.md").read_text()) if any(word in line for line in block))


def test_make_targets_of_the_readme_exist_and_ci_runs_the_tests(project: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (project / "Makefile").read_text(), flags=re.MULTILINE)
    named = re.findall(r"`?make ([a-z-]+)", (project / "README.md").read_text())
    assert {"demo", "test"} <= set(named) <= set(targets)
    assert "make test" in (project / ".ci" / "run").read_text()


def test_every_command_of_the_readme_is_run_by_some_test(project: Path) -> None:
    tested = [
        line for word in ("confs/sed/demo.yaml", "ESC10", "benchmarks/parity.py") for line in block_with(project, word)
    ]
    rest = [line for block in blocks((project / "README.md").read_text()) for line in block if line not in tested]
    assert all(line.startswith("make ") for line in rest), rest


def test_training_exporting_and_serving_as_in_the_readme(project: Path, shell: Shell) -> None:
    for line in block_with(project, "confs/sed/demo.yaml"):
        shell.run(line)
    assert set(shell.answers[0]) == {"model", "audio", "tags", "events"}
    report = json.loads((shell.folder / "exp" / "report" / "report.json").read_text())
    assert report["files_present"] == report["files_expected"] == 4


@pytest.mark.parametrize("block", ["ESC10"])
def test_results_on_real_recordings_as_in_the_readme(project: Path, shell: Shell, block: str) -> None:
    for line in [*block_with(project, block), *block_with(project, "benchmarks/parity.py")]:
        shell.run(line)
    rows = json.loads((shell.folder / "docs" / "results" / "esc10.json").read_text())
    assert {"name", "value", "unit", "peer", "peer_value", "ratio", "machine"} == set(rows[0])
