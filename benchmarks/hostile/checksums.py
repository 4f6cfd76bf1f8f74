"""Checksums of FLAC frames (CRC-8, CRC-16) and Ogg pages (CRC-32), of many messages of one length at a time.

All three begin at 0 and take the highest bit first: x^8+x^2+x+1, x^16+x^15+x^2+1 (RFC 9639, 9.1.8 and 9.3), and
0x04C11DB7 (RFC 3533, 6).
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

_POLYNOMIALS = {8: 0x07, 16: 0x8005, 32: 0x04C11DB7}


def checksums(messages: NDArray[np.uint8], bits: int) -> NDArray[np.uint64]:
    """(messages, bytes) -> (messages,): the CRC of each row; bits: 8, 16 or 32."""
    table, mask = _table(bits), np.uint64((1 << bits) - 1)
    found = np.zeros(len(messages), dtype=np.uint64)
    for column in messages.T:
        index = (found >> np.uint64(bits - 8)) ^ column.astype(np.uint64)
        found = ((found << np.uint64(8)) & mask) ^ table[index.astype(np.intp)]
    return found


def checksum(message: bytes, bits: int) -> int:
    """The CRC of one message."""
    return int(checksums(np.frombuffer(message, dtype=np.uint8)[None], bits)[0])


@functools.cache
def _table(bits: int) -> NDArray[np.uint64]:
    top, mask, polynomial = 1 << (bits - 1), (1 << bits) - 1, _POLYNOMIALS[bits]
    values = []
    for byte in range(256):
        value = byte << (bits - 8)
        for _ in range(8):
            value = ((value << 1) ^ (polynomial if value & top else 0)) & mask
        values.append(value)
    return np.array(values, dtype=np.uint64)
