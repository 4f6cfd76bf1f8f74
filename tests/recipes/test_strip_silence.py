"""The recipe as users of the published script run it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from desed_task.errors import AudioError, CorpusError, DesedTaskError, OptionsError
from recipes.strip_silence import main

RATE = 22_050


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """Dog: half a second of sound in a second of silence, and a click; Whispering: two seconds of sound."""
    rng = np.random.default_rng(0)
    pause = np.zeros(RATE // 2)
    bark = np.concatenate([pause, 0.3 * rng.standard_normal(RATE // 2).clip(-3, 3), pause])
    click = np.concatenate([pause, [0.9] * 20, pause])
    for label, name, waveform in (
        ("Dog", "bark", bark),
        ("Dog", "click", click),
        ("Whispering", "psst", 0.1 * rng.standard_normal(2 * RATE).clip(-3, 3)),
    ):
        (tmp_path / "events" / label).mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "events" / label / f"{name}.wav", waveform, RATE, "PCM_16")
    return tmp_path / "events"


def strip(events: Path, target: Path, *more: str) -> None:
    main(["--src_dir", str(events), "--tgt_dir", str(target), "--num_jobs", "1", *more])


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_events_are_stripped_repeated_and_dropped(
    events: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    target = tmp_path / "stripped"
    with caplog.at_level("INFO"):
        strip(events, target)
    assert set(files_of(target)) == {"strip_silence.yaml", "Dog/bark.wav", "Whispering/psst.wav"}
    bark, rate = soundfile.read(target / "Dog" / "bark.wav", dtype="int16")
    source, _ = soundfile.read(events / "Dog" / "bark.wav", dtype="int16")
    assert (rate, len(bark)) == (RATE, int(1.25 * RATE))
    assert soundfile.info(target / "Dog" / "bark.wav").subtype == "PCM_16"
    # Half a second of sound, and 20 ms of the silence behind it, in which the window still remembers the sound.
    period = RATE // 2 + RATE // 50
    first = next(n for n in range(RATE // 2 - 5, RATE // 2 + 500) if np.abs(bark[:99] - source[n : n + 99]).max() <= 1)
    period -= first - RATE // 2
    assert np.abs(bark[: period - 50].astype(int) - source[first : first + period - 50]).max() <= 1
    assert capsys.readouterr().out.splitlines() == [
        "Dog              1 kept     1 dropped",
        "Whispering       1 kept     0 dropped",
        f"{target}: 2 recordings",
    ]
    assert "Dog/click.wav: too short without its silence; left out" in caplog.text


def test_options_are_those_of_the_script_and_more(events: Path, tmp_path: Path) -> None:
    strip(events, tmp_path / "short", "--min-clip", "0")
    assert len(soundfile.read(tmp_path / "short" / "Dog" / "bark.wav")[0]) < 0.6 * RATE
    strip(events, tmp_path / "loud", "--set", "threshold_percent=60")
    assert not list((tmp_path / "loud" / "Whispering").iterdir())
    with pytest.raises(OptionsError, match=r"volume: unknown key"):
        strip(events, tmp_path / "x", "--set", "volume=0.1")


def test_an_interrupted_run_is_completed_and_other_options_are_refused(events: Path, tmp_path: Path) -> None:
    target = tmp_path / "stripped"
    strip(events, target)
    whole, kept = files_of(target), (target / "Whispering" / "psst.wav").stat().st_mtime_ns
    (target / "Dog" / "bark.wav").unlink()
    (target / "Dog" / "bark.wav.partial").write_bytes(b"half")
    strip(events, target, "--num_jobs", "2")
    assert files_of(target) == whole
    assert (target / "Whispering" / "psst.wav").stat().st_mtime_ns == kept
    with pytest.raises(DesedTaskError, match=r"made by other options \(strip.min_clip_seconds was 1.25, now 2.0\)"):
        strip(events, target, "--min_clip", "2")


def test_bad_input_is_refused_in_one_sentence(events: Path, tmp_path: Path) -> None:
    for source, sentence in ((tmp_path / "gone", "gone: no such folder"), (events / "Dog", "holds no class folder")):
        with pytest.raises(CorpusError, match=sentence):
            strip(source, tmp_path / "out")
    soundfile.write(events / "Dog" / "bark.flac", np.zeros(10), RATE)
    with pytest.raises(CorpusError, match=r"bark.wav: would become the same file as bark.flac; rename one"):
        strip(events, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (events / "Dog" / "bark.flac").write_bytes(b"not audio")
    (events / "Dog" / "bark.wav").unlink()
    with pytest.raises(AudioError, match=r"bark.flac: not decodable"):
        strip(events, tmp_path / "out")


def test_real_recordings_get_shorter_and_stay_what_they_were(shared_data: Path, tmp_path: Path) -> None:
    source = tmp_path / "events" / "rooster"
    source.mkdir(parents=True)
    for path in sorted((shared_data / "esc10" / "audio" / "rooster").iterdir())[:3]:
        (source / path.name).symlink_to(path)
    strip(tmp_path / "events", tmp_path / "stripped")
    for path in (tmp_path / "stripped" / "rooster").iterdir():
        stripped, rate = soundfile.read(path)
        whole, own_rate = soundfile.read(source / f"{path.stem}.ogg")
        assert rate == own_rate == 44_100
        assert 1.25 * rate <= len(stripped) <= len(whole)
        assert np.sum(stripped**2) > 0.95 * np.sum(whole**2)
