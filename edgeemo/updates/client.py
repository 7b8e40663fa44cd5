"""`edgeemo update`: what the repository offers this device, verified by python-tuf, installed."""

import http.client
import logging
import os
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeemo.contract.checked import strict
from edgeemo.contract.checked.files import make_folder, translated, written_beside
from edgeemo.contract.checked.reading import read_regular
from edgeemo.contract.container import MAX_BUNDLE_BYTES, sha256
from edgeemo.errors import InvalidInput, UpdateError
from edgeemo.optional import need
from edgeemo.slots import Slots
from edgeemo.updates.fetching import SECONDS, base_url, fetcher
from edgeemo.updates.releases import Release, chosen, index_path, parse_index

ROOT = Path("/etc/edgeemo/root.json")
_FOLDER, _LAST = "updates", "last"
_MAX_INDEX = 64 * 1024
_MAX_ROOT = 512_000
_PURPOSE = "to fetch updates"

log = logging.getLogger("edgeemo.updates")


@dataclass(frozen=True)
class Source:
    """Where updates come from, and which of them this device takes."""

    place: str
    """An http(s) address or a folder."""
    device: str
    """`edgeemo.updates.releases.device_id`; nothing of it is sent."""
    channel: str = "stable"
    """One of CHANNELS."""
    root: Path | None = None
    """The root.json that is trusted at the first update; by default ROOT. Later the newest one
    counts that this one's keys have led to."""
    seconds: float = SECONDS
    """A file may take so long."""


@dataclass(frozen=True)
class Update:
    """What an update has come to."""

    release: Release | None
    """What the channel offers this device; None: nothing."""
    new: bool
    """Whether it is another one than the update before has installed."""
    text: str
    """In words."""


def update(source: Source, slots: Slots, *, check: bool = False, minutes: float = 10.0) -> Update:
    """Install what the repository offers this device, if it is new; with `check` say so alone.

    A release that was installed once is not installed again, even if its trial has failed.

    Raises:
        UpdateError: metadata or files that are missing, expired, too slow or not what was signed.
        InvalidInput: no root that is trusted, no such place or channel.
        MissingDependency: tuf is not installed.
        EdgeemoError: of another kind where the model cannot be installed (see `Slots.install`).
    """
    folder = slots.folder / _FOLDER
    with translated(folder, "--slots"):
        make_folder(folder)
    with _translated_tuf(source.place), tempfile.TemporaryDirectory() as downloads:
        updater = _updater(source, folder, downloads)
        index_file = _fetched(updater, index_path(source.channel), _MAX_INDEX)
        release = chosen(parse_index(index_file, source.channel), source.device)
        if release is None:
            return Update(None, False, f"{source.channel} has nothing for this device")
        what = f"{release.name} {release.version}"
        if _last(folder) == release.sha256:
            return Update(release, False, f"{what} is what {source.channel} offers; up to date")
        if check:
            return Update(release, True, f"{what} is new; run: edgeemo update")
        data = _fetched(updater, release.path, MAX_BUNDLE_BYTES)
        if sha256(data) != release.sha256:
            raise UpdateError(f"{release.path}: not the file that its channel names")
        bundle = Path(downloads, "release.edgeemo")
        bundle.write_bytes(data)
        state = slots.install(bundle, minutes=minutes)
    with translated(folder, "--slots"), written_beside(folder / _LAST) as part:
        part.write_text(release.sha256)
    return Update(release, True, state.events[-1].text)


def report(url: str, device: str, result: Update) -> bool:
    """POST what an update has come to, as JSON, to an address of http or https that the owner has
    named; whether it was taken. A report that fails is no failure of the update.

    Raises InvalidInput for another kind of address.
    """
    if not url.startswith(("http://", "https://")):
        raise InvalidInput(f"expected an http(s) address to report to, received {url[:80]!r}")
    release = asdict(result.release) if result.release else None
    told = {"device": device, "release": release, "new": result.new, "text": result.text}
    request = urllib.request.Request(
        url, strict.dumps_line(told).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=15):
            return True
    except (OSError, UnicodeError, http.client.HTTPException) as error:  # or no host at all
        log.warning("%s: the report was not taken (%s)", url, error)
        return False


def _updater(source: Source, folder: Path, downloads: str) -> Any:
    ngclient = need("tuf.ngclient", "update", _PURPOSE)
    base = base_url(source.place)
    config = ngclient.UpdaterConfig(max_root_rotations=64, app_user_agent="edgeemo")
    return ngclient.Updater(
        str(folder),
        f"{base}/metadata/",
        downloads,
        f"{base}/targets/",
        fetcher=fetcher(source.seconds),
        config=config,
        bootstrap=_root(source, folder),
    )


def _root(source: Source, folder: Path) -> bytes:
    """The root that is trusted: the one given, or ROOT, or the one that led to the last update."""
    path = source.root
    if path is None:
        path = ROOT if ROOT.exists() else folder / "root.json"
    try:
        return read_regular(path, _MAX_ROOT)
    except (OSError, ValueError):
        raise InvalidInput(
            f"{path}: no root that is trusted; pass the repository's --root root.json once, over "
            f"a way that you trust, or put it at {ROOT}"
        ) from None


def _fetched(updater: Any, path: str, limit: int) -> bytes:
    """A target's bytes, of the length and hash that are signed. Raises UpdateError."""
    info = updater.get_targetinfo(path)
    if info is None:
        raise UpdateError(f"{path}: no signed target of this repository")
    if info.length > limit:
        raise UpdateError(f"{path}: {info.length:,} bytes, expected at most {limit:,}")
    file = updater.download_target(info, os.path.join(updater.target_dir, "target"))
    return Path(file).read_bytes()


def _last(folder: Path) -> str:
    try:
        return read_regular(folder / _LAST, 100).decode().strip()
    except (OSError, ValueError):
        return ""


@contextmanager
def _translated_tuf(place: str) -> Iterator[None]:
    errors = need("tuf.api.exceptions", "update", _PURPOSE)
    try:
        yield
    except errors.ExpiredMetadataError as error:
        raise UpdateError(
            f"{place}: {error}; the repository is not renewed any more, or somebody holds newer "
            "metadata back"
        ) from error
    except (errors.RepositoryError, errors.DownloadError) as error:
        kind = type(error).__name__
        what = "refused" if isinstance(error, errors.RepositoryError) else "not fetched"
        raise UpdateError(
            f"{place}: {what} ({kind}: {str(error)[:300]}); nothing changed"
        ) from error
