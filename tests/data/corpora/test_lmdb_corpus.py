"""LMDBs as published, written with plain lmdb and msgpack, become clip sets; what is wrong with one is one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from lmdb_files import RATE, flac_of, noise, write_published

from desed_task.audio.reading import read_waveform
from desed_task.clips import ClipSet
from desed_task.data.corpora.lmdb import LmdbOptions, read_lmdb
from desed_task.data.corpora.tagging_corpora import TAGGING_CORPORA
from desed_task.errors import DesedTaskError, OptionsError
from desed_task.labels import LabelSet
from desed_task.options import check_options
from desed_task.variants import CORPORA

LABELS = LabelSet(["Bark", "Male speech, man speaking", "Rain"])


def read(path: Path, supervision: Any = "weak", labels: LabelSet | None = LABELS, **options: Any) -> ClipSet:
    return read_lmdb(LmdbOptions(name="lmdb", path=path, **options), supervision, labels)


def flac(number: int) -> bytes:
    return flac_of(noise(number, 800 * (1 + number)))


def test_the_clips_of_a_published_file(tmp_path: Path) -> None:
    path = write_published(tmp_path / "train.lmdb", [(flac(0), "Rain,Bark,Rain"), (flac(1), "Bark"), (flac(2), "Rain")])
    clips = read(path)
    assert clips.name == "train"
    assert [clip.audio_id for clip in clips.clips] == ["train_0", "train_1", "train_2"]
    assert [clip.filename for clip in clips.clips] == ["train_0.flac", "train_1.flac", "train_2.flac"]
    assert [clip.duration for clip in clips.clips] == [0.05, 0.1, 0.15]
    assert dict(clips.tags) == {"train_0": ("Rain", "Bark"), "train_1": ("Bark",), "train_2": ("Rain",)}
    assert np.array_equal(read_waveform(clips.clips[1].path, RATE) * 32768, noise(1, 1600))


def test_a_folder_is_called_by_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "val.lmdb"
    folder.mkdir()
    write_published(folder, [(flac(0), "Rain")])
    assert read(folder).clips[0].audio_id == "val_0"


@pytest.mark.parametrize("delimiter", [";", ","])
def test_names_that_hold_a_comma_are_kept_whole(tmp_path: Path, delimiter: str) -> None:
    labels = delimiter.join(["Male speech, man speaking", "Bark"])
    path = write_published(tmp_path / "audioset.lmdb", [(flac(0), labels)])
    assert read(path, delimiter=delimiter).tags["audioset_0"] == ("Male speech, man speaking", "Bark")


def test_class_numbers_are_those_of_the_map_or_of_the_labels(tmp_path: Path) -> None:
    numpy_number = {b"nd": False, b"type": "<i8", b"data": np.int64(0).tobytes()}
    path = write_published(tmp_path / "esc50.lmdb", [(flac(0), 2, 1), (flac(1), numpy_number, numpy_number)])
    assert list(read(path).tags.values()) == [("Rain",), ("Bark",)]
    names = tmp_path / "lbl_map.json"
    names.write_text(json.dumps({"Rain": 0, "Male speech, man speaking": 1, "Bark": 2}))
    assert list(read(path, label_map=names).tags.values()) == [("Bark",), ("Rain",)]


def test_folds_are_chosen(tmp_path: Path) -> None:
    path = write_published(tmp_path / "esc50.lmdb", [(flac(n), n % 3, 1 + n % 2) for n in range(4)])
    chosen = read(path, folds=(2,))
    assert chosen.name == "esc50_folds_2"
    assert [clip.path.name for clip in chosen.clips] == ["1", "3"]
    with pytest.raises(DesedTaskError, match=r"holds no record of fold \[5\]"):
        read(path, folds=(5,))


def test_flac_that_does_not_state_its_length_is_decoded(tmp_path: Path) -> None:
    content = bytearray(flac(1))
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path = write_published(tmp_path / "streamed.lmdb", [(bytes(content), "Rain")])
    assert read(path).clips[0].duration == 0.1


def test_it_is_a_corpus_of_taggers_and_of_detectors() -> None:
    assert TAGGING_CORPORA["lmdb"] is CORPORA["lmdb"] is read_lmdb


def test_a_copy_in_memory_of_what_is_decoded_once_is_refused() -> None:
    with pytest.raises(OptionsError, match="in_memory is for recordings that are decoded when they are heard"):
        check_options({"name": "lmdb", "path": "a", "decode": "once", "in_memory": True}, LmdbOptions)


RECORDS = [(flac_of(noise(0, 800)), "Rain"), (flac_of(noise(1, 800)), "Bark")]
WRONG: dict[str, tuple[dict[bytes, Any], str]] = {
    "no keys": ({b"__keys__": None}, r"a\.lmdb: unfinished"),
    "no length": ({b"__len__": None}, r"a\.lmdb: unfinished"),
    "another length": ({b"__len__": msgpack.packb(3)}, r"__len__ is 3, where __keys__ lists 2"),
    "keys that are none": ({b"__keys__": msgpack.packb(5)}, "__keys__ and __len__ are not as published"),
    "keys that are cut off": ({b"__keys__": b"\x92\xc4"}, "__keys__ and __len__ are not as published"),
    "a key twice": ({b"__keys__": msgpack.packb([b"0", b"0"])}, "in it twice"),
    "a record that is not there": ({b"__keys__": msgpack.packb([b"0", b"8"])}, r"a\.lmdb/8: listed in __keys__"),
    "a record that is cut": ({b"1": msgpack.packb(RECORDS[1])[:90]}, r"a\.lmdb/1: not a record"),
    "a record of no audio": ({b"1": msgpack.packb((b"onset\toffset", "Rain"))}, r"a\.lmdb/1: not decodable audio"),
    "another class": ({b"1": msgpack.packb((RECORDS[0][0], "Rain,Cat"))}, r"record 1: class 'Cat' is not in the label"),
    "another class number": ({b"1": msgpack.packb((RECORDS[0][0], 3))}, "class 3 is none of 3"),
    "an index that is none": ({b"__desed_task__": b"\x00"}, "its index is damaged"),
    "a newer index": ({b"__desed_task__": msgpack.packb({"format": 9})}, "its index is of format 9"),
}


@pytest.mark.parametrize(("further", "sentence"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_one_sentence(tmp_path: Path, further: dict[bytes, Any], sentence: str) -> None:
    values = {key: value for key, value in further.items() if value is not None}
    path = write_published(tmp_path / "a.lmdb", RECORDS, values)
    for key in further.keys() - values.keys():
        remove(path, key)
    with pytest.raises(DesedTaskError, match=sentence) as refused:
        read(path)
    assert "\n" not in str(refused.value)


def test_times_that_a_file_does_not_have_are_refused(tmp_path: Path) -> None:
    path = write_published(tmp_path / "a.lmdb", RECORDS)
    with pytest.raises(DesedTaskError, match="has classes per clip and no times"):
        read(path, "strong")
    assert len(read(path, "none", None).clips) == 2


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DesedTaskError, match=r"a\.lmdb: no such LMDB"):
        read(tmp_path / "a.lmdb")
    (tmp_path / "a.lmdb.partial").write_bytes(b"")
    with pytest.raises(DesedTaskError, match=r"a\.lmdb: unfinished .* run the command that packed it again"):
        read(tmp_path / "a.lmdb")


def remove(path: Path, key: bytes) -> None:
    import lmdb

    with lmdb.open(str(path), subdir=False, lock=False) as environment, environment.begin(write=True) as transaction:
        assert transaction.delete(key)
