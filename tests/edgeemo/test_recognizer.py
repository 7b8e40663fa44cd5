"""The recognizer: a picture in whatever form, faces with checked emotions out."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeemo import LABELS, Box, Bundle, FakeBackend, Recognizer, load_bundle
from edgeemo.contract.crop import BOX, Crop
from edgeemo.contract.input_spec import DEFAULT_SPEC, InputSpec
from edgeemo.contract.preprocess import face_to_input
from edgeemo.errors import (
    BackendError,
    BundleError,
    DetectorError,
    InvalidInput,
    MissingFile,
    PictureError,
)
from tests import support


class Told:
    """A detector that finds the boxes it was told, as haar would."""

    name = "haar"

    def __init__(self, *boxes: Box) -> None:
        self.boxes = list(boxes)
        self.frames: list[NDArray[np.uint8]] = []

    def detect(self, frame_rgb: NDArray[np.uint8]) -> list[Box]:
        self.frames.append(frame_rgb)
        return self.boxes


@pytest.fixture(scope="module")
def tiny(tiny_bundle: Path) -> Iterator[Recognizer]:
    """The tiny network in full precision on whole pictures: `support.quadrant_logits` is its
    oracle.
    """
    with Recognizer(tiny_bundle, detector="whole", artifact="fp32.onnx") as recognizer:
        yield recognizer


def drawn(label: int) -> NDArray[np.uint8]:
    return support.drawn_picture(label, np.random.default_rng(label))


def oracle_scores(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    logits = support.quadrant_logits(picture[np.newaxis, ..., np.newaxis])[0]
    powers = np.exp(logits - logits.max())
    return np.asarray(powers / powers.sum())


@pytest.mark.parametrize("label", range(7))
def test_each_drawn_class_is_recognized_with_the_oracles_scores(
    tiny: Recognizer, label: int
) -> None:
    (face,) = tiny.predict(drawn(label))
    assert face.emotion == LABELS[label]
    assert list(face.scores.values()) == pytest.approx(oracle_scores(drawn(label)), abs=1e-4)
    assert sum(face.scores.values()) == pytest.approx(1, abs=1e-6)
    assert face.confidence == face.scores[face.emotion] == max(face.scores.values())
    assert face.box == Box(0, 0, 48, 48)
    assert 0 < face.latency_ms < 5000


def test_path_frame_and_grey_frame_of_one_picture_get_the_same_answer(
    tiny: Recognizer, tmp_path: Path
) -> None:
    grey = drawn(4)
    (tmp_path / "x.png").write_bytes(support.encoded(grey))
    answers = [
        tiny.predict(picture)[0].to_dict()
        for picture in (
            tmp_path / "x.png",
            str(tmp_path / "x.png"),
            grey,
            np.repeat(grey[..., np.newaxis], 3, 2),
        )
    ]
    assert all(answer == answers[0] for answer in answers)


def test_frame_that_is_a_view_is_taken_as_it_looks(tiny: Recognizer) -> None:
    grey = drawn(5)
    view = np.repeat(grey[..., np.newaxis], 3, 2)[:, ::-1]
    assert not view.flags.c_contiguous
    assert tiny.predict(view)[0].to_dict() == tiny.predict(grey[:, ::-1].copy())[0].to_dict()


def test_frame_is_not_changed_by_prediction(tiny: Recognizer) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (80, 90, 3), dtype=np.uint8)
    before = frame.copy()
    tiny.predict(frame)
    assert np.array_equal(frame, before)


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((40, 40, 3), np.float32),
        np.zeros((40, 40, 4), np.uint8),
        np.zeros((40, 40, 1), np.uint8),
        np.zeros((0, 40, 3), np.uint8),
        np.zeros((0, 0), np.uint8),
        np.zeros(40, np.uint8),
        np.zeros((40, 40), np.uint16),
    ],
    ids=lambda frame: f"{frame.dtype}{frame.shape}",
)
def test_frame_of_another_kind_is_refused(tiny: Recognizer, frame: NDArray[np.uint8]) -> None:
    with pytest.raises(
        InvalidInput, match=r"expected a frame of uint8, \(H, W, 3\) RGB or \(H, W\) grey; received"
    ):
        tiny.predict(frame)


def test_unusable_files_are_named(tiny: Recognizer, tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=r"gone\.png"):
        tiny.predict(tmp_path / "gone.png")
    (tmp_path / "text.png").write_text("x")
    with pytest.raises(PictureError, match=r"text\.png"):
        tiny.predict(tmp_path / "text.png")


def test_picture_without_a_face_gives_an_empty_list(tiny_bundle: Path) -> None:
    with Recognizer(tiny_bundle, detector="haar") as recognizer:
        assert recognizer.predict(np.full((300, 300, 3), 90, np.uint8)) == []


def test_a_detector_of_ones_own_sees_rgb_and_its_boxes_stay_in_order(tiny_bundle: Path) -> None:
    boxes = Box(60, 10, 48, 48), Box(0, 0, 48, 48)
    frame = np.full((70, 120), 30, np.uint8)
    frame[10:58, 60:108], frame[:48, :48] = drawn(0), drawn(6)
    detector = Told(*boxes)
    with Recognizer(tiny_bundle, detector=detector, artifact="fp32.onnx") as recognizer:
        faces = recognizer.predict(frame)
    assert [face.box for face in faces] == list(boxes)
    assert [face.emotion for face in faces] == [LABELS[0], LABELS[6]]
    (seen,) = detector.frames
    assert seen.shape == (70, 120, 3)


def test_a_detectors_own_crop_counts(tmp_path: Path) -> None:
    frame = np.random.default_rng(1).integers(0, 256, (200, 240, 3), dtype=np.uint8)
    box, crop = Box(40, 30, 100, 110), Crop(scale_q10=1300, shift_y_q10=-40)
    detector = Told(box)
    detector.crop = crop  # type: ignore[attr-defined]
    with Recognizer(detector=detector, backend=FakeBackend()) as recognizer:
        seen = recognizer.inputs(frame, box)
    assert np.array_equal(seen, face_to_input(frame, box.as_tuple(), DEFAULT_SPEC, crop))
    assert not np.array_equal(seen, face_to_input(frame, box.as_tuple(), DEFAULT_SPEC))


def test_a_bundle_overrides_a_detectors_crop_by_its_name(tiny_bundle: Path, tmp_path: Path) -> None:
    def with_crops(entries: dict[str, bytes]) -> None:
        manifest = json.loads(entries["manifest.json"])
        crop = {"scale_q10": 2000, "shift_x_q10": 0, "shift_y_q10": 0}
        entries["manifest.json"] = json.dumps(manifest | {"crops": {"told": crop}}).encode()

    bundle = support.rezip(tiny_bundle, tmp_path / "crops.edgeemo", with_crops)
    detector = Told()
    detector.name = "told"
    with Recognizer(bundle, detector=detector) as recognizer:
        assert recognizer.crop == Crop(scale_q10=2000)
    detector.name = "another"
    with Recognizer(bundle, detector=detector) as recognizer:
        assert recognizer.crop == BOX


def test_bundles_of_other_labels_and_inputs_live_in_one_process() -> None:
    eight = FakeBackend.of((*LABELS, "contempt"), InputSpec(height=112, width=96, channels=3))
    eight.say(contempt=0.9)
    frame = np.random.default_rng(2).integers(0, 256, (60, 50, 3), dtype=np.uint8)
    with (
        Recognizer(detector="whole", backend=eight) as wide,
        Recognizer(detector="whole", backend=FakeBackend(happy=0.8)) as usual,
    ):
        for _ in range(2):
            assert wide.predict(frame)[0].emotion == "contempt"
            assert usual.predict(frame)[0].emotion == "happy"
        assert list(wide.predict(frame)[0].scores) == [*LABELS, "contempt"]
        assert wide.inputs(frame, Box(0, 0, 50, 60)).shape == (112, 96, 3)


def test_box_outside_the_frame_is_refused(tiny_bundle: Path) -> None:
    with (
        Recognizer(tiny_bundle, detector=Told(Box(500, 500, 40, 40))) as recognizer,
        pytest.raises(InvalidInput, match="within the 100x100 frame"),
    ):
        recognizer.predict(np.zeros((100, 100, 3), np.uint8))


def test_box_that_reaches_beyond_the_frame_is_taken(tiny_bundle: Path) -> None:
    with Recognizer(tiny_bundle, detector=Told(Box(-20, -20, 60, 60))) as recognizer:
        (face,) = recognizer.predict(np.zeros((100, 100, 3), np.uint8))
    assert face.box == Box(-20, -20, 60, 60)


def test_fake_backend_answers_without_any_model() -> None:
    backend = FakeBackend(surprise=0.75)
    with Recognizer(
        "no such model", detector=Told(Box(0, 0, 50, 50), Box(9, 9, 20, 20)), backend=backend
    ) as recognizer:
        faces = recognizer.predict(np.zeros((60, 60), np.uint8))
        assert recognizer.bundle is None
        assert recognizer.spec == DEFAULT_SPEC
    assert [(face.emotion, round(face.confidence, 6)) for face in faces] == [("surprise", 0.75)] * 2
    assert backend.calls == 2


def test_close_may_be_called_twice_and_use_afterwards_is_refused(tiny_bundle: Path) -> None:
    recognizer = Recognizer(tiny_bundle, detector="haar")
    recognizer.close()
    recognizer.close()
    for use in (
        lambda: recognizer.predict(
            np.zeros((90, 90, 3), np.uint8)
        ),  # shows no face, and is refused all the same
        lambda: recognizer.classify(np.zeros((90, 90, 3), np.uint8), [Box(0, 0, 9, 9)]),
        lambda: recognizer.infer(np.zeros((1, 48, 48, 1), np.uint8)),
    ):
        with pytest.raises(InvalidInput, match="the recognizer is closed; open a new one"):
            use()


def test_the_end_of_with_closes(tiny_bundle: Path) -> None:
    with Recognizer(tiny_bundle, detector="whole") as recognizer:
        assert len(recognizer.predict(drawn(0))) == 1
    with pytest.raises(InvalidInput, match="closed"):
        recognizer.predict(drawn(0))


def test_an_opened_bundle_may_be_given_instead_of_a_path(
    tiny_bundle: Path, tiny: Recognizer
) -> None:
    bundle = load_bundle(tiny_bundle)
    assert isinstance(bundle, Bundle)
    assert bundle.manifest.name == "tiny"
    with Recognizer(bundle, detector="whole", artifact="fp32.onnx") as recognizer:
        assert recognizer.bundle is bundle
        assert recognizer.predict(drawn(2))[0].to_dict() == tiny.predict(drawn(2))[0].to_dict()


def test_artifact_and_threads_reach_the_backend(tiny_bundle: Path) -> None:
    with Recognizer(tiny_bundle, detector="whole", artifact="int8.onnx", threads=2) as recognizer:
        assert (recognizer.backend.artifact, recognizer.backend.threads) == ("int8.onnx", 2)
    with Recognizer(tiny_bundle, detector="whole") as recognizer:
        assert (recognizer.backend.artifact, recognizer.backend.threads) == ("int8.tflite", 1)


def test_model_that_is_neither_shipped_nor_a_file_is_named(tmp_path: Path) -> None:
    for name in ("gigantic", str(tmp_path / "gone.edgeemo"), "x" * 300):
        with pytest.raises(
            MissingFile,
            match=f"{name}: no such bundle; expected the path of a .edgeemo file or one of",
        ):
            Recognizer(name)


def test_file_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.edgeemo").write_text("x")
    with pytest.raises(BundleError, match=r"x\.edgeemo"):
        Recognizer(tmp_path / "x.edgeemo")


def test_without_pillow_and_opencv_arrays_of_whole_faces_work_and_files_name_what_to_install(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "x.png").write_bytes(support.encoded(drawn(4)))
    code = (
        "import sys; sys.modules['cv2'] = sys.modules['PIL'] = None\n"
        "import numpy as np, edgeemo\n"
        "with edgeemo.Recognizer(sys.argv[1], detector='whole') as r:\n"
        "    print(len(r.predict(np.zeros((60, 60, 3), np.uint8))))\n"
        "    try: r.predict(sys.argv[2])\n"
        "    except edgeemo.EdgeemoError as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny_bundle), str(tmp_path / "x.png")],
        capture_output=True,
        text=True,
        check=True,
    )
    faces, error = done.stdout.splitlines()
    assert faces == "1"
    assert error.startswith("MissingDependency Pillow is needed to read pictures")
    assert error.endswith("[pictures]'")


class Gives:
    """A detector that gives whatever it is told to."""

    name = "gives"

    def __init__(self, boxes: Any) -> None:
        self.boxes = boxes

    def detect(self, frame_rgb: NDArray[np.uint8]) -> Any:
        return self.boxes


@pytest.mark.parametrize(
    "detector", [object(), None, 3, print, type("NoName", (Gives,), {"name": 5})]
)
def test_what_is_no_detector_is_refused(detector: Any) -> None:
    with pytest.raises(DetectorError, match=r"an object with name \(text\) and detect"):
        Recognizer(detector=detector, backend=FakeBackend())


@pytest.mark.parametrize("boxes", [None, (1, 2, 3, 4), [(1, 2, 3, 4)], [None], np.zeros((1, 4))])
def test_what_are_no_boxes_is_refused(boxes: Any) -> None:
    with (
        Recognizer(detector=Gives(boxes), backend=FakeBackend()) as recognizer,
        pytest.raises(DetectorError, match="the detector gives: expected a list of edgeemo.Box"),
    ):
        recognizer.predict(np.zeros((50, 50, 3), np.uint8))


def test_faces_come_largest_first_and_numpys_numbers_become_plain_ones() -> None:
    small, large = Box(*np.array([0, 0, 10, 10])), Box(*np.array([5, 5, 40, 40], np.int32))
    with Recognizer(detector=Gives([small, large]), backend=FakeBackend()) as recognizer:
        faces = recognizer.predict(np.zeros((50, 50, 3), np.uint8))
    assert [face.box for face in faces] == [large, small]
    assert json.dumps(faces[0].to_dict()["box"]) == "[5, 5, 40, 40]"


@pytest.mark.parametrize("box", [(0.5, 0, 10, 10), ("0", 0, 10, 10), (0, 0, float("nan"), 10)])
def test_a_box_is_of_whole_pixels(box: tuple[Any, ...]) -> None:
    with pytest.raises(InvalidInput, match="expected whole pixels for a box"):
        Box(*box)


def test_answers_that_are_no_numbers_are_refused() -> None:
    class Nothing(FakeBackend):
        def infer(self, inputs: NDArray[np.uint8]) -> NDArray[np.float32]:
            return np.full((len(inputs), 7), np.nan, np.float32)

    with (
        Recognizer(detector="whole", backend=Nothing()) as recognizer,
        pytest.raises(BackendError, match="gives answers that are no numbers"),
    ):
        recognizer.predict(np.zeros((50, 50, 3), np.uint8))


def test_threads_may_share_a_recognizer(tiny_bundle: Path) -> None:
    frames = [np.random.default_rng(i).integers(0, 256, (60, 60, 3), np.uint8) for i in range(40)]
    with Recognizer(tiny_bundle, detector="whole") as recognizer:
        expected = [recognizer.predict(frame)[0].scores for frame in frames]
        answers: list[list[dict[str, float]]] = [[] for _ in range(4)]

        def work(mine: list[dict[str, float]]) -> None:
            mine += [recognizer.predict(frame)[0].scores for frame in frames]

        threads = [threading.Thread(target=work, args=(mine,)) for mine in answers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == [expected] * 4


def test_closing_waits_for_the_thread_that_runs_the_network(tiny_bundle: Path) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
    recognizer = Recognizer(tiny_bundle, detector="whole")
    ended: list[str] = []

    def work() -> None:
        try:
            while True:
                recognizer.predict(frame)
        except Exception as error:
            ended.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    recognizer.close()
    for thread in threads:
        thread.join()
    assert ended == ["InvalidInput: the recognizer is closed; open a new one"] * 4
