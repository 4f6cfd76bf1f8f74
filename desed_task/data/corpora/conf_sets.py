"""The sets that a tagger's conf, or one of confs/corpora, names: corpora alone, whatever else the conf says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ConfigDict, Field

from desed_task.clips import ClipSet, Supervision, join_clip_sets
from desed_task.data.corpora.tagging_corpora import TAGGING_CORPORA, TaggingCorpus
from desed_task.errors import OptionsError
from desed_task.options import Options, read_options


class _SomeKeys(Options):
    model_config = ConfigDict(extra="ignore")


class _Source(_SomeKeys):
    corpus: TaggingCorpus
    more: tuple[TaggingCorpus, ...] = ()


class _Data(_SomeKeys):
    train: tuple[_Source, ...] = ()
    validation: TaggingCorpus | None = None
    evaluation: dict[str, TaggingCorpus] = Field(default_factory=dict)


class _Conf(_SomeKeys):
    data: _Data


def read_conf_set(conf: Path, part: str, overrides: Sequence[str] = (), with_events: bool = False) -> ClipSet:
    """The clips of `train`, of `validation` or of an evaluation set; OptionsError where the conf names none such.

    with_events: with the times of their events; CorpusError of a corpus that has none.
    """
    data = read_options(conf, _Conf, overrides).data
    corpora: dict[str, list[TaggingCorpus]] = {name: [corpus] for name, corpus in data.evaluation.items()}
    if data.validation is not None:
        corpora["validation"] = [data.validation]
    if data.train:
        corpora["train"] = [corpus for source in data.train for corpus in (source.corpus, *source.more)]
    if part not in corpora:
        raise OptionsError(f"{conf}: names no set {part!r} (sets here: {', '.join(sorted(corpora)) or 'none'})")
    supervision: Supervision = "strong" if with_events else "weak"
    return join_clip_sets([TAGGING_CORPORA[corpus.name](corpus, supervision, None) for corpus in corpora[part]])
