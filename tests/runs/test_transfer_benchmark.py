"""The table of transfer from mixtures to clips, in small: every system is trained, its differences are paired."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from lmdb_of_clips import write_lmdbs
from tagging_clips import LABELS, write_clips

from desed_task.options import read_options
from desed_task.tagging import TaggingOptions

SYSTEMS = ("scratch", "scratch, longer", "mixtures, fine-tuned", "mixtures, frozen", "mixtures alone")
SMALL = (
    "labels=[hum, hiss, tick]",
    "features={name: logmel, sample_rate: 8000, n_window: 256, hop_length: 128, n_mels: 16, f_max: 4000}",
    "model={name: cifar_resnet, depth: 8, width: 4}",
    "augmentations=[]",
    "data.clip_seconds=1.0",
    "training.warmup=null",
)


def benchmark(project: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(project / "benchmarks" / "transfer.py"), *argv]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)


@pytest.fixture
def esc10(tmp_path: Path) -> Path:
    """Four folds of six recordings of one class each, and an LMDB of twelve of two classes."""
    folder = tmp_path / "esc10"
    table = write_clips(folder, {**{f"{fold}-1": 8 for fold in range(1, 5)}, "mixtures": 12})
    rows = ["filename\tevent_label\tfold"]
    for fold in range(1, 5):
        for clip in (1, 2, 3, 5, 6, 7):
            name = f"{fold}-{clip}-A.wav"
            (folder / "audio" / f"{fold}-1_{clip}.wav").rename(folder / "audio" / name)
            rows.append(f"{name}\t{LABELS[clip % 3]}\t{fold}")
    (folder / "metadata.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    write_lmdbs(table, tmp_path, {"without_4": ("mixtures", 12)})
    return folder


@pytest.mark.slow
def test_every_system_is_trained_and_compared(esc10: Path, tmp_path: Path, project: Path) -> None:
    keys = [word for key in SMALL for word in ("--set", key)]
    argv = ["--esc10", str(esc10), "--mixtures", str(tmp_path / "without_{fold}.lmdb"), "--seeds", "2", *keys]
    argv += ["--exp", str(tmp_path / "exp"), "--store", str(tmp_path / "store"), "--json", str(tmp_path / "t.json")]
    ran = benchmark(project, *argv, "--epochs", "3", "--mixture_epochs", "3")
    assert ran.returncode == 0, ran.stderr
    rows = json.loads((tmp_path / "t.json").read_text())
    assert [(row["system"], row["figure"]) for row in rows] == [(s, f) for s in SYSTEMS for f in ("accuracy", "map")]
    of_scratch = rows[0]["seeds"]
    for row in rows[::2]:
        assert row["value"] == pytest.approx(np.mean(row["seeds"]))
        assert row["difference"] == pytest.approx(np.mean(np.subtract(row["seeds"], of_scratch)))
        low, high = row["difference_over_clips"]
        assert low <= row["difference"] <= high
    assert (rows[0]["difference"], rows[0]["difference_half_width"]) == (0.0, 0.0)
    confs = {system: sorted(run_of(tmp_path / "exp", system).glob("version_*/conf.yaml")) for system in SYSTEMS}
    options = {system: read_options(found[0], TaggingOptions) for system, found in confs.items()}
    assert {system: of.data.train[0].corpus.name for system, of in options.items()} == {
        **dict.fromkeys(SYSTEMS, "esc10"),
        "mixtures alone": "lmdb",
    }
    # 12 mixtures thrice are the 18 clips of three folds twice.
    assert options["scratch, longer"].training.n_epochs == 5
    begun = options["mixtures, fine-tuned"].training.init_from
    assert begun is not None
    assert begun.parent == confs["mixtures alone"][0].parent
    assert [options[system].training.freeze_trunk for system in SYSTEMS] == [False, False, False, True, False]
    assert "mixtures, frozen" in ran.stdout


def run_of(exp: Path, system: str) -> Path:
    words = "".join(letter if letter.isalnum() else "_" for letter in system)
    return exp / "transfer" / words / "fold4_seed42"


def test_several_folds_need_mixtures_that_leave_each_of_them_out(tmp_path: Path, project: Path) -> None:
    ran = benchmark(project, "--esc10", str(tmp_path), "--mixtures", "all.lmdb", "--test_folds", "3", "4")
    assert ran.returncode == 2
    assert "write {fold} where their names differ" in ran.stderr
