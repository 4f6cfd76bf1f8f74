"""Every variant of what a conf names: front-ends, models, augmentations, corpora. Each is one line here and one file.

The unions are what confs are checked against, the dictionaries what is built. A detector and a tagger choose from the
same front-ends and models.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Annotated, Any

from pydantic import Field
from torch import nn

from desed_task.augment.filter_augment import FilterAugment, FilterAugmentOptions
from desed_task.augment.frequency_mask import FrequencyMask, FrequencyMaskOptions
from desed_task.augment.mixup import Mixup, MixupOptions
from desed_task.clips import ClipSet, Supervision
from desed_task.data.corpora.desed import DesedOptions, read_desed
from desed_task.data.corpora.esc import EscOptions, read_esc
from desed_task.data.corpora.folder import FolderOptions, read_folder
from desed_task.data.corpora.soundscapes import SoundscapesOptions, read_soundscapes
from desed_task.data.online_options import OnlineOptions
from desed_task.features.logmel import LogMel, LogMelOptions
from desed_task.models.crnn import CRNN, CRNNOptions
from desed_task.models.tagger import InputShape
from desed_task.training.step import Augmentation

Features = LogMelOptions
FRONTENDS: dict[str, Callable[[Any, bool], Any]] = {"logmel": LogMel}

Model = CRNNOptions
MODELS: dict[str, Callable[[Any, InputShape, int], nn.Module]] = {
    "crnn": lambda options, shape, num_classes: CRNN(options, shape.mel_bands, num_classes)
}

Corpus = Annotated[SoundscapesOptions | DesedOptions | EscOptions | FolderOptions, Field(discriminator="name")]
TrainingCorpus = Annotated[
    SoundscapesOptions | DesedOptions | EscOptions | FolderOptions | OnlineOptions, Field(discriminator="name")
]
CORPORA: dict[str, Callable[[Any, Supervision, Collection[str] | None], ClipSet]] = {
    "soundscapes": read_soundscapes,
    "desed": read_desed,
    "esc10": read_esc,
    "esc50": read_esc,
    "folder": read_folder,
}

AugmentationOptions = Annotated[MixupOptions | FilterAugmentOptions | FrequencyMaskOptions, Field(discriminator="name")]
AUGMENTATIONS: dict[str, Callable[[Any], Augmentation]] = {
    "mixup": Mixup,
    "filter_augment": FilterAugment,
    "frequency_mask": FrequencyMask,
}
