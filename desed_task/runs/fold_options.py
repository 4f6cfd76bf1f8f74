"""The conf of each fold of a cross-validation: which folds are trained on, which one selects, which one is tested.

The tested fold never selects anything. Where the conf has a validation set, the fold behind the tested one (the first
behind the last) takes its place and is left out of the training, too; where it has none, all other folds are trained on
and the last epoch counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from desed_task.errors import OptionsError
from desed_task.tagging import TaggingOptions


def with_test_fold(options: TaggingOptions, tested: int, folds: Sequence[int]) -> TaggingOptions:
    """The training whose test set is fold `tested` of `folds`; OptionsError where there are too few for that."""
    selects = None if options.data.validation is None else folds[(folds.index(tested) + 1) % len(folds)]
    trained = tuple(fold for fold in folds if fold not in (tested, selects))
    if not trained:
        raise OptionsError(
            f"--folds {len(folds)}: nothing is left to train on; take more folds, or set data.validation to null"
        )
    corpus = corpus_with_folds(options)
    sources = [
        source.model_copy(
            update={
                "corpus": _of_folds(source.corpus, trained),
                "more": tuple(_of_folds(one, trained) for one in source.more),
            }
        )
        for source in options.data.train
    ]
    data = {
        "train": tuple(sources),
        "validation": None if selects is None else _of_folds(corpus, (selects,)),
        "evaluation": {set_of(tested): _of_folds(corpus, (tested,))},
    }
    return options.model_copy(update={"data": options.data.model_copy(update=data)})


def set_of(fold: int) -> str:
    """What the test set of a fold is called in data.evaluation and in reports."""
    return f"fold_{fold}"


def corpus_with_folds(options: TaggingOptions) -> Any:
    """The first training corpus that has folds; OptionsError where there is none."""
    for source in options.data.train:
        for corpus in (source.corpus, *source.more):
            if hasattr(corpus, "folds"):
                return corpus
    raise OptionsError(
        "data.train: no corpus with folds (esc10, esc50, lmdb), so nothing can be cross-validated; name another conf"
    )


def _of_folds(corpus: Any, folds: tuple[int, ...]) -> Any:
    """Some folds of a corpus; one without folds is left as it is."""
    return corpus.model_copy(update={"folds": folds}) if hasattr(corpus, "folds") else corpus
