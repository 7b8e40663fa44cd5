"""`edgeemo models` and `edgeemo bench --all`: the family that ships, against what bundles say."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

import edgeemo.models
from edgeemo.cli.main import main
from edgeemo.contract.bundle import read_bundle
from edgeemo.models import PURPOSES, find_model, shipped_models


def answer(*words: str) -> str:
    done = CliRunner().invoke(main, list(words))
    assert done.exit_code == 0, done.output
    return done.stdout


def test_each_model_has_a_purpose() -> None:
    assert set(PURPOSES) == set(shipped_models())


def test_models_tells_what_their_bundles_measured() -> None:
    rows = [json.loads(line) for line in answer("models", "--json").splitlines()]
    assert sorted(row["name"] for row in rows) == shipped_models()
    assert [row["bytes"] for row in rows] == sorted(row["bytes"] for row in rows)
    for row in rows:
        bundle = read_bundle(find_model(row["name"]))
        entry = bundle.report()["artifacts"]["int8.tflite"]
        assert row["bytes"] == bundle.manifest.artifact("int8.tflite").bytes
        assert row["labels_top1"] == entry["card"]["top1"]
        assert row["ferplus_top1"] == entry["ferplus_majority"]["card"]["top1"]
        confusion = entry["ferplus_majority"]["card"]["confusion"]
        recalls = [line[i] / sum(line) for i, line in enumerate(confusion)]
        assert row["ferplus_mean_recall"] == pytest.approx(sum(recalls) / 7)
        assert row["ms"] is None


def test_the_table_fits_a_terminal_and_has_times_when_asked() -> None:
    shown, timed = answer("models").splitlines(), answer("models", "--time").splitlines()
    assert len(shown) == len(timed) == 2 + len(shipped_models())
    assert max(map(len, [*shown, *timed])) <= 80
    assert all(float(line.split()[6]) > 0 for line in timed[2:])


def test_bench_all_times_the_family_in_turns() -> None:
    result = json.loads(answer("bench", "--all", "--runs", "10", "--json"))
    assert sorted(result["ms"]) == shipped_models()
    assert 0 < result["ms"]["nano"] < result["ms"]["base"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["models", "--time", "list"], "without a verb"),
        (["bench", "nano", "--all"], "drop BUNDLE and --artifact"),
        (["bench", "--all", "--artifact", "int8.onnx"], "drop BUNDLE and --artifact"),
    ],
)
def test_options_that_do_not_fit_are_refused(words: list[str], message: str) -> None:
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    assert message in done.output


def test_a_family_without_its_default_and_with_a_damaged_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("nano", "mine"):
        shutil.copy(find_model("nano"), tmp_path / f"{name}.edgeemo")
    monkeypatch.setattr(edgeemo.models, "_FOLDER", tmp_path)
    lines = answer("bench", "--all", "--runs", "10").splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["mine", "nano"]
    assert all(line.endswith(" x mine") for line in lines[1:])
    (tmp_path / "nano.edgeemo").write_bytes(b"PK")
    listed = "".join(answer("models", "list").split())  # paths are folded at 80 columns
    assert listed.index("there") < listed.index("damaged;installedgeemoagain")
    assert listed.index("mine") < listed.index("nano")
