"""A sweep: networks of many recipes, fitted for a few epochs and judged on validation (Optuna)."""

import math
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from edgeemo.contract.checked import strict
from edgeemo.contract.checked.counts import count_of
from edgeemo.contract.checked.files import make_folder, written_beside
from edgeemo.data.prepared import Prepared, load_prepared
from edgeemo.errors import Interrupted, InvalidInput, RunError, StorageError
from training.fit.anew import fitted_epochs
from training.fit.diverged import Diverged
from training.fit.loop import Faces, chosen_targets
from training.fit.recipe import Augmentation, Recipe
from training.fit.start import leaned_on
from training.runs.predict import predict
from training.studies.sweep_report import (
    SECONDS,
    WHY,
    importances,
    plot_sweep,
    reached,
    write_table,
)
from workstation.progress import progress as progress_of
from workstation.progress import say_above
from workstation.text import percent

STORAGE, BEST, TABLE, PICTURE = "sweep.db", "best.json", "trials.csv", "sweep.png"
_NAME, _SETTINGS = "recipe", "settings"
_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
_WARM_UP = 3  # epochs; before, a low learning rate still looks better than it is

# What is searched, by field of the recipe or of its augmentation.
SPACE: dict[str, BaseDistribution] = {
    "learning_rate": FloatDistribution(3e-4, 3e-2, log=True),
    "weight_decay": FloatDistribution(1e-4, 0.3, log=True),
    "label_smoothing": FloatDistribution(0.0, 0.2),
    "mixup": FloatDistribution(0.0, 0.4),
    "cutmix": FloatDistribution(0.0, 1.0),
    "ema": CategoricalDistribution((0.0, 0.99, 0.995, 0.998, 0.999)),
    "rotation": FloatDistribution(0.0, 20.0),
    "zoom": FloatDistribution(0.0, 0.3),
    "shift": FloatDistribution(0.0, 0.15),
    "brightness": FloatDistribution(0.0, 0.3),
    "contrast": FloatDistribution(0.0, 0.5),
    "cutout": FloatDistribution(0.0, 1.0),
    "cutout_side": IntDistribution(6, 24),
    "blur": FloatDistribution(0.0, 0.3),
}
_OF_TEACHERS: dict[str, BaseDistribution] = {
    "distill": FloatDistribution(0.1, 1.0),
    "temperature": FloatDistribution(1.0, 8.0, log=True),
}
_AUGMENTATION = {field.name for field in fields(Augmentation)}


def search_space(base: Recipe, fixed: Sequence[str] = ()) -> dict[str, BaseDistribution]:
    """What is searched around the recipe `base`: fields that it uses, but for the `fixed` ones."""
    space = SPACE | (_OF_TEACHERS if base.teachers else {})
    # Votes are soft already and are not smoothed.
    unused = {"label_smoothing"} if base.labels == "ferplus" else set()
    return {name: choice for name, choice in space.items() if name not in unused | set(fixed)}


def sweep(
    base: Recipe,
    data_path: Path,
    out: Path,
    *,
    trials: int = 20,
    fixed: Sequence[str] = (),
    progress: bool = True,
) -> dict[str, Any]:
    """Fit networks of `trials` recipes around `base`, and judge each by its best validation top-1.

    All choices of `search_space` vary, the other ones and the `fixed` ones stay as in `base`; the
    first trial is `base` itself where it lies in the space. Trials whose top-1 is below the median
    of those before them are given up early, and so is one whose loss is no number.

    Keeps every trial in sweep.db and writes best.json (a recipe), trials.csv and sweep.png into
    `out`; `trials` counts those finished there, a broken off one is done again. Returns a summary.

    Raises:
        InvalidInput: `base` starts from another run's weights or fits validation too, or nothing is
            left to search.
        MissingFile, DataError, SpecMismatch: the folder does not fit, or not what the recipe asks
            for.
        RunError: interrupted, `out` holds a sweep with other data or choices, a teacher does not
            fit, or no trial was completed.
        StorageError: `out` cannot be written.
    """
    space = search_space(base, fixed)
    _check_searchable(base, space)
    data = load_prepared(data_path)
    leaned_on(base, data, None)  # refuses a teacher that does not fit before anything is fitted
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with _opened(out / STORAGE, _settings(base, data, space)) as study:
        try:
            _run(study, base, data, space, trials, progress)
        except KeyboardInterrupt:
            raise _stopped(study, trials, out) from None
        return _write(study, base, out)


def _stopped(study: optuna.Study, trials: int, out: Path) -> Interrupted:
    return Interrupted(
        f"stopped after {len(_finished(study))} of {count_of(trials, 'trial')}; they are kept in "
        f"{out / STORAGE}: run the same command again"
    )


def _check_searchable(base: Recipe, space: Mapping[str, BaseDistribution]) -> None:
    if base.with_validation:
        raise InvalidInput(
            "expected a recipe without with_validation: trials are judged by pictures that they "
            "did not fit"
        )
    if base.init or not space:
        raise InvalidInput(
            f"expected a recipe without init and something to search, received init {base.init!r} "
            f"and {count_of(len(space), 'choice')} to search; give fewer options"
        )


def trial_recipe(base: Recipe, params: Mapping[str, Any]) -> Recipe:
    """The recipe `base` with a trial's choices."""
    light = {name: value for name, value in params.items() if name in _AUGMENTATION}
    own = {name: value for name, value in params.items() if name not in _AUGMENTATION}
    return replace(base, augmentation=replace(base.augmentation, **light), **own)


def sampler_seed(seed: int, finished: int) -> int:
    """Seed of the sampler for the trial that follows `finished` ones.

    So a resumed sweep draws what an uninterrupted one would have.
    """
    return int(np.random.SeedSequence([seed, finished]).generate_state(1)[0])


def _settings(
    base: Recipe, data: Prepared, space: Mapping[str, BaseDistribution]
) -> dict[str, Any]:
    """What a sweep was begun with, flat."""
    searched = {
        f"search of {name}": optuna.distributions.distribution_to_json(choice)
        for name, choice in space.items()
    }
    recipe = base.to_dict()
    augmentation: dict[str, Any] = recipe.pop("augmentation")
    return {"split_hash": data.split_hash} | augmentation | recipe | searched


@contextmanager
def _opened(file: Path, settings: dict[str, Any]) -> Iterator[optuna.Study]:
    """The study in an SQLite file, new or begun with the same settings."""
    try:
        make_folder(file.parent)
        with closing(sqlite3.connect(file)) as database:
            # Fails where it is no database or cannot be written.
            database.execute("BEGIN IMMEDIATE")
    except (OSError, sqlite3.Error) as error:
        raise StorageError(
            f"{file}: cannot be used as a sweep's storage ({error}); choose another --out"
        ) from None
    storage = optuna.storages.RDBStorage(f"sqlite:///{file}")
    try:
        study = optuna.create_study(
            storage=storage,
            study_name=_NAME,
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=_WARM_UP),
        )
        begun = study.user_attrs.get(_SETTINGS)
        if begun is None:
            study.set_user_attr(_SETTINGS, settings)
        else:
            _check_same(file.parent, begun, settings)
        yield study
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _check_same(out: Path, begun: dict[str, Any], now: dict[str, Any]) -> None:
    changed = [name for name in begun | now if begun.get(name) != now.get(name)]
    if changed:
        both = ", ".join(
            f"{name} {str(begun.get(name))[:60]} there and {str(now.get(name))[:60]} here"
            for name in changed
        )
        raise RunError(
            f"{out}: holds a sweep of other data or choices ({both}); go on with the same or "
            "choose another --out"
        )


def _finished(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=_FINISHED)


def _run(
    study: optuna.Study,
    base: Recipe,
    data: Prepared,
    space: dict[str, BaseDistribution],
    trials: int,
    progress: bool,
) -> None:
    for broken_off in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        # Counts for nothing, neither here nor for the sampler.
        study.tell(broken_off.number, state=TrialState.FAIL)
    done = len(_finished(study))
    with progress_of(
        "sweep", trials, "trials", done=min(done, trials), shown=progress, keep=True
    ) as bar:
        for number in range(done, trials):
            if number == 0:
                _begin_with(study, base, space)
            study.sampler = optuna.samplers.TPESampler(
                seed=sampler_seed(base.seed, number), constant_liar=False
            )
            trial = study.ask(space)
            title = f"trial {number + 1} of {trials}, epoch" if progress else ""
            _one_trial(study, trial, trial_recipe(base, trial.params), data, title)
            bar.advance()
            if progress:
                say_above(_trial_line(_finished(study), trials), err=True)


def _holds(choice: BaseDistribution, value: Any) -> bool:
    if isinstance(choice, CategoricalDistribution):
        return value in choice.choices
    return bool(choice.low <= value <= choice.high)  # type: ignore[attr-defined]


def _begin_with(study: optuna.Study, base: Recipe, space: Mapping[str, BaseDistribution]) -> None:
    values = base.to_dict() | base.to_dict()["augmentation"]
    inside = all(_holds(choice, values[name]) for name, choice in space.items())
    if inside and not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        study.enqueue_trial({name: values[name] for name in space})


def _one_trial(
    study: optuna.Study, trial: optuna.Trial, recipe: Recipe, data: Prepared, title: str
) -> None:
    """Fit the trial's recipe, and tell the study its best validation top-1 or that it was given
    up.
    """
    start, scores, state = time.perf_counter(), list[float](), TrialState.COMPLETE
    try:
        for top1 in validated_epochs(recipe, data, title):
            scores.append(top1)
            trial.report(top1, len(scores))
            if len(scores) < recipe.epochs and trial.should_prune():
                state = TrialState.PRUNED
                trial.set_user_attr(WHY, f"below the median after epoch {len(scores)}")
                break
    except Diverged:
        # The sampler takes a pruned trial for a bad one and keeps away; a failed one teaches
        # nothing.
        state = TrialState.PRUNED
        trial.set_user_attr(WHY, f"the loss became no number in epoch {len(scores) + 1}")
    trial.set_user_attr(SECONDS, round(time.perf_counter() - start, 1))
    study.tell(trial, max(scores) if state == TrialState.COMPLETE else None, state=state)
    keras.utils.clear_session()  # or the networks of all trials stay in memory


def validated_epochs(recipe: Recipe, data: Prepared, title: str = "") -> Iterator[float]:
    """Fit a network to the split train as `train` does; yields its validation top-1 after every
    epoch. With a `title` it says how far it is.

    Raises:
        Diverged: the loss is no number.
        DataError: the recipe's labels or balance ask for votes or classes that the data do not
            hold.
    """
    held_out = chosen_targets(recipe, data, data.indices("validation"), fitted=False)
    faces = Faces(data.images[held_out.rows], held_out.values, data.class_names)
    fitted = fitted_epochs(recipe, data, data.indices("train"), title)
    with closing(fitted) as epochs:  # type: ignore[type-var]
        for model, _ in epochs:
            yield float((predict(model, faces.images).argmax(axis=1) == faces.labels).mean())


def _best(study: optuna.Study) -> FrozenTrial | None:
    complete = study.get_trials(states=(TrialState.COMPLETE,))
    return max(complete, key=reached, default=None)  # of equals the first


def _trial_line(finished: Sequence[FrozenTrial], trials: int) -> str:
    trial = finished[-1]
    choices = ", ".join(f"{name} {value:.3g}" for name, value in trial.params.items())
    outcome = trial.user_attrs.get(WHY, count_of(len(trial.intermediate_values), "epoch"))
    seconds = trial.user_attrs[SECONDS]
    return (
        f"trial {len(finished)}/{trials}: validation top-1 {percent(reached(trial), 2)}, "
        f"{outcome}, "
        f"{seconds:.0f} s: {choices}"
    )


def _write(study: optuna.Study, base: Recipe, out: Path) -> dict[str, Any]:
    finished, best = _finished(study), _best(study)
    weights = importances(study, base.seed)
    write_table(out / TABLE, finished)
    plot_sweep(out / PICTURE, finished, weights)
    if best is None:
        raise RunError(
            f"none of {count_of(len(finished), 'trial')} was completed (see {out / TABLE}); run "
            "more --trials, or lower --learning-rate"
        )
    recipe = trial_recipe(base, best.params)
    with written_beside(out / BEST) as part:
        part.write_text(strict.dumps(recipe.to_dict()))
    return {
        "trials": len(finished),
        "pruned": sum(trial.state == TrialState.PRUNED for trial in finished),
        "best_trial": [trial.number for trial in finished].index(best.number) + 1,
        "best_validation_top1": best.value,
        "first_validation_top1": None if math.isnan(reached(finished[0])) else reached(finished[0]),
        "recipe": recipe.to_dict(),
        "importances": weights,
    }
