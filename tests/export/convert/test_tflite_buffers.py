"""What export changes in an int8 .tflite, it finds behind the flatbuffer too, where the quantizer
puts the constants of large networks.
"""

import numpy as np

from edgeemo.backends.litert import open_interpreter
from export.convert.tflite import packed, unpacked
from tests.edgeemo.backends.test_litert_buffers import with_kernels_behind


def test_constants_behind_the_flatbuffer_are_among_the_buffers_and_written_inside() -> None:
    file, moved = with_kernels_behind()
    model = unpacked(file)
    for number, data in moved.items():
        assert bytes(model.buffers[number].data) == data
    written = packed(model, len(file))
    inside = unpacked(written)
    for number, data in moved.items():
        assert bytes(np.asarray(inside.buffers[number].data, np.uint8)) == data
    answers = []
    for tflite in (file, written):
        interpreter = open_interpreter(tflite, "nano", kernels="plain")
        source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
        pixels = np.random.default_rng(0).integers(-128, 128, source["shape"], dtype=np.int8)
        interpreter.set_tensor(source["index"], pixels)
        interpreter.invoke()
        answers.append(interpreter.get_tensor(target["index"]).tolist())
    assert answers[0] == answers[1]
