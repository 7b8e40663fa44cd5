"""What a channel offers: an index among the signed targets, and which devices a release is for."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from edgeemo.contract.checked import strict
from edgeemo.errors import InvalidInput, UpdateError

CHANNELS = ("stable", "canary")
MAX_RELEASES = 16
_MACHINE_ID = Path("/etc/machine-id")
_PATH = re.compile(r"[a-z]{1,16}/[a-z0-9._-]{1,64}\.edgeemo")


@dataclass(frozen=True)
class Release:
    """A bundle that a channel offers."""

    path: str
    """The target's path, CHANNEL/NAME-VERSION.edgeemo."""
    sha256: str
    """The bundle's hash, 64 hex digits."""
    name: str
    """The model's name."""
    version: str
    """The bundle's version."""
    percent: int
    """Of the devices, 1 to 100."""


@dataclass(frozen=True)
class Index:
    """A channel's releases."""

    version: int
    """1."""
    releases: tuple[Release, ...]
    """The newest first."""

    def to_bytes(self) -> bytes:
        """Its JSON."""
        return strict.dumps(asdict(self)).encode()


def index_path(channel: str) -> str:
    """The target that holds a channel's index. Raises InvalidInput."""
    if channel not in CHANNELS:
        raise InvalidInput(f"expected a channel of {', '.join(CHANNELS)}, received {channel!r}")
    return f"{channel}.json"


def parse_index(text: bytes, channel: str) -> Index:
    """The index that signed metadata vouch for. Raises UpdateError where it is none of ours."""
    try:
        index = strict.from_dict(Index, strict.loads(text), "index")
        if index.version != 1 or len(index.releases) > MAX_RELEASES:
            raise ValueError(f"version {index.version}, {len(index.releases)} releases")
        for one in index.releases:
            if not _PATH.fullmatch(one.path) or not one.path.startswith(f"{channel}/"):
                raise ValueError(f"the path {one.path[:80]!r}")
            if not re.fullmatch(r"[0-9a-f]{64}", one.sha256) or not 1 <= one.percent <= 100:
                raise ValueError(f"{one.path}: no sha256, or {one.percent} percent")
    except (ValueError, UnicodeDecodeError) as error:
        raise UpdateError(f"the index of {channel} is not valid ({error}); publish again") from None
    return index


def ring(device: str, release: Release) -> int:
    """Which hundredth of the devices a device is in for a release, 0 to 99: the same for ever, and
    another one for the next release, so that the same devices are not always the first.
    """
    digest = hashlib.sha256(f"{device}\0{release.sha256}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % 100


def chosen(index: Index, device: str) -> Release | None:
    """The newest release that is for this device."""
    return next((one for one in index.releases if ring(device, one) < one.percent), None)


def device_id(given: str | None = None) -> str:
    """What tells this device from others, and never leaves it: `given`, or the hash of
    /etc/machine-id. Raises InvalidInput where there is neither.
    """
    if given:
        return given
    try:
        text = _MACHINE_ID.read_text().strip()
    except OSError:
        text = ""
    if not text:
        raise InvalidInput(f"{_MACHINE_ID} does not say which device this is; pass --device-id")
    return hashlib.sha256(f"edgeemo {text}".encode()).hexdigest()


def with_release(releases: Sequence[Release], new: Release) -> tuple[Release, ...]:
    """The releases with a new one, or its percentage anew, in front; those behind the first one that
    is for all devices are dropped.
    """
    others = [one for one in releases if one.sha256 != new.sha256]
    kept: list[Release] = []
    for one in [new, *others][:MAX_RELEASES]:
        kept.append(one)
        if one.percent == 100:
            break
    return tuple(kept)
