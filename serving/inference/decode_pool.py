"""DecodePool: the server's side of isolated decoding. What happens in the processes is in `decode_process`.

A decoder crashes, or is killed, with the recording that it decodes; nobody else notices. The recording is refused
(AudioError: the decoder stopped), and the next one that needs a decoder gets a new one. A decoder whose recording was
given up is not asked to stop: its socket is closed, and it ends.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from threading import Lock
from typing import Any, BinaryIO

import numpy as np

from desed_task import errors
from desed_task.audio.waveform import AudioInfo, Waveform
from desed_task.errors import AudioError
from serving.inference.decode_process import BLOCK, DURATION, END, INFO
from serving.inference.decoders import Decoder, Nursery
from serving.inference.decoding import limits_of
from serving.inference.recording import ListenRequest
from serving.settings import ServingOptions

# A decoder hangs that says nothing for so long beyond its processor time, or until the deadline of its recording, since
# others need the thread that waits for it; but it has at least a second.
_SILENT_SECONDS = 30
_LEAST_SECONDS = 1.0
# A new decoder may be killed before it has said hello, and the nursery too.
_FORKS_TRIED = 3
# Whatever a library leaks ends with the process.
_RECORDINGS_PER_DECODER = 1000


class DecoderStoppedError(AudioError):
    """The decoder ended in the middle of a recording: it crashed, was killed, or took too much."""


class DecodePool:
    """Opens bodies in decoders (see `decoding.Opener`); as many as are needed at a time, of which some stay."""

    def __init__(self, settings: ServingOptions) -> None:
        self._settings = settings
        self._lock = Lock()
        self._idle: list[Decoder] = []
        self._nursery: Nursery | None = None
        self._closed = False

    def start(self) -> None:
        """Start the processes; DesedTaskError when they cannot be had."""
        ready = [self._new_decoder() for _ in range(self._settings.decode_threads)]
        for decoder in ready:
            self._put_back(decoder)

    def close(self) -> None:
        """End all processes; streams that are open end with them."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            nursery, self._nursery = self._nursery, None
        for decoder in idle:
            decoder.end()
        if nursery is not None:
            nursery.end()

    @property
    def idle_pids(self) -> tuple[int, ...]:
        """The processes that wait for a recording."""
        with self._lock:
            return tuple(decoder.pid for decoder in self._idle)

    def __call__(self, body: bytes | BinaryIO, sample_rate: int, request: ListenRequest) -> ProcessStream:
        """The stream of a body's blocks; errors as of `audio.open_stream`, and AudioError when the decoder stops."""
        settings = self._settings
        order = {
            "sample_rate": sample_rate,
            "limits": asdict(limits_of(settings, request.strict)),
            "name": request.name,
            "raw": None if request.raw is None else asdict(request.raw),
            "cpu_seconds": settings.decode_cpu_seconds,
        }
        decoder = self._take_idle()
        if decoder is not None:
            # One that waited may have died of something else, and this is when it shows.
            with contextlib.suppress(DecoderStoppedError):
                return ProcessStream(decoder, self._put_back, body, order, self._patience(request))
        return ProcessStream(self._new_decoder(), self._put_back, body, order, self._patience(request))

    def _patience(self, request: ListenRequest) -> float:
        """How long the decoder of a recording may say nothing, in seconds."""
        left = max(request.deadline - time.monotonic(), _LEAST_SECONDS)
        return min(left, self._settings.decode_cpu_seconds + _SILENT_SECONDS)

    def _take_idle(self) -> Decoder | None:
        while True:
            with self._lock:
                if not self._idle:
                    return None
                decoder = self._idle.pop()
            if decoder.is_alive():
                return decoder
            decoder.end()

    def _put_back(self, decoder: Decoder) -> None:
        decoder.num_recordings += 1
        with self._lock:
            keep = (
                not self._closed
                and len(self._idle) < self._settings.decode_threads + self._settings.long_threads
                and decoder.num_recordings <= _RECORDINGS_PER_DECODER
                and not decoder.is_lowered
            )
            if keep:
                self._idle.append(decoder)
        if not keep:
            decoder.end()

    def _new_decoder(self) -> Decoder:
        for _ in range(_FORKS_TRIED):
            nursery = None
            try:
                with self._lock:
                    nursery = self._nursery_now()
                    connection = nursery.fork()
                return Decoder(connection)
            except (OSError, EOFError) as error:
                # Maybe the new decoder alone has ended, or we have no descriptor left. A nursery takes all its decoders
                # with it, so only one that is gone, or hangs, is given up.
                hangs = isinstance(error, BlockingIOError)
                if nursery is not None and (hangs or not nursery.is_alive()):
                    self._give_up(nursery)
        raise errors.DesedTaskError("no decode process can be started")

    def _give_up(self, nursery: Nursery) -> None:
        with self._lock:
            if self._nursery is nursery:
                self._nursery = None
        nursery.end()

    def _nursery_now(self) -> Nursery:
        if self._closed:
            raise OSError("closed")
        if self._nursery is None:
            self._nursery = Nursery(self._settings.decode_memory_bytes)
        return self._nursery


class ProcessStream:
    """A recording that a decoder decodes; a `decoding.BlockStream`."""

    def __init__(
        self,
        decoder: Decoder,
        put_back: Callable[[Decoder], None],
        body: bytes | BinaryIO,
        order: dict[str, Any],
        silent_seconds: float,
    ) -> None:
        self._decoder: Decoder | None = decoder
        self._put_back = put_back
        self._name = order["name"]
        self.claimed_seconds: float | None = None
        self.info = AudioInfo(0.0, 1, 1, "")
        self.warnings: tuple[str, ...] = ()
        try:
            decoder.order(body, json.dumps(order).encode(), silent_seconds)
            self._read_description(self._receive(INFO))
        except (OSError, EOFError):
            raise self._stopped() from None
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[Waveform]:
        return self

    def __next__(self) -> Waveform:
        if self._decoder is None:
            raise StopIteration
        try:
            kind, length = self._decoder.next_header()
            if kind == BLOCK:
                return self._read_block(length)
            content = self._decoder.receive(length)
        except (OSError, EOFError):
            raise self._stopped() from None
        decoder, self._decoder = self._decoder, None
        self._put_back(decoder)
        if kind == END:
            self._read_description(content)
            raise StopIteration
        raise self._error(content)

    def lower_priority(self, niceness: int) -> None:
        """Leave the processor to others; for good, so the decoder serves no other recording afterwards."""
        if self._decoder is not None:
            self._decoder.lower_priority(niceness)

    def close(self) -> None:
        """Let go of the decoder; one that has not come to an end ends with its socket."""
        decoder, self._decoder = self._decoder, None
        if decoder is not None:
            decoder.end()

    def _receive(self, expected: bytes) -> bytes:
        assert self._decoder is not None
        kind, length = self._decoder.next_header()
        content = self._decoder.receive(length)
        if kind == expected:
            return content
        decoder, self._decoder = self._decoder, None
        self._put_back(decoder)
        raise self._error(content)

    def _read_block(self, length: int) -> Waveform:
        assert self._decoder is not None
        seconds = DURATION.unpack(self._decoder.receive(DURATION.size))[0]
        block = np.empty((length - DURATION.size) // 4, dtype=np.float32)
        self._decoder.receive_into(block.data.cast("B"))
        self.info = AudioInfo(seconds, self.info.sample_rate, self.info.channels, self.info.format)
        return block

    def _read_description(self, content: bytes) -> None:
        described = json.loads(content)
        self.info = AudioInfo(**described["info"])
        self.claimed_seconds = described["claimed_seconds"]
        self.warnings = tuple(described["warnings"])

    def _stopped(self) -> DecoderStoppedError:
        self.close()
        return DecoderStoppedError(f"{self._name}: the decoder stopped on this recording; convert it to WAV")

    def _error(self, content: bytes) -> Exception:
        told = json.loads(content)
        kind = getattr(errors, told["class"], None)
        return kind(told["message"]) if kind is not None else RuntimeError(told["message"])
