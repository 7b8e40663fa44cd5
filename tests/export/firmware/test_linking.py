"""Generated C in other people's programs: from C++, twice in one program, with tables and arenas
where the board wants them, and with licences that tools can read."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgeemo.contract.bundle import Bundle, read_bundle
from edgeemo.errors import InvalidInput
from edgeemo.firmware.network import bundle_network, integer_artifact
from edgeemo.models import find_model
from export.firmware.generate import generate
from export.firmware.licence import expression
from export.firmware.names import Prefix
from export.firmware.settings import settings_header
from tests.export.firmware.firmware_support import STRICT, C, Reference, program, run
from tests.support import REPOSITORY, drawn_faces

CPP = ("-std=c++11", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")
FROM_CPP = """
#include "edgeemo_image.h"
#include "edgeemo_model.h"
#include "edgeemo_preprocess.h"
#include <cstdio>
int main()
{
    static uint8_t grey[48 * 48], pixels[EDGEEMO_INPUT_BYTES];
    const char *const labels[EDGEEMO_LABEL_COUNT] = EDGEEMO_LABELS;
    const edgeemo_crop whole = EDGEEMO_CROP_WHOLE;
    const edgeemo_frame frame = {grey, 48, 48, 48, EDGEEMO_GREY8};
    const edgeemo_box box = {0, 0, 48, 48};
    int8_t logits[EDGEEMO_LABEL_COUNT];
    uint16_t scores[EDGEEMO_LABEL_COUNT];
    if (edgeemo_init() || edgeemo_selftest() ||
        edgeemo_face_to_input(&frame, &box, &whole, pixels)) {
        return 1;
    }
    edgeemo_infer(pixels, logits);
    edgeemo_softmax_q15(logits, scores);
    std::printf("%s %s", labels[EDGEEMO_LABEL_HAPPY], edgeemo_image_text(EDGEEMO_IMAGE_ABSENT));
    return 0;
}
"""
# Two models at once, each in a thread of its own over and over, and the first also in a third
# thread with an arena of its caller's. The faces' logits come out as one file each.
TWO = """
#include "door_model.h"
#include "kiosk_model.h"
#include <pthread.h>
#include <stdio.h>
enum { FACES = 12, TURNS = 5 };
static uint8_t pixels[FACES][DOOR_INPUT_BYTES];
static int8_t of_door[FACES][DOOR_LABEL_COUNT], of_kiosk[FACES][KIOSK_LABEL_COUNT],
    of_other[FACES][DOOR_LABEL_COUNT];
static int32_t arena[DOOR_ARENA_BYTES / 4 + 1];
static void *door(void *unused)
{
    for (int i = 0; i < FACES * TURNS; ++i) {
        door_infer(pixels[i % FACES], of_door[i % FACES]);
    }
    return unused;
}
static void *kiosk(void *unused)
{
    for (int i = 0; i < FACES * TURNS; ++i) {
        kiosk_infer(pixels[i % FACES], of_kiosk[i % FACES]);
    }
    return unused;
}
static void *other(void *unused)
{
    for (int i = 0; i < FACES * TURNS; ++i) {
        const int face = FACES - 1 - i % FACES;
        door_run(&door_builtin_network, (int8_t *)arena, pixels[face], of_other[face]);
    }
    return unused;
}
int main(void)
{
    pthread_t threads[3];
    if (door_init() || kiosk_init() || door_selftest() || kiosk_selftest() ||
        fread(pixels, sizeof pixels, 1, stdin) != 1) {
        return 1;
    }
    pthread_create(&threads[0], NULL, door, NULL);
    pthread_create(&threads[1], NULL, kiosk, NULL);
    pthread_create(&threads[2], NULL, other, NULL);
    for (int i = 0; i < 3; ++i) {
        pthread_join(threads[i], NULL);
    }
    fwrite(of_door, sizeof of_door, 1, stdout);
    fwrite(of_other, sizeof of_other, 1, stdout);
    fwrite(of_kiosk, sizeof of_kiosk, 1, stdout);
    return 0;
}
"""


def logits_of(bundle: Bundle, faces: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> bytes:
    reference = Reference(bundle.files[integer_artifact(bundle).file])
    return b"".join(reference.logits(face).tobytes() for face in faces)


def test_every_header_is_clean_cpp_and_links_from_it(tmp_path: Path) -> None:
    out = tmp_path / "c"
    generate(read_bundle(find_model("nano")), out, target="esp32")
    (tmp_path / "main.cpp").write_text(FROM_CPP)
    for header in out.glob("edgeemo_*.h"):
        if header.name not in ("edgeemo_avx2.h", "edgeemo_mve.h"):  # of the kernels alone
            assert 'extern "C" {' in header.read_text()
    main, done = tmp_path / "main.cpp", tmp_path / "main"
    objects = []
    for source in out.glob("*.c"):
        objects.append(source.with_suffix(".o"))
        run("gcc", "-O0", *STRICT, "-c", source, "-o", objects[-1])
    run(program("g++"), *CPP, f"-I{out}", "-o", done, main, *objects)
    assert run(done) == "happy no model here"


def test_two_models_of_a_program_answer_at_once_as_each_alone(tmp_path: Path) -> None:
    shipped = {"door": "nano", "kiosk": "nano-fer2013"}
    bundles = {prefix: read_bundle(find_model(name)) for prefix, name in shipped.items()}
    libraries: list[Path] = []
    for prefix, bundle in bundles.items():
        made = generate(bundle, tmp_path / prefix, prefix=prefix)
        assert made.prefix == prefix
        assert f"{prefix}_model_settings.h" in made.files
        library = tmp_path / prefix / f"lib{prefix}.a"
        run("make", "-C", library.parent, library.name, "CFLAGS=-O0")
        names = run("nm", "-g", "--defined-only", "--format=just-symbols", library).split("\n")
        symbols = [name for name in names if name and not name.endswith(":")]
        assert len(symbols) > 25
        assert [name for name in symbols if not name.startswith(f"{prefix}_")] == []
        libraries.append(library)
    (tmp_path / "main.c").write_text(TWO)
    words = ("gcc", "-O1", "-pthread", f"-I{tmp_path}/door", f"-I{tmp_path}/kiosk")
    run(*words, "-o", tmp_path / "main", tmp_path / "main.c", *libraries)
    faces = drawn_faces(10)
    done = subprocess.run([tmp_path / "main"], input=faces.tobytes(), capture_output=True)
    door, kiosk = (logits_of(bundle, faces) for bundle in bundles.values())
    assert done.stdout == door + door + kiosk
    assert door != kiosk


@pytest.mark.parametrize("target", ["c99", "cortex-m", "esp32"])
def test_another_prefix_is_in_every_file_and_the_usual_one_in_none(
    target: str, tmp_path: Path
) -> None:
    bundle = read_bundle(find_model("nano"))
    usual = generate(bundle, tmp_path / "a", target=target)
    other = generate(bundle, tmp_path / "b", target=target, prefix="front_door2")
    assert len(usual.files) == len(other.files)
    for name in other.files:
        text = (tmp_path / "b" / name).read_text()
        assert not re.search(r"\bedgeemo_|EDGEEMO_|libedgeemo", text), name
        assert not name.startswith(("edgeemo", "model_settings"))
    for name in ("edgeemo_kernels.c", "edgeemo_preprocess.h"):
        assert (tmp_path / "a" / name).read_bytes() == (C / name).read_bytes()


def test_a_bundles_own_words_are_not_renamed() -> None:
    bundle = read_bundle(find_model("nano"))
    manifest = bundle.manifest
    object.__setattr__(manifest, "labels", ("edgeemo_happy", "EDGEEMO_SAD", *manifest.labels[2:]))
    text = settings_header(manifest, "0", bundle_network(bundle).logits, 4, Prefix("door"))
    assert '"edgeemo_happy", \\\n    "EDGEEMO_SAD", \\\n' in text
    assert "#define DOOR_LABEL_EDGEEMO_HAPPY 0\n" in text


@pytest.mark.parametrize("word", ["", "Door", "2nd", "_a", "a_", "a__b", "a-b", "é", "a" * 25])
def test_a_prefix_that_c_cannot_have_is_refused(word: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="expected a prefix of a-z, 0-9 and _"):
        generate(read_bundle(find_model("nano")), tmp_path / "c", prefix=word)
    assert not (tmp_path / "c").exists()


def sections(folder: Path, *flags: str) -> dict[str, int]:
    """Bytes of each section of edgeemo_model.c and edgeemo_vectors.c."""
    sizes: dict[str, int] = {}
    for name in ("edgeemo_model", "edgeemo_vectors"):
        made = folder / f"{name}.o"
        run("gcc", "-O1", *STRICT, *flags, "-c", "-o", made, folder / f"{name}.c")
        for section, size in re.findall(r"^(\.\S+) +(\d+) ", run("size", "-A", made), re.M):
            sizes[section] = sizes.get(section, 0) + int(size)
    return sizes


def test_tables_and_arena_lie_where_the_board_wants_them(tmp_path: Path) -> None:
    made = generate(read_bundle(find_model("nano")), tmp_path)
    usual = sections(tmp_path)
    assert usual[".bss"] == made.arena_bytes
    assert not {".psram", ".dtcm"} & set(usual)
    (tmp_path / "places.h").write_text(
        '#define EDGEEMO_TABLE_PLACE __attribute__((section(".psram")))\n'
    )
    arena = '-DEDGEEMO_ARENA_PLACE=__attribute__((section(".dtcm")))'
    placed = sections(tmp_path, '-DEDGEEMO_PLACES="places.h"', arena)
    assert placed[".bss"] == 0
    assert placed[".dtcm"] == made.arena_bytes
    # The patterns of the self-test lie there too.
    patterns = 4 * (48 * 48 + 7)
    assert 0 <= placed[".psram"] - made.table_bytes - 512 - patterns < 4 * 60
    assert placed.get(".rodata", 0) <= usual[".rodata"] - placed[".psram"] + 4 * 60


def test_every_file_of_c_says_its_licence(tmp_path: Path) -> None:
    line = re.compile(r"(/\*|#|//) SPDX-License-Identifier: MIT( \*/)?")
    for target in ("c99", "cortex-m", "esp32"):
        made = generate(read_bundle(find_model("nano")), tmp_path / target, target=target)
        for name in made.files:
            if not name.endswith((".md", ".json")):
                first = (tmp_path / target / name).read_text().split("\n")[0]
                assert line.fullmatch(first), (name, first)
    examples = REPOSITORY / "firmware_examples"
    shipped = [path for kind in ("*.[ch]", "*.ld") for path in examples.rglob(kind)]
    assert len(shipped) > 10
    for path in shipped:
        assert line.fullmatch(path.read_text().split("\n")[0]), path
    model = (tmp_path / "c99" / "edgeemo_model.c").read_text()
    assert "\n/* The weights' licence: MIT; trained on FER-2013 (DbCL)_ pictures from" in model


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("MIT", "MIT"),
        ("MIT; trained on FER-2013 (DbCL), pictures from the web", "MIT"),
        ("CC-BY-NC-4.0", "MIT AND CC-BY-NC-4.0"),
        ("Apache-2.0; mine", "MIT AND Apache-2.0"),
        ("proprietary", "MIT AND LicenseRef-model"),
        ("licence not stated; trained on mine */", "MIT AND LicenseRef-model"),
    ],
)
def test_the_licence_of_the_weights_is_the_bundles(licence: str, expected: str) -> None:
    assert expression(licence) == expected
