"""How often a clip should be drawn so that rare classes are heard as often as frequent ones.

A class that n_c clips carry weighs w_c = 1000 / (n_c + offset), and a clip weighs the sum of its classes' weights.
PSLA, AST and AudioTagging Done Right take offset 0.01 (`gen_weight_file.py`; it only avoids a division by zero),
EfficientAT takes 100, which flattens the differences. Drawn with replacement by such weights every class is heard about
equally often, but for classes that occur together.

The numbers are those of the published files to 1e-6: the weights of the AudioSet balanced list (21,717 clips) add up to
526917.6885017512. A class that stands twice in a clip's list counts twice, as there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from desed_task.errors import DesedTaskError
from desed_task.labelling.pairs import flat_labels

WEIGHT_SCALE = 1000.0
PSLA_OFFSET = 0.01
EFFICIENT_AT_OFFSET = 100.0

Weights = NDArray[np.float64]


def class_counts(labels_per_clip: Sequence[Sequence[int]], num_classes: int) -> NDArray[np.int64]:
    """Clips of each class: (classes,). labels_per_clip: the class numbers of each clip."""
    _, classes = flat_labels(labels_per_clip, num_classes)
    return np.bincount(classes, minlength=num_classes)


def class_weights(counts: NDArray[np.int64], offset: float = PSLA_OFFSET) -> Weights:
    """1000 / (n_c + offset) of each class: (classes,)."""
    if offset <= 0 and not counts.all():
        raise DesedTaskError(f"class {int(np.argmin(counts))} has no clip; weigh classes with an offset above 0")
    return np.asarray(WEIGHT_SCALE / (counts + offset), dtype=np.float64)


def sampling_weights(
    labels_per_clip: Sequence[Sequence[int]], num_classes: int, offset: float = PSLA_OFFSET
) -> Weights:
    """The weight of each clip, that of a clip without classes is 0: (clips,) float64.

    labels_per_clip: the class numbers of each clip. DesedTaskError for a number that is no class.
    """
    clips, classes = flat_labels(labels_per_clip, num_classes)
    weights = class_weights(np.bincount(classes, minlength=num_classes), offset)
    return np.asarray(np.bincount(clips, weights=weights[classes], minlength=len(labels_per_clip)), dtype=np.float64)
