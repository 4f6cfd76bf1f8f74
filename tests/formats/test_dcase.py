"""The tables of DCASE Task 4: read, written, and refused with file and row."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desed_task.errors import EventTableError
from desed_task.events import Event, EventTable
from desed_task.formats.dcase import (
    read_durations,
    read_filenames,
    read_score_folder,
    read_strong,
    read_weak,
    write_detections,
    write_durations,
    write_filenames,
    write_score_folder,
    write_strong,
    write_weak,
)
from desed_task.labels import DESED_LABELS, LabelSet
from desed_task.scores import Scores
from desed_task.timeline import FrameGrid

GRID = FrameGrid(sample_rate=16_000, hop_length=256, time_pooling=4)
LABELS = LabelSet(["Cat", "Dog"])
STRONG = "filename\tonset\toffset\tevent_label\n"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "table.tsv"


def refused(reader: object, table: Path, text: str, *arguments: object) -> str:
    table.write_text(text, encoding="utf-8")
    with pytest.raises(EventTableError) as fault:
        reader(table, *arguments)  # type: ignore[operator]
    assert "\n" not in str(fault.value)
    return str(fault.value).replace(str(table), "table")


# Strong tables


def test_a_strong_table_is_read_and_a_file_without_events_is_listed(table: Path) -> None:
    table.write_text(
        STRONG + "a.wav\t0.5\t1.25\tDog\nempty.wav\t\t\t\na.wav\t0.000\t10.000\tCat\nb.wav\tnan\tnan\tNaN\n"
    )
    assert dict(read_strong(table).items()) == {
        "a.wav": (Event(0.5, 1.25, "Dog"), Event(0.0, 10.0, "Cat")),
        "empty.wav": (),
        "b.wav": (),
    }


def test_columns_in_another_order_commas_further_columns_and_windows_endings_are_read(table: Path) -> None:
    expected = EventTable({"a.wav": [Event(0.5, 1.0, "Dog")]})
    for text in (
        "event_label\tonset\toffset\tfilename\tconfidence\nDog\t0.5\t1.0\ta.wav\t0.9\n",
        ",event_label,onset,offset,filename\n0,Dog,0.5,1.0,a.wav\n",
        "\ufefffilename\tonset\toffset\tevent_label\r\na.wav\t0.5\t1.0\tDog\r\n\r\n",
        " filename \tonset\toffset\tevent_label\n a.wav\t 0.5\t1.0\tDog \n",
        STRONG + "a.wav\t0.5\t1.0\tDog",
    ):
        table.write_text(text, encoding="utf-8", newline="")
        assert read_strong(table) == expected


def test_rows_that_lost_their_trailing_tabs_are_files_without_events(table: Path) -> None:
    table.write_text(STRONG + "empty.wav\n")
    assert read_strong(table).filenames == ("empty.wav",)


def test_a_lone_quote_is_a_character_and_swallows_no_rows(table: Path) -> None:
    table.write_text(STRONG + '"a.wav\t0\t1\tDog\nb.wav\t0\t1\tDog\n')
    assert read_strong(table).filenames == ('"a.wav', "b.wav")


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ("a.wav\t0\t1\tDog\nb.wav\t2.0\t1.0\tDog\n", "table, row 3: offset 1.000 s is not after onset 2.000 s"),
        ("a.wav\t-1\t1\tDog\n", "table, row 2: onset -1.000 s is negative"),
        ("a.wav\tzero\t1\tDog\n", "table, row 2: onset 'zero' is not a number"),
        ("a.wav\t0\tinf\tDog\n", "table, row 2: offset 'inf' is not finite"),
        ("a.wav\t0\t1\t\n", "table, row 2: onset, offset and event_label must all be given or all be empty"),
        ("a.wav\t0\t1\n", "table, row 2: onset, offset and event_label must all be given or all be empty"),
        ("\t0\t1\tDog\n", "table, row 2: the filename is empty"),
        ("a.wav\t0\t1\tDog\tsurplus\n", "table, row 2: 5 cells under 4 columns"),
        ("\n\na.wav\t0\t0\tDog\n", "table, row 4: offset 0.000 s is not after onset 0.000 s"),
    ],
)
def test_a_row_that_cannot_be_right_is_named(rows: str, fault: str, table: Path) -> None:
    assert refused(read_strong, table, STRONG + rows) == fault


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "table: the table is empty; expected the columns filename, onset, offset, event_label"),
        ("\n", "table: the table is empty"),
        ("filename\tonset\toffset\n", "table, row 1: no column 'event_label'; the columns are filename, onset, offset"),
        ("filename\tonset\tonset\toffset\tevent_label\n", "table, row 1: the column 'onset' stands twice"),
    ],
)
def test_a_header_that_is_not_one_is_refused(text: str, fault: str, table: Path) -> None:
    assert refused(read_strong, table, text).startswith(fault)


def test_a_file_that_is_no_table_is_refused(tmp_path: Path, table: Path) -> None:
    with pytest.raises(EventTableError, match="no such table"):
        read_strong(table)
    with pytest.raises(EventTableError, match="cannot be read"):
        read_strong(tmp_path)
    table.write_bytes(b"filename\tonset\n\xff\xfe\x00")
    with pytest.raises(EventTableError, match="not a UTF-8 text table"):
        read_strong(table)
    table.write_text("filename\n" + "a" * 200_000)
    with pytest.raises(EventTableError, match=r"row 2: not a table \(field larger"):
        read_filenames(table)


def test_a_class_outside_the_label_set_is_refused_with_its_row(table: Path) -> None:
    text = STRONG + "a.wav\t0\t1\tDog\na.wav\t1\t2\tBird\n"
    assert refused(read_strong, table, text, LABELS) == (
        "table, row 3: class 'Bird' is not in the label set (Cat, Dog); correct the table or add it to `labels`"
    )
    assert len(read_strong(table)) == 2


def test_a_strong_table_is_written_to_the_millisecond_or_finer_where_it_is(table: Path) -> None:
    events = [Event(0.064, 9.984, "Dog"), Event(1 / 3, 0.5, "Cat"), Event(1.0001, 1.0003, "Cat")]
    write_strong(EventTable({"a.wav": events, "b.wav": []}), table)
    assert table.read_text() == (
        STRONG + "a.wav\t0.064\t9.984\tDog\na.wav\t0.333333\t0.500\tCat\na.wav\t1.000100\t1.000300\tCat\nb.wav\t\t\t\n"
    )


TIMES = st.integers(0, 10**8).map(lambda microseconds: microseconds / 10**6)
EVENTS = st.builds(
    lambda onset, length, label: Event(onset, onset + length, label),
    TIMES,
    st.integers(2, 10**7).map(lambda microseconds: microseconds / 10**6),
    st.sampled_from(DESED_LABELS),
)
NAMES = st.from_regex(r"[A-Za-z0-9 ,_'\"-]{0,8}[a-z]\.wav", fullmatch=True).map(str.strip)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(NAMES, st.lists(EVENTS, max_size=4), max_size=4))
def test_a_strong_table_is_read_back_to_the_microsecond(
    tmp_path_factory: pytest.TempPathFactory, clips: dict[str, list[Event]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "round_trip.tsv"
    write_strong(EventTable(clips), path)
    read = read_strong(path)
    assert read.filenames == tuple(clips)
    for name, events in clips.items():
        for was, is_now in zip(events, read.of(name), strict=True):
            assert is_now.event_label == was.event_label
            assert (is_now.onset, is_now.offset) == pytest.approx((was.onset, was.offset), abs=1e-6)


def test_detections_are_read_as_a_strong_table(table: Path) -> None:
    found = EventTable({"a.wav": [Event(0.0, 0.064, "Dog")], "quiet.wav": []})
    write_detections(found, table)
    assert table.read_text() == "event_label\tonset\toffset\tfilename\nDog\t0.000\t0.064\ta.wav\n"
    assert read_strong(table).of("a.wav") == found.of("a.wav")


def test_writing_leaves_nothing_but_the_table_and_makes_its_folder(tmp_path: Path) -> None:
    write_strong(EventTable({}), tmp_path / "new" / "t.tsv")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["t.tsv"]


def test_a_name_that_would_break_the_table_is_refused_before_anything_is_written(table: Path) -> None:
    with pytest.raises(EventTableError, match="a tab or a line break"):
        write_filenames(["a.wav", "b\t.wav"], table)
    with pytest.raises(EventTableError, match=r"'speech, male' of a\.wav has a comma"):
        write_weak({"a.wav": ["speech, male"]}, table)
    assert not list(table.parent.iterdir())


# Weak, unlabeled, durations


def test_weak_tags_are_separated_by_commas(table: Path) -> None:
    tags = {"a.wav": ("Dog", "Cat"), "b.wav": (), "c.wav": ("Cat",)}
    write_weak(tags, table)
    assert table.read_text() == "filename\tevent_labels\na.wav\tDog,Cat\nb.wav\t\nc.wav\tCat\n"
    assert read_weak(table, LABELS) == tags


def test_a_class_that_a_weak_row_names_twice_is_one_tag(table: Path) -> None:
    table.write_text("filename\tevent_labels\na.wav\tDog,Cat,Dog\n")
    assert read_weak(table) == {"a.wav": ("Dog", "Cat")}


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ("a.wav\tDog\na.wav\tCat\n", "table, row 3: a.wav stands twice"),
        ("a.wav\tDog, Bird\n", "table, row 2: class 'Bird' is not in the label set (Cat, Dog)"),
        ("\tDog\n", "table, row 2: the filename is empty"),
    ],
)
def test_a_weak_row_that_cannot_be_right_is_named(rows: str, fault: str, table: Path) -> None:
    assert refused(read_weak, table, "filename\tevent_labels\n" + rows, LABELS).startswith(fault)


def test_unlabeled_files_are_a_list_of_names(table: Path) -> None:
    write_filenames(["a.wav", "b,c.wav"], table)
    assert read_filenames(table) == ("a.wav", "b,c.wav")


def test_durations_are_read_back(table: Path) -> None:
    write_durations({"a.wav": 10.0, "b.wav": 2.0004, "c.wav": 0.00025}, table)
    assert read_durations(table) == {"a.wav": 10.0, "b.wav": 2.0004, "c.wav": 0.00025}


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ("a.wav\t0\n", "table, row 2: duration 0.0 s is not positive"),
        ("a.wav\t\n", "table, row 2: duration '' is not a number"),
        ("a.wav\t10\na.wav\t9\n", "table, row 3: a.wav stands twice with different durations"),
    ],
)
def test_a_duration_that_cannot_be_right_is_named(rows: str, fault: str, table: Path) -> None:
    assert refused(read_durations, table, "filename\tduration\n" + rows) == fault


# Folders of scores


def scores_of(num_frames: int, duration: float, seed: int = 0, labels: LabelSet = LABELS) -> Scores:
    values = np.random.default_rng(seed).random((num_frames, len(labels))).astype(np.float32)
    return Scores(values, values.max(axis=0), GRID, labels, duration)


def test_scores_are_read_back_to_the_last_bit(tmp_path: Path) -> None:
    written = {"b": scores_of(156, 10.0), "a": scores_of(40, 2.5, seed=1)}
    tiny = np.array([[0.0, 1.0], [1e-45, 1 - 2**-24], [0.1, 1e-30]], dtype=np.float32)
    written["tiny"] = Scores(tiny, tiny.max(axis=0), GRID, LABELS, 0.192)
    write_score_folder(written, tmp_path / "scores")
    read = read_score_folder(tmp_path / "scores", GRID, {"a.wav": 2.5, "b.wav": 10.0, "tiny.wav": 0.192})
    assert list(read) == ["a", "b", "tiny"]
    for audio_id, scores in read.items():
        assert scores.frame_values is not None
        assert np.array_equal(scores.frame_values, written[audio_id].frame_values)
        assert np.array_equal(scores.clip_values, written[audio_id].clip_values)
        assert (scores.grid, scores.labels, scores.duration) == (GRID, LABELS, written[audio_id].duration)


# seconds   0      0.064  0.128  0.192  0.256
# frames    |  0   |  1   |  2   |  3   |
# clip      |----------------| 0.15
def test_score_windows_are_gapless_and_end_with_the_clip(tmp_path: Path) -> None:
    write_score_folder({"a": scores_of(4, 0.15)}, tmp_path)
    header, *rows = [line.split("\t") for line in (tmp_path / "a.tsv").read_text().splitlines()]
    assert header == ["onset", "offset", "Cat", "Dog"]
    assert [row[:2] for row in rows] == [
        ["0.000000", "0.064000"],
        ["0.064000", "0.128000"],
        ["0.128000", "0.150000"],
    ]


HEADER = "onset\toffset\tCat\tDog\n"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "table: the table is empty"),
        (HEADER, "table: a header without any frame"),
        (
            "onset\toffset\n0\t0.064\n",
            "table, row 1: columns ['onset', 'offset']; expected onset, offset and the classes",
        ),
        ("onset\tCat\toffset\n0\t0.1\t0.064\n", "table, row 1: columns"),
        ("onset\toffset\tCat\tCat\n", "table, row 1: class 'Cat' stands twice"),
        (HEADER + "0\t0.064\t0.5\tx\n", "table, row 2: Dog 'x' is not a number"),
        (HEADER + "0\t0.064\t0.5\n", "table, row 2: Dog '' is not a number"),
        (HEADER + "0\t0.064\t0.5\t0.5\t0.5\n", "table, row 2: 5 cells under 4 columns"),
        (HEADER + "0\t0.064\t0.5\t0.5\n0.064\t0.128\t0.5\t1.5\n", "table, row 3: scores must lie in [0, 1]"),
        (HEADER + "0\t0.064\tnan\t0.5\n", "table, row 2: scores must lie in [0, 1]"),
        (HEADER + "0\t0.02\t0.5\t0.5\n0.02\t0.04\t0.5\t0.5\n", "table: the windows are not 0.064 s apart"),
    ],
)
def test_a_score_table_that_cannot_be_right_is_refused(text: str, fault: str, table: Path) -> None:
    def read(path: Path) -> object:
        return read_score_folder(path.parent, GRID, {"table.wav": 10.0})

    assert refused(read, table, text).startswith(fault)


def test_a_score_folder_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EventTableError, match="no such folder"):
        read_score_folder(tmp_path / "none", GRID, {})
    write_score_folder({"a": scores_of(10, 1.0)}, tmp_path)
    with pytest.raises(EventTableError, match="a is not in the table of durations"):
        read_score_folder(tmp_path, GRID, {"b.wav": 1.0})
    write_score_folder({"b": scores_of(10, 1.0, labels=LabelSet(["Dog", "Cat"]))}, tmp_path)
    with pytest.raises(EventTableError, match=r"b.tsv, row 1: other classes than in a.tsv"):
        read_score_folder(tmp_path, GRID, {"a.wav": 1.0, "b.wav": 1.0})


def test_clip_scores_alone_make_no_score_table(tmp_path: Path) -> None:
    tagged = Scores(None, np.zeros(2, np.float32), GRID, LABELS, 10.0)
    with pytest.raises(EventTableError, match="a has clip scores only"):
        write_score_folder({"a": tagged}, tmp_path)


# The published tables of DESED: the counts of the dev-test set are those of the challenge's description.


def test_the_dev_test_set_of_desed_is_read_as_published(shared_data: Path) -> None:
    table = read_strong(shared_data / "desed_metadata" / "validation" / "validation.tsv", LabelSet(DESED_LABELS))
    counts = Counter(table.event_label.tolist())
    assert (len(table), len(table.filenames)) == (4224, 1168)
    assert sum(not events for _, events in table.items()) == 15
    assert [counts[label] for label in DESED_LABELS] == [420, 94, 341, 559, 570, 65, 94, 237, 1752, 92]


def test_the_other_tables_of_desed_are_read_as_published(shared_data: Path) -> None:
    train = shared_data / "desed_metadata" / "train"
    weak = read_weak(train / "weak.tsv", LabelSet(DESED_LABELS))
    assert (len(weak), sum(map(len, weak.values()))) == (1578, 2244)
    assert len(read_filenames(train / "unlabel_in_domain.tsv")) == 14_412
    assert len(read_strong(shared_data / "desed_metadata" / "eval" / "public.tsv").filenames) == 692


def test_the_detections_of_a_published_baseline_are_read(shared_data: Path) -> None:
    student = shared_data / "reference" / "dcase2021_student"
    assert len(read_strong(student / "predictions0.5.csv", LabelSet(DESED_LABELS))) == 3312
    assert len(list((student / "predictions_operating_points").glob("*.tsv"))) == 50
    assert len(read_durations(student / "validation_durations.tsv")) == 1168
