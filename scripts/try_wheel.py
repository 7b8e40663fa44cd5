"""Tries the installed package as somebody would: python try_wheel.py PICTURE

Run by the Python of an environment that holds the wheel, from an empty folder: each verb's help in
80 columns, a portrait named, a folder of pictures watched, what `doctor` and `models` say.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

import edgeemo

PROGRAM = Path(sys.executable).with_name("edgeemo")


def done(*words: str) -> str:
    """What the program prints; ends this one where it fails."""
    run = subprocess.run([str(PROGRAM), *words], capture_output=True, text=True, timeout=300)
    if run.returncode:
        raise SystemExit(
            f"edgeemo {' '.join(words)}: exit code {run.returncode}\n{run.stdout}{run.stderr}"
        )
    return run.stdout


def check_help() -> int:
    """How many verbs there are; each one's help has to fit a terminal."""
    listed = done("--help").split("Commands:\n")[1]
    verbs = [line.split()[0] for line in listed.splitlines() if line[2:3].isalpha()]
    for words in ([], *([verb] for verb in verbs)):
        wide = [line for line in done(*words, "--help").splitlines() if len(line) > 80]
        assert not wide, (words, wide)
    return len(verbs)


def main(picture: Path) -> None:
    """Raise where something is not as it should be."""
    verbs = check_help()
    (face,) = edgeemo.predict(picture)
    assert face.emotion == "happy", face
    (line,) = done("predict", str(picture), "--json").splitlines()
    assert json.loads(line)["faces"][0]["emotion"] == "happy", line
    pictures = Path("pictures")
    pictures.mkdir(exist_ok=True)
    for name in ("1.jpg", "2.jpg"):
        shutil.copy(picture, pictures / name)
    said = [json.loads(line) for line in done("watch", str(pictures), "--json").splitlines()]
    assert [reading["emotion"] for reading in said] == ["happy", "happy"], said
    assert "self-test" in done("doctor", "--time-limit", "120")  # a busy machine is no fault
    assert "nano" in done("models")
    python = ".".join(map(str, sys.version_info[:3]))
    sys.stdout.write(
        f"edgeemo {edgeemo.__version__} on Python {python}, NumPy {np.__version__}: predict,"
        f" watch, doctor, models and the help of {verbs} verbs\n"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
