"""A system beside a peer, both trained with the same seeds and tested on the same clips: figures, differences, tables.

The difference is paired by seed, its interval that of the mean over the seeds; in square brackets stands the interval
over test clips (paired bootstrap of the mean over the seeds).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from desed_task.metrics.bootstrap import Difference, sample_figures
from desed_task.metrics.intervals import spread
from desed_task.metrics.report import Report
from desed_task.metrics.uncertainty import resampled_figures, samples_of


def compared(
    systems: Sequence[Report], peers: Sequence[Report], figures: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """The reports of a system and of its peer, seed by seed -> one row per figure (name in the report -> title)."""
    over_clips = _differences_over_clips(systems, peers, list(figures))
    for figure in figures:
        values, theirs = ([getattr(report, figure) or 0.0 for report in reports] for reports in (systems, peers))
        value, peer = spread(values), spread(theirs)
        difference = spread([mine - their for mine, their in zip(values, theirs, strict=True)])
        clips = over_clips.get(figure)
        yield {
            "figure": figure,
            "value": value.mean,
            "half_width": value.half_width,
            "values": values,
            "unit": "fraction",
            "peer_value": peer.mean,
            "difference": difference.mean,
            "difference_half_width": difference.half_width,
            "difference_over_clips": [clips.low, clips.high] if clips else None,
            "p_over_clips": clips.p_value if clips else None,
            "ratio": value.mean / peer.mean if peer.mean else None,
        }


def table_of(title: str, rows: Sequence[Mapping[str, Any]], figures: Mapping[str, str], peer: str) -> str:
    """A Markdown table of rows with `system` and `figure`, the peer's without differences."""
    lines = [f"| {title} | " + " | ".join(figures.values()) + " |", "|---" * (len(figures) + 1) + "|"]
    for system in dict.fromkeys(row["system"] for row in rows):
        cells = {row["figure"]: _cell(row, system == peer) for row in rows if row["system"] == system}
        lines.append(f"| {system} | " + " | ".join(cells[figure] for figure in figures) + " |")
    return "\n".join(lines) + "\n"


def _differences_over_clips(
    systems: Sequence[Report], peers: Sequence[Report], wanted: Sequence[str]
) -> dict[str, Difference]:
    """figure -> difference of the means over the seeds, resampled over the test clips."""
    resampled = []
    for reports in (systems, peers):
        figures = [report.evidence.figures for report in reports if report.evidence is not None]
        runs = [resampled_figures(of_run) for of_run in figures]
        names = set.intersection(*(set(run) for run in runs))
        common = [{name: run[name] for name in wanted if name in names} for run in runs]
        resampled.append(sample_figures(common, samples_of(figures[0].truth.num_clips), num_threads=2))
    mine, theirs = resampled
    return {name: mine[name].difference(theirs[name]) for name in mine if name in theirs}


def _cell(row: Mapping[str, Any], is_peer: bool) -> str:
    if row["half_width"] is None:
        return f"{row['value']:.3f}"
    text = f"{row['value']:.3f} ± {row['half_width']:.3f}"
    if is_peer:
        return text
    text += f" ({row['difference']:+.3f} ± {row['difference_half_width']:.3f})"
    low, high = row["difference_over_clips"] or (None, None)
    return text if low is None else f"{text} [{low:+.3f}, {high:+.3f}]"
