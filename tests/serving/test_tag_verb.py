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
import soundfile

from desed_task.audio.reading import read_waveform
from desed_task.detector import Detector
from desed_task.errors import BundleError, OptionsError
from desed_task.formats.audacity import read_labels
from desed_task.formats.dcase import read_strong, read_weak
from desed_task.formats.raven import read_selections
from desed_task.formats.subtitles import read_subtitles
from serving.tag.tagging import tag


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


def test_a_file_of_a_folder_that_only_says_it_is_a_recording_is_told_of(
    tiny_tagger: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (recordings / "below" / "empty.flac").write_bytes(b"")
    (recordings / "half.WAV").write_bytes(b"RIFF")
    (recordings / "._loud.wav").write_bytes(b"a note of the Finder")
    soundfile.write(recordings / "old.au", np.zeros(8000), 16000)
    assert run(recordings, "--format", "csv", "--top_k", "1", bundle=tiny_tagger) == 2
    printed = capsys.readouterr()
    refused = [recordings / "below" / "empty.flac", recordings / "half.WAV"]
    assert [line.split(": ")[:2] for line in printed.err.splitlines()] == [["error", str(path)] for path in refused]
    heard = [Path(row[0]).name for row in csv.reader(printed.out.splitlines())][1:]
    assert heard == ["quiet.flac", "loud.wav", "old.au"]


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


@pytest.mark.parametrize(
    "flags",
    [
        ["--threshold", "2"],
        ["--threshold", "nan"],
        ["--thresholds", "=0.5"],
        ["--thresholds", "loud=much"],
        ["--min_duration", "-1"],
        ["--min_duration", "inf"],
        ["--top_k", "0"],
        ["--format", "xml"],
    ],
)
def test_flags_that_make_no_sense_are_refused(tiny_tagger: Path, recordings: Path, flags: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(recordings, *flags, bundle=tiny_tagger)


def test_classes_that_the_bundle_does_not_know_are_refused_before_anything_is_heard(
    tiny_bundle: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for flags in (["--labels", "cow"], ["--thresholds", "0.3", "cow=0.5"]):
        with pytest.raises(OptionsError, match="'cow' is not a class; the classes are loud, quiet"):
            run(recordings, *flags, bundle=tiny_bundle)
    assert capsys.readouterr().out == ""


def test_a_long_recording_in_blocks_is_heard_as_the_whole(
    tiny_bundle: Path,
    tmp_path: Path,
    make_tone: Callable[..., Any],
    make_bytes: Callable[..., bytes],
    capsys: pytest.CaptureFixture[str],
) -> None:
    # 44.1 kHz, so that resampling goes over the edges of blocks; the second tone lies over several windows
    tone = make_tone(65, (2.0, 3.0), (9.0, 41.5), sample_rate=44_100)
    (tmp_path / "long.wav").write_bytes(make_bytes(tone, subtype="PCM_16", sample_rate=44_100))
    assert run(tmp_path / "long.wav", "--format", "json", bundle=tiny_bundle) == 0
    document = json.loads(capsys.readouterr().out)
    detector = Detector(tiny_bundle, device="cpu", num_threads=1)
    whole = detector.decide(detector.scores(read_waveform(tmp_path / "long.wav", 16_000)))
    heard = [(event["label"], event["onset"], event["offset"]) for event in document["events"]]
    assert heard == [(event.event_label, event.onset, event.offset) for event in whole.events]
    assert len([label for label, *_ in heard if label == "loud"]) == 2
    assert [event["score"] for event in document["events"]] == pytest.approx([e.score for e in whole.events], abs=1e-6)
    assert [(tag["label"], tag["score"]) for tag in document["tags"]] == list(whole.tags)


def test_thresholds_classes_and_durations_choose_what_is_listed(
    tiny_bundle: Path,
    tmp_path: Path,
    make_tone: Callable[..., Any],
    make_bytes: Callable[..., bytes],
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "tones.wav").write_bytes(make_bytes(make_tone(9, (1.0, 1.5), (3.0, 5.0))))

    def documents(*flags: str) -> dict[str, Any]:
        assert run(tmp_path / "tones.wav", "--format", "json", *flags, bundle=tiny_bundle) == 0
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        return document

    def labels(document: dict[str, Any]) -> list[list[str]]:
        return [[row["label"] for row in document[key]] for key in ("tags", "events")]

    assert labels(documents("--labels", "loud")) == [["loud"], ["loud", "loud"]]
    assert labels(documents("--labels", "loud", "--min-duration", "1")) == [["loud"], ["loud"]]
    assert labels(documents("--thresholds", "quiet=1")) == [["loud"], ["loud", "loud"]]
    assert labels(documents("--thresholds", "1", "loud=0.3")) == [["loud"], ["loud", "loud"]]


def test_dcase_tables_are_read_back(
    tiny_bundle: Path, tiny_tagger: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quiet, loud = str(recordings / "below" / "quiet.flac"), str(recordings / "loud.wav")
    flags = ["--format", "tsv", "--labels", "loud", "--output", tmp_path / "events.tsv"]
    assert run(recordings, *flags, bundle=tiny_bundle) == 0
    table = read_strong(tmp_path / "events.tsv")
    assert table.filenames == (quiet, loud)
    assert table.of(quiet) == ()
    assert [(event.onset, event.event_label) for event in table.of(loud)] == [(0.0, "loud")]
    assert run(recordings, "--format", "tsv", "--output", tmp_path / "tags.tsv", bundle=tiny_tagger) == 0
    assert read_weak(tmp_path / "tags.tsv") == {quiet: ("quiet",), loud: ("loud",)}
    assert capsys.readouterr().out == ""


def test_a_detectors_table_lists_its_events(
    tiny_bundle: Path, recordings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(recordings / "loud.wav", "--labels", "loud", bundle=tiny_bundle) == 0
    heading, tag_line, event_line = capsys.readouterr().out.splitlines()
    assert heading == f"{recordings / 'loud.wav'}  2.50 s"
    assert (tag_line.split()[0], tag_line.split()[2]) == ("1", "loud")
    assert (event_line.split()[0], event_line.split()[-1]) == ("0.000", "loud")


def test_forms_of_one_recording_go_to_the_screen_or_to_a_folder(
    tiny_bundle: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loud = recordings / "loud.wav"
    assert run(loud, "--format", "audacity", "--labels", "loud", bundle=tiny_bundle) == 0
    onset, offset, label = capsys.readouterr().out.rstrip().split("\t")
    assert (float(onset), float(offset), label) == (0.0, pytest.approx(2.5, abs=0.064), "loud")
    folder = tmp_path / "written" / "here"
    for form in ("audacity", "raven", "srt", "vtt"):
        assert run(recordings, "--format", form, "--output_dir", folder, bundle=tiny_bundle) == 0
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        f"{name}{suffix}" for name in ("loud", "quiet") for suffix in (".txt", ".selections.txt", ".srt", ".vtt")
    )
    assert [event.event_label for event in read_labels(folder / "loud.txt")] == ["loud"]
    assert [event.event_label for event in read_selections(folder / "loud.selections.txt")] == ["loud"]
    assert [event.event_label for event in read_subtitles(folder / "quiet.vtt")] == ["quiet"]


def test_results_without_a_place_of_their_own_are_refused(
    tiny_bundle: Path, tiny_tagger: Path, recordings: Path, tmp_path: Path
) -> None:
    (recordings / "below" / "loud.wav").write_bytes((recordings / "loud.wav").read_bytes())
    refused: list[tuple[list[object], Path, str]] = [
        (["--format", "srt"], tiny_bundle, "a file per recording; name a folder by --output_dir"),
        (["--format", "srt", "--output_dir", tmp_path / "out"], tiny_bundle, "would be one file"),
        (["--format", "json", "--output_dir", tmp_path / "out"], tiny_bundle, "one file for all recordings"),
        (["--format", "vtt", "--output_dir", tmp_path, "--output", tmp_path / "x"], tiny_bundle, "give one of them"),
        (["--format", "audacity"], tiny_tagger, "gives no frame scores, so no events"),
    ]
    for flags, bundle, fault in refused:
        with pytest.raises(OptionsError, match=fault):
            run(recordings, *flags, bundle=bundle)
    assert not (tmp_path / "out").exists()


def test_samples_that_are_no_sound_are_said_with_the_files_name(
    tiny_bundle: Path,
    recordings: Path,
    tmp_path: Path,
    make_bytes: Callable[..., bytes],
    capsys: pytest.CaptureFixture[str],
) -> None:
    loud = np.full(16_000, 3e38, dtype=np.float32)
    (tmp_path / "absurd.wav").write_bytes(make_bytes(loud, subtype="FLOAT"))
    assert run(tmp_path / "absurd.wav", recordings / "loud.wav", "--format", "csv", bundle=tiny_bundle) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"error: {tmp_path / 'absurd.wav'}: holds ")
    assert len(printed.out.splitlines()) == 3


MEASURED = """
import sys
from serving.tag.tagging import tag
assert tag([*sys.argv[1:], "--device", "cpu", "--num_threads", "1", "--format", "json"]) == 0
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(peak.split()[1], file=sys.stderr)
"""


@pytest.mark.slow
def test_an_hour_takes_no_more_memory_than_a_minute(project: Path, tmp_path: Path) -> None:
    """With the network of confs/sed/demo.yaml; the hour as FLAC of 44.1 kHz."""
    bundle = demo_bundle(project, tmp_path / "bundle")
    peaks = []
    for name, minutes in (("minute", 1), ("hour", 60)):
        file = tmp_path / f"{name}.flac"
        write_noise(file, minutes)
        program = [sys.executable, "-c", MEASURED, str(file), "--bundle", str(bundle)]
        ran = subprocess.run(program, cwd=project, capture_output=True, text=True, check=True)
        peaks.append(int(ran.stderr.split()[-1]) / 1024)
        assert json.loads(ran.stdout)["duration"] == 60.0 * minutes
    assert peaks[1] - peaks[0] < 64, peaks


def write_noise(file: Path, minutes: int) -> None:
    """Noise of 44.1 kHz that grows and falls away every ten seconds."""
    ten_seconds = np.random.default_rng(0).normal(0, 1, 441_000) * np.hanning(441_000) * 0.2
    with soundfile.SoundFile(file, "w", 44_100, 1, "PCM_16", format="FLAC") as recording:
        for _ in range(6 * minutes):
            recording.write(ten_seconds.astype(np.float32))


def demo_bundle(project: Path, folder: Path) -> Path:
    """An untrained network of the demo's conf."""
    import torch

    from desed_task import experiment
    from desed_task.options import read_options
    from recipes.export_onnx import main

    options = read_options(project / "confs" / "sed" / "demo.yaml", experiment.SedOptions)
    torch.manual_seed(0)
    weights = experiment.build_model(options).state_dict()
    checkpoint = {"sed_student": weights, "sed_teacher": weights, "desed_task": experiment.describe(options)}
    torch.save(checkpoint, folder.with_suffix(".ckpt"))
    main(["--checkpoint", str(folder.with_suffix(".ckpt")), "--output", str(folder)])
    return folder


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
