from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from desed_task.audio.reading import write_waveform
from desed_task.errors import CorpusError, OptionsError
from desed_task.options import check_options
from desed_task.soundscapes.room import Room, RoomOptions, RoomResponse, build_impulse_response, reverberate

RATE = 16_000


def options_of(**keys: object) -> RoomOptions:
    return check_options(keys, RoomOptions)


@pytest.mark.parametrize("rt60", [0.3, 1.0])
def test_the_tail_has_fallen_by_thirty_decibels_at_half_the_decay_time(rt60: float) -> None:
    # Schroeder's backward integral: the energy that is still to come, in dB; a straight line of 60 dB per RT60.
    tails = np.stack([build_impulse_response(RoomResponse(rt60, 0.0, seed), RATE) for seed in range(20)])[:, 1:]
    remaining_db = 10 * np.log10(np.cumsum((tails**2).sum(axis=0)[::-1])[::-1])
    early, late = round(0.2 * rt60 * RATE), round(0.7 * rt60 * RATE)
    assert remaining_db[early] - remaining_db[late] == pytest.approx(30, abs=1.5)


@pytest.mark.parametrize("ratio_db", [-3.0, 0.0, 12.0])
def test_the_direct_sound_is_so_many_decibels_over_the_rest(ratio_db: float) -> None:
    response = build_impulse_response(RoomResponse(0.5, ratio_db, 7), RATE)
    assert response[0] == 1.0
    assert 10 * np.log10(1 / np.sum(response[1:].astype(float) ** 2)) == pytest.approx(ratio_db, abs=0.01)
    assert not response[1 : round(0.0024 * RATE)].any()


def test_a_click_becomes_the_response_and_its_onset_stays() -> None:
    click = np.zeros(100, dtype=np.float32)
    click[10] = 0.5
    response = RoomResponse(0.2, 6.0, 1)
    heard = reverberate(click, response, RATE)
    assert len(heard) == 100 + round(0.2 * RATE) - 1
    assert np.allclose(heard[10 : 10 + round(0.2 * RATE)], 0.5 * build_impulse_response(response, RATE), atol=1e-6)
    assert np.abs(heard[:10]).max() < 1e-6


def test_one_room_per_scene_and_one_place_per_event() -> None:
    room = Room(np.random.default_rng(3), options_of(rt60_seconds=[0.2, 0.9], direct_to_reverberant_db=[0, 10]))
    drawn = [room.draw_response() for _ in range(4)]
    assert len({response.rt60_seconds for response in drawn if response}) == 1
    assert len({response.direct_to_reverberant_db for response in drawn if response}) == 4
    assert len({response.seed for response in drawn if response}) == 4


def test_so_many_scenes_are_heard_in_a_room() -> None:
    rooms = [Room(np.random.default_rng(seed), options_of(probability=0.3)) for seed in range(300)]
    assert 60 < sum(room.draw_response() is not None for room in rooms) < 120


def test_a_measured_response_is_used_from_its_direct_sound_on(tmp_path: Path) -> None:
    measured = np.zeros(400, dtype=np.float32)
    measured[[50, 60, 200]] = 0.8, -0.4, 0.2
    write_waveform(tmp_path / "hall.wav", measured, RATE)
    response = Room(np.random.default_rng(0), options_of(impulse_responses=str(tmp_path))).draw_response()
    assert response is not None
    built = build_impulse_response(response, RATE)
    assert len(built) == 350
    assert built[[0, 10, 150]] == pytest.approx([1.0, -0.5, 0.25], abs=1e-3)


def test_bad_rooms_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match=r"rt60_seconds: decay times must lie between 0.05 and 10"):
        options_of(rt60_seconds=[0.0, 1.0])
    with pytest.raises(OptionsError, match=r"runs backwards"):
        options_of(direct_to_reverberant_db=[5, 1])
    with pytest.raises(CorpusError, match=r"nowhere: no such folder"):
        options_of(impulse_responses=str(tmp_path / "nowhere")).check_files()
