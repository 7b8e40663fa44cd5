"""Where a run loses what in int8: its layers in float and in int8 side by side, and a picture."""

from pathlib import Path

from edgeemo.contract.checked.files import written_beside
from edgeemo.contract.run import check_finished, read_run_config
from edgeemo.data.prepared import load_prepared
from edgeemo.errors import MissingFile
from export.convert.artifacts import Candidate
from export.convert.calibration import calibration_set, thinned
from export.prove.layers import Answers, Layer, compare_answers, compare_layers, worst
from export.prove.makers import TfliteMaker, TrainedMaker
from export.prove.steps import TRAINED
from export.run import load_float_run
from workstation.figures import plt


def inspect_run(
    run_path: Path, data_path: Path | None, method: str, count: int, seed: int
) -> tuple[str, list[Layer], Answers]:
    """How the run was quantized, in words, each of its layers on about `count` pictures, and what
    it answers to all of them.

    The pictures are of the representative data set. `method` is how ranges are chosen
    (export.convert.activations.METHODS); a run of quantization-aware training has its own. Without
    `data_path` the data is where the run says that it was trained.

    Raises:
        MissingFile: no data there.
        EdgeemoError: the run, the data or the conversion does not fit.
    """
    config = read_run_config(run_path)
    check_finished(run_path)
    data = load_prepared(data_path or _trained_on(run_path, config.data))
    calibration = calibration_set(data, seed)
    run = load_float_run(run_path, config, data)
    candidate: Candidate
    if run.simulated is None:
        candidate = TfliteMaker(run.float_tflite(), calibration, seed).calibrated(method)
    else:
        candidate = TrainedMaker(run.simulated).make(TRAINED, None)
    fp32 = candidate.source or run.float_tflite()
    layers = compare_layers(fp32, candidate.model, thinned(calibration, count))
    return candidate.detail, layers, compare_answers(fp32, candidate.model, calibration)


def _trained_on(run_path: Path, data: str | None) -> Path:
    if data is None or not Path(data).is_dir():
        raise MissingFile(
            f"{run_path}: does not say where its data is, or it has moved ({data}); "
            "name the prepared folder with --data"
        )
    return Path(data)


def plot_layers(path: Path, title: str, layers: list[Layer], marked: int = 5) -> None:
    """Write `path` as PNG: by layer, SQNR, the noise that it adds, and how its range is used.

    The `marked` worst ones are red.
    """
    names = [f"{layer.name}  ({layer.operator.lower()})" for layer in layers]
    red = {layer.name for layer in worst(layers, marked)}
    colours = ["tab:red" if layer.name in red else "tab:blue" for layer in layers]
    figure, panels = plt.subplots(
        1, 4, figsize=(15, 1.4 + 0.32 * len(layers)), layout="constrained", sharey=True
    )
    columns = (
        (
            "SQNR, dB (more is better; 60 and above: 60)",
            [min(layer.sqnr_db, 60.0) for layer in layers],
        ),
        (
            "noise that it adds, % of the signal's power",
            [100 * layer.added_noise for layer in layers],
        ),
        ("range used, %", [100 * layer.range_used for layer in layers]),
        ("values cut off, %", [100 * layer.saturated for layer in layers]),
    )
    for panel, (label, values) in zip(panels, columns, strict=True):
        panel.barh(range(len(layers)), values, color=colours)
        panel.set_xlabel(label)
        panel.set_xlim(left=0)
    panels[2].set_xlim(0, 100)
    panels[0].set_yticks(range(len(layers)), names, fontsize=8)
    panels[0].invert_yaxis()
    figure.suptitle(title)
    with written_beside(path) as part:
        figure.savefig(part, dpi=110, format="png")
    plt.close(figure)
