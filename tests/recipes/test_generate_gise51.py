"""The published generation of GISE-51-Mixtures, on recordings of ESC-10 in the folders of its release."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from gise51_bank import LABELS, link_release

from desed_task.audio.reading import read_waveform
from desed_task.errors import DesedTaskError
from desed_task.formats.dcase import read_durations, read_strong
from desed_task.formats.jams import read_jams
from desed_task.soundscapes.loudness import integrated_loudness
from desed_task.soundscapes.scaper import measured_level, render_background, render_event, render_scaper_scene
from recipes.generate_soundscapes import main
from recipes.strip_silence import main as strip

PARTS = "--set=parts={train: {num_scenes: 8}, val: {num_scenes: 2}, eval: {num_scenes: 2}}"
FEW = (PARTS, f"--set=scene.labels=[{', '.join(LABELS)}]", "--set=files.scenes_per_block=5", "--num_jobs=1")


def power_db(waveform: np.ndarray) -> float:
    return 10 * math.log10(float(np.mean(waveform.astype(float) ** 2)) + 1e-30)


@pytest.fixture(scope="module")
def release(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stripped_release(shared_data / "esc10", tmp_path_factory.mktemp("release"))


def stripped_release(esc10: Path, root: Path) -> Path:
    """The release as it is published: without silence, of which whole excerpts could consist."""
    unstripped = link_release(esc10, root / "unstripped")
    for split in ("train", "val", "eval"):
        source, target = unstripped / "isolated_events" / split, root / "isolated_events" / split
        strip(["--src_dir", str(source), "--tgt_dir", str(target), "--num_jobs", "1"])
    (root / "noises").symlink_to(unstripped / "noises")
    return root


def generate(project: Path, release: Path, output_dir: Path, *more: str) -> Path:
    conf = str(project / "confs" / "soundscapes" / "gise51.yaml")
    root = f"--set=soundbank.root={release}"
    main(["--conf_file", conf, "--output_dir", str(output_dir), *FEW, root, *more])
    return output_dir


@pytest.fixture(scope="module")
def generated(project: Path, release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Without the stretch, so that what is rendered from the JAMS can be compared to the sample.
    plain = ("--set=scene.variation.time_stretch=[1, 1]", "--set=files.beside=[txt, jams]")
    return generate(project, release, tmp_path_factory.mktemp("generated") / "mixtures", *plain)


def test_names_containers_and_lists_are_the_published_ones(generated: Path) -> None:
    names = [
        f"soundscape_unimodal{within}_proc_{block}"
        for block, count in (("00", 5), ("01", 3))
        for within in range(count)
    ]
    audio = generated / "train" / "audio"
    assert {path.name for path in audio.iterdir()} == {
        f"{n}.{suffix}" for n in names for suffix in ("flac", "txt", "jams")
    }
    info = soundfile.info(audio / f"{names[0]}.flac")
    assert (info.samplerate, info.frames, info.format, info.subtype) == (22_050, 110_250, "FLAC", "PCM_16")
    assert json.loads((generated / "lbl_map.json").read_text()) == {label: n for n, label in enumerate(LABELS)}
    assert read_durations(generated / "train" / "durations.tsv") == dict.fromkeys([f"{n}.flac" for n in names], 5.0)
    table = read_strong(generated / "train" / "soundscapes.tsv")
    for name in names:
        lines = [line.split("\t") for line in (audio / f"{name}.txt").read_text().splitlines()]
        found = [(round(float(onset), 6), round(float(offset), 6), label) for onset, offset, label in lines]
        assert 1 <= len(found) <= 3
        assert found == [(e.onset, e.offset, e.event_label) for e in table.of(f"{name}.flac")]


def test_splits_share_no_source(generated: Path) -> None:
    sources = []
    for part in ("train", "val", "eval"):
        with (generated / part / "sources.tsv").open(newline="") as stream:
            sources.append({row["source"] for row in csv.DictReader(stream, delimiter="\t")})
    assert len(set().union(*sources)) == sum(map(len, sources))


def test_levels_are_loudness_over_the_background(generated: Path, release: Path) -> None:
    for path in sorted((generated / "train" / "audio").glob("*.jams")):
        scene = read_jams(path)
        assert (scene.level_measure, scene.ref_db, scene.sample_rate) == ("lufs", -60.0, 22_050)
        background, *events = scene.placed
        assert integrated_loudness(render_background(background, scene, release), 22_050) == pytest.approx(
            -60, abs=0.01
        )
        for placed in events:
            assert 10 <= placed.snr_db <= 60
            unfaded = replace(scene, fade_in_seconds=0.0, fade_out_seconds=0.0)
            level = measured_level(render_event(placed, unfaded, release), 22_050, "lufs")
            assert level == pytest.approx(-60 + placed.snr_db, abs=0.01)


def test_what_the_jams_say_renders_to_the_mixtures(generated: Path, release: Path) -> None:
    for path in sorted((generated / "train" / "audio").glob("*.jams")):
        again = render_scaper_scene(read_jams(path), release)
        shipped = read_waveform(path.with_suffix(".flac"), 22_050)
        # Excerpts are cut before they are resampled, as Scaper does it, and not after, which their ends tell.
        assert power_db(again - shipped) < max(-99.0, power_db(shipped) - 50)
        assert np.abs(shipped).max() <= 1.0


def test_mixtures_are_regenerated_from_their_jams_by_any_number_of_processes(
    generated: Path, release: Path, tmp_path: Path
) -> None:
    audio = generated / "train" / "audio"
    folders = [str(release / "isolated_events" / "train"), str(release / "noises")]
    command = ["--from_jams", str(audio), "--soundbank", *folders, "--format", "flac", "--txt"]
    for jobs in ("1", "2"):
        main([*command, "--num_jobs", jobs, "--output_dir", str(tmp_path / jobs)])
    rendered = {path.name: path.read_bytes() for path in sorted((tmp_path / "1" / "audio").iterdir())}
    assert rendered == {path.name: path.read_bytes() for path in sorted((tmp_path / "2" / "audio").iterdir())}
    assert len(rendered) == 2 * 8
    for name, content in rendered.items():
        if name.endswith(".txt"):
            # The ends may be another sum of the same numbers.
            for ours, theirs in zip(
                content.decode().splitlines(), (audio / name).read_text().splitlines(), strict=True
            ):
                ours_split, theirs_split = ours.split("\t"), theirs.split("\t")
                assert ours_split[2] == theirs_split[2]
                assert list(map(float, ours_split[:2])) == pytest.approx(list(map(float, theirs_split[:2])), abs=1e-9)
        else:
            assert soundfile.info(tmp_path / "1" / "audio" / name).samplerate == 22_050
            difference = read_waveform(tmp_path / "1" / "audio" / name, 22_050) - read_waveform(audio / name, 22_050)
            assert power_db(difference) < max(-96.0, power_db(read_waveform(audio / name, 22_050)) - 50)


def test_a_missing_txt_is_written_again_and_another_container_refused(
    generated: Path, project: Path, release: Path, tmp_path: Path
) -> None:
    one = "--set=parts={val: {num_scenes: 2}}"
    folder = generate(project, release, tmp_path / "out", one)
    audio = folder / "val" / "audio"
    before = {path.name: path.read_bytes() for path in audio.iterdir()}
    (audio / "soundscape_unimodal1_proc_00.txt").unlink()
    (audio / "soundscape_unimodal0_proc_00.flac").unlink()
    generate(project, release, folder, one)
    assert {path.name: path.read_bytes() for path in audio.iterdir()} == before
    with pytest.raises(DesedTaskError, match=r"made by other options \(files.format was \"flac\", now \"wav\"\)"):
        generate(project, release, folder, one, "--format", "wav")
    with pytest.raises(DesedTaskError, match=r"made by other options \(sample_rate was 22050, now 16000\)"):
        generate(project, release, folder, one, "--set=sample_rate=16000")


def test_classes_are_drawn_evenly_however_many_recordings_they_have(
    project: Path, release: Path, tmp_path: Path, shared_data: Path
) -> None:
    # Dogs have one recording, roosters four: with the published weights, max_count / count, both are drawn as often.
    bank = stripped_release(shared_data / "esc10", tmp_path / "bank")
    for recording in sorted((bank / "isolated_events" / "train" / "dog_bark").iterdir())[1:]:
        recording.unlink()
    quick = ("--set=sample_rate=8000", "--set=scene.duration_seconds=1.5", "--set=scene.max_event_seconds=[1.5, 1.5]")
    many = "--set=parts={train: {num_scenes: 150}}"
    labels = "--set=scene.labels=[dog_bark, rooster]"
    folder = generate(
        project, bank, tmp_path / "out", many, labels, *quick, "--set=scene.variation.time_stretch=[1, 1]"
    )
    counts = Counter(read_strong(folder / "train" / "soundscapes.tsv").event_label)
    assert 100 < counts["dog_bark"] < 200
    assert 100 < counts["rooster"] < 200


def test_unimodal_variants_have_at_most_so_many_events(project: Path, release: Path, tmp_path: Path) -> None:
    one = ("--set=parts={val: {num_scenes: 6}}", "--set=scene.num_events=[1, 1]")
    folder = generate(project, release, tmp_path / "out", *one)
    assert all(len(path.read_text().splitlines()) == 1 for path in (folder / "val" / "audio").glob("*.txt"))
