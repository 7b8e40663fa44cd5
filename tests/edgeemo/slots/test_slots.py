"""Installed models: two at most, one that runs always, and the old one back where the new fails."""

import json
import os
import shutil
import stat
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import edgeemo
from benchmarks.endurance import slot_faults
from edgeemo.cameras.fake import FakeCamera
from edgeemo.cli.main import main
from edgeemo.errors import BackendError, BundleError, MissingFile, StorageError, UntrustedModel
from edgeemo.live.options import SensorOptions
from edgeemo.models import find_model
from edgeemo.recognizer import Recognizer
from edgeemo.slots import Slots, store
from edgeemo.slots.state import FILE, slot_file
from edgeemo.slots.trial import RunningTrial
from edgeemo.trust import read_bundle
from edgeemo.trust.keys import ENVIRONMENT as KEYS
from tests import support
from tests.edgeemo.trust.signing_support import key_pair, signed, unsigned

OLD, NEW, THIRD = "nano", "nano-fer2013", "small"


def put(slots: Slots, name: str, minutes: float = 10) -> None:
    """Install a shipped model without its self-test, which takes seconds."""
    slots.folder.mkdir(exist_ok=True)
    path = find_model(name)
    slots._put(read_bundle(path), path.read_bytes(), minutes)


@pytest.fixture
def slots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slots:
    """The old model kept, the new one on trial."""
    folder = tmp_path / "slots"
    monkeypatch.setenv(store.ENVIRONMENT, str(folder))
    made = Slots()
    put(made, OLD)
    put(made, NEW)
    return made


def runs(slots: Slots) -> str:
    return slots.current().manifest.name


def models(slots: Slots) -> list[str]:
    return sorted(path.name for path in slots.folder.iterdir() if path.suffix == ".edgeemo")


def run(*words: object):  # type: ignore[no-untyped-def]
    return support.done_here(main, "edgeemo", *words)


def test_install_verifies_tests_writes_and_switches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(store.ENVIRONMENT, str(tmp_path / "var" / "slots"))
    done = run("install", "nano")
    assert done.returncode == 0, done.stderr
    assert "nano 1." in done.stdout or "nano 0." in done.stdout
    assert "installed into slot a, kept" in done.stdout
    shown = json.loads(run("slots", "--json").stdout)
    assert [(row["slot"], row["runs"], row["name"]) for row in shown["slots"]] == [
        ("a", True, "nano")
    ]
    assert run("rollback").returncode == 1
    with Recognizer("slot", detector="whole") as recognizer:
        assert recognizer.bundle
        assert recognizer.bundle.manifest.name == "nano"
        assert recognizer.trial is None


def test_without_an_installed_model_slot_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(store.ENVIRONMENT, str(tmp_path / "none"))
    done = run("predict", "x.png", "--model", "slot", "--detector", "whole")
    assert (done.returncode, "run: edgeemo install X.edgeemo" in done.stderr) == (1, True)


def test_what_may_not_run_or_fails_its_selftest_changes_nothing(
    slots: Slots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in slots.folder.iterdir()}

    def wrong(entries: dict[str, bytes]) -> None:
        manifest = json.loads(entries["manifest.json"])
        arrays = dict(np.load(__import__("io").BytesIO(entries["selftest.npz"])))
        for name in arrays:
            if name != "inputs":
                arrays[name] = arrays[name] + 50
        buffer = __import__("io").BytesIO()
        np.savez(buffer, **arrays)
        entries["selftest.npz"] = buffer.getvalue()
        support.matching_hashes(entries, manifest)

    hostile = support.rezip(find_model(OLD), tmp_path / "hostile.edgeemo", wrong)
    with pytest.raises(BundleError, match="its self-test fails here"):
        slots.install(hostile)
    key_pair(tmp_path / "keys", "fleet")
    monkeypatch.setenv(KEYS, str(tmp_path / "keys"))
    mine = unsigned(tmp_path / "mine.edgeemo")
    with pytest.raises(UntrustedModel):
        slots.install(mine)
    assert {path.name: path.read_bytes() for path in slots.folder.iterdir()} == before


def test_a_third_model_never_takes_the_place_of_the_one_that_is_proved(slots: Slots) -> None:
    assert (runs(slots), models(slots)) == (NEW, ["a.edgeemo", "b.edgeemo"])
    put(slots, THIRD)
    assert (runs(slots), models(slots)) == (THIRD, ["a.edgeemo", "b.edgeemo"])
    assert slots.rollback().current == "a"
    assert runs(slots) == OLD
    assert any("small" in event.text for event in slots.state().events)


def test_rollback_goes_there_and_back(slots: Slots) -> None:
    assert "back to slot a: asked for" in run("rollback").stdout
    assert runs(slots) == OLD
    assert slots.state().trial is None
    slots.rollback("again")
    assert runs(slots) == NEW


def test_three_starts_that_do_not_end_well_bring_the_old_model_back(slots: Slots) -> None:
    code = (
        "import os, signal\nfrom edgeemo.slots import Slots\n"
        "assert Slots().begin()[0].manifest.name == 'nano-fer2013'\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=support.REPOSITORY, check=False)
    assert done.returncode == -9
    for _ in range(2):
        slots.begin()
    assert slots.state().trial.starts == 3  # type: ignore[union-attr]
    assert slots.begin()[0].manifest.name == OLD
    (shown,) = (e for e in slots.state().events if "back" in e.text)
    assert shown.text == "back to slot a: 3 starts of slot b did not end well"
    assert shown.text in run("slots").stdout


def test_starts_that_end_well_and_cameras_that_fail_do_not_count(slots: Slots) -> None:
    for _ in range(5):
        with Recognizer("slot", detector="whole") as recognizer:
            recognizer.infer(np.zeros((1, 48, 48, 1), np.uint8))
        with pytest.raises(edgeemo.EdgeemoError):
            edgeemo.EmotionSensor("/dev/video97", model="slot", detector="whole")
    assert slots.state().trial.starts == 0  # type: ignore[union-attr]
    assert runs(slots) == NEW


def test_a_model_that_fails_while_it_runs_counts(slots: Slots) -> None:
    recognizer = Recognizer("slot", detector="whole")
    recognizer.trial.failed()  # type: ignore[union-attr]
    recognizer.close()
    assert slots.state().trial.starts == 1  # type: ignore[union-attr]


def running(slots: Slots) -> RunningTrial:
    slots.begin()
    trial = slots.state().trial
    assert trial
    return RunningTrial(slots, trial)


def live(trial: RunningTrial, seconds: int, start: float = 0.0) -> None:
    for second in range(0, seconds + 1, 2):
        trial.alive(start + second)


def test_healthy_minutes_keep_the_model(slots: Slots) -> None:
    trial = running(slots)
    live(trial, 700)
    assert slots.state().trial is not None  # nobody was there: nothing is proved
    trial.answered(["happy", "sad"])
    trial.alive(702)
    state = slots.state()
    assert (state.trial, runs(slots)) == (None, NEW)
    assert state.events[-1].text == "slot b is kept: 11.7 healthy minutes"


def test_healthy_minutes_add_up_over_starts_and_gaps_do_not_count(slots: Slots) -> None:
    trial = running(slots)
    live(trial, 300)
    trial.alive(5000)  # an hour without a frame: five seconds of it
    trial.ended()
    told = slots.state().trial
    assert told
    assert (told.healthy_s, told.starts) == (305.0, 0)
    trial = running(slots)
    trial.answered(["happy", "sad"])
    live(trial, 300, start=9000)
    assert slots.state().trial is None


def test_nothing_but_one_label_brings_the_old_model_back(slots: Slots) -> None:
    trial = running(slots)
    trial.answered(["happy"] * 199)
    live(trial, 700)
    assert slots.state().trial is not None  # one person, perhaps: more answers are waited for
    trial.answered(["happy"])
    with pytest.raises(BackendError, match=r"answered nothing but happy, 200 times .*old one"):
        trial.alive(702)
    assert runs(slots) == OLD
    assert "answered nothing but happy, 200 times" in slots.state().events[-1].text


def test_a_trial_that_is_over_elsewhere_changes_nothing(slots: Slots) -> None:
    trial = running(slots)
    trial.answered(["happy", "sad"])
    put(slots, THIRD)
    before = (slots.folder / FILE).read_bytes()
    live(trial, 1000)
    trial.ended()
    assert (slots.folder / FILE).read_bytes() == before


def test_a_sensor_tells_the_trial_of_its_model(slots: Slots) -> None:
    put(slots, NEW, minutes=1e-5)
    frames = [np.full((96, 96, 3), shade, np.uint8) for shade in (0, 60, 120, 180, 240)] * 12
    sensor = edgeemo.EmotionSensor(
        FakeCamera(frames, fps=60), model="slot", detector="whole",
        options=SensorOptions(frozen=None),
    )  # fmt: skip
    trial = sensor._recognizer.trial
    assert trial
    trial.answered(["happy", "sad"])
    with sensor:
        for _ in sensor:
            pass
    assert slots.state().trial is None


@pytest.mark.parametrize("text", [b"", b"{", b'{"version": 1}', b"\0" * 100, None])
def test_a_torn_or_missing_pointer_is_survived(slots: Slots, text: bytes | None) -> None:
    pointer = slots.folder / FILE
    pointer.unlink() if text is None else pointer.write_bytes(text)
    bundle, trial = slots.begin()
    assert (bundle.manifest.name, trial) == (OLD, "")
    assert "was missing or damaged" in slots.state().events[-1].text
    put(slots, THIRD)
    assert runs(slots) == THIRD


@pytest.mark.parametrize("planted", ["link", "fifo"])
def test_what_is_planted_in_place_of_a_file_of_ours_is_replaced(
    slots: Slots, tmp_path: Path, planted: str
) -> None:
    """Links are for users' own files: here they would lead an installing root elsewhere."""
    put(slots, OLD)
    put(slots, NEW)
    other = tmp_path / "shadow"
    other.write_text("secret")
    for name in ("state.json", "a.edgeemo"):
        path = slots.folder / name
        path.unlink()
        if planted == "link":
            path.symlink_to(other)
        else:
            os.mkfifo(path)
    put(slots, OLD)
    assert other.read_text() == "secret"
    assert runs(slots) == OLD
    assert all(stat.S_ISREG(path.lstat().st_mode) for path in slots.folder.iterdir())


def test_a_lock_that_leads_elsewhere_is_refused_and_the_model_runs(
    slots: Slots, tmp_path: Path
) -> None:
    put(slots, OLD)
    put(slots, NEW)
    (slots.folder / "lock").symlink_to(tmp_path / "made")
    with pytest.raises(StorageError):
        slots.rollback()
    assert runs(slots) == NEW
    assert not (tmp_path / "made").exists()


def test_a_damaged_model_gives_way_to_the_other(slots: Slots) -> None:
    path = slot_file(slots.folder, "b")
    path.write_bytes(path.read_bytes()[:-100])
    assert slots.begin()[0].manifest.name == OLD
    assert "b.edgeemo: " in slots.state().events[-1].text
    path.unlink()
    assert runs(slots) == OLD
    damaged = slot_file(slots.folder, "a")
    damaged.write_bytes(b"x")
    with pytest.raises(BundleError):
        slots.begin()
    damaged.unlink()
    with pytest.raises(MissingFile, match="no model is installed"):
        slots.begin()


def test_a_model_whose_key_is_revoked_gives_way(
    slots: Slots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = signed(unsigned(tmp_path / "mine.edgeemo"), key_pair(tmp_path / "keys", "fleet"))
    monkeypatch.setenv(KEYS, str(tmp_path / "keys"))
    bundle = read_bundle(mine)
    slots.rollback()
    slots._put(bundle, mine.read_bytes(), 0)
    assert slots.begin()[0].vouched.by == ("fleet",)
    (tmp_path / "keys" / "fleet.pub").unlink()
    key_pair(tmp_path / "keys", "another")
    before = (slots.folder / FILE).read_bytes()
    assert edgeemo.load_bundle("slot").manifest.name == OLD  # looked at, and nothing changed
    assert (slots.folder / FILE).read_bytes() == before
    assert slots.begin()[0].manifest.name == OLD
    assert "not trusted here" in slots.state().events[-1].text


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts, which root may")
def test_a_full_and_a_readonly_disk_run_the_old_model(slots: Slots, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1200k", "tmpfs", disk], check=False,
                      capture_output=True).returncode:  # fmt: skip
        pytest.skip("this container may not mount a tmpfs")
    try:
        small = Slots(disk / "slots")
        put(small, OLD)
        with pytest.raises(StorageError, match="No space left"):
            put(small, NEW)
        assert runs(small) == OLD
        (disk / "filler").unlink(missing_ok=True)
        subprocess.run(["mount", "-o", "remount,size=4m", disk], check=True)
        put(small, NEW)
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        assert small.begin()[0].manifest.name == OLD  # a start on trial cannot be counted
        with pytest.raises(StorageError):
            small.rollback()
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        assert small.begin()[0].manifest.name == NEW
    finally:
        subprocess.run(["umount", disk], check=True)


def strace_works() -> bool:
    return bool(shutil.which("strace"))


@pytest.mark.skipif(not strace_works(), reason="needs strace (Debian package)")
def test_a_rename_that_fails_or_is_the_last_call_leaves_one_verified_model(
    tmp_path: Path,
) -> None:
    ran: Counter[str] = Counter()
    for fault in ("error=EIO", "signal=KILL"):
        for when in (1, 2):
            folder = tmp_path / f"{fault}{when}"
            inject = f"inject=rename:{fault}:when={when}"
            slots, end, _ = slot_faults.traced("put", folder, "-e", "trace=rename", "-e", inject)
            assert end in (1, -9)
            ran[slot_faults.check(slots, "put")] += 1
    assert ran == {OLD: 4}


@pytest.mark.slow
def test_every_system_call_may_fail_once(tmp_path: Path) -> None:
    ran = slot_faults.faults("", tmp_path / "slots")
    assert ran.total() > 200
    assert {name.partition(": ")[2] for name in ran} == {OLD, NEW}


@pytest.mark.slow
def test_kills_at_chance_moments(tmp_path: Path) -> None:
    began = time.monotonic()
    ran = slot_faults.kills(1000, tmp_path / "slots")
    assert ran.total() == 1000, time.monotonic() - began
