"""What generated C is built with: which files stand beside the network's, one `Target` a row."""

from dataclasses import dataclass
from pathlib import Path

C = Path(__file__).parent / "c"
"""The hand-written C and the templates."""


@dataclass(frozen=True)
class Target:
    """A kind of build."""

    summary: str
    """What it is built with, in a few words."""
    build: str
    """The command that builds it, for the README, with a remark behind it."""
    files: tuple[tuple[str, str], ...]
    """What is written beside the network, as (name, file in `folder`). In a file that ends in .in
    the @WORDS@ of `pages.manifest_words` stand for the bundle's."""
    sources: str = ""
    """The folder for C and headers within the one that is written; the same without a name."""
    folder: Path = C
    """Where the files lie."""
    readme: str = ""
    """Rows of the README's table of files for those of this target alone."""


C99 = Target(
    summary="any compiler; its Makefile builds and runs the self-test on this machine",
    build="make check                 # builds for this machine and runs the self-test",
    files=(("Makefile", "Makefile.c99"), ("selftest.c", "selftest.c")),
)
CORTEX_M = Target(
    summary="arm-none-eabi-gcc",
    build="make CPU=cortex-m4         # libedgeemo.a for arm-none-eabi-gcc, and its size",
    files=(("Makefile", "Makefile.cortex-m"),),
)
ESP32 = Target(
    summary="an ESP-IDF component, with the loader of models in a flash partition",
    build="cp -r . PROJECT/components/edgeemo   # then: idf.py build",
    files=(
        ("CMakeLists.txt", "CMakeLists.txt"),
        ("edgeemo_image.c", "edgeemo_image.c"),
        ("edgeemo_image.h", "edgeemo_image.h"),
        ("idf_component.yml", "library/idf_component.yml.in"),
    ),
    readme="| `edgeemo_image.c/.h` | checks and runs a model of a flash partition (model.bin) |\n",
)
LIBRARY = Target(
    summary="a library for Arduino, PlatformIO, ESP-IDF, Zephyr and CMake in one folder (or .zip)",
    build="cmake -B build && cmake --build build && (cd build && ctest)   # the self-test, here",
    files=(
        ("CMakeLists.txt", "library/CMakeLists.txt.in"),
        ("idf_component.yml", "library/idf_component.yml.in"),
        ("library.json", "library/library.json.in"),
        ("library.properties", "library/library.properties.in"),
        ("examples/SelfTest/SelfTest.ino", "library/SelfTest.ino"),
        ("extras/selftest.c", "selftest.c"),
        ("zephyr/module.yml", "library/module.yml.in"),
        ("zephyr/CMakeLists.txt", "library/CMakeLists.zephyr.in"),
        ("zephyr/Kconfig", "library/Kconfig.in"),
        ("LICENSE", "../../../LICENSE"),
    ),
    sources="src",
    readme=(
        "| `library.properties`, `examples/` | Arduino: a .zip for *Add .ZIP Library* |\n"
        "| `library.json` | PlatformIO: into a project's `lib/` |\n"
        "| `CMakeLists.txt`, `idf_component.yml` | CMake; ESP-IDF: into `components/` |\n"
        "| `zephyr/` | Zephyr: `west build -- -DZEPHYR_EXTRA_MODULES=...`, `CONFIG_EDGEEMO=y` |\n"
    ),
)
