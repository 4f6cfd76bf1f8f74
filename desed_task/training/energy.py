"""Energy of a stretch of work, by CodeCarbon: kWh of CPU, GPU and memory.

Works without network, NVML and RAPL: CodeCarbon then estimates from the processor's thermal design power and load, and
the reading is marked `estimated`. Training, inference and scoring are metered apart, so that the scorer's cost is not
the system's. One meter runs at a time. What is metered is the machine: other work on it is counted in.

A training that is resumed is metered in stretches, each with its record in `stretches.json` (and CodeCarbon's in
`emissions.csv`); its kWh is their sum. The record of a running stretch is renewed with every checkpoint, so a kill
loses no more energy than work.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from desed_task.options import Options

LOG = logging.getLogger(__name__)
TRAINING = "training_codecarbon"
# Folder and file of each published reading; dcase_task4's paths.
PUBLISHED = {
    TRAINING: "training_tot_kwh.txt",
    "devtest_codecarbon": "devtest_tot_kwh.txt",
    "evaluation_codecarbon": "eval_tot_kwh.txt",
}
# CodeCarbon's names of the ways to read a CPU's own counter; the others are models of it.
_COUNTERS = {"intel_rapl", "intel_power_gadget", "windows_emi", "apple_powermetrics", "powermetrics"}


class EnergyOptions(Options):
    """What CodeCarbon needs to know."""

    country: str = Field("FRA", pattern="^[A-Z]{3}$", description="ISO code of the grid whose emissions are assumed.")
    interval_seconds: float = Field(1.0, gt=0, description="Seconds between power readings.")
    test_includes_scoring: bool = Field(
        False, description="devtest_tot_kwh.txt counts the scoring too, as the published meter does."
    )


@dataclass(frozen=True)
class Stretch:
    """One uninterrupted piece of metered work; `estimated` when no hardware counter of the CPU was readable."""

    kwh: float | None = None
    seconds: float | None = None
    estimated: bool = True


@dataclass
class EnergyReading:
    """kWh and seconds of some work, over all its stretches; `flush` writes down what was metered so far."""

    name: str
    kwh: float | None = None
    seconds: float | None = None
    estimated: bool = True
    flush: Callable[[], None] = field(default=lambda: None, repr=False, compare=False)

    def add_up(self, stretches: Sequence[Stretch]) -> None:
        """Become the sum of `stretches`; one that was not measured counts nothing."""
        known = [stretch for stretch in stretches if stretch.kwh is not None]
        self.kwh = sum(stretch.kwh or 0.0 for stretch in known) if known else None
        self.seconds = sum(stretch.seconds or 0.0 for stretch in known) if known else None
        self.estimated = not known or any(stretch.estimated for stretch in known)


@contextmanager
def metered(
    name: str, folder: Path, kwh_file: str, options: EnergyOptions, go_on: bool = False
) -> Iterator[EnergyReading]:
    """Meter a block. Writes `<folder>/emissions.csv` and the kWh as text to `<folder>/<kwh_file>`, also when it fails.

    The reading is filled in when the block ends, and by its `flush`. go_on: the block is one more stretch of the work
    that `folder` already has records of. A meter that fails costs a warning, never the work.
    """
    folder.mkdir(parents=True, exist_ok=True)
    before = _read_stretches(folder) if go_on else []
    reading = EnergyReading(name)
    tracker = _start(name, folder, options)

    def write_down(stretch: Stretch) -> None:
        reading.add_up([*before, stretch])
        _write_stretches([*before, stretch], folder)
        write_kwh(folder / kwh_file, reading.kwh)

    reading.flush = lambda: write_down(_measure(tracker, reading, "flush"))
    try:
        yield reading
    finally:
        write_down(_measure(tracker, reading, "stop"))


def read_energy(name: str, folder: Path) -> EnergyReading:
    """What was metered before in `folder`."""
    reading = EnergyReading(name)
    reading.add_up(_read_stretches(folder))
    return reading


def write_kwh(path: Path, kwh: float | None) -> None:
    """Write a reading as the published text file: the number alone."""
    _write_text("not measured\n" if kwh is None else f"{kwh:.9g}\n", path)


def publish_energy(run_folder: Path) -> None:
    """Copy a run's kWh to the published paths, `<log_dir>/training_codecarbon/training_tot_kwh.txt` and its siblings.

    They hold the latest run's; every run folder keeps its own.
    """
    for stage, kwh_file in PUBLISHED.items():
        for name in (kwh_file, "emissions.csv"):
            source, published = run_folder / stage / name, run_folder.parent / stage / name
            if source.is_file():
                try:
                    published.parent.mkdir(exist_ok=True)
                    _write_text(source.read_text(encoding="utf-8"), published)
                except OSError as error:
                    LOG.warning("%s: the energy could not be copied there: %s", published, error)


def copy_stretches(run_folder: Path, other: Path) -> None:
    """Take the records of a training along when it goes on in another run folder."""
    stretches = _read_stretches(run_folder / TRAINING)
    if stretches:
        (other / TRAINING).mkdir(parents=True, exist_ok=True)
        _write_stretches(stretches, other / TRAINING)


def _read_stretches(folder: Path) -> list[Stretch]:
    path = folder / "stretches.json"
    try:
        return [Stretch(**row) for row in json.loads(path.read_text(encoding="utf-8"))] if path.is_file() else []
    except (OSError, ValueError, TypeError) as error:
        LOG.warning("%s: the energy of earlier stretches is not readable and not counted: %s", path, error)
        return []


def _write_stretches(stretches: Sequence[Stretch], folder: Path) -> None:
    _write_text(json.dumps([asdict(stretch) for stretch in stretches], indent=2) + "\n", folder / "stretches.json")


def _write_text(text: str, path: Path) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _start(name: str, folder: Path, options: EnergyOptions) -> Any | None:
    # CodeCarbon imports pandas and asks the hardware, so only a metered run pays for it.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from codecarbon import OfflineEmissionsTracker

            logging.getLogger("codecarbon").setLevel(logging.ERROR)
            tracker = OfflineEmissionsTracker(
                project_name=name,
                country_iso_code=options.country,
                measure_power_secs=options.interval_seconds,
                output_dir=str(folder),
                log_level="critical",
                allow_multiple_runs=True,
                on_csv_write="update",  # one row per stretch, renewed by each flush
            )
            tracker.start()
        return tracker
    except Exception as error:
        LOG.warning("energy is not metered: %s", error)
        return None


def _measure(tracker: Any | None, reading: EnergyReading, how: Literal["flush", "stop"]) -> Stretch:
    """The tracker's reading so far, or in the end."""
    if tracker is None:
        return Stretch()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tracker.stop() if how == "stop" else tracker.flush()
        data = tracker.final_emissions_data if how == "stop" else tracker._prepare_emissions_data()
        return Stretch(float(data.energy_consumed), float(data.duration), not _modes(tracker) & _COUNTERS)
    except Exception as error:
        LOG.warning("energy of %s is not known: %s", reading.name, error)
        return Stretch()


def _modes(tracker: Any) -> set[str]:
    """How CodeCarbon read each piece of hardware, in its own words."""
    return {str(getattr(part, "_mode", "")) for part in getattr(tracker, "_hardware", [])}
