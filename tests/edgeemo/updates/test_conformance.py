"""The cases of theupdateframework/tuf-conformance for clients, in our own words: `edgeemo update` is
the client, and a server on loopback counts what it asks for.

Not here: the static repositories of other projects, and its cache of artifacts (a release that was
installed is not fetched again; test_attacks.py).
"""

import contextlib
import functools
import json
import os
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from edgeemo.errors import InvalidInput, StorageError, UpdateError
from edgeemo.slots import Slots
from edgeemo.updates.client import Source, update
from edgeemo.updates.releases import Index
from tests.edgeemo.updates.test_attacks import Handler, Server

pytest.importorskip("tuf", reason="needs the extra update")

from securesystemslib.signer import CryptoSigner
from tuf.api import metadata as api

TOP = ("root", "timestamp", "snapshot", "targets")


def days(number: int) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(days=number)


class Site:
    """A repository whose metadata may be anything, on a server, and a device."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.slots = folder / "site", Slots(folder / "slots")
        self.slots.folder.mkdir()
        for name in ("metadata", "targets"):
            (self.folder / name).mkdir(parents=True)
        self.hashes = False
        self.root = api.Root(expires=days(30), consistent_snapshot=True)
        self.signed: dict[str, Any] = {
            "root": self.root,
            "timestamp": api.Timestamp(expires=days(30)),
            "snapshot": api.Snapshot(expires=days(30)),
            "targets": api.Targets(expires=days(30)),
        }
        self.signers: dict[str, list[Any]] = {role: [] for role in TOP}
        for role in TOP:
            self.add_key(role)
        self.offer("stable.json", Index(1, ()).to_bytes())
        self.write("targets", "snapshot", "timestamp", "root")
        self.first = folder / "root.json"
        self.first.write_bytes(self.file("root").read_bytes())
        handler = functools.partial(Handler, directory=str(self.folder))
        self.server = Server(("127.0.0.1", 0), handler)
        self.server.asked, self.server.told = [], []
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def add_key(self, role: str, signer: Any = None) -> None:
        signer = signer or CryptoSigner.generate_ed25519()
        self.root.add_key(signer.public_key, role)
        self.signers[role].append(signer)

    def rotate(self, *roles: str) -> None:
        for role in roles:
            self.root.roles[role].keyids.clear()
            self.signers[role].clear()
            self.add_key(role)

    def file(self, role: str) -> Path:
        version = "" if role == "timestamp" else f"{self.signed[role].version}."
        return self.folder / "metadata" / f"{version}{role.replace('/', '%2F')}.json"

    def write(self, *roles: str) -> None:
        """Sign roles as they are, with whatever version, and link to them."""
        for role in roles:
            made = api.Metadata(self.signed[role])
            for signer in self.signers[role]:
                made.sign(signer, append=True)
            self.file(role).write_bytes(made.to_bytes())
            if role == "snapshot":
                self.signed["timestamp"].snapshot_meta = self.link(role)
            elif role not in ("root", "timestamp"):
                self.signed["snapshot"].meta[f"{role}.json"] = self.link(role)

    def link(self, role: str) -> Any:
        version = self.signed[role].version
        data = self.file(role).read_bytes()
        return (
            api.MetaFile.from_data(version, data, ["sha256"])
            if self.hashes
            else api.MetaFile(version)
        )

    def publish(self, *roles: str) -> None:
        """A next version of roles, and what links to them."""
        order = ["root", "targets", "snapshot", "timestamp"]
        for role in [r for r in order if r in roles]:
            self.signed[role].version += 1
            self.write(role)

    def offer(self, path: str, data: bytes) -> None:
        target = api.TargetFile.from_data(path, data, ["sha256"])
        self.signed["targets"].targets[path] = target
        self.store(path, target.hashes["sha256"], data)

    def store(self, path: str, digest: str, data: bytes) -> None:
        (self.folder / "targets" / f"{digest}.{path}").write_bytes(data)

    def refresh(self, root: Path | None = None) -> bool:
        """Whether the client succeeds, which does all but install."""
        self.server.asked.clear()
        try:
            source = Source(self.url, "device", root=root or self.first, seconds=20)
            text = update(source, self.slots, check=True).text
        except (UpdateError, InvalidInput):
            return False
        assert text == "stable has nothing for this device"
        return True

    def asked(self) -> list[str]:
        return [path.removeprefix("/metadata/") for path in self.server.asked if "meta" in path]

    def trusted(self, role: str) -> int:
        """The version that the client trusts; 0: none."""
        path = self.slots.folder / "updates" / f"{role}.json"
        if not path.exists():
            return 0
        version: int = json.loads(path.read_bytes())["signed"]["version"]
        return version

    def all_trusted(self) -> list[int]:
        return [self.trusted(role) for role in TOP]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.server.shutdown()
    made.server.server_close()


# Basics.


def test_the_first_update_asks_for_each_role_once_and_trusts_it(site: Site) -> None:
    assert site.refresh()
    assert site.asked() == ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"]
    assert site.all_trusted() == [1, 1, 1, 1]
    assert site.refresh()
    assert site.asked() == ["2.root.json", "timestamp.json"]  # nothing twice


def without_version(text: str) -> str:
    return text.replace('"version":1', '"versio":1')


def with_another_signature(text: str) -> str:
    return re.sub(r'"sig":"....', '"sig":"0000', text)


@pytest.mark.parametrize("spoil", [without_version, with_another_signature, lambda text: text[:99]])
def test_a_root_that_is_none_or_not_signed_asks_for_nothing(
    site: Site, spoil: Callable[[str], str]
) -> None:
    text = site.first.read_text()
    site.first.write_text(spoil(text))
    assert site.first.read_text() != text
    assert not site.refresh()
    assert site.server.asked == []


def test_another_timestamp_of_the_same_version_is_not_taken(site: Site) -> None:
    assert site.refresh()
    site.signed["timestamp"].snapshot_meta.version = 100
    site.write("timestamp")
    site.refresh()
    path = site.slots.folder / "updates" / "timestamp.json"
    assert json.loads(path.read_bytes())["signed"]["meta"]["snapshot.json"]["version"] == 1


def test_targets_of_another_hash_or_version_than_the_snapshot_says_are_refused(site: Site) -> None:
    assert site.refresh()
    site.hashes = True
    site.publish("targets", "snapshot", "timestamp")
    assert site.refresh()
    site.publish("targets", "snapshot", "timestamp")
    path = site.file("targets")
    path.write_bytes(path.read_bytes() + b" ")
    assert not site.refresh()
    assert site.trusted("targets") == 2
    site.hashes = False
    site.publish("targets", "snapshot", "timestamp")
    site.file("targets").write_bytes((site.folder / "metadata/2.targets.json").read_bytes())
    assert not site.refresh()
    assert site.trusted("targets") == 2


def test_a_snapshot_of_another_version_than_the_timestamp_says_is_refused(site: Site) -> None:
    site.signed["snapshot"].version = 2
    made = site.signed["timestamp"].snapshot_meta
    site.write("snapshot")
    (site.folder / "metadata" / "1.snapshot.json").write_bytes(site.file("snapshot").read_bytes())
    site.signed["timestamp"].snapshot_meta = made
    site.write("timestamp")
    assert not site.refresh()
    assert site.all_trusted() == [1, 1, 0, 0]
    assert site.asked()[-1] == "1.snapshot.json"


def test_fields_that_nobody_knows_are_part_of_what_is_signed(site: Site) -> None:
    assert site.refresh()
    site.root.unrecognized_fields["custom"] = "value"
    key = site.root.keys[site.root.roles["root"].keyids[0]]
    key.unrecognized_fields["extra"] = {"a": 1}
    site.root.roles["root"].unrecognized_fields["another"] = "value"
    site.root.keys[site.root.roles["snapshot"].keyids[0]].unrecognized_fields = {
        "keyid_hash_algorithms": ["md5"]
    }
    site.publish("root")
    assert site.refresh()
    assert site.trusted("root") == 2


# Expiry.


@pytest.mark.parametrize(
    ("role", "left"),
    [("root", [2, 1, 1, 1]), ("timestamp", [1, 1, 1, 1]), ("snapshot", [1, 2, 1, 1]),
     ("targets", [1, 2, 2, 1])],
)  # fmt: skip
def test_what_has_expired_is_refused_and_root_is_kept_all_the_same(
    site: Site, role: str, left: list[int]
) -> None:
    assert site.refresh()
    site.signed[role].expires = days(-1)
    site.publish(*(("root",) if role == "root" else ("targets", "snapshot", "timestamp")))
    assert not site.refresh()
    assert site.all_trusted() == left


def test_a_device_whose_own_metadata_have_expired_gets_new_ones(site: Site) -> None:
    site.signed["timestamp"].expires = days(0) + timedelta(seconds=2)
    site.write("timestamp")
    assert site.refresh()
    time.sleep(2.1)
    assert not site.refresh()
    site.signed["timestamp"].expires = days(30)
    site.publish("targets", "snapshot", "timestamp")
    assert site.refresh()
    assert site.all_trusted() == [1, 2, 2, 2]


# Rollback, and the way back from a fast-forward.


def test_an_older_timestamp_is_refused(site: Site) -> None:
    site.publish("timestamp")
    assert site.refresh()
    site.signed["timestamp"].version = 1
    site.write("timestamp")
    assert not site.refresh()
    assert site.trusted("timestamp") == 2


@pytest.mark.parametrize("hashes", [False, True])
@pytest.mark.parametrize("role", ["snapshot", "targets"])
def test_an_older_version_that_newer_metadata_name_is_refused(
    site: Site, role: str, hashes: bool
) -> None:
    site.hashes = hashes
    site.publish("targets", "snapshot", "timestamp")
    assert site.refresh()
    site.signed[role].version = 1
    site.write(role)
    site.publish(*(("timestamp",) if role == "snapshot" else ("snapshot", "timestamp")))
    assert not site.refresh()
    assert site.trusted(role) == 2


@pytest.mark.parametrize(
    ("fast", "rotated"),
    [("timestamp", ["timestamp"]), ("snapshot", ["snapshot", "timestamp"]),
     ("targets", ["snapshot"])],
)  # fmt: skip
def test_new_keys_lead_back_from_a_version_far_ahead(
    site: Site, fast: str, rotated: list[str]
) -> None:
    site.signed[fast].version = 99_999
    site.write("targets", "snapshot", "timestamp")
    assert site.refresh()
    assert site.trusted(fast) == 99_999
    site.rotate(*rotated)
    site.publish("root")
    site.signed[fast].version = 1
    site.write("targets", "snapshot")
    if fast == "timestamp":
        site.write("timestamp")
    else:
        site.publish("timestamp")
    assert site.refresh()
    assert site.trusted(fast) == 1


# Keys.

THRESHOLDS = {
    # keys of the role, threshold, signers, whether it is taken
    "another key": ([2], 1, [2], True),
    "strangers sign too": ([1], 1, [3, 1, 4], True),
    "strangers alone": ([2], 1, [1, 3, 4], False),
    "one of three is a stranger": ([0, 1, 3, 4, 5], 3, [0, 2, 4], False),
    "two of three": ([0, 1, 3, 4, 5], 3, [0, 4], False),
    "first, third and fifth": ([0, 1, 2, 3, 4], 3, [0, 2, 4], True),
    "in another order": ([0, 1, 2, 3, 4], 3, [4, 1, 0], True),
    "the last three": ([0, 1, 2, 3, 4], 3, [2, 3, 4], True),
    "one key three times": ([0, 1, 2], 3, [0, 0, 0], False),
    "more than there are": ([0, 1], 3, [0, 1], False),
}
KEYS = [CryptoSigner.generate_ed25519() for _ in range(10)]


def set_keys(site: Site, role: str, keys: Sequence[int], threshold: int, by: Sequence[int]) -> None:
    site.root.roles[role].keyids.clear()
    for number in keys:
        site.root.add_key(KEYS[number].public_key, role)
    site.root.roles[role].threshold = threshold
    site.signers[role] = [KEYS[number] for number in by]


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
@pytest.mark.parametrize("name", list(THRESHOLDS))
def test_a_roles_threshold_counts_its_own_keys_once(site: Site, role: str, name: str) -> None:
    keys, threshold, by, taken = THRESHOLDS[name]
    set_keys(site, role, keys, threshold, by)
    site.publish("root", "targets", "snapshot", "timestamp")
    assert site.refresh() is taken
    assert site.trusted("root") == 2
    assert (site.trusted(role) == 2) is taken


def test_a_root_that_names_one_key_many_times_is_refused(site: Site) -> None:
    assert site.refresh()
    site.root.roles["snapshot"].keyids = 6 * site.root.roles["snapshot"].keyids
    site.root.roles["snapshot"].threshold = 6
    site.publish("root", "snapshot", "timestamp")
    assert not site.refresh()
    assert site.all_trusted() == [1, 1, 1, 1]


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_keys_of_other_kinds_count(site: Site, kind: str) -> None:
    make = CryptoSigner.generate_ecdsa if kind == "ecdsa" else CryptoSigner.generate_rsa
    site.root.roles["targets"].keyids.clear()
    site.signers["targets"].clear()
    site.add_key("targets", make())
    site.publish("root", "targets", "snapshot", "timestamp")
    assert site.refresh()


Roots = list[tuple[list[int], int, list[int]]]
ROOTS: dict[str, tuple[Roots, bool]] = {
    "one key for another": ([([1], 1, [1]), ([2], 1, [2, 1]), ([2], 1, [2])], True),
    "with strangers' signatures": (
        [([1], 1, [3, 1, 4]), ([2], 1, [3, 2, 1, 4]), ([2], 1, [3, 2, 4])], True,
    ),
    "any three of five": (
        [([0, 1, 2, 3, 4], 3, by) for by in ([0, 2, 4], [0, 4, 1], [0, 1, 3])], True,
    ),
    "one of five for another": (
        [([0, 1, 2, 3, 4], 3, [0, 2, 4]), ([0, 1, 3, 4, 5], 3, [0, 4, 1])], True,
    ),
    "all five, signed by both": (
        [([0, 1, 2, 3, 4], 3, [0, 2, 4]), ([5, 6, 7, 8, 9], 3, [0, 2, 4, 5, 6, 7]),
         ([5, 6, 7, 8, 9], 3, [5, 6, 7])], True,
    ),
    "a higher threshold": ([([1, 2, 3], 1, [1]), ([1, 2, 3], 2, [1, 2])], True),
    "a lower threshold": ([([1, 2, 3], 2, [1, 2]), ([1, 2, 3], 1, [1, 2]), ([1, 2, 3], 1, [1])], True),
    "a second key": ([([1], 1, [1]), ([1, 2], 2, [1, 2])], True),
    "not by the old key": ([([1], 1, [1]), ([2], 1, [2, 3, 4])], False),
    "not by the new key": ([([1], 1, [1]), ([2], 1, [1, 3, 4])], False),
    "not by three of the new": (
        [([0, 1, 2, 3, 4], 3, [0, 2, 4]), ([0, 1, 3, 4, 5], 3, [0, 2, 4])], False,
    ),
    "not by three of the old": (
        [([0, 1, 2, 3, 4], 3, [0, 2, 4]), ([0, 1, 3, 4, 5], 3, [0, 4, 5])], False,
    ),
    "a higher threshold that is not met": ([([1, 2, 3], 1, [1]), ([1, 2, 3], 2, [2])], False),
    "a lower threshold, the old one not met": ([([1, 2, 3], 2, [1, 2]), ([1, 2, 3], 1, [1])], False),
}  # fmt: skip


@pytest.mark.parametrize("name", list(ROOTS))
def test_roots_are_followed_as_far_as_old_and_new_keys_have_signed(site: Site, name: str) -> None:
    roots, taken = ROOTS[name]
    site.root.version = 0
    for keys, threshold, by in roots:
        set_keys(site, "root", keys, threshold, by)
        site.publish("root")
    site.first.write_bytes((site.folder / "metadata" / "1.root.json").read_bytes())
    assert site.refresh() is taken
    last = len(roots) if taken else len(roots) - 1
    here = site.slots.folder / "updates" / "root.json"
    assert here.read_bytes() == (site.folder / "metadata" / f"{last}.root.json").read_bytes()


# Delegations, which a repository of ours has none of.


def delegate(site: Site, *roles: tuple[str, str, bool], paths: Sequence[str] = ("*",)) -> None:
    """Roles as (delegator, name, terminating), in that order, each of a key of its own."""
    for delegator, name, terminating in roles:
        parent, signer = site.signed[delegator], CryptoSigner.generate_ed25519()
        if parent.delegations is None:
            parent.delegations = api.Delegations({}, {})
        parent.delegations.roles[name] = api.DelegatedRole(name, [], 1, terminating, list(paths))
        parent.add_key(signer.public_key, name)
        site.signed.setdefault(name, api.Targets(expires=days(30)))
        site.signers.setdefault(name, []).append(signer)
    for name in [one for one in site.signed if one not in TOP]:
        site.write(name)


GRAPHS: dict[str, tuple[list[tuple[str, str, bool]], str]] = {
    "two levels, depth first": (
        [("targets", "A", False), ("targets", "B", False), ("A", "C", False)], "ACB",
    ),
    "terminating": (
        [("targets", "A", False), ("targets", "B", False), ("A", "C", True), ("A", "D", False)],
        "AC",
    ),
    "a circle": ([("targets", "B", False), ("B", "C", False), ("C", "B", False)], "BC"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(GRAPHS))
def test_delegations_are_visited_once_and_in_their_order(site: Site, name: str) -> None:
    del site.signed["targets"].targets["stable.json"]
    graph, order = GRAPHS[name]
    delegate(site, *graph)
    site.publish("targets", "snapshot", "timestamp")
    assert not site.refresh()  # none of them has the index
    assert site.asked()[4:] == [f"1.{role}.json" for role in order]


@pytest.mark.parametrize("name", ["?", "#", "/role", "../role", "../../../role"])
def test_a_roles_name_is_quoted_in_requests_and_leads_out_of_no_folder(
    site: Site, name: str, tmp_path: Path
) -> None:
    del site.signed["targets"].targets["stable.json"]
    delegate(site, ("targets", name, False))
    written = site.folder / "metadata" / f"1.{name.replace('/', '%2F')}.json"
    site.publish("targets", "snapshot", "timestamp")
    before = {path for path in tmp_path.rglob("*") if "slots" not in path.parts}
    assert written in before
    assert not site.refresh()
    assert site.asked()[-1] == f"1.{quote(name, '')}.json"
    assert {path for path in tmp_path.rglob("*") if "slots" not in path.parts} == before


# Targets.


def test_an_index_that_was_replaced_or_is_longer_than_signed_is_refused(site: Site) -> None:
    assert site.refresh()
    (path,) = (site.folder / "targets").iterdir()
    good = path.read_bytes()
    for bad in (good[:-1] + b" ", good + b" ", good[:-1], b""):
        path.write_bytes(bad)
        assert not site.refresh()
    path.write_bytes(good)
    assert site.refresh()


def test_of_many_changes_the_newest_index_counts(site: Site) -> None:
    for number in range(6):
        site.offer("stable.json", Index(1, ()).to_bytes() + b" " * number)
        site.publish("targets", "snapshot", "timestamp")
        if number % 2:
            assert site.refresh()
            assert site.trusted("targets") == number + 2


# What a power cut leaves of the client's own files, which TUF's client does not sync.


def updated_without_root(site: Site) -> str:
    source = Source(site.url, "device", seconds=20)
    return update(source, site.slots, check=True).text


@pytest.mark.parametrize("torn", ["empty", "gone"])
def test_whatever_is_torn_of_them_is_no_end_of_updates(site: Site, torn: str) -> None:
    site.publish("root")
    assert site.refresh()
    assert updated_without_root(site) == "stable has nothing for this device"
    site.publish("root")
    folder = site.slots.folder / "updates"
    theirs = [*(folder / "root_history").iterdir(), *(folder / f"{role}.json" for role in TOP)]
    assert len(theirs) == 6
    for path in theirs:
        if torn == "gone":
            path.unlink()
        else:
            path.write_bytes(b"")
    assert updated_without_root(site) == "stable has nothing for this device"
    assert site.all_trusted() == [3, 1, 1, 1]


def test_a_device_of_before_there_was_a_copy_of_the_root_goes_on(site: Site) -> None:
    assert site.refresh()
    (site.slots.folder / "updates" / "trusted-root.json").unlink()
    assert updated_without_root(site) == "stable has nothing for this device"


def test_a_root_that_was_replaced_by_hand_does_not_come_back(site: Site, tmp_path: Path) -> None:
    """All root keys were stolen, and the owner has put another repository's root onto the device."""
    for _ in range(3):
        site.publish("root")
    assert site.refresh()
    (tmp_path / "new").mkdir()
    other = Site(tmp_path / "new")
    other.slots = site.slots
    assert other.refresh()
    assert updated_without_root(other) == "stable has nothing for this device"
    folder = site.slots.folder / "updates"
    for path in (folder / "root_history").iterdir():
        path.write_bytes(b"")
    with pytest.raises(UpdateError):
        updated_without_root(site)
    assert updated_without_root(other) == "stable has nothing for this device"
    other.server.shutdown()
    other.server.server_close()


@pytest.mark.parametrize("name", ["updates", "updates/root_history"])
def test_a_link_in_place_of_a_folder_of_ours_is_not_followed(
    site: Site, tmp_path: Path, name: str
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    place = site.slots.folder / name
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(other)
    with pytest.raises(StorageError, match="received a link"):
        update(Source(site.url, "device", root=site.first), site.slots, check=True)
    assert list(other.iterdir()) == []


@contextlib.contextmanager
def small_disk(folder: Path, options: str) -> Iterator[Path]:
    if os.geteuid():
        pytest.skip("needs root, to mount a small disk")
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounts are not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_disk_that_is_full_is_said_so(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Source(site.url, "device", root=site.first, seconds=20)
    with (
        small_disk(tmp_path / "slots-disk", "size=8k,nr_inodes=6") as disk,
        pytest.raises(StorageError, match="free some space or choose another --slots"),
    ):
        update(source, Slots(disk), check=True)
    site.offer("stable.json", Index(1, ()).to_bytes() + b" " * 60_000)
    site.publish("targets", "snapshot", "timestamp")
    with small_disk(tmp_path / "temporary", "size=40k") as disk:
        monkeypatch.setattr(tempfile, "tempdir", str(disk))
        with pytest.raises(StorageError, match=r"free some space or choose another \$TMPDIR"):
            update(source, site.slots, check=True)
