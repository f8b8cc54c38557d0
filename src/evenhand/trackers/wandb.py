"""Weights & Biases, offline: every training is FOLDER/wandb/offline-run-…, which `wandb sync` uploads when you say so.

A mode that your own environment names (WANDB_MODE) goes before that. Nothing of the machine, its user, its code or its console is recorded.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar


@dataclass
class Wandb:
    """A tracker. Its own reports of errors are switched off, unless the environment says otherwise."""

    module: ClassVar[str] = "wandb"
    package: ClassVar[str] = "wandb"
    folder: Path
    run: Any = None
    parts: set[str] = field(default_factory=set)

    def start(self, settings: Mapping[str, str]) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        self.folder.mkdir(parents=True, exist_ok=True)
        quiet = wandb.Settings(
            console="off", silent=True, disable_code=True, disable_git=True, save_code=False, host="", x_disable_meta=True, x_disable_stats=True,
            x_disable_machine_info=True,
        )  # fmt: skip
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or "evenhand", dir=str(self.folder), mode=_mode(), config=dict(settings), settings=quiet,
            reinit="create_new",
        )  # fmt: skip

    def step(self, part: str, number: int, values: Mapping[str, float]) -> None:
        if part not in self.parts:  # each part has steps of its own, while W&B's only ever rise
            self.parts.add(part)
            self.run.define_metric(f"{part}/step", hidden=True)
        for name in values:
            if f"{part}/{name}" not in self.parts:
                self.parts.add(f"{part}/{name}")
                self.run.define_metric(f"{part}/{name}", step_metric=f"{part}/step")
        self.run.log({f"{part}/{name}": value for name, value in values.items()} | {f"{part}/step": number})

    def finish(self, figures: Mapping[str, float], pages: Mapping[str, str]) -> None:
        self.run.summary.update({f"report/{name}": value for name, value in figures.items()})
        for name, text in pages.items():
            (Path(self.run.dir) / name).write_text(text, encoding="utf-8")
        self.run.finish()

    def fail(self) -> None:
        self.run.finish(exit_code=1)


def _mode() -> Any:
    return os.environ.get("WANDB_MODE") or "offline"
