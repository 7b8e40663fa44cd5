"""A set of one's own through `prepare`, as a person types it."""

from pathlib import Path

from edgeemo.contract.checked import strict
from edgeemo.data.prepared import load_prepared
from tests import support
from tests.training.data.own.made import write
from training.__main__ import main


def test_own_words_and_size_reach_the_prepared_folder_and_are_said(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "faces",
        [f"{word}/{i}.JPG" for word in ("Müde", "Freude", "Egal") for i in range(4)],
        side=96,
    )
    out = tmp_path / "prepared"
    words = ["prepare", "--source", f"büro={folder}", "--input", "96x96-rgb", "--out", out]
    refused = support.done_here(main, "python -m training", *words)
    assert refused.returncode == 1
    assert refused.stderr == (
        "python -m training: büro: 2 words that no vocabulary knows ('Egal', 'Müde'); fill in "
        f"{tmp_path}/labels.json (a label behind each, null to leave it out) and add --labels "
        f"{tmp_path}/labels.json, or name your own classes with --classes, or leave words out with "
        "--drop\n"
    )
    assert not out.exists()
    text = (tmp_path / "labels.json").read_text()
    (tmp_path / "labels.json").write_text(text.replace('"Müde": ""', '"Müde": "tired"'))
    words += ["--labels", tmp_path / "labels.json", "--drop", "egal"]
    unfilled = support.done_here(main, "python -m training", *words)
    assert "expected a label behind each word, 'Egal' have none" in unfilled.stderr
    text = (tmp_path / "labels.json").read_text().replace('"Egal": ""', '"Egal": null')
    (tmp_path / "labels.json").write_text(text)
    done = support.done_here(main, "python -m training", *words)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("büro: class folders; each picture is taken as a face (half have a")
    assert lines[1] == "büro: Freude = happy, Müde = tired"
    assert "warning: 4 files left out: left out by --drop or --labels" in done.stderr

    data = load_prepared(out)
    assert data.class_names == ("happy", "tired")
    assert data.images.shape == (8, 96, 96, 3)
    (source,) = strict.loads((out / "dataset.json").read_text())["sources"]
    assert source == {
        "name": "büro",
        "kaggle": "",
        "licence": "not stated",
        "file": "faces",
        "layout": "folders",
        "read_from": "class folders",
        "faces": "crop",
        "longer_side": 96,
        "words": {"Egal": None, "Freude": "happy", "Müde": "tired"},
    }
