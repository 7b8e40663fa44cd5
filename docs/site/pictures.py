"""Makes the README's pictures: python docs/site/pictures.py

docs/images/portrait.jpg: NASA's portrait of Eileen Collins (public domain, from scikit-image) as
`edgeemo predict --annotate` marks it. docs/images/watch.svg: what `edgeemo watch` wrote to a
terminal for a recording that is made of it, line by line, with the times between the lines: on a
busy machine with `nice -n -20`, so that they are those of edgeemo.
"""

import os
import pty
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import skimage
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "docs" / "images"
PORTRAIT = Path(skimage.__file__).parent / "data" / "astronaut.png"
COMMAND = ("watch", "visit/", "--fps", "10")
COLUMNS = 64
# ANSI's colours, as they are read on the dark ground below.
COLOURS = {"31": "#ff7b72", "32": "#7ee787", "33": "#f2cc60", "34": "#79c0ff", "35": "#d2a8ff"}
PLAIN, GROUND = "#e6edf3", "#0d1117"


def program(*words: str) -> list[str]:
    """The command line of the checkout's edgeemo."""
    return [sys.executable, "-m", "edgeemo", *words]


def environment() -> dict[str, str]:
    """Colours and the width of a terminal, whatever this one is."""
    kept = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    return kept | {"PYTHONPATH": str(ROOT), "COLUMNS": str(COLUMNS), "TERM": "xterm-256color"}


def draw_portrait() -> None:
    """The marked portrait, small enough for a README."""
    with tempfile.TemporaryDirectory() as folder:
        marked = Path(folder, "marked.png")
        subprocess.run(
            program("predict", str(PORTRAIT), "--annotate", str(marked)),
            env=environment(),
            check=True,
        )
        picture = Image.open(marked).convert("RGB").crop((90, 0, 410, 320))
        picture.save(OUT / "portrait.jpg", quality=82, optimize=True)


def record_visit(folder: Path) -> None:
    """Somebody comes, smiles and goes: 4.5 seconds at ten pictures a second."""
    portrait = Image.open(PORTRAIT).convert("RGB").crop((60, 0, 444, 384)).resize((288, 288))
    for number in range(45):
        room = Image.new("RGB", (512, 288), (58, 66, 74))
        left = 512 - 16 * number if number < 25 else 112 - 24 * max(0, number - 30)
        room.paste(portrait, (max(left, -288), 0))
        room.save(folder / f"{number:02}.png")


def seen_lines() -> list[tuple[float, str]]:
    """(seconds, line) for each line that the program put in place of the one before."""
    with tempfile.TemporaryDirectory() as folder:
        (visit := Path(folder, "visit")).mkdir()
        record_visit(visit)
        ours, theirs = pty.openpty()
        done = subprocess.Popen(program(*COMMAND), cwd=folder, env=environment(), stdout=theirs)
        os.close(theirs)
        lines: list[tuple[float, str]] = []
        rest = ""
        while True:
            try:
                chunk = os.read(ours, 65536).decode()
            except OSError:  # the program has closed its end
                break
            *whole, rest = re.split(r"[\r\n]+", rest + chunk)
            lines += [(time.monotonic(), line) for line in whole if line.strip()]
        if rest.strip():
            lines.append((time.monotonic(), rest))
        os.close(ours)
        if done.wait():
            raise SystemExit(f"edgeemo watch ended with {done.returncode}")
    return lines


def spans(line: str) -> str:
    """A terminal's line as SVG text, with its colours."""
    made, colour = [], PLAIN
    for part in re.split(r"(\x1b\[[0-9;?]*[A-Za-z])", line):
        if part.endswith("m") and part.startswith("\x1b"):
            code = part[2:-1].lstrip("0")
            colour = COLOURS.get(code, PLAIN)
        elif part and not part.startswith("\x1b"):
            text = part.replace("&", "&amp;").replace("<", "&lt;")
            made.append(f'<tspan fill="{colour}">{text}</tspan>')
    return "".join(made)


def draw_watch() -> None:
    """The animation: one line of text is shown at a time, for as long as it stood there."""
    lines = seen_lines()
    start = lines[0][0]
    length = lines[-1][0] - start + 1.5  # the last one stays
    parts = []
    for (at, line), (until, _) in zip(lines, [*lines[1:], (start + length, "")], strict=True):
        begin, end = 100 * (at - start) / length, 100 * (until - start) / length
        keys = "" if begin < 0.01 else "0%{visibility:hidden}"
        name = f"k{len(parts)}"
        parts.append(
            f"<style>@keyframes {name}{{{keys}{begin:.2f}%{{visibility:visible}}"
            f"{end:.2f}%,100%{{visibility:hidden}}}}</style>"
            f'<text y="62" visibility="{"hidden" if parts else "visible"}" '
            f'style="animation:{name} {length:.2f}s step-end infinite">{spans(line)}</text>'
        )
    width = COLUMNS * 9 + 24
    (OUT / "watch.svg").write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} 84" width="{width}" '
        'role="img" aria-label="edgeemo watch in a terminal">'
        f'<rect width="{width}" height="84" rx="8" fill="{GROUND}"/>'
        '<g transform="translate(14 0)" font-family="monospace" font-size="14.5" '
        f'style="white-space:pre" fill="{PLAIN}">'
        f'<text y="32">$ edgeemo {" ".join(COMMAND)}</text>\n' + "\n".join(parts) + "\n</g></svg>\n"
    )


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    draw_portrait()
    draw_watch()
