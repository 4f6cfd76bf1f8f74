"""Online scenes as a source of batches: what is drawn when, what is known of it, and that it can be rendered again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_soundbank import SCENES, scenes_tree, write_soundbank

from desed_task.audio.reading import read_waveform, write_waveform
from desed_task.data.dataset import BatchDataset
from desed_task.data.online_options import OnlineOptions, check_online
from desed_task.data.online_scenes import OnlineScenes
from desed_task.data.source import Moment, Share
from desed_task.encoding import encode_strong
from desed_task.errors import DesedTaskError, OptionsError
from desed_task.labels import LabelSet
from desed_task.options import check_options
from desed_task.soundscapes.render import render_scene
from desed_task.timeline import FrameGrid

LABELS = LabelSet(["silence", "hiss", "hum"])
GRID = FrameGrid(16_000, 256, 4)
NUM_SAMPLES, NUM_FRAMES = 32_000, GRID.num_frames(32_000)
CROPS = np.random.default_rng(0)
MOMENT = Moment(seed=1, epoch=2, step=3, source=0)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_soundbank(tmp_path_factory.mktemp("soundbank"))


def source(root: Path, kind: str = "plain", supervision: Any = "strong", **keys: Any) -> OnlineScenes:
    tree = {"name": "online", "soundscapes": scenes_tree(root, SCENES[kind]), **keys}
    return OnlineScenes(check_options(tree, OnlineOptions), supervision, 4, LABELS, GRID)


def dataset(root: Path, share: Share = Share(), **keys: Any) -> BatchDataset:  # noqa: B008
    sources = [source(root, "some rooms", **keys)]
    return BatchDataset(sources, NUM_SAMPLES, NUM_FRAMES, len(LABELS.names), 1, share)


@pytest.mark.parametrize("kind", ["plain", "stretched and shifted", "some rooms"])
def test_what_a_batch_holds_is_what_the_recipe_would_write(root: Path, tmp_path: Path, kind: str) -> None:
    online = source(root, kind, takes_per_class=3)
    draw = online.draw(MOMENT, CROPS, range(4))
    waveforms = torch.empty(4, NUM_SAMPLES)
    online.fill(draw, waveforms)
    for waveform, scene in zip(waveforms, online.scenes(MOMENT, range(4)), strict=True):
        rendered, _ = render_scene(scene, online.soundbank)
        for name, samples in (("rendered", rendered), ("mixed", waveform.numpy())):
            write_waveform(tmp_path / f"{name}.wav", samples, 16_000)
        rendered, mixed = (read_waveform(tmp_path / f"{name}.wav", 16_000) for name in ("rendered", "mixed"))
        assert np.abs(rendered).max() > 0.01
        assert np.abs(rendered - mixed).max() <= 1 / 32768


def test_targets_are_those_of_the_scenes_events(root: Path) -> None:
    batch = dataset(root)[2, 3]
    scenes = source(root, "some rooms").scenes(MOMENT, range(4))
    for strong, scene in zip(batch.targets.strong, scenes, strict=True):
        assert np.array_equal(strong.numpy(), encode_strong(scene.events(), LABELS, GRID, NUM_FRAMES))
    assert batch.targets.strong.sum() > 0
    assert batch.targets.has_strong.all()
    assert not batch.targets.has_weak.any()
    assert batch.audio_ids == tuple(f"online0_e2_s3_r{row}" for row in range(4))


def test_supervision_says_what_is_known(root: Path) -> None:
    scenes = source(root).scenes(MOMENT, range(4))
    weak = source(root, supervision="weak").draw(MOMENT, CROPS, range(4))
    expected = {(row, event.event_label) for row, scene in enumerate(scenes) for event in scene.events()}
    assert {(row, LABELS.names[label]) for row, label in weak.weak.tolist()} == expected
    assert weak.strong.shape == (0, 4)
    nothing = source(root, supervision="none").draw(MOMENT, CROPS, range(4))
    assert (nothing.strong.shape, nothing.weak.shape) == ((0, 4), (0, 2))
    assert nothing.clips == weak.clips == scenes


def test_a_batch_does_not_depend_on_what_was_made_before(root: Path) -> None:
    fresh, used = dataset(root), dataset(root)
    for step in range(3):
        used[0, step]
    assert torch.equal(fresh[2, 3].waveform, used[2, 3].waveform)


def test_no_two_batches_hold_the_same_mixture(root: Path) -> None:
    online = source(root, "stretched and shifted", takes_per_class=2)
    moments = [Moment(seed, epoch, step, 0) for seed in (1, 2) for epoch in range(3) for step in range(3)]
    scenes = [scene for moment in moments for scene in online.scenes(moment, range(4))]
    assert len(set(scenes)) == len(scenes)


def test_ranks_make_their_own_rows_of_one_batch(root: Path) -> None:
    whole = dataset(root)[0, 1]
    halves = [dataset(root, Share(rank, 2))[0, 1] for rank in range(2)]
    assert torch.allclose(whole.waveform, torch.cat([half.waveform for half in halves]), atol=1e-6)
    assert torch.equal(whole.targets.strong, torch.cat([half.targets.strong for half in halves]))
    assert whole.audio_ids == halves[0].audio_ids + halves[1].audio_ids


def test_an_epoch_is_as_long_as_it_is_said_to_be(root: Path) -> None:
    assert dataset(root).steps_per_epoch == 3  # the part has 12 scenes
    assert dataset(root, scenes_per_epoch=41).steps_per_epoch == 10


def test_a_fingerprint_tells_other_scenes_but_not_another_place(root: Path, tmp_path: Path) -> None:
    moved = write_soundbank(tmp_path / "moved")
    assert dataset(moved).fingerprint == dataset(root).fingerprint
    assert dataset(root, takes_per_class=3).fingerprint != dataset(root).fingerprint
    next((moved / "foreground" / "hum").iterdir()).unlink()
    assert dataset(moved).fingerprint != dataset(root).fingerprint


def test_a_recording_that_cannot_be_read_is_told_before_the_first_batch(root: Path, tmp_path: Path) -> None:
    broken = write_soundbank(tmp_path / "broken")
    (broken / "foreground" / "hum" / "hum3.wav").write_bytes(b"no audio")
    sources = {"train": 1.0}
    tree = scenes_tree(broken, {})
    tree["soundbank"]["shares"] = sources
    with pytest.raises(DesedTaskError, match=r"hum3\.wav: not decodable audio"):
        OnlineScenes(check_options({"name": "online", "soundscapes": tree}, OnlineOptions), "strong", 4, LABELS, GRID)


def test_recordings_of_classes_that_no_scene_has_are_left_alone(root: Path, tmp_path: Path) -> None:
    more = write_soundbank(tmp_path / "more")
    (more / "foreground" / "rumble").mkdir()
    for number in range(3):
        (more / "foreground" / "rumble" / f"rumble{number}.wav").write_bytes(b"no audio")
    assert dataset(more).fingerprint == dataset(root).fingerprint


def measured_rooms(root: Path, responses: Path) -> OnlineScenes:
    tree = scenes_tree(root, {"room": {"impulse_responses": str(responses)}})
    options = check_options({"name": "online", "soundscapes": tree}, OnlineOptions)
    return OnlineScenes(options, "strong", 4, LABELS, GRID)


def test_measured_impulse_responses_are_read_before_the_first_batch(root: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(root / "responses", tmp_path / "copied"))
    assert measured_rooms(root, copied).describe() == measured_rooms(root, root / "responses").describe()
    fewer = Path(shutil.copytree(root / "responses", tmp_path / "fewer"))
    (fewer / "hall1.wav").unlink()
    assert measured_rooms(root, fewer).describe() != measured_rooms(root, root / "responses").describe()
    broken = Path(shutil.copytree(root / "responses", tmp_path / "broken"))
    (broken / "hall1.wav").write_bytes(b"no audio")
    with pytest.raises(DesedTaskError, match=r"hall1\.wav: not decodable audio"):
        measured_rooms(root, broken)


def test_a_rate_that_is_not_the_features_and_loudness_are_refused(root: Path) -> None:
    for keys, sentence in (
        (
            {"sample_rate": 22_050},
            r"scenes are mixed at 22050 Hz and features.sample_rate is 16000; make the soundscapes'",
        ),
        (
            {"scene": {**scenes_tree(root, {})["scene"], "levels": "lufs"}},
            r"scene.levels is lufs, which only recipes/gen",
        ),
    ):
        options = check_options({"name": "online", "soundscapes": {**scenes_tree(root, {}), **keys}}, OnlineOptions)
        with pytest.raises(OptionsError, match=sentence):
            check_online(options, 4, LABELS, GRID, clip_seconds=2.0)


def test_batches_of_another_rate_hold_what_is_rendered(root: Path) -> None:
    tree = {"name": "online", "soundscapes": {**scenes_tree(root, {}), "sample_rate": 22_050}}
    options, grid = check_options(tree, OnlineOptions), FrameGrid(22_050, 441, 4)
    check_online(options, 4, LABELS, grid, clip_seconds=2.0)
    online = OnlineScenes(options, "strong", 4, LABELS, grid)
    waveforms = torch.empty(4, 44_100)
    online.fill(online.draw(MOMENT, CROPS, range(4)), waveforms)
    for waveform, scene in zip(waveforms, online.scenes(MOMENT, range(4)), strict=True):
        assert np.abs(waveform.numpy() - render_scene(scene, online.soundbank)[0]).max() < 1e-5


def test_what_is_read_is_what_is_kept(root: Path, tmp_path: Path) -> None:
    conf = tmp_path / "scenes.yaml"
    conf.write_text(json.dumps(scenes_tree(root, {})), encoding="utf-8")
    over = {"scene": {"snr_db": [1.0, 2.0]}}
    options = check_options({"name": "online", "conf": str(conf), "soundscapes": over}, OnlineOptions)
    conf.unlink()
    assert options.conf is None
    assert options.read().scene.snr_db == (1.0, 2.0)
    assert options.read().scene.duration_seconds == 2.0
    assert check_options(json.loads(options.model_dump_json()), OnlineOptions) == options
