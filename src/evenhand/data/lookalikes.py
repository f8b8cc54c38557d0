"""User ids that look like one another, and attribute values that look like no value: told, never merged by guess."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

NOTHING = ("nan", "n/a", "na", "none", "null", "nil", "-", "?", "unknown", "missing")  # words that people write where there is no value
INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")

ALIKE = "differs from a known one in Unicode form, case, spaces or leading zeros alone"

Fold = Callable[[str], str]


def _form(value: str) -> str:
    return unicodedata.normalize("NFKC", value)


def _space(value: str) -> str:
    return " ".join(INVISIBLE.sub("", value).split())


def _zeros(value: str) -> str:
    return value.lstrip("0") or "0" if value.isdigit() else value


FOLDS: tuple[tuple[str, Fold], ...] = (  # what alone may differ, each looked at for itself
    ("Unicode form", _form), ("case", str.casefold), ("spaces or invisible characters", _space), ("leading zeros", _zeros),
)  # fmt: skip


def folded(value: str) -> str:
    """What ids that look alike have in common."""
    for _, fold in FOLDS:
        value = fold(value)
    return value


def alike(ids: Sequence[str]) -> dict[str, int]:
    """How many ids equal another one but for their Unicode form, case, spaces or leading zeros: kind → ids, "several of these" last."""
    doubled = {kind: _doubled(ids, fold) for kind, fold in FOLDS}

    whole = _doubled(ids, folded)
    several = whole - set().union(*doubled.values())
    counts = {kind: len(members) for kind, members in doubled.items() if members}
    return counts | ({"several of these": len(several)} if several else {})


def _doubled(ids: Iterable[str], fold: Fold) -> set[str]:
    """The ids whose folded form is another one's, too."""
    folded = [(value, fold(value)) for value in ids]
    times = Counter(form for _, form in folded)
    return {value for value, form in folded if times[form] > 1}


def nothing_words(values: Sequence[str]) -> dict[str, int]:
    """Values that look like no value → users who have them, the most frequent first. values: one a user, "" = missing."""
    return dict(Counter(v for v in values if v.strip().casefold() in NOTHING).most_common())
