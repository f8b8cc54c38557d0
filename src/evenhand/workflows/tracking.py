"""Trainings and reports told to a tracker: MLflow, TensorBoard, W&B, or an object of yours.

A tracker is told names of models and groups, losses and the report's own figures, in which small groups are hidden; never a text, an id, or anything of one
user. One that fails is left alone from then on: a training does not end because of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from evenhand import ranks
from evenhand.core import EvenhandError, clip, visible
from evenhand.report import Report
from evenhand.trackers.mlflow import Mlflow
from evenhand.trackers.tensorboard import TensorBoard
from evenhand.trackers.wandb import Wandb
from evenhand.training.traces import Trace
from evenhand.training.watched import Standing

LONGEST = 500  # characters of a setting's value
KINDS: dict[str, type[Mlflow] | type[TensorBoard] | type[Wandb]] = {"mlflow": Mlflow, "tensorboard": TensorBoard, "wandb": Wandb}


class Tracker(Protocol):
    """What a tracker does. `start` comes first and once, then steps, then either `finish` or `fail`."""

    def start(self, settings: Mapping[str, str]) -> None:
        """What is trained on what, and how: name → value."""

    def step(self, part: str, number: int, values: Mapping[str, float]) -> None:
        """Finite values at a step or epoch, from 1, of one part: a model, or a stage of its training. Numbers of one part never fall."""

    def finish(self, figures: Mapping[str, float], pages: Mapping[str, str]) -> None:
        """The report's figures by name, shares from 0 to 1, and its files: name → text."""

    def fail(self) -> None:
        """The work ended without a report."""


def tracker_of(given: str | Tracker | None) -> Tracker | None:
    """ "mlflow:FOLDER" → the tracker; one that is an object as it is. Raises EvenhandError, before any work, for what is none, or not installed."""
    if not isinstance(given, str):
        return given
    name, _, folder = given.partition(":")
    if name not in KINDS or not folder:
        forms = " or ".join(f"{kind}:FOLDER" for kind in KINDS)
        raise EvenhandError(f"Found tracker '{clip(given)}'. Expected: {forms}. To do: name one of these and the folder it writes to.")
    kind = KINDS[name]
    if find_spec(kind.module) is None:
        raise EvenhandError(f"{kind.package} is not installed. Expected: it, to track with {name}. To do: pip install {kind.package}")
    if Path(folder).exists() and not Path(folder).is_dir():
        raise EvenhandError(f"The place of tracker {name} is a file: {clip(Path(folder).name)}. Expected: a folder. To do: name another.")
    return kind(Path(folder))


@dataclass
class Tracking:
    """A tracker as workflows tell it; None, or one that has failed, is told nothing."""

    tracker: Tracker | None = None
    say: Callable[[str], None] = lambda note: None
    of: dict[str, tuple[int, int]] = field(default_factory=dict)  # model → (which of its trainings on texts, the last step told)

    def start(self, settings: Callable[[], Mapping[str, object]]) -> None:
        self._ask(lambda tracker: tracker.start({name: visible(str(value))[:LONGEST] for name, value in settings().items()}))

    def standing(self, part: str, groups: Mapping[int, str], at: Standing) -> None:
        """A step on texts. A model whose parts train one after the other (teachers, then a student) has a curve for each.

        groups: those that may be named, by number.
        """
        if not at.steps:
            return
        training, last = self.of.get(part, (1, 0))
        training += at.done < last
        self.of[part] = training, at.done
        values = {"loss": at.loss, "texts a second": at.texts_per_second}
        values |= {f"validation loss/{_plain(name)}": at.valid[g] for g, name in groups.items() if g in at.valid}
        self.step(f"{part}, steps {training}" if training > 1 else f"{part}, steps", at.done, values)

    def epochs(self, part: str, trace: Trace) -> None:
        """All epochs of a training that has ended."""
        for epoch, (train, valid) in enumerate(zip(trace.train_loss, trace.valid_loss, strict=True), 1):
            self.step(part, epoch, {"loss": train, "validation loss": valid})

    def finish(self, report: Report, figures: Callable[[Mapping[str, Any]], Mapping[str, float]]) -> None:
        def told(tracker: Tracker) -> None:
            stem = report.kind.stem
            pages = {f"{stem}.md": report.markdown(), f"{stem}.json": report.json(), f"{stem}.html": report.html()}
            tracker.finish(_finite(figures(report.document)), pages)

        self._ask(told)

    def fail(self) -> None:
        self._ask(lambda tracker: tracker.fail())

    def step(self, part: str, number: int, values: Mapping[str, float]) -> None:
        """Those of the values that are finite."""
        if found := _finite(values):
            self._ask(lambda tracker: tracker.step(_plain(part), number, found))

    def _ask(self, call: Callable[[Tracker], None]) -> None:
        if self.tracker is None:
            return
        try:
            call(self.tracker)
        except Exception as error:
            self.tracker = None
            self.say(
                f"The tracker failed ({type(error).__name__}: {clip(str(error), 200)}) and is told nothing more; all else goes on without it."
            )


@contextmanager
def tracking(given: str | Tracker | None, settings: Callable[[], Mapping[str, object]], say: Callable[[str], None]) -> Iterator[Tracking]:
    """Inside, a tracker that was started and that whatever ends the work without a report ends as failed. Of several ranks the first tells it."""
    tracked = Tracking(tracker_of(given) if ranks.first() else None, say)
    tracked.start(settings)
    try:
        yield tracked
    except BaseException:
        tracked.fail()
        raise


def figures_of_audit(document: Mapping[str, Any]) -> dict[str, float]:
    """Accuracy of everybody and of each group, and the gap, of every model in a report, as it shows them."""
    out: dict[str, float] = {}
    for model in (document["model"], *document["others"]):
        name = _plain(model["model"])
        for e in (model["overall"], *(g["accuracy"] for g in model["groups"]), model["gap"]):
            out |= _estimate(f"{name}/", e)
    return out | {"exit code": document["exit_code"]}


def figures_of_comparison(document: Mapping[str, Any]) -> dict[str, float]:
    """Accuracy on test pairs of every entry of a comparison, for everybody and each group, as its report shows it."""
    return {k: v for entry in document["entries"] for e in entry["held_out"] for k, v in _estimate(f"{_plain(entry['name'])}/", e).items()}


def figures_of_texts(document: Mapping[str, Any]) -> dict[str, float]:
    """Levels and signed gaps of every run's measures, as the report shows them."""
    out: dict[str, float] = {}
    for run in document["runs"]:
        for level in run["levels"]:
            out |= _estimate(f"{_plain(run['name'])}/", level["value"], _measure(level))
        for gap in run["gaps"]:
            told = f"gap of {_measure(gap)} by {_plain(gap['axis'])}"
            out |= _estimate(f"{_plain(run['name'])}/", gap["signed"], told) | {f"{_plain(run['name'])}/{told}, d": gap["d"]}
    return out


def _measure(found: Mapping[str, Any]) -> str:
    return f"{_plain(found['measure'])}{', words of groups hidden' if found['masked'] else ''}"


def _estimate(before: str, e: Mapping[str, Any] | None, name: str = "") -> dict[str, Any]:
    """Value and interval by name; nothing where there is none."""
    if e is None:
        return {}
    name = before + (name or f"{_plain(e['metric'])} of {_plain(e['group'])}")
    return {name: e["value"], f"{name}, low": e["low"], f"{name}, high": e["high"]}


def _finite(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(v) for name, v in values.items() if isinstance(v, int | float) and math.isfinite(v)}


def _plain(name: str) -> str:
    """Names are others' words: nothing in them is obeyed, and a slash stands between parts only."""
    return visible(name).replace("/", "∕").replace("\n", " ")
