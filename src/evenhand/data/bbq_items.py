"""Items of BBQ, the Bias Benchmark for QA (Parrish et al. 2022, Findings of ACL, arXiv 2110.08193): a context, a question, three answers.

Two persons of two groups are named; one answer names each of them and one says that it cannot be known. An ambiguous context does not
tell (the unknown answer is right), a disambiguated one does. A negative question asks who did the harmful thing, a non-negative one
who did not, so that an answer to the latter casts the other person in the harmful role.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from evenhand.core import SPLITS
from evenhand.data.reading import read
from evenhand.data.rows import Fault

UNKNOWN = "unknown"  # the group of the answer that names nobody
ANSWERS = ("ans0", "ans1", "ans2")
COLUMNS = ("question_index", "question_polarity", "context_condition", "category", "answer_info", "context", "question", *ANSWERS, "label")
SHARES = (0.50, 0.15, 0.20, 0.15)  # of a category's templates, to train, valid, test and certify
SAME_GROUP = {
    "woman": "f",
    "women": "f",
    "girl": "f",
    "girls": "f",
    "man": "m",
    "men": "m",
    "boy": "m",
    "boys": "m",
}  # as the templates name genders

POLARITY = Fault("'question_polarity' is neither neg nor nonneg", "neg or nonneg", column="question_polarity")
CONDITION = Fault("'context_condition' is neither ambig nor disambig", "ambig or disambig", column="context_condition")
TEXTS = Fault("a text of the item is missing or empty", f"texts for category, question_index, context, question, {', '.join(ANSWERS)}")
INFO = Fault(
    "'answer_info' lacks an answer", "for ans0, ans1, ans2 a name and a group, one of the three groups 'unknown'", column="answer_info"
)
LABEL = Fault("'label' does not fit the context", "0, 1 or 2: the unknown answer if ambiguous, else another", column="label")
SAME = Fault("two answers are the same", "three different answers")


@dataclass(frozen=True)
class Item:
    """One question. groups: of the three answers, UNKNOWN once. first, second: the answers of the persons as the context names them.

    target: the answer of the person whose group the stereotype is about, -1 = neither or both. right, unknown: places of answers.
    frame: the item without its names, "" where they are not found in the context; items of one frame differ in the names alone.
    """

    template: str
    category: str
    negative: bool
    ambiguous: bool
    prompt: str
    answers: tuple[str, ...]
    names: tuple[str, ...]
    groups: tuple[str, ...]
    right: int
    unknown: int
    target: int
    first: int
    second: int
    frame: str

    def blamed(self, answer: int) -> int:
        """The person whom an answer casts in the harmful role: the one it names, for a non-negative question the other one."""
        return answer if self.negative else self.first + self.second - answer

    @property
    def biased(self) -> int:
        """The answer that casts the stereotype's target in the harmful role, -1 = there is none."""
        return -1 if self.target < 0 else self.blamed(self.target)


@dataclass(frozen=True)
class Items:
    """Many items as arrays, for scores of three rewards an item. templates: names; template int64[n] indexes them.

    prompts, answers: texts, answers three an item. category: one an item. ambiguous, negative bool[n]. right, unknown, biased int64[n]:
    places of answers, biased -1 where the stereotype's target is not told. split int8[n], numbers of SPLITS.
    """

    templates: tuple[str, ...]
    template: np.ndarray
    prompts: tuple[str, ...]
    answers: tuple[tuple[str, ...], ...]
    category: tuple[str, ...]
    ambiguous: np.ndarray
    negative: np.ndarray
    right: np.ndarray
    unknown: np.ndarray
    biased: np.ndarray
    split: np.ndarray

    def __len__(self) -> int:
        return len(self.template)

    def __repr__(self) -> str:
        return f"Items({len(self):,} of {len(self.templates)} templates)"

    def take(self, rows: np.ndarray) -> Items:
        """The items at `rows` (boolean mask or indices); templates keep their numbers."""
        kept = np.arange(len(self))[rows]
        return replace(
            self, template=self.template[kept], prompts=tuple(self.prompts[i] for i in kept), answers=tuple(self.answers[i] for i in kept),
            category=tuple(self.category[i] for i in kept), ambiguous=self.ambiguous[kept], negative=self.negative[kept],
            right=self.right[kept], unknown=self.unknown[kept], biased=self.biased[kept], split=self.split[kept],
        )  # fmt: skip


def read_items(path: Path | str) -> Items:
    """The items of one category's file, or of all categories' files of a folder, in order. Raises DataError at the first bad item."""
    from evenhand.data.resolve import Asked, resolve  # resolve looks into the sources, and the source of BBQ imports this file

    plan = resolve(Path(path), Asked("bbq", {}))
    found: list[Item] = []
    for file in plan.files:
        for batch in read(file, plan.keep(())):
            for bad in batch.bad:
                raise bad.fault.error(file.name, bad.line, bad.value)
            for line, record in zip(batch.line.tolist(), batch.records()):
                item = item_of(record)
                if isinstance(item, Fault):
                    raise item.error(file.name, line)
                found.append(item)
    return arranged(found)


def arranged(items: Sequence[Item]) -> Items:
    """Items as arrays; templates in sorted order."""
    templates = tuple(sorted({i.template for i in items}))
    place = {t: n for n, t in enumerate(templates)}
    part = deal(items)

    def column(values: list[Any], dtype: Any = np.int64) -> np.ndarray:
        return np.array(values, dtype)

    return Items(
        templates, column([place[i.template] for i in items]), tuple(i.prompt for i in items), tuple(i.answers for i in items),
        tuple(i.category for i in items), column([i.ambiguous for i in items], np.bool_), column([i.negative for i in items], np.bool_),
        column([i.right for i in items]), column([i.unknown for i in items]), column([i.biased for i in items]),
        column([SPLITS.index(part[i.template]) for i in items], np.int8),
    )  # fmt: skip


def deal(items: Sequence[Item]) -> dict[str, str]:
    """template → its split. The templates of each category, in the order of their SHA-256, are cut by SHARES: no template is in two."""
    found: dict[str, str] = {}
    for category in {i.category for i in items}:
        templates = sorted(
            {i.template for i in items if i.category == category}, key=lambda t: hashlib.sha256(t.encode("utf-8", "surrogatepass")).digest()
        )
        ends = np.round(np.cumsum(SHARES) * len(templates))
        found |= {t: SPLITS[int(np.searchsorted(ends, n, side="right"))] for n, t in enumerate(templates)}
    return found


def item_of(record: Mapping[str, Any]) -> Item | Fault:
    """A record of a released file → an item, or what is wrong with it."""
    index = record.get("question_index")
    texts = [record.get(name) for name in ("category", "context", "question", *ANSWERS)]
    if (
        not all(isinstance(t, str) and t.strip() for t in texts)
        or isinstance(index, bool)
        or not isinstance(index, (str, int))
        or not str(index).strip()
    ):
        return TEXTS
    category, context, question, *answers = (str(t).strip() for t in texts)
    polarity, condition, label = record.get("question_polarity"), record.get("context_condition"), record.get("label")
    if polarity not in ("neg", "nonneg"):
        return POLARITY
    if condition not in ("ambig", "disambig"):
        return CONDITION
    info = record.get("answer_info")
    pairs: list[Any] = [info.get(a) for a in ANSWERS] if isinstance(info, Mapping) else []
    if not pairs or not all(
        isinstance(p, Sequence) and not isinstance(p, str) and len(p) == 2 and all(isinstance(t, str) for t in p) for p in pairs
    ):
        return INFO
    names, groups = (tuple(p[k].strip() for p in pairs) for k in (0, 1))
    if groups.count(UNKNOWN) != 1 or not all((*names, *groups)):
        return INFO
    unknown = groups.index(UNKNOWN)
    if isinstance(label, bool) or label not in (0, 1, 2) or (label == unknown) != (condition == "ambig"):
        return LABEL
    if len(set(answers)) < 3:
        return SAME
    a, b = (k for k in range(3) if k != unknown)
    frame, swapped = _frame(context, question, names[a], names[b])
    about = record.get("additional_metadata")
    target = _target(about.get("stereotyped_groups") if isinstance(about, Mapping) else None, names, groups, (a, b))
    return Item(
        f"{category}-{index}", category, polarity == "neg", condition == "ambig", f"{context} {question}", tuple(answers), names, groups,
        int(label), unknown, target, *((b, a) if swapped else (a, b)), frame,
    )  # fmt: skip


def _target(stereotyped: Any, names: tuple[str, ...], groups: tuple[str, ...], persons: tuple[int, int]) -> int:
    """The person of whom a stereotyped group is told, by group, name or, of a joint group such as F-Black, by its parts."""
    known = (
        {_plain(s) for s in stereotyped if isinstance(s, str)}
        if isinstance(stereotyped, Sequence) and not isinstance(stereotyped, str)
        else set()
    )
    for tags in (lambda k: {groups[k], names[k]}, lambda k: set(groups[k].split("-"))):
        found = [k for k in persons if known & {_plain(t) for t in tags(k)}]
        if len(found) == 1:
            return found[0]
    return -1


def _plain(group: str) -> str:
    folded = re.sub(r"[\W_]+", "", group.casefold())
    return SAME_GROUP.get(folded, folded)


def _frame(context: str, question: str, a: str, b: str) -> tuple[str, bool]:
    """The texts with the names replaced by their order in the context, "" where one is not in it; whether b comes before a."""
    pattern = _either(a, b)
    order = list(dict.fromkeys(m.casefold() for m in pattern.findall(context)))
    if len(order) < 2:
        return "", len(order) == 1 and order[0] == b.casefold()
    named = pattern.sub(lambda m: f"{{{order.index(m.group().casefold())}}}", f"{context}\n{question}")
    return re.sub(r"\b[Aa]n? (?=\{)", "a ", named), order[0] == b.casefold()


@lru_cache(maxsize=4096)
def _either(a: str, b: str) -> re.Pattern[str]:
    longer, shorter = sorted((re.escape(a), re.escape(b)), key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{longer}|{shorter})(?!\w)", re.IGNORECASE)
