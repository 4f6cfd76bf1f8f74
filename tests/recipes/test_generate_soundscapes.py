"""The recipe as a user runs it: parts, tables, resuming, refusing."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from desed_task.errors import CorpusError, DesedTaskError, OptionsError
from desed_task.formats.dcase import read_durations, read_strong
from desed_task.formats.jams import read_jams
from recipes.generate_soundscapes import main

SMALL = (
    "--set=parts.train.num_scenes=6",
    "--set=parts.weak.num_scenes=2",
    "--set=parts.unlabeled.num_scenes=2",
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


def few_scenes(conf: Path, folder: Path, *more: str) -> dict[str, set[str]]:
    """Part -> its sources, of four scenes of each part."""
    parts = ("train", "weak", "unlabeled", "validation", "test")
    counts = [f"--set=parts.{part}.num_scenes=4" for part in parts]
    main(["--conf_file", str(conf), "--output_dir", str(folder), "--num_jobs", "1", *counts, *more])
    return {part: sources_of(folder / part) for part in parts}


def test_esc10_parts_share_no_recording_across_splits(shared_data: Path, project: Path, tmp_path: Path) -> None:
    root = f"--set=soundbank.root={shared_data / 'esc10'}"
    sources = few_scenes(project / "confs" / "soundscapes" / "esc10.yaml", tmp_path / "esc10", root)
    training = sources["train"] | sources["weak"] | sources["unlabeled"]
    assert not training & sources["test"]
    assert not training & sources["validation"]
    assert not sources["validation"] & sources["test"]


@pytest.mark.parametrize("name", ["desed_like", "esc10_semi"])
def test_with_few_labels_the_unlabeled_clips_have_sources_of_their_own(
    request: pytest.FixtureRequest, project: Path, tmp_path: Path, name: str
) -> None:
    root = [] if name == "desed_like" else [f"--set=soundbank.root={request.getfixturevalue('shared_data') / 'esc10'}"]
    sources = few_scenes(project / "confs" / "soundscapes" / f"{name}.yaml", tmp_path / name, *root)
    groups = [sources["train"] | sources["weak"], sources["unlabeled"], sources["validation"], sources["test"]]
    assert len(set().union(*groups)) == sum(map(len, groups))


def test_the_command_exits_2_with_one_sentence(project: Path, tmp_path: Path) -> None:
    recipe = str(project / "recipes" / "generate_soundscapes.py")
    command = [sys.executable, recipe, "--output-dir", str(tmp_path / "x"), "--conf-file", "gone.yaml"]
    failed = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert failed.returncode == 2
    assert failed.stderr == "error: gone.yaml: no such conf\n"


def test_jams_are_written_beside_the_audio_and_have_its_events(generated: Path, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    generate(folder)
    assert not (folder / "train" / "jams").exists()
    # A complete folder gets what it lacks; audio and tables stay as they are.
    generate(folder, "--jams")
    without = {name: content for name, content in files_of(folder).items() if not name.endswith(".jams")}
    assert without == files_of(generated)
    table = read_strong(folder / "train" / "soundscapes.tsv")
    for filename in table.filenames:
        scene = read_jams(folder / "train" / "jams" / f"{Path(filename).stem}.jams")
        found = [(round(e.onset, 6), round(e.offset, 6), e.event_label) for e in scene.events()]
        assert found == [(e.onset, e.offset, e.event_label) for e in table.of(filename)]


def test_scenes_of_scaper_are_rendered_from_their_jams(
    shared_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    example = shared_data / "scaper_example"
    command = ["--from_jams", str(example), "--soundbank", str(example), "--num_jobs"]
    for jobs in (1, 2):
        main([*command, str(jobs), "--output_dir", str(tmp_path / f"jobs{jobs}")])
    assert files_of(tmp_path / "jobs1") == files_of(tmp_path / "jobs2")
    table = read_strong(tmp_path / "jobs1" / "soundscapes.tsv")
    for number in range(3):
        rows = [line.split("\t") for line in (example / f"scene_{number}.txt").read_text().splitlines()]
        found = [(round(e.onset, 6), round(e.offset, 6), e.event_label) for e in table.of(f"scene_{number}.wav")]
        assert found == [(round(float(onset), 6), round(float(offset), 6), label) for onset, offset, label in rows]
    assert read_durations(tmp_path / "jobs1" / "durations.tsv") == {f"scene_{n}.wav": 10.0 for n in range(3)}
    assert sources_of(tmp_path / "jobs1") >= {"pink.flac", "1-26806-A.flac"}
    (tmp_path / "jobs2" / "soundscapes.tsv").unlink()
    (tmp_path / "jobs2" / "audio" / "scene_1.wav").unlink()
    main([*command, "1", "--output_dir", str(tmp_path / "jobs2")])
    assert files_of(tmp_path / "jobs1") == files_of(tmp_path / "jobs2")
    with caplog.at_level("INFO"):
        main([*command, "1", "--output_dir", str(tmp_path / "jobs1")])
    assert "complete, rendered from the same files; nothing to do" in caplog.text
    with pytest.raises(DesedTaskError, match=r"was rendered from other files \(jams was .*--overwrite"):
        one = ["--from_jams", str(example / "scene_0.jams"), "--soundbank", str(example)]
        main([*one, "--output_dir", str(tmp_path / "jobs1")])
    main([*one, "--output_dir", str(tmp_path / "jobs1"), "--overwrite", "--num_jobs", "1"])
    assert [path.name for path in (tmp_path / "jobs1" / "audio").iterdir()] == ["scene_0.wav"]


def test_bad_jams_leave_nothing_behind(shared_data: Path, tmp_path: Path) -> None:
    example, out = shared_data / "scaper_example", tmp_path / "out"
    output = ["--output_dir", str(out)]
    with pytest.raises(CorpusError, match=r"scene_0.jams: soundbank/background/noise/pink.flac \(noise\) is not in"):
        main(["--from_jams", str(example), "--soundbank", str(tmp_path), *output])
    with pytest.raises(CorpusError, match=r"holds no .jams file"):
        main(["--from_jams", str(tmp_path), "--soundbank", str(example), *output])
    with pytest.raises(OptionsError, match=r"--from_jams needs --soundbank"):
        main(["--from_jams", str(example), *output])
    with pytest.raises(OptionsError, match=r"--soundbank belongs to --from_jams"):
        main(["--soundbank", str(example), *output])
    with pytest.raises(OptionsError, match=r"--from_jams reads no conf and writes no JAMS"):
        main(["--from_jams", str(example), "--soundbank", str(example), "--set", "seed=1", *output])
    assert not out.exists()
    (out / "thesis").mkdir(parents=True)
    with pytest.raises(DesedTaskError, match=r"is not empty and has no from_jams.yaml"):
        main(["--from_jams", str(example), "--soundbank", str(example), "--overwrite", *output])
    assert [path.name for path in out.iterdir()] == ["thesis"]


def test_a_folder_made_before_an_option_existed_still_counts_as_made_by_the_same(
    generated: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "demo"
    generate(folder)
    stored = yaml.safe_load((folder / "soundscapes.yaml").read_text())
    for key in ("room", "co_occurrence", "classes_per_scene", "distinct_sources"):
        del stored["scene"][key]
    del stored["scene"]["variation"]["time_stretch"]
    (folder / "soundscapes.yaml").write_text(yaml.safe_dump(stored))
    with caplog.at_level("INFO"):
        generate(folder)
    assert "complete, made by the same options; nothing to do" in caplog.text


def test_flac_and_lists_beside_the_audio_for_any_conf(generated: Path, tmp_path: Path) -> None:
    folder = tmp_path / "flac"
    generate(folder, "--format", "flac", "--txt")
    table = read_strong(folder / "test" / "soundscapes.tsv")
    assert list(table.filenames) == [f"test_{index:05d}.flac" for index in range(3)]
    for filename in table.filenames:
        path = folder / "test" / "audio" / filename
        samples, rate = soundfile.read(path, dtype="int16")
        wav, _ = soundfile.read(generated / "test" / "audio" / f"{path.stem}.wav", dtype="int16")
        # libsndfile rounds to 16 bits in its own way for each container.
        assert rate == 16_000
        assert np.abs(samples.astype(int) - wav).max() <= 1
        lines = [line.split("\t") for line in path.with_suffix(".txt").read_text().splitlines()]
        assert [label for *_, label in lines] == [event.event_label for event in table.of(filename)]


@pytest.mark.slow
def test_a_killed_generation_is_completed_to_the_same(project: Path, tmp_path: Path) -> None:
    recipe = str(project / "recipes" / "generate_soundscapes.py")
    command = [sys.executable, recipe, "--num_jobs", "2", *SMALL, "--set=parts.train.num_scenes=60", "--format=flac"]
    environment = {**os.environ, "PYTHONPATH": str(project)}
    subprocess.run(
        [*command, "--output_dir", str(tmp_path / "whole")], check=True, env=environment, capture_output=True
    )
    cut = tmp_path / "cut"
    for num_files in (3, 20, 50):
        process = subprocess.Popen(
            [*command, "--output_dir", str(cut)], env=environment, stderr=subprocess.DEVNULL, start_new_session=True
        )
        while process.poll() is None and len(list((cut / "train" / "audio").glob("*.flac"))) < num_files:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert not (cut / "train" / "soundscapes.tsv").exists()
    subprocess.run([*command, "--output_dir", str(cut)], check=True, env=environment, capture_output=True)
    assert files_of(cut) == files_of(tmp_path / "whole")
