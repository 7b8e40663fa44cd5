"""The partition table of an ESP32 (ESP-IDF's binary format), which says where in flash a model
belongs."""

import hashlib
import struct
from dataclasses import dataclass

from edgeemo.errors import FlashError

TABLE_OFFSET = 0x8000  # ESP-IDF's CONFIG_PARTITION_TABLE_OFFSET unless a project sets another
TABLE_BYTES = 0xC00
DATA = 0x01
_ENTRY = struct.Struct("<2sBBII16sI")
_MAGIC, _MD5, _END = b"\xaa\x50", b"\xeb\xeb", b"\xff\xff"


@dataclass(frozen=True)
class Partition:
    """One row of a partition table."""

    label: str
    """Its name, of printable characters."""
    type: int
    """0 for programs, 1 for data."""
    subtype: int
    """What kind of program or data."""
    offset: int
    """Where it begins in flash, in bytes."""
    size: int
    """Bytes."""


def parse_partitions(table: bytes) -> list[Partition]:
    """The partitions of a binary table. Raises FlashError for one that is empty or damaged."""
    partitions = []
    for start in range(0, len(table) - len(table) % _ENTRY.size, _ENTRY.size):
        entry = table[start : start + _ENTRY.size]
        if entry[:2] == _END:
            break
        if entry[:2] == _MD5:
            if entry[16:] != hashlib.md5(table[:start], usedforsecurity=False).digest():
                raise FlashError(
                    "the device's partition table is damaged: its MD5 does not match; flash the "
                    "firmware again"
                )
            continue
        magic, kind, subtype, offset, size, label, _ = _ENTRY.unpack(entry)
        if magic != _MAGIC:
            raise FlashError(
                "the device holds no partition table where one is expected; flash the firmware "
                "first"
            )
        text = label.partition(b"\0")[0].decode("utf-8", "replace")
        name = "".join(c if c.isprintable() else "?" for c in text)
        partitions.append(Partition(name, kind, subtype, offset, size))
    if not partitions:
        raise FlashError(
            "the device holds no partition table where one is expected; flash the firmware first"
        )
    return partitions


def model_partition(table: bytes, label: str, image_bytes: int) -> Partition:
    """The data partition `label`, large enough for an image of `image_bytes`.

    Raises:
        FlashError: there is none; the message says what there is.
    """
    partitions = parse_partitions(table)
    for partition in partitions:
        if partition.label != label:
            continue
        if partition.type != DATA:
            raise FlashError(
                f"the partition {label!r} is no data partition (type {partition.type}); nothing "
                "was written"
            )
        if partition.size < image_bytes:
            raise FlashError(
                f"the partition {label!r} has {partition.size:,} bytes and the model needs "
                f"{image_bytes:,}; use a smaller model or a larger partition in partitions.csv"
            )
        return partition
    names = ", ".join(partition.label for partition in partitions)
    raise FlashError(
        f"the device has no partition {label!r}, only {names}; choose one with --partition"
    )
