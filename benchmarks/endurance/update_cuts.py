"""Power cuts while `edgeemo update` follows a new root: the next update has to work, without --root.

python -m benchmarks.endurance.update_cuts      as root; a minute

The client runs on a real ext4 (a loop device) and is killed at each call that changes files; what
the device holds then is mounted, and another update is made from it.
"""

import logging
import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from benchmarks.endurance import slot_faults
from benchmarks.endurance.power_cuts import loop_disk, mounted, synced
from edgeemo.models import find_model
from edgeemo.slots import Slots
from edgeemo.trust.ed25519 import new_private
from edgeemo.updates.client import Source, update
from export.publish.repository import Repository, signer_of

CALLS = ("write", "fsync", "rename", "symlink", "unlink")


class Sites:
    """A repository as a device saw it last, and the same with a newer root."""

    def __init__(self, folder: Path) -> None:
        key = signer_of(new_private())
        self.old, self.new = folder / "old", folder / "new"
        made = Repository(self.old)
        self.root = made.init([key], 1, [key], [key])
        made.publish(find_model("nano"), "stable", 100, [key], [key])
        shutil.copytree(self.old, self.new)
        newer = Repository(self.new)
        newer.rotate("online", [signer_of(new_private()).public_key], [], [key])
        newer.renew([key])

    def prepared(self, folder: Path) -> Slots:
        """A device that has updated from the old one."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        slots = Slots(folder)
        update(Source(str(self.old), "device", root=self.root), slots, check=True)
        return slots

    def follow(self, slots: Slots) -> str:
        """An update from the new one, by the root that the device has kept."""
        slot_faults.yield_to_strace()
        return update(Source(str(self.new), "device"), slots, check=True).text


def cuts(place: Path) -> Counter[str]:
    """Cut an update at each of CALLS; how often the next one worked, by call.

    Raises EdgeemoError where it did not.
    """
    sites = Sites(place)
    case = slot_faults.Step(sites.prepared, sites.follow)
    ran: Counter[str] = Counter()
    disk, copy = place / "disk", place / "copy"
    loop_disk(disk)
    with mounted(disk, place / "mounted", careless=True) as folder:
        slots = folder / "slots"
        _, end, lines = slot_faults.traced(case, slots, "-e", f"trace={','.join(CALLS)}")
        assert end == 0, end
        counts = Counter(re.findall(r"^(\w+)\(", lines, re.MULTILINE))
        for call in CALLS:
            for when in range(1, counts[call] + 1):
                kill = ("-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={when}")
                slot_faults.traced(case, slots, *kill, before=synced)
                shutil.copyfile(disk, copy)
                with mounted(copy, place / "other") as left:
                    assert sites.follow(Slots(left / "slots"))
                ran[call] += 1
    return ran


def main() -> None:
    """See the module."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        ran = cuts(Path(folder))
    for call, count in ran.items():
        sys.stdout.write(f"{call:<10}{count:>4}\n")
    sys.stdout.write(f"{sum(ran.values())} cuts, after each of which the next update works\n")


if __name__ == "__main__":
    if os.geteuid():
        raise SystemExit("run it as root: it mounts loop devices")
    main()
