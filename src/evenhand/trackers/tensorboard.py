"""TensorBoard: every training is a folder of its own with an event file; `tensorboard --logdir FOLDER` shows them side by side."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

SECONDS = 10  # between two times that what was told reaches the disk


@dataclass
class TensorBoard:
    """A tracker."""

    module: ClassVar[str] = "tensorboard"
    package: ClassVar[str] = "tensorboard"
    folder: Path
    writer: Any = None

    def start(self, settings: Mapping[str, str]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(_fresh(self.folder)), flush_secs=SECONDS)
        self.writer.add_text("settings", "\n".join(f"    {name}: {value}" for name, value in settings.items()))

    def step(self, part: str, number: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(f"{part}/{name}", value, number)

    def finish(self, figures: Mapping[str, float], pages: Mapping[str, str]) -> None:
        self.step("report", 0, figures)
        for name, text in pages.items():
            if name.endswith(".md"):
                self.writer.add_text(name, text)
        self.writer.close()

    def fail(self) -> None:
        self.writer.close()


def _fresh(folder: Path) -> Path:
    """A new folder in it, named after the time; of two that begin in one second each has its own."""
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC).strftime("%Y-%m-%d_%H-%M-%S")
    for number in itertools.count():
        place = folder / (f"{now}_{number}" if number else now)
        try:
            place.mkdir()
        except FileExistsError:
            continue
        return place
    raise AssertionError
