"""The installed program as people run it: one line on stderr when something is wrong, exit codes 0,
1 and 2.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score

from edgeemo.cli.main import main
from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.labels import FERPLUS_COLUMNS, LABELS
from edgeemo.contract.preprocess import face_to_input
from edgeemo.data.prepared import load_prepared
from edgeemo.models import find_model
from edgeemo.results import Face
from tests import support

# FER+'s words for our labels, in their order.
IN_FERPLUS = ("anger", "neutral", "disgust", "fear", "happiness", "sadness", "surprise")


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgeemo", *map(str, arguments)],
        capture_output=True, text=True, timeout=120, env={**os.environ, **environment},
    )  # fmt: skip


def fails(*arguments: object, says: str) -> None:
    """Exit 1, nothing on stdout, exactly one line on stderr that says `says`."""
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("edgeemo: ")
    assert says in done.stderr


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn picture of the class happy."""
    path = tmp_path_factory.mktemp("drawn") / "happy.png"
    path.write_bytes(
        support.encoded(support.drawn_picture(LABELS.index("happy"), np.random.default_rng(5)))
    )
    return path


@pytest.mark.parametrize("verb", [[], ["predict"], ["evaluate"], ["bench"], ["info"], ["doctor"]])
def test_help_teaches(verb: list[str]) -> None:
    done = run(*verb, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: ")
    assert len(done.stdout.splitlines()) >= 8


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["predict"],
        ["predict", "--nonsense"],
        ["predict", "x.png", "--detector", "other"],
        ["predict", "a.png", "b.png", "--annotate", "o.png"],
        ["predict", "a.png", "--annotate", ""],
        ["bench", "--threads", "0"],
    ],
)
def test_wrong_usage_exits_2(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert "Error: " in done.stderr


def test_predict_json_is_one_object_a_picture_and_nothing_else(
    tiny_bundle: Path, drawn: Path
) -> None:
    done = run("predict", drawn, drawn, "--model", tiny_bundle, "--detector", "whole", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert first == second
    assert set(first) == {"image", "faces"}
    assert first["image"] == str(drawn)
    (face,) = first["faces"]
    assert set(face) == {"box", "emotion", "confidence", "scores"}
    assert (face["box"], face["emotion"]) == ([0, 0, 48, 48], "happy")
    assert list(face["scores"]) == list(LABELS)
    assert sum(face["scores"].values()) == pytest.approx(1, abs=1e-4)
    assert face["confidence"] == face["scores"]["happy"] == max(face["scores"].values())


def test_picture_without_a_face_is_an_empty_list_and_no_error(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "flat.png").write_bytes(support.encoded(np.full((120, 160, 3), 127, np.uint8)))
    done = run(
        "predict", tmp_path / "flat.png", "--model", tiny_bundle, "--detector", "haar", "--json"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["faces"] == []
    assert (
        "no face found"
        in run(
            "predict", tmp_path / "flat.png", "--model", tiny_bundle, "--detector", "haar"
        ).stdout
    )


def test_annotated_picture_differs_at_the_box_alone(tiny_bundle: Path, tmp_path: Path) -> None:
    source = tmp_path / "in.png"
    source.write_bytes(support.encoded(np.full((300, 400, 3), 100, np.uint8)))
    done = run(
        "predict",
        source,
        "--model",
        tiny_bundle,
        "--detector",
        "whole",
        "--annotate",
        tmp_path / "out.png",
    )
    assert done.returncode == 0
    assert f"wrote {tmp_path / 'out.png'}" in done.stdout
    marked = cv2.imread(str(tmp_path / "out.png"))
    assert marked.shape == (300, 400, 3)
    assert (marked[0, 200] != 100).any()
    assert (marked[250, 200] == 100).all()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the file is empty"),
        (b"hello", "not a picture that can be read"),
        (support.png_of(60, 60)[:2000], "truncated"),
        (support.png_of(1, 1), "1x1 pixel"),
        (support.png_of(20_000, 4), "20000x4 pixels"),
    ],
)
def test_bad_picture_is_one_line(
    tiny_bundle: Path, tmp_path: Path, content: bytes, says: str
) -> None:
    (tmp_path / "bad.png").write_bytes(content)
    fails("predict", tmp_path / "bad.png", "--model", tiny_bundle, "--detector", "whole", says=says)


def test_folder_without_a_picture_is_one_line(tiny_bundle: Path, tmp_path: Path) -> None:
    says = "no pictures in this folder or below it"
    fails("predict", tmp_path, "--model", tiny_bundle, "--detector", "whole", says=says)


@pytest.mark.parametrize("suffix", [".jpg", ".bmp", ".tiff", ".webp", ".ppm"])
def test_cut_picture_is_one_line_without_those_of_the_decoders(
    tiny_bundle: Path, tmp_path: Path, suffix: str
) -> None:
    whole = support.encoded(
        np.random.default_rng(0).integers(0, 256, (90, 80, 3)).astype(np.uint8), suffix
    )
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    fails("predict", tmp_path / "cut", "--model", tiny_bundle, "--detector", "whole", says="cut: ")


def test_png_with_a_wrong_byte_is_one_line_without_those_of_the_decoder(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    data = bytearray(support.png_of(60, 60))
    data[len(data) // 2] ^= 1
    (tmp_path / "flipped.png").write_bytes(data)
    fails(
        "predict",
        tmp_path / "flipped.png",
        "--model",
        tiny_bundle,
        "--detector",
        "whole",
        says="damaged",
    )


def test_predict_prints_a_line_a_face_with_its_values(
    tiny_bundle: Path, drawn: Path, tmp_path: Path
) -> None:
    done = run(
        "predict", drawn, "--model", tiny_bundle, "--detector", "whole", "--artifact", "fp32.onnx"
    )
    assert (done.returncode, done.stderr) == (0, "")
    picture = cv2.imread(str(drawn), cv2.IMREAD_GRAYSCALE)
    logits = support.quadrant_logits(picture[np.newaxis, ..., np.newaxis])[0]
    confidence = np.exp(logits.max()) / np.exp(logits).sum()
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"{drawn}: happy    {confidence:>4.0%}  box x 0 y 0 48x48  ")


@pytest.mark.parametrize("artifact", ["int8.tflite", "int8.onnx", "fp16.onnx", "fp32.onnx"])
def test_predict_json_gives_the_oracles_scores(
    tiny_bundle: Path, tmp_path: Path, artifact: str
) -> None:
    frame = np.random.default_rng(8).integers(0, 256, (70, 90, 3)).astype(np.uint8)
    frame[10:58, 20:68] = support.drawn_picture(LABELS.index("fear"), np.random.default_rng(2))[
        ..., np.newaxis
    ]
    (tmp_path / "colour.png").write_bytes(support.encoded(frame))
    done = run(
        "predict",
        tmp_path / "colour.png",
        "--model",
        tiny_bundle,
        "--detector",
        "whole",
        "--artifact",
        artifact,
        "--json",
    )
    (face,) = json.loads(done.stdout)["faces"]
    logits = support.quadrant_logits(
        face_to_input(frame[..., ::-1].copy(), (0, 0, 90, 70), DEFAULT_SPEC)[np.newaxis]
    )[0]
    expected = np.exp(logits) / np.exp(logits).sum()
    tolerance = (
        1e-4 if artifact == "fp32.onnx" else 0.02 if artifact == "fp16.onnx" else 0.1
    )  # a logit may be off by 0.35: at most 0.35 / 4 of a score
    assert list(face["scores"].values()) == pytest.approx(expected, abs=tolerance)


def test_picture_whose_name_is_not_text_is_still_done(
    tiny_bundle: Path, drawn: Path, tmp_path: Path
) -> None:
    odd = os.fsencode(tmp_path) + b"/\xff\xfe.png"
    shutil.copy(drawn, odd)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "edgeemo",
            "predict",
            odd,
            "--model",
            tiny_bundle,
            "--detector",
            "whole",
            "--json",
        ],
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["faces"][0]["emotion"] == "happy"


def test_missing_picture_is_one_line_and_the_others_are_done(
    tiny_bundle: Path, drawn: Path
) -> None:
    fails(
        "predict",
        "none.png",
        "--model",
        tiny_bundle,
        "--detector",
        "whole",
        says="none.png: no such file",
    )
    done = run(
        "predict", "none.png", drawn, "--model", tiny_bundle, "--detector", "whole", "--json"
    )
    assert done.returncode == 1
    assert json.loads(done.stdout)["faces"][0]["emotion"] == "happy"
    assert done.stderr.splitlines() == [
        "edgeemo: none.png: no such file; check the path",
        "edgeemo: 1 of 2 pictures could not be read",
    ]


@pytest.mark.parametrize(
    ("channels", "dtype"), [(1, np.uint8), (4, np.uint8), (3, np.uint16), (1, np.uint16)]
)
def test_grey_rgba_and_16_bit_pictures_simply_work(
    tiny_bundle: Path, tmp_path: Path, channels: int, dtype: type
) -> None:
    grey = support.drawn_picture(LABELS.index("happy"), np.random.default_rng(5)).astype(dtype)
    picture = grey * (257 if dtype == np.uint16 else 1)
    picture = picture if channels == 1 else np.repeat(picture[..., None], channels, axis=2)
    (tmp_path / "odd.png").write_bytes(support.encoded(picture))
    done = run(
        "predict", tmp_path / "odd.png", "--model", tiny_bundle, "--detector", "whole", "--json"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["faces"][0]["emotion"] == "happy"


def test_bad_bundle_is_one_line(tiny_bundle: Path, drawn: Path, tmp_path: Path) -> None:
    (tmp_path / "text.edgeemo").write_text("hello")
    fails("predict", drawn, "--model", tmp_path / "text.edgeemo", says="not a bundle")
    fails("info", tmp_path / "none.edgeemo", says="no such bundle")
    bad = support.rezip(
        tiny_bundle, tmp_path / "bad.edgeemo", lambda e: e.update({"int8.tflite": b"other"})
    )
    for arguments in (
        ["predict", drawn, "--model", bad],
        ["info", bad],
        ["bench", bad],
        ["evaluate", bad, tmp_path],
    ):
        fails(*arguments, says="int8.tflite is not the file that its manifest names")
    fails(
        "predict",
        drawn,
        "--model",
        tiny_bundle,
        "--artifact",
        "fp8.onnx",
        says="expected one of its artifacts",
    )


def test_output_that_cannot_be_written_is_one_line(
    tiny_bundle: Path, drawn: Path, prepared: Path
) -> None:
    done = run(
        "predict",
        drawn,
        "--model",
        tiny_bundle,
        "--detector",
        "whole",
        "--annotate",
        "/proc/out.png",
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[0].startswith("edgeemo: /proc/out.png: cannot be written")
    assert "choose another --annotate" in done.stderr
    done = run("evaluate", tiny_bundle, prepared, "--json", "/proc/out.json")
    assert done.returncode == 1
    assert "/proc/out.json: cannot be written" in done.stderr.splitlines()[-1]


def test_picture_of_an_unknown_format_is_not_written(
    tiny_bundle: Path, drawn: Path, tmp_path: Path
) -> None:
    done = run(
        "predict",
        drawn,
        "--model",
        tiny_bundle,
        "--detector",
        "whole",
        "--annotate",
        tmp_path / "out.xyz",
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "expected an ending of .bmp, .jpeg, .jpg" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_detector_model_that_cannot_be_used_is_one_line(
    tiny_bundle: Path, drawn: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.onnx").write_text("no model")
    options = "--model", tiny_bundle, "--detector-model"
    fails("predict", drawn, *options, tmp_path / "broken.onnx", says="broken.onnx: OpenCV")
    fails("predict", drawn, *options, tmp_path / "gone.onnx", says="gone.onnx: no such file")


def unpacked(archive: Path, folder: Path) -> Path:
    with zipfile.ZipFile(archive) as pictures:
        pictures.extractall(folder)
    return folder


@pytest.mark.parametrize("artifact", ["int8.tflite", "int8.onnx", "fp16.onnx", "fp32.onnx"])
def test_evaluate_gives_scikit_learns_numbers(
    tiny_bundle: Path, prepared: Path, tmp_path: Path, artifact: str
) -> None:
    done = run(
        "evaluate", tiny_bundle, prepared, "--artifact", artifact, "--json", tmp_path / "out.json"
    )
    assert done.returncode == 0, done.stderr
    data = load_prepared(prepared, DEFAULT_SPEC)
    rows = data.indices("test")
    predicted = support.quadrant_logits(np.asarray(data.images[rows])).argmax(axis=1)
    result = json.loads((tmp_path / "out.json").read_text())
    assert {"n", "top1", "macro_f1", "labels", "per_class_recall", "confusion", "artifact"} <= set(
        result
    )
    assert (
        result["confusion"]
        == confusion_matrix(data.labels[rows], predicted, labels=range(7)).tolist()
    )
    assert result["macro_f1"] == pytest.approx(
        f1_score(data.labels[rows], predicted, average="macro")
    )
    assert (result["n"], result["labels"], result["artifact"]) == (
        len(rows),
        list(LABELS),
        artifact,
    )
    assert f"n {len(rows)}" in done.stdout
    assert "its report promises" in done.stdout


@pytest.mark.parametrize("kind", ["prepared", "folder", "zip"])
def test_evaluate_of_pictures_with_wrong_labels_gives_scikit_learns_numbers(
    tiny_bundle: Path, tmp_path: Path, kind: str
) -> None:
    """Pictures of some classes lie in other classes' folders, so no number is trivial, and surprise
    has none at all.
    """
    from training.data.prepare import prepare
    from training.data.sources import SOURCES

    rng = np.random.default_rng(11)
    shown, told = [], []
    folder = tmp_path / "pictures"
    for label in range(6):
        for i in range(9 + label):
            told.append(label)
            shown.append(label if rng.random() < 0.6 else int(rng.integers(7)))
            for split in (
                "train",
                "test",
            ):  # other noise in each, so that no test picture is a copy
                path = folder / support.drawn_path(split, label, i)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(support.encoded(support.drawn_picture(shown[-1], rng)))
    if kind == "zip":
        data = Path(shutil.make_archive(str(tmp_path / "archive"), "zip", folder))
    elif kind == "prepared":
        data = tmp_path / "prepared"
        prepare([(SOURCES["fer2013"], folder)], data, split="official", progress=False)
    else:
        data = folder
    done = run("evaluate", tiny_bundle, data, "--json", tmp_path / "out.json")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "out.json").read_text())
    recall = recall_score(told, shown, labels=range(6), average=None)
    assert result["n"] == len(told) == 69
    assert result["top1"] == pytest.approx(accuracy_score(told, shown))
    assert 0.4 < result["top1"] < 0.9
    assert result["macro_f1"] == pytest.approx(
        f1_score(told, shown, average="macro", zero_division=0)
    )
    assert result["confusion"] == confusion_matrix(told, shown, labels=range(7)).tolist()
    assert [result["per_class_recall"][label] for label in LABELS[:6]] == pytest.approx(recall)
    assert result["per_class_recall"]["surprise"] is None


def test_evaluate_counts_the_ferplus_majority_where_votes_are_known(
    tiny_bundle: Path, voted: Path, tmp_path: Path
) -> None:
    done = run("evaluate", tiny_bundle, voted, "--json", tmp_path / "out.json")
    data = load_prepared(voted, DEFAULT_SPEC)
    rows = data.indices("test")
    assert data.votes is not None
    said = support.quadrant_logits(np.asarray(data.images[rows])).argmax(axis=1)
    agreed, right = 0, 0
    for votes, label in zip(data.votes[rows].tolist(), said, strict=True):
        named = dict(zip(FERPLUS_COLUMNS, votes, strict=True))
        seven = [named[word] for word in IN_FERPLUS]
        if min(votes) >= 0 and 2 * max(seven) > sum(votes):
            agreed, right = agreed + 1, right + (seven.index(max(seven)) == label)
    found = json.loads((tmp_path / "out.json").read_text())["ferplus_majority"]
    assert (found["n"], found["top1"]) == (agreed, right / agreed)
    said_of_it = " ".join(done.stdout.split())  # lines are as long as the path of the folder
    assert "against the FER+ majority" in said_of_it
    assert f"n {agreed:,} top-1 {right / agreed:.2%}" in said_of_it


def test_evaluate_of_what_holds_no_pictures_is_one_line(
    tiny_bundle: Path, drawn: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    fails("evaluate", tiny_bundle, tmp_path / "none", says="none: no such folder or archive")
    fails(
        "evaluate",
        tiny_bundle,
        tmp_path / "empty",
        says="expected <class>/ folders named after angry, neutral",
    )
    fails("evaluate", tiny_bundle, drawn, says="expected a folder or a zip archive")


def test_evaluate_reads_folders_and_archives_and_counts_what_it_leaves_out(
    tiny_bundle: Path, drawn_archive: Path, tmp_path: Path
) -> None:
    folder = unpacked(drawn_archive, tmp_path / "pictures")
    (folder / "test" / "confused").mkdir()
    (folder / "test" / "confused" / "a.png").write_bytes(support.png_of(48, 48))
    (folder / "test" / "happy" / "broken.png").write_bytes(b"")
    for data in (drawn_archive, folder):
        done = run("evaluate", tiny_bundle, data, "--json", tmp_path / "out.json")
        assert done.returncode == 0, done.stderr
        result = json.loads((tmp_path / "out.json").read_text())
        assert (result["n"], result["top1"]) == (56, 1.0)
    assert "warning: 1 file left out: class folder of unknown name" in done.stderr
    assert "warning: 1 file left out: not a usable picture" in done.stderr
    assert result["left_out"] == {"class folder of unknown name": 1, "not a usable picture": 1}


def test_evaluate_refuses_data_of_another_input_spec_with_both_fingerprints(
    tiny_bundle: Path, prepared: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for file in prepared.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    dataset = json.loads((other / "dataset.json").read_text()) | {
        "input_fingerprint": "0123456789abcdef"
    }
    (other / "dataset.json").write_text(json.dumps(dataset))
    fails("evaluate", tiny_bundle, other, says="0123456789abcdef")
    assert DEFAULT_SPEC.fingerprint() in run("evaluate", tiny_bundle, other).stderr


def test_info_prints_the_matrix_under_the_labels_that_it_is_of() -> None:
    shown = run("info", "small", COLUMNS="10000").stdout.splitlines()
    manifest = json.loads(run("info", "small", "--json").stdout)
    (measured,) = (e for e in manifest["evaluation"] if e["artifact"] == "int8.tflite")
    labels = manifest["labels"]
    start = next(i for i, line in enumerate(shown) if line.startswith("int8.tflite on test"))
    assert shown[start + 1] == "  rows true, columns predicted:"
    assert shown[start + 2].split() == [*labels, "recall"]
    for i, label in enumerate(labels):
        row, confusion = shown[start + 3 + i].split(), measured["confusion"][i]
        assert row[0] == label
        assert list(map(int, row[1:-1])) == confusion
        assert row[-1] == f"{confusion[i] / sum(confusion):.1%}"


def test_info_wraps_at_the_terminals_width_and_cuts_long_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(entries: dict[str, bytes]) -> None:
        manifest = json.loads(entries["manifest.json"])
        manifest["licence"] = "MIT " * 5_000 + "MIT"
        support.matching_hashes(entries, manifest)

    path = support.rezip(find_model("base"), tmp_path / "long.edgeemo", change)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    shown = support.done_here(main, "edgeemo", "info", path, terminal=True).stdout
    assert len(shown) < 3_000
    assert "\ncalibration  504 pictures of train and 2 flat ones, " in shown
    assert "... (20,003 characters)" in " ".join(shown.split())
    lines = shown.splitlines()
    rows = [line for line in lines if line.startswith("  ") and line[2] != " "]  # of tables
    assert len(rows) == 1 + 1 + 7
    assert max(len(line) for line in lines if line not in rows) <= 80
    told = " ".join(shown.split())
    assert "(90 % interval -0.26 to +0.15), agreement 99.22%" in told


def test_help_names_each_exit_code() -> None:
    told = " ".join(run("--help").stdout.split())
    assert "0 done, 1 it could not be done (one line on stderr), 2 wrong usage, 130" in told


def test_info_shows_and_json_is_the_manifest(tiny_bundle: Path) -> None:
    told = run("info", tiny_bundle).stdout
    assert "scale 1 zero point -128" in told
    assert "\naccuracy     judged on 56 pictures; 299 are asked for\n" in told
    assert "are asked for" not in run("info", "small").stdout
    manifest = json.loads(run("info", tiny_bundle, "--json").stdout)
    assert manifest["labels"] == list(LABELS)
    assert manifest["schema_version"] == 2


def test_bench_measures_and_compares(tiny_bundle: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tiny_bundle) as archive:
        (tmp_path / "other.tflite").write_bytes(archive.read("int8.tflite"))
    done = run("bench", tiny_bundle, "--runs", 20, "--beside", tmp_path / "other.tflite", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    assert 0 < result["ms"]["p50"] <= result["ms"]["p95"]
    assert result["ratio_p50"] == pytest.approx(result["ms"]["p50"] / result["beside_ms"]["p50"])
    assert min(result["load_ms"], result["first_inference_ms"], result["peak_rss_mb"]) > 0
    assert (
        "ratio"
        in run("bench", tiny_bundle, "--runs", 20, "--beside", tmp_path / "other.tflite").stdout
    )
    fails(
        "bench", tiny_bundle, "--beside", tmp_path / "none.tflite", says="none.tflite: no such file"
    )


def test_doctor_passes_a_good_bundle_and_names_a_bad_one(tiny_bundle: Path, tmp_path: Path) -> None:
    done = run("doctor", "--model", tiny_bundle, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    checks = [json.loads(line) for line in done.stdout.splitlines()]
    tests = [check for check in checks if check["name"] == "self-test"]
    assert [check["state"] for check in tests] == [
        "ok"
    ] * 5  # three ONNX files, and TFLite under two kinds of kernels
    assert [check["state"] for check in checks if check["name"] == "report"] == ["ok"]
    assert [(check["state"], check["text"]) for check in checks if check["name"] == "gate"] == [
        ("note", "judged on 56 pictures; 299 are asked for")
    ]
    assert {"Python", "CPU", "TFLite", "OpenCV", "camera", "detector", "bundle"} <= {
        check["name"] for check in checks
    }
    bad = support.rezip(tiny_bundle, tmp_path / "bad.edgeemo", lambda e: e.pop("report.json"))
    done = run("doctor", "--model", bad)
    assert done.returncode == 1
    assert "missing entries ['report.json']" in done.stdout
    assert done.stderr == "edgeemo: 1 problem\n"


def test_closed_pipe_is_no_error(tiny_bundle: Path, drawn: Path) -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "edgeemo",
            "predict",
            *([drawn] * 2000),
            "--model",
            tiny_bundle,
            "--detector",
            "whole",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert "happy" in process.stdout.readline()
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == ""
    assert process.wait(60) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_is_one_line_and_exit_1(tiny_bundle: Path, drawn: Path, number: int) -> None:
    process = subprocess.Popen(
        # A background job of a shell ignores Ctrl-C, and so would its children.
        [
            *("env", "--default-signal=INT", sys.executable, "-m", "edgeemo", "predict"),
            *("--model", tiny_bundle, "--detector", "whole"),
            *([drawn] * 3000),  # more lines than a pipe holds, so that it cannot end by itself
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()  # it is at work
    time.sleep(0.05)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (
        130,
        "edgeemo: interrupted; no half-written file is left\n",
    )


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = run("info", tmp_path / "none.edgeemo", EDGEEMO_DEBUG="1")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")
    assert done.stderr.splitlines()[-1].startswith("edgeemo.errors.MissingFile: ")


def test_python_api_gives_what_the_program_prints(tiny_bundle: Path, drawn: Path) -> None:
    from edgeemo import Recognizer

    with Recognizer(tiny_bundle, detector="whole") as recognizer:
        (face,) = recognizer.predict(drawn)
    assert isinstance(face, Face)
    printed = run("predict", drawn, "--model", tiny_bundle, "--detector", "whole", "--json").stdout
    assert json.loads(printed)["faces"] == [face.to_dict()]
