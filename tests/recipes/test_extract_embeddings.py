"""recipes/extract_embeddings.py: what it writes, what it leaves alone, what it refuses, and trainings that read it."""

from __future__ import annotations

import multiprocessing
import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import soundfile
import torch
from same_training import assert_same_training
from training_process import Brakes, training
from training_scenes import write_training

from desed_task.audio.reading import write_waveform
from desed_task.embedders.build import BuiltEmbedder
from desed_task.embedders.options import NetworkOptions
from desed_task.embeddings import parts
from desed_task.errors import CorpusError, DesedTaskError, OptionsError
from desed_task.formats.dcase import read_durations, write_durations
from desed_task.runs.extraction_embedders import Extraction
from recipes import train_sed
from recipes.extract_embeddings import main

EMBEDDER = "{name: network, features: {name: panns, sample_rate: 16000}, model: {name: cnn14, width: 0.05}, "
FUSED = (
    "base: conf.yaml\nembedders: {e: " + EMBEDDER + 'num_classes: 5, weights: "${here}/w.pt"}}\n'
    "model: {fusion: {ways: {e: aligned}}}\n"
)
# Of 2 s: 25 embedding frames of 80 ms; the third block of a Cnn14 of width .05 has 13 channels x 8 bands.
FRAMES, DIM, GLOBAL_DIM = 25, 104, 102
CLIPS = {"scenes_train": 8, "scenes_weak": 4, "scenes_unlabeled": 4, "scenes_validation": 3, "scenes_test": 4}


def network_options(folder: Path) -> NetworkOptions:
    return NetworkOptions.model_validate(
        {
            "name": "network",
            "features": {"name": "panns", "sample_rate": 16_000},
            "model": {"name": "cnn14", "width": 0.05},
            "num_classes": 5,
            "weights": folder / "w.pt",
        }
    )


def write_weights(folder: Path, seed: int) -> None:
    torch.manual_seed(seed)
    network = BuiltEmbedder(network_options(folder), 16_000, 2.0).network().network
    torch.save({"model": network.state_dict()}, folder / "w.pt")


def write_data(folder: Path) -> Path:
    """Scenes of 2 s, an embedder's weights, and a conf that listens to it; the conf."""
    write_training(folder)
    write_weights(folder, 1)
    (folder / "fused.yaml").write_text(FUSED, encoding="utf-8")
    return folder / "fused.yaml"


def run(conf: Path, output_dir: Path, *more: str) -> None:
    main(["--conf_file", str(conf), "--output_dir", str(output_dir), "--device", "cpu", *more])


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nobody changes what lies around it."""
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def store(conf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the embedder, extracted in one go."""
    folder = tmp_path_factory.mktemp("embeddings")
    run(conf, folder)
    return folder / "e"


def contents_of(path: Path) -> dict[str, Any]:
    with h5py.File(path, "r") as file:
        return {name: file[name][:].tolist() for name in file} | {name: str(file.attrs[name]) for name in file.attrs}


def heard(conf: Path, part: str, number: int, output: str) -> np.ndarray:
    """What the embedder says of a scene, by itself."""
    options = network_options(conf.parent).model_copy(update={"output": output})
    path = conf.parent / "scenes" / part / "audio" / f"{part}_{number}.wav"
    waveform = torch.from_numpy(soundfile.read(path, dtype="float32")[0])
    with torch.no_grad():
        values: np.ndarray = BuiltEmbedder(options, 16_000, 2.0).embedder()(waveform[None]).values[0].numpy()
    return values


def test_every_set_of_the_conf_is_extracted_once(conf: Path, store: Path) -> None:
    assert {path.stem for path in store.glob("*.hdf5")} == set(CLIPS)
    for name, count in CLIPS.items():
        with h5py.File(store / f"{name}.hdf5") as file:
            assert file["embeddings"].shape == (count, FRAMES, DIM) and file["embeddings"].dtype == np.float16
    with h5py.File(store / "scenes_weak.hdf5") as file:
        rows = {name.decode(): row for row, name in enumerate(file["audio_ids"])}
        for number in range(4):
            expected = heard(conf, "weak", number, "frame")
            assert np.allclose(file["embeddings"][rows[f"weak_{number}"]], expected, rtol=1e-3, atol=1e-4)
    assert (store / "extraction_codecarbon" / "extraction_tot_kwh.txt").is_file()
    left = {path.name for path in store.iterdir()} - {f"{name}.hdf5" for name in CLIPS}
    assert left == {"extraction_codecarbon"}


def test_what_is_there_is_left_alone(conf: Path, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in store.iterdir()}
    run(conf, store.parent)
    assert {path: path.stat().st_mtime_ns for path in store.iterdir()} == before
    said = capsys.readouterr().out
    assert f"scenes_test.hdf5: 4 clips of {FRAMES} x {DIM}, layout compact" in said
    assert f"--set embedders.e.mode=stored --set embedders.e.store={store}" in said


def test_of_what_is_said_of_whole_clips_no_frames_are_counted(
    conf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    of_clips = ("embedders.e.output=global", "model.fusion.ways.e=global")
    run(conf, tmp_path, "--sets", "scenes_test", *(word for key in of_clips for word in ("--set", key)))
    said = capsys.readouterr().out
    assert f"scenes_test.hdf5: 4 clips of 1 x {GLOBAL_DIM}, layout compact" in said and "times as much" not in said


def test_without_memory_it_says_what_to_lower_and_keeps_what_is_extracted(
    conf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "PART_CLIPS", 2)
    hear, heard_before = Extraction.hear, []

    def hear_once(extraction: Extraction, waveforms: np.ndarray) -> Any:
        if heard_before:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        heard_before.append(len(waveforms))
        return hear(extraction, waveforms)

    argv = ["--sets", "scenes_test", "--batch_size", "2"]
    with monkeypatch.context() as patched, pytest.raises(OptionsError, match=r"--batch_size 2: no memory .*lower it"):
        patched.setattr(Extraction, "hear", hear_once)
        run(conf, tmp_path, *argv)
    assert [path.name for path in (tmp_path / "e" / "scenes_test.hdf5.parts").glob("*.npz")] == ["00000.npz"]
    run(conf, tmp_path, *argv)
    assert (tmp_path / "e" / "scenes_test.hdf5").is_file()


@pytest.mark.parametrize("layout", ["2022", "2023"])
def test_published_layouts_hold_both_embeddings(conf: Path, tmp_path: Path, layout: str) -> None:
    run(conf, tmp_path, "--layout", layout, "--sets", "scenes_test", "--batch-size", "3", "--use_gpu", "0")
    assert [path.name for path in (tmp_path / "e").glob("*.hdf5")] == ["scenes_test.hdf5"]
    with h5py.File(tmp_path / "e" / "scenes_test.hdf5") as file:
        frames, whole = file["frame_embeddings"], file["global_embeddings"]
        if layout == "2022":
            row = frames.attrs["test_1"]
            of_frames, of_clip = np.stack(frames[row]), whole[whole.attrs["test_1"]]
        else:
            row = file["filenames"][:].tolist().index(b"test_1")
            of_frames, of_clip = frames[row], whole[row]
    assert np.allclose(of_frames, heard(conf, "test", 1, "frame").T, atol=1e-5)
    assert np.allclose(of_clip, heard(conf, "test", 1, "global")[0], atol=1e-5)


def test_more_frames_than_the_detectors_are_pooled_to_its_own(conf: Path, tmp_path: Path) -> None:
    # A detector of frames of 256 ms has 7 in 2 s: frame j's middle is 16 j + 7.5 mel frames of 16 ms after 0, and it
    # takes the mean over 3 places in it, of what runs linearly between the middles of embedding frames of 80 ms.
    slow = ["--set", "model.pooling=[[4,4],[4,4]]"]
    run(conf, tmp_path, *slow)
    with h5py.File(tmp_path / "e" / "scenes_weak.hdf5") as file:
        assert file["embeddings"].shape == (4, 7, DIM)
        assert float(file.attrs["step_seconds"]) == pytest.approx(0.256)
        assert float(file.attrs["first_seconds"]) == pytest.approx(7.5 * 0.016)
        found = file["embeddings"][1]
    own = heard(conf, "weak", 1, "frame")
    middles = 0.035 + 0.08 * np.arange(FRAMES)
    places = 0.016 * (16 * np.arange(7)[:, None] + np.array([16 / 6, 8, 80 / 6]) - 0.5)
    expected = np.stack([np.interp(places, middles, own[:, value]).mean(axis=1) for value in range(DIM)], axis=1)
    assert np.allclose(found, expected, rtol=1e-3, atol=1e-4)
    stored = train(conf, tmp_path / "exp", *slow, "--set", "training.n_epochs=1", *stored_in(tmp_path / "e"))
    assert np.isfinite(scores_of(stored)).all()


def test_a_conf_without_embedders_takes_a_published_one(conf: Path, tmp_path: Path) -> None:
    plain = ["--conf_file", str(conf.parent / "conf.yaml"), "--output_dir", str(tmp_path), "--device", "cpu"]
    with pytest.raises(OptionsError, match="take one of panns, ast with --weights FILE"):
        main(plain)
    with pytest.raises(DesedTaskError, match=r"w\.pt: the weights do not fit"):
        main([*plain, "--pretrained_model", "panns", "--weights", str(conf.parent / "w.pt")])


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--pretrained_model", "ast"], "--pretrained_model ast: name one of the conf's embedders: e"),
        (["--sets", "devtest"], "--sets devtest: the conf has no such set; it has scenes_train, scenes_weak"),
        (["--eval_set"], "data.eval: not set"),
        (["--use_gpu", "1"], "--use_gpu 1 contradicts --device cpu"),
        (["--weights", "w.pt"], "--weights is for a conf without embedders"),
    ],
)
def test_flags_that_ask_for_what_is_not_there_are_refused(
    conf: Path, tmp_path: Path, flags: list[str], words: str
) -> None:
    with pytest.raises(OptionsError, match=words):
        run(conf, tmp_path, *flags)


def test_another_embedder_and_changed_recordings_are_refused_and_replaced(tmp_path: Path) -> None:
    conf, few = write_data(tmp_path), ["--sets", "scenes_test"]
    path = tmp_path / "emb" / "e" / "scenes_test.hdf5"
    run(conf, tmp_path / "emb", *few)
    first = contents_of(path)
    write_weights(tmp_path, 2)
    with pytest.raises(CorpusError, match=r"made by another embedder, weights .*; replace it with --overwrite"):
        run(conf, tmp_path / "emb", *few)
    assert contents_of(path) == first
    run(conf, tmp_path / "emb", *few, "--overwrite")
    second = contents_of(path)
    assert second["weights_sha256"] != first["weights_sha256"] and second["embeddings"] != first["embeddings"]
    recording = tmp_path / "scenes" / "test" / "audio" / "test_2.wav"
    write_waveform(recording, np.zeros(32_000, np.float32), 16_000)
    with pytest.raises(CorpusError, match=r"1 recordings changed, such as .*test_2\.wav"):
        run(conf, tmp_path / "emb", *few)
    run(conf, tmp_path / "emb", *few, "--overwrite")
    third = contents_of(path)
    assert [one == other for one, other in zip(second["embeddings"], third["embeddings"], strict=True)].count(
        False
    ) == 1
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(CorpusError, match="not readable as stored embeddings"):
        run(conf, tmp_path / "emb", *few)
    run(conf, tmp_path / "emb", *few, "--overwrite")
    assert contents_of(path) == third


def test_recordings_longer_than_a_window_are_refused_before_anything_is_heard(tmp_path: Path) -> None:
    conf = write_data(tmp_path)
    folder = tmp_path / "scenes" / "test"
    write_waveform(folder / "audio" / "test_3.wav", np.zeros(34_000, np.float32), 16_000)
    durations = read_durations(folder / "durations.tsv")
    write_durations({**durations, "test_3.wav": 2.125}, folder / "durations.tsv")
    with pytest.raises(CorpusError, match=r"1 of 4 .* longer than the 2\.0\d s .*test_3\.wav .*mode frozen"):
        run(conf, tmp_path / "emb")
    assert not (tmp_path / "emb").exists()


def stored_in(store: Path) -> list[str]:
    return ["--set", "embedders.e.mode=stored", "--set", f"embedders.e.store={store}"]


def train(conf: Path, log_dir: Path, *more: str) -> Path:
    arguments = ["--conf_file", str(conf), "--log_dir", str(log_dir), "--device", "cpu", *more]
    assert train_sed.main(arguments) == 0
    return log_dir / "version_0"


def scores_of(run_folder: Path) -> np.ndarray:
    paths = sorted((run_folder / "metrics_test").glob("*/scores/raw/*.tsv"))
    assert len(paths) == 8
    return np.concatenate([np.loadtxt(path, skiprows=1) for path in paths])


def test_a_training_that_reads_its_embeddings_is_that_which_hears_them(conf: Path, store: Path, tmp_path: Path) -> None:
    once = ["--set", "training.n_epochs=1"]
    frozen = train(conf, tmp_path / "frozen", *once)
    (tmp_path / "elsewhere").mkdir()
    stored = train(conf, tmp_path / "stored", *once, *stored_in(store))
    assert np.abs(scores_of(frozen) - scores_of(stored)).max() < 1e-4
    weights = [torch.load(path / "last.ckpt", weights_only=True)["sed_student"] for path in (frozen, stored)]
    assert weights[0].keys() == weights[1].keys()  # no embedder is in either


def test_a_training_whose_embeddings_lack_ends_before_it_begins(conf: Path, store: Path, tmp_path: Path) -> None:
    for path in store.glob("*.hdf5"):
        if path.stem != "scenes_test":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(CorpusError, match=r"scenes_test\.hdf5: no embeddings of scenes_test"):
        train(conf, tmp_path / "exp", *stored_in(tmp_path), "--set", f"data.store={tmp_path / 'waveforms'}")
    assert not (tmp_path / "exp").exists() and not (tmp_path / "waveforms").exists()


@pytest.mark.slow
def test_a_killed_training_from_a_store_ends_as_if_it_never_was(conf: Path, store: Path, tmp_path: Path) -> None:
    often = [*stored_in(store), "--set", "training.checkpoint_minutes=0.001"]
    whole = train(conf, tmp_path / "whole", *often)
    start = ["--conf_file", str(conf), "--device", "cpu", "--log_dir", str(tmp_path / "exp"), *often]
    with training(start, tmp_path / "log", Brakes(step=0.03)) as running:
        running.wait_for("step", random.SystemRandom().choice((3, 5, 6)))
        running.process.kill()
        assert running.end() == -signal.SIGKILL
    time.sleep(1.0)  # event files are read in the order of their seconds
    killed = tmp_path / "exp" / "version_0"
    assert train_sed.main(["--resume_from_checkpoint", str(killed), "--log_dir", str(tmp_path / "exp")]) == 0
    assert_same_training(whole, killed)
    assert np.array_equal(scores_of(whole), scores_of(killed))


def extract_slowly(argv: Sequence[str]) -> None:
    """In a process of its own: parts of two clips, each of which takes longer."""
    parts.PART_CLIPS = 2
    write = parts.Parts.write

    def slow(*arguments: Any) -> None:
        time.sleep(0.05)
        write(*arguments)

    parts.Parts.write = slow  # type: ignore[method-assign]
    torch.set_num_threads(1)
    main(argv)


def started(argv: Sequence[str]) -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["recipes.extract_embeddings"])
    process = context.Process(target=extract_slowly, args=(argv,))
    process.start()
    return process


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_and_ends_as_if_it_never_was(conf: Path, tmp_path: Path) -> None:
    argv = ["--conf_file", str(conf), "--device", "cpu", "--output_dir"]
    whole = started([*argv, str(tmp_path / "whole")])
    argv.append(str(tmp_path))
    moments, folder = [], tmp_path / "e"
    for _ in range(4):
        before = len(list(folder.glob("**/*.npz"))) + 4 * len(list(folder.glob("*.hdf5")))
        process = started(argv)
        end = time.monotonic() + 60
        while len(list(folder.glob("**/*.npz"))) + 4 * len(list(folder.glob("*.hdf5"))) <= before:
            assert process.is_alive() or process.exitcode == 0
            if process.exitcode == 0 or time.monotonic() > end:
                break
            time.sleep(0.002)
        moments.append(random.SystemRandom().uniform(0, 0.12))
        time.sleep(moments[-1])
        process.kill()
        process.join()
    print(f"killed {moments} s after something was written")
    first, second = started(argv), started(argv)
    for process in (whole, first, second):
        process.join(120)
        assert process.exitcode == 0
    for name in CLIPS:
        assert contents_of(folder / f"{name}.hdf5") == contents_of(tmp_path / "whole" / "e" / f"{name}.hdf5")
    assert {path.name for path in folder.iterdir()} == {f"{name}.hdf5" for name in CLIPS} | {"extraction_codecarbon"}
