"""Runs inside a peer's environment: import, first result, time, memory, accuracy, as JSON.

python probe.py PEER PICTURE FACES.npz OUT.json

Imports nothing of this repository: the environment holds the peer and what it asked for. FACES.npz
holds `images`, uint8 (N, 48, 48) grey, and `labels`, the N words of FER-2013.
"""

import importlib
import json
import os
import re
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Answer = list[tuple[Any, str]]
# What looks at a picture, and what names cropped faces where that can be asked by itself.
Opened = tuple[Callable[[Any], Answer], Callable[[Any], list[str]] | None]
SECONDS, MOST = 15.0, 60
THEIRS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


def read_picture(path: str) -> Any:
    """uint8 (height, width, 3) RGB, by whichever of OpenCV and Pillow the peer brought."""
    import numpy as np

    try:
        return np.ascontiguousarray(importlib.import_module("cv2").imread(path)[..., ::-1])
    except ModuleNotFoundError:
        return np.asarray(importlib.import_module("PIL.Image").open(path).convert("RGB"))


def opencv_with_haar() -> tuple[Any, Any]:
    """OpenCV, and its cascade of frontal faces."""
    cv2 = importlib.import_module("cv2")
    folder = cv2.data.haarcascades
    return cv2, cv2.CascadeClassifier(f"{folder}haarcascade_frontalface_default.xml")


def open_edgeemo() -> Opened:
    """The default: the detector `face` and `small`, on LiteRT, without OpenCV."""
    import edgeemo

    recognizer = edgeemo.Recognizer()

    def name(images: Any) -> list[str]:
        logits = recognizer.backend.infer(images[..., None])
        return [recognizer.labels[i] for i in logits.argmax(axis=1)]

    def look(rgb: Any) -> Answer:
        return [(face.box.as_tuple(), face.emotion) for face in recognizer.predict(rgb)]

    return look, name


def open_mini_xception() -> Opened:
    """face_classification's network behind OpenCV's Haar cascade, as its demo has it."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    network = Interpreter(os.environ["PEER_MODEL"], num_threads=1)
    network.allocate_tensors()
    source, result = network.get_input_details()[0], network.get_output_details()[0]
    cv2, haar = opencv_with_haar()

    def one(grey: Any) -> str:
        pixels = cv2.resize(grey, (64, 64)).astype(np.float32) / 127.5 - 1
        network.set_tensor(source["index"], pixels[None, ..., None])
        network.invoke()
        return THEIRS[int(network.get_tensor(result["index"])[0].argmax())]

    def look(rgb: Any) -> Answer:
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        boxes = haar.detectMultiScale(grey, 1.1, 5, minSize=(48, 48))
        return [((x, y, w, h), one(grey[y : y + h, x : x + w])) for x, y, w, h in boxes]

    return look, lambda images: [one(image) for image in images]


def open_deepface() -> Opened:
    """DeepFace.analyze with OpenCV's detector, the default; weights as stand_in.py draws them."""
    from deepface import DeepFace

    def look(rgb: Any) -> Answer:
        found = DeepFace.analyze(
            rgb[..., ::-1], actions=["emotion"], enforce_detection=False, silent=True
        )
        return [(face["region"], face["dominant_emotion"]) for face in found]

    return look, None


def open_emotiefflib() -> Opened:
    """The ONNX engine; it has no detector, so the picture's middle is taken for a face."""
    from emotiefflib.facial_analysis import EmotiEffLibRecognizer

    recognizer = EmotiEffLibRecognizer(
        engine="onnx", model_name="enet_b0_8_best_vgaf", device="cpu"
    )

    def look(rgb: Any) -> Answer:
        return [(None, recognizer.predict_emotions([rgb], logits=False)[0][0])]

    return look, None


def open_hsemotion_onnx() -> Opened:
    """Its default network; no detector either. It uses urllib.request without importing it
    (https://github.com/av-savchenko/hsemotion-onnx/issues/1, merged and never released).
    """
    import urllib.request  # noqa: F401

    from hsemotion_onnx.facial_emotions import HSEmotionRecognizer

    recognizer = HSEmotionRecognizer(model_name="enet_b0_8_best_vgaf")
    return lambda rgb: [(None, recognizer.predict_emotions(rgb)[0])], None


def open_mediapipe() -> Opened:
    """Its face detector for near faces, with the model file of its own wheel."""
    import mediapipe as mp

    detector = mp.solutions.face_detection.FaceDetection(model_selection=0)

    def look(rgb: Any) -> Answer:
        found = detector.process(rgb).detections or ()
        return [(face.location_data.relative_bounding_box, "") for face in found]

    return look, None


def open_opencv_haar() -> Opened:
    """OpenCV's cascade, faces alone."""
    cv2, haar = opencv_with_haar()

    def look(rgb: Any) -> Answer:
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        return [(tuple(box), "") for box in haar.detectMultiScale(grey, 1.1, 5, minSize=(48, 48))]

    return look, None


def open_opencv_yunet() -> Opened:
    """OpenCV's FaceDetectorYN with a model file that was fetched before; faces alone."""
    import cv2

    detector = cv2.FaceDetectorYN.create(os.environ["PEER_MODEL"], "", (320, 320), 0.7)

    def look(rgb: Any) -> Answer:
        detector.setInputSize((rgb.shape[1], rgb.shape[0]))
        found = detector.detect(rgb[..., ::-1].copy())[1]
        return [(tuple(row[:4]), "") for row in (() if found is None else found)]

    return look, None


def open_fer() -> Opened:
    """FER with OpenCV's detector, the default; faces that are cut out already go past it, as its
    own detect_emotions prepares them.
    """
    import cv2
    import numpy as np
    from fer.fer import FER

    detector = FER(mtcnn=False)

    def look(rgb: Any) -> Answer:
        found = detector.detect_emotions(rgb[..., ::-1])
        return [(face["box"], max(face["emotions"], key=face["emotions"].get)) for face in found]

    def name(images: Any) -> list[str]:
        faces = np.array([cv2.resize(image, (64, 64)) for image in images], np.float32)
        scores = [
            np.asarray(detector._classify_emotions((part / 255 - 0.5) * 2))
            for part in np.array_split(faces, 1 + len(faces) // 256)
        ]
        return [THEIRS[i] for i in np.concatenate(scores).argmax(axis=1)]

    return look, name


MODULES = {"opencv_haar": "cv2", "opencv_yunet": "cv2", "mini_xception": "ai_edge_litert"}
OPEN: dict[str, Callable[[], Opened]] = {
    name.removeprefix("open_"): function
    for name, function in list(globals().items())
    if name.startswith("open_")
}


def timed(look: Callable[[Any], Answer], rgb: Any) -> dict[str, float]:
    """Wall and processor milliseconds a picture: medians, of at most MOST in SECONDS."""
    wall: list[float] = []
    work: list[float] = []
    end = time.perf_counter() + SECONDS
    while len(wall) < MOST and (time.perf_counter() < end or not wall):
        start, used = time.perf_counter(), time.process_time()
        look(rgb)
        wall.append(1e3 * (time.perf_counter() - start))
        work.append(1e3 * (time.process_time() - used))
    return {
        "pictures": len(wall),
        "wall_ms": statistics.median(wall),
        "cpu_ms": statistics.median(work),
    }


def peak_memory() -> float:
    """Megabytes that this process held at most, from Linux. getrusage would begin with what the
    process that started this one held.
    """
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def measure(peer: str, picture: str, faces: str) -> dict[str, Any]:
    """All that this process can say of the peer; `error` where it ended early."""
    result: dict[str, Any] = {"peer": peer}
    try:
        used = time.process_time()
        __import__(MODULES.get(peer, peer))
        result["import_cpu_s"] = time.process_time() - used
        import numpy as np

        rgb = read_picture(picture)
        start, used = time.perf_counter(), time.process_time()
        look, name = OPEN[peer]()
        answer = look(rgb)
        result["first_s"] = time.perf_counter() - start
        result["first_cpu_s"] = time.process_time() - used
        result["answer"] = [label for _, label in answer]
        result |= timed(look, rgb)
        result["memory_mb"] = peak_memory()  # before the faces of the accuracy come in
        if name is not None:
            with np.load(faces) as given:
                said, labels = name(given["images"]), given["labels"]
            result["accuracy"] = float(np.mean(np.array(said) == labels))
            result["faces"] = len(labels)
    except (Exception, SystemExit) as error:
        words = " ".join(str(error).split())
        result["error"] = f"{type(error).__name__}: {words[:300]}"
    return result


if __name__ == "__main__":
    _, peer, picture, faces, out = sys.argv
    Path(out).write_text(json.dumps(measure(peer, picture, faces)))
