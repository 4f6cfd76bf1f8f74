"""What runs in processes of its own when decoding is isolated: a nursery that forks, and the decoders it forks.

    server -- control socket --> nursery -- fork --> decoder <-- socket --> a stream of `decode_pool`

The nursery has imported the decoding libraries once and has no threads, so a new decoder costs a fork. A decoder serves
one recording at a time: it receives the body as an open file, and sends what it decodes as it goes; the socket's buffer
holds it back when nobody reads. Its memory and its processor time per recording are limited by the system.

Frames on a decoder's socket: kind (1 byte), length (4 bytes, little-endian), content.

    from the server   O   JSON, with the body's descriptor as ancillary data: decode this
    to the server     P   process id, once, in the beginning
                      I   JSON: what the recording is, before its first block
                      B   duration decoded so far (float64), then (samples,) float32, little-endian
                      E   JSON: the end, with what the recording was and its warnings
                      X   JSON: the class and the sentence of the error that ends it

Nobody outlives the server: whoever reads the end of its socket ends, and the system kills decoders with the nursery.
Signals that are meant for the server (a service manager sends them to all processes of a service) are ignored here.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import json
import os
import resource
import signal
import socket
import struct
import sys
import traceback
from dataclasses import asdict
from typing import Any, BinaryIO

import numpy as np

from desed_task.audio.limits import DecodeLimits
from desed_task.audio.raw_pcm import RawPcm
from desed_task.audio.stream import AudioStream, open_stream
from desed_task.errors import AudioError

HEADER = struct.Struct("<cI")
DURATION = struct.Struct("<d")
OPEN, PID, INFO, BLOCK, END, ERROR = b"O", b"P", b"I", b"B", b"E", b"X"

_PR_SET_PDEATHSIG = 1
_DESCRIPTOR = array.array("i", [0]).itemsize


def receive_exactly(connection: socket.socket, num_bytes: int) -> bytes:
    """So many bytes; EOFError when the other side is gone."""
    data = bytearray(num_bytes)
    receive_into(connection, memoryview(data))
    return bytes(data)


def receive_into(connection: socket.socket, view: memoryview) -> None:
    """Fill `view`; EOFError when the other side is gone."""
    while len(view):
        received = connection.recv_into(view, len(view), socket.MSG_WAITALL)
        if received == 0:
            raise EOFError
        view = view[received:]


def send_frame(connection: socket.socket, kind: bytes, *contents: bytes | memoryview) -> None:
    """One frame of the contents, one after the other."""
    connection.sendall(HEADER.pack(kind, sum(len(content) for content in contents)))
    for content in contents:
        connection.sendall(content)


def main() -> None:
    """The nursery: for each byte on the control socket, which brings a decoder's socket, fork a decoder."""
    control = socket.socket(fileno=int(sys.argv[1]))
    memory_bytes = int(sys.argv[2])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system buries them
    with contextlib.suppress(ImportError):
        import av  # noqa: F401  (once, before there are decoders)
    nursery = os.getpid()
    while True:
        message, descriptor = _receive_descriptor(control, 1)
        if not message:
            return
        if descriptor is None:
            continue
        try:
            child = os.fork()
        except OSError:  # as many processes as there may be: one decoder less, told by the end of its socket
            os.close(descriptor)
            continue
        if child == 0:
            try:
                _end_with(nursery)
                control.close()
                _limit_memory(memory_bytes)
                _serve(socket.socket(fileno=descriptor))
            finally:
                os._exit(0)
        os.close(descriptor)


def _serve(connection: socket.socket) -> None:
    """A decoder: one recording after the other, until the server hangs up."""
    with contextlib.suppress(EOFError, OSError):
        send_frame(connection, PID, str(os.getpid()).encode())
        while True:
            header, descriptor = _receive_descriptor(connection, HEADER.size)
            if not header:
                return
            header += receive_exactly(connection, HEADER.size - len(header))
            order = json.loads(receive_exactly(connection, HEADER.unpack(header)[1]))
            assert descriptor is not None
            with os.fdopen(descriptor, "rb") as body:
                _decode(connection, body, order)


def _decode(connection: socket.socket, body: BinaryIO, order: dict[str, Any]) -> None:
    _limit_processor_time(order["cpu_seconds"])
    try:
        raw = order["raw"] and RawPcm(**order["raw"])
        limits = DecodeLimits(**{**order["limits"], "containers": tuple(order["limits"]["containers"])})
        with open_stream(body, order["sample_rate"], limits, order["name"], raw) as stream:
            _send_json(connection, INFO, _described(stream))
            for block in stream:
                send_frame(
                    connection,
                    BLOCK,
                    DURATION.pack(stream.info.duration),
                    np.ascontiguousarray(block, dtype="<f4").data.cast("B"),
                )
            _send_json(connection, END, _described(stream))
    except AudioError as error:
        _send_json(connection, ERROR, {"class": type(error).__name__, "message": str(error)})
    except OSError:
        raise  # the server has hung up
    except MemoryError:
        _send_json(connection, ERROR, {"class": "AudioError", "message": f"{order['name']}: needs too much memory"})
    except Exception as error:
        message = f"{order['name']}: {error!r}\n{traceback.format_exc()}"
        _send_json(connection, ERROR, {"class": "bug", "message": message})


def _described(stream: AudioStream) -> dict[str, Any]:
    return {"info": asdict(stream.info), "claimed_seconds": stream.claimed_seconds, "warnings": stream.warnings}


def _send_json(connection: socket.socket, kind: bytes, content: dict[str, Any]) -> None:
    send_frame(connection, kind, json.dumps(content).encode())


def _receive_descriptor(connection: socket.socket, num_bytes: int) -> tuple[bytes, int | None]:
    """At most so many bytes, empty at the end, and the descriptor that came with them."""
    message, ancillary, _, _ = connection.recvmsg(num_bytes, socket.CMSG_SPACE(_DESCRIPTOR), socket.MSG_CMSG_CLOEXEC)
    descriptors = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % _DESCRIPTOR])
    return message, descriptors[0] if descriptors else None


def _end_with(parent: int) -> None:
    """Let the system kill this process when its parent has ended."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def _limit_memory(more_bytes: int) -> None:
    """What this process has now, and so much more."""
    with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123 (not a file of anybody's)
        pages = int(statm.read().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + more_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_processor_time(more_seconds: int) -> None:
    """Past it, the system kills this process. The limit is of all its time, so each recording moves it."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(usage.ru_utime + usage.ru_stime) + 1 + more_seconds, hard))


if __name__ == "__main__":
    main()
