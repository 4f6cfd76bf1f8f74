"""Pump: a recording's way through the threads, from its body to its answer.

    event loop -> the model's line -> short lane: decode, cut windows -> device thread -> after thread: scores said,
    result -> event loop

A step of a lane decodes until a few windows are there, and hands them to the model's batcher. A recording that has
more goes on in the long lane. When `windows_ahead` of its windows wait or run it is parked, and put into the lane again
when half of them have come back; so it holds no thread, and its memory does not grow with its length. Where many long
ones are heard at the same time each may have fewer, so that all together have no more than the short ones (`line`).

The event loop is woken once for each batch, and then hears of everything the batch brought about.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING

from desed_task.audio.waveform import Waveform
from desed_task.errors import BundleError
from desed_task.hearing import WindowScores
from serving.inference.batcher import Batch, faulty_rows
from serving.inference.decode_pool import ProcessStream
from serving.inference.decoding import Opener, ThreadOpener
from serving.inference.lanes import Lane
from serving.inference.progress import Recording
from serving.inference.recording import Heard

if TYPE_CHECKING:
    from serving.metrics import Metrics

# A step ends after so long, or with a few windows, and a recording that is not at its end then is a long one.
_STEP_SECONDS = 0.25
_LONG_NICENESS = 10
# Raw samples that are read where they arrive, and recordings of a batch that are finished where it ran.
_QUICK_BYTES = 1 << 20
_FINISHED_AT_ONCE = 4

_log = logging.getLogger("serving")


class TooManyLongError(Exception):
    """As many long recordings as may be are being decoded."""


@dataclass
class Report:
    """What the event loop is told. outcomes: of recordings that are done; heard: how many windows of which."""

    outcomes: list[tuple[Recording, Heard | Exception]] = field(default_factory=list)
    heard: list[tuple[Recording, int]] = field(default_factory=list)


class Pump:
    """The lanes and the after thread of one engine. report: called with a Report in one of these threads."""

    def __init__(
        self,
        open_body: Opener,
        report: Callable[[Report], None],
        decode_threads: int,
        long_threads: int,
        windows_ahead: int,
        max_long_recordings: int,
        metrics: Metrics | None,
    ) -> None:
        self._open = open_body
        self._decodes_here = isinstance(open_body, ThreadOpener)
        self._report = report
        self._windows_ahead = windows_ahead
        self._max_long = max_long_recordings
        self._metrics = metrics
        self._long_ones: set[Recording] = set()
        self._batches: SimpleQueue[Batch[Recording] | None] = SimpleQueue()
        self._short: Lane[Recording] = Lane("decode", decode_threads, self._first_step)
        self._long: Lane[Recording] = Lane("decode-long", long_threads, self._step, _LONG_NICENESS)
        self._after = Thread(target=self._serve_batches, name="after", daemon=True)
        self._after.start()

    @property
    def long_is_full(self) -> bool:
        """Whether no further long recording could be decoded."""
        return len(self._long_ones) >= self._max_long

    def begin(self, recording: Recording) -> None:
        """Let a recording have its first step, when it is its turn."""
        line = recording.model.line
        if line.is_clear and self._is_quick(recording):
            self._step(recording)
        else:
            line.join(recording)

    def decode(self, recording: Recording) -> None:
        """It is the turn of a recording that waited in its model's line."""
        self._short.put(recording)

    def ran(self, batch: Batch[Recording]) -> None:
        """A batch comes back from a device, in its thread. Where nothing else waits for the device, a few recordings of
        one window are finished there and then: another thread would cost more."""
        at_once = len(batch.sources) <= _FINISHED_AT_ONCE and not batch.more_waits
        # Windows of one recording must be said in order, so all others go the same way.
        if at_once and all(one.ended and one.num_windows == 1 for one in batch.sources):
            self._finish(batch)
        else:
            self._batches.put(batch)

    def give_up(self, recording: Recording, why: str) -> None:
        """Nobody waits for the answer any more: its windows are dropped, its decoder is closed. From any thread."""
        if recording.gone is None:
            recording.gone = why
        if recording.model.line.leave(recording):
            recording.body = None
            return
        with recording.lock:
            was_parked, recording.parked = recording.parked, False
        if was_parked:
            self._long.put(recording)

    def close(self) -> None:
        """End the threads; what was given up before is let go."""
        for lane in (self._short, self._long):
            lane.close()
        for lane in (self._short, self._long):
            for recording in lane.join():
                self._let_go(recording)

    def close_after(self) -> None:
        """End the after thread; when no device runs any more."""
        self._batches.put(None)
        self._after.join()

    def _is_quick(self, recording: Recording) -> bool:
        """Whether its samples are there as they are, and few: reading them takes a tenth of a millisecond, as much as
        another thread costs."""
        raw, body = recording.request.raw, recording.body
        return (
            raw is not None
            and self._decodes_here
            and isinstance(body, bytes)
            and len(body) <= _QUICK_BYTES
            and raw.sample_rate == recording.model.bundle.sample_rate
        )

    def _first_step(self, recording: Recording) -> None:
        try:
            self._step(recording)
        finally:
            recording.model.line.stepped()

    def _step(self, recording: Recording) -> None:
        """One step of a lane; what goes wrong is the recording's outcome."""
        if recording.gone is not None:
            self._let_go(recording)
        elif recording.ended:
            self._report(Report([(recording, _outcome(recording))]))
        else:
            began = time.monotonic()
            try:
                windows, ended = self._decode_some(recording, began)
            except Exception as error:
                self._fail(recording, error)
                return
            recording.decode_seconds += time.monotonic() - began
            self._hand_over(recording, windows, ended)

    def _decode_some(self, recording: Recording, began: float) -> tuple[list[Waveform], bool]:
        """The next windows, and whether they are the last."""
        if recording.body is not None and self._begin_stream(recording, began):
            return [], False
        windows: list[Waveform] = []
        hearing, lock, most = recording.hearing, recording.lock, recording.model.step_windows
        if recording.is_long:
            most = min(most, self._windows_ahead_of(recording))
        while recording.gone is None and len(windows) < most and time.monotonic() - began < _STEP_SECONDS:
            block = next(recording.blocks, None)
            with lock:
                windows += hearing.end() if block is None else hearing.feed(block)
            if block is None:
                self._note_audio(recording)
                self._let_go(recording)
                return windows, True
        self._note_audio(recording)
        self._require_place(recording)
        return windows, False

    def _begin_stream(self, recording: Recording, began: float) -> bool:
        """Open the body; whether its header says that it is long, so that it should not even begin in this lane."""
        recording.queue_seconds += began - recording.put_at
        body, recording.body = recording.body, None
        assert body is not None
        model = recording.model
        stream = recording.stream = self._open(body, model.bundle.sample_rate, recording.request)
        recording.blocks = iter(stream)
        claimed = recording.claimed_seconds = stream.claimed_seconds or 0.0
        if claimed <= model.step_windows * model.window_seconds:
            return False
        self._require_place(recording)
        return True

    @staticmethod
    def _note_audio(recording: Recording) -> None:
        """What the decoder knows by now, for those who ask when it is closed."""
        assert recording.stream is not None
        recording.audio, recording.warnings = recording.stream.info, recording.stream.warnings

    def _require_place(self, recording: Recording) -> None:
        """One among the long recordings, from now on."""
        if recording.is_long:
            return
        if self.long_is_full:
            raise TooManyLongError
        recording.is_long = True
        self._long_ones.add(recording)
        if isinstance(recording.stream, ProcessStream):
            recording.stream.lower_priority(_LONG_NICENESS)
        self._report(Report(heard=[(recording, 0)]))

    def _hand_over(self, recording: Recording, windows: list[Waveform], ended: bool) -> None:
        with recording.lock:
            recording.outstanding += len(windows)
            recording.num_windows += len(windows)
            recording.ended = ended
            done = ended and recording.outstanding == 0
            given_up = recording.gone is not None
            recording.parked = not ended and not given_up and recording.outstanding >= self._windows_ahead_of(recording)
            again = not ended and not recording.parked
        if given_up:
            self._let_go(recording)
            return
        if windows:
            if recording.num_windows == len(windows):
                recording.put_at = time.monotonic()
            if not recording.is_long:
                recording.model.line.decoded(len(windows))
            # From here on it may be the after thread's, or be done.
            recording.model.batcher.put(recording, windows)
        if done:
            self._report(Report([(recording, _outcome(recording))]))
        elif again:
            self._long.put(recording)

    def _windows_ahead_of(self, recording: Recording) -> int:
        """How many windows of a long recording may wait or run: fewer, where there are many such recordings."""
        return max(1, min(self._windows_ahead, recording.model.windows_ready // max(1, len(self._long_ones))))

    def _let_go(self, recording: Recording) -> None:
        """Close the decoder, in the thread that uses it."""
        self._long_ones.discard(recording)
        recording.body = None
        recording.blocks = iter(())
        stream, recording.stream = recording.stream, None
        if stream is not None:
            try:
                stream.close()
            except Exception:
                _log.exception("a decoder could not be closed")

    def _fail(self, recording: Recording, error: Exception) -> None:
        was_wanted = recording.gone is None
        recording.gone = recording.gone or "failed"
        self._let_go(recording)
        if was_wanted:
            self._report(Report([(recording, error)]))

    def _serve_batches(self) -> None:
        while (batch := self._batches.get()) is not None:
            self._finish(batch)
            del batch

    def _finish(self, batch: Batch[Recording]) -> None:
        try:
            self._report(self._after_batch(batch))
        except Exception:
            _log.exception("a batch was lost; this is a bug")

    def _after_batch(self, batch: Batch[Recording]) -> Report:
        """Say the scores to their recordings; finish, or go on with, those that wait for them."""
        for row in faulty_rows(batch.scores):
            batch.errors.setdefault(row, BundleError(f"{batch.sources[0].model.id}: a score is not finite"))
        rows_of: dict[Recording, list[int]] = {}
        for row, recording in enumerate(batch.sources):
            rows_of.setdefault(recording, []).append(row)
        report = Report()
        for recording, rows in rows_of.items():
            report.heard.append((recording, len(rows)))
            if recording.gone is None:
                self._said(recording, rows, batch, report)
        if self._metrics is not None:
            model, num_rows = batch.sources[0].model, len(batch.sources)
            self._metrics.batch(model.id, num_rows, model.detector.bucket_of(num_rows), batch.seconds)
        return report

    def _said(self, recording: Recording, rows: list[int], batch: Batch[Recording], report: Report) -> None:
        error = next((batch.errors[row] for row in rows if row in batch.errors), None)
        if error is not None:
            self.give_up(recording, "failed")
            report.outcomes.append((recording, error))
            return
        if recording.inference_seconds == 0.0:
            recording.queue_seconds += batch.began - recording.put_at
        recording.inference_seconds += batch.seconds
        with recording.lock:
            recording.hearing.said(_rows(batch.scores, rows))
            recording.outstanding -= len(rows)
            done = recording.ended and recording.outstanding == 0
            again = recording.parked and recording.outstanding <= self._windows_ahead_of(recording) // 2
            recording.parked = recording.parked and not again
        if done and not recording.is_long:
            report.outcomes.append((recording, _outcome(recording)))
        elif done or again:
            # The result of a long one takes longer than the others of the batch should wait.
            self._long.put(recording)


def _rows(scores: WindowScores, rows: list[int]) -> WindowScores:
    """Some rows of a batch."""
    if rows[-1] - rows[0] == len(rows) - 1:
        some = slice(rows[0], rows[-1] + 1)
        return WindowScores(None if scores.strong is None else scores.strong[some], scores.weak[some])
    return WindowScores(None if scores.strong is None else scores.strong[rows], scores.weak[rows])


def _outcome(recording: Recording) -> Heard | Exception:
    try:
        return recording.heard()
    except Exception as error:
        return error
