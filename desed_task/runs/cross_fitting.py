"""Cross-fitting: what taggers say about training clips that they have not heard, for every clip of a training.

The training clips of a conf are divided into parts (data/clip_parts.py: clips of one source in one part); as many
taggers are trained, each on the other parts, and each is asked about its own. Epochs are selected on the conf's
validation set, which no training clip is of; evaluation sets are left out.

    <expdir>/part_<number>/version_N               the run of each part, which a series that was ended goes on with
    <expdir>/part_<number>/version_N/held_out.npz  what it says about its part
    <expdir>/scores.npz                            all clips, with the part of each as its fold (formats/clip_scores.py)

`scores.npz` is what recipes/enhance_labels.py takes, and what a teacher of the same clips may say (`teacher.scores`).
"""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

import numpy as np
import torch

from desed_task.clips import ClipSet, join_clip_sets
from desed_task.command_line import show
from desed_task.data.clip_parts import divide
from desed_task.data.joined import open_stores
from desed_task.data.tagging_options import PartOptions
from desed_task.errors import OptionsError
from desed_task.formats.clip_scores import ClipScores, clip_scores_of, read_clip_scores, write_clip_scores
from desed_task.metrics.report_tables import format_tag_table
from desed_task.metrics.tag_report import encode_tags, evaluate_tags
from desed_task.runs.seeds import find_earlier_run
from desed_task.runs.tagging import TAGGING
from desed_task.runs.tagging_sets import TaggingSet, probabilities
from desed_task.runs.train import resume, train
from desed_task.tagging import TaggingOptions, build_tagger, load_tagger, read_training_sets
from desed_task.training.ranks import ALONE, Ranks
from desed_task.training.tagging_module import MODEL

LOG = logging.getLogger(__name__)
SCORES, HELD_OUT = "scores.npz", "held_out.npz"


def cross_fit(
    options: TaggingOptions, num_parts: int, expdir: Path, device: torch.device, ranks: Ranks = ALONE
) -> Path:
    """Train, ask and write; the path of the scores. A series that was ended goes on where it was.

    OptionsError for fewer than 2 parts or sources that are parts already; CorpusError when there are too few clips.
    """
    _require_divisible(options, num_parts, ranks)
    said = []
    for number in range(1, num_parts + 1):
        LOG.info("part %d of %d", number, num_parts)
        run = _trained(with_part(options, number, num_parts, "others"), expdir / f"part_{number}", device, ranks)
        said.append(ranks.first(partial(_say_of_part, options, number, num_parts, run, device)))
    return ranks.first(lambda: _write(options, said, expdir))


def with_part(options: TaggingOptions, number: int, num_parts: int, heard: str) -> TaggingOptions:
    """The same training on a part of its clips, or on the others, without evaluation sets."""
    part = PartOptions.model_validate({"number": number, "of": num_parts, "heard": heard})
    sources = tuple(source.model_copy(update={"part": part}) for source in options.data.train)
    return options.model_copy(
        update={"data": options.data.model_copy(update={"train": sources, "evaluation": {}})},
    )


def _require_divisible(options: TaggingOptions, num_parts: int, ranks: Ranks) -> None:
    if num_parts < 2:
        raise OptionsError(f"--folds {num_parts}: what is not heard takes at least 2")
    if any(source.part is not None for source in options.data.train):
        raise OptionsError("data.train: a source is a part already; leave `part` out to cross-fit the whole")

    def check() -> None:
        around = build_tagger(options, {})
        for clip_set in read_training_sets(options, around.labels):
            divide(clip_set, num_parts)
            # Once, as a whole: its parts find their clips in this store.
            open_stores(clip_set, options.data.store, around.grid.sample_rate)

    ranks.in_turn(check)


def _trained(options: TaggingOptions, log_dir: Path, device: torch.device, ranks: Ranks) -> Path:
    """The run folder of a finished training."""
    earlier = ranks.first(partial(find_earlier_run, TAGGING, options, log_dir))
    if earlier is not None:
        return resume(TAGGING, earlier, (), log_dir, device, ranks)
    return train(TAGGING, options, log_dir, device, False, ranks)


def _say_of_part(options: TaggingOptions, number: int, num_parts: int, run: Path, device: torch.device) -> ClipScores:
    """What the best tagger of a run says about the part that it has not heard."""
    held_out = _joined(with_part(options, number, num_parts, "part"))
    path = run / HELD_OUT
    if path.is_file():
        known = read_clip_scores(path)
        if known.audio_ids == tuple(clip.audio_id for clip in held_out.clips):
            return known
    tagger = load_tagger(run).to(device)
    store = open_stores(held_out, options.data.store, tagger.grid.sample_rate)
    truth = encode_tags(held_out.tags, store.audio_ids, tagger.labels)
    of_set = TaggingSet(held_out.name, held_out, store, truth)
    probs = probabilities(of_set.logits(tagger, tagger.models[MODEL], tagger.ears, device))
    scores = clip_scores_of(probs, tagger.labels, [number] * len(probs))
    write_clip_scores(scores, path)
    return scores


def _joined(options: TaggingOptions) -> ClipSet:
    """The clips of all sources; CorpusError when two are called alike."""
    return join_clip_sets(read_training_sets(options, build_tagger(options, {}).labels))


def _write(options: TaggingOptions, said: list[ClipScores], expdir: Path) -> Path:
    """All parts in the order of the training clips, and how right they are."""
    whole = _joined(options)
    rows = {audio_id: probs for part in said for audio_id, probs in part.by_audio_id().items()}
    folds = {audio_id: number for number, part in enumerate(said, start=1) for audio_id in part.audio_ids}
    audio_ids = tuple(clip.audio_id for clip in whole.clips)
    probs = np.stack([rows[audio_id] for audio_id in audio_ids])
    numbers = np.array([folds[audio_id] for audio_id in audio_ids], dtype=np.int64)
    scores = ClipScores(audio_ids, probs, said[0].labels, numbers)
    path = expdir / SCORES
    write_clip_scores(scores, path)
    report = evaluate_tags(scores.by_audio_id(), whole.tags, scores.labels, files_expected=whole.files_expected)
    show(format_tag_table({f"{len(said)} taggers on clips they have not heard": report}))
    LOG.info("scores: %s", path)
    return path
