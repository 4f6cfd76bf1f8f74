"""The detector: any length of waveform to scores, events and tags on the recording's own clock.

The tiny bundle calls a frame `loud` where its rms passes 0.1, else `quiet`; frames are 64 ms, windows 10 s.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from desed_task.bundle import MANIFEST_FILE, read_bundle
from desed_task.detector import Detector
from desed_task.errors import AudioError, BundleError, OptionsError
from desed_task.hearing import DetectionOptions
from desed_task.sessions import num_cuda_devices

FRAME = 0.064


@pytest.fixture(scope="module")
def detector(tiny_bundle: Path) -> Detector:
    return Detector(tiny_bundle, device="cpu", num_threads=1)


def tone_in_silence(duration: float, *spans: tuple[float, float]) -> NDArray[np.float32]:
    """Silence of `duration` seconds at 16 kHz with a full-scale tone in each span of seconds."""
    time = np.arange(round(duration * 16000)) / 16000
    inside = np.any([(time >= onset) & (time < offset) for onset, offset in spans], axis=0)
    return np.where(inside, np.sin(2 * np.pi * 440 * time), 0).astype(np.float32)


def loud_times(detector: Detector, waveform: NDArray[np.float32]) -> list[tuple[float, float]]:
    return [(e.onset, e.offset) for e in detector.detect(waveform) if e.event_label == "loud"]


def test_a_tone_is_an_event_where_it_is(detector: Detector) -> None:
    # seconds   0    2         5         10
    # tone           |---------|
    ((onset, offset),) = loud_times(detector, tone_in_silence(10, (2.0, 5.0)))
    assert abs(onset - 2.0) <= FRAME
    assert abs(offset - 5.0) <= FRAME


def test_times_of_a_long_recording_are_on_its_own_clock(detector: Detector) -> None:
    # seconds   0         9.7  10.4      20   23  24.5 25
    # tone                |----|              |---|          the first lies across a window's end
    spans = [(9.7, 10.4), (23.0, 24.5)]
    found = loud_times(detector, tone_in_silence(25, *spans))
    np.testing.assert_allclose(found, spans, atol=FRAME)


def test_an_event_never_passes_the_end(detector: Detector) -> None:
    ((_, offset),) = loud_times(detector, tone_in_silence(3.21, (2.0, 4.0)))
    assert offset == pytest.approx(3.21)


def test_windows_in_one_batch_or_one_by_one_give_the_same_scores(tiny_bundle: Path, detector: Detector) -> None:
    waveform = np.random.default_rng(0).normal(0, 0.1, 40 * 16000).astype(np.float32)
    alone = Detector(tiny_bundle, device="cpu", num_threads=1, max_batch=1).scores(waveform).frame_values
    together = detector.scores(waveform).frame_values
    assert alone is not None and together is not None
    np.testing.assert_allclose(alone, together, atol=1e-6)
    assert len(together) == 625


def test_tags_are_sorted_and_name_every_class(detector: Detector) -> None:
    silence, tone = tone_in_silence(1), tone_in_silence(1, (0.0, 1.0))
    assert [label for label, _ in detector.tags(silence)] == ["quiet", "loud"]
    assert [score for _, score in detector.tags(tone)] == sorted((s for _, s in detector.tags(tone)), reverse=True)


def test_one_decision_holds_the_same_events_and_tags(detector: Detector) -> None:
    waveform = tone_in_silence(12, (2.0, 5.0))
    decided = detector.decide(detector.scores(waveform))
    assert list(decided.events) == detector.detect(waveform)
    assert list(decided.tags) == detector.tags(waveform)
    assert all(event.score is not None and 0.5 < event.score <= 1 for event in decided.events)


def test_a_threshold_replaces_that_of_every_class(detector: Detector) -> None:
    scores = detector.scores(tone_in_silence(10, (2.0, 5.0)))
    assert detector.decide(scores, threshold=1.0).events == ()
    # In silence `loud` scores sigmoid(-4) = 0.018: above 0.01 everywhere, so one event from start to end.
    (event,) = [e for e in detector.decide(scores, threshold=0.01).events if e.event_label == "loud"]
    assert (event.onset, event.offset) == (0.0, pytest.approx(9.984))


def test_a_file_is_heard_as_its_waveform(detector: Detector, tmp_path: Path) -> None:
    waveform = np.round(tone_in_silence(4, (1.0, 2.0)) * 0.9 * 32767) / 32768
    soundfile.write(tmp_path / "tone.flac", waveform, 16000, subtype="PCM_16")
    assert detector.detect_file(tmp_path / "tone.flac") == detector.detect(waveform.astype(np.float32))


def test_no_samples_are_no_events(detector: Detector) -> None:
    assert detector.detect(np.zeros(0, dtype=np.float32)) == []


def test_blocks_are_heard_as_the_waveform(tiny_bundle: Path) -> None:
    detector = Detector(tiny_bundle, device="cpu", num_threads=1, max_batch=2)
    waveform = tone_in_silence(47, (2.0, 5.0), (8.0, 33.3))
    heard = detector.hear(np.split(waveform, [0, 1, 16_000, 400_000]), DetectionOptions(frames=True))
    scores = detector.scores(waveform)
    assert scores.frame_values is not None and heard.frames is not None
    np.testing.assert_allclose(heard.frames, scores.frame_values, rtol=0, atol=1e-6)
    whole = detector.decide(scores)
    assert (heard.events, heard.duration) == (whole.events, 47.0)
    assert [score for _, score in heard.tags] == pytest.approx([score for _, score in whole.tags], abs=1e-6)


@pytest.mark.parametrize("sample", [np.nan, np.inf, 3e38])
def test_what_is_no_sound_is_refused(detector: Detector, sample: float) -> None:
    waveform = np.zeros(16000, dtype=np.float32)
    waveform[5] = sample
    with pytest.raises(AudioError, match="NaN, infinite or absurdly large"):
        detector.scores(waveform)
    with pytest.raises(AudioError, match="NaN, infinite or absurdly large"):
        detector.hear([np.zeros(16000, dtype=np.float32), waveform])


def test_two_channels_are_refused(detector: Detector) -> None:
    with pytest.raises(AudioError, match="average the channels"):
        detector.scores(np.zeros((2, 16000), dtype=np.float32))


def test_a_grid_that_is_not_the_graphs_is_found_when_it_warms_up(tiny_bundle: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    tree = json.loads((folder / MANIFEST_FILE).read_text())
    tree["grid"]["time_pooling"] = 2
    (folder / MANIFEST_FILE).write_text(json.dumps(tree))
    with pytest.raises(BundleError, match=r"'strong' is \(1, 156, 2\), the bundle says \(1, 313, 2\)"):
        Detector(folder, device="cpu").warm_up()


def test_threads_share_one_detector(detector: Detector) -> None:
    waveforms = [tone_in_silence(10 + n, (n, n + 1.0)) for n in range(4)]
    expected = [detector.detect(waveform) for waveform in waveforms]
    found: dict[int, list[object]] = {}
    threads = [
        threading.Thread(target=lambda n=n: found.update({n: [detector.detect(waveforms[n % 4]) for _ in range(5)]}))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found[n] == [expected[n % 4]] * 5 for n in range(8))


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "CPU"])
def test_a_device_that_is_none_is_refused(tiny_bundle: Path, device: str) -> None:
    with pytest.raises(OptionsError, match="is not auto, cpu or cuda:N"):
        Detector(tiny_bundle, device=device)


@pytest.mark.skipif(num_cuda_devices() > 0, reason="there is a CUDA device")
def test_cuda_that_cannot_be_had_is_refused_and_not_replaced(tiny_bundle: Path) -> None:
    with pytest.raises(BundleError, match="device cuda:0"):
        Detector(tiny_bundle, device="cuda:0")
    assert Detector(tiny_bundle, device="auto").provider == "CPUExecutionProvider"


def test_reading_a_bundle_needs_no_training_code() -> None:
    heavy = ["torch", "lightning", "pytorch_lightning", "codecarbon", "pandas", "numba", "scipy"]
    heavy += ["sed_eval", "psds_eval"]
    code = (
        "import sys, serving.cli, serving.server, desed_task.detector\n"
        f"loaded = sorted(set(sys.modules) & set({heavy!r}))\n"
        "sys.exit(f'loaded: {loaded}' if loaded else 0)"
    )
    finished = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)
    assert finished.returncode == 0, finished.stderr


def test_the_bundle_is_at_hand(detector: Detector, tiny_bundle: Path) -> None:
    assert detector.bundle == read_bundle(tiny_bundle)


@pytest.fixture(scope="module")
def tagger(tiny_tagger: Path) -> Detector:
    return Detector(tiny_tagger, device="cpu", num_threads=1, max_batch=4)


@pytest.mark.parametrize("num_samples", [0, 1, 600, 16_000, 16_001, 100_000])
def test_a_tagger_of_a_fixed_view_hears_any_length(tagger: Detector, num_samples: int) -> None:
    """Its graph would refuse any other length than 16000."""
    tagger.warm_up()
    scores = tagger.scores(np.full(num_samples, 0.5, dtype=np.float32))
    assert scores.frame_values is None
    loudness = 40 * (0.5 if num_samples else 0.0) - 4
    expected = [1 / (1 + np.exp(-logit)) for logit in (loudness, -loudness, -9.0)]
    np.testing.assert_allclose(scores.clip_values, expected, rtol=1e-3, atol=1e-6)


def test_a_tagger_without_frames_has_tags_and_no_events(tagger: Detector) -> None:
    decided = tagger.decide(tagger.scores(tone_in_silence(3, (0.0, 3.0))), threshold=0.1)
    assert decided.events == ()
    assert [label for label, _ in decided.tags] == ["loud", "never", "quiet"]
    assert tagger.detect(tone_in_silence(3, (0.0, 3.0))) == []


def test_a_taggers_clip_score_is_the_mean_logit_of_its_chunks(tagger: Detector) -> None:
    # chunks of 1.5 s: 0-1 (rms .1), 0.5-1.5 (half of it .1, half .3), 1-1.5 twice (rms .3)
    waveform = np.repeat(np.array([0.1, 0.1, 0.3], dtype=np.float32), 8000)
    logits = [40 * rms - 4 for rms in (0.1, np.sqrt((0.01 + 0.09) / 2), 0.3)]
    expected = 1 / (1 + np.exp(-np.mean(logits)))
    assert tagger.scores(waveform).clip_values[0] == pytest.approx(expected, rel=1e-4)


def test_certain_chunks_keep_their_logits(tagger: Detector) -> None:
    """Chunks of logits 32 and -4: float32 would have the first at 16.6 at most."""
    # chunks of 2 s: loud (rms .9), half of it (.636), silence, and silence twice
    waveform = np.repeat(np.array([0.9, 0.0], dtype=np.float32), 16000)
    scores = tagger.scores(waveform)
    logits = [40 * rms - 4 for rms in (0.9, 0.9 / np.sqrt(2), 0.0, 0.0)]
    assert logits[0] == pytest.approx(32)
    assert scores.clip_values[0] == pytest.approx(1 / (1 + np.exp(-np.mean(logits))), abs=1e-6)
    assert scores.clip_values[1] == pytest.approx(1 / (1 + np.exp(np.mean(logits))), rel=1e-3)
