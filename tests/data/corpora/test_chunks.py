"""Chunk folders and manifests: as the published scripts write them, and as a training reads them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from desed_task.data.corpora.chunk_writing import cut_waveform, write_chunks, write_manifest
from desed_task.data.corpora.chunks import ChunksOptions, read_chunks, recording_of, write_label_map
from desed_task.errors import AudioError, CorpusError
from desed_task.labels import LabelSet

RATE = 2000


@pytest.fixture
def recordings(tmp_path: Path) -> list[Path]:
    """Of 0.4, 1 and 2.2 seconds."""
    (tmp_path / "audio").mkdir()
    paths = []
    for number, length in enumerate((800, 2000, 4400)):
        paths.append(tmp_path / "audio" / f"10{number}.wav")
        samples = np.random.default_rng(number).integers(-32768, 32767, length).astype(np.int16)
        soundfile.write(paths[-1], samples, RATE, subtype="PCM_16")
    return paths


def read_samples(path: Path) -> np.ndarray:
    samples, rate = soundfile.read(path, dtype="int16")
    assert rate == RATE
    assert soundfile.info(path).subtype == "PCM_16"
    return np.asarray(samples)


def test_chunks_are_those_of_the_published_script(recordings: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "chunks"
    # 0.4 s: 1 chunk; 1 s: 2; 2.2 s: starts at 0, .5, 1, 1.5, 2: 5
    assert write_chunks(recordings, out) == 8
    assert sorted(path.name for path in out.iterdir()) == [
        *("100_0000.wav", "101_0000.wav", "101_0001.wav"),
        *(f"102_000{n}.wav" for n in range(5)),
    ]
    whole = read_samples(recordings[2])
    assert (read_samples(out / "102_0001.wav") == whole[1000:3000]).all()
    assert (read_samples(out / "102_0004.wav") == np.tile(whole[4000:], 5)).all()
    assert (read_samples(out / "100_0000.wav") == np.tile(read_samples(recordings[0]), 3)[:2000]).all()
    assert (read_samples(out / "101_0001.wav") == np.tile(read_samples(recordings[1])[1000:], 2)).all()


def test_chunks_may_be_resampled_and_have_other_tails(recordings: list[Path], tmp_path: Path) -> None:
    write_chunks(recordings, tmp_path / "half", sample_rate=1000, tail="drop")
    assert soundfile.info(tmp_path / "half" / "102_0002.wav").frames == 1000
    assert not (tmp_path / "half" / "102_0003.wav").exists()
    assert [len(chunk) for chunk in cut_waveform(np.ones(4400, np.int16), RATE, "shift")] == [2000] * 4


def test_what_cannot_be_cut_is_named(recordings: list[Path], tmp_path: Path) -> None:
    (tmp_path / "audio" / "103.wav").write_bytes(b"")
    with pytest.raises(AudioError, match=r"103\.wav: the file is empty"):
        write_chunks([*recordings, tmp_path / "audio" / "103.wav"], tmp_path / "chunks")
    with pytest.raises(CorpusError, match="2 recordings are called 100"):
        write_chunks([recordings[0], tmp_path / "100.flac"], tmp_path / "chunks")


TAGS = {"100": ("Dog", "Bark"), "102": ("Music",), "555": ("Dog",)}


def test_a_manifest_lists_chunks_by_recording_and_is_read_again(recordings: list[Path], tmp_path: Path) -> None:
    chunks, path = tmp_path / "chunks", tmp_path / "meta" / "val.csv"
    write_chunks(recordings, chunks)
    assert write_manifest(TAGS, chunks, path) == (6, ["555"])
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert rows[0] == {"files": str(chunks / "100_0000.wav"), "labels": "Dog,Bark", "ext": "100"}
    assert [row["ext"] for row in rows] == ["100", *["102"] * 5]
    clips = read_chunks(ChunksOptions(name="chunks", table=path), "weak", LabelSet(["Bark", "Dog", "Music"]))
    assert clips.tags["100_0000"] == ("Dog", "Bark")
    assert (clips.name, clips.files_present) == ("chunks_val", 6)
    assert {recording_of(clip.audio_id) for clip in clips.clips} == {"100", "102"}


def test_a_training_manifest_is_shuffled_and_the_same_every_time(recordings: list[Path], tmp_path: Path) -> None:
    write_chunks(recordings, tmp_path / "chunks")
    tags = {f"10{n}": ("Dog",) for n in range(3)}
    texts = []
    for name in ("a.csv", "b.csv"):
        write_manifest(tags, tmp_path / "chunks", tmp_path / name, shuffled=True)
        texts.append((tmp_path / name).read_text().splitlines())
    assert texts[0] == texts[1]
    assert texts[0] != [texts[0][0], *sorted(texts[0][1:])]
    assert len(set(texts[0])) == 9


def test_a_manifest_of_elsewhere_or_with_relative_paths(recordings: list[Path], tmp_path: Path) -> None:
    write_chunks(recordings, tmp_path / "chunks")
    table = tmp_path / "tr.csv"
    rows = ["/media/someone/102_0000.wav,Music,102", "chunks/102_0001.wav,Music,102", "102_0009.wav,Music,102"]
    table.write_text("\n".join(["files,labels,ext", *rows]) + "\n")
    found = read_chunks(ChunksOptions(name="chunks", table=table, root=tmp_path / "chunks"), "weak")
    assert [clip.audio_id for clip in found.clips] == ["102_0000"]
    found = read_chunks(ChunksOptions(name="chunks", table=table), "weak")
    assert [clip.audio_id for clip in found.clips] == ["102_0001"]
    assert found.groups == {"102_0001": "102"}


def test_other_tables_are_refused(tmp_path: Path) -> None:
    table = tmp_path / "tr.csv"
    options = ChunksOptions(name="chunks", table=table)
    table.write_text("files,labels\n")
    with pytest.raises(CorpusError, match=r"tr\.csv, row 1: no column 'ext'"):
        read_chunks(options, "weak")
    table.write_text("files,labels,ext\na.wav,,a\n")
    with pytest.raises(CorpusError, match=r"tr\.csv, row 2: files and labels must be given"):
        read_chunks(options, "weak")
    with pytest.raises(CorpusError, match="no such folder of chunks"):
        write_manifest(TAGS, tmp_path / "nowhere", table)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match=r"holds no chunk of the 3 recordings of tr\.csv"):
        write_manifest(TAGS, tmp_path / "empty", table)
    assert recording_of("102_0003") == "102"
    assert recording_of("a_b") == "a_b"


def test_the_label_map_is_that_of_the_vocabulary(tmp_path: Path) -> None:
    write_label_map(("Accelerating", "Accordion"), tmp_path / "lbl_map.json")
    assert json.loads((tmp_path / "lbl_map.json").read_text()) == {"Accelerating": 0, "Accordion": 1}
