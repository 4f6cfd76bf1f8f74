"""DESED's published layout, on a small tree made here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from desed_task.data.corpora.desed import DesedOptions, complete_durations, read_desed
from desed_task.errors import CorpusError, EventTableError
from desed_task.events import Event
from desed_task.labels import DESED_LABELS

WEAK_NAMES = [f"Y{number:011d}_10.000_20.000.wav" for number in range(30)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """validation: three files listed, of which c.wav is missing; weak: thirty; unlabeled: two."""
    touch(tmp_path / "audio/validation/validation_16k", ["a.wav", "b.wav", "not_listed.wav"])
    table(
        tmp_path / "metadata/validation/validation.tsv",
        *("filename\tonset\toffset\tevent_label", "b.wav\t1.000\t2.500\tDog", "a.wav\t\t\t", "c.wav\t0.0\t1.0\tCat"),
        *("b.wav\t0.500\t4.000\tSpeech",),
    )
    table(
        tmp_path / "metadata/validation/validation_durations.tsv",
        *("filename\tduration", "a.wav\t10.0", "b.wav\t9.5", "c.wav\t10.0"),
    )
    touch(tmp_path / "audio/train/weak_16k", WEAK_NAMES)
    rows = [f"{name}\t{'Cat,Dog' if number % 2 else 'Speech'}" for number, name in enumerate(WEAK_NAMES)]
    table(tmp_path / "metadata/train/weak.tsv", "filename\tevent_labels", *rows)
    touch(tmp_path / "audio/train/unlabel_in_domain_16k", ["u1.wav", "u2.wav"])
    table(tmp_path / "metadata/train/unlabel_in_domain.tsv", "filename", "u2.wav", "u1.wav")
    return tmp_path


def record(path: Path, seconds: float, sample_rate: int = 16000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(round(seconds * sample_rate)), sample_rate)


def touch(folder: Path, names: Sequence[str]) -> None:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()


def table(path: Path, *rows: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(rows) + "\n")


def read(root: Path, part: Any, **more: Any) -> Any:
    supervision = {"weak": "weak", "unla": "none"}.get(part[:4], "strong")
    return read_desed(DesedOptions(name="desed", root=root, part=part), supervision, **more)


def test_listed_files_that_are_missing_are_counted_and_left_out(root: Path) -> None:
    clips = read(root, "validation")
    assert [clip.audio_id for clip in clips.clips] == ["b", "a"]
    assert (clips.files_present, clips.files_expected) == (2, 3)
    assert clips.name == "desed_validation"


def test_events_tags_durations_and_paths(root: Path) -> None:
    clips = read(root, "validation")
    assert clips.events == {"b": (Event(1.0, 2.5, "Dog"), Event(0.5, 4.0, "Speech")), "a": ()}
    assert clips.tags == {"b": ("Dog", "Speech"), "a": ()}
    assert {clip.audio_id: clip.duration for clip in clips.clips} == {"a": 10.0, "b": 9.5}
    assert clips.clips[0].path == root / "audio/validation/validation_16k/b.wav"


def test_dots_in_youtube_names_are_not_extensions(root: Path) -> None:
    ids = {clip.audio_id for part in ("weak_train", "weak_validation") for clip in read(root, part).clips}
    assert ids == {name.removesuffix(".wav") for name in WEAK_NAMES}


@pytest.mark.parametrize("num_files", [10, 17, 25, 30, 1578])
def test_the_weak_split_is_the_published_one(tmp_path: Path, num_files: int) -> None:
    pandas = pytest.importorskip("pandas")
    names = [f"{number}.wav" for number in range(num_files)]
    touch(tmp_path / "audio/train/weak_16k", names)
    table(tmp_path / "metadata/train/weak.tsv", "filename\tevent_labels", *(f"{name}\tDog" for name in names))
    frame = pandas.DataFrame({"filename": names})
    train = frame.sample(frac=0.9, random_state=42)
    validation = frame.drop(train.index)

    def drawn(part: str) -> list[str]:
        return [clip.path.name for clip in read(tmp_path, part).clips]

    assert drawn("weak_train") == train.filename.tolist()
    assert drawn("weak_validation") == validation.filename.tolist()
    assert not {*drawn("weak_train")} & {*drawn("weak_validation")}
    if num_files == 1578:
        assert (len(train), len(validation)) == (1420, 158)


def test_missing_weak_files_do_not_move_the_split(root: Path) -> None:
    before = {part: [clip.audio_id for clip in read(root, part).clips] for part in ("weak_train", "weak_validation")}
    gone = read(root, "weak_train").clips[0].path
    gone.unlink()
    assert [clip.audio_id for clip in read(root, "weak_train").clips] == before["weak_train"][1:]
    assert [clip.audio_id for clip in read(root, "weak_validation").clips] == before["weak_validation"]
    assert read(root, "weak_train").files_expected == 27


def test_weak_clips_have_tags_and_no_events(root: Path) -> None:
    clips = read(root, "weak_validation")
    assert set(clips.tags.values()) <= {("Cat", "Dog"), ("Speech",)}
    assert set(clips.events.values()) == {()}


def test_unlabeled_clips_in_the_order_of_their_table(root: Path) -> None:
    clips = read(root, "unlabeled")
    assert [clip.audio_id for clip in clips.clips] == ["u2", "u1"]
    assert set(clips.tags.values()) == {()}
    assert clips.clips[0].duration == 10.0


def test_a_missing_folder_says_how_to_get_the_data_and_how_to_do_without(root: Path) -> None:
    with pytest.raises(CorpusError) as caught:
        read(root, "synthetic_train")
    message = str(caught.value)
    assert "synthetic21_train/soundscapes.tsv: not there" in message
    assert "recipes/prepare_data.py" in message
    assert "confs/sed/demo.yaml" in message
    assert "\n" not in message


def test_a_folder_without_any_listed_recording_is_refused(root: Path) -> None:
    for name in ("u1.wav", "u2.wav"):
        (root / "audio/train/unlabel_in_domain_16k" / name).unlink()
    with pytest.raises(CorpusError, match=r"no recording of the 2 that .*unlabel_in_domain\.tsv lists is there"):
        read(root, "unlabeled")


def test_a_class_outside_the_label_set_is_named_with_file_and_row(root: Path) -> None:
    assert read(root, "validation", labels=DESED_LABELS).files_present == 2
    with pytest.raises(EventTableError, match=r"validation\.tsv, row 2: class 'Dog' is not in the label set"):
        read(root, "validation", labels=("Cat", "Speech"))
    with pytest.raises(EventTableError, match=r"weak\.tsv, row 3: class 'Cat' is not in the label set"):
        read(root, "weak_train", labels=("Speech", "Dog"))


def test_files_that_are_not_resampled_are_taken_from_the_folder_as_published(root: Path) -> None:
    published = root / "audio/validation/validation"
    record(published / "c.wav", 2.0, 44100)
    record(published / "a.wav", 2.0, 44100)
    clips = read(root, "validation")
    folders = {clip.path.name: clip.path.parent.name for clip in clips.clips}
    assert folders == {"a.wav": "validation_16k", "b.wav": "validation_16k", "c.wav": "validation"}
    assert (clips.files_present, clips.files_expected, clips.missing) == (3, 3, ())


def test_the_published_folder_alone_is_enough(root: Path) -> None:
    (root / "audio/train/unlabel_in_domain_16k").rename(root / "audio/train/unlabel_in_domain")
    assert read(root, "unlabeled").files_present == 2


def test_missing_files_are_listed(root: Path) -> None:
    assert read(root, "validation").missing == (root / "audio/validation/validation/c.wav",)


def test_without_a_table_durations_are_those_of_the_recordings(root: Path) -> None:
    (root / "metadata/validation/validation_durations.tsv").unlink()
    folder = root / "audio/validation/validation_16k"
    record(folder / "a.wav", 2.5)
    record(folder / "b.wav", 7.25, 44100)
    clips = read(root, "validation")
    assert {clip.audio_id: clip.duration for clip in clips.clips} == {"a": 2.5, "b": 7.25}
    assert clips.durations_table is None


def test_what_the_table_of_durations_lacks_is_read_from_the_recording(root: Path) -> None:
    table(root / "metadata/validation/validation_durations.tsv", "filename\tduration", "b.wav\t9.5")
    record(root / "audio/validation/validation_16k/a.wav", 2.5)
    clips = read(root, "validation")
    assert {clip.audio_id: clip.duration for clip in clips.clips} == {"a": 2.5, "b": 9.5}
    assert clips.durations_table == root / "metadata/validation/validation_durations.tsv"


def test_durations_are_completed_with_one_decimal_and_what_is_there_stays(root: Path) -> None:
    path = root / "metadata/validation/validation_durations.tsv"
    table(path, "filename\tduration", "b.wav\t9.5")
    record(root / "audio/validation/validation_16k/a.wav", 2.449)
    record(root / "audio/validation/validation/c.wav", 0.01)
    assert complete_durations(root, "validation") == 2
    assert path.read_text() == "filename\tduration\nb.wav\t9.5\na.wav\t2.4\nc.wav\t0.1\n"
    assert complete_durations(root, "validation") == 0
    assert complete_durations(root, "weak_train") == 0


def test_durations_of_unreadable_recordings_are_left_to_the_check(root: Path) -> None:
    path = root / "metadata/validation/validation_durations.tsv"
    path.unlink()
    record(root / "audio/validation/validation_16k/a.wav", 2.0)
    assert complete_durations(root, "validation") == 1
    assert path.read_text() == "filename\tduration\na.wav\t2.0\n"


def test_an_evaluation_set_without_any_table(root: Path) -> None:
    record(root / "audio/eval21/two.wav", 2.0, 44100)
    record(root / "audio/eval21_16k/one.wav", 12.5)
    (root / "audio/eval21/notes.txt").write_text("no recording")
    clips = read_desed(DesedOptions(name="desed", root=root, part="eval"), "none")
    assert {clip.audio_id: clip.duration for clip in clips.clips} == {"one": 12.5, "two": 2.0}
    assert (clips.supervision, clips.events["one"], clips.files_expected) == ("none", (), 2)
    with pytest.raises(CorpusError, match=r"part eval: has no strong labels; use it with `supervision: none`"):
        read_desed(DesedOptions(name="desed", root=root, part="eval"), "strong")


def test_an_empty_evaluation_folder_is_refused(root: Path) -> None:
    touch(root / "audio/eval21", [])
    with pytest.raises(CorpusError, match=r"eval21_16k: no recording is there"):
        read_desed(DesedOptions(name="desed", root=root, part="eval"), "none")


def test_the_public_evaluation_set_lies_in_either_of_its_folders(root: Path) -> None:
    table(root / "metadata/eval/public.tsv", "filename\tonset\toffset\tevent_label", "p.wav\t0.5\t1.0\tDog")
    record(root / "audio/eval/public/p.wav", 2.0)
    (clip,) = read_desed(DesedOptions(name="desed", root=root, part="public_eval"), "strong").clips
    assert (clip.audio_id, clip.duration) == ("p", 2.0)


def test_published_tables_are_read(shared_data: Path, tmp_path: Path) -> None:
    metadata = shared_data / "desed_metadata"
    (tmp_path / "metadata").symlink_to(metadata)
    touch(tmp_path / "audio/train/weak", ["YKK227gPpRn4_30.000_40.000.wav"])
    touch(tmp_path / "audio/validation/validation", ["Y00pbt6aJV8Y_350.000_360.000.wav"])
    assert read(tmp_path, "validation").files_expected == 1168
    with_weak = [part for part in ("weak_train", "weak_validation") if has_weak(tmp_path, part)]
    assert len(with_weak) == 1
    assert read(tmp_path, with_weak[0]).files_expected in (1420, 158)


def has_weak(root: Path, part: str) -> bool:
    try:
        return read(root, part).files_present == 1
    except CorpusError:
        return False
