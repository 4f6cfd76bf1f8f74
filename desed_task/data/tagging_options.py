"""Options of what a tagger is trained on: its clips, the order in which they are heard, and what is mixed into them.

Waveforms are altered where they are read, in this order: excerpt or chunk, zeros or repetition up to the length of the
batch, gain, mixup with another clip, background noise. What alters features is an augmentation of the conf.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from desed_task.data.corpora.tagging_corpora import TaggingCorpus
from desed_task.labelling.class_balance import PSLA_OFFSET
from desed_task.options import Options


class ShuffledOptions(Options):
    """Every clip once per epoch."""

    name: Literal["shuffled"] = "shuffled"


class WeightedOptions(Options):
    """Clips of rare classes more often: drawn by weights, those of balanced sampling where no file is named.

    PSLA, AST: the defaults. EfficientAT: offset 100, replacement false, epoch_clips 100000.
    """

    name: Literal["weighted"] = "weighted"
    weights: Path | None = Field(
        None, description="A published weight file: one number per line, in the order of the corpus's list."
    )
    offset: float = Field(PSLA_OFFSET, gt=0, description="A class of n clips weighs 1000 / (n + offset).")
    replacement: bool = Field(True, description="Whether a clip may be drawn again within an epoch.")
    epoch_clips: int | None = Field(
        None, ge=1, description="Draws that count as an epoch, without replacement at most all; null: as many as clips."
    )


class RoundRobinOptions(Options):
    """Classes in turn, each with the next clip of its own shuffled list (PANNs)."""

    name: Literal["class_round_robin"] = "class_round_robin"
    epoch_clips: int | None = Field(
        None, ge=1, description="Draws that count as an epoch; null: as many as there are clips."
    )


Sampling = Annotated[ShuffledOptions | WeightedOptions | RoundRobinOptions, Field(discriminator="name")]
Tail = Literal["tile", "shift", "drop"]


class ChunkOptions(Options):
    """Clips are cut into chunks of data.clip_seconds, each an item of its own with all labels of its clip."""

    hop_seconds: float = Field(0.5, gt=0, description="From the beginning of one chunk to that of the next.")
    tail: Tail = Field(
        "tile",
        description="What becomes of the rest at a clip's end: tile repeats it up to a chunk (as published), shift "
        "moves the last chunk back to end with the clip, drop leaves it out.",
    )


class WaveformMixupOptions(Options):
    """A clip is mixed with another of the whole set, waveforms and labels alike.

    PSLA, AST: the defaults. EfficientAT: alpha 2, larger true. AudioTagging Done Right's multinomial: partner weighted.
    """

    probability: float = Field(0.5, ge=0, le=1, description="Share of the clips that are mixed.")
    alpha: float = Field(10.0, gt=0, description="Both parameters of the Beta distribution of the clip's share.")
    partner: Literal["uniform", "weighted"] = Field(
        "uniform", description="Whether every clip is as likely a partner, or by the weights of sampling."
    )
    larger: bool = Field(False, description="Whether a clip keeps the larger of its share and the rest.")


class BackgroundOptions(Options):
    """Noise recordings beneath the clips, at a chosen ratio of powers."""

    root: Path = Field(description="A folder of noise recordings; packed once into data.store.")
    probability: float = Field(0.5, ge=0, le=1, description="Share of the clips that get noise.")
    snr_db: tuple[float, float] = Field((10.0, 60.0), description="Least and largest ratio of clip to noise, in dB.")

    @model_validator(mode="after")
    def _in_order(self) -> BackgroundOptions:
        _require_order("snr_db", self.snr_db)
        return self


class TeacherOptions(Options):
    """Knowledge distillation: what another model said about the clips, blended into their labels."""

    scores: Path = Field(description="Clip scores (.npz) of the training clips, as recipes/evaluate.py writes them.")
    label_weight: float = Field(
        0.1, ge=0, le=1, description="Share of the labels in the targets; the rest is the teacher's."
    )


class PartOptions(Options):
    """Some of a source's clips: it is divided into parts of about equal size, clips of one group in one part."""

    number: int = Field(ge=1, description="Which part, counted from 1.")
    of: int = Field(ge=2, description="How many parts there are.")
    heard: Literal["part", "others"] = Field(
        "others", description="others: all parts but this one, which is held out; part: this one alone."
    )

    @model_validator(mode="after")
    def _consistent(self) -> PartOptions:
        if self.number > self.of:
            raise ValueError(f"number {self.number} of {self.of} parts does not exist; lower it")
        return self


class TaggingSource(Options):
    """One source of weakly labelled training clips."""

    corpus: TaggingCorpus = Field(description="Where the clips are.")
    more: tuple[TaggingCorpus, ...] = Field((), description="Further corpora whose clips are drawn with its own.")
    part: PartOptions | None = Field(None, description="Only some of the clips, for cross-fitting; null: all.")
    batch_size: int = Field(ge=1, description="Its clips, or chunks, per batch.")
    sampling: Sampling = Field(ShuffledOptions(), description="Which clips an epoch hears, in which order.")
    chunks: ChunkOptions | None = Field(None, description="Cut clips into chunks; null: a clip is heard as a whole.")
    longer: Literal["random", "beginning"] = Field(
        "random", description="Of a clip longer than data.clip_seconds (not in chunks): a random excerpt, or the first."
    )
    shorter: Literal["zeros", "tile"] = Field(
        "zeros", description="A clip shorter than data.clip_seconds ends in zeros, or is repeated."
    )
    remove_mean: bool = Field(False, description="Whether each waveform's mean is removed, over its own samples.")
    gain_db: tuple[float, float] | None = Field(
        None, description="Least and largest random gain of a waveform, in dB; null: none."
    )
    waveform_mixup: WaveformMixupOptions | None = Field(None, description="Mixing clips before features; null: none.")
    background: BackgroundOptions | None = Field(None, description="Noise beneath the clips; null: none.")
    teacher: TeacherOptions | None = Field(None, description="Blending another model's scores in; null: labels alone.")

    @model_validator(mode="after")
    def _consistent(self) -> TaggingSource:
        if self.gain_db is not None:
            _require_order("gain_db", self.gain_db)
        mixup = self.waveform_mixup
        if mixup is not None and mixup.partner == "weighted" and not isinstance(self.sampling, WeightedOptions):
            raise ValueError("waveform_mixup.partner weighted needs `sampling: {name: weighted}`; take uniform without")
        return self

    @property
    def tiles(self) -> bool:
        """Whether what is shorter than the batch's length is repeated."""
        return self.chunks.tail == "tile" if self.chunks is not None else self.shorter == "tile"


def _require_order(key: str, ends: tuple[float, float]) -> None:
    if ends[0] > ends[1]:
        raise ValueError(f"{key} {ends[0]:g}, {ends[1]:g}: the first must not be the larger; swap them")
