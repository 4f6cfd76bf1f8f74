"""Where a conf of confs/corpora says that recordings and packed store lie; its other keys are not looked at."""

from __future__ import annotations

from pathlib import Path

from pydantic import ConfigDict

from desed_task.options import Options, read_options


class _SomeKeys(Options):
    model_config = ConfigDict(extra="ignore")


class _Corpus(_SomeKeys):
    root: Path


class _Source(_SomeKeys):
    corpus: _Corpus


class _Data(_SomeKeys):
    store: Path
    test: _Source


class _Conf(_SomeKeys):
    data: _Data


def read_places(conf: Path) -> tuple[Path, Path]:
    """The root of the test set's corpus, and the folder of packed stores, absolute; OptionsError without one."""
    data = read_options(conf, _Conf).data
    return data.test.corpus.root.resolve(), data.store.resolve()
