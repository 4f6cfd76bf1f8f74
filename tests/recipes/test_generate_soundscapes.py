"""The recipe as a user runs it: parts, tables, resuming, refusing."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from desed_task.errors import CorpusError, DesedTaskError, OptionsError
from desed_task.formats.dcase import read_durations, read_strong
from recipes.generate_soundscapes import main

SMALL = (
    "--set=parts.train.num_scenes=6",
    "--set=parts.validation.num_scenes=2",
    "--set=parts.test.num_scenes=3",
    "--set=scene.duration_seconds=4.0",
)


def generate(output_dir: Path, *more: str) -> None:
    main(["--output_dir", str(output_dir), "--num_jobs", "1", *SMALL, *more])


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def sources_of(folder: Path) -> set[str]:
    with (folder / "sources.tsv").open(newline="") as stream:
        return {row["source"] for row in csv.DictReader(stream, delimiter="\t")}


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated") / "demo"
    generate(folder)
    return folder


def test_audio_and_tables_of_every_part_agree(generated: Path) -> None:
    assert (generated / "soundscapes.yaml").is_file()
    for part, count in (("train", 6), ("validation", 2), ("test", 3)):
        names = [f"{part}_{index:05d}.wav" for index in range(count)]
        assert sorted(path.name for path in (generated / part / "audio").iterdir()) == names
        assert read_durations(generated / part / "durations.tsv") == dict.fromkeys(names, 4.0)
        table = read_strong(generated / part / "soundscapes.tsv")
        assert list(table.filenames) == names
        assert len(table) > 0
        assert max(table.offset) <= 4.0
        info = soundfile.info(generated / part / "audio" / names[0])
        assert (info.samplerate, info.frames, info.channels, info.subtype) == (16_000, 64_000, 1, "PCM_16")


def test_no_source_is_in_two_splits(generated: Path) -> None:
    train, validation, test = (sources_of(generated / part) for part in ("train", "validation", "test"))
    assert not train & test
    assert not train & validation
    assert not validation & test


def test_a_complete_folder_is_left_alone(
    generated: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in generated.rglob("*")}
    with caplog.at_level("INFO"):
        generate(generated)
    assert {path: path.stat().st_mtime_ns for path in generated.rglob("*")} == before
    assert [record.getMessage() for record in caplog.records] == [
        f"{generated}: complete, made by the same options; nothing to do"
    ]


def test_other_options_are_refused_and_overwrite_replaces(generated: Path, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    generate(folder)
    with pytest.raises(DesedTaskError, match=r"made by other options \(seed was 1234, now 5\).*--overwrite"):
        generate(folder, "--set=seed=5")
    assert files_of(folder) == files_of(generated)
    generate(folder, "--set=seed=5", "--overwrite")
    changed = files_of(folder)
    assert changed.keys() == files_of(generated).keys()
    assert changed["train/soundscapes.tsv"] != files_of(generated)["train/soundscapes.tsv"]


def test_an_interrupted_folder_is_completed(generated: Path, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    generate(folder)
    (folder / "train" / "soundscapes.tsv").unlink()
    (folder / "train" / "audio" / "train_00005.wav").unlink()
    (folder / "test" / "audio" / "test_00000.wav").unlink()
    generate(folder)
    assert files_of(folder) == files_of(generated)


def test_a_folder_of_somebody_else_is_refused_even_with_overwrite(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DesedTaskError, match=r"is not empty and has no soundscapes.yaml"):
        generate(tmp_path, "--overwrite")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_bad_input_leaves_nothing_behind(project: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with pytest.raises(OptionsError, match=r"demo.yaml: scene.snr: unknown key|--set: scene.snr: unknown key"):
        generate(folder, "--set=scene.snr=[1, 2]")
    with pytest.raises(CorpusError, match=r"no class 'Bird'"):
        generate(folder, "--set=scene.labels=[Bird]")
    esc10 = ["--conf_file", str(project / "confs" / "soundscapes" / "esc10.yaml"), "--output_dir", str(folder)]
    with pytest.raises(OptionsError, match=r"soundbank.root is not given.*--set soundbank.root=FOLDER"):
        main(esc10)
    with pytest.raises(CorpusError, match=r"nowhere: no such folder"):
        main([*esc10, "--set", f"soundbank.root={tmp_path / 'nowhere'}"])
    assert not folder.exists()


def test_esc10_parts_share_no_recording_across_splits(shared_data: Path, project: Path, tmp_path: Path) -> None:
    parts = ("train", "weak", "unlabeled", "validation", "test")
    counts = [f"--set=parts.{part}.num_scenes=4" for part in parts]
    conf = project / "confs" / "soundscapes" / "esc10.yaml"
    root = f"--set=soundbank.root={shared_data / 'esc10'}"
    main(["--conf_file", str(conf), "--output_dir", str(tmp_path / "esc10"), "--num_jobs", "1", root, *counts])
    sources = {part: sources_of(tmp_path / "esc10" / part) for part in parts}
    training = sources["train"] | sources["weak"] | sources["unlabeled"]
    assert not training & sources["test"]
    assert not training & sources["validation"]
    assert not sources["validation"] & sources["test"]


def test_the_command_exits_2_with_one_sentence(project: Path, tmp_path: Path) -> None:
    recipe = str(project / "recipes" / "generate_soundscapes.py")
    command = [sys.executable, recipe, "--output-dir", str(tmp_path / "x"), "--conf-file", "gone.yaml"]
    failed = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert failed.returncode == 2
    assert failed.stderr == "error: gone.yaml: no such conf\n"
