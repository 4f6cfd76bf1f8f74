"""From scores to events and tags: options, thresholds, decoding."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from desed_task.encoding import encode_strong
from desed_task.errors import DesedTaskError, OptionsError
from desed_task.events import Event
from desed_task.labels import DESED_LABELS, LabelSet
from desed_task.options import check_options
from desed_task.postprocessing.operating_points import detect_at_thresholds
from desed_task.postprocessing.pipeline import PostProcessing, PostProcessingOptions, build_postprocessing
from desed_task.postprocessing.thresholds import threshold_grid
from desed_task.scores import Scores
from desed_task.timeline import FrameGrid

GRID = FrameGrid(10, 1, 1)  # frames of 0.1 s, for the pencil
LABELS = LabelSet(["Dog", "Speech"])
CLIP_VALUES = np.array([0.2, 0.9], np.float32)


def clip(dog: list[float], speech: list[float], duration: float | None = None) -> Scores:
    values = np.array([dog, speech], np.float32).T
    return Scores(np.ascontiguousarray(values), CLIP_VALUES, GRID, LABELS, duration or len(dog) / 10)


def build(**options: object) -> PostProcessing:
    return build_postprocessing(check_options(options, PostProcessingOptions), LABELS, GRID)


def test_runs_above_the_threshold_become_events_with_their_mean_score() -> None:
    # frames   0    1    2    3    4    5
    # Dog           #    #              #       .8 .6 -> 0.1-0.3 s at .7; .9 -> 0.5-0.6 s
    # Speech   #                                .7 -> 0.0-0.1 s; .5 is not above .5
    scores = clip([0.1, 0.8, 0.6, 0.2, 0.0, 0.9], [0.7, 0.5, 0.1, 0.1, 0.1, 0.1])
    events = build(median_filter_seconds=0).detect(scores)
    assert [(e.onset, e.offset, e.event_label) for e in events] == [
        (0.0, 0.1, "Speech"),
        (0.1, 0.3, "Dog"),
        (0.5, 0.6, "Dog"),
    ]
    assert [e.score for e in events] == pytest.approx([0.7, 0.7, 0.9])


def test_an_event_ends_with_the_clip_and_none_begins_after_it() -> None:
    scores = clip([0.9, 0.9, 0.9, 0.0, 0.9], [0.0] * 5, duration=0.25)
    events = build(median_filter_seconds=0).detect(scores)
    assert events == [Event(0.0, 0.25, "Dog")]


def test_each_class_has_its_own_threshold_and_window() -> None:
    scores = clip([0.4, 0.0, 0.4, 0.4], [0.4, 0.0, 0.4, 0.4])
    post = build(median_filter_seconds={"Dog": 0.3, "default": 0}, threshold={"default": 0.3, "Speech": 0.35})
    # Dog: the gap closes under a window of 3 frames; Speech is not filtered.
    assert post.detect(scores) == [Event(0.0, 0.1, "Speech"), Event(0.0, 0.4, "Dog"), Event(0.2, 0.4, "Speech")]
    only_speech = build(median_filter_seconds=0, threshold={"Dog": 0.5, "Speech": 0.39}).detect(scores)
    assert {event.event_label for event in only_speech} == {"Speech"}


def test_the_published_defaults_are_seven_frames_and_one_half() -> None:
    grid = FrameGrid(16_000, 256, 4)
    post = build_postprocessing(PostProcessingOptions(), LabelSet(DESED_LABELS), grid)
    assert [grid.odd_frames_in(seconds) for seconds in post.median_filter_seconds] == [7] * 10
    assert post.thresholds == (0.5,) * 10


def test_tags_are_all_classes_highest_first() -> None:
    assert build().tags(clip([0.0], [0.0])) == [("Speech", pytest.approx(0.9)), ("Dog", pytest.approx(0.2))]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"threshold": {"Dog": 0.5}}, "threshold: no value for 'Speech'; add it, or `default`"),
        ({"threshold": {"Dog": 0.5, "Cat": 0.5}}, "threshold: 'Cat' is not a class; the classes are Dog, Speech"),
        ({"median_filter_seconds": {"Dog": 0.5}}, "median_filter_seconds: no value for 'Speech'"),
        ({"threshold": 1.0}, "threshold: 1 is not between 0 and 1"),
        ({"threshold": {"Dog": 0, "default": 0.5}}, "threshold: 0 of Dog is not between 0 and 1"),
        ({"median_filter_seconds": -0.1}, "median_filter_seconds: -0.1 is not a number of seconds"),
        ({"median_filter": 7}, "median_filter: unknown key"),
    ],
)
def test_bad_options_are_one_sentence(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(OptionsError, match=sentence.replace("(", r"\(")) as refused:
        build(**options)
    assert "\n" not in str(refused.value)


def test_scores_of_other_classes_or_frames_are_refused() -> None:
    other_labels = Scores(np.zeros((3, 2), np.float32), CLIP_VALUES, GRID, LabelSet(["Cat", "Dog"]), 1.0)
    with pytest.raises(DesedTaskError, match="the scores are of the classes Cat, Dog"):
        build().detect(other_labels)
    other_grid = Scores(np.zeros((3, 2), np.float32), CLIP_VALUES, FrameGrid(10, 2, 1), LABELS, 1.0)
    with pytest.raises(DesedTaskError, match=r"frames of 0.2 s"):
        build().detect(other_grid)


def test_a_tagger_has_tags_and_no_events() -> None:
    tagger = Scores(None, CLIP_VALUES, GRID, LABELS, 1.0)
    assert build().detect(tagger) == []
    assert build().tags(tagger)[0][0] == "Speech"


def test_all_thresholds_together_give_the_events_of_each() -> None:
    rng = np.random.default_rng(0)
    grid, labels = FrameGrid(16_000, 256, 4), LabelSet(DESED_LABELS)
    post = build_postprocessing(PostProcessingOptions(), labels, grid)
    filtered = {}
    for position, (num_frames, duration) in enumerate([(156, 10.0), (156, 7.03), (3, 0.2), (0, 0.01), (156, 9.984)]):
        values = rng.random((num_frames, 10), dtype=np.float32)
        values[values > 0.9] = 1.0
        if num_frames:
            values[0, 0] = np.float32(0.07)  # on a threshold of the grid: not above it
        scores = Scores(values, np.zeros(10, np.float32), grid, labels, duration)
        filtered[f"clip {position}"] = post.filter(scores) if position else scores
    filtered["nothing"] = Scores(np.zeros((10, 10), np.float32), np.zeros(10, np.float32), grid, labels, 0.6)
    tables = detect_at_thresholds(filtered, threshold_grid())
    assert len(tables) == 50
    for threshold, table in tables.items():
        assert table.filenames == tuple(filtered)
        for audio_id, scores in filtered.items():
            assert list(table.of(audio_id)) == post.detect_at(scores, threshold), (threshold, audio_id)


def test_encoded_events_come_back_widened_to_whole_frames() -> None:
    events = [Event(0.12, 0.31, "Dog"), Event(0.4, 0.7, "Speech"), Event(0.75, 0.9, "Dog")]
    targets = encode_strong(events, LABELS, GRID, 10)
    scores = Scores(targets, CLIP_VALUES, GRID, LABELS, 1.0)
    assert build(median_filter_seconds=0).detect(scores) == [
        Event(0.1, 0.4, "Dog"),
        Event(0.4, 0.7, "Speech"),
        Event(0.7, 0.9, "Dog"),
    ]


def test_the_published_grid_of_thresholds() -> None:
    grid = threshold_grid()
    assert grid[:3] == (0.01, 0.03, 0.05) and grid[-1] == 0.99
    np.testing.assert_allclose(grid, np.arange(1 / 100, 1, 1 / 50))


def test_the_service_can_import_it_without_torch_numba_pandas_or_scipy() -> None:
    code = (
        "import sys, desed_task.postprocessing.pipeline, desed_task.postprocessing.operating_points;"
        "print([name for name in ('torch', 'numba', 'pandas', 'scipy', 'matplotlib') if name in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
