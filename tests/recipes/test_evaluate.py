"""The evaluation recipe: bundle and checkpoint on the same clips, and a running service beside them."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.parity import Answer, answer_of, ask, choose_recordings, compare, compare_events, hear, running_service
from desed_task.audio.reading import write_waveform
from desed_task.errors import AudioError, BundleError, CorpusError, DesedTaskError, EventTableError
from desed_task.events import Event, EventTable
from desed_task.formats.dcase import read_strong, write_durations, write_strong
from desed_task.labels import LabelSet
from desed_task.listening import open_bundle, open_checkpoint
from desed_task.postprocessing.pipeline import PostProcessing, PostProcessingOptions, build_postprocessing
from desed_task.scores import Scores
from desed_task.timeline import FrameGrid
from recipes import evaluate, export_onnx

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def bundle(small_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "small"
    export_onnx.main(["--checkpoint", str(small_checkpoint), "--output", str(folder)])
    return folder


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six clips of 4 to 14 s at two rates with a hum and a hiss each, and their table."""
    folder = tmp_path_factory.mktemp("clips")
    (folder / "audio").mkdir()
    rng, events = np.random.default_rng(3), {}
    for number in range(6):
        rate, seconds = (16_000, 44_100)[number % 2], 4.0 + 2 * number
        time_axis = np.arange(round(seconds * rate)) / rate
        hum, hiss = Event(0.5, 2.0, "hum"), Event(seconds - 2.0, seconds - 0.5, "hiss")
        waveform = 0.001 * rng.normal(size=len(time_axis))
        waveform += 0.2 * np.sin(2 * np.pi * (200 + 40 * number) * time_axis) * during(hum, time_axis)
        waveform += 0.05 * rng.normal(size=len(time_axis)) * during(hiss, time_axis)
        name = f"clip_{number}.{('wav', 'flac')[number % 2]}"
        write_waveform(folder / "audio" / name, waveform.astype(np.float32), rate)
        events[name] = (hum, hiss)
    write_strong(EventTable(events), folder / "truth.tsv")
    return folder


def during(event: Event, time_axis: NDArray[np.float64]) -> NDArray[np.bool_]:
    return (time_axis >= event.onset) & (time_axis < event.offset)


def flags(clips: Path, output: Path) -> list[str]:
    return [
        *("--audio_dir", str(clips / "audio"), "--ground_truth", str(clips / "truth.tsv")),
        *("--output_dir", str(output), "--device", "cpu"),
    ]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


@pytest.fixture(scope="module")
def evaluated(bundle: Path, small_checkpoint: Path, clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The outputs for `bundle` and for `checkpoint`."""
    folder = tmp_path_factory.mktemp("evaluated")
    assert evaluate.main(["--bundle", str(bundle), *flags(clips, folder / "bundle")]) == 0
    assert evaluate.main(["--checkpoint", str(small_checkpoint), *flags(clips, folder / "checkpoint")]) == 0
    return folder


def test_the_report_of_a_bundle_is_that_of_its_checkpoint(evaluated: Path) -> None:
    reports = [json.loads((evaluated / name / "report.json").read_text()) for name in ("bundle", "checkpoint")]
    thresholds = [[c.pop("collar_best_threshold") for c in report["per_class"].values()] for report in reports]
    assert thresholds[0] == pytest.approx(thresholds[1], abs=1e-4)  # lies between two scores, which differ by 1e-7
    assert reports[0] == reports[1]
    assert (reports[0]["files_present"], reports[0]["files_expected"]) == (6, 6)
    assert reports[0]["collar_f1_micro"] > 0.5
    assert reports[0]["psds1"] > 0.5


def test_published_scorers_stand_side_by_side_on_request(
    bundle: Path, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("psds_eval")
    assert evaluate.main(["--bundle", str(bundle), "--reference", *flags(clips, tmp_path)]) == 0
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    by_scorer = {(row[0], row[4].split()[0]): row for row in rows if len(row) == 6 and row[4]}
    report = json.loads((tmp_path / "report.json").read_text())
    for figure, scorer in (("psds1_sampled", "psds-eval"), ("collar_f1_macro", "sed-eval")):
        _, ours, theirs, difference, _, _ = by_scorer[figure, scorer]
        assert float(ours) == pytest.approx(report[figure], abs=1e-4) and abs(float(difference)) < 1e-9
        assert float(theirs) == pytest.approx(float(ours), abs=1e-4)


def test_detections_and_tags_are_written_beside_it(evaluated: Path) -> None:
    detected = rows_of(evaluated / "bundle" / "events.tsv")
    assert list(detected[0]) == ["filename", "onset", "offset", "event_label", "score"]
    table = read_strong(evaluated / "bundle" / "events.tsv", ["hum", "hiss"])
    assert [event.event_label for event in table.of("clip_0.wav")] == ["hum", "hiss"]
    assert table == read_strong(evaluated / "checkpoint" / "events.tsv")
    tags = rows_of(evaluated / "bundle" / "tags.tsv")
    assert list(tags[0]) == ["filename", "event_label", "score"]
    assert len(tags) == 6 * 2


def test_a_bundle_equals_the_service_exactly(bundle: Path, evaluated: Path, clips: Path) -> None:
    events, tags = (rows_of(evaluated / "bundle" / f"{name}.tsv") for name in ("events", "tags"))
    with running_service(bundle) as url:
        for path in sorted((clips / "audio").iterdir()):
            of_events = [row for row in events if row["filename"] == path.name]
            of_tags = [row for row in tags if row["filename"] == path.name]
            expected = Answer(
                tuple(
                    (row["event_label"], float(row["onset"]), float(row["offset"]), float(row["score"]))
                    for row in of_events
                ),
                tuple((row["event_label"], float(row["score"])) for row in of_tags),
            )
            assert ask(url, path) == expected
            assert len(expected.events) >= 2


def test_on_real_clips_service_bundle_and_checkpoint_agree(
    bundle: Path, small_checkpoint: Path, shared_data: Path
) -> None:
    recordings = choose_recordings(shared_data / "esc10" / "audio", 10)
    with running_service(bundle) as url:
        served = {path.stem: ask(url, path) for path in recordings}
    listener = open_bundle(bundle, "cpu")
    by_bundle = hear(listener, recordings)
    by_checkpoint = hear(open_checkpoint(small_checkpoint, device="cpu"), recordings)
    agreement = compare(served, by_bundle, by_checkpoint, listener.postprocessing)
    assert agreement.clips_with_events >= 5
    assert agreement.exactly_equal_to_service == agreement.clips == 10
    assert agreement.holds, agreement


def test_the_teacher_is_another_system(small_checkpoint: Path, evaluated: Path, clips: Path, tmp_path: Path) -> None:
    arguments = ["--checkpoint", str(small_checkpoint), "--model", "teacher"]
    evaluate.main([*arguments, *flags(clips, tmp_path)])
    assert rows_of(tmp_path / "tags.tsv") != rows_of(evaluated / "checkpoint" / "tags.tsv")


def test_missing_recordings_are_counted(
    bundle: Path, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    table = dict(read_strong(clips / "truth.tsv").items())
    write_strong(EventTable({**table, "lost.wav": (Event(1.0, 2.0, "hum"),)}), tmp_path / "truth.tsv")
    with caplog.at_level("WARNING"):
        evaluate.main(["--bundle", str(bundle), *flags(clips, tmp_path), "--ground_truth", str(tmp_path / "truth.tsv")])
    assert "1 of 7 recordings are missing, the first lost.wav" in caplog.text
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["files_present"], report["files_expected"]) == (6, 7)
    assert "6 of 7 files present" in capsys.readouterr().out


def test_a_table_of_durations_is_used(bundle: Path, clips: Path, tmp_path: Path) -> None:
    """Ten times the audio, a tenth of the false alarms per hour: a table must tell in PSDS."""
    names = [path.name for path in (clips / "audio").iterdir()]
    write_durations(dict.fromkeys(names, 100.0), tmp_path / "durations.tsv")
    arguments = ["--bundle", str(bundle), *flags(clips, tmp_path), "--durations", str(tmp_path / "durations.tsv")]
    assert evaluate.main(arguments) == 0
    write_durations(dict.fromkeys(names[1:], 100.0), tmp_path / "durations.tsv")
    with pytest.raises(EventTableError, match="not in the table of durations"):
        evaluate.main(arguments)


def refused(arguments: list[str], error: type[DesedTaskError], message: str, output: Path) -> None:
    with pytest.raises(error, match=message):
        evaluate.main(arguments)
    assert not output.exists()


def test_a_truncated_recording_is_named(bundle: Path, clips: Path, tmp_path: Path) -> None:
    (tmp_path / "audio").mkdir()
    for path in (clips / "audio").iterdir():
        data = path.read_bytes()
        (tmp_path / "audio" / path.name).write_bytes(data[: len(data) // 2] if path.name == "clip_4.wav" else data)
    arguments = ["--bundle", str(bundle), *flags(clips, tmp_path / "out"), "--audio_dir", str(tmp_path / "audio")]
    refused(arguments, AudioError, "clip_4.wav: truncated", tmp_path / "out")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("clip_0.wav\t1.0\t2.0\tviolin", "row 2: class 'violin' is not in the label set"),
        ("clip_0.wav\t2.0\t1.0\thum", "row 2: offset 1.000 s is not after onset 2.000 s"),
    ],
)
def test_a_faulty_ground_truth_is_refused(bundle: Path, clips: Path, tmp_path: Path, row: str, message: str) -> None:
    table = tmp_path / "truth.tsv"
    table.write_text(f"filename\tonset\toffset\tevent_label\n{row}\n")
    arguments = ["--bundle", str(bundle), *flags(clips, tmp_path / "out"), "--ground_truth", str(table)]
    refused(arguments, EventTableError, message, tmp_path / "out")


def test_places_that_are_wrong_are_refused(bundle: Path, small_checkpoint: Path, clips: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    good = ["--bundle", str(bundle), *flags(clips, output)]
    refused([*good, "--audio_dir", str(tmp_path / "nowhere")], CorpusError, "nowhere: no such folder", output)
    (tmp_path / "empty").mkdir()
    refused([*good, "--audio_dir", str(tmp_path / "empty")], CorpusError, "none of the 6 recordings", output)
    refused([*good, "--model", "student"], DesedTaskError, "a bundle holds only one", output)
    as_bundle = ["--bundle", str(small_checkpoint), *flags(clips, output)]
    refused(as_bundle, BundleError, "this is a checkpoint, not a bundle; export one with", output)
    (tmp_path / "file").write_text("")
    with pytest.raises(DesedTaskError, match="is no folder; name another"):
        evaluate.main([*good, "--output_dir", str(tmp_path / "file")])


def test_an_undecodable_file_is_one_sentence_and_exit_code_2(
    bundle: Path, clips: Path, tmp_path: Path, project: Path
) -> None:
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "clip_0.wav").write_bytes(b"")
    command = [sys.executable, str(project / "recipes" / "evaluate.py"), "--bundle", str(bundle)]
    arguments = [*flags(clips, tmp_path / "out"), "--audio-dir", str(tmp_path / "audio")]
    finished = subprocess.run([*command, *arguments], check=False, capture_output=True, text=True, timeout=200)
    assert finished.returncode == 2, finished.stderr
    assert (
        finished.stderr.splitlines()[-1] == f"error: {tmp_path / 'audio' / 'clip_0.wav'}: the file is empty (0 bytes)"
    )
    assert not (tmp_path / "out").exists()


# The comparison itself, on scores of four frames of 64 ms and a threshold of .5.

GRID, LABELS = FrameGrid(16_000, 256, 4), LabelSet(["dog", "cat"])


def scores_of(*dog: float) -> Scores:
    values = np.array([[value, 0.1] for value in dog], dtype=np.float32)
    return Scores(values, values.max(axis=0), GRID, LABELS, len(dog) * GRID.frame_seconds)


@pytest.fixture(scope="module")
def plain() -> PostProcessing:
    return build_postprocessing(PostProcessingOptions(median_filter_seconds=0.0), LABELS, GRID)


def test_events_that_are_equal_are_no_difference(plain: PostProcessing) -> None:
    assert compare_events("a", scores_of(0.2, 0.9, 0.9, 0.2), scores_of(0.21, 0.8, 0.9, 0.2), plain) == []


def test_a_score_beside_the_threshold_explains_another_offset(plain: PostProcessing) -> None:
    (difference,) = compare_events("a", scores_of(0.2, 0.9, 0.50005, 0.2), scores_of(0.2, 0.9, 0.49995, 0.2), plain)
    assert (difference.label, difference.explained) == ("dog", True)
    assert difference.checkpoint == ((0.064, 0.192),)
    assert difference.bundle == ((0.064, 0.128),)


def test_a_score_far_from_the_threshold_explains_nothing(plain: PostProcessing) -> None:
    (difference,) = compare_events("a", scores_of(0.2, 0.9, 0.6, 0.2), scores_of(0.2, 0.9, 0.4, 0.2), plain)
    assert not difference.explained


def test_agreement_needs_the_service_to_the_last_digit(plain: PostProcessing) -> None:
    bundle, checkpoint = {"a": scores_of(0.2, 0.9)}, {"a": scores_of(0.2, 0.90001)}
    same = answer_of(bundle["a"], plain)
    other = Answer(same.events, tuple((label, score + 1e-9) for label, score in same.tags))
    assert compare({"a": same}, bundle, checkpoint, plain).holds
    assert not compare({"a": other}, bundle, checkpoint, plain).holds
    assert not compare({"a": same}, bundle, {"a": scores_of(0.2, 0.9003)}, plain).holds
