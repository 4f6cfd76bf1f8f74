"""Hearing: a recording heard bit by bit is the recording heard at once, however it is cut into blocks and batches.

The models here say something random of each window, so that it matters which window a frame is read from. What is
expected is spelt out frame by frame below, and shares nothing with what is tested but the views.
"""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from desed_task.bundle import Bundle
from desed_task.chunking import Chunking
from desed_task.errors import AudioError, OptionsError
from desed_task.events import Event
from desed_task.hearing import DetectionOptions, Detections, Hearing, WindowScores
from desed_task.labels import LabelSet
from desed_task.postprocessing.pipeline import PostProcessingOptions
from desed_task.timeline import FrameGrid
from desed_task.views import View
from desed_task.windowing import Windowing

LABELS = LabelSet(["dog", "cat", "blender"])
TOY = Windowing(FrameGrid(sample_rate=4, hop_length=2, time_pooling=2), window_seconds=10.0, overlap_frames=4)


def bundle_of(view: View, median: Any = 0.0, threshold: Any = 0.5, has_frames: bool = True) -> Bundle:
    post = PostProcessingOptions(median_filter_seconds=median, threshold=threshold)
    return Bundle("toy", "1", LABELS, view, post, has_frames=has_frames)


def model(view: View, num_windows: int, seed: int, has_frames: bool = True) -> WindowScores:
    """Random scores of so many windows; those of the first do not depend on how many there are."""
    drawn = [np.random.default_rng((seed, window)) for window in range(num_windows)]
    # Squared twice and rounded, so that runs of both kinds and equal values occur.
    strong = [np.round(rng.random((view.window_frames, len(LABELS))) ** 0.5, 1).astype(np.float32) for rng in drawn]
    weak: list[Any] = [rng.random(len(LABELS)) for rng in drawn]
    probs = np.stack(weak)
    return WindowScores(
        np.stack(strong) if has_frames else None, probs if isinstance(view, Chunking) else probs.astype(np.float32)
    )


def hear(
    bundle: Bundle, options: DetectionOptions, blocks: Sequence[NDArray[np.float32]], batches: Sequence[int], seed: int
) -> tuple[list[NDArray[np.float32]], Detections]:
    """All windows, and what is heard when they are answered in batches of these sizes, as late as they may be."""
    hearing = Hearing(bundle, options)
    windows: list[NDArray[np.float32]] = []
    answered = 0

    def answer(ended: bool) -> None:
        nonlocal answered
        scores = model(bundle.windowing, len(windows), seed, bundle.has_frames)
        while answered < len(windows):
            size = batches[answered % len(batches)]
            if answered + size > len(windows) and not ended:
                return
            last = min(answered + size, len(windows))
            strong = None if scores.strong is None else scores.strong[answered:last]
            hearing.said(WindowScores(strong, scores.weak[answered:last]))
            answered = last

    for block in blocks:
        windows += hearing.feed(block)
        if windows:
            answer(ended=False)
    windows += hearing.end()
    answer(ended=True)
    return windows, hearing.result()


def expected_events(
    frames: NDArray[np.float32], bundle: Bundle, thresholds: Sequence[float], duration: float
) -> list[Event]:
    """Median, threshold and runs, one class and one frame at a time."""
    grid, found = bundle.grid, []
    median = bundle.postprocessing.median_filter_seconds
    for label, name in enumerate(LABELS):
        seconds = median[name] if isinstance(median, dict) else median
        half = grid.odd_frames_in(seconds) // 2
        filtered = [float(np.median(mirrored(frames[:, label], at - half, at + half))) for at in range(len(frames))]
        active = [value > np.float32(thresholds[label]) for value in filtered[: grid.frames_covering(duration)]]
        first = 0
        for at in range(len(active)):
            if active[at] and (at == 0 or not active[at - 1]):
                first = at
            if active[at] and not any(active[at + 1 : at + 2]):
                onset, offset = grid.seconds_at(first), min(grid.seconds_at(at + 1), duration)
                if offset > onset:
                    score = float(np.mean(filtered[grid.frame_at(onset) : grid.frame_after(offset)]))
                    found.append(Event(onset, offset, name, score))
    return sorted(found)


def mirrored(values: NDArray[np.float32], first: int, last: int) -> list[float]:
    """Values first..last of a clip continued by its mirror image: d c b a | a b c d | d c b a."""
    period = [*values.tolist(), *values[::-1].tolist()]
    return [period[at % len(period)] for at in range(first, last + 1)]


GRIDS = st.sampled_from(
    [
        FrameGrid(4, 2, 2),
        FrameGrid(10, 2, 1),
        FrameGrid(10, 3, 1, first_frame_center=0.0),
        FrameGrid(8, 2, 2, first_frame_center=0.4),
        FrameGrid(8, 2, 2, first_frame_center=2.9),  # five frames late, so that windows reach beyond the last
        FrameGrid(8, 2, 2, first_frame_center=-0.9),
    ]
)


@st.composite
def views(draw: st.DrawFn) -> View:
    grid = draw(GRIDS)
    if draw(st.booleans()):
        window = draw(st.integers(2 * grid.frame_samples, 12 * grid.frame_samples))
        overlap = draw(st.integers(0, max(0, grid.num_frames(window) - 1)))
        return Windowing(grid, window / grid.sample_rate, overlap)
    window = draw(st.integers(grid.frame_samples, 40))
    hop = draw(st.integers(1, window))
    return Chunking(
        grid,
        window / grid.sample_rate,
        hop / grid.sample_rate,
        draw(st.sampled_from(["tile", "shift", "drop", "zeros"])),
        draw(st.sampled_from(["tile", "zeros"])),
        draw(st.sampled_from(["mean_logit", "mean", "max", "soft"])),
        draw(st.sampled_from([0.0, 0.7, 40.0, -1.0])),
    )


@settings(max_examples=150, deadline=None)
@given(
    view=views(),
    num_samples=st.integers(1, 300),
    blocks=st.lists(st.integers(0, 90), min_size=1, max_size=6),
    batches=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    median=st.one_of(
        st.floats(0, 6), st.fixed_dictionaries({name: st.sampled_from([0.0, 1.0, 2.6, 9.0]) for name in LABELS})
    ),
    threshold=st.one_of(
        st.sampled_from([0.3, 0.6, 0.7, 0.95]), st.fixed_dictionaries({name: st.just(0.8) for name in LABELS})
    ),
    seed=st.integers(0, 5),
)
def test_bit_by_bit_is_as_at_once(
    view: View, num_samples: int, blocks: list[int], batches: list[int], median: Any, threshold: Any, seed: int
) -> None:
    waveform = np.random.default_rng(num_samples).normal(0, 0.1, num_samples).astype(np.float32)
    bundle = bundle_of(view, median)
    options = DetectionOptions(thresholds=threshold, frames=True)
    sizes = np.minimum(np.cumsum([0, *blocks]), num_samples)
    pieces = [waveform[first:last] for first, last in itertools.pairwise(sizes)] + [waveform[sizes[-1] :]]
    windows, heard = hear(bundle, options, pieces, batches, seed)

    assert np.array_equal(np.stack(windows), view.cut(waveform))
    said = model(view, len(windows), seed)
    scores = view.stitch(said.strong, said.weak, LABELS, num_samples)
    assert heard.duration == scores.duration
    assert heard.frames is not None and scores.frame_values is not None
    assert np.array_equal(heard.frames, scores.frame_values)
    thresholds = [threshold[name] if isinstance(threshold, dict) else threshold for name in LABELS]
    expected = expected_events(scores.frame_values, bundle, thresholds, scores.duration)
    assert list(heard.events) == expected
    assert [e.score for e in heard.events] == pytest.approx([e.score for e in expected], abs=1e-6)
    assert [score for _, score in heard.tags] == pytest.approx(
        sorted(scores.clip_values.tolist(), reverse=True), abs=1e-6
    )
    assert dict(heard.tags) == pytest.approx(dict(zip(LABELS, scores.clip_values.tolist(), strict=True)), abs=1e-6)

    decided = Hearing.plan(bundle, options).decide(scores)
    assert decided.events == heard.events
    assert [e.score for e in decided.events] == pytest.approx([e.score for e in heard.events], abs=1e-6)
    assert decided.tags == tuple(sorted(zip(LABELS, scores.clip_values.tolist(), strict=True), key=lambda tag: -tag[1]))


def one_by_one(bundle: Bundle, loud: Sequence[tuple[float, float]], num_samples: int, **options: Any) -> Detections:
    """What is heard where the first class scores 0.9 in these spans of seconds, else 0.1, and the others 0.2."""
    grid, view = bundle.grid, bundle.windowing
    hearing = Hearing(bundle, DetectionOptions(**options))
    windows = hearing.feed(np.zeros(num_samples, np.float32)) + hearing.end()
    for start in view.starts(num_samples).tolist():
        strong = np.full((1, view.window_frames, len(LABELS)), 0.2, dtype=np.float32)
        middles = start / grid.sample_rate + (np.arange(view.window_frames) + 0.5) * grid.frame_seconds
        strong[0, :, 0] = np.where([any(a <= t < b for a, b in loud) for t in middles], 0.9, 0.1)
        hearing.said(WindowScores(strong, strong.max(axis=1)))
    assert len(windows) == len(view.starts(num_samples))
    return hearing.result()


def test_an_event_that_lasts_over_several_windows_is_one() -> None:
    # seconds  0    6    12    18    24    30      windows from 0, 6, 12, 18 ...
    # dog         3------------------25
    heard = one_by_one(bundle_of(TOY), [(3.0, 25.0)], 4 * 30)
    assert heard.events == (Event(3.0, 25.0, "dog"),)
    assert heard.events[0].score == pytest.approx(0.9)


def test_the_last_event_ends_with_the_recording() -> None:
    heard = one_by_one(bundle_of(TOY), [(3.0, 99.0)], 4 * 30 - 1)
    assert [(event.onset, event.offset) for event in heard.events] == [(3.0, 29.75)]


def test_a_class_without_a_threshold_of_its_own_takes_the_default_or_the_bundles() -> None:
    bundle = bundle_of(TOY, threshold={"dog": 0.95, "default": 0.5})
    assert one_by_one(bundle, [(3.0, 5.0)], 40).events == ()
    assert [e.event_label for e in one_by_one(bundle, [(3.0, 5.0)], 40, thresholds={"cat": 0.1}).events] == ["cat"]
    lower = one_by_one(bundle, [(3.0, 5.0)], 40, thresholds={"cat": 0.3, "default": 0.15})
    assert [e.event_label for e in lower.events] == ["blender", "dog"]


def test_only_the_classes_that_are_asked_for_are_listed() -> None:
    heard = one_by_one(bundle_of(TOY), [(3.0, 5.0)], 40, labels=("blender", "dog"), thresholds=0.15, frames=True)
    assert sorted(event.event_label for event in heard.events) == ["blender", "dog"]
    assert [label for label, _ in heard.tags] == ["dog", "blender"]
    assert [score for _, score in heard.tags] == pytest.approx([0.9, 0.2])
    assert heard.labels == ("dog", "blender")  # in the order of the bundle
    assert heard.frames is not None
    assert heard.frames.shape == (10, 2)
    assert heard.frames[3].tolist() == pytest.approx([0.9, 0.2])


def test_shorter_events_are_left_out_and_those_as_long_are_not() -> None:
    spans = [(1.0, 2.0), (4.0, 6.0), (8.0, 11.0)]
    heard = one_by_one(bundle_of(TOY), spans, 4 * 14, min_duration=2.0)
    assert [(event.onset, event.offset) for event in heard.events] == spans[1:]


def test_frames_are_given_only_when_asked_for() -> None:
    assert one_by_one(bundle_of(TOY), [], 40).frames is None


def test_a_tagger_without_frames_has_tags_and_no_events() -> None:
    bundle = bundle_of(Chunking(TOY.grid, 1.0, 0.5), has_frames=False)
    blocks = [np.zeros(9, np.float32)]
    windows, heard = hear(bundle, DetectionOptions(thresholds=0.0, frames=True), blocks, [2], seed=0)
    assert len(windows) == 5
    assert (heard.events, heard.frames, len(heard.tags)) == ((), None, 3)


def test_a_plan_serves_many_recordings_at_once() -> None:
    bundle, block = bundle_of(TOY, median=1.0), np.zeros(100, np.float32)
    plan = Hearing.plan(bundle, DetectionOptions(thresholds=0.7))
    hearings = [plan.begin() for _ in range(2)]
    windows = [hearing.feed(block) + hearing.end() for hearing in hearings]
    for hearing in reversed(hearings):
        hearing.said(model(TOY, len(windows[0]), seed=3))
    expected = hear(bundle, DetectionOptions(thresholds=0.7), [block], [1], seed=3)[1]
    assert [hearing.result().events for hearing in hearings] == [expected.events] * 2


def test_nothing_fed_is_no_recording() -> None:
    hearing = Hearing(bundle_of(TOY))
    hearing.feed(np.zeros(0, np.float32))
    with pytest.raises(AudioError, match="holds no samples"):
        hearing.end()


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"labels": ("dog", "cow")}, "'cow' is not a class; the classes are dog, cat, blender"),
        ({"thresholds": {"cow": 0.5}}, "'cow' is not a class"),
    ],
)
def test_a_class_that_the_bundle_does_not_know_is_refused(options: dict[str, Any], fault: str) -> None:
    with pytest.raises(OptionsError, match=fault):
        Hearing.plan(bundle_of(TOY), DetectionOptions(**options))


@pytest.mark.parametrize("options", [{"thresholds": 1.5}, {"thresholds": {"dog": -0.1}}, {"min_duration": -1}])
def test_values_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"is not from 0 to 1|greater than or equal to 0"):
        DetectionOptions(**options)


@pytest.mark.parametrize("view", [TOY, Chunking(TOY.grid, 10.0, 2.5, "shift", clip_scores="soft")], ids=["w", "c"])
def test_what_is_kept_does_not_grow_with_the_recording(view: View) -> None:
    bundle = bundle_of(view, median=3.0, threshold=0.9)
    hearing, block = Hearing(bundle), np.zeros(1000, np.float32)
    scores = WindowScores(np.full((1, view.window_frames, 3), 0.5, np.float32), np.full((1, 3), 0.5, np.float32))

    def hear_blocks(count: int) -> int:
        for _ in range(count):
            for _ in hearing.feed(block):
                hearing.said(scores)
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = hear_blocks(20)
        assert hear_blocks(200) - before < 2_000
    finally:
        tracemalloc.stop()
