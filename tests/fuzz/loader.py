"""The C loader of flash images under libFuzzer and sanitizers: a program that clang makes."""

import shutil
import subprocess
from pathlib import Path

from tests.export.firmware.image_support import SANITIZED, SHORT, Loader, build_driver

SUMMARY = "edgeemo_image.c and the kernels: a flash image, in C, with clang's libFuzzer"
_SEEDS = 24
WAY_OUT = (
    "needs clang and its libFuzzer, which are not installed; ./scripts/system-packages installs "
    "them where there are root and apt"
)


def can_build() -> bool:
    """Whether clang and its libFuzzer are there."""
    clang = shutil.which("clang")
    if clang is None:
        return False
    words = [clang, "--print-file-name=libclang_rt.fuzzer-x86_64.a"]
    said = subprocess.run(words, capture_output=True, text=True).stdout.strip()
    return Path(said).is_file() or "fuzzer" in "".join(
        path.name for path in Path(said).parent.glob("**/libclang_rt.fuzzer*")
    )


def build(folder: Path) -> Path:
    """The program, and beside it the folder `corpus` of images drawn by the driver."""
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    loader = Loader(folder / "loader")
    for seed in range(_SEEDS):
        (corpus / f"seed-{seed:02}").write_bytes(loader.drawn(seed))
    flags = ("-DDRIVER_LIBFUZZER", *SANITIZED, "-fsanitize=fuzzer", SHORT)
    return build_driver(folder / "program", *flags, compiler="clang")


def words(program: Path, seconds: int, folder: Path) -> list[str]:
    """The program's command line."""
    return [
        *(str(program), str(folder / "corpus"), f"-max_total_time={seconds}", "-max_len=65536"),
        *("-timeout=20", "-verbosity=0", "-print_final_stats=1"),
        f"-artifact_prefix={folder}/ended-",
    ]
