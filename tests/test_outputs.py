"""No command replaces what it reads, by whatever name; and none invents folders."""

import os
import shutil
from pathlib import Path

import pytest

from edgeemo.cli.main import main as edgeemo
from edgeemo.contract.checked.outputs import check_apart, check_output
from edgeemo.errors import InvalidInput, StorageError
from export.cli.main import main as export
from tests import support
from training.__main__ import main as training


def refused(
    group: object, *words: object, says: str = "expected another path than the input"
) -> None:
    done = support.done_here(group, "it", *words)  # type: ignore[arg-type]
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert says in done.stderr


def bytes_of(*folders: Path) -> dict[Path, bytes]:
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    return {file: file.read_bytes() for file in files}


@pytest.mark.parametrize(
    "kind", ["itself", "hard link", "symbolic link", "through a folder's link"]
)
def test_an_output_that_is_an_input_by_any_name_is_refused(kind: str, tmp_path: Path) -> None:
    source, out = tmp_path / "in.png", tmp_path / "out.png"
    source.write_bytes(b"mine")
    if kind == "itself":
        out = Path(os.path.relpath(source))
    elif kind == "hard link":
        out.hardlink_to(source)
    elif kind == "symbolic link":
        out.symlink_to(source)
    else:
        (tmp_path / "link").symlink_to(tmp_path)
        out = tmp_path / "link" / "in.png"
    for given in (source, tmp_path):
        with pytest.raises(InvalidInput, match="than the input"):
            check_output(out, (None, "no such file", given))
    check_output(tmp_path / "new.png", (source, tmp_path))


def test_a_folder_may_hold_an_input_and_may_not_be_one(tmp_path: Path) -> None:
    (tmp_path / "in.zip").touch()
    check_apart(tmp_path, (tmp_path / "in.zip",))
    with pytest.raises(InvalidInput, match="than the input"):
        check_apart(tmp_path / "." / ".." / tmp_path.name, (tmp_path,))


def test_results_beside_the_pictures_of_a_folder_are_no_input(tmp_path: Path) -> None:
    (tmp_path / "result.json").touch()
    check_output(tmp_path / "result.json", (tmp_path,))


def test_a_parent_that_is_not_there_is_named_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=f"there is no folder {tmp_path / 'a'}"):
        check_output(tmp_path / "a" / "b" / "out.json")


def test_no_verb_of_edgeemo_replaces_its_input(tiny_bundle: Path, tmp_path: Path) -> None:
    picture, faces = tmp_path / "face.png", tmp_path / "faces"
    picture.write_bytes(support.png_of(64, 64))
    (faces / "happy").mkdir(parents=True)
    shutil.copy(picture, faces / "happy" / "1.png")
    bundle = tmp_path / "tiny.edgeemo"
    shutil.copy(tiny_bundle, bundle)
    before = bytes_of(tmp_path)
    whole = ("--detector", "whole", "--model", bundle)
    refused(edgeemo, "predict", picture, *whole, "--annotate", picture)
    refused(edgeemo, "evaluate", bundle, faces, "--json", bundle)
    refused(edgeemo, "evaluate", bundle, faces, "--json", faces / "happy" / "1.png")
    refused(edgeemo, "watch", picture, *whole, "--record", picture)
    refused(edgeemo, "watch", faces / "happy", *whole, "--record", faces / "happy" / "1.png")
    refused(edgeemo, "watch", picture, *whole, "--record", bundle)
    refused(edgeemo, "flash", bundle, "--port", picture, says="expected a serial port")
    assert bytes_of(tmp_path) == before


def test_no_verb_of_export_replaces_its_input(
    tiny_bundle: Path, tiny_run: Path, prepared: Path, tmp_path: Path
) -> None:
    bundle = tmp_path / "tiny.edgeemo"
    shutil.copy(tiny_bundle, bundle)
    linked = tmp_path / "linked.edgeemo"
    linked.hardlink_to(tiny_run / "model.keras")
    before = bytes_of(tmp_path, tiny_run, prepared)
    refused(export, "build", tiny_run, "--data", prepared, "--out", linked)
    for plot in (tiny_run / "model.keras", prepared / "images.npy"):
        refused(export, "inspect", tiny_run, "--data", prepared, "--plot", plot)
    refused(export, "flash-image", bundle, "--out", bundle)
    refused(export, "firmware", bundle, "--out", bundle, says="received a file")
    refused(export, "tensorrt", bundle, "--out", bundle, says="received a file")
    assert bytes_of(tmp_path, tiny_run, prepared) == before


def test_no_verb_of_training_replaces_its_input(
    tiny_bundle: Path, tiny_run: Path, prepared: Path, tmp_path: Path
) -> None:
    link = tmp_path / "data"
    link.symlink_to(prepared)
    recipe = tmp_path / "best.json"
    recipe.write_text("{}")
    before = bytes_of(tmp_path, tiny_run, prepared)
    data = ("--data", prepared)
    refused(training, "prepare", "--source", f"fer2013={prepared}", "--out", link)
    for verb in ("train", "sweep", "restore", "family"):
        words = (tiny_bundle,) if verb == "restore" else ()
        refused(training, verb, *words, *data, "--out", link)
    for verb in ("crossval", "stats", "leaks"):
        refused(training, verb, prepared, "--out", link)
    refused(training, "review", prepared, "--run", tiny_run, "--out", link)
    refused(training, "train", *data, "--init", tiny_run, "--out", tiny_run)
    refused(training, "finetune", "--qat", tiny_run, *data, "--out", tiny_run)
    refused(training, "sweep", *data, "--recipe", recipe, "--out", tmp_path)
    refused(training, "restore", tiny_bundle, *data, "--out", tiny_run, says="holds a run already")
    assert bytes_of(tmp_path, tiny_run, prepared) == before


def test_a_run_does_not_begin_over_somebody_else_s_files(prepared: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"mine": true}')
    says = "with config.json of somebody else"
    refused(training, "train", "--data", prepared, "--out", tmp_path, says=says)
    assert (tmp_path / "config.json").read_text() == '{"mine": true}'


def test_firmware_leaves_a_person_s_files_in_any_folder(tiny_bundle: Path, tmp_path: Path) -> None:
    src = tmp_path / "src"
    src.mkdir()
    (src / "edgeemo_model.h").write_text("copied by hand")
    (src / "main.c").write_text("mine")
    before = bytes_of(tmp_path)
    refused(export, "firmware", tiny_bundle, "--out", src, says="so it is not replaced")
    assert bytes_of(tmp_path) == before
    ours = src / "edgeemo"
    for _ in range(2):
        done = support.done_here(export, "it", "firmware", tiny_bundle, "--out", ours)
        assert done.returncode == 0, done.stderr
        (ours / "main.c").write_text("mine too")
    assert (ours / "main.c").read_text() == "mine too"
    (ours / "README.md").write_text("my words")
    says = "README.md is not as edgeemo wrote it"
    refused(export, "firmware", tiny_bundle, "--out", ours, says=says)
    assert (ours / "README.md").read_text() == "my words"
