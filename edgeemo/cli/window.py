"""A window that shows frames with their faces.

Tkinter, because headless OpenCV has no window of its own.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.errors import MissingDependency, ScreenError
from edgeemo.results import Reading


class Window:
    """Opened on the screen that $DISPLAY names; a context manager, for the main thread.

    Args:
        language: in which the usual labels are named.

    Raises:
        MissingDependency: Python without Tkinter.
        ScreenError: no screen.
    """

    def __init__(self, language: str = "en") -> None:
        try:
            import tkinter
        except ImportError:
            raise MissingDependency(
                "--show needs Tkinter, which this Python lacks; run: sudo apt install python3-tk"
            ) from None
        try:
            self._root = tkinter.Tk()
        except tkinter.TclError as error:
            raise ScreenError(
                f"--show needs a screen, and there is none ({error}); leave --show out"
            ) from None
        self._root.title("edgeemo")
        self._label = tkinter.Label(self._root)
        self._label.pack()
        self._picture: Any = None
        self._language = language
        self._open = True
        self._root.protocol("WM_DELETE_WINDOW", self._shut)
        for key in ("<Escape>", "q"):
            self._root.bind(key, lambda _: self._shut())

    def __enter__(self) -> "Window":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._root.destroy()

    def show(self, frame_rgb: NDArray[np.uint8], readings: Sequence[Reading]) -> bool:
        """Show uint8 (H, W, 3) RGB with the boxes of its faces.

        False once the window was closed, or Escape or q pressed.
        """
        import tkinter

        from edgeemo.drawing import annotate

        picture = annotate(frame_rgb, readings, self._language)
        height, width = picture.shape[:2]
        self._picture = tkinter.PhotoImage(
            data=b"P6 %d %d 255 " % (width, height) + picture.tobytes(), format="ppm"
        )
        self._label.configure(image=self._picture)
        self._root.update()
        return self._open

    def _shut(self) -> None:
        self._open = False
