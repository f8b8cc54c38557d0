"""Surface features of texts, and how far one alone tells chosen from rejected: a model that learned it looks good and learned nothing."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from scipy.special import stdtr, stdtrit

from evenhand.core import Estimate, PreferenceData
from evenhand.data.votes import has_texts, is_strict

LONGEST = 20_000  # characters of a text that are looked at; its length counts whole
FALSE_DISCOVERIES = 0.1  # Benjamini-Hochberg over all (feature, group): the list is exploratory
MIN_USERS = 10  # clusters needed before a t interval means much
FAR = 0.1  # accuracy this far from one half matters ...
FAR_WHERE_IT_DIFFERS = 0.25  # ... or this far on the pairs that differ, if in all
FAR_ENOUGH = 0.02  # it still moves accuracy by this much: a mark in one pair of a hundred buys a model nothing

WORD = re.compile(r"\w+")
LIST_MARKER = re.compile(r"^[ \t]*(?:[-*•–]|\d{1,3}[.)])[ \t]", re.MULTILINE)
DIGIT, UPPER, BRACKET, MARKUP = re.compile(r"[0-9]"), re.compile(r"[A-Z]"), re.compile(r"[(\[{<]"), re.compile(r"\*\*|`|^#+ ", re.MULTILINE)
COUNTS = (
    "characters", "words", "line breaks", "list markers", "opening brackets", "markup (bold, code, headings)",
    "question marks", "exclamation marks", "digits", "capital letters", "sentence mark at the end",
)  # fmt: skip
POSITION = "earlier position"
MARKUP_COUNT, END_MARK = COUNTS[5], COUNTS[10]
RULES = {  # feature → (preferring more of it, less of it), where it is not "more" and "fewer"
    MARKUP_COUNT: (f"more {MARKUP_COUNT}", f"less {MARKUP_COUNT}"),
    END_MARK: (f"a {END_MARK}", f"no {END_MARK}"),
    POSITION: (POSITION, "later position"),
}


def surface_counts(text: str) -> tuple[int, ...]:
    """One number for each of COUNTS, in order."""
    head = text[:LONGEST]
    return (
        len(text), len(head.split()), head.count("\n"), len(LIST_MARKER.findall(head)), len(BRACKET.findall(head)),
        len(MARKUP.findall(head)), head.count("?"), head.count("!"), len(DIGIT.findall(head)), len(UPPER.findall(head)),
        int(text[-1:] in (".", "!", "?")),
    )  # fmt: skip


def tokens(text: str) -> list[str]:
    """Words in one case and one Unicode form, without punctuation."""
    head = text[:LONGEST]
    return WORD.findall((head if head.isascii() else unicodedata.normalize("NFKC", head)).casefold())


@dataclass(frozen=True)
class TextFacts:
    """What a doctor knows of each distinct text, computed once a text; zeros for texts that no row uses."""

    counts: np.ndarray  # float32[texts, len(COUNTS)]
    form: np.ndarray  # int64[texts]: equal for texts that differ in case, spacing or punctuation only
    vocabulary: np.ndarray  # int32[texts]: distinct words


def text_facts(texts: Sequence[str], used: np.ndarray) -> TextFacts:
    """used int[m]: the texts that some row refers to; -1 is ignored."""
    counts = np.zeros((len(texts), len(COUNTS)), dtype=np.float32)
    form, vocabulary = np.zeros(len(texts), dtype=np.int64), np.zeros(len(texts), dtype=np.int32)
    for i in np.unique(used[used >= 0]):
        text = texts[i]
        words = tokens(text)
        # Texts too long to be looked at in full, or without a word, are equal only to themselves.
        same = " ".join(words) if words and len(text) <= LONGEST else text
        counts[i] = surface_counts(text)
        form[i] = int.from_bytes(blake2b(same.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little", signed=True)
        vocabulary[i] = len(set(words))
    return TextFacts(counts, form, vocabulary)


@dataclass(frozen=True)
class SurfaceFeature:
    """How often "prefer the response with more (or less) of it" is right. Intervals are t over users."""

    feature: str
    group: str
    prefers: str  # "more" or "less", whichever is right more often
    accuracy: Estimate  # all strict pairs, those that do not differ count half
    where_it_differs: Estimate  # over the other pairs
    flagged: bool

    @property
    def rule(self) -> str:
        """What the rule prefers, in words: "fewer words"."""
        more, less = RULES.get(self.feature, (f"more {self.feature}", f"fewer {self.feature}"))
        return less if self.prefers == "less" else more


def separations(data: PreferenceData, facts: TextFacts, groups: Sequence[tuple[str, np.ndarray]]) -> tuple[SurfaceFeature, ...]:
    """Every feature in every group. groups: (name, bool[users])."""
    strict = is_strict(data) & has_texts(data)
    user, chosen, rejected = data.user[strict], data.chosen[strict], data.rejected[strict]
    numbers = data.numbers
    signs = {name: (facts.counts[chosen, i], facts.counts[rejected, i]) for i, name in enumerate(COUNTS)} if len(user) else {}
    if len(user) and "chosen_position" in numbers and "rejected_position" in numbers:
        signs[POSITION] = (-numbers["chosen_position"][strict], -numbers["rejected_position"][strict])
    features = []
    for name, (more, less) in signs.items():
        sign = np.sign(more - less)
        halves = _per_user(user, (1 + sign) / 2, len(data.users))
        differs = _per_user(user[sign != 0], (1 + sign[sign != 0]) / 2, len(data.users))
        features += [_separation(name, group, who, halves, differs) for group, who in groups]
    return _flag(features)


PerUser = tuple[np.ndarray, np.ndarray]  # accuracy float64[users], pairs int64[users]


def _per_user(user: np.ndarray, right: np.ndarray, users: int) -> PerUser:
    pairs = np.bincount(user, minlength=users)
    return np.bincount(user, weights=right, minlength=users) / np.maximum(pairs, 1), pairs


def _separation(name: str, group: str, who: np.ndarray, halves: PerUser, differs: PerUser) -> SurfaceFeature:
    less = _mean(halves, who, name, group, False).value < 0.5
    return SurfaceFeature(
        name, group, "less" if less else "more", _mean(halves, who, name, group, less), _mean(differs, who, name, group, less), False
    )


def _mean(per_user: PerUser, who: np.ndarray, metric: str, group: str, flip: bool) -> Estimate:
    accuracy, pairs = per_user
    values = accuracy[who & (pairs > 0)]
    n = len(values)
    if n == 0:
        return Estimate(np.nan, np.nan, np.nan, 0, 0, metric, group)
    value = float(1 - values.mean() if flip else values.mean())
    half = float(stdtrit(n - 1, 0.975) * values.std(ddof=1) / np.sqrt(n)) if n > 1 else np.nan
    return Estimate(value, max(0.0, value - half), min(1.0, value + half), n, int(pairs[who].sum()), metric, group)


def _p_value(estimate: Estimate) -> float:
    """Two-sided t test over users of accuracy = 1/2; 1 with too few users to tell."""
    half = estimate.high - estimate.value if estimate.value < 0.5 else estimate.value - estimate.low
    if estimate.n_users < MIN_USERS or estimate.value == 0.5:
        return 1.0
    degrees = estimate.n_users - 1
    t = abs(estimate.value - 0.5) / max(half / float(stdtrit(degrees, 0.975)), 1e-12)
    return float(2 * stdtr(degrees, -t))


def _flag(features: list[SurfaceFeature]) -> tuple[SurfaceFeature, ...]:
    p = np.array([min(1.0, 2 * min(_p_value(f.accuracy), _p_value(f.where_it_differs))) for f in features])
    passes = np.sort(p) <= FALSE_DISCOVERIES * np.arange(1, len(p) + 1) / max(len(p), 1)
    limit = np.sort(p)[passes][-1] if passes.any() else -1.0
    return tuple(
        SurfaceFeature(f.feature, f.group, f.prefers, f.accuracy, f.where_it_differs, bool(p_f <= limit and _is_far(f)))
        for f, p_f in zip(features, p)
    )


def _is_far(f: SurfaceFeature) -> bool:
    far = abs(f.accuracy.value - 0.5)
    return far >= FAR or (far >= FAR_ENOUGH and abs(f.where_it_differs.value - 0.5) >= FAR_WHERE_IT_DIFFERS)
