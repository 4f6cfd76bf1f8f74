"""Every command of the README is run: as written but for fewer scenes and steps, in an empty folder.

`make test` is what runs this; `make demo` is run in full by tests/recipes/test_demo.py (slow).
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from desed_tree import write_desed
from fused_systems import write_weights

# A part of a command -> what makes it short. A command that matches none is run as it is.
SMALL_BASELINE = [
    "features.n_mels=16",
    "model={name: crnn, nb_filters: [4, 8], pooling: [[2, 4], [2, 4]], n_rnn_cell: 8, rnn_layers: 1}",
    "data.clip_seconds=1.0",
    "data.overlap_frames=2",
    *(f"data.train.{source}.batch_size={share}" for source, share in enumerate((4, 4, 8))),
    "training.n_epochs=1",
    "training.n_epochs_warmup=0",
    "training.num_threads=2",
]
SHORTER = {
    "exp/baseline ": SMALL_BASELINE,
    "--log_dir exp/strong_real": SMALL_BASELINE,
    "confs/sed/compat_2022.yaml": SMALL_BASELINE,
    "confs/soundscapes/few_labels.yaml": [
        f"parts.{part}.num_scenes={n}"
        for part, n in {"train": 6, "weak": 6, "unlabeled": 12, "validation": 4, "test": 4}.items()
    ],
    "confs/soundscapes/esc10_semi.yaml": [
        f"parts.{part}.num_scenes={n}"
        for part, n in {"train": 6, "weak": 6, "unlabeled": 12, "validation": 4, "test": 4}.items()
    ],
    "benchmarks/few_labels.py": [
        "training.n_epochs=1",
        "training.n_epochs_warmup=0",
        "training.validation_interval=1",
    ],
    "confs/soundscapes/demo.yaml": [
        f"parts.{part}.num_scenes={n}"
        for part, n in {"train": 24, "weak": 8, "unlabeled": 8, "validation": 4, "test": 4}.items()
    ],
    "confs/soundscapes/esc10.yaml": [
        f"parts.{part}.num_scenes={n}"
        for part, n in {"train": 36, "weak": 12, "unlabeled": 16, "validation": 4, "test": 4}.items()
    ],
    "recipes/train_tagging.py --conf_file confs/tagging/demo.yaml": [
        "training.n_epochs=2",
        "training.schedule={name: constant}",
        "training.weight_averaging.first_epoch=1",
        "training.ensemble.first_epoch=1",
    ],
    "confs/sed/crnn_panns.yaml": [
        *SMALL_BASELINE,
        "model.fusion={ways: {panns: aligned}}",
        "embedders.panns.model={name: cnn14, width: 0.02}",
        "embedders.panns.weights=small.pth",
    ],
    "confs/sed/": [
        "training.n_epochs=1",
        "training.n_epochs_warmup=0",
        "training.decay_from_epoch=null",
        "training.validation_interval=1",
    ],
}
START_SECONDS = 60.0
# What the README calls a folder of real data -> where it is.
SHARED = {"ESC10": "esc10", "STUDENT2021": "reference/dcase2021_student"}
BASELINE, FEW_LABELS, EVALUATOR = "recipes/prepare_data.py", "benchmarks/few_labels.py", "benchmarks/evaluation.py"
SUBMISSION, TUNED, TAGGING = "--submission exp/demo", "exp/esc10_tuned", "confs/tagging/demo.yaml"
TRAINING, ESC10_TAGGING = "benchmarks/training.py", "benchmarks/esc10_tagging.py"
EMBEDDINGS, ESC10_FUSION = "recipes/extract_embeddings.py", "benchmarks/esc10_fusion.py"
MIXTURES, ESC10_SIZES = "recipes/pack_lmdb.py", "benchmarks/esc10_sizes.py"
BLOCKS_BELOW = (
    *(BASELINE, FEW_LABELS, EVALUATOR, SUBMISSION, TUNED, TAGGING, TRAINING, ESC10_TAGGING, EMBEDDINGS),
    *(ESC10_FUSION, MIXTURES, ESC10_SIZES),
)
TWO_FOLDS = {"recipes/tune_postprocessing.py": ["--folds", "2"]}  # there are four clips


def blocks(readme: str) -> list[list[str]]:
    """The command lines of each ```bash block."""
    found = re.findall(r"```bash\n(.*?)```", readme, flags=re.DOTALL)
    return [[re.split(r"\s+#", line)[0].strip() for line in block.splitlines() if line.strip()] for block in found]


@pytest.fixture
def folder(tmp_path: Path, project: Path) -> Path:
    """An empty folder in which the README's relative paths lead to the project's code."""
    for name in ("recipes", "confs", "benchmarks", "serving", "desed_task"):
        (tmp_path / name).symlink_to(project / name)
    (tmp_path / "docs").mkdir()
    return tmp_path


class Shell:
    """Runs README commands one after another; a service runs on until the end."""

    def __init__(self, folder: Path, shared: Path | None) -> None:
        self.folder = folder
        self.data = {} if shared is None else {word: str(shared / where) for word, where in SHARED.items()}
        self.service: subprocess.Popen[bytes] | None = None
        self.answers: list[dict[str, object]] = []
        self.further: dict[str, list[str]] = {}

    def run(self, line: str) -> None:
        words = [self._located(word) for word in shlex.split(line)]
        if words[:3] == ["python", "-m", "serving"]:
            self._serve(words)
        elif words[0] == "curl":
            self._post(words)
        elif words[0] == "desed-task":
            self._finish(["-c", "from serving.cli import main; main()", *words[1:]], line)
        else:
            assert words[0] == "python", f"no way is known to test {line!r}"
            further = next((flags for part, flags in self.further.items() if part in line), [])
            self._finish([*words[1:], *self._shorter(f"{line} "), *further], line)

    def _located(self, word: str) -> str:
        for name, path in self.data.items():
            word = word.replace(name, path)
        return word

    def _shorter(self, line: str) -> list[str]:
        overrides = next((values for part, values in SHORTER.items() if part in line), [])
        named = {word.split("=")[0] for word in shlex.split(line)}
        return [f"--set={override}" for override in overrides if override.split("=")[0] not in named]

    def _finish(self, words: list[str], line: str) -> None:
        done = subprocess.run(
            [sys.executable, *words], cwd=self.folder, capture_output=True, text=True, timeout=600, check=False
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
    needs_data = any(name in request.node.name for name in SHARED)
    shell = Shell(folder, request.getfixturevalue("shared_data") if needs_data else None)
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
        line
        for word in ("confs/sed/demo.yaml", "confs/soundscapes/esc10.yaml", "benchmarks/parity.py", *BLOCKS_BELOW)
        for line in block_with(project, word)
    ]
    rest = [line for block in blocks((project / "README.md").read_text()) for line in block if line not in tested]
    assert all(line.startswith("make ") for line in rest), rest


def test_training_exporting_and_serving_as_in_the_readme(project: Path, shell: Shell) -> None:
    shell.further = TWO_FOLDS
    for line in [*block_with(project, "confs/sed/demo.yaml"), *block_with(project, SUBMISSION)]:
        shell.run(line)
    assert set(shell.answers[0]) == {"id", "model", "audio", "tags", "events", "warnings", "timing"}
    report = json.loads((shell.folder / "exp" / "report" / "report.json").read_text())
    assert report["files_present"] == report["files_expected"] == 4
    assert "<svg" in (shell.folder / "exp" / "scored" / "report.html").read_text()
    assert (shell.folder / "exp" / "tuned_bundle" / "bundle.json").is_file()


@pytest.mark.slow
def test_tagging_as_in_the_readme(project: Path, shell: Shell) -> None:
    scenes = next(line for line in block_with(project, "confs/sed/demo.yaml") if "confs/soundscapes/demo.yaml" in line)
    shell.further = {"benchmarks/tagging_metrics.py": ["--size", "small"]}
    for line in [scenes, *block_with(project, TAGGING)]:
        shell.run(line)
    tagged = json.loads((shell.folder / "exp" / "tagged" / "report.json").read_text())
    assert tagged["map"] > 0 and tagged["files_present"] == 4


@pytest.mark.parametrize("recordings", ["STUDENT2021"])
def test_the_evaluator_as_in_the_readme(project: Path, shell: Shell, recordings: str) -> None:
    pytest.importorskip("psds_eval")
    shell.further = {EVALUATOR: ["--only", "operating points", "--repeats", "1"]}
    for line in block_with(project, EVALUATOR):
        shell.run(line)
    report = json.loads((shell.folder / "exp" / "student2021" / "report.json").read_text())
    assert [round(report[name], 6) for name in ("psds1", "psds2")] == [0.334469, 0.5281]
    assert [round(100 * report[f"collar_f1_{mean}"], 2) for mean in ("macro", "micro")] == [39.87, 40.95]
    (row,) = json.loads((shell.folder / "docs" / "results" / "evaluation.json").read_text())
    assert row["ratio"] > 1


def test_the_speed_of_training_as_in_the_readme(project: Path, shell: Shell) -> None:
    shell.further = {TRAINING: ["--size", "small", "--only", "data path", "--repeats", "1"]}
    for line in block_with(project, TRAINING):
        shell.run(line)
    rows = json.loads((shell.folder / "docs" / "results" / "training.json").read_text())
    assert {"name", "value", "unit", "peer", "peer_value", "ratio", "machine"} <= set(rows[0])


@pytest.mark.slow
@pytest.mark.parametrize("recordings", ["ESC10"])
def test_results_on_real_recordings_as_in_the_readme(project: Path, shell: Shell, recordings: str) -> None:
    shell.further = TWO_FOLDS
    for word in ("confs/soundscapes/esc10.yaml", TUNED, "benchmarks/parity.py"):
        for line in block_with(project, word):
            shell.run(line)
    rows = json.loads((shell.folder / "docs" / "results" / "esc10.json").read_text())
    assert {"name", "value", "interval", "unit", "peer", "peer_value", "ratio", "machine"} == set(rows[0])
    tuned = json.loads((shell.folder / "exp" / "esc10_tuned_test" / "report.json").read_text())
    assert set(tuned["scorer"]["median_filter_seconds"].values()) != {0.448}
    assert "<svg" in (shell.folder / "exp" / "esc10_leaderboard" / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("recordings", ["ESC10"])
def test_taggers_of_real_recordings_as_in_the_readme(project: Path, shell: Shell, recordings: str) -> None:
    small = ["n_epochs=2", "weight_averaging.first_epoch=1", "ensemble.first_epoch=1"]
    keys = ["model={name: resnet, depth: 10, width: 4}", *(f"training.{key}" for key in small)]
    flags = ["--families", "ResNet-18", *(word for key in keys for word in ("--set", key))]
    shell.further = {ESC10_TAGGING: flags}
    for line in block_with(project, ESC10_TAGGING):
        shell.run(line)
    rows = json.loads((shell.folder / "docs" / "results" / "esc10_tagging.json").read_text())
    assert {"name", "value", "unit", "peer", "peer_value", "ratio", "machine"} <= set(rows[0])
    names = {row["name"] for row in rows}
    assert {"esc10 tagging chosen ResNet-18", "esc10 tagging ablation accuracy without mixup"} <= names


@pytest.mark.slow
@pytest.mark.parametrize("recordings", ["ESC10"])
def test_a_taggers_embeddings_as_in_the_readme(project: Path, shell: Shell, recordings: str) -> None:
    short = ["n_epochs=1", "n_epochs_warmup=0", "decay_from_epoch=null", "validation_interval=1"]
    sets = [word for key in short for word in ("--set", f"training.{key}")]
    shell.further = {ESC10_FUSION: ["--seeds", "42", "--systems", "global", "aligned, gated", *sets]}
    scenes = next(line for line in block_with(project, "confs/soundscapes/esc10.yaml") if "generate_" in line)
    for line in [scenes, *block_with(project, ESC10_FUSION)]:
        shell.run(line)
    rows = json.loads((shell.folder / "docs" / "results" / "esc10_fusion.json").read_text())
    assert {"name", "value", "unit", "peer", "peer_value", "ratio", "machine"} <= set(rows[0])
    assert {row["system"] for row in rows} == {"without embeddings", "global", "aligned, gated"}


@pytest.mark.slow
@pytest.mark.timeout(900)  # fourteen trainings, if short ones
@pytest.mark.parametrize("recordings", ["ESC10"])
def test_mixtures_as_in_the_readme(project: Path, shell: Shell, recordings: str) -> None:
    small = ["n_epochs=1", "weight_averaging.first_epoch=1", "schedule={name: constant}"]
    keys = [*(f"training.{key}" for key in small), "model={name: resnet, depth: 10, width: 4}"]
    sets = [word for key in keys for word in ("--set", key)]
    shell.further = {
        "recipes/generate_soundscapes.py": ["--set", "parts.train.num_scenes=40", "--set", "parts.test.num_scenes=20"],
        "recipes/train_tagging.py": [*sets, "--set", "data.train.0.sampling.epoch_clips=32"],
        "benchmarks.lmdb_reading": ["--size", "small", "--repeats", "1"],
        ESC10_SIZES: ["--sizes", "20", "40", "--seeds", "2", *sets, "--set", "data.train.0.sampling.epoch_clips=32"],
        "benchmarks/transfer.py": ["--epochs", "2", "--mixture_epochs", "1", "--seeds", "1", *sets[-2:]],
    }
    for line in [*block_with(project, MIXTURES), *block_with(project, ESC10_SIZES)]:
        shell.run(line)
    results = shell.folder / "docs" / "results"
    for name, num_rows in {"lmdb_reading": 10, "esc10_sizes": 2, "transfer": 10}.items():
        rows = json.loads((results / f"{name}.json").read_text())
        assert len(rows) == num_rows
        assert {"name", "value", "unit", "peer", "peer_value", "ratio", "machine"} <= set(rows[0])
    assert "<svg" in (results / "esc10_sizes.svg").read_text()
    assert list((shell.folder / "exp" / "mixtures_weights").glob("**/mAP=*_dprime=*.pth"))


@pytest.mark.slow
def test_embeddings_as_in_the_readme(project: Path, shell: Shell) -> None:
    """On a small DESED where the conf looks for it, with PANNs a fiftieth as wide as published."""
    for name in ("recipes", "confs"):
        (shell.folder / name).unlink()
        shutil.copytree(project / name, shell.folder / name)
    write_desed(shell.folder / "data" / "dcase" / "dataset")
    features = {"name": "panns", "sample_rate": 16000}
    small = {"name": "network", "features": features, "model": {"name": "cnn14", "width": 0.02}, "num_classes": 527}
    write_weights(shell.folder / "small.pth", small)
    for line in block_with(project, EMBEDDINGS):
        shell.run(line)
    assert (shell.folder / "embeddings" / "panns" / "devtest.hdf5").is_file()
    for run in ("panns", "learning"):
        report = shell.folder / "exp" / run / "version_0" / "metrics_test" / "student" / "report.json"
        assert json.loads(report.read_text())["files_present"] == 5


@pytest.mark.slow
def test_the_baseline_on_desed_as_in_the_readme(project: Path, shell: Shell) -> None:
    """On a small DESED in its published layout, where the conf looks for it; nothing is fetched."""
    for name in ("recipes", "confs"):
        (shell.folder / name).unlink()
        shutil.copytree(project / name, shell.folder / name)
    write_desed(shell.folder / "data" / "dcase" / "dataset")
    shell.further = {"prepare_data.py": ["--no_fetch"]}
    for line in block_with(project, BASELINE):
        shell.run(line)
    runs = {path.parent.name for path in shell.folder.glob("exp/*/version_*")}
    assert runs == {"baseline", "strong_real", "compat", "eval"}
    assert len(list(shell.folder.glob("exp/strong_real/version_*"))) == 3
    assert json.loads((shell.folder / "exp" / "strong_real" / "seeds_42-44.json").read_text())["models"]["student"]
    assert list(shell.folder.glob("exp/eval/version_0/metrics_test/teacher/scores/raw/*.tsv"))


@pytest.mark.slow
@pytest.mark.timeout(900)  # twelve trainings, each a process of its own
@pytest.mark.parametrize("recordings", ["ESC10"])
def test_the_comparison_with_few_labels_as_in_the_readme(project: Path, shell: Shell, recordings: str) -> None:
    shell.further = {"benchmarks/few_labels.py": ["--seeds", "42", "43", "--num_threads", "2"]}
    for line in block_with(project, FEW_LABELS):
        shell.run(line)
    rows = json.loads((shell.folder / "docs" / "results" / "few_labels.json").read_text())
    assert {(row["corpus"], row["system"]) for row in rows} >= {
        (corpus, system)
        for corpus in ("procedural", "ESC-10")
        for system in ("mean teacher, student", "mean teacher, 2022, student", "supervised, student")
    }
    assert all(len(row["values"]) == 2 and row["half_width"] >= 0 for row in rows)
