"""One folder is a library for Arduino, PlatformIO, ESP-IDF, Zephyr and CMake, or a .zip of it."""

import json
import re
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeemo.contract.bundle import read_bundle
from edgeemo.errors import StorageError
from edgeemo.models import find_model
from export.cli.main import main
from export.firmware.generate import generate
from tests.export.firmware.firmware_support import program, run
from tests.support import matching_hashes, rezip

# Arduino's core, ESP-IDF's and Zephyr's CMake, as far as a library meets them.
ARDUINO = """
#include <stdint.h>
#include <stdio.h>
static struct {
    operator bool() const { return true; }
    void begin(long) {}
    void print(const char *text) { printf("%s", text); }
    void print(unsigned long) { printf("?"); }
    void println(const char *text) { printf("%s\\n", text); }
    void println(float number) { printf("%.4f\\n", double(number)); }
} Serial;
static unsigned long millis() { return 0; }
static unsigned long micros() { return 0; }
static void delay(unsigned long) {}
"""
PROJECT = """
cmake_minimum_required(VERSION 3.13)
project(app C CXX)
add_subdirectory(edgeemo)

function(zephyr_include_directories)
    include_directories(${ARGN})
    set(includes ${ARGN} PARENT_SCOPE)
endfunction()
macro(zephyr_library_named name)
    add_library(${name} STATIC)
    target_include_directories(${name} PUBLIC ${includes})
    set(current ${name})
endmacro()
function(zephyr_library_sources)
    target_sources(${current} PRIVATE ${ARGN})
endfunction()
function(zephyr_library_sources_ifdef condition)
    if(${condition})
        target_sources(${current} PRIVATE ${ARGN})
    endif()
endfunction()
function(zephyr_library_compile_options)
    target_compile_options(${current} PRIVATE ${ARGN})
endfunction()
set(CONFIG_DOOR y)
set(CONFIG_DOOR_SELFTEST y)
add_subdirectory(door/zephyr)

macro(idf_component_register)
    cmake_parse_arguments(ARG "" "" "SRCS;INCLUDE_DIRS" ${ARGN})
    set(COMPONENT_LIB gate)
    add_library(gate STATIC ${ARG_SRCS})
    target_include_directories(gate PUBLIC ${ARG_INCLUDE_DIRS})
endmacro()
set(ESP_PLATFORM 1)
add_subdirectory(gate)

add_executable(app main.cpp)
target_link_libraries(app PRIVATE edgeemo::edgeemo door gate)
"""
APP = """
#include "Arduino.h"
#include "door_model.h"
#include "edgeemo/examples/SelfTest/SelfTest.ino"
#include "gate_model.h"
int main()
{
    setup();
    loop();
    return door_init() || door_selftest() || gate_init() || gate_selftest();
}
"""
CATEGORIES = {
    "Display", "Communication", "Signal Input/Output", "Sensors", "Device Control", "Timing",
    "Data Storage", "Data Processing", "Other",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three libraries of one model."""
    out = tmp_path_factory.mktemp("libraries")
    for prefix in ("edgeemo", "door", "gate"):
        generate(read_bundle(find_model("nano")), out / prefix, target="library", prefix=prefix)
    return out


@pytest.mark.parametrize("prefix", ["edgeemo", "door"])
def test_the_manifests_are_what_each_system_wants(folder: Path, prefix: str) -> None:
    version, library = read_bundle(find_model("nano")).manifest.version, folder / prefix
    lines = (library / "library.properties").read_text().splitlines()
    fields = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    assert fields["name"] == prefix
    assert fields["version"] == version
    assert fields["category"] in CATEGORIES
    assert fields["architectures"] == "*"
    headers = [f"{prefix}_model.h", f"{prefix}_preprocess.h"]
    assert fields["includes"].split(",") == headers
    assert all((library / "src" / header).is_file() for header in headers)
    assert {"author", "maintainer", "sentence", "paragraph"} <= fields.keys()
    made = json.loads((library / "library.json").read_text())
    assert (made["name"], made["version"], made["license"]) == (prefix, version, "MIT")
    assert made["headers"] == headers
    example = made["examples"][0]
    assert (library / example["base"] / example["files"][0]).is_file()
    component = (library / "idf_component.yml").read_text()
    assert f'\nversion: "{version}"\n' in component
    assert 'license: "MIT"\ndependencies:\n  idf: ">=5.0"\n' in component
    module = (library / "zephyr" / "module.yml").read_text()
    assert f"\nname: {prefix}\nbuild:\n  cmake: zephyr\n  kconfig: zephyr/Kconfig\n" in module
    symbols = re.findall(r"^config (\w+)$", (library / "zephyr" / "Kconfig").read_text(), re.M)
    assert symbols == [prefix.upper(), f"{prefix.upper()}_SELFTEST"]
    for symbol in symbols:
        assert f"CONFIG_{symbol}" in (library / "zephyr" / "CMakeLists.txt").read_text()
    for path in library.rglob("*"):
        if path.is_file():
            assert not re.search(r"@[A-Z]+@", path.read_text()), path


def test_cmake_builds_it_alone_installs_it_and_finds_it(folder: Path, tmp_path: Path) -> None:
    cmake, build, there = program("cmake"), tmp_path / "build", tmp_path / "there"
    run(cmake, "-S", folder / "door", "-B", build, "-DCMAKE_BUILD_TYPE=Debug")
    run(cmake, "--build", build)
    assert run(build / "selftest") == "self-test: 4 patterns answered as promised\n"
    run(cmake, "--install", build, "--prefix", there)
    app = tmp_path / "app"
    app.mkdir()
    (app / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.13)\nproject(app C)\nfind_package(door REQUIRED)\n"
        "add_executable(app main.c)\ntarget_link_libraries(app PRIVATE door::door)\n"
    )
    (app / "main.c").write_text(
        '#include "door_model.h"\nint main(void)\n{\n    return door_init();\n}\n'
    )
    run(cmake, "-S", app, "-B", app / "build", f"-DCMAKE_PREFIX_PATH={there}")
    run(cmake, "--build", app / "build")
    run(app / "build" / "app")


@pytest.mark.slow
def test_a_program_of_three_build_systems_answers_as_promised(folder: Path) -> None:
    (folder / "CMakeLists.txt").write_text(PROJECT)
    (folder / "main.cpp").write_text(APP)
    (folder / "Arduino.h").write_text(ARDUINO)
    run(program("cmake"), "-S", folder, "-B", folder / "build")
    run("cmake", "--build", folder / "build")
    said = run(folder / "build" / "app").splitlines()
    assert said[0] == "self-test passed; a picture takes ? microseconds"
    scores = {line.split()[0]: float(line.split()[1]) for line in said[1:]}
    assert list(scores) == list(read_bundle(find_model("nano")).labels)
    assert abs(sum(scores.values()) - 1) < 1e-3


def test_a_zip_holds_the_folder_and_is_the_same_each_time(folder: Path, tmp_path: Path) -> None:
    made = []
    for name in ("a.zip", "b.zip"):
        words = ["firmware", "nano", "--target", "library", "--out", str(tmp_path / name)]
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 0, done.output
        assert f"wrote {tmp_path / name} for library" in done.output
        made.append((tmp_path / name).read_bytes())
    assert made[0] == made[1]
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        names = archive.namelist()
        assert {name.split("/")[0] for name in names} == {"edgeemo"}
        for path in (folder / "edgeemo").rglob("*"):
            if path.is_file() and not path.name.startswith("."):
                name = str(path.relative_to(folder))
                assert archive.read(name) == path.read_bytes()
                names.remove(name)
        assert names == []


def test_a_zip_over_the_bundle_or_in_no_folder_is_refused(tmp_path: Path) -> None:
    bundle = tmp_path / "nano.zip"
    bundle.write_bytes(find_model("nano").read_bytes())
    for out in (bundle, tmp_path / "nowhere" / "a.zip"):
        words = ["firmware", str(bundle), "--target", "library", "--out", str(out)]
        done = CliRunner().invoke(main, words)
        assert done.exit_code != 0
    assert bundle.read_bytes() == find_model("nano").read_bytes()
    with pytest.raises(StorageError):
        generate(read_bundle(find_model("nano")), tmp_path / "nowhere" / "a.zip")


def test_a_licence_that_is_no_identifier_stays_out_of_the_manifests(tmp_path: Path) -> None:
    def licensed(entries: dict[str, bytes]) -> None:
        manifest = json.loads(entries["manifest.json"])
        manifest["licence"] = "ask me"
        matching_hashes(entries, manifest)

    bundle = read_bundle(rezip(find_model("nano"), tmp_path / "mine.edgeemo", licensed))
    generate(bundle, tmp_path / "c", target="library")
    assert "license" not in json.loads((tmp_path / "c" / "library.json").read_text())
    assert "license" not in (tmp_path / "c" / "idf_component.yml").read_text()
    model = (tmp_path / "c" / "src" / "edgeemo_model.c").read_text()
    assert model.startswith(
        "/* SPDX-License-Identifier: MIT AND LicenseRef-model */\n"
        "/* The weights' licence: ask me */\n"
    )
