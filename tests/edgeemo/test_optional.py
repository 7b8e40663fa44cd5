"""Optional packages that many threads ask for at once, before any has been imported."""

import sys
import threading
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from edgeemo.contract.preprocess import to_grey
from edgeemo.optional import is_installed, need
from edgeemo.registry import Registry

# Another module stands in for it in sys.modules while it loads, as in OpenCV 4.
ODD_PACKAGE = """
import sys, time, types
me = sys.modules[__name__]
sys.modules[__name__] = types.ModuleType(__name__)
time.sleep(0.2)
sys.modules[__name__] = me
counter = getattr(sys, "_edgeemo_loaded", 0) + 1
sys._edgeemo_loaded = counter
def entry(options): return "complete"
"""


@pytest.fixture
def odd_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an installed package that loads slowly, and oddly."""
    name = "edgeemo_odd_package"
    (tmp_path / f"{name}.py").write_text(ODD_PACKAGE)
    info = tmp_path / "odd-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[edgeemo.detectors]\nodd = {name}:entry\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "_edgeemo_loaded", 0, raising=False)
    return name


@pytest.mark.parametrize("way", ["need", "entry point"])
def test_threads_that_need_a_package_at_once_all_get_the_whole_of_it(
    odd_package: str, way: str
) -> None:
    detectors: Registry[object] = Registry("detector", "edgeemo.detectors", {})
    whole: list[object] = []

    def ask(delay: float) -> None:
        threading.Event().wait(delay)
        if way == "need":
            assert is_installed(odd_package)
            whole.append(need(odd_package, "opencv", "here").entry(None))
        else:
            whole.append(detectors.get("odd")(None))  # type: ignore[operator]

    threads = [threading.Thread(target=ask, args=(0.01 * i,)) for i in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert whole == ["complete"] * 30
    assert sys._edgeemo_loaded == 1  # type: ignore[attr-defined]


def test_half_imported_opencv_is_left_alone_by_the_crop(monkeypatch: pytest.MonkeyPatch) -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (9, 7, 3), dtype=np.uint8)
    before = to_grey(rgb)
    half = ModuleType("cv2")
    half.cvtColor = None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cv2", half)
    assert np.array_equal(to_grey(rgb), before)
