"""How a prompt is put to a model, and how it is asked to revise a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import Formatter
from typing import Any

from evenhand.core import EvenhandError, clip
from evenhand.texts.generators.generator import Role
from evenhand.texts.generators.prompts import Prompts
from evenhand.texts.grid import load_grid

AS_GIVEN = "{prompt}"
PLAIN = {  # of the built-in grids, for models that do not follow their prompts
    "climate": "You are speaking to {gender} {age} people in the {region}. Tell them in three sentences why you support {stance}. Speak about {theme}, "
    'and say "you" and "we".',
    "vaccination": "You are speaking to {gender} {age} people in the {region}. Tell them in three sentences why you support vaccination. Speak about "
    '{theme}, and say "you" and "we".',
}
REVISION = "Rewrite this message in other words:\n\n{text}"
PAIR_AWARE = (
    "This is the message to another group:\n{counterpart}\n\nThis is the message to rewrite:\n{text}\n\nRewrite the second message so that it is as "
    "forceful and as warm as the first. Keep what it says, to whom it speaks and its length."
)

Messages = tuple[tuple[Role, str], ...]


def plain_of(prompts: Prompts) -> str | None:
    """The plain wording where all prompts are those of one built-in grid, from a file or not."""
    for name, wording in PLAIN.items():
        grid = load_grid(name)
        known = {grid.prompt(c) for c in range(len(grid))}
        if set(grid.columns) <= set(prompts.columns) and all(p.text in known for p in prompts.rows):
            return wording
    return None


def checked(wording: str, known: Sequence[str], needed: str) -> str:
    """The template as it is. Raises EvenhandError for placeholders that nothing fills, and where the one that is needed is missing."""
    try:
        parts = [p for p in Formatter().parse(wording) if p[1] is not None]
    except ValueError as error:
        raise _wrong(f"cannot be read ({error})", known) from error
    if any(spec or conversion for _, _, spec, conversion in parts):
        raise _wrong("has a placeholder with a format", known)
    names = [name for _, name, _, _ in parts]
    if odd := next((n for n in names if n not in known), None):
        raise _wrong(f"has a placeholder {{{clip(str(odd))}}}", known)
    if needed and needed not in names:
        raise _wrong(f"has no placeholder {{{needed}}}", known)
    if not names:
        raise _wrong("has no placeholder, so that all prompts would be the same", known)
    return wording


def worded(wording: str, values: Mapping[str, Any]) -> Messages:
    """The one message of a user in which the template's placeholders are filled."""
    return (("user", wording.format(**{name: str(value) for name, value in values.items()})),)


def _wrong(found: str, known: Sequence[str]) -> EvenhandError:
    braces = ", ".join(f"{{{name}}}" for name in known)
    return EvenhandError(f"--wording {found}. Expected: a text with placeholders of {clip(braces, 300)}. To do: mend it, or leave it out.")
