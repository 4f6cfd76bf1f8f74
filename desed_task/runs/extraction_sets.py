"""What of a conf is extracted: which of its embedders, and which recordings, by the file that they go into."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from desed_task.clips import Clip, ClipSet
from desed_task.data.online_options import OnlineOptions
from desed_task.embedders.build import BuiltEmbedder
from desed_task.embedders.options import ASTEmbedderOptions, NetworkOptions, PANNsEmbedderOptions, resolved
from desed_task.embedders.weights import recorded
from desed_task.embeddings.store import file_name_of
from desed_task.errors import CorpusError, OptionsError
from desed_task.experiment import SedOptions, TrainingSource, build_clip_set, build_eval_set
from desed_task.labels import LabelSet
from desed_task.system import listener_of

LOG = logging.getLogger(__name__)
# For confs that have no embedder: as the published script knows them.
PUBLISHED = {"panns": PANNsEmbedderOptions, "ast": ASTEmbedderOptions}


def choose_embedder(options: SedOptions, name: str | None, weights: Path | None) -> tuple[str, BuiltEmbedder]:
    """The embedder of that name, or the only one; `weights` for a conf that has none. OptionsError, CheckpointError."""
    if not options.embedders:
        chosen = _published(name, weights)
    elif weights is not None:
        raise OptionsError("--weights is for a conf without embedders; here set embedders.NAME.weights")
    else:
        name = _only(options.embedders, name)
        found = resolved(options.embedders[name])
        if not isinstance(found, NetworkOptions):
            raise OptionsError(f"embedders.{name}: another program extracted it, and its network is not here")
        chosen = found
    assert name is not None
    known = recorded(chosen.model_copy(update={"mode": "frozen"}))
    assert isinstance(known, NetworkOptions)
    return name, BuiltEmbedder(known, options.features.sample_rate, options.data.clip_seconds, listener_of(options))


def choose_sets(options: SedOptions, eval_set: bool, names: Sequence[str]) -> dict[str, ClipSet]:
    """File name -> the clips that go into it: all that the conf trains on and is validated and tested with.

    Online scenes have no recordings. eval_set: `data.eval` too. names: those alone, where there are any. CorpusError
    for recordings that are not there, or two of one name in a file; OptionsError for a name that the conf lacks.
    """
    sets: dict[str, dict[str, Clip]] = {}
    further = [build_eval_set(options)] if eval_set else []
    for clip_set in [*_read_sets(options, names), *further]:
        for part in clip_set.parts or (clip_set,):
            _add(sets.setdefault(file_name_of(part.name), {}), part)
    if names:
        names = (*names, *(file_name_of(clip_set.name) for clip_set in further))
    unknown = next((name for name in names if name not in sets), None)
    if unknown is not None:
        raise OptionsError(f"--sets {unknown}: the conf has no such set; it has {', '.join(sets)}")
    return {
        name: ClipSet(name, tuple(clips.values()), "none") for name, clips in sets.items() if name in (names or sets)
    }


def _published(name: str | None, weights: Path | None) -> NetworkOptions:
    if name not in PUBLISHED:
        raise OptionsError(
            f"--pretrained_model {name or 'NAME'}: the conf has no embedders; take one of {', '.join(PUBLISHED)} with "
            f"--weights FILE, or write embedders into the conf"
        )
    return PUBLISHED[name](weights=weights)


def _only(embedders: Mapping[str, object], name: str | None) -> str:
    if name is None and len(embedders) == 1:
        return next(iter(embedders))
    if name in embedders:
        assert name is not None
        return name
    raise OptionsError(f"--pretrained_model {name or 'NAME'}: name one of the conf's embedders: {', '.join(embedders)}")


def _read_sets(options: SedOptions, names: Sequence[str]) -> list[ClipSet]:
    data, labels = options.data, LabelSet(options.labels)
    sources = [source for source in data.train if not isinstance(source.corpus, OnlineOptions)]
    sets = [build_clip_set(source, labels) for source in sources]
    sets += [build_clip_set(source, labels) for source in (*data.validation, data.test)]
    if data.strong_real is not None:
        try:
            source = TrainingSource(corpus=data.strong_real, supervision="none", batch_size=1)
            sets.append(build_clip_set(source, labels))
        except CorpusError as error:  # confs name it for those who have it
            if names:
                raise
            LOG.warning("data.strong_real is left out: %s", error)
    return sets


def _add(clips: dict[str, Clip], part: ClipSet) -> None:
    for clip in part.clips:
        other = clips.setdefault(clip.audio_id, clip)
        if other.path.resolve() != clip.path.resolve():
            raise CorpusError(
                f"{part.name}: {other.path} and {clip.path} are both called {clip.audio_id} and go into one file; "
                f"rename one, or extract the sets into several --output_dir"
            )
