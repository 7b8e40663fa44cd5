"""`edgeemo update`: what the repository offers this device, verified by python-tuf, installed."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeemo.contract.checked.files import (
    make_folder,
    sync_file,
    sync_folder,
    translated,
    written_beside,
)
from edgeemo.contract.checked.reading import read_regular
from edgeemo.contract.container import MAX_BUNDLE_BYTES, sha256
from edgeemo.errors import InvalidInput, StorageError, UpdateError
from edgeemo.optional import need
from edgeemo.slots import Slots
from edgeemo.updates.fetching import SECONDS, base_url, fetcher
from edgeemo.updates.releases import Release, chosen, index_path, parse_index

ROOT = Path("/etc/edgeemo/root.json")
_FOLDER, _LAST = "updates", "last"
_TRUSTED = "trusted-root.json"
_ROOTS = "root_history"  # as TUF's client names it
_MAX_INDEX = 64 * 1024
_MAX_ROOT = 512_000
_PURPOSE = "to fetch updates"


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
        StorageError: the folder of the slots cannot be written, or holds links of somebody else's.
        EdgeemoError: of another kind where the model cannot be installed (see `Slots.install`).
    """
    folder = slots.folder / _FOLDER
    with translated(folder, "--slots"):
        make_folder(folder)
    for place in (folder, folder / _ROOTS):  # TUF's client writes into whatever a link leads to
        if place.is_symlink():
            raise StorageError(f"{place}: expected a folder, received a link; remove it")
    with ExitStack() as stack:
        stack.enter_context(translated(folder, "--slots"))  # what TUF's client writes there
        stack.enter_context(_translated_tuf(source.place))
        downloads = stack.enter_context(tempfile.TemporaryDirectory())
        files = stack.enter_context(closing(fetcher(source.seconds)))
        updater = _updater(source, folder, downloads, files)
        updater.refresh()
        _keep(folder)
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
        with translated(bundle, "$TMPDIR"):
            bundle.write_bytes(data)
        state = slots.install(bundle, minutes=minutes)
    with translated(folder, "--slots"), written_beside(folder / _LAST, own=True) as part:
        part.write_text(release.sha256)
    return Update(release, True, state.events[-1].text)


def _updater(source: Source, folder: Path, downloads: str, files: Any) -> Any:
    """TUF's client, from the first root that is one."""
    ngclient = need("tuf.ngclient", "update", _PURPOSE)
    invalid = need("tuf.api.exceptions", "update", _PURPOSE).RepositoryError
    base = base_url(source.place)

    def trusting(root: bytes) -> Any:
        return ngclient.Updater(
            str(folder),
            f"{base}/metadata/",
            downloads,
            f"{base}/targets/",
            fetcher=files,
            config=ngclient.UpdaterConfig(max_root_rotations=64, app_user_agent="edgeemo"),
            bootstrap=root,
        )

    *newer, oldest = _roots(source, folder)
    for root in newer:
        with suppress(invalid):
            return trusting(root)
    return trusting(oldest)


def _roots(source: Source, folder: Path) -> list[bytes]:
    """The root that is trusted: the one given, or ROOT, or else the one that led to the last update;
    where that cannot be read, the one that TUF's client has kept. Raises InvalidInput.
    """
    given = source.root or _configured()
    roots = []
    for path in [given] if given else [folder / _TRUSTED, folder / "root.json"]:
        with suppress(OSError, ValueError):
            roots.append(read_regular(path, _MAX_ROOT))
    if not roots:
        raise InvalidInput(
            f"{given or folder / _TRUSTED}: no root that is trusted; pass the repository's --root "
            f"root.json once, over a way that you trust, or put it at {ROOT}"
        )
    return roots


def _configured() -> Path | None:
    """ROOT, also where it may not be looked at: that never means that there is none."""
    try:
        ROOT.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        pass
    return ROOT


def _keep(folder: Path) -> None:
    """Have on the disk what TUF's client has learned and written, which does not see to it itself.

    It writes its roots anew each time, so a power cut may tear all of them; a copy of the newest is
    ours, and replaced only where there is another one.
    """
    newest = read_regular(folder / "root.json", _MAX_ROOT)
    kept = folder / _TRUSTED
    if not (kept.is_file() and kept.read_bytes() == newest):
        with written_beside(kept, own=True) as part:
            part.write_bytes(newest)
    for role in ("timestamp", "snapshot", "targets"):
        sync_file(folder / f"{role}.json")
    sync_folder(folder)


def _fetched(updater: Any, path: str, limit: int) -> bytes:
    """A target's bytes, of the length and hash that are signed. Raises UpdateError."""
    info = updater.get_targetinfo(path)
    if info is None:
        raise UpdateError(f"{path}: no signed target of this repository")
    if info.length > limit:
        raise UpdateError(f"{path}: {info.length:,} bytes, expected at most {limit:,}")
    place = Path(updater.target_dir)
    with translated(place, "$TMPDIR"):
        return Path(updater.download_target(info, str(place / "target"))).read_bytes()


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
