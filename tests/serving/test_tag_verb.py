"""`desed-task tag`: the same answers as the detector's, whatever is among the files, and without any HTTP."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from desed_task.audio.reading import read_waveform
from desed_task.detector import Detector
from desed_task.errors import BundleError
from serving.tagging import tag


@pytest.fixture
def recordings(tmp_path: Path, make_tone: Callable[..., Any], make_bytes: Callable[..., bytes]) -> Path:
    """A loud one of 2.5 s, a quiet one of a few samples in a folder below, and a text."""
    folder = tmp_path / "recordings"
    (folder / "below").mkdir(parents=True)
    (folder / "loud.wav").write_bytes(make_bytes(make_tone(2.5, (0.0, 2.5))))
    (folder / "below" / "quiet.flac").write_bytes(make_bytes(np.zeros(80, np.float32), "FLAC", "PCM_16", 8000))
    (folder / "notes.txt").write_text("no recording")
    return folder


def run(*arguments: object, bundle: Path) -> int:
    return tag([*map(str, arguments), "--bundle", str(bundle), "--device", "cpu", "--num-threads", "1"])


def test_json_is_one_object_per_file_and_line(
    tiny_tagger: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(recordings, "--format", "json", bundle=tiny_tagger) == 0
    quiet, loud = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (quiet["file"], loud["file"]) == (str(recordings / "below" / "quiet.flac"), str(recordings / "loud.wav"))
    assert (quiet["duration"], loud["duration"]) == (0.01, 2.5)
    expected = Detector(tiny_tagger, device="cpu").tags(read_waveform(recordings / "loud.wav", 16000))
    assert [(tagged["label"], tagged["score"]) for tagged in loud["tags"]] == expected
    assert quiet["tags"][0]["label"] == "quiet"
    assert loud.keys() == {"file", "duration", "tags"}  # no events: the bundle has no frames


def test_a_detectors_json_holds_events(tiny_bundle: Path, recordings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(recordings / "loud.wav", "--format", "json", bundle=tiny_bundle) == 0
    (event,) = json.loads(capsys.readouterr().out)["events"]
    assert (event["label"], event["onset"], event["offset"]) == ("loud", 0.0, pytest.approx(2.5, abs=0.064))
    assert run(recordings / "loud.wav", "--format", "json", "--threshold", "1", bundle=tiny_bundle) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["events"], document["tags"]) == ([], [])


def test_the_table_lists_the_best_tags(tiny_tagger: Path, recordings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(recordings / "loud.wav", "--top-k", "2", bundle=tiny_tagger) == 0
    heading, first, second = capsys.readouterr().out.splitlines()
    assert heading == f"{recordings / 'loud.wav'}  2.50 s"
    assert first.split() == ["1", "1.000", "loud"]
    assert second.split() == ["2", "0.000", "never"]


def test_csv_is_written_to_a_file_whole(
    tiny_tagger: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (recordings / "loud.wav").rename(recordings / 'a, "loud" one.wav')
    output = tmp_path / "tags.csv"
    assert run(recordings, "--format", "csv", "--top_k", "2", "--output", output, bundle=tiny_tagger) == 0
    header, *rows = csv.reader(output.read_text().splitlines())
    assert header == ["file", "rank", "label", "score"]
    assert [(row[0], row[1], row[2]) for row in rows] == [
        (str(recordings / 'a, "loud" one.wav'), "1", "loud"),
        (str(recordings / 'a, "loud" one.wav'), "2", "never"),
        (str(recordings / "below" / "quiet.flac"), "1", "quiet"),
        (str(recordings / "below" / "quiet.flac"), "2", "loud"),
    ]
    assert float(rows[1][3]) == pytest.approx(1 / (1 + np.exp(9.0)), rel=1e-5)
    assert capsys.readouterr().out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["recordings", "tags.csv"]


def test_a_threshold_leaves_out_what_scores_less(
    tiny_tagger: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(recordings / "loud.wav", "--threshold", "0.5", "--format", "json", bundle=tiny_tagger) == 0
    assert [tagged["label"] for tagged in json.loads(capsys.readouterr().out)["tags"]] == ["loud"]


def test_bad_files_are_a_sentence_each_and_the_others_are_tagged(
    tiny_tagger: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "cut.wav").write_bytes((recordings / "loud.wav").read_bytes()[:1000])
    places = [tmp_path / "empty", tmp_path / "gone.wav", tmp_path / "cut.wav", recordings / "notes.txt", recordings]
    assert run(*places, "--format", "csv", "--top_k", "1", bundle=tiny_tagger) == 2
    printed = capsys.readouterr()
    errors = printed.err.splitlines()
    assert [line.split(": ")[:2] for line in errors] == [["error", str(place)] for place in places[:4]]
    assert [row[2] for row in csv.reader(printed.out.splitlines())] == ["label", "quiet", "loud"]


@pytest.mark.parametrize("name", ["model.ckpt", "model.pth"])
def test_a_checkpoint_is_answered_with_the_command_that_exports_one(
    recordings: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_bytes(b"weights")
    with pytest.raises(BundleError, match=r"recipes/export_onnx\.py --checkpoint .*model\.\w+ --output DIR"):
        run(recordings, bundle=tmp_path / name)


@pytest.mark.parametrize("flags", [["--threshold", "2"], ["--threshold", "nan"], ["--top_k", "0"], ["--format", "xml"]])
def test_flags_that_make_no_sense_are_refused(tiny_tagger: Path, recordings: Path, flags: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(recordings, *flags, bundle=tiny_tagger)


def test_the_verb_loads_neither_http_nor_training(project: Path, tiny_tagger: Path, recordings: Path) -> None:
    program = (
        "import runpy, sys\n"
        "from serving.cli import main\n"
        f"sys.argv = ['desed-task', 'tag', {str(recordings)!r}, '--bundle', {str(tiny_tagger)!r}, '--device', 'cpu']\n"
        "try:\n    main()\nexcept SystemExit as left:\n    assert left.code == 0, left.code\n"
        "heavy = {'fastapi', 'starlette', 'uvicorn', 'torch', 'pandas', 'numba', 'onnx'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=project, capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "loud.wav" in ran.stdout
