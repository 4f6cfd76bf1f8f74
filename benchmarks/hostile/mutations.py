"""Damage to a recording that leaves its first bytes alone, so that it still reaches the decoder: flipped and random
bits, extreme numbers, parts that are swapped, repeated, dropped or taken from another recording, cuts.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.hostile.chunk_layout import boundaries

# What says the container: RIFF....WAVE is the longest.
MAGIC_BYTES = 12
_EXTREMES = (
    *(b"\x00\x00\x00\x00", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00", b"\x00\x00\x00\x80"),
    *(b"\xff\xff\xff\x7f", b"\x01\x00\x00\x00", b"\x00\x00\x00\x01", b"\x00\x00\xc0\x7f", b"\xff\xff\x7f\x7f"),
)
Mutation = Callable[[bytes, bytes, np.random.Generator], bytes]


def mutate(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """One to three ways of damage; `other` is a recording from which parts may be taken."""
    damaged = content
    for _ in range(int(rng.integers(1, 4))):
        if len(damaged) <= MAGIC_BYTES:
            break
        mutation = _MUTATIONS[int(rng.integers(len(_MUTATIONS)))]
        damaged = mutation(damaged, other, rng)
    return content[:MAGIC_BYTES] + damaged[MAGIC_BYTES:]


def _flip_bits(content: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(content)
    for place in _places(content, int(rng.integers(1, 17)), rng):
        changed[place] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _randomise(content: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    (place,) = _places(content, 1, rng)
    length = int(rng.integers(1, 65))
    return content[:place] + rng.bytes(min(length, len(content) - place)) + content[place + length :]


def _extreme_number(content: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    (place,) = _places(content, 1, rng)
    number = _EXTREMES[int(rng.integers(len(_EXTREMES)))]
    return content[:place] + number + content[place + len(number) :]


def _swap_parts(content: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    parts = _parts(content)
    one, another = rng.integers(len(parts), size=2)
    parts[one], parts[another] = parts[another], parts[one]
    return b"".join(parts)


def _repeat_part(content: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    parts = _parts(content)
    one = int(rng.integers(len(parts)))
    return b"".join([*parts[: one + 1], *parts[one : one + 1] * int(rng.integers(1, 5)), *parts[one + 1 :]])


def _drop_part(content: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    parts = _parts(content)
    del parts[int(rng.integers(len(parts)))]
    return b"".join(parts) or content


def _splice(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    mine, theirs = boundaries(content), [0, *boundaries(other)]
    return content[: mine[int(rng.integers(len(mine)))]] + other[theirs[int(rng.integers(len(theirs)))] :]


def _cut(content: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    return content[: int(rng.integers(min(MAGIC_BYTES, len(content)), len(content) + 1))]


def _grow(content: bytes, _: bytes, rng: np.random.Generator) -> bytes:
    return content + rng.bytes(int(rng.integers(1, 4096)))


_MUTATIONS: Sequence[Mutation] = (
    *(_flip_bits, _randomise, _extreme_number, _swap_parts, _repeat_part, _drop_part, _splice, _cut, _grow),
)


def _places(content: bytes, number: int, rng: np.random.Generator) -> list[int]:
    """Places beyond the magic bytes, half of them in the first 200, where headers are."""
    near = rng.integers(MAGIC_BYTES, min(MAGIC_BYTES + 200, len(content)), size=number)
    far = rng.integers(MAGIC_BYTES, len(content), size=number)
    return [int(place) for place in np.where(rng.random(number) < 0.5, near, far)]


def _parts(content: bytes) -> list[bytes]:
    edges = [0, *boundaries(content)]
    return [content[start:end] for start, end in itertools.pairwise(edges)]
