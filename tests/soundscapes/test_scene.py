from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from desed_task.errors import OptionsError
from desed_task.options import check_options
from desed_task.soundscapes.procedural.backgrounds import ProceduralBackgrounds
from desed_task.soundscapes.scene import PlacedEvent, Scene, SceneOptions, draw_scene
from desed_task.soundscapes.silence import IsolationOptions
from desed_task.soundscapes.soundbank import Sound
from desed_task.soundscapes.variation import Variation

RATE = 16_000


class ToneBank:
    """Tones of a fixed length for any class."""

    def __init__(self, seconds: float) -> None:
        self.labels, self.sample_rate = ("Cat", "Dog"), RATE
        self.isolation = IsolationOptions()
        self.backgrounds = ProceduralBackgrounds("train", 0)
        self._waveform = np.sin(np.arange(round(seconds * RATE)) * 0.3).astype(np.float32)

    def draw_event(self, rng: np.random.Generator, event_label: str) -> Sound:
        return Sound(event_label, "tone", "tone", int(rng.integers(100)))

    def read_event(self, sound: Sound) -> np.ndarray:
        return self._waveform


class NumberedBank(ToneBank):
    """Tones of `num_sources` sources."""

    def __init__(self, seconds: float, num_sources: int) -> None:
        super().__init__(seconds)
        self._num_sources = num_sources

    def draw_event(self, rng: np.random.Generator, event_label: str) -> Sound:
        source = f"{event_label}{rng.integers(self._num_sources)}"
        return Sound(event_label, source, source, 0)


def options_of(**keys: object) -> SceneOptions:
    return check_options({"labels": ["Cat", "Dog"], **keys}, SceneOptions)


def scenes(bank: ToneBank, count: int = 60, **keys: object) -> list[Scene]:
    return [draw_scene(np.random.default_rng(seed), options_of(**keys), bank) for seed in range(count)]


def sounding(scene: Scene) -> np.ndarray:
    """How many events sound at each sample."""
    counts = np.zeros(scene.num_samples, dtype=int)
    for placed in scene.placed:
        counts[placed.onset_sample : placed.onset_sample + placed.heard_samples] += 1
    return counts


@pytest.mark.parametrize("max_overlap", [1, 2, 3])
def test_no_more_than_max_overlap_events_sound_at_once(max_overlap: int) -> None:
    drawn = scenes(ToneBank(2.0), num_events=[8, 8], max_overlap=max_overlap)
    assert max(sounding(scene).max() for scene in drawn) == max_overlap


def test_events_lie_within_the_scene_on_whole_milliseconds() -> None:
    for scene in scenes(ToneBank(3.0), duration_seconds=4.0):
        for event in scene.events():
            assert 0 <= event.onset < event.offset <= 4.0
            assert event.onset * 1000 == pytest.approx(round(event.onset * 1000))


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100])
def test_at_any_rate_onsets_are_the_samples_of_whole_milliseconds(rate: int) -> None:
    bank = ToneBank(3.0)
    bank.sample_rate = rate
    for scene in scenes(bank, duration_seconds=4.0, max_event_seconds=[1.0, 2.0]):
        assert (scene.sample_rate, scene.num_samples, scene.duration) == (rate, 4 * rate, 4.0)
        for placed in scene.placed:
            assert abs(placed.onset_sample * 1000 / rate % 1 - 0.5) >= 0.5 - 1000 / rate / 2 - 1e-9
            assert placed.onset_sample + placed.heard_samples <= 4 * rate
            assert 0.95 * rate < placed.heard_samples <= 2 * rate


def test_onsets_that_are_pushed_back_pile_up_where_the_event_ends_with_the_scene() -> None:
    # An event of 2 s in 4 s: half of the onsets drawn over the scene lie behind 2 s, the latest that fits.
    keys = {"duration_seconds": 4.0, "num_events": [1, 1], "max_event_seconds": [2.0, 2.0]}
    pushed = [scene.events()[0].onset for scene in scenes(ToneBank(2.0), count=400, onsets="pushed_back", **keys)]
    even = [scene.events()[0].onset for scene in scenes(ToneBank(2.0), count=400, **keys)]
    assert max(pushed) == 2.0 >= max(even) > 1.9
    assert 0.42 < np.mean(np.array(pushed) == 2.0) < 0.58
    assert np.mean(np.array(even) == 2.0) < 0.02
    assert np.mean(np.array(pushed) < 1.0) == pytest.approx(0.25, abs=0.06)


def test_events_of_one_class_stay_apart_where_no_gap_is_closed() -> None:
    keys = {"classes_per_scene": 1, "num_events": [3, 3], "max_overlap": 3, "duration_seconds": 3.0}
    for scene in scenes(ToneBank(2.0), same_class_gap_seconds=None, **keys):
        assert len(scene.events()) == len(scene.placed) == 3
        assert [event.onset for event in scene.events()] == sorted(event.onset for event in scene.events())


def test_counts_snr_and_level_are_drawn_from_their_ranges() -> None:
    drawn = scenes(ToneBank(0.2), num_events=[1, 3], snr_db=[3, 9], background_db=[-50, -40])
    assert {len(scene.placed) for scene in drawn} == {1, 2, 3}
    assert all(3 <= placed.snr_db <= 9 for scene in drawn for placed in scene.placed)
    assert all(-50 <= scene.background_db <= -40 for scene in drawn)


def test_class_weights_weigh() -> None:
    drawn = scenes(ToneBank(0.2), count=200, class_weights={"Dog": 3.0})
    counts = Counter(placed.sound.event_label for scene in drawn for placed in scene.placed)
    assert 2.3 < counts["Dog"] / counts["Cat"] < 3.9


def test_a_long_sound_is_cut_to_the_limit() -> None:
    lengths = [p.heard_samples / RATE for s in scenes(ToneBank(8.0), max_event_seconds=[1.0, 2.0]) for p in s.placed]
    assert 0.95 < min(lengths) < 1.2
    assert 1.8 < max(lengths) <= 2.0


def test_a_sound_longer_than_the_scene_fits_into_it() -> None:
    for scene in scenes(ToneBank(8.0), duration_seconds=3.0, num_events=[1, 1]):
        (event,) = scene.events()
        # Excerpts end on whole blocks of 10 ms, so up to two of them may be missing.
        assert 2.98 <= event.duration <= 3.0


def test_a_stretched_sound_keeps_within_the_limit() -> None:
    stretched = {"max_event_seconds": [2.0, 2.0], "variation": {"time_stretch": [1.5, 2.0]}}
    lengths = [p.heard_samples / RATE for s in scenes(ToneBank(8.0), **stretched) for p in s.placed]
    assert 1.9 < min(lengths) <= max(lengths) <= 2.0


def test_the_table_of_co_occurrence_decides_the_classes() -> None:
    table = {"Dog": {"classes": ["Cat"], "probas": [1.0], "count_probas": [0, 0, 1]}}
    for scene in scenes(ToneBank(0.2), co_occurrence=table):
        assert Counter(placed.sound.event_label for placed in scene.placed) == {"Dog": 1, "Cat": 2}


def test_a_unimodal_scene_has_one_class_of_distinct_sources() -> None:
    unimodal = {"classes_per_scene": 1, "distinct_sources": True, "num_events": [3, 3], "max_overlap": 3}
    drawn = scenes(NumberedBank(0.2, num_sources=5), **unimodal)
    assert {len({placed.sound.event_label for placed in scene.placed}) for scene in drawn} == {1}
    assert {len({placed.sound.source for placed in scene.placed}) for scene in drawn} == {3}
    assert {placed.sound.event_label for scene in drawn for placed in scene.placed} == {"Cat", "Dog"}


def test_where_sources_run_out_events_are_left_out() -> None:
    drawn = scenes(NumberedBank(0.2, num_sources=1), classes_per_scene=1, distinct_sources=True, num_events=[3, 3])
    assert {len(scene.placed) for scene in drawn} == {1}


def test_a_room_leaves_every_other_draw_as_it_is() -> None:
    for dry, wet in zip(scenes(ToneBank(0.5)), scenes(ToneBank(0.5), room={}), strict=True):
        assert wet.events() == dry.events()
        assert [replace(placed, response=None) for placed in wet.placed] == list(dry.placed)
        assert all(placed.response is not None for placed in wet.placed)


def scene_of(*placed: tuple[str, float, float]) -> Scene:
    """(label, onset, offset) in seconds, in a scene of ten."""
    events = tuple(
        PlacedEvent(
            Sound(label, "s", "s", 0), 0, 1, Variation(), round(onset * RATE), round((offset - onset) * RATE), 10.0
        )
        for label, onset, offset in placed
    )
    return Scene(10 * RATE, Sound("background", "b", "b", 0), -50.0, events, 160, 800, 0.150)


def test_gaps_under_150_ms_within_a_class_are_closed() -> None:
    # seconds  1       2  2.1     3  3.15     4
    # Dog      |-------|  |-------|  |--------|       0.10 s merges, 0.15 s does not
    # Cat                2.05 |--------------| 4      another class is left alone
    scene = scene_of(("Dog", 1, 2), ("Dog", 2.1, 3), ("Dog", 3.15, 4), ("Cat", 2.05, 4))
    found = [(e.event_label, e.onset, e.offset) for e in scene.events()]
    assert found == [("Dog", 1.0, 3.0), ("Cat", 2.05, 4.0), ("Dog", 3.15, 4.0)]


def test_an_event_under_the_minimum_is_annotated_as_that_long() -> None:
    assert [(e.onset, e.offset) for e in scene_of(("Dog", 1, 1.01), ("Cat", 9.98, 10)).events()] == [
        (1.0, 1.05),
        (9.95, 10.0),
    ]


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"labels": ["Dog", "Dog"]}, r"labels: class 'Dog' stands twice"),
        ({"num_events": [3, 1]}, r"num_events \[3, 1\] must be a range"),
        ({"snr_db": [9.0, 3.0]}, r"snr_db: the range \[9.0, 3.0\] runs backwards"),
        ({"class_weights": {"Bird": 1.0}}, r"class_weights: 'Bird'"),
        ({"class_weights": {"Dog": 0.0, "Cat": 0.0}}, r"every class has weight 0"),
        ({"max_event_seconds": [0.01, 2.0]}, r"goes below min_event_seconds"),
        ({"variation": {"speed": [0.1, 1.0]}}, r"speeds must lie between 0.5 and 2"),
        ({"variation": {"time_stretch": [0.1, 1.0]}}, r"stretches must lie between 0.5 and 2"),
        ({"variation": {"pitch_semitones": [-1.0, 24.0]}}, r"semitones must lie between -12 and 12"),
        ({"room": {"rt60_second": [0.1, 0.2]}}, r"room.rt60_second: unknown key .*did you mean 'rt60_seconds'"),
        ({"snr": [1, 2]}, r"snr: unknown key .*did you mean 'snr_db'"),
    ],
)
def test_contradictory_options_are_refused(keys: dict[str, object], sentence: str) -> None:
    with pytest.raises(OptionsError, match=sentence):
        options_of(**keys)
