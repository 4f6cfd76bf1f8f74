"""Energy of a stretch of work, by CodeCarbon: kWh of CPU, GPU and memory.

Works without network, NVML and RAPL: CodeCarbon then estimates from the processor's thermal design power and load, and the
reading is marked `estimated`. Training, inference and scoring are metered apart, so that the scorer's cost is not the
system's. One meter runs at a time.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from desed_task.options import Options


class EnergyOptions(Options):
    """What CodeCarbon needs to know."""

    country: str = Field("FRA", pattern="^[A-Z]{3}$", description="ISO code whose grid's emissions are assumed offline.")
    interval_seconds: float = Field(1.0, gt=0, description="Seconds between power readings.")


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

    The reading is filled in when the block ends. A meter that cannot start costs a warning, never the work.
    """
    folder.mkdir(parents=True, exist_ok=True)
    reading = EnergyReading(name)
    tracker = _start(name, folder, options)
    try:
        yield reading
    finally:
        if tracker is not None:
            _stop(tracker, reading)
        text = "not measured" if reading.kwh is None else f"{reading.kwh:.9g}"
        (folder / kwh_file).write_text(text + "\n", encoding="utf-8")


def _start(name: str, folder: Path, options: EnergyOptions):  # type: ignore[no-untyped-def]
    # CodeCarbon imports pandas and asks the hardware, so only a metered run pays for it.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from codecarbon import OfflineEmissionsTracker  # noqa: PLC0415

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
        logging.getLogger(__name__).warning("energy is not metered: %s", error)
        return None


def _stop(tracker, reading: EnergyReading) -> None:  # type: ignore[no-untyped-def]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tracker.stop()
    data = tracker.final_emissions_data
    reading.kwh = float(data.energy_consumed)
    reading.seconds = float(data.duration)
    reading.estimated = _is_estimated(tracker)


def _is_estimated(tracker) -> bool:  # type: ignore[no-untyped-def]
    """CodeCarbon's own word on its CPU readings: "intel_rapl" and "intel_power_gadget" are counters, the rest is a model."""
    modes = {str(getattr(part, "_mode", "")) for part in getattr(tracker, "_hardware", [])}
    return not modes & {"intel_rapl", "intel_power_gadget", "powermetrics"}
