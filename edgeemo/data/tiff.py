"""The first picture of a TIFF file, with nothing in its directory but what decoding it needs.

libtiff takes the first of two tags and Pillow the last; Pillow keeps what each of 65,535 tags
points at, which may be the whole file again and again.
"""

import struct

_MAX_TAGS = 4_096
# Strips or tiles: a picture of the longest side has 16,384 rows, one of 50 million pixels 800
# tiles of 256 pixels.
_MAX_PARTS = 65_536
_MAX_TILE = 1 << 24  # pixels, where the picture is not larger itself
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_WIDTH, _HEIGHT, _TILE_WIDTH, _TILE_HEIGHT = 256, 257, 322, 323
_PARTS = {273: "strips", 279: "strips", 324: "tiles", 325: "tiles"}
# What pixels are made from (TIFF 6.0, https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf):
# size, bits, compression, colours, fill order, strips, orientation, samples, planes, fax options,
# predictor, colour map, tiles, extra samples, sample format, JPEG tables, YCbCr.
_TO_DECODE = frozenset(
    (256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323,
     324, 325, 338, 339, 347, 529, 530, 531, 532)
)  # fmt: skip
_MOST_VALUES = {320: 3 * 65_536, 347: 65_536}  # colour map, JPEG tables; of others, 64
_Tag = tuple[int, int, int, bytes]
"""Number, type, number of values, and the four bytes that hold them or say where they are."""


def tiff_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) of the picture that is decoded; None where it declares none.

    Raises:
        ValueError: tags that decoders could read in different ways, or that would keep them busy.
        struct.error: no whole directory.
    """
    order, tags = _tags(data)
    size = [_number(order, tags[side]) for side in (_WIDTH, _HEIGHT) if side in tags]
    return (size[0], size[1]) if len(size) == 2 and None not in size else None  # type: ignore[return-value]


def first_picture(data: bytes) -> bytes:
    """A TIFF file with one directory, which holds what decoding needs. Raises like `tiff_size`."""
    order, tags = _tags(data)
    rows = b"".join(
        struct.pack(order + "HHI", *tag[:3]) + tag[3] for _, tag in sorted(tags.items())
    )
    directory = struct.pack(order + "H", len(tags)) + rows + bytes(4)
    padded = data + bytes(len(data) % 2)
    return padded[:4] + struct.pack(order + "I", len(padded)) + padded[8:] + directory


def _tags(data: bytes) -> tuple[str, dict[int, _Tag]]:
    """The byte order and, by number, the first directory's tags that decoding needs."""
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack(order + "I", data[4:8])
    (count,) = struct.unpack(order + "H", data[at : at + 2])
    if count > _MAX_TAGS:
        raise ValueError(f"a TIFF with {count:,} tags, expected at most {_MAX_TAGS:,}")
    tags: dict[int, _Tag] = {}
    for start in range(at + 2, at + 2 + 12 * count, 12):
        number, kind, values = struct.unpack(order + "HHI", data[start : start + 8])
        if number not in _TO_DECODE:
            continue
        if number in tags:
            name = {_WIDTH: "widths", _HEIGHT: "heights"}.get(number, f"tags {number}")
            raise ValueError(f"a TIFF with two {name}")
        tags[number] = (number, kind, values, data[start + 8 : start + 12])
        _check_values(order, tags[number], len(data))
    _check_tiles(order, tags)
    return order, tags


def _check_values(order: str, tag: _Tag, total: int) -> None:
    """Raise ValueError where a tag has more values than can be right, or they lie outside."""
    number, kind, values, pointer = tag
    most = _MAX_PARTS if number in _PARTS else _MOST_VALUES.get(number, 64)
    if values > most:
        what = _PARTS.get(number, f"values of tag {number}")
        raise ValueError(f"a TIFF of {values:,} {what}, expected at most {most:,}")
    size = values * _BYTES.get(kind, 0)
    if size > 4 and struct.unpack(order + "I", pointer)[0] + size > total:
        raise ValueError(f"a TIFF whose tag {number} lies outside of the file")


def _check_tiles(order: str, tags: dict[int, _Tag]) -> None:
    """Raise ValueError for tiles that are much larger than the picture."""
    if _TILE_WIDTH not in tags or _TILE_HEIGHT not in tags:
        return
    numbers = (_WIDTH, _HEIGHT, _TILE_WIDTH, _TILE_HEIGHT)
    width, height, across, down = (
        (_number(order, tags[number]) if number in tags else 0) or 0 for number in numbers
    )
    if across * down > max(_MAX_TILE, 4 * width * height):
        raise ValueError(f"a TIFF of tiles of {across}x{down} pixels")


def _number(order: str, tag: _Tag) -> int | None:
    """The one value of a tag of one whole number; None for another."""
    _, kind, values, held = tag
    if kind not in (3, 4) or values != 1:
        return None
    (number,) = struct.unpack(order + ("H" if kind == 3 else "I"), held[: 2 if kind == 3 else 4])
    return int(number)
