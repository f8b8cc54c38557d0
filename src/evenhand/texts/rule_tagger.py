"""Parts of speech and imperatives by rule, where spaCy is not installed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evenhand.texts.tags import Tags, record


def name() -> str:
    return "evenhand's rule"


def about() -> str:
    return f"{name()} 0"


def records(sentences: Sequence[str]) -> list[Any]:
    return [record(Tags({}, 0, (), (), len(s.split()))) for s in sentences]
