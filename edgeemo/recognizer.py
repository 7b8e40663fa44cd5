"""The main job: faces in a picture or frame, each with its emotion."""

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from edgeemo.backends import Backend, Providers, open_backend
from edgeemo.contract.bundle import Bundle
from edgeemo.contract.operating_point import DEFAULT, Prior
from edgeemo.contract.preprocess import face_to_input, is_in_frame
from edgeemo.contract.quantize import softmax
from edgeemo.data.pictures import read_picture
from edgeemo.data.view import AS_IT_IS, View
from edgeemo.errors import BackendError, DetectorError, InvalidInput
from edgeemo.faces import Detector, check_detector, crop_of, open_detector
from edgeemo.isolated.backend import IsolatedBackend
from edgeemo.models import DEFAULT_MODEL, find_model, shipped_models
from edgeemo.results import Box, Face
from edgeemo.slots import SLOT, Slots
from edgeemo.slots.trial import RunningTrial, begin
from edgeemo.trust import read_bundle


class Recognizer:
    """A detector and a model, opened once and used for many pictures.

    A context manager. Threads may share it, two sensors for example: one at a time looks for faces,
    and one at a time runs the network, so that threads share its time and gain none. The bundle
    rules: `labels` and `spec` are
    its own, so bundles of different labels and inputs live side by side in one process.

    Args:
        model: name of a shipped bundle, path of a .edgeemo file, an opened Bundle, or "slot" for
            the model that `edgeemo install` has put on this device.
        detector: a name of edgeemo.faces.DETECTORS ("auto", "face", "yunet", "haar" and what other
            packages bring), or any object with `name` and `detect` (see edgeemo.faces.Detector),
            such as `edgeemo.faces.open_detector("yunet", "yunet.onnx", smallest_face=1 / 6)`.
        artifact: which model file of the bundle; by default the quantized TFLite one, or the
            quantized ONNX one without LiteRT.
        threads: threads of one inference.
        runtime: one of edgeemo.backends.RUNTIMES, where another package brings one; by default the
            one for the artifact's format.
        providers: ONNX Runtime's execution providers by name, or "auto" for an NVIDIA GPU where
            there is one (see edgeemo.backends.open_backend); by default the processor alone.
        prior: how frequent each emotion is where the model looks: "default" as the bundle has it,
            "training" as in its training data (best top-1 there), "balanced" (rare emotions as
            likely as others), or shares 0..1 by label for a site that knows its visitors, such as
            {"neutral": 0.7, "happy": 0.2}; labels not named share the rest as in training.
        isolated: run the network in a process of its own, which is ended and started again where
            it crashes or takes longer than 2 s (edgeemo.isolated.backend): for models from
            elsewhere. On the CPU, with the artifact's usual runtime.
        backend: an opened backend instead of the bundle's own, for tests (edgeemo.FakeBackend); it
            brings its labels and its input spec, and `model` is not looked at.

    Raises:
        EdgeemoError: one of its kinds, see edgeemo.errors.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Bundle = DEFAULT_MODEL,
        *,
        detector: str | Detector = "auto",
        artifact: str | None = None,
        runtime: str | None = None,
        threads: int = 1,
        providers: Providers = None,
        prior: Prior = DEFAULT,
        isolated: bool = False,
        backend: Backend | None = None,
    ) -> None:
        if isolated and (backend or runtime or providers):
            raise InvalidInput("expected isolated without backend, runtime and providers")
        self.bundle: Bundle | None = None
        self.trial: RunningTrial | None = None
        if backend is None:
            if model == SLOT:
                self.bundle, self.trial = begin(Slots())
            else:
                self.bundle = model if isinstance(model, Bundle) else load_bundle(model)
            if isolated:
                backend = IsolatedBackend(self.bundle, artifact, threads=threads)
            else:
                backend = open_backend(
                    self.bundle, artifact, runtime=runtime, threads=threads, providers=providers
                )
        self.backend = backend
        self.labels, self.spec = tuple(backend.labels), backend.spec
        self._shift = self._shift_to(prior)
        self.detector = open_detector(detector) if isinstance(detector, str) else detector
        overrides = self.bundle.manifest.crops if self.bundle else {}
        self._detecting, self._inferring = threading.Lock(), threading.Lock()
        check_detector(self.detector)
        self.crop = overrides.get(self.detector.name) or crop_of(self.detector)

    def __enter__(self) -> "Recognizer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the model go, once no thread runs it; more than once does no harm."""
        with self._inferring:
            backend = self.__dict__.pop("backend", None)
            if isinstance(backend, IsolatedBackend):
                backend.close()
            if self.trial:
                self.trial.ended()

    def predict(
        self, picture: str | os.PathLike[str] | NDArray[np.uint8], view: View = AS_IT_IS
    ) -> list[Face]:
        """The faces of a picture file or frame, largest first; an empty list where there is none.

        Args:
            picture: a path, or a frame uint8 (H, W, 3) RGB or (H, W) grey.
            view: how the picture is turned first, and where faces are looked for. Boxes are in the
                turned picture, `view.turned(frame)`.
        """
        self._check_open()
        frame = picture if isinstance(picture, np.ndarray) else read_picture(picture)
        frame = view.turned(_as_rgb(frame))
        return self.classify(frame, self.detect(frame, view))

    def detect(self, frame_rgb: NDArray[np.uint8], view: View = AS_IT_IS) -> list[Box]:
        """The detector's boxes in uint8 (H, W, 3) RGB, largest first, in pixels of that frame.

        The frame stands as it should already; of `view` the region alone counts, and is all that
        the detector sees.

        Raises:
            DetectorError: it gives something else than boxes.
        """
        x, y, width, height = view.inside(frame_rgb.shape[1], frame_rgb.shape[0])
        part = frame_rgb
        if view.region is not None:
            part = np.ascontiguousarray(frame_rgb[y : y + height, x : x + width])
        with self._detecting:
            boxes = self.detector.detect(part)
        if not isinstance(boxes, list) or not all(isinstance(box, Box) for box in boxes):
            raise DetectorError(
                f"the detector {self.detector.name}: expected a list of edgeemo.Box, received "
                f"{str(boxes)[:80]!r}"
            )
        boxes = [replace(box, x=box.x + x, y=box.y + y) for box in boxes]
        return sorted(boxes, key=lambda box: -box.width * box.height)

    def classify(self, frame_rgb: NDArray[np.uint8], boxes: list[Box]) -> list[Face]:
        """The emotion of each box of the detector in uint8 (H, W, 3) RGB."""
        faces = []
        for box in boxes:
            start = time.perf_counter()
            inputs = self.inputs(frame_rgb, box)[np.newaxis]
            scores = softmax(self.infer(inputs))[0]
            latency_ms = 1000 * (time.perf_counter() - start)
            faces.append(_face(box, scores, self.labels, latency_ms))
        return faces

    def sees(self, frame_rgb: NDArray[np.uint8], box: Box) -> bool:
        """Whether the network sees a part of uint8 (H, W, 3) RGB in a box; `classify` refuses the
        others.
        """
        return is_in_frame(frame_rgb, box.as_tuple(), self.spec, self.crop)

    def inputs(self, frame_rgb: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
        """What the network sees of a box: uint8 (H, W, C) as `spec` has it."""
        return face_to_input(frame_rgb, box.as_tuple(), self.spec, self.crop)

    def infer(self, inputs: NDArray[np.uint8]) -> NDArray[np.float32]:
        """float32 (N, labels) logits of uint8 (N, H, W, C) inputs, under the recognizer's prior.

        Raises InvalidInput after `close`.
        """
        try:
            with self._inferring:
                self._check_open()
                logits = self.backend.infer(inputs)
            if not np.isfinite(logits).all():
                raise BackendError(
                    f"{self.backend.artifact}: gives answers that are no numbers; do not use this "
                    "model"
                )
        except BackendError:
            if self.trial:
                self.trial.failed()
            raise
        logits = logits if self._shift is None else logits + self._shift
        if self.trial:
            self.trial.answered(self.labels[answer] for answer in logits.argmax(axis=1))
        return logits

    def _shift_to(self, prior: Prior) -> NDArray[np.float32] | None:
        """float32 (labels,): what logits gain for the prior; None for the bundle's default."""
        if isinstance(prior, str) and prior == DEFAULT:
            return None
        point = self.bundle.manifest.operating_point if self.bundle else None
        if point is None:
            raise InvalidInput(
                f"{self.bundle.path if self.bundle else 'this backend'}: expected a bundle that "
                f"knows the prior that it was trained under, for the prior {str(prior)[:80]!r}; "
                "build it again with this edgeemo, or leave the prior out"
            )
        return point.shift(prior, self.labels)

    def _check_open(self) -> None:
        if "backend" not in self.__dict__:
            raise InvalidInput("the recognizer is closed; open a new one")


def load_bundle(
    name_or_path: str | os.PathLike[str] = DEFAULT_MODEL,
    *,
    trusted_keys: Sequence[str | os.PathLike[str]] | None = None,
) -> Bundle:
    """Read and check a bundle by shipped name or path.

    Args:
        name_or_path: a shipped model's name, a .edgeemo file, or "slot" for the model that
            `edgeemo install` has put on this device.
        trusted_keys: public keys' files, or folders of them, in place of those of
            /etc/edgeemo/keys and $EDGEEMO_TRUSTED_KEYS; where there are any, what they have not
            signed is refused before it is parsed (docs/trust.md).

    Raises InvalidInput for what is neither, MissingFile, UntrustedModel, BundleError, and
    MissingDependency where signatures cannot be checked.
    """
    if not isinstance(name_or_path, (str, os.PathLike)):
        raise InvalidInput(
            f"expected a shipped model's name ({', '.join(shipped_models())}) or the path of a "
            f".edgeemo file, received {str(name_or_path)[:40]!r} ({type(name_or_path).__name__})"
        )
    if name_or_path == SLOT and trusted_keys is None:
        return Slots().current()
    return read_bundle(find_model(os.fspath(name_or_path)), trusted_keys)


def predict(
    picture: str | os.PathLike[str] | NDArray[np.uint8], view: View = AS_IT_IS
) -> list[Face]:
    """The faces of one picture with the bundled model and the best detector at hand.

    Opens a `Recognizer` for the one call; keep one open where many pictures come.

    Args:
        picture: a path, or a frame uint8 (H, W, 3) RGB or (H, W) grey.
        view: see `Recognizer.predict`.
    """
    with Recognizer() as recognizer:
        return recognizer.predict(picture, view)


def _as_rgb(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if frame.dtype == np.uint8 and frame.ndim == 2 and frame.size:
        return np.repeat(frame[:, :, np.newaxis], 3, axis=2)
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or not frame.size:
        raise InvalidInput(
            f"expected a frame of uint8, (H, W, 3) RGB or (H, W) grey; received {frame.dtype}"
            f" {frame.shape}"
        )
    return np.ascontiguousarray(frame)


def _face(
    box: Box, scores: NDArray[np.float32], labels: tuple[str, ...], latency_ms: float
) -> Face:
    by_label = {label: float(score) for label, score in zip(labels, scores, strict=True)}
    emotion = labels[int(scores.argmax())]
    return Face(box, emotion, by_label[emotion], by_label, latency_ms)
