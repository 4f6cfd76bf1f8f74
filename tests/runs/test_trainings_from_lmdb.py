"""Detectors and taggers trained from LMDBs learn, bit for bit, what they learn from the plain files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tagging_clips import write_tagging
from training_scenes import PARTS, write_training

from desed_task.experiment import SedOptions, build_clip_set, build_dataset, build_system
from desed_task.options import read_options
from recipes.pack_lmdb import main as pack_lmdb
from recipes.train_sed import main as train_sed
from recipes.train_tagging import main as train_tagging

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The conf of a detector on soundscapes, and an LMDB of each of their parts."""
    conf = write_training(tmp_path_factory.mktemp("detection"))
    for part in PARTS:
        folder = conf.parent / "scenes" / part
        pack_lmdb(["--mixture_dir", str(folder), "--lmdb_path", str(conf.parent / f"{part}.lmdb")])
    return conf


def with_lmdbs(plain: Path, name: str, options: str = "") -> Path:
    """The same conf, each of its sets from the LMDB."""
    text = plain.read_text(encoding="utf-8").replace("${here}/store", f"${{here}}/store_{name}")
    for part in PARTS:
        corpus = f'{{name: soundscapes, root: "${{here}}/scenes", part: {part}}}'
        assert corpus in text
        text = text.replace(corpus, f'{{name: lmdb, path: "${{here}}/{part}.lmdb"{options}}}')
    conf = plain.with_name(f"{name}.yaml")
    conf.write_text(text, encoding="utf-8")
    return conf


WAYS = {"heard": "", "in_memory": ", in_memory: true", "once": ", decode: once"}


@pytest.mark.parametrize(("name", "options"), WAYS.items(), ids=WAYS)
def test_batches_are_those_of_the_plain_files(plain: Path, name: str, options: str) -> None:
    datasets = []
    for conf in (plain, with_lmdbs(plain, name, options)):
        sed = read_options(conf, SedOptions)
        around = build_system(sed, {})
        clip_sets = [build_clip_set(source, around.labels) for source in sed.data.train]
        datasets.append(build_dataset(sed, clip_sets, around.labels, around.grid))
    files, lmdbs = datasets
    assert files.fingerprint == lmdbs.fingerprint
    for epoch in range(2):
        for step in range(len(files)):
            one, other = files[epoch, step], lmdbs[epoch, step]
            assert one.audio_ids == other.audio_ids
            assert torch.equal(one.waveform, other.waveform)
            assert one.waveform.abs().amax() > 0.01
            assert torch.equal(one.targets.strong, other.targets.strong)
            assert torch.equal(one.targets.weak, other.targets.weak)


def test_a_detector_trained_from_lmdbs_is_that_of_the_plain_files(plain: Path) -> None:
    exp = plain.parent / "exp"
    for conf in (plain, with_lmdbs(plain, "heard")):
        assert train_sed(["--conf_file", str(conf), "--log_dir", str(exp), "--device", "cpu"]) == 0
    one, other = (torch.load(next((exp / name).glob("epoch=*.ckpt")), weights_only=True) for name in RUNS)
    assert one["sed_student"].keys() == other["sed_student"].keys()
    assert all(torch.equal(values, other["sed_student"][name]) for name, values in one["sed_student"].items())
    of_files, of_lmdbs = (report_of(exp / name / "metrics_test" / "student") for name in RUNS)
    assert of_files == of_lmdbs
    assert not (plain.parent / "store_heard").exists()


RUNS = ("version_0", "version_1")


def report_of(folder: Path) -> dict[str, object]:
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return {name: value for name, value in report.items() if not name.startswith("energy")}


def test_a_tagger_trained_from_lmdbs_is_that_of_the_plain_files(tmp_path: Path) -> None:
    conf = write_tagging(tmp_path)
    text = conf.read_text(encoding="utf-8")
    for part in ("train", "validation", "eval"):
        pack_lmdb(["--conf_file", str(conf), "--part", part, "--lmdb_path", str(tmp_path / f"{part}.lmdb")])
        (corpus,) = (line[line.index("{") : line.rindex("}") + 1] for line in text.splitlines() if f"[{part}]" in line)
        text = text.replace(corpus, f'{{name: lmdb, path: "${{here}}/{part}.lmdb"}}')
    conf.with_name("lmdb.yaml").write_text(text.replace("}/store", "}/no_store"), encoding="utf-8")
    for name in ("conf", "lmdb"):
        flags = ["--conf_file", str(tmp_path / f"{name}.yaml"), "--log_dir", str(tmp_path / name), "--device", "cpu"]
        train_tagging(flags)
    runs = [tmp_path / name / "version_0" for name in ("conf", "lmdb")]
    checkpoints = [torch.load(next(run.glob("epoch=*.ckpt")), weights_only=True)["state_dict"] for run in runs]
    assert all(torch.equal(values, checkpoints[1][name]) for name, values in checkpoints[0].items())
    assert not (tmp_path / "no_store").exists()
