"""Decoders and their nursery as the server sees them: one socket each. What they do is in `decode_process`."""

from __future__ import annotations

import array
import contextlib
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from serving.inference.decode_process import HEADER, OPEN, PID, receive_exactly, receive_into

# A new decoder says hello within this.
_START_SECONDS = 60
_LARGEST_FRAME = 1 << 27


class Decoder:
    """One decode process, seen through its socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.num_recordings = 0
        self.is_lowered = False
        self._set_timeout(_START_SECONDS)
        try:
            kind, length = self.next_header()
            assert kind == PID
            self.pid = int(self.receive(length))
        except BaseException:
            connection.close()
            raise

    def is_alive(self) -> bool:
        """Whether it still holds its end of the socket."""
        return _is_held(self._connection)

    def lower_priority(self, niceness: int) -> None:
        """Of the whole process; only an administrator's could be raised again."""
        self.is_lowered = True
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, self.pid, niceness)

    def order(self, body: bytes | BinaryIO, content: bytes, silent_seconds: float) -> None:
        """Ask it to decode a body; one that then says nothing for so long hangs (OSError)."""
        self._set_timeout(silent_seconds)
        with _descriptor_of(body) as descriptor:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
            header = HEADER.pack(OPEN, len(content))
            self._connection.sendmsg([header[:1]], rights)
            self._connection.sendall(header[1:] + content)

    def next_header(self) -> tuple[bytes, int]:
        """Kind and length of the next frame."""
        kind, length = HEADER.unpack(self.receive(HEADER.size))
        if length > _LARGEST_FRAME:
            raise EOFError  # what a decoder that was taken over might say
        return kind, length

    def receive(self, num_bytes: int) -> bytes:
        """So many bytes."""
        return receive_exactly(self._connection, num_bytes)

    def receive_into(self, view: memoryview) -> None:
        """As many bytes as `view` has."""
        receive_into(self._connection, view)

    def end(self) -> None:
        """Hang up; it ends by itself."""
        self._connection.close()

    def _set_timeout(self, seconds: float) -> None:
        # The kernel's own, since Python's costs further calls of the system for each read.
        parts = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, parts)


class Nursery:
    """The process that forks decoders; it has none of the server's open files."""

    def __init__(self, memory_bytes: int) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            # Where this package lies, however the server found it.
            here = str(Path(__file__).resolve().parents[2])
            path = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
            command = [
                sys.executable,
                "-m",
                "serving.inference.decode_process",
                str(theirs.fileno()),
                str(memory_bytes),
            ]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # some decoders talk
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )

    def is_alive(self) -> bool:
        """Whether it still holds its end of the control socket."""
        return _is_held(self._control)

    def fork(self) -> socket.socket:
        """The socket of a new decoder."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._control.sendmsg(
                    [b"f"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [theirs.fileno()]))]
                )
            except BaseException:
                ours.close()
                raise
        return ours

    def end(self) -> None:
        """Hang up, and wait until it has ended, and its decoders with it."""
        self._control.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _is_held(connection: socket.socket) -> bool:
    """Whether the other side is there."""
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


@contextlib.contextmanager
def _descriptor_of(body: bytes | BinaryIO) -> Iterator[int]:
    """The descriptor of an open file that holds the body; bytes go into one that is only memory."""
    if not isinstance(body, bytes):
        try:
            yield body.fileno()
            return
        except (AttributeError, OSError):
            body.seek(0)
            body = body.read()
    descriptor = os.memfd_create("body", os.MFD_CLOEXEC)
    try:
        view = memoryview(body)
        while view:
            view = view[os.write(descriptor, view) :]
        yield descriptor
    finally:
        os.close(descriptor)
