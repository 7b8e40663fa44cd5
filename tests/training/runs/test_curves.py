"""The curves of a run."""

import pytest

from training.runs.plots import curves
from workstation.figures import plt


@pytest.mark.parametrize("count", [1, 2, 3, 5, 65])
def test_there_is_no_half_an_epoch(count: int) -> None:
    row = {"loss": 1.0, "validation_loss": 1.0, "validation_top1": 0.5, "validation_macro_f1": 0.5}
    figure = curves([{"epoch": i + 1, **row} for i in range(count)])
    for axes in figure.axes:
        first, last = axes.get_xlim()
        ticks = [tick for tick in axes.get_xticks() if first <= tick <= last]
        assert ticks
        assert all(tick == round(tick) for tick in ticks)
        # A single point is seen, and lies inside.
        assert (axes.lines[0].get_marker() == "o") == (count == 1)
        assert first < 1 <= count < last
    plt.close(figure)
