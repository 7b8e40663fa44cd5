"""Files of a repository over HTTP(S) or from a folder, within a time that a trickle cannot stretch."""

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgeemo.errors import InvalidInput
from edgeemo.optional import need

SECONDS = 120.0
"""For one file, of at most a bundle's 64 MB."""
_GAP = 15.0  # seconds without a byte
_PURPOSE = "to fetch updates"
# What urllib raises as it is: of a connection that ends, of what is no HTTP, and of what is no URL.
_WRONG = (OSError, http.client.HTTPException, ValueError)


def base_url(place: str) -> str:
    """The URL of a repository: one of http, https or file, or a folder such as a stick's.

    Raises InvalidInput.
    """
    if place.startswith(("http://", "https://", "file:///")):
        return place.rstrip("/")
    folder = Path(place)
    if not place or "://" in place or not folder.is_dir():
        raise InvalidInput(f"{place}: expected an http(s) address or a folder that is there")
    return folder.resolve().as_uri()


def fetcher(seconds: float = SECONDS) -> Any:
    """A fetcher for tuf.ngclient that raises where a file takes longer than `seconds`; to be closed.

    Raises MissingDependency.
    """
    interface = need("tuf.ngclient", "update", _PURPOSE).FetcherInterface
    errors = need("tuf.api.exceptions", "update", _PURPOSE)

    def _failed(url: str, error: object) -> Exception:
        kind = (
            errors.SlowRetrievalError if isinstance(error, TimeoutError) else errors.DownloadError
        )
        failed: Exception = kind(f"{url}: {error or type(error).__name__}")
        return failed

    class Fetcher(interface):  # type: ignore[misc,valid-type]
        """urllib's, which the proxies of the environment are known to."""

        _last: Any = None

        def close(self) -> None:
            """End the last answer, of which not all may have been wanted."""
            if self._last is not None:
                self._last.close()

        def _fetch(self, url: str) -> Iterator[bytes]:
            self.close()
            end = time.monotonic() + seconds
            try:
                response = urllib.request.urlopen(url, timeout=min(_GAP, seconds))
            except urllib.error.HTTPError as error:
                error.close()  # it is an answer too
                raise errors.DownloadHTTPError(f"{url}: {error}", error.code) from error
            except urllib.error.URLError as error:
                if isinstance(error.reason, FileNotFoundError):  # of a folder
                    raise errors.DownloadHTTPError(f"{url}: not there", 404) from error
                raise _failed(url, error.reason) from error
            except _WRONG as error:
                raise _failed(url, error) from error
            self._last = response
            return self._blocks(response, url, end)

        def _blocks(self, response: Any, url: str, end: float) -> Iterator[bytes]:
            with response:
                while True:
                    try:
                        block = response.read1(1 << 16)  # what is there, be it a byte
                    except _WRONG as error:
                        raise _failed(url, error) from error
                    if not block:
                        return
                    if time.monotonic() > end:
                        raise errors.SlowRetrievalError(f"{url}: not done in {seconds:g} s")
                    yield block

    return Fetcher()
