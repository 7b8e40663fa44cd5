"""Matplotlib without a screen: what all figures of the workstation have in common."""

import io
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from edgeemo.contract.checked.files import written_beside

matplotlib.rcdefaults()  # a user's matplotlibrc may need LaTeX or fonts, and changes every figure
matplotlib.rcParams["text.parse_math"] = False  # a class may be called $x^$

__all__ = ["COLOURS", "Figure", "figure_png", "plt", "save_figure"]

# Okabe and Ito's palette, which colour-blind people can tell apart.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442")


def figure_png(figure: Figure) -> bytes:
    """The PNG of a figure, which is closed. Equal data give equal bytes."""
    buffer = io.BytesIO()
    # Without matplotlib's version in it.
    figure.savefig(buffer, dpi=120, format="png", metadata={"Software": None})
    plt.close(figure)
    return buffer.getvalue()


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure, which is closed, as the PNG `path` in one step. Raises StorageError."""
    data = figure_png(figure)
    with written_beside(path) as part:
        part.write_bytes(data)
