"""The recipe as a user runs it: what is packed is what training opens, and what is half done is completed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
import soundfile
from desed_tree import write_audio, write_desed, write_table, youtube_names
from training_scenes import write_scenes

from desed_task.data import store as store_module
from desed_task.data.store import open_store
from desed_task.errors import AudioError, CorpusError, OptionsError
from desed_task.experiment import SedOptions, build_clip_set
from desed_task.formats.dcase import read_durations
from desed_task.labels import LabelSet
from desed_task.options import read_options
from recipes.prepare_data import main


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("dcase") / "dataset"
    write_desed(root)
    return root


@pytest.fixture
def root(dataset: Path, tmp_path: Path) -> Path:
    """A tree that may be spoilt."""
    shutil.copytree(dataset, tmp_path / "dataset")
    return tmp_path / "dataset"


def prepare(root: Path, store: Path, *more: str, corpus: str = "desed") -> None:
    main(["--corpus", corpus, "--basedir", str(root), "--store", str(store), "--num_jobs", "2", "--no_fetch", *more])


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, list[str]]:
    """The table: name -> cells."""
    lines = capsys.readouterr().out.splitlines()[1:]
    return {line.split()[0]: line.split()[1:] for line in lines}


def store_bytes(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(store.iterdir()) if not path.name.startswith(".")}


def mtimes(folder: Path) -> Mapping[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def options_for(project: Path, conf: str, root: Path, store: Path) -> SedOptions:
    """The repository's own conf, with its data elsewhere."""
    path = project / "confs" / "sed" / conf
    sources = [f"train.{n}" for n in range(3)] + [f"validation.{n}" for n in range(2)] + ["test"]
    overrides = [f"data.{source}.corpus.root={root}" for source in sources]
    return read_options(path, SedOptions, [*overrides, f"data.store={store}"])


def test_training_packs_nothing_after_it(
    root: Path, tmp_path: Path, project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    prepare(root, store)
    table = printed(capsys)
    assert [table[f"desed_{part}"][:3] for part in ("synthetic_train", "validation", "eval")] == [
        ["24", "of", "24"],
        ["5", "of", "6"],
        ["2", "of", "2"],
    ]
    assert {row[-1] for row in table.values()} == {"packed"}
    assert len(table) == 9
    monkeypatch.setattr(store_module, "pack", None)
    options = options_for(project, "crnn.yaml", root, store)
    labels = LabelSet(options.labels)
    for source in (*options.data.train, *options.data.validation, options.data.test):
        clip_set = build_clip_set(source, labels)
        opened = open_store(clip_set, store, options.features.sample_rate)
        assert opened.audio_ids == tuple(clip.audio_id for clip in clip_set.clips)
    few = build_clip_set(options.data.train[0], labels, limit=4)
    assert len(open_store(few, store, options.features.sample_rate)) == 4


def test_what_is_prepared_is_left_alone(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "store"
    prepare(root, store)
    before = {**mtimes(root), **mtimes(store)}
    capsys.readouterr()
    prepare(root, store)
    table = printed(capsys)
    assert {tuple(row[-2:]) for row in table.values()} == {("was", "packed")}
    assert {**mtimes(root), **mtimes(store)} == before


def test_hours_and_megabytes_are_those_of_the_store(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, name in enumerate(youtube_names(300, 48)):
        write_audio(root / "audio/train/unlabel_in_domain" / name, 3.0, 8000, number)
    prepare(root, tmp_path / "store", "--sample_rate", "8000")
    # 48 clips of 3 s: 0.04 h; 2 bytes * 8000 * 144 = 2.3 MB
    assert printed(capsys)["desed_unlabeled"] == ["48", "of", "48", "0.04", "2.3", "packed"]


def test_durations_are_written_from_the_recordings_and_completed(root: Path, tmp_path: Path) -> None:
    table = root / "metadata/validation/validation_durations.tsv"
    names = youtube_names(400, 6)
    prepare(root, tmp_path / "store", "--only_real")
    assert table.read_text().splitlines()[:3] == ["filename\tduration", f"{names[0]}\t0.5", f"{names[1]}\t0.5"]
    assert list(read_durations(table)) == names[:5]
    assert not (root / "metadata/validation/synthetic21_validation/durations.tsv").exists()
    write_audio(root / "audio/validation/validation" / names[5], 1.23, 44100)
    prepare(root, tmp_path / "store")
    assert read_durations(table)[names[5]] == 1.2
    assert len(read_durations(root / "metadata/validation/synthetic21_validation/durations.tsv")) == 6


def test_a_published_table_of_durations_is_kept_and_held_against_the_recordings(root: Path, tmp_path: Path) -> None:
    names = youtube_names(400, 5)
    table = root / "metadata/validation/validation_durations.tsv"
    write_table(table, "filename\tduration", *(f"{name}\t{0.6 if name != names[3] else 10.0}" for name in names))
    before = table.read_text()
    with pytest.raises(AudioError, match=r"validation: 5 of 6 files present, 1 unusable, .*lasts 0\.53 s, 10 s in"):
        prepare(root, tmp_path / "store")
    assert table.read_text() == before


def test_all_unusable_recordings_of_all_parts_are_named_before_anything_is_packed(root: Path, tmp_path: Path) -> None:
    weak, unlabeled = youtube_names(200, 20), youtube_names(300, 48)
    (root / "audio/train/weak" / weak[3]).write_bytes(b"")
    for name in unlabeled[7:9]:
        path = root / "audio/train/unlabel_in_domain" / name
        path.write_bytes(path.read_bytes()[:999])
    store = tmp_path / "store"
    with pytest.raises(AudioError) as caught:
        prepare(root, store)
    message = str(caught.value)
    assert "unlabeled: 48 of 48 files present, 2 unusable" in message
    assert f"{weak[3]}: the file is empty (0 bytes)" in message
    assert "\n" not in message
    listed = (store / "faulty_recordings.tsv").read_text().splitlines()
    assert len(listed) == 1 + 1 + 3  # header, the missing validation clip, three faults
    assert list(store.iterdir()) == [store / "faulty_recordings.tsv"]


def test_parts_can_be_chosen_and_parts_that_are_not_there_are_said(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(root, tmp_path / "strong", "--only_strong")
    assert list(printed(capsys)) == ["desed_strong_real"]
    prepare(root, tmp_path / "two", "--only_strong", "--only_synth")
    assert list(printed(capsys)) == ["desed_synthetic_train", "desed_strong_real", "desed_synthetic_validation"]
    shutil.rmtree(root / "audio/train/weak")
    prepare(root, tmp_path / "store", "--only-real")
    table = printed(capsys)
    assert table["desed_weak_train"] == table["desed_weak_validation"] == ["not", "there"]
    assert table["desed_unlabeled"][-1] == "packed"


def test_changed_recordings_are_said_packed_anew_and_old_stores_go_only_when_asked(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    prepare(root, store, "--only_synth")
    for number in (2, 5):
        os.utime(root / f"audio/train/synthetic21_train/soundscapes_16k/{number}.wav", ns=(1, 1))
    with caplog.at_level("INFO"):
        prepare(root, store, "--only_synth")
    assert (
        "desed_synthetic_train: 2 of 24 recordings changed (first 2.wav) since it was packed; packing it anew"
        in caplog.messages
    )
    assert len(list(store.glob("desed_synthetic_train-*.json"))) == 2
    prepare(root, store, "--only_synth", "--clean")
    assert len(list(store.glob("desed_synthetic_train-*.json"))) == 1
    assert printed(capsys)["desed_synthetic_train"][-2:] == ["was", "packed"]


def test_verifying_names_a_bad_clip_and_clean_packs_it_anew(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    prepare(root, store, "--only_synth", "--verify")
    sound = store_bytes(store)
    (samples,) = store.glob("desed_synthetic_train-*.int16")
    content = bytearray(samples.read_bytes())
    content[-1] ^= 1
    samples.write_bytes(content)
    prepare(root, store, "--only_synth")  # not every training reads everything
    with pytest.raises(CorpusError, match=r"synthetic_train-\w+\.int16: 23 \(clip 24 of 24\) is not as it was packed"):
        prepare(root, store, "--only_synth", "--verify")
    capsys.readouterr()
    prepare(root, store, "--only_synth", "--verify", "--clean")
    assert printed(capsys)["desed_synthetic_train"][-1] == "packed"
    assert store_bytes(store) == sound


def test_a_truncated_store_is_refused_with_the_remedy_that_works(root: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    prepare(root, store, "--only_strong")
    (samples,) = store.glob("*.int16")
    samples.write_bytes(samples.read_bytes()[:-100])
    with pytest.raises(CorpusError, match=r"where its index promises .*`recipes/prepare_data\.py --clean`"):
        prepare(root, store, "--only_strong")
    prepare(root, store, "--only_strong", "--clean")
    prepare(root, store, "--only_strong", "--verify")


@pytest.mark.parametrize("corpus", ["esc10", "esc50"])
def test_esc_is_packed_whole_and_its_folds_read_from_that(
    tmp_path: Path, corpus: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from desed_task.data.corpora.esc import EscOptions, read_esc

    root, store = tmp_path / "esc", tmp_path / "store"
    categories = ["dog", "rain", "airplane"]
    rows = [f"{fold}-{take}-A-{take}.wav,{fold},{take},{categories[take]}" for fold in (1, 2) for take in range(3)]
    write_table(root / "meta" / "esc50.csv", "filename,fold,target,category", *rows)
    for row in rows:
        write_audio(root / "audio" / row.split(",")[0], 0.5, 44100)
    prepare(root, store, corpus=corpus)
    expected = {"esc10": "4", "esc50": "6"}[corpus]
    assert printed(capsys)[corpus][:3] == [expected, "of", expected]
    monkeypatch.setattr(store_module, "pack", None)
    fold = read_esc(EscOptions.model_validate({"name": corpus, "root": root, "folds": (2,)}), "weak")
    assert open_store(fold, store, 16000).audio_ids == tuple(clip.audio_id for clip in fold.clips)


def test_soundscapes_are_packed_part_by_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_scenes(tmp_path / "scenes", {"train": 3, "test": 2})
    prepare(tmp_path / "scenes", tmp_path / "store", corpus="soundscapes")
    table = printed(capsys)
    assert {name: row[0] for name, row in table.items()} == {"scenes_test": "2", "scenes_train": "3"}


def test_a_killed_preparation_goes_on(tmp_path: Path, project: Path) -> None:
    root = tmp_path / "dataset"
    names = [name.replace(".wav", ".ogg") for name in youtube_names(0, 240)]
    write_table(root / "metadata/train/unlabel_in_domain.tsv", "filename", *names)
    audio = root / "audio/train/unlabel_in_domain"
    write_audio(tmp_path / "one.wav", 5.0, 44100)
    audio.mkdir(parents=True)
    soundfile.write(audio / names[0], soundfile.read(tmp_path / "one.wav")[0], 44100, format="OGG")
    for name in names[1:]:
        shutil.copy(audio / names[0], audio / name)
    store = tmp_path / "store"
    command = [sys.executable, str(project / "recipes" / "prepare_data.py"), "--corpus", "desed", "--no-fetch"]
    command += ["--basedir", str(root), "--store", str(store), "--num-jobs", "1"]
    packer = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while packer.poll() is None and not any(path.stat().st_size for path in store.glob("*.journal.partial")):
        time.sleep(0.002)
    packer.send_signal(signal.SIGKILL)
    assert packer.wait(timeout=30) == -signal.SIGKILL
    assert not list(store.glob("*.json"))
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "clips were packed before; going on" in ran.stderr
    prepare(root, tmp_path / "uninterrupted")
    assert store_bytes(store) == store_bytes(tmp_path / "uninterrupted")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--corpus", "esc50", "--only_real"], OptionsError, "--only_real: only desed comes in these parts"),
        (["--corpus", "soundscapes"], OptionsError, "--basedir: name the folder that .*generate_soundscapes"),
        (["--corpus", "soundscapes", "--basedir", "nowhere"], CorpusError, "nowhere: no soundscapes here"),
        (["--corpus", "esc10", "--basedir", "nowhere", "--no_fetch"], CorpusError, "nowhere: no meta/esc50.csv"),
        (["--corpus", "desed", "--basedir", "nowhere", "--no_fetch"], CorpusError, "synthetic21_train.*: not there"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], error: type[Exception], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message) as caught:
        main([*arguments, "--store", "store"])
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["--num_jobs", "0"], ["--sample_rate", "16"], ["--corpus", "esc5"]])
def test_a_bad_flag_exits_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--corpus", "desed", *arguments])
    assert left.value.code == 2


def test_the_command_exits_2_with_one_sentence(project: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(project / "recipes" / "prepare_data.py"), "--corpus", "esc10", "--no-fetch"]
    failed = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert failed.returncode == 2
    assert failed.stderr.startswith("error: data/esc50: no meta/esc50.csv and no metadata.tsv here")
    assert failed.stderr.count("\n") == 1


def test_desed_lies_where_its_conf_says(project: Path) -> None:
    from desed_task.data.corpora.places import read_places

    conf = project / "confs" / "corpora" / "desed.yaml"
    assert read_places(conf) == (project / "data/dcase/dataset", project / "data/dcase/store")
