"""From the options of tagging sources to what a BatchDataset takes: clips read, stores opened, samples placed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from desed_task.clips import ClipSet, join_clip_sets
from desed_task.data.clip_parts import choose_part
from desed_task.data.corpora.folder import FolderOptions, read_folder
from desed_task.data.corpora.tagging_corpora import TAGGING_CORPORA
from desed_task.data.joined import open_stores
from desed_task.data.resident import AskedResidence, build_excerpts
from desed_task.data.tagged_source import Background, TaggedSource
from desed_task.data.tagging_options import BackgroundOptions, TaggingSource
from desed_task.labels import LabelSet


def read_tagging_clips(source: TaggingSource, labels: LabelSet) -> ClipSet:
    """The clips of a source and what is known about them; CorpusError as of its corpora and its part."""
    corpora = (source.corpus, *source.more)
    clip_set = join_clip_sets([TAGGING_CORPORA[corpus.name](corpus, "weak", labels) for corpus in corpora])
    return clip_set if source.part is None else choose_part(clip_set, source.part)


def read_background(options: BackgroundOptions) -> ClipSet:
    """The noise recordings, with the durations of their headers; CorpusError where there are none."""
    return read_folder(FolderOptions(name="folder", root=options.root), "none")


def build_tagged_sources(
    sources: Sequence[TaggingSource],
    clip_sets: Sequence[ClipSet],
    labels: LabelSet,
    sample_rate: int,
    num_samples: int,
    store: Path,
    device: torch.device,
    residence: AskedResidence = "auto",
) -> list[TaggedSource]:
    """One source per options and clip set, for batches of clips of `num_samples` on `device`; packs what is not packed.

    store: the folder of packed waveforms. Noise recordings are packed and placed as clips are.
    """
    stores = [open_stores(clip_set, store, sample_rate) for clip_set in clip_sets]
    noise_stores = {
        number: open_stores(read_background(source.background), store, sample_rate)
        for number, source in enumerate(sources)
        if source.background is not None
    }
    excerpts = build_excerpts([*stores, *noise_stores.values()], device, residence)
    noises = dict(zip(noise_stores, excerpts[len(stores) :], strict=True))
    return [
        TaggedSource(
            clip_sets[number],
            stores[number],
            source,
            labels,
            sample_rate,
            num_samples,
            excerpts[number],
            Background(noise_stores[number], noises[number]) if number in noises else None,
        )
        for number, source in enumerate(sources)
    ]
