"""Weakly labelled clips for a tagger: whole, or in chunks, in the order that its sampling gives, mixed if so asked.

Waveforms come from the packed store, memory-mapped or resident; what is done to them happens in `fill`, on the device
of the batch. Every random number of a batch is drawn for all its clips from (seed, epoch, step, source) alone, so a
batch is the same however many ranks share it and whatever was made before it.

Waveform mixup is PSLA's (Gong et al. 2021): both means are removed, the partner is padded with zeros or cut to the
clip's length, lambda ~ Beta(10, 10), the mean is removed again, and labels are lambda and 1 - lambda. Two things differ
from the published loaders: a clip longer than the batch's length is cut before it is mixed and not after features, and
lambda comes from a generator of its own, where worker processes of the published loaders draw the same numbers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from desed_task.clips import ClipSet
from desed_task.data.clip_chunks import cut_chunks
from desed_task.data.clip_sampling import weighted_items
from desed_task.data.clip_tags import ClipTags, digest
from desed_task.data.item_orders import ItemOrder, build_item_order
from desed_task.data.mapped import Excerpts, MappedExcerpts, SampleStore
from desed_task.data.source import Draw, Moment
from desed_task.data.tagging_options import TaggingSource
from desed_task.data.waveform_mixing import add_noise, mix_in, remove_mean, rows_of, tile
from desed_task.errors import CorpusError
from desed_task.labels import LabelSet

# Keeps the draws of batches apart from those of other sources, and of orders.
_BATCH_DRAWS = 0x7A6
# Where things lie changes no batch; what they hold is described by its content.
_PLACES: dict[str, Any] = {
    **{"corpus": True, "more": True, "part": True},
    **{"sampling": {"weights"}, "background": {"root"}, "teacher": {"scores"}},
}
_NO_EVENTS: NDArray[np.int64] = np.zeros((0, 4), dtype=np.int64)


@dataclass(frozen=True)
class Sounds:
    """Excerpts of a store, one entry each: clip, first sample, samples that are its own, gain as a factor."""

    clips: NDArray[np.int64]
    firsts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    gains: NDArray[np.float64]

    def at(self, rows: Any) -> Sounds:
        """Those of some rows."""
        return Sounds(self.clips[rows], self.firsts[rows], self.lengths[rows], self.gains[rows])

    @property
    def chosen(self) -> list[tuple[int, int]]:
        """As `Excerpts.fill` takes them."""
        return list(zip(self.clips.tolist(), self.firsts.tolist(), strict=True))


@dataclass(frozen=True)
class _Heard:
    """What `fill` writes: clips, each with its partner's share and partner, and with its noise and ratio.

    shares: 1 where nothing is mixed in; snr_db: infinite where no noise is added.
    """

    sounds: Sounds
    partners: Sounds
    shares: NDArray[np.float64]
    noises: Sounds | None
    snr_db: NDArray[np.float64]


@dataclass(frozen=True)
class Background:
    """Noise recordings, and the way to their samples."""

    store: SampleStore
    excerpts: Excerpts


class TaggedSource:
    """A source (data/source.py) of weakly labelled clips."""

    def __init__(
        self,
        clip_set: ClipSet,
        store: SampleStore,
        options: TaggingSource,
        labels: LabelSet,
        sample_rate: int,
        num_samples: int,
        excerpts: Excerpts | None = None,
        background: Background | None = None,
    ) -> None:
        """num_samples: of each clip in a batch, also the length of a chunk. excerpts: of the same clips, by default
        those of the memory map. background: the recordings of `options.background`.

        CorpusError for a set that is not weak, has too few clips, or does not fit its weights or its teacher's scores.
        """
        assert (background is not None) == (options.background is not None), "noise comes with its options"
        if clip_set.supervision != "weak":
            raise CorpusError(
                f"{clip_set.name}: a tagger learns from weak labels, this set's are {clip_set.supervision}"
            )
        self.name, self.batch_size = clip_set.name, options.batch_size
        self.store = store
        self._options = options
        self._excerpts = excerpts or MappedExcerpts(store)
        self._background = background
        self._num_samples = num_samples
        self._tags = ClipTags(clip_set, labels, options.teacher)
        if options.chunks is None:
            self._item_clip, self._item_first = np.arange(len(store)), np.zeros(len(store), dtype=np.int64)
        else:
            hop = max(1, round(options.chunks.hop_seconds * sample_rate))
            self._item_clip, self._item_first = cut_chunks(store.lengths, num_samples, hop, options.chunks.tail)
        self._order: ItemOrder = build_item_order(
            options.sampling, clip_set, self._tags.classes_of_clips, self._item_clip
        )
        if self.num_batches < 1:
            raise CorpusError(
                f"{self.name}: an epoch of {self._order.num_draws} clips or chunks is fewer than its share of "
                f"{self.batch_size} per batch; lower its batch_size"
            )

    @property
    def num_batches(self) -> int:
        """Whole batches that an epoch's items make."""
        return self._order.num_draws // self.batch_size

    def draw(self, moment: Moment, crops: np.random.Generator, rows: range) -> Draw:  # noqa: ARG002 (draws alone)
        """The next items in the epoch's order, and what is mixed into them."""
        order = self._order.of(moment)
        items = order[moment.step * self.batch_size : (moment.step + 1) * self.batch_size]
        rng = np.random.default_rng((*moment, _BATCH_DRAWS))
        own = slice(rows.start, rows.stop)
        sounds = self._sounds(items, rng).at(own)
        partners, shares = self._partners(rng)
        partners, shares = partners.at(own), shares[own]
        noises, snr_db = self._noises(rng)
        heard = _Heard(sounds, partners, shares, noises.at(own) if noises is not None else None, snr_db[own])
        audio_ids = tuple(self.store.audio_ids[clip] for clip in sounds.clips.tolist())
        if not self._tags.is_graded and (shares == 1.0).all():
            return Draw(audio_ids, "weak", _NO_EVENTS, self._tags.rows(sounds.clips), heard)
        values = self._tags.values(sounds.clips) * shares[:, None].astype(np.float32)
        values += self._tags.values(partners.clips) * (1.0 - shares[:, None]).astype(np.float32)
        return Draw(audio_ids, "weak", _NO_EVENTS, np.zeros((0, 2), dtype=np.int64), heard, values)

    def fill(self, draw: Draw, waveforms: Tensor) -> None:
        """Copy the excerpts, repeat or level them, mix partners and noise in."""
        heard: _Heard = draw.clips
        lengths = self._write(heard.sounds, waveforms, self._excerpts, self._options.tiles)
        self._mix_partners(heard, waveforms, lengths)
        self._add_noises(heard, waveforms, lengths)

    def describe(self) -> Any:
        """Clips, labels, order, and everything that is mixed in, wherever it lies."""
        noise = self._background.store if self._background is not None else None
        return [
            json.loads(self._options.model_dump_json(exclude=_PLACES)),
            digest(self.store.audio_ids),
            digest(self.store.lengths),
            [digest(noise.audio_ids), digest(noise.lengths)] if noise is not None else None,
            self._order.description,
            self._tags.describe(),
        ]

    # What is drawn, for all rows of a batch.

    def _sounds(self, items: NDArray[np.int64], rng: np.random.Generator) -> Sounds:
        clips = self._item_clip[items]
        own = self.store.lengths[clips]
        if self._options.chunks is None and self._options.longer == "random":
            firsts = _random_firsts(own, self._num_samples, rng)
        else:
            firsts = self._item_first[items]
        return Sounds(clips, firsts, np.minimum(own - firsts, self._num_samples), self._gains(len(items), rng))

    def _gains(self, num: int, rng: np.random.Generator) -> NDArray[np.float64]:
        least_most = self._options.gain_db
        return np.ones(num) if least_most is None else np.asarray(10.0 ** (rng.uniform(*least_most, num) / 20.0))

    def _partners(self, rng: np.random.Generator) -> tuple[Sounds, NDArray[np.float64]]:
        """A partner of every row, and the row's share, 1 where it is not mixed."""
        mixup, num = self._options.waveform_mixup, self.batch_size
        if mixup is None:
            return self._sounds(np.zeros(num, dtype=np.int64), rng), np.ones(num)
        mixed = rng.random(num) < mixup.probability
        shares = rng.beta(mixup.alpha, mixup.alpha, num)
        shares = np.maximum(shares, 1.0 - shares) if mixup.larger else shares
        if mixup.partner == "weighted":
            assert self._order.cumulative is not None, "the options ask for weights"
            items = weighted_items(self._order.cumulative, num, rng)
        else:
            items = rng.integers(0, len(self._item_clip), num)
        return self._sounds(items, rng), np.where(mixed, shares, 1.0)

    def _noises(self, rng: np.random.Generator) -> tuple[Sounds | None, NDArray[np.float64]]:
        """Noise for every row, and how far it is below the clip, infinitely where none is added."""
        options, num = self._options.background, self.batch_size
        if options is None or self._background is None:
            return None, np.full(num, np.inf)
        lengths = self._background.store.lengths
        clips = rng.integers(0, len(lengths), num)
        firsts = _random_firsts(lengths[clips], self._num_samples, rng)
        own = np.minimum(lengths[clips] - firsts, self._num_samples)
        added = rng.random(num) < options.probability
        return Sounds(clips, firsts, own, np.ones(num)), np.where(added, rng.uniform(*options.snr_db, num), np.inf)

    # What is done with it, on the device of the batch.

    def _write(self, sounds: Sounds, waveforms: Tensor, excerpts: Excerpts, tiled: bool) -> list[int]:
        """Excerpts as rows; how many samples of each are heard."""
        excerpts.fill(sounds.chosen, waveforms)
        rows, lengths = rows_of(waveforms), sounds.lengths.tolist()
        for number, (length, gain) in enumerate(zip(lengths, sounds.gains.tolist(), strict=True)):
            row = rows[number]
            if gain != 1.0:
                row[:length] *= gain
            if tiled and length < len(row):
                tile(row, length)
        lengths = [waveforms.shape[1]] * len(lengths) if tiled else lengths
        if self._options.remove_mean:
            for number, length in enumerate(lengths):
                remove_mean(rows[number], length)
        return lengths

    def _mix_partners(self, heard: _Heard, waveforms: Tensor, lengths: list[int]) -> None:
        mixed = np.flatnonzero(heard.shares < 1.0)
        if not len(mixed):
            return
        others = torch.empty((len(mixed), waveforms.shape[1]), device=waveforms.device)
        other_lengths = self._write(heard.partners.at(mixed), others, self._excerpts, self._options.tiles)
        rows, other_rows = rows_of(waveforms), rows_of(others)
        for number, row in enumerate(mixed.tolist()):
            remove_mean(rows[row], lengths[row])
            remove_mean(other_rows[number], other_lengths[number])
            mix_in(rows[row], other_rows[number], float(heard.shares[row]), lengths[row])
            remove_mean(rows[row], lengths[row])

    def _add_noises(self, heard: _Heard, waveforms: Tensor, lengths: list[int]) -> None:
        noisy = np.flatnonzero(np.isfinite(heard.snr_db))
        if heard.noises is None or self._background is None or not len(noisy):
            return
        noise = torch.empty((len(noisy), waveforms.shape[1]), device=waveforms.device)
        self._write(heard.noises.at(noisy), noise, self._background.excerpts, tiled=True)
        rows, noise_rows = rows_of(waveforms), rows_of(noise)
        for number, row in enumerate(noisy.tolist()):
            add_noise(rows[row], noise_rows[number], float(heard.snr_db[row]), lengths[row])


def _random_firsts(lengths: NDArray[np.int64], num_samples: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Where an excerpt of each clip begins; 0 of a clip that is not longer."""
    surplus = np.maximum(lengths - num_samples, 0)
    return np.asarray(rng.integers(0, surplus + 1), dtype=np.int64)
