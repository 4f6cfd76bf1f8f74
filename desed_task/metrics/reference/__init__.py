"""The published scorers behind our nouns: one file each. Nothing else knows them, or pandas.

They are oracles: what they answer stands beside our figures where somebody asks (`--reference`) and in tests. Clips are
matched by audio_id, so `x.wav` and `x` are one clip. DesedTaskError when the package that is asked is not installed.
"""

from desed_task.metrics.psds import Psds
from desed_task.metrics.reference.by_psds_eval import intersection_f1, psds
from desed_task.metrics.reference.by_sed_eval import collar_f1, segment_f1
from desed_task.metrics.reference.packages import scorer_versions
from desed_task.metrics.reference.side_by_side import ComparedFigure, compare, format_comparison

__all__ = [
    "ComparedFigure",
    "Psds",
    "collar_f1",
    "compare",
    "format_comparison",
    "intersection_f1",
    "psds",
    "scorer_versions",
    "segment_f1",
]
