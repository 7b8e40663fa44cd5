"""Changed inputs without coverage: for the tests, and where Atheris is not to be had."""

import random
from collections.abc import Sequence

MAX_BYTES = 1 << 16
_ENDS = (
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff\xff\xff\xff",
    b"\0\0\0\x80",
    b"9" * 20,
    b"-1",
    b"[",
)


def mutated(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """One of the seeds with one to eight changes: bytes drawn, cut out, doubled, taken from another
    seed, or replaced by numbers that sit at an end."""
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        at = rng.randrange(len(data) + 1)
        size = min(rng.choice((1, 1, 2, 4, 16, 200)), len(data) - at)
        match rng.randrange(6):
            case 0:
                data[at : at + size] = rng.randbytes(size)
            case 1:
                del data[at : at + size]
            case 2:
                data[at:at] = data[at : at + size]
            case 3:
                end = rng.choice(_ENDS)
                data[at : at + len(end)] = end
            case 4:
                other = rng.choice(seeds)
                start = rng.randrange(len(other) + 1)
                data[at : at + size] = other[start : start + size]
            case 5 if at < len(data):
                data[at] ^= 1 << rng.randrange(8)
    return bytes(data[:MAX_BYTES])
