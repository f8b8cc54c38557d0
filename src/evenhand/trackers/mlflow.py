"""MLflow: every training is a run of the experiment "evenhand" in a folder, as its file store keeps them; `mlflow-skinny` is enough.

Read with `MLFLOW_ALLOW_FILE_STORE=true mlflow ui --backend-store-uri FOLDER`: MLflow prefers databases, for which it needs more packages.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

LONGEST = 120  # characters of a part of a name: each part is a file's name, and a character may be four bytes of 255
REFUSED = re.compile(r"[^\w.\- ]")  # by MLflow, in a part of a name


@dataclass
class Mlflow:
    """A tracker. Its own report of usage is switched off, unless the environment says otherwise."""

    module: ClassVar[str] = "mlflow"
    package: ClassVar[str] = "mlflow-skinny"
    folder: Path
    client: Any = None
    run: str = ""
    names: dict[str, str] = field(default_factory=dict)  # as told → as MLflow takes it

    def start(self, settings: Mapping[str, str]) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        self.client = MlflowClient(tracking_uri=self.folder.resolve().as_uri())
        known = self.client.get_experiment_by_name("evenhand")
        experiment = known.experiment_id if known else self.client.create_experiment("evenhand")
        self.run = self.client.create_run(experiment).info.run_id
        self.client.log_batch(self.run, params=[Param(self._name(name), value) for name, value in settings.items()])

    def step(self, part: str, number: int, values: Mapping[str, float]) -> None:
        self._log({f"{part}/{name}": value for name, value in values.items()}, number)

    def finish(self, figures: Mapping[str, float], pages: Mapping[str, str]) -> None:
        self._log({f"report/{name}": value for name, value in figures.items()}, 0)
        for name, text in pages.items():
            self.client.log_text(self.run, text, name)
        self.client.set_terminated(self.run)

    def fail(self) -> None:
        self.client.set_terminated(self.run, "FAILED")

    def _log(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now, found = int(time.time() * 1000), [*values.items()]
        for start in range(0, len(found), 500):  # the most that a batch may hold is 1,000
            some = found[start : start + 500]
            self.client.log_batch(self.run, metrics=[Metric(self._name(name), value, now, step) for name, value in some])

    def _name(self, told: str) -> str:
        """The name with what MLflow refuses replaced; what becomes equal by that is told apart."""
        if told not in self.names:
            parts = [REFUSED.sub("_", part).strip(" .") or "_" for part in told.split("/")]
            name = "/".join(part[:LONGEST] for part in parts)[: 2 * LONGEST]
            if name in self.names.values():
                name += f" {hashlib.sha256(told.encode()).hexdigest()[:6]}"
            self.names[told] = name
        return self.names[told]
