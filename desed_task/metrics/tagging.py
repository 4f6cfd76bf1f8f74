"""Tagging F1: which classes occur in a clip, whenever that is.

A class is tagged where the clip score is above 0.5 (strictly); it is right where the reference holds an event of the
class in the clip.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from desed_task.encoding import encode_weak
from desed_task.labels import LabelSet
from desed_task.metrics.counts import F1, macro_f1, matched_counts, micro_f1
from desed_task.metrics.scenarios import TAGGING_THRESHOLD
from desed_task.postprocessing.thresholds import decide


def tagging_f1(
    clip_values: Mapping[str, NDArray[np.float32]], reference: Mapping[str, Collection[str]], labels: LabelSet
) -> F1:
    """clip_values: audio_id -> (classes,); reference: audio_id -> its class names, for at least the same clips."""
    tagged = decide(np.stack(list(clip_values.values())), TAGGING_THRESHOLD)
    present = np.stack([encode_weak(reference[audio_id], labels) for audio_id in clip_values]).astype(bool)
    columns = zip(labels, present.sum(axis=0), tagged.sum(axis=0), (tagged & present).sum(axis=0), strict=True)
    per_class = {label: matched_counts(int(there), int(said), int(right)) for label, there, said, right in columns}
    return F1(macro_f1(per_class), micro_f1(per_class), per_class)
