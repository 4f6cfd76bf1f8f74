"""The end of a listening socket: every connection that the system has made for us is taken, and then the port closes.

The system completes handshakes by itself and cuts what waits to be accepted when the port is closed: those clients have
sent their requests already, and would lose them. So first no new handshake begins (a filter in the kernel drops SYN
packets; who asks is refused a moment later, when the port is closed), those under way end, all are accepted, and only
then is the port closed. Where such a filter cannot be had, the last two steps still follow one another at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import socket
import struct

# Of Linux; the socket module has no name for it.
_SO_ATTACH_FILTER = 26
# Classic BPF, each (code, jump if true, jump if false, operand), on the TCP header: byte 13 holds the flags.
_DROP_SYN = ((0x30, 0, 0, 13), (0x54, 0, 0, 0x12), (0x15, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))
# A handshake that has begun ends within a round trip.
_HANDSHAKE_SECONDS = 0.2


async def stop_handshakes(listener: socket.socket) -> None:
    """Let no further connection begin, and those that have begun be made."""
    program = b"".join(struct.pack("HBBI", *instruction) for instruction in _DROP_SYN)
    held = ctypes.create_string_buffer(program)
    with contextlib.suppress(OSError):
        listener.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(_DROP_SYN), ctypes.addressof(held))
        )
        await asyncio.sleep(_HANDSHAKE_SECONDS)


def accept_waiting(listener: socket.socket) -> list[socket.socket]:
    """Every connection that is made and waits; `listener` must not block."""
    accepted = []
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            connection.setblocking(False)
            accepted.append(connection)
    return accepted
