"""Energy of a system where its meta gives no number: what trainings and packages keep of their meters.

    report.json                       of a training of this project: energy_kwh_training, energy_kwh_inference
    *.csv with `energy_consumed`      CodeCarbon's tables, whole, as the rules of 2024 want them (kWh)

Looked for is from the folder of a run's outputs upwards to the system's own folder, and there in folders called
codecarbon, energy or emissions; the first place that has any counts. Whether a table is of the training, of the test
(test, devtest, inference) or of neither (evaluation, scoring) is said by its name, its folder's or its `project_name`;
a table of another run is left out. A tracker that is asked again writes its sum so far in one more row of the same
`run_id`, so the largest of each run_id is taken, and these are added. Of several runs the energies are averaged.

Tables called `baseline` are the participant's run of the baseline, if there are others; alone they are the system's
own, as the published baseline names its own so.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from desed_task.errors import SubmissionError
from desed_task.submission.layouts import FoundSystem, Output, run_of
from desed_task.submission.meta import Meta

_COLUMN = "energy_consumed"
_FOLDER = re.compile(r"codecarbon|energy|emission", re.IGNORECASE)
_TRAINING = {"training", "train"}
_TEST = {"test", "testing", "devtest", "inference"}
_NEITHER = {"evaluation", "eval", "scoring"}


@dataclass(frozen=True)
class SystemEnergy:
    """kWh, None where not known; baseline: the participant's own run of it. sources: files other than the meta."""

    training: float | None = None
    test: float | None = None
    baseline: float | None = None
    sources: tuple[str, ...] = ()

    @property
    def is_known(self) -> bool:
        """Whether there is a number for training or test."""
        return self.training is not None or self.test is not None


@dataclass(frozen=True)
class _Table:
    """One CSV: what its rows are of (training, test, baseline) and their kWh."""

    path: Path
    is_baseline: bool
    training: float | None
    test: float | None


def energy_of(found: FoundSystem, meta: Meta | None, root: Path) -> SystemEnergy:
    """The meta's numbers, and what files tell in place of those it lacks. SubmissionError for a broken table."""
    said = (
        SystemEnergy() if meta is None else SystemEnergy(meta.energy_training, meta.energy_test, meta.energy_baseline)
    )
    if None not in (said.training, said.test):
        return said
    of_runs = [_of_run(output, found.folder or root) for output in _first_of_runs(found.outputs)]
    measured = SystemEnergy(
        _mean([one.training for one in of_runs]),
        _mean([one.test for one in of_runs]),
        _mean([one.baseline for one in of_runs]),
        tuple(dict.fromkeys(source for one in of_runs for source in one.sources)),
    )
    return SystemEnergy(
        measured.training if said.training is None else said.training,
        measured.test if said.test is None else said.test,
        measured.baseline if said.baseline is None else said.baseline,
        measured.sources,
    )


def _first_of_runs(outputs: Sequence[Output]) -> list[Output]:
    runs: dict[tuple[object, ...], Output] = {}
    for output in outputs:
        runs.setdefault((output.words, output.run), output)
    return list(runs.values())


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _of_run(output: Output, limit: Path) -> SystemEnergy:
    """What lies nearest to the outputs of one run."""
    folder = output.place if output.place.is_dir() else output.place.parent
    while folder == limit or folder.is_relative_to(limit):
        found = _of_report(folder / "report.json", limit) or _of_tables(folder, output.run, limit)
        if found is not None:
            return found
        folder = folder.parent
    return SystemEnergy()


def _of_report(path: Path, limit: Path) -> SystemEnergy | None:
    try:
        tree = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError):
        return None  # a report of somebody else's
    if not isinstance(tree, dict):
        return None
    training, test = (_positive(tree.get(f"energy_kwh_{part}")) for part in ("training", "inference"))
    found = SystemEnergy(training, test, None, (str(path.relative_to(limit)),))
    return found if found.is_known else None


def _positive(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number and value > 0 else None  # type: ignore[arg-type, operator]


def _of_tables(folder: Path, run: str | None, limit: Path) -> SystemEnergy | None:
    tables = [_read(path, folder) for path in _table_paths(folder) if run_of(path.relative_to(folder)) in (None, run)]
    own = [table for table in tables if not table.is_baseline]
    baseline = [table for table in tables if table.is_baseline] if own else []
    own = own or tables
    training, test = _sum([table.training for table in own]), _sum([table.test for table in own])
    of_baseline = _sum([kwh for table in baseline for kwh in (table.training, table.test)])
    used = tuple(str(t.path.relative_to(limit)) for t in (*own, *baseline) if not (t.training is t.test is None))
    found = SystemEnergy(training, test, of_baseline, used)
    return found if found.is_known else None


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) if known else None


def _table_paths(folder: Path) -> Iterator[Path]:
    """CodeCarbon's tables in a folder and in its folders for them."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and _FOLDER.search(path.name):
            yield from (inner for inner in sorted(path.rglob("*")) if _is_table(inner))
        elif _is_table(path):
            yield path


def _is_table(path: Path) -> bool:
    if path.suffix.lower() != ".csv" or path.name.startswith(".") or not path.is_file():
        return False
    with path.open("rb") as stream:
        return _COLUMN in stream.readline(65536).decode("utf-8-sig", errors="replace").strip().split(",")


def _read(path: Path, folder: Path) -> _Table:
    told = _words("/".join(path.relative_to(folder).parts)[: -len(path.suffix)])
    largest: dict[tuple[str, str], float] = {}
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise SubmissionError(f"{path}: not UTF-8 text; save the table as UTF-8") from None
    for row, cells in enumerate(csv.DictReader(io.StringIO(text)), start=2):
        kwh = _kwh(cells.get(_COLUMN), path, row)
        part = _part(told) or _part(_words(cells.get("project_name") or "")) or "other"
        key = (part, cells.get("run_id") or f"row {row}")
        largest[key] = max(kwh, largest.get(key, 0.0))
    sums = {
        part: _sum([kwh for (of_part, _), kwh in largest.items() if of_part == part]) for part in ("training", "test")
    }
    return _Table(path, "baseline" in told, sums["training"] or None, sums["test"] or None)


def _kwh(cell: str | None, path: Path, row: int) -> float:
    try:
        kwh = float(cell or "")
    except ValueError:
        kwh = math.nan
    if not (math.isfinite(kwh) and kwh >= 0):
        raise SubmissionError(f"{path}, row {row}: {_COLUMN} {cell!r} is no energy in kWh; mend it or remove the table")
    return kwh


def _part(words: set[str]) -> str | None:
    """training, test or other, where the words say so."""
    for part, names in (("other", _NEITHER), ("training", _TRAINING), ("test", _TEST)):
        if words & names:
            return part
    return None


def _words(text: str) -> set[str]:
    return {word for word in re.split(r"[^a-z]+", text.lower()) if word}
