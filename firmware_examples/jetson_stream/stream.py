"""Who looks how: a JSON line a frame and face on stdout; the runtime and the health on stderr."""

import argparse
import json
import logging
import os
import signal
import sys

import edgeemo
from edgeemo.faces import DETECTORS, SMALLEST_FACE, open_detector


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "camera", nargs="?", default="csi", help="csi, csi:1, 0, rtsp://…, gst:PIPELINE or a file"
    )
    parser.add_argument(
        "--model", default="small", help="a shipped model's name or a .edgeemo file"
    )
    parser.add_argument("--detector", default="auto", choices=tuple(DETECTORS))
    parser.add_argument("--faces", default="all", choices=["all", "largest"])
    parser.add_argument("--artifact", help="a model file of the bundle, such as fp16.onnx")
    parser.add_argument(
        "--providers",
        nargs="+",
        default=["auto"],
        metavar="NAME",
        help="ONNX Runtime's, best first",
    )
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="stream: %(message)s")
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda *_: sys.exit(0))
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # our own line says what is wrong
    logging.info("edgeemo %s", edgeemo.__version__)
    providers = "auto" if given.providers == ["auto"] else given.providers
    try:
        detector = open_detector(given.detector, smallest_face=SMALLEST_FACE)
        with (
            edgeemo.Recognizer(
                given.model, detector=detector, artifact=given.artifact, providers=providers
            ) as recognizer,
            edgeemo.EmotionSensor(given.camera, recognizer=recognizer, faces=given.faces) as sensor,
        ):
            for reading in sensor:
                print(json.dumps(reading.to_dict()), flush=True)
    except edgeemo.EdgeemoError as error:
        sys.exit(f"stream: {error}")
    except BrokenPipeError:  # the reader has gone (`| head`), and nothing is wrong
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
