"""From what a caller gives to what the rooms take: data that may still lie in a file, and who is compared with whom."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from evenhand.audits.metrics import METRICS, Metric
from evenhand.core import EvenhandError, Notion, PreferenceData, clip
from evenhand.data.load import load
from evenhand.parts import installed, part
from evenhand.workflows.grouping import Grouping

RESERVED = {"pairs", "calibrated"}  # what trial files hold beside metrics

GroupBy = str | Sequence[str] | Grouping | None
Constraints = Mapping[Notion, float] | Sequence[tuple[Notion, float]]
Metrics = str | Callable[..., Any] | Sequence[str | Callable[..., Any]] | Mapping[str, Metric]


def read(data: Any, *, attributes: Sequence[str] = (), numbers: Sequence[str] = ()) -> PreferenceData:
    """Loaded data as it is; a path, or a table in memory, is loaded with the columns that are asked for (see `evenhand.load`)."""
    if isinstance(data, PreferenceData):
        return data
    return load(data, attributes=tuple(attributes), numbers=tuple(numbers), need_texts=not numbers)


def several(given: str | Sequence[str]) -> tuple[str, ...]:
    """One text, or several."""
    return (given,) if isinstance(given, str) else tuple(given)


def constraints_of(given: Constraints) -> tuple[tuple[Notion, float], ...]:
    """{"dp": 0.05}, or pairs of these."""
    pairs = [*given.items()] if isinstance(given, Mapping) else [*given]
    for pair in pairs:
        if isinstance(pair, str) or len(pair) != 2 or not isinstance(pair[1], int | float):
            raise EvenhandError(
                f"Found constraint {clip(pair)}. Expected: a notion and its largest gap. To do: constraints={{'dp': 0.05}}."
            )
    return tuple(dict(pairs).items())


def grouping_of(group_by: GroupBy) -> Grouping:
    """One attribute, several (their intersection), a `Grouping` as it is; None: the fifth of the users with the lowest support."""
    if isinstance(group_by, Grouping):
        return group_by
    names = several(group_by or ())
    if not all(isinstance(name, str) and name for name in names):
        raise EvenhandError(
            f"group_by is {group_by!r}. Expected: an attribute's name, several, or a Grouping. "
            "To do: group_by='country', or group_by=evenhand.Grouping(threshold=0.4)."
        )
    return Grouping(names)


def all_metrics(more: Metrics) -> dict[str, Metric]:
    """METRICS and those brought along.

    more: a mapping of names to `Metric`, or a list of functions of margins float[n] → float[n], or of texts that name such a function or
    a `Metric` (./mine.py:brier). A function's name is the metric's, the first line of its docstring the formula.
    """
    found: dict[str, Metric] = dict(METRICS)
    for name, metric in (
        more.items() if isinstance(more, Mapping) else map(_metric, [more] if isinstance(more, str) or callable(more) else more)
    ):
        if not isinstance(metric, Metric) or not name:
            raise EvenhandError(
                f"Metric {clip(name or str(metric))} is {'a class' if inspect.isclass(metric) else f'of type {type(metric).__name__}'}. Expected: a function of margins, or a Metric under a name. "
                "To do: metrics=[function], or metrics={'name': Metric(...)}."
            )
        if name in found or name in RESERVED:
            raise EvenhandError(f"There is a metric {clip(name)} already. Expected: another name. To do: rename it.")
        found[name] = metric
    return found


def _metric(given: str | Callable[..., Any]) -> tuple[str, Any]:
    value: Any = given
    name = given.__name__ if inspect.isfunction(given) else ""
    if isinstance(given, str):
        value = part("metrics", given)
        if value is None:
            known = ", ".join(installed("metrics")) or "none is installed"
            raise EvenhandError(f"There is no metric {clip(given)}. Expected: ./FILE.py:NAME or one of: {known}. To do: name it.")
        name = given.rpartition(":")[2]
    if inspect.isfunction(value):
        formula = (inspect.getdoc(value) or f"{name} of the margin").splitlines()[0]
        return name, Metric(value, float("-inf"), float("inf"), formula)
    return name, value
