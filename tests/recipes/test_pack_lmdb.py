"""The recipe as users of the published scripts run it: mixtures, ESC-50, any corpus of a conf, verify and flac."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lmdb_files import flac_of, noise, read_published, write_mixtures

from desed_task.audio.records import close_lmdb
from desed_task.data.corpora.lmdb import LmdbOptions, read_lmdb
from desed_task.errors import CorpusError, DesedTaskError, OptionsError
from recipes.pack_lmdb import main

AUDIOSET = 'index,mid,display_name\n0,/m/1,Bark\n1,/m/2,"Male speech, man speaking"\n'


def published(path: Path) -> list[list[object]]:
    close_lmdb(path)
    return read_published(path)


def test_the_published_command_packs_folders_of_mixtures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [write_mixtures(tmp_path / name, 3) for name in ("train", "train_p2")]
    command = ["--mixture_dir", ";".join(map(str, folders)), "--lmdb_path", str(tmp_path / "train_70k.lmdb")]
    main([*command, "--map_size", "2e10"])
    assert capsys.readouterr().out == f"{tmp_path / 'train_70k.lmdb'}: 6 recordings\n"
    records = published(tmp_path / "train_70k.lmdb")
    assert [label for _, label in records] == ["hum", "hum,hiss,hum", "hum"] * 2
    main(command)
    assert "6 recordings, packed before and unchanged" in capsys.readouterr().out
    main(["verify", "--lmdb-path", str(tmp_path / "train_70k.lmdb")])
    assert "6 records" in (said := capsys.readouterr().out)
    assert "all decode, checksums are right" in said


def test_mixtures_of_scaper_are_packed_with_their_times(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "scaper_example"
    main(["--mixture_dir", str(source), "--lmdb_path", str(tmp_path / "a.lmdb")])
    records = published(tmp_path / "a.lmdb")
    assert [flac for flac, _ in records] == [path.read_bytes() for path in sorted(source.glob("*.flac"))]
    assert [label for _, label in records] == [
        "baby_cry,rooster,rain",
        "baby_cry,baby_cry,rain",
        ",".join(["dog_bark"] * 3),
    ]
    clips = read_lmdb(LmdbOptions(name="lmdb", path=tmp_path / "a.lmdb"), "strong")
    assert clips.events["scene_1"][1].offset == 7.075446060756127


def test_jams_serve_where_there_is_no_table(shared_data: Path, tmp_path: Path) -> None:
    for suffix in (".flac", ".jams"):
        (tmp_path / f"scene_0{suffix}").write_bytes((shared_data / "scaper_example" / f"scene_0{suffix}").read_bytes())
    main(["--mixture_dir", str(tmp_path), "--lmdb_path", str(tmp_path / "a.lmdb")])
    clips = read_lmdb(LmdbOptions(name="lmdb", path=tmp_path / "a.lmdb"), "strong")
    assert [event.event_label for event in clips.events["scene_0"]] == ["baby_cry", "rooster", "rain"]
    assert clips.events["scene_0"][0].onset == pytest.approx(0.595012858836288, abs=1e-6)


@pytest.fixture
def esc50(tmp_path: Path) -> Path:
    """Four recordings of three classes at 44.1 kHz."""
    rows = ["filename,fold,target,category,esc10,src_file,take"]
    (tmp_path / "esc50" / "audio").mkdir(parents=True)
    (tmp_path / "esc50" / "meta").mkdir()
    for number, (fold, target, category) in enumerate([(2, 0, "dog"), (1, 2, "rain"), (1, 0, "dog"), (3, 1, "cow")]):
        name = f"{fold}-{number}-A-{target}.wav"
        soundfile.write(tmp_path / "esc50" / "audio" / name, noise(number, 2_000), 44_100, subtype="PCM_16")
        rows.append(f"{name},{fold},{target},{category},False,{number},A")
    (tmp_path / "esc50" / "meta" / "esc50.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "esc50"


def test_esc50_has_class_numbers_and_folds(esc50: Path, tmp_path: Path) -> None:
    path = tmp_path / "esc50.lmdb"
    main(["--esc50", str(esc50), "--lmdb_path", str(path), "--sample_rate", "22050"])
    records = published(path)
    assert [record[1:] for record in records] == [[2, 1], [0, 1], [0, 2], [1, 3]]
    (tmp_path / "first.flac").write_bytes(records[0][0])  # type: ignore[arg-type]
    assert soundfile.info(tmp_path / "first.flac").samplerate == 22_050
    clips = read_lmdb(LmdbOptions(name="lmdb", path=path, folds=(1,)), "weak", ["cow", "dog", "rain"])
    assert dict(clips.tags) == {"1-2-A-0": ("dog",), "1-1-A-2": ("rain",)}
    assert clips.groups["1-2-A-0"] == "1-2"


def test_a_label_map_numbers_the_classes_of_esc50(esc50: Path, tmp_path: Path) -> None:
    (tmp_path / "lbl_map.json").write_text(json.dumps({"cow": 0, "dog": 1, "rain": 2}))
    command = ["--esc50", str(esc50), "--lmdb_path", str(tmp_path / "a.lmdb"), "--label_map"]
    main([*command, str(tmp_path / "lbl_map.json")])
    assert [record[1] for record in published(tmp_path / "a.lmdb")] == [2, 1, 1, 0]
    (tmp_path / "other.json").write_text(json.dumps({"cow": 0, "dog": 1}))
    with pytest.raises(CorpusError, match=r"class 'rain' of 1-1-A-2\.wav has no number"):
        main([*command, str(tmp_path / "other.json"), "--overwrite"])


@pytest.fixture
def audioset(tmp_path: Path) -> Path:
    """Two clips and the conf of a set in AudioSet's format."""
    for number in range(2):
        (tmp_path / f"clip{number}.flac").write_bytes(flac_of(noise(number, 900)))
    clips = [{"wav": "clip0.flac", "labels": "/m/2,/m/1"}, {"wav": "clip1.flac", "labels": "/m/1"}]
    (tmp_path / "eval.json").write_text(json.dumps({"data": clips}))
    (tmp_path / "class_labels_indices.csv").write_text(AUDIOSET)
    conf = tmp_path / "conf.yaml"
    conf.write_text(
        'labels: [any]\ndata:\n  clip_seconds: 1.0\n  train: [{corpus: {name: audioset, table: "${here}/eval.json"}}]\n'
        '  evaluation: {eval: {name: audioset, table: "${here}/eval.json"}}\n'
    )
    return conf


@pytest.mark.parametrize("part", ["train", "eval"])
def test_a_corpus_of_a_conf_is_packed(audioset: Path, tmp_path: Path, part: str) -> None:
    command = ["--conf_file", str(audioset), "--part", part, "--lmdb_path", str(tmp_path / "a.lmdb")]
    with pytest.raises(
        CorpusError, match=r"label 'Male speech, man speaking' holds the delimiter ',';.*--delimiter ';'"
    ):
        main(command)
    main([*command, "--delimiter", ";"])
    assert [label for _, label in published(tmp_path / "a.lmdb")] == ["Male speech, man speaking;Bark", "Bark"]
    clips = read_lmdb(LmdbOptions(name="lmdb", path=tmp_path / "a.lmdb"), "weak")
    assert clips.tags["clip0"] == ("Male speech, man speaking", "Bark")


def test_events_are_kept_where_that_is_asked_for(audioset: Path, tmp_path: Path) -> None:
    command = ["--conf_file", str(audioset), "--lmdb_path", str(tmp_path / "a.lmdb"), "--delimiter", ";"]
    with pytest.raises(CorpusError, match="has classes per clip and no times"):
        main([*command, "--with_events"])


def test_flac_of_a_folder_keeps_its_samples(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = tmp_path / "wav", tmp_path / "flac"
    source.mkdir()
    for name in ("a", "b_350.000"):
        soundfile.write(source / f"{name}.wav", noise(1, 500), 22_050, subtype="PCM_16")
        (source / f"{name}.txt").write_text("0\t0.01\thum\n")
    command = ["flac", "--src_dir", str(source), "--tgt_dir", str(target)]
    main([*command, "--move_txt"])
    assert sorted(path.name for path in target.iterdir()) == ["a.flac", "a.txt", "b_350.000.flac", "b_350.000.txt"]
    samples, rate = soundfile.read(target / "b_350.000.flac", dtype="int16")
    assert rate == 22_050
    assert np.array_equal(samples, noise(1, 500))
    assert capsys.readouterr().out == f"{target}: 2 recordings, 2 of them written now\n"
    main([*command, "--move_txt"])
    assert "0 of them written now" in capsys.readouterr().out
    with pytest.raises(
        CorpusError, match=r"a\.jams: not there \(2 of 2 recordings have no \.jams\); leave out --move_j"
    ):
        main([*command, "--move_jams"])
    main(["--mixture_dir", str(target), "--lmdb_path", str(tmp_path / "a.lmdb")])
    assert len(published(tmp_path / "a.lmdb")) == 2


def test_flac_is_resampled_and_of_one_channel(tmp_path: Path) -> None:
    (tmp_path / "wav").mkdir()
    soundfile.write(tmp_path / "wav" / "a.wav", np.zeros((4_410, 2)), 44_100)
    main(["flac", "--src_dir", str(tmp_path / "wav"), "--tgt_dir", str(tmp_path / "flac")])
    info = soundfile.info(tmp_path / "flac" / "a.flac")
    assert (info.samplerate, info.channels, info.frames) == (22_050, 1, 2_205)


BAD_TABLES = {
    "no times": ("hum\n", r"mix_000\.txt, row 1: not onset, offset and label"),
    "words for times": ("0.1\t0.2\thum\nx\ty\thum\n", r"mix_000\.txt, row 2: not onset, offset and label"),
    "an end before its beginning": ("0.2\t0.1\thum\n", r"mix_000\.txt, row 1: .*offset 0\.100 s is not after"),
    "the delimiter in a name": ("0.1\t0.2\thum, hiss\n", "label 'hum, hiss' holds the delimiter"),
}


@pytest.mark.parametrize(("text", "sentence"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_a_table_that_is_wrong_is_named(tmp_path: Path, text: str, sentence: str) -> None:
    folder = write_mixtures(tmp_path / "train", 1)
    (folder / "mix_000.txt").write_text(text)
    with pytest.raises(DesedTaskError, match=sentence):
        main(["--mixture_dir", str(folder), "--lmdb_path", str(tmp_path / "a.lmdb")])


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    target = ["--lmdb_path", str(tmp_path / "a.lmdb")]
    with pytest.raises(OptionsError, match="name what to pack, one of --mixture_dir, --esc50, --conf_file"):
        main(target)
    with pytest.raises(CorpusError, match="no such folder of mixtures"):
        main(["--mixture_dir", str(tmp_path / "no"), *target])
    with pytest.raises(CorpusError, match="no mixtures here"):
        main(["--mixture_dir", str(tmp_path), *target])
    folder = write_mixtures(tmp_path / "train", 2)
    (folder / "mix_001.txt").unlink()
    with pytest.raises(CorpusError, match=r"mix_001\.txt: not there, nor mix_001\.jams"):
        main(["--mixture_dir", str(folder), *target])
    assert not list(tmp_path.glob("a.lmdb*"))


def test_a_refusal_is_one_line_and_exit_code_2(tmp_path: Path, project: Path) -> None:
    (tmp_path / "a.lmdb").write_text("no LMDB")
    command = [sys.executable, "recipes/pack_lmdb.py", "verify", "--lmdb_path", str(tmp_path / "a.lmdb")]
    ran = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert ran.stderr == f"error: {tmp_path / 'a.lmdb'}: not an LMDB; name one that recipes/pack_lmdb.py wrote\n"
