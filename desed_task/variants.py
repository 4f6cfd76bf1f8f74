"""Every variant of what a conf names: front-ends, models, augmentations, corpora. Each is one line here and one file.

The unions are what confs are checked against, the dictionaries what is built. A detector and a tagger choose from the
same front-ends, models and augmentations; what taggers hear is in data/corpora/tagging_corpora.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch import nn

from desed_task.augment.background_mix import BackgroundMix, BackgroundMixOptions
from desed_task.augment.feature_noise import FeatureNoise, FeatureNoiseOptions
from desed_task.augment.filter_augment import FilterAugment, FilterAugmentOptions
from desed_task.augment.frequency_mask import FrequencyMask, FrequencyMaskOptions
from desed_task.augment.mixup import Mixup, MixupOptions
from desed_task.augment.random_resized_crop import RandomResizedCrop, RandomResizedCropOptions
from desed_task.augment.spec_augment import SpecAugment, SpecAugmentOptions
from desed_task.augment.time_roll import TimeRoll, TimeRollOptions
from desed_task.clips import ClipSet, Supervision
from desed_task.data.corpora.desed import DesedOptions, read_desed
from desed_task.data.corpora.esc import EscOptions, read_esc
from desed_task.data.corpora.folder import FolderOptions, read_folder
from desed_task.data.corpora.lmdb import LmdbOptions, read_lmdb
from desed_task.data.corpora.soundscapes import SoundscapesOptions, read_soundscapes
from desed_task.data.online_options import OnlineOptions
from desed_task.features.efficientat import EfficientAT, EfficientATOptions
from desed_task.features.fsd50k import FSD50KMel, FSD50KMelOptions, FSD50KSpectrogram, FSD50KSpectrogramOptions
from desed_task.features.kaldi import Kaldi, KaldiOptions
from desed_task.features.logmel import LogMel, LogMelOptions
from desed_task.features.panns import PANNs, PANNsOptions
from desed_task.features.tal import TAL, TALOptions
from desed_task.models.ast import AST, ASTOptions
from desed_task.models.cifar_resnet import CifarResNet, CifarResNetOptions
from desed_task.models.cnn14 import Cnn14, Cnn14Options
from desed_task.models.crnn import CRNN, CRNNOptions
from desed_task.models.densenet import DenseNet, DenseNetOptions
from desed_task.models.efficientnet import EfficientNet, EfficientNetOptions
from desed_task.models.fsd50k_crnn import Fsd50kCRNN, Fsd50kCRNNOptions
from desed_task.models.mobilenet import MobileNet, MobileNetOptions
from desed_task.models.resnet import ResNet, ResNetAttention, ResNetAttentionOptions, ResNetOptions
from desed_task.models.tagger import InputShape
from desed_task.models.talnet import TALNet, TALNetOptions, TALTrans, TALTransOptions
from desed_task.models.transformer import Linear, LinearOptions, Transformer, TransformerOptions
from desed_task.models.vgglike import VGGLike, VGGLikeOptions
from desed_task.training.step import Augmentation

Features = Annotated[
    LogMelOptions
    | FSD50KMelOptions
    | FSD50KSpectrogramOptions
    | KaldiOptions
    | PANNsOptions
    | EfficientATOptions
    | TALOptions,
    Field(discriminator="name"),
]
FRONTENDS: dict[str, Callable[[Any, bool], Any]] = {
    "logmel": LogMel,
    "fsd50k_mel": FSD50KMel,
    "fsd50k_spectrogram": FSD50KSpectrogram,
    "kaldi": Kaldi,
    "panns": PANNs,
    "efficientat": EfficientAT,
    "tal": TAL,
}

Model = Annotated[
    CRNNOptions
    | VGGLikeOptions
    | Fsd50kCRNNOptions
    | ResNetOptions
    | ResNetAttentionOptions
    | CifarResNetOptions
    | DenseNetOptions
    | EfficientNetOptions
    | MobileNetOptions
    | Cnn14Options
    | ASTOptions
    | TALNetOptions
    | TALTransOptions
    | LinearOptions
    | TransformerOptions,
    Field(discriminator="name"),
]
MODELS: dict[str, Callable[[Any, InputShape, int], nn.Module]] = {
    "crnn": CRNN,
    "vgglike": VGGLike,
    "fsd50k_crnn": Fsd50kCRNN,
    "resnet": ResNet,
    "resnet_attention": ResNetAttention,
    "cifar_resnet": CifarResNet,
    "densenet": DenseNet,
    "efficientnet": EfficientNet,
    "mobilenet": MobileNet,
    "cnn14": Cnn14,
    "ast": AST,
    "tal": TALNet,
    "taltrans": TALTrans,
    "linear": Linear,
    "transformer": Transformer,
}

Corpus = Annotated[
    SoundscapesOptions | DesedOptions | EscOptions | FolderOptions | LmdbOptions, Field(discriminator="name")
]
TrainingCorpus = Annotated[
    SoundscapesOptions | DesedOptions | EscOptions | FolderOptions | LmdbOptions | OnlineOptions,
    Field(discriminator="name"),
]
CORPORA: dict[str, Callable[[Any, Supervision, Collection[str] | None], ClipSet]] = {
    "soundscapes": read_soundscapes,
    "desed": read_desed,
    "esc10": read_esc,
    "esc50": read_esc,
    "folder": read_folder,
    "lmdb": read_lmdb,
}

AugmentationOptions = Annotated[
    MixupOptions
    | FilterAugmentOptions
    | FrequencyMaskOptions
    | SpecAugmentOptions
    | RandomResizedCropOptions
    | TimeRollOptions
    | FeatureNoiseOptions
    | BackgroundMixOptions,
    Field(discriminator="name"),
]
# A recording's path -> what the model would hear of it, (mel_frames, mel_bands).
Hear = Callable[[Path], NDArray[np.float32]]
AUGMENTATIONS: dict[str, Callable[[Any, Hear], Augmentation]] = {
    "mixup": lambda options, _: Mixup(options),
    "filter_augment": lambda options, _: FilterAugment(options),
    "frequency_mask": lambda options, _: FrequencyMask(options),
    "spec_augment": lambda options, _: SpecAugment(options),
    "random_resized_crop": lambda options, _: RandomResizedCrop(options),
    "time_roll": lambda options, _: TimeRoll(options),
    "feature_noise": lambda options, _: FeatureNoise(options),
    "background_mix": BackgroundMix,
}
