"""Audacity, Raven and subtitles: what is written is read back, and is what the tools themselves expect."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from desed_task.errors import EventTableError
from desed_task.events import Event
from desed_task.formats.audacity import labels_text, read_labels, write_labels
from desed_task.formats.raven import read_selections, selections_text, write_selections
from desed_task.formats.subtitles import read_subtitles, srt_text, vtt_text, write_subtitles

# seconds   0      1.5     3.25   4     3661.001  3661.004
# dog              |---------------|
# rock & roll              |------|               (from 3.25)
# <tag>                                  |--|
EVENTS = [
    Event(1.5, 4.0, "dog", 0.75),
    Event(3.25, 4.0, "rock & roll", 0.5),
    Event(3661.001, 3661.004, "<tag> --> x", 1.0),
]


def test_audacity_labels_come_back(tmp_path: Path) -> None:
    write_labels(EVENTS, tmp_path / "labels.txt")
    assert read_labels(tmp_path / "labels.txt") == EVENTS


def test_an_audacity_label_is_two_times_and_a_text() -> None:
    assert labels_text(EVENTS[:1]) == "1.500000\t4.000000\tdog\n"
    assert labels_text([]) == ""


def test_frequencies_of_an_audacity_label_are_read_over(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("1.0\t2.0\tdog\n\\\t100.0\t2000.0\n3\t4.5\tcat\n", encoding="utf-8")
    assert read_labels(path) == [Event(1.0, 2.0, "dog"), Event(3.0, 4.5, "cat")]


@pytest.mark.parametrize("line", ["1.0\t1.0\tpoint", "1.0\tdog", "a\tb\tdog", "2\t1\tdog", "1\t2\t "])
def test_a_line_that_is_no_audacity_event_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "labels.txt"
    path.write_text(f"0\t1\tcat\n{line}\n", encoding="utf-8")
    with pytest.raises(EventTableError, match="line 2"):
        read_labels(path)


def test_raven_selections_come_back_with_their_scores(tmp_path: Path) -> None:
    write_selections(EVENTS, tmp_path / "selections.txt", 44100, "yard.wav")
    found = read_selections(tmp_path / "selections.txt")
    assert found == EVENTS
    assert [event.score for event in found] == [0.75, 0.5, 1.0]


def test_a_raven_selection_spans_all_frequencies() -> None:
    (row,) = csv.DictReader(selections_text(EVENTS[:1], 44100, "yard.wav").splitlines(), delimiter="\t")
    assert row == {
        "Selection": "1",
        "View": "Spectrogram 1",
        "Channel": "1",
        "Begin Time (s)": "1.500000",
        "End Time (s)": "4.000000",
        "Low Freq (Hz)": "0.0",
        "High Freq (Hz)": "22050.0",
        "Begin Path": "yard.wav",
        "Annotation": "dog",
        "Score": "0.7500",
    }


def test_a_table_of_raven_itself_has_each_selection_once_per_view(tmp_path: Path) -> None:
    header = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tSpecies\n"
    rows = [f"1\t{view} 1\t1\t0.5\t1.5\t100\t900\twren\n" for view in ("Waveform", "Spectrogram")]
    (tmp_path / "table.txt").write_text(header + "".join(rows), encoding="utf-8")
    assert read_selections(tmp_path / "table.txt") == [Event(0.5, 1.5, "wren")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Begin Time (s)\tEnd Time (s)\n1\t2\n", "no column Annotation"),
        ("Begin Time (s)\tEnd Time (s)\tLabel\n1\tx\tdog\n", "row 2: a time or the score"),
        ("Begin Time (s)\tEnd Time (s)\tLabel\n1\t2\t\n", "row 2: Label is empty"),
        ("Begin Time (s)\tLabel\n1\tdog\n", "no column 'End Time"),
    ],
)
def test_a_table_that_is_none_of_ravens_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "table.txt").write_text(text, encoding="utf-8")
    with pytest.raises(EventTableError, match=message):
        read_selections(tmp_path / "table.txt")


@pytest.mark.parametrize("suffix", [".srt", ".vtt"])
def test_subtitles_come_back(tmp_path: Path, suffix: str) -> None:
    write_subtitles(reversed(EVENTS), tmp_path / f"cues{suffix}")
    assert read_subtitles(tmp_path / f"cues{suffix}") == EVENTS


def test_srt_has_numbers_and_commas() -> None:
    assert srt_text(EVENTS[::2]) == (
        "1\n00:00:01,500 --> 00:00:04,000\ndog\n\n2\n01:01:01,001 --> 01:01:01,004\n<tag> --> x\n"
    )
    assert srt_text([]) == ""


def test_vtt_has_a_header_points_and_references() -> None:
    assert vtt_text(EVENTS[1:]) == (
        "WEBVTT\n\n00:00:03.250 --> 00:00:04.000\nrock &amp; roll\n\n"
        "01:01:01.001 --> 01:01:01.004\n&lt;tag&gt; --&gt; x\n"
    )
    assert vtt_text([]) == "WEBVTT\n"


def test_an_event_below_a_millisecond_has_a_cue_of_one() -> None:
    assert "00:00:01.000 --> 00:00:01.001" in vtt_text([Event(1.0, 1.0001, "click")])


def test_cues_of_other_writers_are_read(tmp_path: Path) -> None:
    cue = "id 7\r\n00:01.000 --> 00:02.500 align:start\r\ntwo\r\nlines\r\n"
    text = f"\ufeffWEBVTT - a title\r\n\r\nNOTE a remark\r\n\r\n{cue}"
    (tmp_path / "cues.vtt").write_text(text, encoding="utf-8", newline="")
    assert read_subtitles(tmp_path / "cues.vtt") == [Event(1.0, 2.5, "two lines")]


def test_a_cue_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cues.srt").write_text("1\n00:00:01,000 -> --> 2\ndog\n", encoding="utf-8")
    with pytest.raises(EventTableError, match="no cue"):
        read_subtitles(tmp_path / "cues.srt")
    with pytest.raises(EventTableError, match=r"\.srt or \.vtt"):
        write_subtitles(EVENTS, tmp_path / "cues.sub")
