"""Energy of a stretch of work, by CodeCarbon: kWh of CPU, GPU and memory.

Works without network, NVML and RAPL: CodeCarbon then estimates from the processor's thermal design power and load, and
the reading is marked `estimated`. Training, inference and scoring are metered apart, so that the scorer's cost is not
the system's. One meter runs at a time. What is metered is the machine: other work on it is counted in.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from desed_task.options import Options

LOG = logging.getLogger(__name__)
# CodeCarbon's names of the ways to read a CPU's own counter; the others are models of it.
_COUNTERS = {"intel_rapl", "intel_power_gadget", "windows_emi", "apple_powermetrics", "powermetrics"}


class EnergyOptions(Options):
    """What CodeCarbon needs to know."""

    country: str = Field("FRA", pattern="^[A-Z]{3}$", description="ISO code of the grid whose emissions are assumed.")
    interval_seconds: float = Field(1.0, gt=0, description="Seconds between power readings.")
    test_includes_scoring: bool = Field(
        False, description="devtest_tot_kwh.txt counts the scoring too, as the published meter does."
    )


@dataclass
class EnergyReading:
    """kWh of a finished stretch; `estimated` when no hardware counter of the CPU was readable."""

    name: str
    kwh: float | None = None
    seconds: float | None = None
    estimated: bool = True


@contextmanager
def metered(name: str, folder: Path, kwh_file: str, options: EnergyOptions) -> Iterator[EnergyReading]:
    """Meter a block. Writes `<folder>/emissions.csv` and the kWh as text to `<folder>/<kwh_file>`, also when it fails.

    The reading is filled in when the block ends. A meter that fails costs a warning, never the work.
    """
    folder.mkdir(parents=True, exist_ok=True)
    reading = EnergyReading(name)
    tracker = _start(name, folder, options)
    try:
        yield reading
    finally:
        if tracker is not None:
            _stop(tracker, reading)
        write_kwh(folder / kwh_file, reading.kwh)


def write_kwh(path: Path, kwh: float | None) -> None:
    """Write a reading as the published text file: the number alone."""
    text = "not measured" if kwh is None else f"{kwh:.9g}"
    path.write_text(text + "\n", encoding="utf-8")


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
            )
            tracker.start()
        return tracker
    except Exception as error:
        LOG.warning("energy is not metered: %s", error)
        return None


def _stop(tracker: Any, reading: EnergyReading) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tracker.stop()
        data = tracker.final_emissions_data
        reading.kwh, reading.seconds = float(data.energy_consumed), float(data.duration)
        reading.estimated = not _modes(tracker) & _COUNTERS
    except Exception as error:
        LOG.warning("energy of %s is not known: %s", reading.name, error)


def _modes(tracker: Any) -> set[str]:
    """How CodeCarbon read each piece of hardware, in its own words."""
    return {str(getattr(part, "_mode", "")) for part in getattr(tracker, "_hardware", [])}
