"""An end that waits for a good place: the first Ctrl-C or SIGTERM is taken note of, the second acts at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Ending:
    """Whether the program was asked to end. waits: something is being done that would be lost; while it is False an end is none of ours."""

    def __init__(self, say: Callable[[str], None]):
        self.waits, self.asked = False, 0  # asked: the signal's number, 0 = nobody asked
        self._say = say
        self._before: dict[int, Any] = {}

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Inside, signals come here first. Python hears them in the main thread alone: elsewhere, and where they are ignored, nothing happens."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) not in (
                    None,
                    signal.SIG_IGN,
                ):  # None: a handler that is not Python's, which could not be put back
                    self._before[number] = signal.signal(number, self._hear)
        try:
            yield
        finally:
            self._give_back()

    def act(self) -> NoReturn:
        """End as whoever was here before would have; KeyboardInterrupt where that does not end, or another process was asked."""
        self._give_back()
        if self.asked:
            signal.raise_signal(self.asked)
        raise KeyboardInterrupt

    def _hear(self, number: int, _: object) -> None:
        if self.waits and not self.asked:
            self.asked = number
            with suppress(RuntimeError):  # a stream that was being written to
                self._say("Asked to end: the training stops after the step that it is in, and is kept. Asked once more, it ends at once.")
            return
        self.asked = number
        self.act()

    def _give_back(self) -> None:
        for number in list(self._before):
            signal.signal(number, self._before.pop(number))
