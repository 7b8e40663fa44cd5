"""`edgeemo watch` as people and programs run it.

Files, pipes that close, signals, recordings, a window, bad input.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeemo.contract.labels import LABELS
from tests import support

PATIENCE = 60.0


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "edgeemo", "watch", *map(str, arguments)]


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, **environment},
    )


def fails(*arguments: object, says: str, code: int = 1, **environment: str) -> None:
    """Exit code `code`, nothing on stdout, and for 1 exactly one line on stderr."""
    done = run(*arguments, **environment)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert says in done.stderr
    assert code != 1 or len(done.stderr.splitlines()) == 1, done.stderr


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve frames a second apart from nothing.

    Each is one drawn face, first of happy, then of sad.
    """
    path = tmp_path_factory.mktemp("video") / "drawn.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), 10, (96, 96))
    rng = np.random.default_rng(0)
    for number in range(12):
        picture = support.drawn_picture(LABELS.index("happy" if number < 6 else "sad"), rng)
        writer.write(cv2.cvtColor(cv2.resize(picture, (96, 96)), cv2.COLOR_GRAY2BGR))
    writer.release()
    return path


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_each_frame_of_a_file_gives_a_line_with_the_documented_keys(
    video: Path, tiny_bundle: Path
) -> None:
    done = run(video, "--json", "--model", tiny_bundle, "--detector", "whole", "--smoothing", "off")
    assert done.returncode == 0
    readings = lines(done.stdout)
    assert [list(line) for line in readings] == [support.READING_KEYS] * 12
    assert [line["frame"] for line in readings] == list(range(12))
    assert [line["emotion"] for line in readings] == ["happy"] * 6 + ["sad"] * 6
    assert [line["time"] for line in readings] == pytest.approx(
        [i / 10 for i in range(12)], abs=0.01
    )
    assert {line["face_id"] for line in readings} == {1}
    assert {line["dropped"] for line in readings} == {0}
    assert readings[0]["box"] == [0, 0, 96, 96]
    assert list(readings[0]["scores"]) == list(LABELS)
    assert sum(readings[0]["scores"].values()) == pytest.approx(1, abs=1e-4)
    assert done.stderr.startswith("edgeemo: looked at 12 of 12 frames")


def test_smoothing_is_on_by_default_and_holds_the_first_emotion(
    video: Path, tiny_bundle: Path
) -> None:
    done = run(video, "--json", "--model", tiny_bundle, "--detector", "whole")
    assert {line["emotion"] for line in lines(done.stdout)} == {
        "happy"
    }  # sad lasts for 0.6 s, and 0.8 are asked for
    quick = run(video, "--json", "--model", tiny_bundle, "--detector", "whole", "--hold-time", "0")
    assert [line["emotion"] for line in lines(quick.stdout)][-1] == "sad"


def test_frame_without_a_face_gives_one_line_without_an_emotion() -> None:
    done = run(support.shared("media", "no-faces.jpg"), "--json", "--detector", "haar")
    (line,) = lines(done.stdout)
    assert (line["face_id"], line["emotion"], line["box"]) == (None, None, None)


def test_without_json_a_line_comes_for_each_change(video: Path, tiny_bundle: Path) -> None:
    done = run(video, "--model", tiny_bundle, "--detector", "whole", "--smoothing", "off")
    first, second = done.stdout.splitlines()
    assert first.startswith("face 1  happy")
    assert second.startswith("face 1  sad")


def test_all_faces_of_a_crowd_are_read() -> None:
    crowd = support.shared("media", "solvay_conference.jpg")
    model = support.shared("models", "face_detection_yunet_2026may.onnx")
    done = run(
        crowd, "--json", "--faces", "all", "--detector-model", model, "--smallest-face", "0.05"
    )
    readings = lines(done.stdout)
    assert len({line["face_id"] for line in readings}) == len(readings) >= 5
    assert {line["frame"] for line in readings} == {0}


def test_recording_holds_the_very_lines(video: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "day.jsonl"
    done = run(video, "--json", "--record", out, "--model", tiny_bundle, "--detector", "whole")
    assert out.read_text() == done.stdout
    again = run(video, "--json", "--record", out, "--model", tiny_bundle, "--detector", "whole")
    assert out.read_text() == done.stdout + again.stdout
    assert list(tmp_path.iterdir()) == [out]


def test_full_disk_stops_the_recording_and_never_the_watching(
    video: Path, tiny_bundle: Path
) -> None:
    out = Path("/dev/full")
    if not out.exists():
        pytest.skip("needs /dev/full, which only Linux has")
    done = run(video, "--json", "--record", out, "--model", tiny_bundle, "--detector", "whole")
    assert (done.returncode, len(lines(done.stdout))) == (0, 12)
    said = done.stderr.splitlines()
    assert (
        said[0] == f"edgeemo: {out}: cannot be recorded (No space left on device); watching goes on"
    )
    assert said[-1] == "edgeemo: recorded 0 lines, lost 12"
    assert len(said) == 3


def test_closed_output_counts_as_none_and_a_full_one_ends_it_in_a_line(
    video: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "day.jsonl"
    words = command(video, "--record", out, "--model", tiny_bundle, "--detector", "whole")
    for more in ([], ["--json"]):
        closed = ["sh", "-c", 'exec "$@" >&-', "sh", *words, *more]
        done = subprocess.run(closed, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr
    assert len(out.read_text().splitlines()) == 24
    if Path("/dev/full").exists():
        for arguments in ([*words, "--json"], command("--help")):
            with open("/dev/full", "w") as full:
                ended = subprocess.run(
                    arguments, stdout=full, stderr=subprocess.PIPE, text=True, timeout=PATIENCE
                )
            assert ended.returncode == 1
            assert ended.stderr.splitlines()[-1] == (
                "edgeemo: standard output cannot be written (No space left on device); free some"
                " space or write elsewhere"
            )
            assert "Exception ignored" not in ended.stderr


def test_recording_is_rotated_as_asked(video: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    tiny = ("--model", tiny_bundle, "--detector", "whole")
    rotated = ("--record", tmp_path / "day.jsonl", "--record-rotate", "1K", "--record-keep", "2")
    done = run(video, "--json", *rotated, *tiny)
    files = sorted(tmp_path.iterdir())
    assert (len(files), files[-1].name) == (3, "day.jsonl")
    assert all(file.stat().st_size <= 1024 for file in files)
    assert done.stdout.endswith("".join(file.read_text() for file in files))


def test_recording_over_the_video_that_is_watched_is_refused(
    video: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    before, link = video.read_bytes(), tmp_path / "link"
    link.hardlink_to(video)
    for out in (video, link):
        fails(video, "--record", out, says=f"{out}: expected another path than the input")
    fails(video, "--record", tiny_bundle, "--model", tiny_bundle, says="than the input")
    assert video.read_bytes() == before


def test_pipe_that_closes_ends_it_well_and_the_recording_is_kept(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "day.jsonl"
    endless = _endless(tmp_path)
    with subprocess.Popen(
        command(endless, "--json", "--record", out, "--model", tiny_bundle, "--detector", "whole"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline()
        process.stdout.close()
        assert process.wait(PATIENCE) == 0
        assert "Traceback" not in process.stderr.read()
    assert out.read_text().startswith(first)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_ends_it_with_exit_code_0_and_the_recording_is_kept(
    number: signal.Signals, tiny_bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "day.jsonl"
    arguments = command(
        _endless(tmp_path), "--json", "--record", out, "--model", tiny_bundle, "--detector", "whole"
    )
    with subprocess.Popen(
        ["env", "--default-signal=INT,HUP", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert errors.startswith("edgeemo: looked at ")
    assert lines(out.read_text())


def _endless(folder: Path) -> Path:
    """A folder of so many pictures that no test waits for its end."""
    frames = folder / "frames"
    frames.mkdir()
    (frames / "a.png").write_bytes(support.png_of(48, 48))
    for number in range(20_000):
        (frames / f"b{number}.png").symlink_to(frames / "a.png")
    return frames


def test_help_teaches() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert "edgeemo watch visit.mp4 --json" in done.stdout


def test_two_sources_are_wrong_usage(video: Path) -> None:
    fails(video, "--camera", "0", code=2, says="name either SOURCE or --camera, not both")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--size", "640"], "expected WIDTHxHEIGHT"),
        (["--size", "0x0"], "expected WIDTHxHEIGHT"),
        (["--fps", "0"], "--fps"),
        (["--floor", "2"], "--floor"),
        (["--faces", "some"], "--faces"),
        (["--record", "x", "--record-rotate", "weekly"], "expected daily, or a size of 1K or more"),
        (["--record", "x", "--record-rotate", "1000"], "expected daily, or a size of 1K or more"),
        (["--record", "x", "--record-keep", "3"], "--record-keep needs --record-rotate"),
        (["--record-rotate", "daily"], "needs --record"),
        (["--record", ""], "received an empty word after --record"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], says: str) -> None:
    fails(*arguments, code=2, says=says)


def test_camera_that_is_not_there_is_named() -> None:
    fails("--camera", "63", says="63")
    fails("--camera", "/dev/video63", says="/dev/video63")


def test_path_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    fails(tmp_path / "gone.mp4", says="gone.mp4")


@pytest.mark.parametrize("content", [b"", b"no video", os.urandom(4096)])
def test_file_that_is_no_video_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.mp4"
    path.write_bytes(content)
    fails(path, says="broken.mp4")


def test_frame_rate_samples_a_file_or_drops_what_comes_too_fast(
    video: Path, tiny_bundle: Path
) -> None:
    sampled = run(video, "--fps", "5", "--json", "--model", tiny_bundle, "--detector", "whole")
    assert sampled.returncode == 0
    assert [line["time"] for line in lines(sampled.stdout)] == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert {line["dropped"] for line in lines(sampled.stdout)} == {0}
    done = run(
        video, "--fps", "5", "--realtime", "--json", "--model", tiny_bundle, "--detector", "whole"
    )
    readings = lines(done.stdout)
    assert 2 <= len(readings) <= 9
    assert readings[-1]["dropped"] >= 3


def test_recording_into_a_folder_that_is_not_there_is_named(
    video: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "gone" / "day.jsonl"
    fails(
        video,
        "--record",
        out,
        "--model",
        tiny_bundle,
        "--detector",
        "whole",
        says="choose another --record",
    )


def test_window_without_a_screen_is_refused_in_one_line(video: Path) -> None:
    fails(video, "--show", DISPLAY="", says="--show needs")


def test_window_shows_the_frames(video: Path, tiny_bundle: Path) -> None:
    if not shutil.which("xvfb-run"):
        pytest.skip("needs xvfb-run (Debian: xvfb), a screen without a screen")
    pytest.importorskip("tkinter", reason="this Python lacks Tkinter")
    arguments = command(video, "--show", "--model", tiny_bundle, "--detector", "whole", "--json")
    done = subprocess.run(
        ["xvfb-run", "-a", *arguments], capture_output=True, text=True, timeout=PATIENCE
    )
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 12), done.stderr


def test_live_line_changes_in_place_on_a_terminal(video: Path, tiny_bundle: Path) -> None:
    import pty

    parent, child = pty.openpty()
    arguments = command(video, "--model", tiny_bundle, "--detector", "whole", "--smoothing", "off")
    with subprocess.Popen(
        arguments,
        stdout=child,
        stderr=subprocess.PIPE,
        env={**os.environ, "COLUMNS": "80", "NO_COLOR": "1"},
    ) as process:
        os.close(child)
        shown = b""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                part = os.read(parent, 4096)
            except OSError:  # the terminal's other end has gone
                break
            if not part:
                break
            shown += part
        assert process.wait(PATIENCE) == 0
    os.close(parent)
    text = shown.decode()
    assert "\rface 1  happy" in text
    assert "\rface 1  sad" in text


def test_a_folder_is_turned_and_narrowed_and_numbered_as_people_count(
    video: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    capture = cv2.VideoCapture(str(video))
    for number in range(1, 12):
        _, frame = capture.read()
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.ascontiguousarray(frame[:, :60]))
    view = ["--rotate", "90", "--mirror", "--region", "0,0.5,1,0.5"]
    common = ["--json", "--model", tiny_bundle, "--detector", "whole"]
    done = run(tmp_path, *view, *common)
    assert done.returncode == 0, done.stderr
    assert [line["box"] for line in lines(done.stdout)] == [[0, 30, 96, 30]] * 11
    assert [line["face_id"] for line in lines(done.stdout)] == list(range(1, 12))
    one = subprocess.run(
        [sys.executable, "-m", "edgeemo", "predict", tmp_path / "1.png", *view, *common],
        capture_output=True,
        text=True,
    )
    assert [face["box"] for face in json.loads(one.stdout)["faces"]] == [[0, 30, 96, 30]]
    for wrong in ("1,2,3", "0,0,2,1"):
        fails(tmp_path, "--region", wrong, says="expected x,y,width,height in shares", code=2)


def test_a_cut_video_gives_what_is_there_and_then_exit_1(
    video: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.avi"
    cut.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    done = run(cut, "--json", "--model", tiny_bundle, "--detector", "whole")
    assert done.returncode == 1
    count = len(lines(done.stdout))
    assert 2 <= count <= 8
    last = done.stderr.splitlines()[-1]
    assert f"cut.avi: read {count} of 12 frames; " in last
