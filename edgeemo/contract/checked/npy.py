"""NumPy's .npy and .npz formats, as `np.save` and `np.savez` write plain numbers, and nothing more.

NumPy's own reader takes whatever a header says (pickles, sizes far beyond the file) and fails in a
dozen ways.
"""

import io
import math
import re
import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Version 1.0, two bytes of header length, then the dict that np.save formats; "|b1" to "<f8".
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00(..)(\{'descr': '(\|[bui]1|<[iuf][248])', 'fortran_order': False, "
    rb"'shape': \(((?:\d{1,18}, ?){0,7}\d{0,18})\), \} *\n)",
    re.DOTALL,
)
MAX_HEADER_BYTES = 1024
_MAX_ARRAYS = 16


def read_header(start: bytes, total: int) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """(dtype, shape, offset of the values) from a file's first bytes, of `total` in all.

    Raises:
        ValueError: no .npy file, pickled objects, or a shape that the file's size belies.
    """
    header = _HEADER.match(start[:MAX_HEADER_BYTES])
    if not header or int.from_bytes(header[1], "little") != len(header[2]):
        raise ValueError("no .npy file of plain numbers")
    dtype = np.dtype(header[3].decode())
    shape = tuple(int(digits) for digits in header[4].replace(b" ", b"").split(b",") if digits)
    if header.end() + math.prod(shape) * dtype.itemsize != total:
        raise ValueError(f"a header with a false size, {dtype} {shape}")
    return dtype, shape, header.end()


def parse(data: bytes) -> NDArray[Any]:
    """The array of a .npy file's bytes, read-only. Raises ValueError like `read_header`."""
    dtype, shape, offset = read_header(data, len(data))
    return np.frombuffer(data, dtype, math.prod(shape), offset).reshape(shape)


def parse_npz(data: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file as np.savez writes it, a zip of stored .npy files; read-only.

    Raises:
        ValueError, zipfile.BadZipFile: not such a file, or more than 16 arrays.
    """
    arrays: dict[str, NDArray[Any]] = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos = archive.infolist()
        if len(infos) > _MAX_ARRAYS or sum(info.file_size for info in infos) > len(data):
            raise ValueError("more or larger arrays than expected")
        for info in infos:
            name = info.filename.removesuffix(".npy")
            if info.compress_type != zipfile.ZIP_STORED or name in arrays:
                raise ValueError(f"{name[:40]!r} is compressed or appears twice")
            arrays[name] = parse(archive.read(info))
    return arrays
