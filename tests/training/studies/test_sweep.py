"""The sweep on drawn pictures: going on after an interrupt, what it refuses, trials that fail, and
the recipe that it finds.
"""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import optuna
import pytest
from click.testing import CliRunner
from optuna.trial import TrialState, create_trial

from edgeemo.contract.checked import strict
from edgeemo.contract.input_spec import DEFAULT_SPEC, InputSpec
from edgeemo.data.prepared import DATASET, INDEX, file_sha256, load_prepared
from edgeemo.errors import InvalidInput, MissingFile, RunError, StorageError
from tests.networks import SEED, means
from training.__main__ import main
from training.cli.options import Given, read_recipe
from training.fit.recipe import Recipe
from training.networks import NETWORKS
from training.runs.run import load_run
from training.studies.sweep import SPACE, sampler_seed, search_space, sweep, trial_recipe
from training.studies.sweep_report import SECONDS, WHY, importances, plot_sweep

pytestmark = pytest.mark.rounding

BASE = Recipe(
    "means", epochs=2, batch_size=16, learning_rate=0.3, warmup_epochs=0, ema=0.0, seed=SEED
)
FIXED = ("learning_rate",)  # the quick network wants a higher one than is searched


@pytest.fixture(scope="module")
def four(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A sweep of four trials in one go, and its summary. Read only."""
    out = tmp_path_factory.mktemp("sweep") / "four"
    return out, sweep(BASE, prepared, out, trials=4, fixed=FIXED, progress=False)


def rows_of(out: Path) -> list[dict[str, str]]:
    """trials.csv, but for the seconds."""
    with (out / "trials.csv").open(newline="") as file:
        return [
            {name: text for name, text in row.items() if name != "seconds"}
            for row in csv.DictReader(file)
        ]


def is_a_picture(path: Path) -> bool:
    picture = cv2.imread(str(path))
    return picture is not None and picture.std() > 5


# --- what is searched


def test_a_sweep_interrupted_and_gone_on_with_sees_the_trials_of_an_uninterrupted_one(
    prepared: Path, four: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    built = []

    def interrupted_in_the_third(spec: InputSpec, classes: int) -> keras.Model:
        built.append(spec)
        if len(built) == 3:
            raise KeyboardInterrupt
        return means(spec, classes)

    with NETWORKS.added("means", interrupted_in_the_third):
        with pytest.raises(
            RunError, match="stopped after 2 of 4 trials; they are kept in .*: run the same command"
        ):
            sweep(BASE, prepared, tmp_path, trials=4, fixed=FIXED, progress=False)
        summary = sweep(BASE, prepared, tmp_path, trials=4, fixed=FIXED, progress=False)
    assert len(built) == 3 + 2  # the broken off one again, and the fourth
    assert rows_of(tmp_path) == rows_of(four[0])
    assert summary == four[1]
    assert len({row["weight_decay"] for row in rows_of(tmp_path)}) == 4
    assert len({row["validation_top1"] for row in rows_of(tmp_path)}) > 1


def test_the_first_trial_is_the_recipe_itself_also_when_it_was_broken_off(
    prepared: Path, tmp_path: Path
) -> None:
    def interrupted(spec: InputSpec, classes: int) -> keras.Model:
        raise KeyboardInterrupt

    stopped = pytest.raises(RunError, match="stopped after 0 of 1 trial;")
    with NETWORKS.added("means", interrupted), stopped:
        sweep(BASE, prepared, tmp_path, trials=1, fixed=FIXED, progress=False)
    assert (
        sweep(BASE, prepared, tmp_path, trials=1, fixed=FIXED, progress=False)["recipe"]
        == BASE.to_dict()
    )


def test_the_sampler_draws_the_same_from_a_stored_history_as_it_did_the_first_time(
    tmp_path: Path,
) -> None:
    def values(study: optuna.Study, trials: int) -> list[dict[str, Any]]:
        for number in range(len(study.trials), trials):
            study.sampler = optuna.samplers.TPESampler(
                seed=sampler_seed(1, number), constant_liar=False
            )
            trial = study.ask(SPACE)
            study.tell(trial, -abs(np.log(trial.params["learning_rate"] / 3e-3)))
        return [trial.params for trial in study.trials]

    storage = f"sqlite:///{tmp_path / 'study.db'}"
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    whole = values(optuna.create_study(direction="maximize"), 16)
    # More than ten, so that what TPE learned decides and not chance alone.
    values(optuna.create_study(storage=storage, study_name="s", direction="maximize"), 13)
    assert values(optuna.load_study(storage=storage, study_name="s"), 16) == whole


def test_choices_that_are_given_or_not_used_are_not_searched() -> None:
    assert set(search_space(BASE)) == set(SPACE)
    assert set(search_space(BASE, ["mixup", "seed"])) == set(SPACE) - {"mixup"}
    assert set(search_space(replace(BASE, labels="ferplus"))) == set(SPACE) - {"label_smoothing"}
    assert set(search_space(replace(BASE, teachers=("t",)))) == {*SPACE, "distill", "temperature"}


def test_a_trial_s_choices_go_to_the_recipe_and_its_augmentation() -> None:
    recipe = trial_recipe(
        BASE, {"learning_rate": 0.5, "ema": 0.9, "cutout": 0.25, "cutout_side": 7}
    )
    light = replace(BASE.augmentation, cutout=0.25, cutout_side=7)
    assert recipe == replace(BASE, learning_rate=0.5, ema=0.9, augmentation=light)


# --- what it writes


def test_best_json_is_the_recipe_of_the_best_trial_and_the_table_says_so(
    four: tuple[Path, dict[str, Any]],
) -> None:
    out, summary = four
    rows = rows_of(out)
    best = max(
        rows, key=lambda row: float(row["validation_top1"]) if row["state"] == "complete" else -1
    )
    recipe = read_recipe_of(out)
    for name in set(SPACE) - set(FIXED):
        value = (
            getattr(recipe, name) if hasattr(recipe, name) else getattr(recipe.augmentation, name)
        )
        assert float(best[name]) == value
    changed = {name: getattr(recipe, name) for name in SPACE if hasattr(recipe, name)}
    assert replace(BASE, augmentation=recipe.augmentation, **changed) == recipe
    assert summary["best_validation_top1"] == float(best["validation_top1"])
    assert summary["best_trial"] == int(best["trial"])
    assert summary["importances"] == {}  # four trials are too few
    assert is_a_picture(out / "sweep.png")


def read_recipe_of(out: Path) -> Recipe:
    return Recipe.from_dict(strict.loads((out / "best.json").read_bytes()))


def test_train_takes_the_recipe_that_a_sweep_found_and_reaches_what_its_trial_did(
    prepared: Path, tmp_path: Path
) -> None:
    words = [
        "--data",
        str(prepared),
        "--model",
        "quick",
        "--epochs",
        "2",
        "--batch-size",
        "16",
        "--seed",
        str(SEED),
    ]
    done = CliRunner().invoke(
        main,
        [
            "sweep",
            *words,
            "--warmup-epochs",
            "0",
            "--trials",
            "2",
            "--out",
            str(tmp_path / "sweep"),
            "--json",
        ],
    )
    assert done.exit_code == 0, done.output
    summary = strict.loads(done.stdout)
    assert "trial 2/2: validation top-1" in done.stderr
    file = tmp_path / "sweep" / "best.json"
    train = ["train", "--data", str(prepared), "--recipe", str(file)]
    assert CliRunner().invoke(main, [*train, "--out", str(tmp_path / "run")]).exit_code == 0
    assert (
        load_run(tmp_path / "run").recipe.to_dict()
        == summary["recipe"]
        == strict.loads(file.read_bytes())
    )
    with (tmp_path / "run" / "history.csv").open(newline="") as history:
        reached = [float(row["validation_top1"]) for row in csv.DictReader(history)]
    assert max(reached) == summary["best_validation_top1"]


def test_other_options_override_the_recipe_in_a_file_and_a_wrong_file_is_named(
    tmp_path: Path,
) -> None:
    file = tmp_path / "best.json"
    kept = replace(BASE, model="nano", learning_rate=0.02)
    file.write_text(strict.dumps(kept.to_dict()))
    assert Given({"epochs": 9}, file).recipe() == replace(kept, epochs=9)
    assert Given({"epochs": 9}, file).recipe(BASE) == replace(kept, epochs=9)
    assert Given({"epochs": 9}, None).recipe(BASE) == replace(BASE, epochs=9)
    for wrong, message in (
        (kept.to_dict() | {"magic": 1}, "unknown fields"),
        (kept.to_dict() | {"model": "huge"}, "expected a network of nano, small"),
        (kept.to_dict() | {"epochs": "9"}, "recipe.epochs"),
        (kept.to_dict() | {"mix": 2.0}, "a mix of 0 to 1"),
    ):
        file.write_text(json.dumps(wrong))
        with pytest.raises(InvalidInput, match=f"best.json: .*{message}"):
            read_recipe(file)
    with pytest.raises(MissingFile, match="nowhere.json"):
        read_recipe(tmp_path / "nowhere.json")


# --- trials that fail


def test_a_loss_that_is_no_number_is_a_bad_trial_and_not_the_end(
    prepared: Path, tmp_path: Path
) -> None:
    calls = []

    def breaks_in_the_second(spec: InputSpec, classes: int) -> keras.Model:
        calls.append(spec)
        model = means(spec, classes)
        if len(calls) == 2:
            model.set_weights([np.full_like(weights, np.inf) for weights in model.get_weights()])
        return model

    with NETWORKS.added("means", breaks_in_the_second):
        summary = sweep(BASE, prepared, tmp_path, trials=3, fixed=FIXED, progress=False)
    rows = rows_of(tmp_path)
    assert [row["state"] for row in rows] == ["complete", "pruned", "complete"]
    assert (rows[1]["why"], rows[1]["validation_top1"]) == (
        "the loss became no number in epoch 1",
        "",
    )
    assert (summary["trials"], summary["pruned"]) == (3, 1)
    assert is_a_picture(tmp_path / "sweep.png")


def test_a_sweep_of_nothing_but_huge_rates_says_so_and_keeps_its_table(
    prepared: Path, tmp_path: Path
) -> None:
    huge = replace(BASE, learning_rate=1e30)
    with pytest.raises(RunError, match="none of 2 trials was completed .*lower --learning-rate"):
        sweep(huge, prepared, tmp_path, trials=2, fixed=["learning_rate"], progress=False)
    assert [row["state"] for row in rows_of(tmp_path)] == ["pruned", "pruned"]
    assert is_a_picture(tmp_path / "sweep.png")
    assert not (tmp_path / "best.json").exists()


def test_a_trial_below_the_median_is_given_up_after_the_warm_up(
    prepared: Path, tmp_path: Path
) -> None:
    learns = replace(BASE, epochs=5)
    fixed = ["learning_rate", "weight_decay", "ema"]
    sweep(learns, prepared, tmp_path, trials=5, fixed=fixed, progress=False)

    def stuck(spec: InputSpec, classes: int) -> keras.Model:
        model = means(spec, classes)
        return keras.Model(
            model.input, keras.layers.Rescaling(0.0)(model.output)
        )  # one answer to everything

    with NETWORKS.added("means", stuck):
        sweep(learns, prepared, tmp_path, trials=6, fixed=fixed, progress=False)
    rows = rows_of(tmp_path)
    assert [row["state"] for row in rows] == ["complete"] * 5 + ["pruned"]
    assert (rows[5]["why"], rows[5]["epochs"]) == ("below the median after epoch 3", "3")


# --- what it refuses


@pytest.mark.parametrize(
    ("change", "fixed", "message"),
    [
        ({"labels": "mix"}, (), "labels fer2013 there and mix here"),
        ({"epochs": 3}, (), "epochs 2 there and 3 here"),
        ({"model": "nano"}, (), "model means there and nano here"),
        ({"seed": SEED + 1}, (), f"seed {SEED} there and {SEED + 1} here"),
        ({}, ("mixup",), "search of mixup .* there and None here"),
    ],
)
def test_a_sweep_of_other_choices_is_not_gone_on_with(
    prepared: Path,
    four: tuple[Path, dict[str, Any]],
    change: dict[str, Any],
    fixed: tuple[str, ...],
    message: str,
) -> None:
    before = rows_of(four[0])
    with pytest.raises(RunError, match=message):
        sweep(
            replace(BASE, **change),
            prepared,
            four[0],
            trials=5,
            fixed=FIXED + fixed,
            progress=False,
        )
    assert rows_of(four[0]) == before


def test_a_sweep_on_another_split_is_not_gone_on_with(
    prepared: Path, four: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    other = Path(shutil.copytree(prepared, tmp_path / "other"))
    text = (other / INDEX).read_text()
    (other / INDEX).write_text(text.replace(",validation,", ",train,", 1))
    dataset = json.loads((other / DATASET).read_text()) | {
        "index_sha256": file_sha256(other / INDEX)
    }
    (other / DATASET).write_text(json.dumps(dataset))
    hashes = [load_prepared(folder, DEFAULT_SPEC).split_hash[:12] for folder in (prepared, other)]
    with pytest.raises(RunError, match=f"split_hash {hashes[0]}.* there and {hashes[1]}.* here"):
        sweep(BASE, other, four[0], trials=5, fixed=FIXED, progress=False)


def test_a_storage_that_is_none_and_a_recipe_with_nothing_to_search_are_refused(
    prepared: Path, tmp_path: Path
) -> None:
    (tmp_path / "sweep.db").write_text("not a database, and long enough to be sure of it\n" * 40)
    with pytest.raises(
        StorageError, match="sweep.db: cannot be used .*not a database.*choose another --out"
    ):
        sweep(BASE, prepared, tmp_path, trials=1, fixed=FIXED, progress=False)
    with pytest.raises(InvalidInput, match="something to search"):
        sweep(BASE, prepared, tmp_path / "x", trials=1, fixed=list(SPACE), progress=False)
    with pytest.raises(InvalidInput, match="received init 'runs/x'"):
        sweep(replace(BASE, init="runs/x"), prepared, tmp_path / "x", trials=1, progress=False)


# --- importances and the picture of many trials


def test_importance_goes_to_the_choice_that_decides_and_the_picture_shows_many_trials(
    tmp_path: Path,
) -> None:
    study = optuna.create_study(direction="maximize")
    rng = np.random.default_rng(0)
    space = {name: SPACE[name] for name in ("mixup", "cutmix", "blur")}
    for i in range(20):
        tops = {name: choice.high for name, choice in space.items()}  # type: ignore[attr-defined]
        params = {name: float(rng.uniform(0, top)) for name, top in tops.items()}
        top1 = 0.5 + 0.4 * params["cutmix"] + 0.001 * params["blur"]
        given_up = i % 6 == 5
        study.add_trial(
            create_trial(
                params=params,
                distributions=space,
                state=TrialState.PRUNED if given_up else TrialState.COMPLETE,
                value=None if given_up else top1,
                intermediate_values={1: top1 / 2, 2: top1},
                user_attrs={SECONDS: 1.0, WHY: ""},
            )
        )
    weights = importances(study, 1)
    assert next(iter(weights)) == "cutmix"
    assert weights["cutmix"] > 0.8
    assert sum(weights.values()) == pytest.approx(1)
    assert importances(study, 1) == weights
    plot_sweep(tmp_path / "many.png", study.trials, weights)
    assert is_a_picture(tmp_path / "many.png")
