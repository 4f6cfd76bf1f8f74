"""The clip sets of a run, read and checked before anything is packed or written.

A recording that cannot be used is refused here, in the first minute, not after hours of training.
"""

from __future__ import annotations

from dataclasses import dataclass

from desed_task.clips import ClipSet
from desed_task.data.checking import check_recordings
from desed_task.data.decoding import decode_recordings
from desed_task.data.online_options import OnlineOptions, check_online
from desed_task.data.stored_source import require_share
from desed_task.experiment import SedOptions, build_clip_set, open_readers
from desed_task.system import System
from desed_task.training.fit import FAST_DEV_STEPS

FAST_DEV_CLIPS = 8


@dataclass(frozen=True)
class ClipSets:
    """What a training reads: one set per source of each batch, what it is selected by, what it is tested on."""

    train: tuple[ClipSet, ...]
    validation: tuple[ClipSet, ...]
    test: ClipSet


def read_clip_sets(system: System[SedOptions], fast_dev_run: bool, checked: bool = False) -> ClipSets:
    """Every set of the conf, read and checked; a fast development run takes the first few clips of each.

    checked: another process has looked at the recordings.
    """
    data, labels = system.options.data, system.labels
    train = []
    for source in data.train:
        train.append(build_clip_set(source, labels, FAST_DEV_STEPS * source.batch_size if fast_dev_run else None))
        if isinstance(source.corpus, OnlineOptions):
            check_online(source.corpus, source.batch_size, labels, system.grid, data.clip_seconds)
        else:
            require_share(train[-1], source.batch_size)
    few = FAST_DEV_CLIPS if fast_dev_run else None
    validation = [build_clip_set(source, labels, few) for source in data.validation]
    sets = ClipSets(tuple(train), tuple(validation), read_test_set(system, fast_dev_run))
    if not checked:
        _check_audio(sets, system)
        for clip_set in (*sets.train, *sets.validation, sets.test):
            open_readers(system.options, clip_set)  # what is not stored would be missed after training
    return sets


def read_test_set(system: System[SedOptions], fast_dev_run: bool) -> ClipSet:
    """The set that systems are scored on."""
    return build_clip_set(system.options.data.test, system.labels, FAST_DEV_CLIPS if fast_dev_run else None)


def check_decoding(clip_set: ClipSet, system: System[SedOptions]) -> None:
    """AudioError when a recording cannot be decoded: a set that is not packed would be missed only after training."""
    for _ in decode_recordings([clip.path for clip in clip_set.clips], system.grid.sample_rate):
        pass


def _check_audio(sets: ClipSets, system: System[SedOptions]) -> None:
    """AudioError for a recording that cannot be used; warns of recordings that are not there."""
    every = (*sets.train, *sets.validation, sets.test)
    of_one_store = [part for clip_set in every for part in clip_set.parts or (clip_set,)]
    check_recordings(of_one_store, system.options.data.store, system.grid.sample_rate)
    check_decoding(sets.test, system)
