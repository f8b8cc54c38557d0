"""Model cards: of a fit beside its model, and of an exported folder. What a report found is said as far as it is about that model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evenhand.report.card import Card, card
from evenhand.report.publish import one_line
from evenhand.serve.reads import what_is_read
from evenhand.serve.reward_model import RewardModel
from evenhand.workflows.facts import model_hash
from evenhand.writing import write

FILE, KIND = "model-card.md", "model card"  # of a fit: its folder may be a project's, with a README.md of its own
REPORT_FORMAT = "evenhand report 1"
LONGEST_NAME = 120  # characters


def save_card(folder: Path, model: RewardModel, report: Mapping[str, Any]) -> None:
    """Write FOLDER/model-card.md on the model in FOLDER/model. Raises DataError if a file of somebody else's would be lost."""
    read = f'import evenhand\n\nmodel = evenhand.RewardModel.load("model")\nstate = model.user([{_history(model)}])\nrewards = state.score(["a prompt"] * 2, ["one answer", "another"])'
    made = Card(
        name=_name(model, report), what=_what(model), use=[("python", read)], training=training(model, report),
        limits=[], library="evenhand", report=report, measured=True,
    )  # fmt: skip
    write(folder, {FILE: card(made).encode()}, KIND)


def exported_card(
    model: RewardModel, report: Mapping[str, Any] | None, *, what: Sequence[str], use: Sequence[tuple[str, str]], limits: Sequence[str],
    library: str, unmeasured: str,
) -> bytes:  # fmt: skip
    """README.md of an exported folder. unmeasured: why the report's figures are not those of the folder; "" = they are."""
    made = Card(
        name=_name(model, report), what=[*what, *_what(model)], use=use, training=training(model, report), limits=limits, library=library,
        report=report, measured=report is not None and not unmeasured, unmeasured=unmeasured,
    )  # fmt: skip
    return card(made).encode()


def report_beside(folder: str | Path, model: RewardModel) -> Mapping[str, Any] | None:
    """The document of the report that `fit` wrote beside a saved model; None where there is none, or it is about another one."""
    try:
        found = json.loads((Path(folder).resolve().parent / "report.json").read_bytes())
        same = found["format"] == REPORT_FORMAT and found["facts"]["model sha256"] == model_hash(model.scorer, model.feature_map)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if same else None


def training(model: RewardModel, report: Mapping[str, Any] | None) -> dict[str, str]:
    """What is known of how the model came about, in the order it is shown."""
    facts = model.facts
    known = {"evenhand": facts.get("evenhand", "")}
    for name in ("title", "method", "language model", "seed"):
        known[name] = facts.get(name, "")
    known["hyperparameters"] = ", ".join(f"{n}={v}" for n, v in dict(facts.get("hyperparameters") or {}).items())
    told = dict(report["facts"]) if report is not None else {"data sha256": facts.get("data", "")}
    for name in ("data", "data sha256", "rows read", "splits", "encoder", "features", "tuned", "model sha256", "versions", "date"):
        known[name] = told.get(name, "")
    known["model fingerprint"] = model.fingerprint
    return {name: str(value) for name, value in known.items() if value not in ("", None)}


def _name(model: RewardModel, report: Mapping[str, Any] | None) -> str:
    """The report's title, else what the model is called."""
    title = " ".join(one_line(str((report or {}).get("title") or model.facts.get("title") or "")).split())
    return title[:LONGEST_NAME] or "reward model"


def _what(model: RewardModel) -> list[str]:
    head = type(model.head).__name__
    return [
        f"A reward model r(user, prompt, response) of evenhand with the head {head}: {_user(model)}",
        what_is_read(model.with_prompt, model.history_pairs),
    ]


def _user(model: RewardModel) -> str:
    if model.history_pairs:
        return "a user is what the language model reads of him or her before the prompt."
    if len(model.user([]).state) == 0:
        return "one reward for everybody."
    return "a user is read from his or her earlier choices, and from nothing else; whoever has none gets the reward for everybody."


def _history(model: RewardModel) -> str:
    return "" if len(model.user([]).state) == 0 and not model.history_pairs else '("a prompt", "chosen", "rejected")'
