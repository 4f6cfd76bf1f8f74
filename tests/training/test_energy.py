"""Energy with the real CodeCarbon: it costs what it lasts, needs no network, and never costs the work itself.

The work is a loop that ends by the clock, so that a loaded machine does not change its length.
"""

from __future__ import annotations

import csv
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from desed_task.training.energy import (
    PUBLISHED,
    EnergyOptions,
    EnergyReading,
    metered,
    publish_energy,
    read_energy,
    write_kwh,
)

OPTIONS = EnergyOptions(interval_seconds=0.5)


def work(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(10_000))


def meter(folder: Path, seconds: float) -> EnergyReading:
    with metered("TEST", folder, "tot_kwh.txt", OPTIONS) as reading:
        work(seconds)
    return reading


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every attempt to connect or to look up a name fails, and is listed."""
    attempts: list[Any] = []

    def refuse(*address: Any, **_: Any) -> None:
        attempts.append(address)
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    return attempts


def test_twice_the_time_costs_about_twice_the_energy(tmp_path: Path) -> None:
    once, twice = meter(tmp_path / "once", 2.0), meter(tmp_path / "twice", 4.0)
    assert once.kwh is not None
    assert twice.kwh is not None
    assert once.kwh > 0
    assert 1.6 <= twice.kwh / once.kwh <= 2.4
    assert once.seconds == pytest.approx(2.0, abs=1.0)


def test_files_are_written_and_no_network_is_asked(tmp_path: Path, no_network: list[Any]) -> None:
    reading = meter(tmp_path / "codecarbon", 0.6)
    assert no_network == []
    assert reading.kwh is not None
    assert float((tmp_path / "codecarbon" / "tot_kwh.txt").read_text()) == pytest.approx(reading.kwh, rel=1e-6)
    with (tmp_path / "codecarbon" / "emissions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 1
    assert rows[0]["project_name"] == "TEST"
    assert float(rows[0]["energy_consumed"]) == pytest.approx(reading.kwh, rel=1e-6)


class Tracker:
    """Stands in for CodeCarbon's tracker; `mode` is how it says it read the CPU."""

    mode = "intel_rapl"
    fails_on = ""

    def __init__(self, **_: Any) -> None:
        self._hardware = [type("CPU", (), {"_mode": self.mode})(), type("RAM", (), {})()]
        self.final_emissions_data = type("Data", (), {"energy_consumed": 0.25, "duration": 60.0})()
        self._maybe_fail("init")

    def flush(self) -> None:
        self._maybe_fail("flush")

    def _prepare_emissions_data(self) -> Any:
        return type("Data", (), {"energy_consumed": 0.125, "duration": 30.0})()

    def start(self) -> None:
        self._maybe_fail("start")

    def stop(self) -> None:
        self._maybe_fail("stop")

    def _maybe_fail(self, where: str) -> None:
        if self.fails_on == where:
            raise RuntimeError(f"NVML denied on {where}")


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch) -> type[Tracker]:
    mine = type("Mine", (Tracker,), {})
    monkeypatch.setattr("codecarbon.OfflineEmissionsTracker", mine)
    return mine


@pytest.mark.parametrize(
    ("mode", "estimated"),
    [("intel_rapl", False), ("apple_powermetrics", False), ("constant", True), ("cpu_load", True)],
)
def test_readings_without_a_hardware_counter_are_marked_estimated(
    tmp_path: Path, tracker: type[Tracker], mode: str, estimated: bool
) -> None:
    tracker.mode = mode
    reading = meter(tmp_path, 0.0)
    assert (reading.kwh, reading.seconds, reading.estimated) == (0.25, 60.0, estimated)


@pytest.mark.parametrize("where", ["init", "start", "stop"])
def test_a_meter_that_fails_costs_a_warning_and_not_the_work(
    tmp_path: Path, tracker: type[Tracker], where: str, caplog: pytest.LogCaptureFixture
) -> None:
    tracker.fails_on = where
    done = []
    with metered("TEST", tmp_path, "tot_kwh.txt", OPTIONS) as reading:
        done.append(True)
    assert done
    assert reading.kwh is None
    assert reading.estimated
    assert f"NVML denied on {where}" in caplog.text
    assert (tmp_path / "tot_kwh.txt").read_text() == "not measured\n"


def test_work_that_fails_still_leaves_its_energy(tmp_path: Path, tracker: type[Tracker]) -> None:
    with pytest.raises(ZeroDivisionError), metered("TEST", tmp_path, "tot_kwh.txt", OPTIONS):
        raise ZeroDivisionError
    assert (tmp_path / "tot_kwh.txt").read_text() == "0.25\n"


def test_a_flush_writes_down_what_was_metered_so_far(tmp_path: Path, tracker: type[Tracker]) -> None:
    with metered("TEST", tmp_path, "tot_kwh.txt", OPTIONS) as reading:
        assert not (tmp_path / "tot_kwh.txt").exists()
        reading.flush()
        assert (tmp_path / "tot_kwh.txt").read_text() == "0.125\n"
    assert (tmp_path / "tot_kwh.txt").read_text() == "0.25\n"


def test_stretches_add_up_and_each_keeps_its_record(tmp_path: Path, tracker: type[Tracker]) -> None:
    for go_on, kwh, seconds in ((False, 0.25, 60.0), (True, 0.5, 120.0), (True, 0.75, 180.0)):
        tracker.mode = "constant" if kwh == 0.5 else "intel_rapl"
        with metered("TEST", tmp_path, "tot_kwh.txt", OPTIONS, go_on) as reading:
            pass
        assert (reading.kwh, reading.seconds, reading.estimated) == (kwh, seconds, kwh >= 0.5)
    before = read_energy("TEST", tmp_path)
    assert (before.kwh, before.seconds, before.estimated) == (0.75, 180.0, True)
    with metered("TEST", tmp_path, "tot_kwh.txt", OPTIONS) as reading:
        pass
    assert reading.kwh == 0.25  # measured anew, not gone on with


def test_a_stretch_that_was_not_measured_counts_nothing(
    tmp_path: Path, tracker: type[Tracker], caplog: pytest.LogCaptureFixture
) -> None:
    with metered("TEST", tmp_path, "tot_kwh.txt", OPTIONS):
        pass
    tracker.fails_on = "stop"
    with metered("TEST", tmp_path, "tot_kwh.txt", OPTIONS, go_on=True) as reading:
        pass
    assert reading.kwh == 0.25
    assert "energy of TEST is not known" in caplog.text


def test_the_published_paths_hold_the_latest_run(tmp_path: Path) -> None:
    for run, kwh in (("version_0", 1.0), ("version_1", 2.0)):
        for stage, name in PUBLISHED.items():
            (tmp_path / run / stage).mkdir(parents=True)
            write_kwh(tmp_path / run / stage / name, kwh)
        publish_energy(tmp_path / run)
    for place in (
        "training_codecarbon/training_tot_kwh.txt",
        "devtest_codecarbon/devtest_tot_kwh.txt",
        "evaluation_codecarbon/eval_tot_kwh.txt",
    ):
        assert (tmp_path / place).read_text() == "2\n"
        assert (tmp_path / "version_0" / place).read_text() == "1\n"


def test_a_country_is_three_capitals() -> None:
    with pytest.raises(ValueError, match="country"):
        EnergyOptions(country="France")
