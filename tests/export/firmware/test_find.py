"""Faces found in C: the boxes of the Python detector and the logits behind them, bit for bit."""

import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeemo.backends import RuntimeOptions
from edgeemo.backends.litert import LiteRtBackend
from edgeemo.backends.rows import open_rows
from edgeemo.contract.bundle import Bundle, read_bundle
from edgeemo.contract.detector_bundle import DetectorBundle, read_detector
from edgeemo.contract.face_look import Looker
from edgeemo.contract.preprocess import face_to_input, is_in_frame, to_grey
from edgeemo.data.pictures import decode_picture
from edgeemo.errors import InvalidInput
from edgeemo.firmware.network import detector_network
from edgeemo.models import find_detector, find_model, shipped_detectors
from export.firmware.generate import generate
from tests import support
from tests.objects import compiled

DRIVER = r"""
#include "edgeemo_find.h"
#include "edgeemo_model.h"
#include <stdio.h>
#include <stdlib.h>
int main(void)
{
    int32_t head[4];
    if (edgeemo_init() || edgeemo_find_init()) return 2;
    while (fread(head, sizeof head, 1, stdin) == 1) {
        const size_t size = (size_t)head[3] * (size_t)head[1];
        uint8_t *pixels = malloc(size), input[EDGEEMO_INPUT_BYTES];
        int8_t logits[EDGEEMO_LABEL_COUNT];
        edgeemo_face faces[EDGEEMO_FIND_MOST];
        const edgeemo_crop crop = EDGEEMO_FIND_CROP;
        edgeemo_frame frame = {pixels, head[0], head[1], head[3], (edgeemo_pixel_format)head[2]};
        int32_t count;
        if (!pixels || fread(pixels, 1, size, stdin) != size) return 3;
        count = edgeemo_find(&frame, faces, EDGEEMO_FIND_MOST);
        printf("%d\n", (int)count);
        for (int32_t i = 0; i < count; ++i) {
            const edgeemo_box b = faces[i].box;
            printf("%d %d %d %d %d", (int)b.x, (int)b.y, (int)b.width, (int)b.height,
                   (int)faces[i].score);
            if (edgeemo_face_to_input(&frame, &b, &crop, input) == 0) {
                edgeemo_infer(input, logits);
                for (int k = 0; k < EDGEEMO_LABEL_COUNT; ++k) printf(" %d", logits[k]);
            }
            printf("\n");
        }
        free(pixels);
    }
    return 0;
}
"""
GREY, RGB = 0, 1


@pytest.fixture(scope="module")
def emotions() -> Bundle:
    return read_bundle(find_model("nano"))


@pytest.fixture(scope="module")
def finder() -> DetectorBundle:
    return read_detector(find_detector("face"))


@pytest.fixture(scope="module")
def program(
    emotions: Bundle, finder: DetectorBundle, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return built(emotions, finder, tmp_path_factory.mktemp("find"))


def built(emotions: Bundle, finder: DetectorBundle, folder: Path) -> Path:
    """The driver with the generated C of both."""
    generate(emotions, folder / "c", detector=finder)
    (folder / "driver.c").write_text(DRIVER)
    sources = sorted(map(str, (folder / "c").glob("edgeemo_*.c")))
    words = ["gcc", "-O2", "-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
    out = folder / "find"
    done = compiled(
        [*words, f"-I{folder / 'c'}", str(folder / "driver.c"), *sources, "-o", str(out)]
    )
    assert done.returncode == 0, done.stderr
    return out


def in_c(program: Path, frames: list[NDArray[np.uint8]]) -> list[list[list[int]]]:
    """Of each frame, its faces as x, y, width, height, score and logits."""
    data = b"".join(
        np.array(
            [f.shape[1], f.shape[0], RGB if f.ndim == 3 else GREY, f[0].size], np.int32
        ).tobytes()
        + f.tobytes()
        for f in frames
    )
    done = subprocess.run([program], input=data, capture_output=True, check=True)
    lines = iter(done.stdout.decode().splitlines())
    return [
        [[int(word) for word in next(lines).split()] for _ in range(int(next(lines)))]
        for _ in frames
    ]


def in_python(
    emotions: Bundle, finder: DetectorBundle, frames: list[NDArray[np.uint8]]
) -> list[list[list[int]]]:
    """The same by the reference kernels."""
    model = open_rows(finder, reference_kernels=True)
    manifest, spec = finder.manifest, finder.manifest.input_spec
    output = manifest.artifact.output
    artifact, content = emotions.artifact("int8.tflite")
    network = LiteRtBackend(
        content, artifact.file, emotions.spec, emotions.labels,
        RuntimeOptions(reference_kernels=True),
    )  # fmt: skip
    rows, scale = manifest.rows, output.scale or 1.0
    looker = Looker(model.rows, spec, rows, scale, output.zero_point or 0)
    answers = []
    for frame in frames:
        faces = sorted(looker.faces(frame), key=lambda face: -face.place[2] * face.place[3])
        answers.append([])
        for face in faces:
            found = [*face.place, face.score]
            if is_in_frame(frame, face.place, emotions.spec, manifest.crop):
                inputs = face_to_input(frame, face.place, emotions.spec, manifest.crop)
                logits = network.infer(inputs[np.newaxis])[0] / (artifact.output.scale or 1.0)
                whole = np.rint(logits + (artifact.output.zero_point or 0)).astype(int)
                found += whole.tolist()
            answers[-1].append(found)
    return answers


def drawn_frames(count: int) -> list[NDArray[np.uint8]]:
    """Frames of all shapes, grey and RGB, with drawn faces and with noise, so that there are many
    boxes and none."""
    rng = np.random.default_rng(5)
    frames = []
    for i in range(count):
        height, width = (int(side) for side in rng.integers(20, 400, 2))
        shape = (height, width, 3) if i % 2 else (height, width)
        grain = np.kron(
            rng.integers(0, 256, (height // 16 + 1, width // 16 + 1)), np.ones((16, 16))
        )
        frame = np.broadcast_to(
            grain[:height, :width].reshape(height, width, *([1] * (len(shape) - 2))), shape
        ).astype(np.uint8)
        frames.append(np.ascontiguousarray(frame))
    return frames


def test_boxes_and_logits_are_pythons(
    program: Path, emotions: Bundle, finder: DetectorBundle, face_frames: list[NDArray[np.uint8]]
) -> None:
    frames = [*drawn_frames(60), *face_frames]
    expected = in_python(emotions, finder, frames)
    assert in_c(program, frames) == expected
    assert sum(map(len, expected[60:])) >= len(face_frames), "no faces, so nothing was compared"


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped_detectors())
def test_boxes_and_logits_of_a_thousand_pictures_are_pythons(
    emotions: Bundle, name: str, tmp_path: Path
) -> None:
    of_bundle = read_detector(find_detector(name))
    program = built(emotions, of_bundle, tmp_path)
    frames = pictures(1000)
    assert len(frames) == 1000
    faces = 0
    for start in range(0, len(frames), 50):  # a few at a time, so that memory stays small
        some = frames[start : start + 50]
        expected = in_python(emotions, of_bundle, some)
        assert in_c(program, some) == expected, start
        faces += sum(map(len, expected))
    assert faces > 500


def pictures(count: int) -> list[NDArray[np.uint8]]:
    """Photos and scenes in turns, every second one grey."""
    archives = [zipfile.ZipFile(support.shared("data", f"{n}.zip")) for n in ("photos", "scenes")]
    names = [sorted(n for n in a.namelist() if n.endswith((".jpg", ".png"))) for a in archives]
    frames = []
    for number in range(count):
        archive, of_archive = archives[number % 2], names[number % 2]
        name = of_archive[number // 2 * (len(of_archive) // (count // 2))]
        frame = decode_picture(archive.read(name), name)
        frames.append(to_grey(frame) if number % 4 < 2 else frame)
    return frames


@pytest.fixture(scope="module")
def face_frames() -> list[NDArray[np.uint8]]:
    """The astronaut at several sizes and places in a frame of 320x240."""
    import skimage.data

    picture = skimage.data.astronaut()
    frames = []
    for step in (2, 3):
        small = np.ascontiguousarray(picture[::step, ::step][:240])
        frame = np.zeros((240, 320, 3), np.uint8)
        frame[: len(small), : small.shape[1]] = small[:, :320]
        frames += [frame, np.ascontiguousarray(frame[:, ::-1])]
    return frames


def test_the_memory_is_shared_and_bounded(
    emotions: Bundle, finder: DetectorBundle, tmp_path: Path
) -> None:
    made = generate(emotions, tmp_path / "both", detector=finder)
    alone = generate(emotions, tmp_path / "alone")
    assert made.arena_bytes == max(alone.arena_bytes, _arena(tmp_path / "both"))
    with pytest.raises(InvalidInput, match=r"--max-ram allows"):
        generate(emotions, tmp_path / "no", detector=finder, max_ram=made.arena_bytes - 1)


def _arena(folder: Path) -> int:
    text = (folder / "edgeemo_find_settings.h").read_text()
    return int(text.split("EDGEEMO_FIND_ARENA_BYTES ")[1].split()[0])


def test_the_report_and_the_readme_count_both_networks(
    emotions: Bundle, finder: DetectorBundle, tmp_path: Path
) -> None:
    made = generate(emotions, tmp_path / "both", detector=finder, prefix="door")
    alone = generate(emotions, tmp_path / "alone")
    layers = detector_network(finder).layers
    assert made.table_bytes == alone.table_bytes + detector_network(finder).weight_bytes
    assert made.multiply_accumulates == alone.multiply_accumulates
    assert made.detector_multiply_accumulates == sum(ly.multiply_accumulates for ly in layers)
    assert alone.detector_multiply_accumulates == 0
    readme, without = ((tmp_path / name / "README.md").read_text() for name in ("both", "alone"))
    assert "door_find(&frame, faces, DOOR_FIND_MOST)" in readme
    assert f"Arena: {made.arena_bytes:,} bytes" in readme
    assert "`DOOR_MEMORY_BYTES`" in readme
    assert "find" not in without
    assert "`EDGEEMO_ARENA_BYTES`" in without
