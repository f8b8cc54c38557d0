"""What a workflow says of its parameters: defaults from its signature, sentences from its docstring, each written there alone.

Both are read from the source text: to import a workflow is to import torch, and --help answers at once.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import evenhand

SHARED = ("workflows/audit.py:audit", "workflows/fit.py:fit", "workflows/compare.py:compare", "workflows/encoding.py:Encoding",
          "workflows/grouping.py:Grouping", "data/load.py:load", "encode/backbone.py:Backbone", "core.py:Tuning",
          "encode/hub_reward.py:HubRewardModel", "workflows/audit_text.py:audit_text", "workflows/generate.py:generate",
          "workflows/audit_shards.py:audit_merge")  # fmt: skip  # whose parameters mean the same in every verb
TRAINING = ("fit", "compare", "sweep")  # verbs whose head is one to train
ENTRY = re.compile(r" {4}(\w+): (.*)")
NONE = object()  # no default


@dataclass(frozen=True)
class Parameter:
    """default: NONE where there is none, or none that is written as a literal. help: one paragraph, "" where nothing is said."""

    default: Any
    help: str


def parameter(verb: str, name: str) -> Parameter:
    """Of the workflow of that verb, else of the first that shares one of this name with it; what none says is NONE and ""."""
    shared = ("workflows/fit.py:fit", *SHARED) if verb in TRAINING else SHARED
    found = [known[name] for place in (f"workflows/{verb}.py:{verb}", *shared) if name in (known := parameters(place))]
    default = found[0].default if found else NONE
    return Parameter(default, next((p.help for p in found if p.help), ""))


@cache
def parameters(place: str) -> dict[str, Parameter]:
    """Of a function, or of a dataclass, named as FILE:NAME."""
    file, _, name = place.partition(":")
    path = Path(str(evenhand.__file__)).parent / file
    if not path.exists():
        return {}
    # of the file only the definition, to the next line that stands at the left: to parse all of them is a quarter of what --help takes
    found = re.search(rf"^(?:def|class) {name}\b.*?(?=^[^\s)]|\Z)", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    if found is None:
        return {}
    node = ast.parse(found[0]).body[0]
    assert isinstance(node, ast.FunctionDef | ast.ClassDef)
    help_of = dict(_entries(ast.get_docstring(node) or ""))
    return {n: Parameter(_literal(d), help_of.get(n, "")) for n, d in _defaults(node)}


def _defaults(node: ast.FunctionDef | ast.ClassDef) -> Iterator[tuple[str, ast.expr | None]]:
    if isinstance(node, ast.ClassDef):
        yield from ((n.target.id, n.value) for n in node.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name))
        return
    plain = node.args.args
    none: list[ast.expr | None] = [None] * (len(plain) - len(node.args.defaults))
    yield from zip((a.arg for a in plain), [*none, *node.args.defaults], strict=True)
    yield from zip((a.arg for a in node.args.kwonlyargs), node.args.kw_defaults, strict=True)


def _literal(node: ast.expr | None) -> Any:
    try:
        return NONE if node is None else ast.literal_eval(node)
    except ValueError:
        return NONE


def _entries(docstring: str) -> Iterator[tuple[str, str]]:
    """(name, sentence) of each line under "Args:"; lines that are indented further go on with it."""
    _, found, rest = inspect.cleandoc(docstring).partition("Args:\n")
    name, text = "", ""
    for line in rest.splitlines() if found else ():
        entry = ENTRY.fullmatch(line)
        if entry is None and not line.startswith("     "):
            break
        if entry is None:
            text += f" {line.strip()}"
            continue
        if name:
            yield name, text
        name, text = entry[1], entry[2]
    if name:
        yield name, text
