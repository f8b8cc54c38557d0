"""The options that say how DATA is read, written once for all verbs that read it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from evenhand.cli.inputs import assignments, listed
from evenhand.cli.options import Bad, BadRows, Column, GroupBy, MinStrength, Missing, OnBad, OneUser, Source, WeighStrength

if TYPE_CHECKING:
    from evenhand.core import PreferenceData


@dataclass(frozen=True)
class Rows:
    """How the rows of a file are read."""

    source: Source = None
    column: Column = None
    on_bad: Bad = OnBad.error
    one_user: OneUser = False
    min_strength: MinStrength = 0.0
    weigh_strength: WeighStrength = False

    def how(self) -> dict[str, Any]:
        """What `load` is given, in words that a document can keep; beyond source, columns and on_bad only what was asked for."""
        asked = {"one_user": self.one_user, "min_strength": self.min_strength, "weigh_strength": self.weigh_strength}
        columns = assignments(self.column, "--column", "user=annotator_id")
        return {"source": self.source, "columns": columns, "on_bad": self.on_bad.value, **{k: v for k, v in asked.items() if v}}

    def load(self, data: Path) -> PreferenceData:
        from evenhand.data.load import load

        return load(data, **self.how())


@dataclass(frozen=True)
class Reading(Rows):
    """How a file is read whose users have attributes."""

    group_by: GroupBy = None
    missing: Missing = None
    bad_rows: BadRows = None

    def how(self) -> dict[str, Any]:
        missing = listed(self.missing, "--missing", "nan,N/A") if self.missing else []
        return super().how() | ({"missing": missing} if missing else {})

    def load(
        self,
        data: Path,
        numbers: Sequence[str] | None = None,
        *,
        mentions: Path | None = None,
        swap: Path | None = None,
        leave_out: list[str] | None = None,
    ) -> PreferenceData:
        from evenhand.data.load import load

        loaded = load(
            data, attributes=self.group_by or (), bad_rows_to=self.bad_rows, numbers=numbers or (), need_texts=not numbers, **self.how()
        )
        if mentions is None and swap is None and not leave_out:
            return loaded
        from evenhand.workflows.events import with_events

        return with_events(loaded, mentions, swap, leave_out or ())


def reads(verb: Callable[..., None]) -> Callable[..., None]:
    """A verb whose parameter `reading` stands for the options of its class: they are in its signature instead."""
    hints = get_type_hints(verb, include_extras=True)
    kind = hints.pop("reading")
    options = get_type_hints(kind, include_extras=True)
    fresh = [inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=options[f.name]) for f in fields(kind)]
    own = [
        p.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[p.name])
        for p in inspect.signature(verb).parameters.values()
        if p.name != "reading"
    ]
    place = list(inspect.signature(verb).parameters).index("reading")

    @wraps(verb)
    def told(**given: Any) -> None:
        asked = {p.name: given.pop(p.name) for p in fresh if p.name in given}
        verb(reading=kind(**asked), **given)

    parameters = [*own[:place], *fresh, *own[place:]]
    told.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    told.__annotations__ = {p.name: p.annotation for p in parameters}
    return told
