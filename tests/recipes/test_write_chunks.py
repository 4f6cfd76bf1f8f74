"""The recipe as users of the published scripts run it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from desed_task.errors import CorpusError, OptionsError
from recipes.write_chunks import main

DEV = 'fname,labels,mids,split\n1,"Dog,Bark","/m/1,/m/2",train\n2,Dog,/m/1,val\n3,Dog,/m/1,train\n'


@pytest.fixture
def fsd50k(tmp_path: Path) -> Path:
    (tmp_path / "gt").mkdir()
    (tmp_path / "gt" / "dev.csv").write_text(DEV)
    (tmp_path / "gt" / "eval.csv").write_text("fname,labels,mids\n4,Bark,/m/2\n")
    (tmp_path / "gt" / "vocabulary.csv").write_text("0,Bark,/m/2\n1,Dog,/m/1\n")
    for part, names in (("dev", "12"), ("eval", "4")):
        (tmp_path / part).mkdir()
        for name in names:
            soundfile.write(tmp_path / part / f"{name}.wav", np.full(4000, 0.25), 2000)
    return tmp_path


def test_from_recordings_to_manifests(fsd50k: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for part, flags in (("dev", ("--src_dir", "--tgt_dir")), ("eval", ("--src", "--tgt-dir"))):
        main([flags[0], str(fsd50k / part), flags[1], str(fsd50k / "chunks" / part), "--sample_rate", "1000"])
    tables = ["--dev_csv", str(fsd50k / "gt" / "dev.csv"), "--eval_csv", str(fsd50k / "gt" / "eval.csv")]
    folders = ["--dev_chunks_dir", str(fsd50k / "chunks" / "dev"), "--eval_chunks_dir", str(fsd50k / "chunks" / "eval")]
    main([*tables, *folders, "--output_dir", str(fsd50k / "meta")])
    listed = {}
    for name in ("tr", "val", "eval"):
        with (fsd50k / "meta" / f"{name}.csv").open(newline="") as stream:
            listed[name] = sorted(
                (Path(row["files"]).name, row["labels"], row["ext"]) for row in csv.DictReader(stream)
            )
    assert listed["tr"] == [(f"1_000{n}.wav", "Dog,Bark", "1") for n in range(4)]
    assert listed["val"] == [(f"2_000{n}.wav", "Dog", "2") for n in range(4)]
    assert listed["eval"] == [(f"4_000{n}.wav", "Bark", "4") for n in range(4)]
    assert json.loads((fsd50k / "meta" / "lbl_map.json").read_text()) == {"Bark": 0, "Dog": 1}
    assert soundfile.info(fsd50k / "chunks" / "dev" / "1_0000.wav").samplerate == 1000
    printed = capsys.readouterr().out
    assert f"{fsd50k / 'chunks' / 'dev'}: 8 chunks of 2 recordings" in printed
    assert f"{fsd50k / 'meta' / 'tr.csv'}: 4 chunks of 1 recordings" in printed


def test_what_is_not_given_is_named(fsd50k: Path) -> None:
    with pytest.raises(OptionsError, match="name recordings"):
        main([])
    with pytest.raises(OptionsError, match="--tgt_dir: not given"):
        main(["-s", str(fsd50k / "dev")])
    with pytest.raises(OptionsError, match="--output_dir: not given"):
        main(["--dev_csv", str(fsd50k / "gt" / "dev.csv")])
    with pytest.raises(CorpusError, match="no such folder of recordings"):
        main(["-s", str(fsd50k / "nowhere"), "-t", str(fsd50k / "out")])
    with pytest.raises(CorpusError, match="no recordings here"):
        main(["-s", str(fsd50k / "gt"), "-t", str(fsd50k / "out")])
