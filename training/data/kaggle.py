"""Data sets from Kaggle into a cache: the `kaggle` package signs in and says where the file is, and
it is fetched from there.

The package's own download writes in place, prints to stdout, waits without a time limit, tries a
full disk again for a minute and takes a file of any size, so the transfer itself is done here.
"""

import contextlib
import hashlib
import io
import os
import sys
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import requests

from edgeemo.cache import cache_folder
from edgeemo.contract.checked.files import sync_folder
from edgeemo.errors import BrokenDependency, DownloadError, StorageError
from edgeemo.optional import need
from workstation.progress import Bar
from workstation.progress import progress as progress_of

MAX_BYTES = 4 * 1024**3
ATTEMPTS = (
    5  # a transfer that is cut off goes on by itself as long as each attempt brings something
)
_CHUNK = 64 * 1024
_AGAIN = "run the same command again, it goes on where it stopped"
_SIGN_IN = (
    "run `kaggle auth login`, or make a token at https://www.kaggle.com/settings/api and set "
    "KAGGLE_API_TOKEN or save it in "
    "~/.kaggle/access_token (KAGGLE_USERNAME with KAGGLE_KEY, or a kaggle.json, do as well)"
)


def fetch(
    dataset: str, *, cache: Path | None = None, progress: bool = True, timeout: float = 60.0
) -> Path:
    """The zip archive of the Kaggle data set OWNER/NAME: from the cache, or downloaded into it as
    OWNER--NAME.zip.

    An archive in the cache needs no network. A download that was cut off goes on where it stopped.

    Args:
        dataset: OWNER/NAME as in kaggle.com/datasets/OWNER/NAME.
        cache: a folder; by default $EDGEEMO_DATA, or `data` in the user's cache of edgeemo.
        progress: show a bar on stderr.
        timeout: seconds to wait for Kaggle's answer, and for each next piece of the file.

    Raises:
        DownloadError: no credentials, Kaggle refuses or cannot be reached, or what came is not the
            whole zip archive.
        StorageError: the cache cannot be written.
        MissingDependency: the kaggle package is not installed.
    """
    folder = cache or Path(os.environ.get("EDGEEMO_DATA") or cache_folder() / "data")
    target = folder / f"{dataset.replace('/', '--')}.zip"
    if zipfile.is_zipfile(target):
        return target
    with _translated(dataset, folder):
        folder.mkdir(parents=True, exist_ok=True)
        origin = _ask(dataset, timeout)
        part = origin.part(target)
        for stale in set(folder.glob(f"{target.name}.*.part")) - {part}:
            stale.unlink()
        _complete(part, origin, timeout, progress)
        part.replace(target)
        sync_folder(folder)
    return target


@contextlib.contextmanager
def _translated(dataset: str, folder: Path) -> Iterator[None]:
    """Errors of the network and of the file system as ours."""
    try:
        yield
    except (DownloadError, StorageError):
        raise
    except requests.HTTPError as error:
        if error.response is not None:
            error.response.close()  # the kaggle package leaves it open
        raise _refused(dataset, error) from error
    except requests.RequestException as error:
        raise _error(
            dataset, f"no usable answer from {_host(error)} ({type(error).__name__})", _NETWORK
        ) from error
    except OSError as error:
        raise StorageError(
            f"{folder}: {dataset} cannot be written there ({error.strerror or error}); make room "
            f"or set EDGEEMO_DATA to another folder, then {_AGAIN}"
        ) from error


@dataclass(frozen=True)
class _Origin:
    """Where the file is."""

    dataset: str
    """OWNER/NAME."""
    request: requests.PreparedRequest
    """Gets the file, at the end of Kaggle's redirects."""
    size: int
    """Bytes of the whole file, 1 to MAX_BYTES."""
    validator: str
    """Its ETag or date, which tells it from other files; "" where the server gives neither."""

    def part(self, target: Path) -> Path:
        """Where the bytes so far lie; named after the file's identity, so that only a part of this
        very file is continued.
        """
        identity = hashlib.sha256(f"{self.size} {self.validator}".encode()).hexdigest()[:16]
        return target.with_name(f"{target.name}.{identity}.part")

    def send(self, start: int, timeout: float) -> requests.Response:
        """Ask for the file from byte `start` on; the body is not read yet."""
        request = self.request.copy()
        request.headers["Accept-Encoding"] = "identity"
        if start:
            request.headers.update({"Range": f"bytes={start}-", "If-Range": self.validator})
        with requests.Session() as session:
            settings = session.merge_environment_settings(request.url, {}, True, None, None)
            return session.send(request, timeout=timeout, **settings)

    def has_remainder(self, response: requests.Response, start: int) -> bool:
        """Whether an answer holds the bytes from `start` to the end of this file, and of no
        other.
        """
        headers = response.headers
        same_range: bool = (
            headers.get("Content-Range") == f"bytes {start}-{self.size - 1}/{self.size}"
        )
        same_file: bool = headers.get("ETag") in (None, self.validator)
        return response.status_code == 206 and same_range and same_file


def _ask(dataset: str, timeout: float) -> _Origin:
    """Sign in and ask Kaggle where the file is; in a thread, because the kaggle package waits
    without a limit.
    """
    answer: Future[_Origin] = Future()

    def ask() -> None:
        try:
            answer.set_result(_origin(dataset))
        except BaseException as error:
            answer.set_exception(error)

    # The package prints its help for people at a terminal, already on import.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        threading.Thread(target=ask, daemon=True).start()
        try:
            return answer.result(timeout)
        except TimeoutError:
            raise _error(dataset, f"Kaggle did not answer within {timeout:g} s", _NETWORK) from None
        except SystemExit:  # so the package says that it cannot sign in
            raise _error(dataset, "found no valid Kaggle credentials", _SIGN_IN) from None


def _origin(dataset: str) -> _Origin:
    try:
        kaggle = need("kaggle.api.kaggle_api_extended", "train", "to download data sets")
    except BrokenDependency as error:
        if isinstance(error.__cause__, OSError):
            raise StorageError(
                f"{error.__cause__}: the kaggle package needs a settings folder; set "
                "KAGGLE_CONFIG_DIR to one that can be written"
            ) from error
        raise
    types = need("kagglesdk.datasets.types.dataset_api_service", "train", "to download data sets")
    api = kaggle.KaggleApi()
    api.authenticate()
    request = types.ApiDownloadDatasetRequest()
    request.owner_slug, request.dataset_slug = dataset.split("/")
    with api.build_kaggle_client() as client:
        response: requests.Response = client.datasets.dataset_api_client.download_dataset(request)
        # Its body would be read without a time limit, and from the first byte on: `send` asks
        # again.
        response.close()
    length = response.headers.get("Content-Length", "")
    if not (length.isdecimal() and len(length) < 20 and 0 < int(length) <= MAX_BYTES):
        announced = f"{length[:20]} bytes" if length else "no size"
        raise _error(
            dataset,
            f"expected 1 to {MAX_BYTES:,} bytes, the server announces {announced}",
            _by_hand(dataset),
        )
    validator = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
    return _Origin(dataset, response.request, int(length), validator)


def _complete(part: Path, origin: _Origin, timeout: float, progress: bool) -> None:
    """Bring `part` to the whole archive; one that is no archive in the end is removed."""
    with part.open("ab") as file:
        _lock(file, origin.dataset)
        with progress_of(
            origin.dataset, origin.size, "B", done=file.tell(), shown=progress, keep=True
        ) as bar:
            _transfer(file, origin, timeout, bar)
        file.flush()
        os.fsync(file.fileno())
    if not zipfile.is_zipfile(part):
        part.unlink()
        raise _error(
            origin.dataset,
            "expected a zip archive, received something else",
            _by_hand(origin.dataset),
        )


def _transfer(file: BinaryIO, origin: _Origin, timeout: float, bar: Bar) -> None:
    """Append to `file` until it has the origin's size."""
    for attempt in range(ATTEMPTS):
        had = file.tell()
        try:
            if had < origin.size:
                _append(file, origin, timeout, bar)
        except requests.HTTPError:
            raise
        except requests.RequestException as error:
            if file.tell() <= had or attempt == ATTEMPTS - 1:
                raise _cut_off(file, origin, type(error).__name__) from error
        if file.tell() == origin.size:
            return
        if file.tell() > origin.size:
            _restart(file)
            raise _error(
                origin.dataset,
                f"received more than the {origin.size:,} bytes announced",
                "run the same command again",
            )
    raise _cut_off(file, origin, f"{ATTEMPTS} times")


def _append(file: BinaryIO, origin: _Origin, timeout: float, bar: Bar) -> None:
    """Append what one request brings; where the server does not continue this file, start again."""
    if not origin.validator:
        _restart(file)  # nothing says of which file its bytes are
    start = file.tell()
    with origin.send(start, timeout) as response:
        if not origin.has_remainder(response, start):
            if start and response.status_code in (206, 416):
                _restart(file)
                return
            response.raise_for_status()
            if response.status_code != 200:
                raise requests.HTTPError(response=response)
            _restart(file)
        for chunk in response.iter_content(_CHUNK):
            file.write(chunk)
            bar.reach(file.tell())
            if file.tell() > origin.size:
                return


def _restart(file: BinaryIO) -> None:
    if file.tell():
        file.seek(0)
        file.truncate()


def _lock(file: BinaryIO, dataset: str) -> None:
    """Keep a second download of the same file out, where the system has such locks."""
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _error(
            dataset, "another process is downloading it", "wait for that one, then run this again"
        ) from None
    except OSError:
        pass  # a network drive without locks


def _refused(dataset: str, error: requests.HTTPError) -> DownloadError:
    """What an HTTP status means here. The server's own words are not repeated."""
    status = 0 if error.response is None else error.response.status_code
    after = "" if error.response is None else error.response.headers.get("Retry-After", "")
    page = f"https://www.kaggle.com/datasets/{dataset}"
    ways_out = {
        401: f"the credentials are wrong or have expired: {_SIGN_IN}",
        403: (
            f"the account may not have it: sign in at {page}, accept its terms, and check that "
            "your token allows downloads"
        ),
        404: (
            f"look whether {page} is still there; an archive that you have goes in as --source "
            "NAME=ARCHIVE"
        ),
        429: (
            "too many requests: wait "
            f"{f'{after} s' if after.isdecimal() and len(after) < 6 else 'some minutes'}, then "
            f"{_AGAIN}"
        ),
    }
    fault = f"the fault is at {_host(error)}: wait some minutes, then {_AGAIN}"
    return _error(dataset, f"{_host(error)} answered HTTP {status}", ways_out.get(status, fault))


def _cut_off(file: BinaryIO, origin: _Origin, why: str) -> DownloadError:
    return _error(
        origin.dataset, f"cut off after {file.tell():,} of {origin.size:,} bytes ({why})", _AGAIN
    )


def _by_hand(dataset: str) -> str:
    page = f"https://www.kaggle.com/datasets/{dataset}"
    return (
        f"run the same command again, or download it from {page} and give --source "
        f"{dataset.partition('/')[2]}=ARCHIVE"
    )


def _host(error: requests.RequestException) -> str:
    request = error.request or getattr(error.response, "request", None)
    return (urlsplit(str(request.url)).hostname if request is not None else None) or "Kaggle"


_NETWORK = f"check the network and the proxy settings, then {_AGAIN}"


def _error(dataset: str, what: str, way_out: str) -> DownloadError:
    return DownloadError(f"{dataset} cannot be downloaded: {what}; {way_out}")
