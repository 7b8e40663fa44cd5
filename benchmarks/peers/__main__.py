"""Other packages for the same job beside edgeemo: size, install, import, first result, time,
memory, accuracy.

python -m benchmarks.peers prepared/ ../shared/peers/mini_xception_fp32.tflite --work /tmp/peers
python -m benchmarks.peers prepared/ MINI_XCEPTION.tflite --only edgeemo,deepface

Each peer is installed by pip from the package index into an environment of its own, which stays
under --work for the next run, and measured there by probe.py. Nothing else is fetched: a peer that
downloads its weights at first use is said to, and is measured where they lie in its own cache.
Times of the processor stand beside those of the clock, because a busy machine changes only the
latter. Accuracy is of PublicTest's cropped faces against FER-2013's labels.
"""

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.peers.stand_in import write_deepface
from edgeemo.cli.shell import say
from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.labels import LABELS
from edgeemo.data.prepared import load_prepared

ROOT = Path(__file__).parents[2]
PROBE = Path(__file__).with_name("probe.py")


@dataclass(frozen=True)
class Peer:
    """One row of the table."""

    name: str
    """As probe.py knows it."""
    requirements: tuple[str, ...]
    """What pip is asked for."""
    title: str
    """As the table has it."""
    heavy: bool = False
    """Whether it is left out unless named: gigabytes of CUDA."""
    forced: tuple[str, ...] = ()
    """What must be asked for beside it, or it cannot be imported today (docs/help/others.md)."""
    model: str = ""
    """Which of the given model files it needs: "mini_xception" or "yunet"."""


_OPENCV = "opencv-python-headless<5"
_CONTRIB = "opencv-contrib-python-headless<5"
PEERS = (
    Peer("edgeemo", (f"{ROOT}[pi]",), "edgeemo, `small`"),
    Peer(
        "mini_xception",
        ("ai-edge-litert", _OPENCV),
        "face_classification's network, Haar",
        model="mini_xception",
    ),
    # From 0.0.103 on it imports werkzeug without asking for it; OpenCV 5 has no cascade files.
    Peer("deepface", ("deepface",), "DeepFace, drawn weights", forced=("werkzeug", _CONTRIB)),
    Peer("emotiefflib", ("emotiefflib",), "EmotiEffLib (ONNX)"),
    Peer("hsemotion_onnx", ("hsemotion-onnx",), "hsemotion-onnx"),
    # The last line whose wheels hold a model of faces; from 0.10.30 on it is a download.
    Peer("mediapipe", ("mediapipe<0.10.30",), "mediapipe, faces alone"),
    Peer("opencv_haar", (_OPENCV,), "OpenCV's Haar, faces alone"),
    Peer("opencv_yunet", (_OPENCV,), "OpenCV's YuNet, faces alone", model="yunet"),
    # facenet-pytorch and moviepy 1 ask for what newer setuptools and OpenCV no longer have.
    Peer("fer", ("fer",), "fer", heavy=True, forced=("setuptools<81", "opencv-contrib-python<5")),
)


def clean_environment() -> dict[str, str]:
    """This process's, without what would let a peer see this repository."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return kept | {"PYTHONDONTWRITEBYTECODE": ""}


def size_of(folder: Path) -> int:
    """Bytes of all files below."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def version_of(peer: Peer, frozen: str) -> str:
    """The version of the package that the peer is named after, of pip's list; empty where it is
    none of its own.
    """
    found = re.search(rf"^{peer.name.replace('_', '-')}==(\S+)$", frozen, re.MULTILINE)
    return found[1] if found else ""


def install(peer: Peer, work: Path, limit: float) -> dict[str, Any]:
    """Make the peer's environment, or find it made: seconds, megabytes, versions."""
    folder, said = work / peer.name, work / f"{peer.name}.install.json"
    if said.is_file():
        return dict(json.loads(said.read_text()))
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    empty, start = size_of(folder), time.perf_counter()
    pip = [str(folder / "bin" / "python"), "-m", "pip"]
    done = subprocess.run(
        [*pip, "install", "--quiet", "--no-compile", *peer.requirements, *peer.forced],
        capture_output=True,
        text=True,
        timeout=limit,
        env=clean_environment(),
    )
    if done.returncode:
        return {"error": " ".join(done.stderr.split())[-300:]}
    frozen = subprocess.run([*pip, "freeze"], capture_output=True, text=True, check=True).stdout
    result = {
        "install_s": time.perf_counter() - start,
        "install_mb": (size_of(folder) - empty) / 1e6,
        "packages": len(frozen.splitlines()),
        "versions": frozen.splitlines(),
        "version": version_of(peer, frozen),
    }
    said.write_text(json.dumps(result))
    return result


def probe(peer: Peer, work: Path, picture: Path, models: dict[str, Path]) -> dict[str, Any]:
    """What probe.py says, in the peer's environment."""
    out = work / f"{peer.name}.json"
    model = {"PEER_MODEL": str(models[peer.model])} if peer.model else {}
    subprocess.run(
        [
            *(str(work / peer.name / "bin" / "python"), str(PROBE), peer.name),
            *(str(picture), str(work / "faces.npz"), str(out)),
        ],
        cwd=work,
        env=clean_environment() | model | {"DEEPFACE_HOME": str(work / "deepface-home")},
        capture_output=True,
        timeout=900,
        check=True,
    )
    return dict(json.loads(out.read_text()))


def row(peer: Peer, result: dict[str, Any]) -> str:
    """A line of the Markdown table."""

    def cell(key: str, form: str) -> str:
        return format(result[key], form) if key in result else ""

    accuracy = f"{100 * result['accuracy']:.1f} %" if "accuracy" in result else ""
    cells = [
        f"{peer.title} {result.get('version', '')}".strip(),
        *(cell("packages", "d"), cell("install_mb", ".0f"), cell("install_s", ".0f")),
        *(cell("import_cpu_s", ".2f"), cell("first_cpu_s", ".2f")),
        *(cell("cpu_ms", ".1f"), cell("wall_ms", ".1f"), cell("memory_mb", ".0f"), accuracy),
        result.get("error", ", ".join(result.get("answer", []))),
    ]
    return f"| {' | '.join(cells)} |"


HEAD = (
    "| | packages | MB | install s | import CPU s | first CPU s | CPU ms | wall ms | memory MB |"
    " PublicTest | answer |"
)


def write_faces(data: Path, out: Path) -> None:
    """PublicTest's faces as probe.py reads them."""
    prepared = load_prepared(data, DEFAULT_SPEC, LABELS)
    rows = prepared.indices("test")
    words = np.array([LABELS[i] for i in prepared.labels[rows]])
    np.savez(out, images=np.asarray(prepared.images[rows])[..., 0], labels=words)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("data", type=click.Path(path_type=Path))
@click.argument("mini_xception", type=click.Path(path_type=Path))
@click.option("--yunet", type=click.Path(path_type=Path), help="YuNet's ONNX file.")
@click.option("--picture", type=click.Path(path_type=Path), help="By default the astronaut's.")
@click.option("--only", default="", help="Names with commas between; also the heavy ones.")
@click.option("--work", type=click.Path(path_type=Path), default=Path("build/peers"))
@click.option("--limit", default=600.0, show_default=True, help="Seconds of one installation.")
def main(
    data: Path,
    mini_xception: Path,
    yunet: Path | None,
    picture: Path | None,
    only: str,
    work: Path,
    limit: float,
) -> None:
    """Install and measure the peers; the table is printed row by row."""
    if picture is None:
        import skimage

        picture = Path(skimage.__file__).parent / "data" / "astronaut.png"
    work.mkdir(parents=True, exist_ok=True)
    work = work.resolve()
    models = {"mini_xception": mini_xception.resolve()}
    if yunet is not None:
        models["yunet"] = yunet.resolve()
    write_faces(data, work / "faces.npz")
    write_deepface(work / "deepface-home")
    say(HEAD, f"|{'---|' * HEAD[:-1].count('|')}")
    for peer in PEERS:
        wanted = peer.name in only.split(",") if only else not peer.heavy
        if not wanted or (peer.model and peer.model not in models):
            continue
        try:
            result = install(peer, work, limit)
            if "error" not in result:
                result |= probe(peer, work, picture.resolve(), models)
        except subprocess.SubprocessError as error:
            result = {"error": " ".join(str(error).split())[:200]}
        say(row(peer, result))


if __name__ == "__main__":
    main()
