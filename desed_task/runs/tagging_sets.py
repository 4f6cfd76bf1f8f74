"""The sets that a tagger is selected by and evaluated on: read, checked and packed once, then heard each epoch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from desed_task.clips import ClipSet
from desed_task.data.joined import open_stores
from desed_task.data.mapped import ClipStore
from desed_task.embeddings.ears import Ears
from desed_task.labels import LabelSet
from desed_task.metrics.tag_report import encode_tags
from desed_task.prediction import predict_clip_logits
from desed_task.system import stored_waveforms
from desed_task.tagging import VALIDATION, Tagger, TaggingOptions, read_evaluation_set
from desed_task.training.ranks import ALONE, Ranks

# A batch of windows holds about this much sound, however long they are.
_SECONDS_PER_BATCH = 80.0
ClipLogits = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class TaggingSet:
    """A set of clips with their tags and their waveforms. truth: (clips, classes) bool in the order of the store."""

    name: str
    clip_set: ClipSet
    store: ClipStore
    truth: NDArray[np.bool_]

    @property
    def key(self) -> str:
        """Its name and its very clips: what was said of others is not of this set."""
        listed = "\n".join(self.store.audio_ids).encode()
        return f"{self.name} {hashlib.sha256(listed).hexdigest()[:16]}"

    def logits(
        self, tagger: Tagger, model: nn.Module, ears: Ears, device: torch.device, ranks: Ranks = ALONE
    ) -> dict[str, NDArray[np.float32]]:
        """audio_id -> (classes,) logits of every clip, as pooled by the view; each rank hears its share."""
        share, view = ranks.share, tagger.windowing
        windows = max(1, round(_SECONDS_PER_BATCH / tagger.options.data.clip_seconds))

        def own() -> ClipLogits:
            waveforms = islice(stored_waveforms(self.store), share.rank, None, share.world)
            return predict_clip_logits(model, ears, waveforms, view, device, windows)

        gathered = ranks.gather(ranks.every(ranks.breakable(own)))
        known = {audio_id: clip for of_rank in gathered for audio_id, clip in of_rank.items()}
        return {audio_id: known[audio_id] for audio_id in self.store.audio_ids}


def read_tagging_sets(options: TaggingOptions, labels: LabelSet, limit: int | None = None) -> dict[str, ClipSet]:
    """The validation set, where there is one, and every evaluation set, by name."""
    validation = options.data.validation
    corpora = {**({} if validation is None else {VALIDATION: validation}), **options.data.evaluation}
    return {name: read_evaluation_set(corpus, labels, limit) for name, corpus in corpora.items()}


def open_tagging_sets(clip_sets: Mapping[str, ClipSet], tagger: Tagger) -> dict[str, TaggingSet]:
    """The same with their waveforms, which are packed here where they are not yet."""
    sets = {}
    for name, clip_set in clip_sets.items():
        store = open_stores(clip_set, tagger.options.data.store, tagger.grid.sample_rate)
        sets[name] = TaggingSet(name, clip_set, store, encode_tags(clip_set.tags, store.audio_ids, tagger.labels))
    return sets


def probabilities(logits: ClipLogits) -> dict[str, NDArray[np.float32]]:
    """Logits -> probabilities, clip by clip."""
    return {audio_id: torch.sigmoid(torch.from_numpy(of_clip)).numpy() for audio_id, of_clip in logits.items()}


def stacked(of_clips: ClipLogits) -> NDArray[np.float32]:
    """(clips, classes)."""
    return np.stack(list(of_clips.values()))
