"""Face detectors: known faces where they are, none where there are none, and clear words where one
cannot work.
"""

import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage
from numpy.typing import NDArray

from edgeemo.cache import cache_folder
from edgeemo.contract.crop import BOX, Crop
from edgeemo.data.pictures import read_picture
from edgeemo.errors import DetectorError, InvalidInput, MissingFile, speaking_of_options
from edgeemo.faces import (
    DETECTORS,
    SMALLEST_FACE,
    Detector,
    DetectorOptions,
    crop_of,
    open_detector,
)
from edgeemo.faces.auto import choose_detector
from edgeemo.faces.haar import Haar
from edgeemo.faces.scaling import Scaling, shrink_fast
from edgeemo.faces.whole import Whole
from edgeemo.faces.yunet import YuNet, find_model
from edgeemo.models import find_detector
from edgeemo.results import Box
from tests import support

YUNET_FILE = "face_detection_yunet_2026may.onnx"
ASTRONAUT_FACE = Box(177, 66, 95, 95)
JUSTIN_FACE = Box(95, 80, 180, 200)


@pytest.fixture(autouse=True)
def no_yunet_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever YuNet file the developer has, the tests start without one."""
    monkeypatch.delenv("EDGEEMO_YUNET", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def astronaut() -> NDArray[np.uint8]:
    """uint8 (512, 512, 3) RGB with one face."""
    return read_picture(Path(skimage.__file__).parent / "data" / "astronaut.png")


def detector(name: str) -> Haar | YuNet:
    if name == "haar":
        return Haar()
    return YuNet(DetectorOptions(support.shared("models", YUNET_FILE)))


def overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    width = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    height = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    both = max(0, width) * max(0, height)
    return both / (a.width * a.height + b.width * b.height - both)


both_detectors = pytest.mark.parametrize("name", ["haar", "yunet"])


def test_whole_takes_the_frame_as_one_face() -> None:
    assert Whole().detect(np.zeros((30, 50, 3), np.uint8)) == [Box(0, 0, 50, 30)]


@both_detectors
def test_the_astronauts_one_face_is_found_where_it_is(
    name: str, astronaut: NDArray[np.uint8]
) -> None:
    (found,) = detector(name).detect(astronaut)
    assert overlap(found, ASTRONAUT_FACE) > 0.7


@both_detectors
def test_the_one_face_of_a_photo_is_found_where_it_is(name: str) -> None:
    (found,) = detector(name).detect(read_picture(support.shared("media", "justin.jpg")))
    assert overlap(found, JUSTIN_FACE) > 0.7


@both_detectors
def test_no_face_is_found_where_there_is_none(name: str) -> None:
    assert detector(name).detect(read_picture(support.shared("media", "no-faces.jpg"))) == []


@both_detectors
def test_a_picture_turned_upside_down_by_its_camera_still_shows_its_face(
    name: str, astronaut: NDArray[np.uint8], tmp_path: Path
) -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(astronaut[::-1, ::-1].copy()).save(
        tmp_path / "turned.jpg", exif=exif, quality=95
    )
    (found,) = detector(name).detect(read_picture(tmp_path / "turned.jpg"))
    assert overlap(found, ASTRONAUT_FACE) > 0.7


@both_detectors
def test_several_faces_come_largest_first(name: str, astronaut: NDArray[np.uint8]) -> None:
    frame = np.zeros((512, 1300, 3), np.uint8)
    frame[:, :512] = astronaut
    frame[100:400, 800:1100] = cv2.resize(astronaut, (300, 300), interpolation=cv2.INTER_AREA)
    found = detector(name).detect(frame)
    scaled = Box(800 + round(177 * 300 / 512), 100 + round(66 * 300 / 512), 56, 56)
    assert len(found) == 2
    assert overlap(found[0], ASTRONAUT_FACE) > 0.65
    assert overlap(found[1], scaled) > 0.65


@both_detectors
def test_boxes_of_a_frame_that_is_scaled_down_are_in_its_own_pixels(
    name: str, astronaut: NDArray[np.uint8]
) -> None:
    frame = np.zeros((1400, 2600, 3), np.uint8)
    frame[300:1324, 1000:2024] = cv2.resize(astronaut, (1024, 1024), interpolation=cv2.INTER_CUBIC)
    found = detector(name).detect(frame)
    expected = Box(1000 + 2 * ASTRONAUT_FACE.x, 300 + 2 * ASTRONAUT_FACE.y, 190, 190)
    assert overlap(found[0], expected) > 0.65


@both_detectors
def test_a_detector_gives_the_same_boxes_again_after_other_frames(
    name: str, astronaut: NDArray[np.uint8]
) -> None:
    opened = detector(name)
    first = opened.detect(astronaut)
    opened.detect(np.zeros((200, 333, 3), np.uint8))
    assert opened.detect(astronaut) == first


@both_detectors
@pytest.mark.parametrize("shape", [(2, 2), (1, 1), (2, 700), (16_000, 2), (2, 16_384), (31, 29)])
def test_frames_too_small_for_a_face_show_none(name: str, shape: tuple[int, int]) -> None:
    assert detector(name).detect(np.full((*shape, 3), 128, np.uint8)) == []


def test_yunet_finds_small_faces_in_a_group_photo() -> None:
    frame = read_picture(support.shared("media", "solvay_conference.jpg"))
    found = detector("yunet").detect(frame)
    assert len(found) >= 5
    sizes = [box.width * box.height for box in found]
    assert sizes == sorted(sizes, reverse=True)
    assert all(0 <= box.x and box.x + box.width <= frame.shape[1] for box in found)


@pytest.mark.parametrize(
    ("share", "frame", "expected"),
    [
        (None, (640, 480), (640, 480)),
        (None, (1920, 1080), (640, 360)),
        (None, (2, 16_384), (1, 640)),
        (1 / 6, (640, 480), (384, 288)),  # a face of 80 pixels becomes one of 48
        (1 / 6, (480, 640), (288, 384)),
        (1 / 6, (1920, 1080), (512, 288)),
        (1 / 6, (320, 240), (320, 240)),  # one of 40 stays
        (0.05, (1920, 1080), (640, 360)),  # one of 54 would stay, but for the limit
        (1.0, (640, 480), (64, 48)),
        (1 / 6, (1, 5000), (1, 640)),
    ],
)
def test_input_is_scaled_so_that_the_smallest_face_is_just_large_enough(
    share: float | None, frame: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert Scaling(max_side=640, face_pixels=48, smallest_face=share).size(*frame) == expected


@pytest.mark.parametrize(("name", "vga"), [("yunet", (384, 288)), ("haar", (512, 384))])
def test_opened_detectors_scale_by_their_own_measured_face(name: str, vga: tuple[int, int]) -> None:
    model = support.shared("models", YUNET_FILE)
    assert live(name).scaling.size(640, 480) == vga
    thorough = open_detector(name, model)
    assert thorough.scaling.size(640, 480) == (640, 480)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["auto", "yunet", "haar", "whole"])
@pytest.mark.parametrize("share", [0, -0.1, 1.01, float("nan"), float("inf")])
def test_a_share_that_is_none_is_refused(name: str, share: float) -> None:
    with pytest.raises(
        InvalidInput,
        match="share of the frame's shorter side, above 0 and at most 1, or None; received",
    ):
        open_detector(name, support.shared("models", YUNET_FILE), smallest_face=share)


def test_shrinking_fast_keeps_means_and_places() -> None:
    rows = np.repeat(np.arange(0, 240, 2, dtype=np.uint8)[:, np.newaxis], 160, axis=1)
    picture = np.stack([rows, rows // 2, 255 - rows], axis=2)
    for size in ((160, 120), (80, 60), (40, 30), (64, 48), (30, 20)):
        small = shrink_fast(cv2, picture, size)
        assert small.shape == (size[1], size[0], 3)
        exact = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        assert np.abs(small.astype(int) - exact).max() <= 2


def live(name: str) -> Haar | YuNet:
    """A detector as a live camera's."""
    model = support.shared("models", YUNET_FILE) if name == "yunet" else None
    options = DetectorOptions(model, smallest_face=SMALLEST_FACE)
    return Haar(options) if name == "haar" else YuNet(options)


@both_detectors
@pytest.mark.parametrize("width", [512, 1024, 1920])
def test_boxes_of_a_live_detector_are_in_the_frames_pixels_and_overlap_those_of_a_thorough_one(
    name: str, width: int, astronaut: NDArray[np.uint8]
) -> None:
    scale = width / 512
    frame = np.full((round(700 * scale), round(900 * scale), 3), 90, np.uint8)
    left, top = round(311 * scale), round(101 * scale)
    frame[top : top + width, left : left + width] = cv2.resize(
        astronaut, (width, width), interpolation=cv2.INTER_CUBIC
    )
    (found,) = live(name).detect(frame)
    x, y, side = (
        round(v * scale) for v in (ASTRONAUT_FACE.x, ASTRONAUT_FACE.y, ASTRONAUT_FACE.width)
    )
    assert overlap(found, Box(left + x, top + y, side, side)) > 0.65
    assert (
        max(overlap(found, box) for box in detector(name).detect(frame)) > 0.7
    )  # Haar sees a face in the suit, too


@both_detectors
def test_a_detector_that_needs_no_scaling_gives_the_boxes_of_a_thorough_one(
    name: str, astronaut: NDArray[np.uint8]
) -> None:
    small = cv2.resize(astronaut, (256, 256), interpolation=cv2.INTER_AREA)
    assert live(name).detect(small) == detector(name).detect(small) != []


@pytest.mark.parametrize(("name", "every", "share"), [("yunet", 1, 0.99), ("haar", 3, 0.95)])
def test_a_live_detector_finds_the_face_of_the_test_video(
    name: str, every: int, share: float
) -> None:
    opened: Detector = live(name)
    frames = video(support.shared("media", "test.mp4"))[::every]
    assert sum(bool(opened.detect(frame)) for frame in frames) >= share * len(frames)


def video(path: Path) -> list[NDArray[np.uint8]]:
    """Frames uint8 (H, W, 3) RGB."""
    capture, frames = cv2.VideoCapture(str(path)), []
    while (read := capture.read())[0]:
        frames.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
    capture.release()
    assert len(frames) == 115
    return frames


def test_detectors_own_their_crops_and_one_without_takes_the_box() -> None:
    # What the medians of 1,500 training faces gave (docs/preprocessing.md).
    assert crop_of(Haar()) == Crop(scale_q10=1045)
    assert YuNet.crop == Crop(shift_y_q10=25)
    assert crop_of(Whole()) == BOX

    class Own:
        name = "own"

        def detect(self, frame_rgb: NDArray[np.uint8]) -> list[Box]:
            return [Box(0, 0, *frame_rgb.shape[1::-1])]

    assert crop_of(Own()) == BOX
    own = Own()
    own.crop = 1.2  # type: ignore[attr-defined]
    with pytest.raises(DetectorError, match=r"own: expected a crop of .*, received 1\.2"):
        crop_of(own)


def test_unknown_detector_is_refused_with_those_there_are() -> None:
    with pytest.raises(
        InvalidInput, match=f"expected a detector of {', '.join(DETECTORS)}; received 'mtcnn'"
    ):
        open_detector("mtcnn")


@pytest.mark.parametrize("name", ["haar", "whole"])
def test_detector_asked_for_by_name_is_opened(name: str) -> None:
    assert open_detector(name).name == name


def test_auto_takes_yunet_when_its_file_is_there() -> None:
    opened, reason = choose_detector(DetectorOptions(support.shared("models", YUNET_FILE)))
    assert (opened.name, reason) == ("yunet", "its model file is named by the argument model")


def test_auto_takes_ours_and_a_bundle_that_is_named(tmp_path: Path) -> None:
    assert choose_detector(DetectorOptions())[1] == "it ships with edgeemo"
    bundle = tmp_path / "mine.edgeemo"
    bundle.write_bytes(find_detector("face").read_bytes())
    opened, reason = choose_detector(DetectorOptions(bundle))
    assert (opened.name, reason) == ("face", "its bundle is named by the argument model")


WITHOUT_LITERT = """
from edgeemo.faces import DetectorOptions
from edgeemo.faces.auto import choose_detector
opened, reason = choose_detector(DetectorOptions())
print(opened.name, "|", reason)
"""


def test_auto_without_litert_takes_haar_and_says_why(tmp_path: Path) -> None:
    environment = support.without(["ai_edge_litert", "tflite_runtime"], tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_LITERT],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    name, reason = done.stdout.strip().split(" | ")
    assert name == "haar"
    assert reason.startswith("no TFLite interpreter is installed; run: pip install")


def test_yunet_file_is_looked_for_in_the_argument_then_the_environment_then_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cache = tmp_path / "cache" / "edgeemo"
    assert cache_folder() == cache
    assert find_model()[0] is None
    cache.mkdir(parents=True)
    for name in (
        "face_detection_yunet_2023mar.onnx",
        "face_detection_yunet_2026may.onnx",
        "other.onnx",
    ):
        (cache / name).touch()
    assert find_model() == (
        cache / "face_detection_yunet_2026may.onnx",
        f"its model file lies in {cache}",
    )
    (tmp_path / "environment.onnx").touch()
    monkeypatch.setenv("EDGEEMO_YUNET", str(tmp_path / "environment.onnx"))
    assert find_model() == (
        tmp_path / "environment.onnx",
        "its model file is named by $EDGEEMO_YUNET",
    )
    (tmp_path / "argument.onnx").touch()
    assert find_model(tmp_path / "argument.onnx") == (
        tmp_path / "argument.onnx",
        "its model file is named by the argument model",
    )


def test_yunet_file_in_the_cache_is_found_and_works(
    tmp_path: Path, astronaut: NDArray[np.uint8]
) -> None:
    cache = tmp_path / "cache" / "edgeemo"
    cache.mkdir(parents=True)
    (cache / YUNET_FILE).symlink_to(support.shared("models", YUNET_FILE))
    assert find_model() == (cache / YUNET_FILE, f"its model file lies in {cache}")
    assert len(open_detector("yunet").detect(astronaut)) == 1


@pytest.mark.parametrize("name", ["auto", "yunet"])
def test_named_yunet_file_that_is_missing_is_an_error_and_no_fall_back(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(MissingFile, match=r"gone\.onnx: no such file, named by the argument model"):
        open_detector(name, tmp_path / "gone.onnx")
    with speaking_of_options(), pytest.raises(MissingFile, match="named by --detector-model"):
        open_detector(name, tmp_path / "gone.onnx")
    monkeypatch.setenv("EDGEEMO_YUNET", str(tmp_path / "gone.onnx"))
    with pytest.raises(MissingFile, match=r"gone\.onnx: no such file, named by \$EDGEEMO_YUNET"):
        open_detector(name)


def test_yunet_without_any_file_says_where_it_looked() -> None:
    with pytest.raises(
        DetectorError,
        match='no YuNet model file.*; run: edgeemo models pull yunet, or use detector="haar"',
    ):
        open_detector("yunet")


@pytest.mark.parametrize(
    "content", [b"", b"no model", b"version https://git-lfs.github.com/spec/v1\noid sha256:8f\n"]
)
def test_yunet_file_that_opencv_cannot_load_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(DetectorError, match=r"broken\.onnx: OpenCV .* cannot load it") as caught:
        open_detector("auto", path)
    assert "\n" not in str(caught.value)


def test_damaged_yunet_file_in_the_cache_is_fixed_by_pull(tmp_path: Path) -> None:
    (tmp_path / "cache" / "edgeemo").mkdir(parents=True)
    (tmp_path / "cache" / "edgeemo" / YUNET_FILE).write_bytes(b"damaged")
    with pytest.raises(
        DetectorError, match=r"cannot load it \(.*\); run: edgeemo models pull yunet$"
    ):
        open_detector("yunet")


def test_another_onnx_model_is_no_yunet(
    tiny_bundle: Path, tmp_path: Path, astronaut: NDArray[np.uint8]
) -> None:
    from edgeemo.contract.bundle import read_bundle

    path = tmp_path / "classifier.onnx"
    path.write_bytes(read_bundle(tiny_bundle).files["fp32.onnx"])
    with pytest.raises(DetectorError):
        open_detector("yunet", path).detect(astronaut)


OPENCV_5 = """
import cv2, sys
del cv2.CascadeClassifier
cv2.__version__ = "5.0.0"
from edgeemo.errors import EdgeemoError
from edgeemo.faces import open_detector
try:
    print(open_detector(*sys.argv[1:]).name)
except EdgeemoError as error:
    print(type(error).__name__, error)
"""


def with_opencv_5(*arguments: str, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [sys.executable, "-c", OPENCV_5, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return done.stdout.strip()


def test_haar_under_opencv_5_says_what_has_gone_and_both_ways_out() -> None:
    assert (
        with_opencv_5("haar")
        == "DetectorError OpenCV 5.0.0 has dropped the Haar cascades; run: pip install"
        " 'opencv-python-headless>=4.10,<5', or use YuNet (edgeemo models pull yunet)"
    )


def test_auto_where_nothing_works_gives_all_reasons(tmp_path: Path) -> None:
    environment = support.without(["ai_edge_litert", "tflite_runtime"], tmp_path)
    printed = with_opencv_5("auto", environment=environment)
    assert printed.startswith(
        "DetectorError no face detector works here. face: no TFLite interpreter is installed; run: "
    )
    assert "; or YuNet: no YuNet model file" in printed
    assert (
        "; run: edgeemo models pull yunet; or, for Haar: OpenCV 5.0.0 has dropped the Haar cascades"
        in printed
    )


def test_auto_without_interpreter_and_opencv_asks_for_the_interpreter(tmp_path: Path) -> None:
    # What a profile without LiteRT gave: advice to install OpenCV, though `face` was at hand.
    code = OPENCV_5[OPENCV_5.index("from edgeemo") :]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}", "auto"],
        capture_output=True, text=True, check=True,
        env=support.without(["ai_edge_litert", "tflite_runtime", "cv2"], tmp_path),
    )  # fmt: skip
    assert done.stdout.startswith("MissingDependency no TFLite interpreter is installed; run: pip")
    assert "[litert]" in done.stdout


def test_yunet_works_under_opencv_5() -> None:
    assert with_opencv_5("auto", str(support.shared("models", YUNET_FILE))) == "yunet"


def test_detector_without_opencv_says_what_to_install() -> None:
    code = "import sys; sys.modules['cv2'] = None\n" + OPENCV_5.replace(
        "del cv2.CascadeClassifier", ""
    ).replace("import cv2, sys\n", "import sys\n").replace('cv2.__version__ = "5.0.0"', "")
    done = subprocess.run(
        [sys.executable, "-c", code, "haar"], capture_output=True, text=True, check=True
    )
    assert (
        done.stdout.strip()
        == "MissingDependency OpenCV is needed to find faces and is not installed; run: pip install"
        " 'edgeemo[opencv]'"
    )


@pytest.mark.parametrize("name", ["haar", "yunet"])
def test_threads_of_several_recognizers_may_share_a_detector(
    name: str, astronaut: NDArray[np.uint8]
) -> None:
    """Unlocked, YuNet ends the process here, and Haar fails in OpenCV's own assertions."""
    shared, frames = detector(name), [astronaut[:400], astronaut[:, :300], astronaut[::2, ::2]]
    frames = [np.ascontiguousarray(frame) for frame in frames]
    expected = [shared.detect(frame) for frame in frames]
    wrong: list[object] = []

    def look(first: int) -> None:
        for number in range(first, first + 9):
            boxes = shared.detect(frames[number % 3])
            if boxes != expected[number % 3]:
                wrong.append(boxes)

    threads = [threading.Thread(target=look, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert any(expected)
