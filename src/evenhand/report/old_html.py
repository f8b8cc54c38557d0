"""The published JSON → one HTML page that needs nothing else: no script, no request, figures inline."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup, escape

from evenhand.report.layout import Panel


def render(template: str, document: dict[str, Any], shown: Sequence[Panel], **parts: Any) -> str:
    """A page of this folder's templates: its head from `parts`, then the panels."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("evenhand.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.get_template(template)
    return page.render(document=document, panels=[_safe(p) for p in shown], hashes=_hashes(document["facts"]), **parts)


def title(sentence: str) -> Markup:
    """A finding with its evidence, "(… 48 users, …)", set lighter than the finding itself."""
    return Markup(re.sub(r"\([^()]*\b(?:users?|pairs?|prompts?)\b[^()]*\)", r"<span>\g<0></span>", str(escape(sentence))))  # noqa: S704


def _safe(panel: Panel) -> dict[str, Any]:
    """The panel for the template, its figures marked as markup."""
    figures = [{**vars(f), "title": title(f.sentence), "wide": Markup(f.wide), "narrow": Markup(f.narrow)} for f in panel.figures]  # noqa: S704
    return {**vars(panel), "figures": figures, "finding": title(panel.finding)}


def _hashes(facts: dict[str, str]) -> dict[str, str]:
    """The fingerprints among the facts: they say what exactly the verdict is about."""
    return {k: v for k, v in facts.items() if any(word in k.lower() for word in ("hash", "sha256", "sha-256", "fingerprint"))}
