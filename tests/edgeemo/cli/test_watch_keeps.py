"""What `edgeemo watch` keeps of a run: a summary as page, table and picture, a marked video; and
how its live line looks.
"""

import csv
import io
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from edgeemo.cli.live_line import LiveLine
from edgeemo.cli.main import main
from edgeemo.cli.summary.drawn import COLUMNS, charts, clock, colours, ticks
from edgeemo.cli.summary.files import write_summary
from edgeemo.cli.video_writer import VideoWriter
from edgeemo.contract.labels import LABELS
from edgeemo.errors import MissingDependency, StorageError
from edgeemo.live.summary import Summary, SummaryWriter
from edgeemo.results import Box, Reading
from tests import support


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder, and the log as it was."""
    monkeypatch.chdir(tmp_path)
    before = logging.root.handlers[:], logging.root.level
    yield tmp_path
    logging.root.handlers[:], logging.root.level = before


@pytest.fixture
def video(at: Path) -> Path:
    """40 frames of 20 a second: a drawn face of happy, then of sad."""
    writer = cv2.VideoWriter("visit.avi", cv2.VideoWriter.fourcc(*"FFV1"), 20, (97, 61))
    rng = np.random.default_rng(0)
    for number in range(40):
        picture = support.drawn_picture(LABELS.index("happy" if number < 20 else "sad"), rng)
        writer.write(cv2.cvtColor(cv2.resize(picture, (97, 61)), cv2.COLOR_GRAY2BGR))
    writer.release()
    return Path("visit.avi")


def watch(*words: object) -> subprocess.CompletedProcess[str]:
    common = ("--model", "nano", "--detector", "whole", "--smoothing", "off")
    return support.done_here(main, "edgeemo", "watch", *words, *common)


def made(faces: int = 3, frames: int = 200, rate: float = 10) -> Summary:
    """Faces that change every twenty frames."""
    writer = SummaryWriter(LABELS)
    for i in range(frames):
        readings = []
        for face in range(faces):
            emotion = LABELS[(i // 20 + face) % 7]
            scores = dict.fromkeys(LABELS, 0.05) | {emotion: 0.7}
            readings.append(Reading(i / rate, i, face, emotion, 0.7, scores, Box(0, 0, 9, 9)))
        writer.add(readings or [Reading(i / rate, i)])
    summary = writer.finish()
    assert summary is not None
    return summary


class Addresses(HTMLParser):
    """What a page would load, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.text: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [str(x) for key, x in attrs if key in ("src", "href", "xlink:href", "data")]

    def handle_data(self, data: str) -> None:
        self.text.append(data.strip())


def test_summary_of_a_recording_counts_its_seconds(video: Path) -> None:
    done = watch(video, "--fps", "10", "--summary", "s.csv", "--json")
    assert done.returncode == 0, done.stderr
    assert "wrote s.csv" in done.stderr
    assert len(done.stdout.splitlines()) == 20  # of 40: ten a second
    rows = list(csv.DictReader(io.StringIO(Path("s.csv").read_text())))
    assert [(row["face"], row["begin"], row["end"]) for row in rows] == [
        ("all", "0", "1"), ("all", "1", "2"), ("1", "0", "1"), ("1", "1", "2"),
    ]  # fmt: skip
    names = [f"share_{label}" for label in (*LABELS, "unsure")]
    assert list(rows[0]) == ["face", "begin", "end", *names]
    for row in rows:
        assert sum(float(row[name]) for name in names) == pytest.approx(1, abs=1e-3)
    assert rows[:2] == [row | {"face": "all"} for row in rows[2:]]


def test_page_needs_nothing_else_and_shows_names_as_text(at: Path) -> None:
    write_summary(Path("s.html"), made(), "a <b>&\x1b.mp4", "es")
    page = Addresses()
    page.feed(Path("s.html").read_text())
    assert page.loads == []
    assert not re.search(r"https?:|url\(|@import", Path("s.html").read_text())
    assert page.tags.count("svg") == 1 + 3  # all faces, and each
    assert not {"b", "script"} & set(page.tags)
    assert "Emociones a lo largo del tiempo: a <b>&\\x1b.mp4" in page.text
    assert {"alegría", "cara 1", "todas las caras", "0:20"} <= set(page.text)
    assert "prefers-color-scheme: dark" in Path("s.html").read_text()
    # Every second of 20, in which each of three faces has one of seven emotions, is drawn whole.
    assert Path("s.html").read_text().count("M0.0 ") >= 3


def test_picture_shows_each_emotion_in_its_colour(at: Path) -> None:
    summary = made(faces=1)
    write_summary(Path("s.png"), summary, "visit.mp4", "es")
    picture = Image.open("s.png").convert("RGB")
    assert picture.width == 1280
    palette = colours(summary)
    for second, label in ((1, LABELS[0]), (3, LABELS[1]), (15, LABELS[0])):
        x = 40 + round(1200 * second / 20)
        expected = tuple(int(palette[label][i : i + 2], 16) for i in (1, 3, 5))
        assert picture.getpixel((x, 200)) == expected


def test_nobody_seen_is_a_page_and_a_picture_all_the_same(at: Path) -> None:
    for ending in (".html", ".png", ".csv"):
        write_summary(Path(f"s{ending}"), made(faces=0), "empty.mp4", "en")
    assert "no face" in Path("s.html").read_text()
    assert Path("s.csv").read_text().count("\n") == 1


def test_a_long_run_of_many_faces_is_drawn_with_few_columns() -> None:
    summary = made(faces=14, frames=1_200, rate=1)
    drawn = charts(summary, "en")
    assert [chart.title for chart in drawn[:2]] == ["all faces", "face 0"]
    assert len(drawn) == 1 + 12
    assert max(len(chart.columns) for chart in drawn) <= COLUMNS
    assert all(sum(shares.values()) == pytest.approx(1) for _, _, shares in drawn[0].columns)


@pytest.mark.parametrize(
    ("seconds", "last"), [(0.5, 0), (8, 8), (65, 60), (3600, 3600), (10**6, 864000)]
)
def test_an_axis_has_a_few_round_times(seconds: float, last: float) -> None:
    assert ticks(seconds)[-1] == last
    assert 1 <= len(ticks(seconds)) <= 9
    assert [clock(x) for x in (5, 65, 3605)] == ["0:05", "1:05", "1:00:05"]


def test_labels_of_another_bundle_have_colours_of_their_own() -> None:
    labels = ("happy", "joy", *(f"kind {i}" for i in range(12)))
    writer = SummaryWriter(labels)
    writer.add([Reading(0, 0)])
    summary = writer.finish()
    assert summary is not None
    palette = colours(summary)
    assert palette["happy"] == "#e69f00"
    assert len({palette[label] for label in labels[:9]}) == 9


@pytest.mark.parametrize("ending", [".avi", ".mp4", ".mkv"])
def test_video_holds_the_frames_with_their_faces_marked(
    video: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")  # no ffmpeg: OpenCV writes
    done = watch(video, "--annotate", f"marked{ending}", "--fps", "10", "--json")
    assert done.returncode == 0, done.stderr
    capture = cv2.VideoCapture(f"marked{ending}")
    frames = [frame for found, frame in iter(capture.read, (False, None)) if found]
    assert len(frames) == 20
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(10, abs=0.01)
    assert frames[0].shape == (60, 96, 3)  # even sides
    drawn = cv2.VideoCapture(str(video)).read()[1][:60, :96].astype(int)
    assert np.abs(frames[0] - drawn).max() > 100  # the box


FFMPEG = """#!/bin/sh
printf '%s\\n' "$@" > "$FFMPEG_WORDS"
cat > "$FFMPEG_FRAMES"
for last; do :; done
echo made > "${last#file:}"
"""


def with_ffmpeg(folder: Path, script: str, patch: pytest.MonkeyPatch) -> None:
    """A stand-in for the program, that writes down its words and its input."""
    program = folder / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text(script)
    program.chmod(0o755)
    patch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    patch.setenv("FFMPEG_WORDS", str(folder / "words"))
    patch.setenv("FFMPEG_FRAMES", str(folder / "frames"))


def test_ffmpeg_gets_the_frames_as_often_as_their_time_asks_for(
    at: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_ffmpeg(at, FFMPEG, monkeypatch)
    frames = [np.full((6, 8, 3), i, np.uint8) for i in range(6)]
    with VideoWriter(at / "out.mp4") as writer:
        for i, when in enumerate((7.0, 7.1, 7.3, 7.31, 99.0)):
            writer.add(frames[i], when)
        writer.add(np.zeros((8, 6, 3), np.uint8), 99.1)
    assert (at / "out.mp4").read_text() == "made\n"
    words = (at / "words").read_text().split("\n")
    assert words[words.index("-s") + 1] == "8x6"
    assert float(words[words.index("-r") + 1]) == pytest.approx(10)
    sent = np.frombuffer((at / "frames").read_bytes(), np.uint8).reshape(-1, 6, 8, 3)
    # 7.0, 7.1, nothing at 7.2, 7.3; 7.31 comes too early; a hole of minutes is one of ten seconds.
    assert [int(frame[0, 0, 0]) for frame in sent] == [0, 1, 2, 2, *[4] * 100]
    assert (writer.frames, writer.left_out) == (104, 1)


def test_ffmpeg_that_refuses_is_one_line_and_leaves_no_file(
    at: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_ffmpeg(
        at, "#!/bin/sh\nhead -c 20 >/dev/null\necho 'no encoder' >&2\nexit 1\n", monkeypatch
    )
    writer = VideoWriter(at / "out.mp4")
    with pytest.raises(StorageError, match="ffmpeg: no encoder"):  # noqa: SIM117
        with writer:
            for i in range(100):
                writer.add(np.zeros((200, 300, 3), np.uint8), i / 10)
    assert [path.name for path in at.iterdir()] == ["bin"]


def test_without_an_encoder_the_way_out_is_named(at: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingDependency, match="sudo apt install ffmpeg"):
        VideoWriter(at / "x.mp4")


@pytest.mark.parametrize(
    ("words", "says", "code"),
    [
        (["--summary", "s.pdf"], "--summary: expected an ending of .html, .csv, .png", 2),
        (["--annotate", "s.gif"], "--annotate: expected an ending of .avi, .mkv, .mp4", 2),
        (["--annotate", "visit.avi"], "expected another path than the input", 1),
        (["--summary", "gone/s.html"], "there is no folder", 1),
    ],
)
def test_outputs_that_cannot_be_are_told_before_any_work(
    video: Path, words: list[str], says: str, code: int
) -> None:
    before = video.read_bytes()
    done = watch(video, *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr
    assert video.read_bytes() == before


def test_pictures_without_a_time_have_no_summary(at: Path) -> None:
    Path("a.png").write_bytes(support.png_of(48, 48))
    for source in (".", "a.png"):
        done = watch(source, "--summary", "s.csv")
        assert done.returncode == 2
        assert "take a folder's pictures for a sequence with --fps" in done.stderr
    assert watch(".", "--summary", "s.csv", "--fps", "2").returncode == 0


def test_an_interrupted_run_keeps_its_summary_and_its_video(video: Path) -> None:
    words = ["watch", video, "--realtime", "--json", "--model", "nano", "--detector", "whole"]
    kept = ["--summary", "s.html", "--annotate", "m.avi"]
    with subprocess.Popen(
        [sys.executable, "-m", "edgeemo", *map(str, words), *kept],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(support.REPOSITORY)},
    ) as process:
        assert process.stdout
        for _ in range(3):
            assert process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=30)[1]
    assert process.returncode == 0, said
    assert "wrote s.html" in said
    assert "wrote m.avi" in said
    assert cv2.VideoCapture("m.avi").read()[0]
    assert "</html>" in Path("s.html").read_text()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("no_colour", ["", "1"])
def test_live_line_is_coloured_and_translated_unless_colours_are_not_wanted(
    monkeypatch: pytest.MonkeyPatch, no_colour: str
) -> None:
    monkeypatch.setenv("NO_COLOR", no_colour)
    monkeypatch.setenv("COLUMNS", "70")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    scores = dict.fromkeys(LABELS, 0.05) | {"happy": 0.7}
    line = LiveLine("es", length=20.0)
    line.show([Reading(5.0, 1, 3, "happy", 0.7, scores, Box(0, 0, 9, 9), latency_ms=12, fps=30)])
    line.close()
    shown = terminal.getvalue()
    words = "cara 3  alegría   70% #######   "
    coloured = words if no_colour else f"\x1b[33m{words}\x1b[0m"
    assert shown == f"\r{coloured}  25%  12 ms  30 fps  0 descartados\x1b[K\n"
