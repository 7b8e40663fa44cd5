"""`edgeemo predict` of folders, patterns and standard input, and what it writes of each picture."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeemo.cli.main import main
from edgeemo.cli.progress import progress
from edgeemo.cli.workers import in_order
from edgeemo.contract.labels import LABELS
from edgeemo.contract.languages import label_name
from edgeemo.recognizer import Recognizer
from tests import support

WHOLE = ("--model", "nano", "--detector", "whole")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """photos/ with 2.png, 10.png, sub/2.png, a video, a note, a hidden picture and a damaged one in
    bad/.
    """
    photos = tmp_path / "photos"
    rng = np.random.default_rng(3)
    for label, name in enumerate(["2.png", "10.png", "sub/2.png", ".hidden.png"]):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).write_bytes(support.encoded(support.drawn_picture(label, rng)))
    (photos / "sub" / "visit.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
    (photos / "note.txt").write_text("hello")
    return photos


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def predict(*words: object) -> subprocess.CompletedProcess[str]:
    return support.done_here(main, "edgeemo", "predict", *words, *WHOLE)


def images(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [json.loads(line)["image"] for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("words", "expected", "videos"),
    [
        (["photos"], ["photos/2.png", "photos/10.png", "photos/sub/2.png"], 1),
        (["photos/*.png"], ["photos/2.png", "photos/10.png"], 0),
        (["photos/**/2.png"], ["photos/2.png", "photos/sub/2.png"], 0),
        (["photos/s*"], ["photos/sub/2.png"], 1),
        (["photos/10.png", "photos/sub"], ["photos/10.png", "photos/sub/2.png"], 1),
    ],
)
def test_folders_and_patterns_are_their_pictures_in_natural_order(
    folder: Path, at: Path, words: list[str], expected: list[str], videos: int
) -> None:
    done = predict(*words, "--json")
    assert (done.returncode, images(done)) == (0, expected)
    # A video among them is said and no fault; a note and what is hidden are passed over.
    video = "edgeemo: passed over photos/sub/visit.mp4; run: edgeemo watch photos/sub/visit.mp4"
    assert done.stderr.splitlines() == [video] * videos


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(folder: Path, at: Path) -> None:
    shutil.copy(folder / "2.png", "a[1]*.png")
    assert images(predict("a[1]*.png", "--json")) == ["a[1]*.png"]


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("photos/*.bmp", "photos/*.bmp: no such file, and no picture matches; check it"),
        ("empty", "empty: no pictures in this folder or below it; expected ."),
        ("photos/sub/visit.mp4", "a video, not a picture; run: edgeemo watch photos/sub/visit.mp4"),
        ("photos/note.txt", "photos/note.txt: not a picture that can be read"),
        ("pipe", "pipe: a pipe; give its picture on standard input: ... | edgeemo predict -"),
    ],
)
def test_what_holds_no_picture_is_said_and_counted_and_the_others_are_done(
    folder: Path, at: Path, word: str, says: str
) -> None:
    (at / "empty").mkdir()
    os.mkfifo(at / "pipe")
    alone = predict(word)
    assert (alone.returncode, alone.stdout) == (1, "")
    assert says in alone.stderr
    assert len(alone.stderr.splitlines()) == 1
    done = predict(word, "photos/2.png", "--json")
    assert (done.returncode, images(done)) == (1, ["photos/2.png"])
    assert says in done.stderr.splitlines()[0]
    assert done.stderr.splitlines()[1:] == ["edgeemo: 1 of 2 pictures could not be read"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["https://a.example/x.jpg"], "curl -fL https://a.example/x.jpg | edgeemo predict -"),
        (["rtsp://door/live"], "a stream, not a picture; run: edgeemo watch rtsp://door/live"),
        (["file:///tmp/x.png"], "expected a path; name it /tmp/x.png"),
        (["-", "-"], "standard input (-) holds one picture"),
        (["photos", "--json", "--csv"], "name either --json or --csv"),
        (["photos", "--annotate", "out.png"], "--annotate: expected a folder"),
        (["photos/2.png", "--crops", "photos/10.png"], "--crops: expected a folder"),
        (["photos", "--workers", "0"], "--workers"),
        (["photos", "--min-confidence", "nan"], "--min-confidence"),
    ],
)
def test_wrong_usage_is_told_before_any_work(
    folder: Path, at: Path, words: list[str], says: str
) -> None:
    done = predict(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in " ".join(done.stderr.split())
    assert sorted(os.listdir(at)) == ["photos"]


def test_a_picture_comes_by_standard_input(folder: Path) -> None:
    def piped(data: bytes) -> subprocess.CompletedProcess[bytes]:
        words = [sys.executable, "-m", "edgeemo", "predict", "-", *WHOLE, "--json"]
        return subprocess.run(words, input=data, capture_output=True, timeout=60)

    done = piped((folder / "2.png").read_bytes())
    assert (done.returncode, done.stderr) == (0, b"")
    answer = json.loads(done.stdout)
    assert answer["image"] == "-"
    assert answer["faces"] == json.loads(predict(folder / "2.png", "--json").stdout)["faces"]
    nothing = piped(b"")
    assert nothing.returncode == 1
    assert nothing.stderr == b"edgeemo: standard input: the file is empty; copy it again\n"


def test_csv_is_a_line_a_face_with_each_score(folder: Path, at: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(predict("photos", "--csv", "--lang", "es").stdout)))
    assert [row["image"] for row in rows] == ["photos/2.png", "photos/10.png", "photos/sub/2.png"]
    with Recognizer("nano", detector="whole") as recognizer:
        for row in rows:
            (face,) = recognizer.predict(row["image"])
            assert (row["face"], row["emotion"]) == ("1", face.emotion)
            assert [int(row[key]) for key in ("x", "y", "width", "height")] == [0, 0, 48, 48]
            assert float(row["confidence"]) == pytest.approx(face.confidence, abs=1e-6)
            assert [float(row[f"score_{label}"]) for label in LABELS] == pytest.approx(
                list(face.scores.values()), abs=1e-6
            )


def test_csv_keeps_a_line_for_a_picture_without_a_face_and_one_line_a_row(
    folder: Path, at: Path
) -> None:
    shutil.copy(folder / "2.png", 'odd "a",\n.png')
    done = predict('odd "a",\n.png', "--csv", "--min-confidence", "1")
    assert done.stdout.count("\n") == 2
    head, row = csv.reader(io.StringIO(done.stdout))
    assert row == ['odd "a",\\n.png', *[""] * (len(head) - 1)]


def test_faces_and_confidence_choose(folder: Path, at: Path) -> None:
    with Recognizer("nano", detector="whole") as recognizer:
        sure = {name: recognizer.predict(f"photos/{name}")[0].confidence for name in ("2.png",)}
    below, above = sure["2.png"] - 0.001, sure["2.png"] + 0.001
    for share, count in ((below, 1), (above, 0)):
        done = predict("photos/2.png", "--json", "--min-confidence", share)
        assert len(json.loads(done.stdout)["faces"]) == count
    crowd = at / "crowd.png"
    group = cv2.imread(str(support.shared("media", "solvay_conference.jpg")))
    cv2.imwrite(str(crowd), cv2.resize(group, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    haar = ("predict", crowd, "--model", "nano", "--detector", "haar", "--json")
    every, largest = (
        json.loads(support.done_here(main, "edgeemo", *haar, *more).stdout)["faces"]
        for more in ((), ("--faces", "largest"))
    )
    assert len(every) > 3
    assert largest == every[:1]


def test_each_picture_is_marked_and_cut_under_its_own_name(folder: Path, at: Path) -> None:
    shutil.copy(folder / "2.png", folder / "2.bmp.png")
    (folder / "2.jpg").write_bytes(support.encoded(np.full((40, 40, 3), 90, np.uint8), ".jpg"))
    done = predict("photos", "--annotate", "out/marked", "--crops", "out/faces", "--json")
    assert done.returncode == 0

    def below(where: str) -> list[str]:
        return sorted(str(path.relative_to(where)) for path in Path(where).rglob("*.*"))

    assert below("out/marked") == ["10.png", "2-2.png", "2.bmp.png", "2.jpg", "sub/2.png"]
    assert below("out/faces") == [
        "10_1.png", "2-2_1.png", "2.bmp_1.png", "2_1.png", "sub/2_1.png",
    ]  # fmt: skip
    assert (cv2.imread("out/faces/10_1.png") == cv2.imread("photos/10.png")).all()
    assert (cv2.imread("out/marked/10.png") != cv2.imread("photos/10.png")).any()
    wrote = [line for line in done.stderr.splitlines() if line.startswith("wrote ")]
    assert len(wrote) == 10


def test_results_inside_the_folder_that_is_read_are_not_read_again(folder: Path, at: Path) -> None:
    first, second = (
        predict("photos", "--crops", "photos/faces", "--annotate", "photos/sub/marked", "--json")
        for _ in range(2)
    )
    assert images(first) == images(second)
    assert len(images(first)) == 3


@pytest.mark.parametrize("option", ["--annotate", "--crops"])
def test_an_input_is_never_written_over(folder: Path, at: Path, option: str) -> None:
    (folder / "2_1.png").write_bytes((folder / "10.png").read_bytes())
    (at / "other").symlink_to("photos")
    before = {path: path.read_bytes() for path in folder.rglob("*.*")}
    words = ["photos/2.png", "photos/2_1.png", option, "other"]
    done = predict(*words)
    assert done.returncode == 1
    assert "expected another path than the input" in done.stderr
    assert {path: path.read_bytes() for path in folder.rglob("*.*")} == before


def test_wrong_ending_is_told_before_any_work(folder: Path, at: Path) -> None:
    done = predict("photos/2.png", "--annotate", "out.xyz")
    assert (done.returncode, done.stdout) == (1, "")
    assert "out.xyz: expected an ending of .bmp" in done.stderr


def test_many_are_counted_with_their_pace_and_workers_change_nothing(
    folder: Path, at: Path
) -> None:
    for number in range(20, 30):
        shutil.copy(folder / "2.png", folder / f"{number}.png")
    (folder / "25.png").write_bytes(b"no picture")
    one, three = (predict("photos", "--csv", "--workers", n) for n in (1, 3))
    assert one.stdout == three.stdout
    assert one.returncode == three.returncode == 1
    for done in (one, three):
        assert "edgeemo: 1 of 13 pictures could not be read" in done.stderr
        (pace,) = (line for line in done.stderr.splitlines() if " a second" in line)
        assert pace.startswith("edgeemo: 13 pictures in ")
        assert pace.endswith(" a second), 12 faces")


def test_answers_keep_their_order_and_an_error_ends_the_work() -> None:
    begun = []

    def work(number: int) -> int:
        begun.append(number)
        time.sleep(0.002 * (5 - number % 5))
        if number == 30:
            raise KeyError(number)
        return -number

    assert list(in_order(work, range(20), 4)) == [-n for n in range(20)]
    with pytest.raises(KeyError):
        list(in_order(work, range(1000), 4))
    assert max(begun) < 45


def test_a_bar_is_shown_on_a_terminal_alone_and_lines_stand_above_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    shown, silent = Terminal(), io.StringIO()
    for stream in (shown, silent):
        monkeypatch.setattr(sys, "stderr", stream)
        with progress("pictures", 2) as bar:
            bar.advance()
            bar.say_above("edgeemo: a.png: damaged")
            bar.advance()
    assert silent.getvalue() == "edgeemo: a.png: damaged\n"
    assert "\r\x1b[Kedgeemo: a.png: damaged\n" in shown.getvalue()
    assert "pictures" in shown.getvalue()
    assert "100%" in shown.getvalue()


def test_people_read_emotions_in_their_language_and_machines_the_label(
    folder: Path, at: Path
) -> None:
    spanish, as_json = predict("photos/2.png", "--lang", "es"), predict("photos/2.png", "--json")
    label = json.loads(as_json.stdout)["faces"][0]["emotion"]
    assert spanish.stdout.startswith(f"photos/2.png: {label_name(label, 'es')} ")
    assert "recuadro x 0 y 0 48x48  recorte y red " in spanish.stdout
    assert predict("photos/2.png", "--json", "--lang", "es").stdout == as_json.stdout
