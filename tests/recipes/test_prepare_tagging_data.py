"""FSD50K and AudioSet prepared by the recipe: checked, packed, found by the corpora that a conf names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from desed_task.data.corpora.fsd50k import Fsd50kOptions, read_fsd50k
from desed_task.data.store import is_packed
from desed_task.errors import AudioError, OptionsError
from recipes.prepare_data import main


def write(path: Path, seconds: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full(int(8000 * seconds), 0.1), 8000)


@pytest.fixture
def fsd50k(tmp_path: Path) -> Path:
    root = tmp_path / "fsd50k"
    for name, seconds in (("dev_audio/1", 0.5), ("dev_audio/2", 1.5), ("eval_audio/4", 1.0)):
        write(root / f"FSD50K.{name}.wav", seconds)
    truth = root / "FSD50K.ground_truth"
    truth.mkdir()
    (truth / "dev.csv").write_text("fname,labels,mids,split\n1,Dog,/m/1,train\n2,Dog,/m/1,val\n3,Dog,/m/1,train\n")
    (truth / "eval.csv").write_text("fname,labels,mids\n4,Dog,/m/1\n")
    return root


def prepare(corpus: str, root: Path, store: Path, *more: str) -> None:
    places = ["--basedir", str(root), "--store", str(store), "--sample_rate", "4000", "--num_jobs", "2"]
    main(["--corpus", corpus, *places, "--no_fetch", *more])


def rows(printed: str) -> list[list[str]]:
    return [line.split() for line in printed.splitlines()[1:]]


def test_fsd50k_is_packed_once_for_train_and_val(
    fsd50k: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare("fsd50k", fsd50k, tmp_path / "store")
    assert [row[:4] for row in rows(capsys.readouterr().out)] == [
        ["fsd50k_dev", "2", "of", "3"],
        ["fsd50k_eval", "1", "of", "1"],
    ]
    for part in ("train", "val", "eval"):
        options = Fsd50kOptions.model_validate({"name": "fsd50k", "root": fsd50k, "part": part})
        assert is_packed(read_fsd50k(options, "weak"), tmp_path / "store", 4000)
    prepare("fsd50k", fsd50k, tmp_path / "store", "--parts", "eval")
    assert [row[0] for row in rows(capsys.readouterr().out)] == ["fsd50k_eval"]


def test_audioset_comes_in_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "audioset"
    write(root / "audio" / "eval" / "--PJHxphWEs.wav", 2.0)
    (root / "class_labels_indices.csv").write_text("index,mid,display_name\n0,/m/09x0r,Speech\n")
    (root / "eval_segments.csv").write_text('# a\n# b\n# c\n--PJHxphWEs, 0.000, 10.000, "/m/09x0r"\n')
    prepare("audioset", root, tmp_path / "store", "--parts", "eval")
    assert rows(capsys.readouterr().out)[0][:4] == ["audioset_eval_segments", "1", "of", "1"]


def test_what_cannot_be_prepared_is_named(fsd50k: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match="--parts train: fsd50k has no such part; take some of dev, eval"):
        prepare("fsd50k", fsd50k, tmp_path / "store", "--parts", "train")
    with pytest.raises(OptionsError, match="--parts dev: esc50 has no such part; leave it out"):
        prepare("esc50", fsd50k, tmp_path / "store", "--parts", "dev")
    (fsd50k / "FSD50K.dev_audio" / "2.wav").write_bytes(b"")
    with pytest.raises(AudioError, match=r"fsd50k_dev: 2 of 3 files present, 1 unusable, .*2\.wav: the file is empty"):
        prepare("fsd50k", fsd50k, tmp_path / "store")


def test_gise51_says_what_is_there_and_is_packed_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "gise51"
    write(root / "val" / "a.wav", 0.5)
    (root / "downloads").mkdir()
    (root / "downloads" / "val.files").write_text("val/a.wav\n")
    (root / "downloads" / "eval.files").write_text("eval/b.flac\n")
    prepare("gise51", root, tmp_path / "store")
    assert capsys.readouterr().out.splitlines() == [
        f"gise51 train: {root}/downloads/train.files is not there",
        "gise51 val: complete",
        f"gise51 eval: {root}/eval/b.flac is not there",
    ]
    assert not (tmp_path / "store").exists()
    with pytest.raises(OptionsError, match=r"--parts test: gise51 has no such part; take some of train, val, eval"):
        prepare("gise51", root, tmp_path / "store", "--parts", "test")
