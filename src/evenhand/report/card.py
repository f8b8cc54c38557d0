"""A model card: README.md as the hub reads it. Metadata, whom the model serves how well, what it reads, what it is for and what it is not.

Figures are those of a report's own document, with their intervals, small groups hidden as they are there. Without a report, none are given.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evenhand.report import markdown
from evenhand.report.publish import printable

Estimate = Mapping[str, Any]


@dataclass(frozen=True)
class Card:
    """name: of the model. what: sentences on what it is and what it reads. use: (language, code) that loads it. training: facts by name. limits: of
    this folder, beside the report's own.

    report: the document of the report on this model; None = there is none. measured: the folder gives the rewards that the report is about;
    then its figures stand in the metadata, too. unmeasured: why they do not, one sentence.
    """

    name: str
    what: Sequence[str]
    use: Sequence[tuple[str, str]]
    training: Mapping[str, str]
    limits: Sequence[str]
    library: str
    report: Mapping[str, Any] | None = None
    measured: bool = False
    unmeasured: str = ""


INTENDED = (
    "Ranking several responses to one prompt by what people of these data would choose: in best-of-n, as a reward in training a language model, and to audit either.",
)
OUT_OF_SCOPE = (
    "Comparing rewards of different prompts, or of different users: they have no common zero.",
    "Deciding about people. A reward says which response somebody is likely to prefer, not who somebody is, and not what is true, safe or good.",
    "Texts and people unlike those of the data. No figure here speaks of them.",
)


def card(model: Card) -> str:
    """The whole file."""
    found = model.report
    parts = [f"---\n{_yaml(_metadata(model))}---\n", f"# {text(model.name)}\n"]
    if found and found.get("simulated"):
        parts.append("**The users of these data are simulated.**\n")
    parts += [text(sentence, 2000) + "\n" for sentence in model.what]
    if model.use:
        parts.append("## Use\n")
        parts += [f"```{language}\n{code.strip()}\n```\n" for language, code in model.use]
    parts += ["## Intended use\n", _bullets(INTENDED), "Not for:\n", _bullets(OUT_OF_SCOPE)]
    parts.append("## Whom it serves\n")
    parts += (
        ["No report lay beside the model, so no figure can be given: `evenhand audit` makes one.\n"]
        if found is None
        else _served(model, found)
    )
    parts += ["## Training\n", _bullets(f"{name}: {value}" for name, value in model.training.items())]
    parts += ["## Limits\n", _bullets([*model.limits, *(found["limits"] if found else ())])]
    return "\n".join(parts)


def _served(model: Card, found: Mapping[str, Any]) -> list[str]:
    judged = found["model"]
    groups = [g for g in judged["groups"] if not _hidden(g["accuracy"])]
    lines = [f"{text(model.unmeasured, 900)}\n"] if not model.measured and model.unmeasured else []
    lines.append(
        f"Accuracy is the mean over users of each user's share of pairs whose chosen response has the higher reward, on {text(judged['split'], 200)}; "
        f"intervals are 95 %. {text(found['groups_rule'], 300)}\n"
    )
    rows = [
        (name, e)
        for name, e in [*((g["group"], g["accuracy"]) for g in groups), ("all users", judged["overall"])]
        if e["value"] is not None
    ]
    lines.append(
        "| users | accuracy | 95 % interval | users | pairs |\n| --- | --- | --- | --- | --- |"
        if rows
        else "There are too few users: no figure can be shown."
    )
    lines += [
        f"| {text(name, 60)} | {_percent(e['value'])} | {_percent(e['low'])} to {_percent(e['high'])} | {e['n_users']} | {e['n_pairs']} |"
        for name, e in rows
    ]
    lines.append("")
    sentences = []
    if len(groups) > 1:
        worst = min(groups, key=lambda g: g["accuracy"]["value"])
        sentences.append(f"Worst-served group by the figure alone: {worst['group']}, {_told(worst['accuracy'])}.")
    if judged["gap"] is not None and not _hidden(judged["gap"]):
        gap = judged["gap"]
        sentences.append(f"Gap, {gap['group']}: {_points(gap['value'])} points ({_points(gap['low'])} to {_points(gap['high'])}).")
    sentences += [f"{g['group']} bears no verdict: {g['excluded']}." for g in judged["groups"] if g["excluded"]]
    hidden = len(judged["groups"]) - len(groups)
    sentences += [f"{hidden} {'group is' if hidden == 1 else 'groups are'} too small to be shown."] if hidden else []
    sentences += [f"{r['verdict']}: {r['name']}{_tolerance(r['tolerance'])}. {r['reason']}" for r in found["requirements"]]
    sentences += [f"Beside {c['before']}: {c['verdict']}" for c in found["changes"][:1] if c["verdict"]]
    sentences += [f"{c['name']}: {c['sentence']}" for c in found["constraints"]]
    sentences += [found["flaw"]] if found.get("flaw") else []
    return [*lines, _bullets(sentences)]


def _metadata(model: Card) -> dict[str, Any]:
    found = model.report
    said: dict[str, Any] = {"library_name": model.library, "pipeline_tag": "text-classification"}
    said["tags"] = ["reward-model", "preference", "fairness", *(["simulated-users"] if found and found.get("simulated") else [])]
    if found is not None and model.measured and (results := _results(found)):
        said["model-index"] = [{"name": model.name, "results": results}]
    return said


def _results(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One result, with a figure of each group and one of all users; none where all of them are hidden, since a hub refuses a result without one."""
    judged, facts = found["model"], found["facts"]
    rows = [("all users", judged["overall"]), *((g["group"], g["accuracy"]) for g in judged["groups"])]
    dataset = {"type": "user-choices", "name": facts.get("data", "choices"), "split": judged["split"]}
    dataset |= {"revision": facts["data sha256"]} if "data sha256" in facts else {}
    metrics = [
        {
            "type": "accuracy", "name": f"Accuracy, {name}", "value": round(e["value"], 4),
            "args": {"low": round(e["low"], 4), "high": round(e["high"], 4), "level": e["level"], "users": e["n_users"], "pairs": e["n_pairs"]},
        }
        for name, e in rows if not _hidden(e)
    ]  # fmt: skip
    gap = judged["gap"]
    if gap is not None and not _hidden(gap):
        metrics.append({"type": "accuracy_gap", "name": f"Accuracy gap, {gap['group']}", "value": round(gap["value"], 4), "args": {"low": round(gap["low"], 4), "high": round(gap["high"], 4), "level": gap["level"]}})  # fmt: skip
    one = {"task": {"type": "text-classification", "name": "Choice between two responses"}, "dataset": dataset, "metrics": metrics}
    return [one] if metrics else []


def text(value: str, longest: int = 160) -> str:
    """One line that Markdown shows as it stands; controls and direction marks as escapes."""
    return markdown.text(" ".join(printable(value).split()), longest)


def _hidden(estimate: Estimate) -> bool:
    return bool(estimate.get("suppressed")) or estimate["value"] is None or estimate["low"] is None or estimate["high"] is None


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _points(value: float) -> str:
    return f"{100 * value:.1f}"


def _tolerance(value: float | None) -> str:
    """Nothing of a requirement that has none."""
    return "" if value is None else f", tolerance {_points(value)} points"


def _told(estimate: Estimate) -> str:
    return f"{_percent(estimate['value'])} ({_percent(estimate['low'])} to {_percent(estimate['high'])}; {estimate['n_users']} users)"


def _bullets(sentences: Iterable[str]) -> str:
    return "".join(f"- {text(sentence, 1200)}\n" for sentence in sentences)


def _yaml(value: Any, indent: str = "") -> str:
    """Mappings, lists and scalars in YAML's block style; every text in quotes of JSON, which YAML reads alike."""
    lines = []
    for key, item in value.items() if isinstance(value, Mapping) else [("-", item) for item in value]:
        start = f"{indent}- " if key == "-" else f"{indent}{key}:"
        if isinstance(item, Mapping | list):
            inner = _yaml(item, indent + "  ")
            lines.append(f"{start}{inner[len(indent) + 2 :]}" if key == "-" else f"{start}\n{inner}")
        else:
            lines.append(f"{start}{'' if key == '-' else ' '}{_scalar(item)}\n")
    return "".join(lines)


def _scalar(value: Any) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    return json.dumps(printable(value), ensure_ascii=False)
