"""A repository of The Update Framework in a folder that any web server holds.

metadata/: N.root.json, N.targets.json, N.snapshot.json and timestamp.json, of the specification 1.0
with consistent snapshots; targets/: HASH.CHANNEL.json and CHANNEL/HASH.NAME-VERSION.edgeemo.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from edgeemo.contract.checked.counts import count_of
from edgeemo.contract.checked.files import make_folder, translated, written_beside
from edgeemo.contract.checked.reading import read_regular
from edgeemo.contract.container import read_whole, sha256
from edgeemo.errors import InvalidInput, MissingFile, UpdateError
from edgeemo.optional import need
from edgeemo.trust.ed25519 import load_public
from edgeemo.trust.reading import parse_emotions
from edgeemo.updates.releases import Index, Release, index_path, parse_index, with_release

ROLES = ("root", "targets", "online")
"""Whose keys: `online` signs snapshot and timestamp."""
DAYS = {"root": 365, "targets": 180, "snapshot": 14, "timestamp": 7}
"""Until metadata expire: a device that is held back notices after so long."""
_PURPOSE = "to publish updates"
_MAX = 5_000_000


def signer_of(private: Any) -> Any:
    """securesystemslib's signer for one of our private keys."""
    return need("securesystemslib.signer", "update", _PURPOSE).CryptoSigner(private)


def public_key_of(raw: bytes) -> Any:
    """securesystemslib's public key of an Ed25519 key's 32 bytes."""
    signer = need("securesystemslib.signer", "update", _PURPOSE)
    return signer.SSlibKey.from_crypto(load_public(raw))


class Repository:
    """A repository's folder.

    Args:
        folder: where metadata/ and targets/ are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._api = need("tuf.api.metadata", "update", _PURPOSE)
        errors = need("tuf.api.exceptions", "update", _PURPOSE)
        self._damaged: type[Exception] = errors.RepositoryError

    @property
    def root(self) -> Any:
        """The newest root's metadata."""
        return self._newest("root")

    def init(
        self, root: Sequence[Any], threshold: int, targets: Sequence[Any], online: Sequence[Any]
    ) -> Path:
        """Make the repository; root.json beside it is what devices get. Signers are securesystemslib
        ones. Raises InvalidInput, StorageError.
        """
        if not 1 <= threshold <= len(root):
            raise InvalidInput(f"expected a threshold of 1 to {len(root)} keys, got {threshold}")
        if (self.folder / "metadata").exists():
            raise InvalidInput(f"{self.folder}: holds a repository already")
        api = self._api
        signed = api.Root(expires=_expiry("root"), consistent_snapshot=True)
        for role, signers in (
            ("root", root), ("targets", targets), ("snapshot", online), ("timestamp", online),
        ):  # fmt: skip
            for signer in signers:
                signed.add_key(signer.public_key, role)
        signed.roles["root"].threshold = threshold
        make_folder(self.folder / "metadata")
        make_folder(self.folder / "targets")
        self._write(api.Metadata(signed), root)
        self._write(api.Metadata(api.Targets(expires=_expiry("targets"))), targets)
        snapshot = api.Snapshot(expires=_expiry("snapshot"))
        self._write(api.Metadata(snapshot), online)
        self._write(api.Metadata(api.Timestamp(expires=_expiry("timestamp"))), online)
        return self.folder / "metadata" / "1.root.json"

    def publish(
        self, bundle: Path, channel: str, percent: int, targets: Sequence[Any],
        online: Sequence[Any],
    ) -> Release:  # fmt: skip
        """Offer a bundle of emotions to so many of a channel's devices; again with another
        percentage to widen it.

        Raises:
            MissingFile, BundleError: no bundle.
            InvalidInput: another channel, or no percentage.
            StorageError: the folder cannot be written.
        """
        path = index_path(channel)
        if not 1 <= percent <= 100:
            raise InvalidInput(f"expected 1 to 100 percent, received {percent}")
        data = read_whole(bundle)
        manifest = parse_emotions(data, bundle).manifest
        name = f"{channel}/{manifest.name}-{manifest.version}.edgeemo"
        release = Release(name, sha256(data), manifest.name, manifest.version, percent)
        metadata = self._newest("targets")
        index = Index(1, with_release(self._releases(metadata, channel), release))
        old = dict(metadata.signed.targets)
        held = {one.path for one in index.releases}
        kept = {key: value for key, value in old.items() if not key.startswith(f"{channel}/")}
        kept |= {key: value for key, value in old.items() if key in held}
        for target, content in ((name, data), (path, index.to_bytes())):
            file = self._api.TargetFile.from_data(target, content, ["sha256"])
            kept[target] = file
            self._store(target, content)
        metadata.signed.targets = kept
        self._next(metadata, targets)
        self.renew(online)
        return release

    def renew(self, online: Sequence[Any]) -> None:
        """Sign snapshot and timestamp anew, for DAYS more. Raises StorageError."""
        snapshot, timestamp = self._newest("snapshot"), self._newest("timestamp")
        version = self._newest("targets").signed.version
        snapshot.signed.meta["targets.json"] = self._api.MetaFile(version)
        self._next(snapshot, online)
        data = self._file("snapshot", snapshot.signed.version).read_bytes()
        timestamp.signed.snapshot_meta = self._api.MetaFile.from_data(
            snapshot.signed.version, data, ["sha256"]
        )
        self._next(timestamp, online)

    def rotate(
        self, role: str, add: Sequence[Any], remove: Sequence[str], root: Sequence[Any],
        threshold: int | None = None,
    ) -> Path:  # fmt: skip
        """A new root in which keys of a role are added or revoked; signed by the old root's keys and
        the new one's, so both thresholds must be met. Sign again what the role signs: `renew` and
        `publish`.

        Args:
            role: one of ROLES.
            add: public keys of securesystemslib.
            remove: key ids.
            root: signers, of old and new.
            threshold: the role's from now on.

        Raises:
            InvalidInput: another role or key, or fewer keys than the role needs.
            UpdateError: too few signers.
        """
        if role not in ROLES:
            raise InvalidInput(f"expected a role of {', '.join(ROLES)}, received {role!r}")
        before, metadata = self.root, self.root
        for one in ("snapshot", "timestamp") if role == "online" else (role,):
            for key in add:
                metadata.signed.add_key(key, one)
            for key_id in remove:
                try:
                    metadata.signed.revoke_key(key_id, one)
                except ValueError as error:
                    raise InvalidInput(f"{key_id[:16]}: {error}") from None
            rule = metadata.signed.roles[one]
            rule.threshold = rule.threshold if threshold is None else threshold
            if not 1 <= rule.threshold <= len(rule.keyids):
                raise InvalidInput(
                    f"{one} would have {count_of(len(rule.keyids), 'key')} and need "
                    f"{rule.threshold} of them; add its new key in the same call"
                )
        metadata.signed.version += 1
        metadata.signed.expires = _expiry("root")
        self._sign(metadata, root)
        for judge in (before, metadata):
            result = judge.signed.get_verification_result(
                "root", metadata.signed_bytes, metadata.signatures
            )
            if not result:
                raise UpdateError(
                    f"the new root lacks {result.missing} signatures of "
                    f"{'the old' if judge is before else 'its own'} root keys"
                )
        return self._save(metadata)

    def _releases(self, metadata: Any, channel: str) -> tuple[Release, ...]:
        info = metadata.signed.targets.get(index_path(channel))
        if info is None:
            return ()
        file = self.folder / "targets" / f"{info.hashes['sha256']}.{index_path(channel)}"
        return parse_index(read_regular(file, _MAX), channel).releases

    def _store(self, target: str, content: bytes) -> None:
        folder, _, name = target.rpartition("/")
        path = self.folder / "targets" / folder / f"{sha256(content)}.{name}"
        make_folder(path.parent)
        with written_beside(path) as part:
            part.write_bytes(content)

    def _newest(self, role: str) -> Any:
        if role == "timestamp":
            path = self._file(role, 0)
        else:
            found = (self.folder / "metadata").glob(f"*.{role}.json")
            numbers = (file.name.partition(".")[0] for file in found)
            versions = [int(number) for number in numbers if number.isdecimal()]
            if not versions:
                raise MissingFile(
                    f"{self.folder}: no repository; run: python -m export repository init"
                )
            path = self._file(role, max(versions))
        try:
            return self._api.Metadata.from_bytes(read_regular(path, _MAX))
        except (OSError, ValueError, self._damaged) as error:
            raise UpdateError(
                f"{path}: damaged ({error}); bring it back from the web server or a copy"
            ) from None

    def _next(self, metadata: Any, signers: Sequence[Any]) -> None:
        metadata.signed.version += 1
        metadata.signed.expires = _expiry(metadata.signed.type)
        self._write(metadata, signers)

    def _write(self, metadata: Any, signers: Sequence[Any]) -> None:
        self._sign(metadata, signers)
        role = metadata.signed.type
        if role != "root":
            result = self.root.signed.get_verification_result(
                role, metadata.signed_bytes, metadata.signatures
            )
            if not result:
                raise UpdateError(f"{role}: lacks {result.missing} signatures of its keys")
        self._save(metadata)

    def _sign(self, metadata: Any, signers: Sequence[Any]) -> None:
        metadata.signatures.clear()
        for signer in signers:
            metadata.sign(signer, append=True)

    def _save(self, metadata: Any) -> Path:
        path = self._file(metadata.signed.type, metadata.signed.version)
        with translated(path, "--repo"), written_beside(path) as part:
            part.write_bytes(metadata.to_bytes())
        return path

    def _file(self, role: str, version: int) -> Path:
        name = f"{role}.json" if role == "timestamp" else f"{version}.{role}.json"
        return self.folder / "metadata" / name


def _expiry(role: str) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(days=DAYS[role])
