"""One file over HTTP, pinned by its sha256: only the very bytes that were asked for get a place on
the disk.
"""

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from edgeemo.contract.checked.files import make_folder, written_beside
from edgeemo.contract.checked.reading import sha256_of
from edgeemo.errors import DownloadError, InvalidInput, StorageError

# Bytes that are read beyond the expected size: enough to see that what comes is another file
_SPARE = 4096
_CHUNK = 16 * 1024
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
# Time-outs that a whole transfer may take: a server that drips bytes keeps nobody waiting for ever
_OVERALL = 20

Progress = Callable[[int], object]


def fetch(
    url: str,
    target: Path,
    *,
    size: int,
    sha256: str,
    timeout: float = 30.0,
    progress: Progress = lambda count: None,
) -> bool:
    """Make `target` the file of `size` bytes with that sha256; False when it is there already,
    which needs no network.

    Args:
        url: https:// or http:// address.
        target: where the file goes; anything else that lies there is replaced.
        size: bytes, at most a little more is read.
        sha256: in hex.
        timeout: seconds to wait for an answer and for each next piece; the whole may take 20 times
            that.
        progress: is told the number of bytes of each piece.

    Raises:
        InvalidInput: another kind of address.
        DownloadError: the server cannot be reached or refuses, or what came is another file.
        StorageError: the file cannot be written.
    """
    if holds(target, sha256):
        return False
    data = _read(_checked(url), size + _SPARE, timeout, progress, f"put it at {target}")
    _check(data, url, size, sha256)
    try:
        make_folder(target.parent)
        with written_beside(target) as part:
            part.write_bytes(data)
    except StorageError as error:
        reason = getattr(error.__cause__, "strerror", None) or str(error)
        raise StorageError(
            f"{target}: cannot be written ({reason}); make room or make the folder writable"
        ) from error
    return True


def holds(path: Path, sha256: str) -> bool:
    """Whether `path` is a file with that sha256."""
    try:
        with path.open("rb") as file:
            return sha256_of(file) == sha256
    except OSError:
        return False


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.port != 0
            and "@" not in parts.netloc
        )
    except ValueError:
        usable = False
    if not usable or not url.isascii() or any(character <= " " for character in url):
        raise InvalidInput(
            "expected an address like https://mirror.example/file.onnx, without user name or"
            f" spaces; received {url[:200]!r}"
        )
    return url


def _read(url: str, limit: int, timeout: float, progress: Progress, by_hand: str) -> bytes:
    """What the address serves, at most `limit` bytes."""
    host = urlsplit(url).netloc
    deadline = time.monotonic() + _OVERALL * timeout
    data = bytearray()
    try:
        with _opener().open(url, timeout=timeout) as answer:
            while len(data) < limit and (piece := answer.read1(min(_CHUNK, limit - len(data)))):
                data += piece
                progress(len(piece))
                if time.monotonic() > deadline:
                    raise TimeoutError(
                        f"after {_OVERALL * timeout:g} s only {len(data):,} bytes have come"
                    )
    except urllib.error.HTTPError as error:
        with error:
            raise DownloadError(
                f"{url}: {host} answers {error.code} {_line(error.reason)}; try another address, or"
                f" fetch the file by hand and {by_hand}"
            ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: no host name
        reason = getattr(error, "reason", None) or error
        text = _line(getattr(reason, "strerror", None) or str(reason) or type(reason).__name__)
        what = f"broke off after {len(data):,} bytes" if data else "cannot be reached"
        raise DownloadError(
            f"{host} {what} ({text}); fetch {url} elsewhere and {by_hand}"
        ) from error
    return bytes(data)


def _line(text: object) -> str:
    """What a server or the library says, as part of one line."""
    return " ".join(str(text).split())[:200]


def _opener() -> urllib.request.OpenerDirector:
    """HTTP alone, through the proxies of the environment: a redirection leads to no file:// or
    ftp:// address.
    """
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    opener.addheaders = [("User-Agent", "edgeemo")]
    return opener


def _check(data: bytes, url: str, size: int, sha256: str) -> None:
    if data.startswith(_LFS_POINTER):
        raise DownloadError(
            f"{url} serves a Git LFS pointer and not the file itself; use the address of the file"
        )
    received = hashlib.sha256(data).hexdigest()
    if received != sha256:
        more = " or more" * (len(data) >= size + _SPARE)
        raise DownloadError(
            f"{url}: expected sha256 {sha256} ({size:,} bytes), received {received} ({len(data):,}"
            f" bytes{more}); it was not kept, try again or use another address"
        )
