"""Which published file holds the weights of a network, for a conf that names none."""

from __future__ import annotations

from typing import Any

from desed_task.data.fetch.weights import (
    AST_AUDIOSET,
    CNN14,
    CNN14_16K,
    CNN14_DECISION_LEVEL_MAX,
    PublishedWeights,
)
from desed_task.features.frontend import FrontendOptions
from desed_task.features.kaldi import KaldiOptions
from desed_task.features.panns import PANNsOptions
from desed_task.models.ast import ASTOptions
from desed_task.models.cnn14 import Cnn14Options

# sample rate and decision of a Cnn14
_CNN14 = {(16000, "clip"): CNN14_16K, (32000, "clip"): CNN14, (32000, "max"): CNN14_DECISION_LEVEL_MAX}


def published_weights(model: Any, features: FrontendOptions) -> PublishedWeights | None:
    """The file that was published of a network that hears `features`; None where there is none, or none is known."""
    if isinstance(model, Cnn14Options) and isinstance(features, PANNsOptions):
        is_whole = (model.architecture, model.width, features.num_bands) == ("cnn14", 1.0, 64)
        return _CNN14.get((features.sample_rate, model.decision)) if is_whole else None
    if isinstance(model, ASTOptions) and isinstance(features, KaldiOptions):
        heard = (features.sample_rate, features.num_bands, model.fstride, model.tstride)
        is_it = (model.model_size, model.depth, *heard) == ("base384", 12, 16000, 128, 10, 10)
        return AST_AUDIOSET if is_it else None
    return None
