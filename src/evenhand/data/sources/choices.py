"""A/B tables: two or more responses in a row and a label that says which was chosen. The chosen one over each other one; ties are kept.

One description serves Chatbot Arena, MultiPref, HelpSteer3, Community Alignment, Argilla, Label Studio and tables like them:

| role | columns |
|---|---|
| responses | a stem (response, completion, answer, conversation, output, …) with a slot (a/b, 1/2, 0/1, left/right); a turn may stand before it |
| label | winner, preference, overall_preference, preferred_response, choice, chosen_index, comparison, label, …; or one-hot winner columns |
| several judges in a row | a list of objects, each with a label and perhaps a judge; or lists side by side (X.responses, X.responses.users) |
| user | user, user_id, annotator_id, judge, evaluator, …, in the row or in the list |
| prompt | prompt, instruction, text, context, history, …; of two conversations, what they share |

A row with k judges is k judgements; one with four responses gives three pairs. Numbers of each response (reward_a, reward_b) are asked for by what they share: reward. Kept: the position of both responses (chosen_position,
rejected_position, 1 = shown first) and how strong the choice was (strength: `labels`), which nothing uses unless it is asked for.
All rows are read before the first pair is handed on: what a number means is told from the whole column.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from evenhand.core import DataError
from evenhand.data import labels
from evenhand.data.conversations import as_text, is_marked, split
from evenhand.data.labels import Choice, Scale
from evenhand.data.rows import BadRow, Batch, Fault, batch_of
from evenhand.data.source import LABEL_NAMES, TIME_NAMES, USUAL_NAMES, Sides, Source, is_label
from evenhand.data.sources.trl import LEFT_OUT
from evenhand.data.written import decoded

STEMS = ("response", "completion", "answer", "conversation", "output", "reply", "candidate", "generation", "human_ref", "summary", "chat",
         "option", "text", "assistant")  # fmt: skip
PROMPTS = ("prompt", "instruction", "question", "query", "context", "input", "history", "text", "post", "messages")
LABELS = (*LABEL_NAMES, "preference_score", "preference_rating", "preference_strength", "chosen")
TURNS = ("", "first", "second", "third", "fourth", "fifth", "sixth")
TURN = r"(?P<turn>first|second|third|fourth|fifth|sixth|turn_?\d+)"
RESPONSE = re.compile(
    rf"(?:{TURN}_(?:turn_)?)?(?:(?P<stem>{'|'.join(STEMS)})s?[ _.-]?(?P<slot>[a-h]|\d|left|right)|(?P<side>left|right)_(?P<of>{'|'.join(STEMS)}))",
    re.I,
)
LABEL = re.compile(rf"(?:{TURN}_(?:turn_)?)?(?:{'|'.join(LABELS)})", re.I)
ONE_HOT = re.compile(r"winner_(?:model_)?(?P<slot>[a-h]|\d|left|right|tie|both_?bad)(?:[ _]?\(?both_?bad\)?)?", re.I)
PARALLEL = re.compile(r".+\.responses")
SCORED = re.compile(r"(?P<of>.+?)[_.-](?P<slot>[a-h]|\d|left|right)", re.I)
JUDGES = re.compile(
    rf".*(?:annotations?|annotators|judge?ments?|judges|individual_preferences?|evaluations?|raters|votes|preferences|ratings|responses|{'|'.join(LABEL_NAMES)})",
    re.I,
)
MODEL = re.compile(r"model_?(?P<slot>[a-h]|\d|left|right)", re.I)
OF_JUDGE = ("overall_pref", "overall_preference", *LABELS, "selected", "score", "value", "rating", "choices")
ROW_PARTS = ("data", "fields")  # Label Studio and Argilla keep a row's own columns inside
USERS = ("user", *USUAL_NAMES["user"], "evaluator", "evaluator_id", "judge", "judge_hash", "completed_by", "evaluation_session_id")
LOOKED_AT = 1000  # rows of each batch that tell which columns are which
LONGEST_LABEL = 80  # characters; more is a text
LEFT = {"discarded", "draft", "pending"}
QUESTION = " annotations"  # after the name of a question whose answers a record keeps by question

PATTERN = "|".join(
    f"(?:{p})"
    for p in (
        re.sub(r"\?P<\w+>", "?:", r.pattern) for r in (RESPONSE, LABEL, ONE_HOT, JUDGES, MODEL)
    )
)  # fmt: skip
PATTERN = rf"(?i:{PATTERN}|.+\.responses(?:\.users|\.status)?|(?:(?:first|second|third|fourth|fifth|sixth|turn_?\d+)_(?:turn_)?)?(?:{'|'.join(PROMPTS)})|{'|'.join(USERS + TIME_NAMES + ROW_PARTS)}|status)"

SAME = Fault("the responses are the same", "different responses", set_aside=True)
NO_RESPONSE = Fault("a response is missing", "a text for every response that can be chosen", column="response")
WITHDRAWN = Fault("the judgement was cancelled, or is a draft", "submitted judgements", set_aside=True)
NO_JUDGE = Fault("nobody judged the row", "at least one judgement in every row", set_aside=True)


@dataclass(frozen=True)
class Comparison:
    """One choice that a row asks for: columns by their names in the file."""

    turn: str
    slots: tuple[str, ...]
    responses: tuple[str, ...]
    prompt: str
    label: str  # "" = one-hot or judges
    one_hot: tuple[tuple[str, str], ...] = ()  # slot or tie, column


@dataclass(frozen=True)
class Layout:
    comparisons: tuple[Comparison, ...]
    user: str
    time: str
    judges: tuple[str, ...]  # columns with a list of objects, one a judge
    lists: str  # the column of labels that stand side by side, with users and status in columns of their own
    models: Mapping[str, str]  # slot → column


@dataclass(frozen=True)
class Judgement:
    label: Any
    user: Any
    time: Any = None
    left: bool = False  # cancelled or not submitted
    kind: str = ""  # the column of judges it came from


def recognises(names: frozenset[str], first: Mapping[str, Any]) -> bool:
    if {"chosen", "rejected"} <= names or {"response", "score"} <= names:
        return False
    first = _opened(first)
    return layout(frozenset(names | set(first)), first) is not None


def layout(names: frozenset[str], first: Mapping[str, Any]) -> Layout | None:
    """Which columns play which part; None when there are no two responses or nothing says which was chosen."""
    groups: dict[tuple[str, str], dict[str, str]] = {}
    for name in sorted(names):
        if match := RESPONSE.fullmatch(name):
            stem, slot = (match["stem"] or match["of"]).lower(), (match["slot"] or match["side"]).lower()
            groups.setdefault(((match["turn"] or "").lower(), stem), {}).setdefault(slot, name)
    slotted = {key: slots for key, slots in groups.items() if len(slots) > 1}
    asked = [n for n in sorted(names) if PARALLEL.fullmatch(n) and f"{n}.users" in names]
    judges = tuple(n for n in sorted(names) if n not in asked and JUDGES.fullmatch(n) and _is_judges(first.get(n)))
    judges = tuple(n for n in judges if is_label(n.removesuffix(QUESTION)))[:1] or judges  # of several questions the one on the whole
    lists = min(asked, key=lambda n: (not is_label(n.removesuffix(".responses")), "overall" not in n), default="")
    one_hot = tuple((m["slot"].lower(), n) for n in sorted(names) if (m := ONE_HOT.fullmatch(n)))
    comparisons = []
    for turn in sorted({turn for turn, _ in slotted}, key=lambda t: (TURNS.index(t) if t in TURNS else 9, t)):
        slots = min(((STEMS.index(stem), group) for (t, stem), group in slotted.items() if t == turn), key=lambda g: g[0])[1]
        label = _named(names, LABELS, turn)
        label = "" if isinstance(decoded(first.get(label)), (list, dict)) else label
        label = (
            "" if len(str(first.get(label) or "")) > LONGEST_LABEL and first[label] not in [first.get(n) for n in slots.values()] else label
        )
        if label or judges or lists or one_hot:
            prompt = _named(names, PROMPTS, turn)
            comparisons.append(Comparison(turn, tuple(slots), tuple(slots.values()), prompt, label, () if label else one_hot))
    if not comparisons:
        return None
    models = {m["slot"].lower(): n for n in names if (m := MODEL.fullmatch(n))}
    return Layout(tuple(comparisons), _named(names, USERS), _named(names, TIME_NAMES), judges, lists, models)


def _named(names: frozenset[str], usual: Sequence[str], turn: str = "") -> str:
    """The column with the first of the usual names, under this turn; "" = none."""
    spelt = {n.lower(): n for n in sorted(names, reverse=True)}
    starts = (f"{turn}_turn_", f"{turn}_") if turn else ("",)
    return next((spelt[f"{start}{name}"] for name in usual for start in starts if f"{start}{name}" in spelt), "")


def _is_judges(value: Any) -> bool:
    """A list of judges, as far as one value tells: it may be empty."""
    value = _each(value)
    if not isinstance(value, (list, tuple)) or not all(isinstance(v, Mapping) for v in value):
        return False
    return not value or any(_inside(v, OF_JUDGE) is not None for v in value)


def _each(value: Any) -> Any:
    """A list of objects, also where it is kept as an object of lists of one length."""
    if not isinstance(value, Mapping) or not value or not all(isinstance(v, list) for v in value.values()):
        return decoded(value)
    rows = [dict(zip(value, row)) for row in zip(*value.values())]
    whole = len({len(v) for v in value.values()}) == 1 and not any(isinstance(v, (Mapping, list)) for row in rows for v in row.values())
    return rows if whole else value


def _listed(value: Any) -> Sequence[Any]:
    """A list as it is; what is none holds nothing: single rows of a file may hold anything."""
    return value if isinstance(value, (list, tuple)) else ()


def _inside(value: Any, names: Sequence[str]) -> Any:
    """The value under the first of these names, however deep; None = there is none. What lies under a name counts as its."""
    return min(_leaves(value, names, len(names)), key=lambda leaf: leaf[0], default=(0, None))[1]


def _leaves(value: Any, names: Sequence[str], under: int) -> Iterator[tuple[int, Any]]:
    """(the first of the names on the way, value) of everything that has one of the names. A ranking says its first, or that two are."""
    if not isinstance(value, Mapping):
        for v in value if isinstance(value, (list, tuple)) else ():
            yield from _leaves(v, names, under)
        return
    for name, here in value.items():
        rank = min(under, names.index(name)) if name in names else under
        if name in names and isinstance(here, Mapping) and names is USERS:
            yield rank, here.get("id", here.get("email"))
        elif name in names and isinstance(here, list) and len(here) == 1 and isinstance(here[0], (str, int, float)):
            yield rank, here[0]
        elif (
            name in names
            and isinstance(here, list)
            and here
            and all(isinstance(v, Mapping) and {"rank", "value"} <= v.keys() for v in here)
        ):
            best = min(v["rank"] for v in here)
            first = [v["value"] for v in here if v["rank"] == best]
            yield rank, first[0] if len(first) == 1 else "tie"
        elif isinstance(here, (Mapping, list, tuple)):
            yield from _leaves(here, names, rank)
        elif name in names and here is not None:
            yield rank, here


def _opened(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row with the columns that an export keeps inside `data` or `fields`."""
    inner = [record[part] for part in ROW_PARTS if isinstance(record.get(part), Mapping)]
    if isinstance(record.get("responses"), Mapping):  # Argilla's own records: question → judges
        inner.append({f"{question}{QUESTION}": judges for question, judges in record["responses"].items()})
    return {**record, **{k: v for part in inner for k, v in part.items()}} if inner else record


def parse(batches: Iterable[Batch], sides: Sides, seed: int) -> Iterator[Batch]:
    whole = list(batches)
    records = [[_opened(r) for r in batch.records()] for batch in whole]
    first: dict[str, Any] = {}  # of each column a value that tells what it holds
    for record in (r for rows in records for r in rows[:LOOKED_AT]):
        first.update({n: v for n, v in record.items() if first.get(n) in (None, "", [])})
    plan = layout(frozenset(first), first)
    if plan is None:
        raise DataError("the table holds no two responses with a label", expected="such as response_a, response_b, winner",
                        remedy="name the columns: --column response_a=NAME --column response_b=NAME --column label=NAME")  # fmt: skip
    judgements = {c: [j for rows in records for r in rows for j in _judgements(plan, c, r) if not j.left] for c in plan.comparisons}
    scales = {c: _scale(c, labelled) for c, labelled in judgements.items()}
    if all(j.user is None for labelled in judgements.values() for j in labelled):
        raise _nobody(judgements, scales, whole[0].file)
    notes = {scale.note: 0 for scale in scales.values() if scale.note}
    for batch, rows in zip(whole, records):
        yield _pairs(batch, rows, plan, scales, notes)


def _scale(comparison: Comparison, judgements: Sequence[Judgement]) -> Scale:
    values = (labels.number(j.label) for j in judgements)
    return labels.scale_of((v for v in values if v is not None), comparison.slots, comparison.responses)


def _nobody(judgements: Mapping[Comparison, Sequence[Judgement]], scales: Mapping[Comparison, Scale], file: str) -> DataError:
    """The error of a table that does not say who chose; it says what is in it."""
    read = [labels.read(j.label, c.slots, scales[c]) for c, labelled in judgements.items() for j in labelled]
    choices = [c for c in read if isinstance(c, Choice)]
    ties = sum(c.best < 0 for c in choices)
    return DataError(
        f"no column says who chose: {len(choices):,} judgements ({ties:,} ties), but none has a user id",
        expected="a column of user ids (user, annotator_id, judge, …), since everything here is about users",
        remedy="name it with --column user=NAME, or read all rows as one user's with --one-user", file=file,
    )  # fmt: skip


def _judgements(plan: Layout, comparison: Comparison, record: Mapping[str, Any]) -> Iterator[Judgement]:
    """Who said what of one comparison of a row."""
    user, time = record.get(plan.user), record.get(plan.time)
    user = user.get("id", user.get("email")) if isinstance(user, Mapping) else user
    for name in plan.judges:
        for judge in (j for j in _listed(_each(record.get(name))) if isinstance(j, Mapping)):
            own, when = _inside(judge, USERS), next((judge[t] for t in TIME_NAMES if judge.get(t)), time)
            yield Judgement(_inside(judge, OF_JUDGE), user if own is None else own, when, _left(judge), name)
    if plan.lists:
        said, who, status = (_listed(decoded(record.get(plan.lists + part))) for part in ("", ".users", ".status"))
        for i, label in enumerate(said):
            state = str(status[i]).lower() if i < len(status) else ""
            yield Judgement(
                _inside(label, OF_JUDGE) if isinstance(label, Mapping) else label, who[i] if i < len(who) else None, time, state in LEFT
            )
    elif not plan.judges:
        yield Judgement(record.get(comparison.label) if comparison.label else _one_hot(comparison, record), user, time)


def _left(judge: Mapping[str, Any]) -> bool:
    return judge.get("was_cancelled") is True or str(judge.get("status") or "").lower() in LEFT


def _one_hot(comparison: Comparison, record: Mapping[str, Any]) -> Any:
    """The slot whose column is 1; a number of them that is not one names nothing."""
    on = [slot for slot, name in comparison.one_hot if labels.number(record.get(name)) == 1 or str(record.get(name)).lower() == "true"]
    return f"model_{on[0]}" if len(on) == 1 else "several winners" if on else None


def _pairs(
    batch: Batch, records: Sequence[Mapping[str, Any]], plan: Layout, scales: Mapping[Comparison, Scale], notes: Mapping[str, int]
) -> Batch:
    rows: list[tuple[int, dict[str, Any]]] = []
    bad = list(batch.bad)
    left_out = 0
    extras = [n for n in batch.columns if not re.fullmatch(PATTERN, n) or n in ("split", "weight")]
    for line, record in zip(batch.line.tolist(), records):
        said: list[tuple[str, str]] = []
        more = {n: record.get(n) for n in extras}
        for comparison in plan.comparisons:
            given = [record.get(name) for name in comparison.responses]
            if comparison.turn and not any(given) and not record.get(comparison.label):
                continue  # a turn that did not take place
            judgements = list(_judgements(plan, comparison, record))
            if not judgements:
                bad.append(BadRow(line, NO_JUDGE))
            for judgement in judgements:
                models = [record.get(plan.models.get(slot, "")) for slot in comparison.slots]
                choice = labels.read(judgement.label, comparison.slots, scales[comparison], models, given)
                if judgement.left or isinstance(choice, Fault):
                    fault = choice if isinstance(choice, Fault) and not judgement.left else WITHDRAWN
                    column = f"'{comparison.label or plan.lists or next(iter(plan.judges), 'winner')}'"
                    bad.append(
                        BadRow(line, replace(fault, reason=fault.reason.replace("the label", column)), judgement.label, judgement.user)
                    )
                    continue
                prompt = _asked(record, comparison, said)
                about = {"user": judgement.user, "strength": choice.strength, **({"time": judgement.time} if judgement.time is not None else {}),
                         **({"expertise": judgement.kind.split("_")[0]} if len(plan.judges) > 1 else {}), **more}  # fmt: skip
                for i, j in _over(choice, given):
                    made, lost = _pair(prompt, given[i], given[j])
                    left_out += lost
                    if isinstance(made, Fault):
                        bad.append(BadRow(line, made, user=judgement.user))
                    else:
                        numbers = _scores(record, comparison, extras, i, j)
                        rows.append(
                            (
                                line,
                                {**made, **numbers, "tie": choice.best < 0, "chosen_position": i + 1, "rejected_position": j + 1, **about},
                            )
                        )
                if comparison.turn and choice.best >= 0:
                    said += [("user", record.get(comparison.prompt) or ""), ("assistant", given[choice.best] or "")]
    return replace(batch_of(batch.file, rows, bad), notes={**notes, **({LEFT_OUT: left_out} if left_out else {})})


def _over(choice: Choice, given: Sequence[Any]) -> list[tuple[int, int]]:
    """(better, worse): the chosen response over each other one; of a tie, every two. Of more than two, some may be missing."""
    there = [i for i, v in enumerate(given) if len(given) == 2 or v not in (None, "")]
    return list(combinations(there, 2)) if choice.best < 0 else [(choice.best, i) for i in there if i != choice.best]


def _asked(record: Mapping[str, Any], comparison: Comparison, said: Sequence[tuple[str, str]]) -> Any:
    """What was asked, with the turns that went before."""
    prompt = record.get(comparison.prompt) if comparison.prompt else None
    if not said:
        return decoded(prompt)
    return [{"role": role, "content": text} for role, text in (*said, ("user", prompt or ""))]


def _pair(prompt: Any, chosen: Any, rejected: Any) -> tuple[dict[str, Any] | Fault, int]:
    """prompt, chosen and rejected as texts, or what is wrong with them; and how many turns are no text."""
    chosen, rejected = decoded(chosen), decoded(rejected)
    if chosen is None or rejected is None:
        return NO_RESPONSE, 0
    if _texts(prompt) and _texts(chosen) and _texts(rejected):  # questions and answers turn by turn, in lists of their own
        chosen, rejected = ([{"role": r, "content": t or ""} for q, a in zip(prompt, said) for r, t in (("user", q), ("assistant", a))]
                            for said in (chosen, rejected))  # fmt: skip
        prompt = None
    conversation = (
        split(prompt, chosen, rejected, prompt is not None)
        if prompt is not None or not isinstance(chosen, str) or is_marked(chosen)
        else None
    )
    if conversation is None:
        texts = "", as_text(chosen), as_text(rejected)
    elif conversation.fault:
        return conversation.fault, conversation.left_out
    else:
        texts = conversation.prompt, conversation.chosen, conversation.rejected
    if texts[1] == texts[2]:
        return SAME, 0
    return dict(zip(("prompt", "chosen", "rejected"), texts)), conversation.left_out if conversation else 0


def _texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(v is None or isinstance(v, str) for v in value)


def scored(names: frozenset[str], name: str) -> tuple[str, ...]:
    """The columns that hold one number of each response, such as reward_a and reward_b for "reward"; () = there are none.

    Raises DataError for one of these columns alone: nothing says to which side of a pair it belongs.
    """
    of_each = tuple(n for n in sorted(names) if (m := SCORED.fullmatch(n)) and m["of"] == name)
    alone = SCORED.fullmatch(name)
    others = [n for n in names if alone and n != name and (m := SCORED.fullmatch(n)) and m["of"] == alone["of"]]
    if alone and others:
        raise DataError(f"'{name}' is the number of one response, whichever was chosen", expected="the numbers of all responses",
                        remedy=f"ask for '{alone['of']}': it becomes {alone['of']}_chosen and {alone['of']}_rejected", column=name)  # fmt: skip
    return of_each if len(of_each) > 1 else ()


def _scores(record: Mapping[str, Any], comparison: Comparison, extras: Sequence[str], i: int, j: int) -> dict[str, Any]:
    """NAME_chosen and NAME_rejected of the columns that hold one number of each response."""
    of = {n: m for n in extras if (m := SCORED.fullmatch(n)) and m["slot"].lower() in comparison.slots}
    sides = {comparison.slots[i]: "chosen", comparison.slots[j]: "rejected"}
    return {f"{m['of']}_{sides[m['slot'].lower()]}": record.get(n) for n, m in of.items() if m["slot"].lower() in sides}


SAMPLE = (
    {"annotator_id": "u1", "prompt": "Name a colour.", "response_a": "Blue.", "response_b": "There are so many!", "winner": "model_a"},
    {"annotator_id": "u2", "prompt": "Name a colour.", "response_a": "Blue.", "response_b": "There are so many!", "winner": "model_b"},
    {"annotator_id": "u2", "prompt": "Name a bird.", "response_a": "A robin.", "response_b": "Robins are birds.", "winner": "tie"},
)

SOURCE = Source(
    name="choices",
    summary="two or more responses a row and who won (Arena, MultiPref, HelpSteer3, Argilla, Label Studio …): the chosen over the others",
    required=(),
    optional=("user", "prompt", "response_a", "response_b", "label", "weight", "split", "time"),
    recognises=recognises,
    parse=parse,
    sample=SAMPLE,
    pattern=PATTERN,
    attributes=("expertise",),
    scored=scored,
    numbers=("strength", "chosen_position", "rejected_position"),
)
