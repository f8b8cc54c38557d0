"""The doctor: what in the data would make an audit or a training run say something that is not so.

Everything is counted by group; nothing here holds a text or a user id. Cost: a few sorts of the pairs, and one look at each distinct text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from evenhand.core import SMALLEST_CELL, SPLITS, Groups, PreferenceData, clip
from evenhand.data.counts import GroupFacts, count_rows
from evenhand.data.lookalikes import alike, nothing_words
from evenhand.data.splits import MIN_PROMPTS, TRAIN
from evenhand.data.surface import FAR, FAR_WHERE_IT_DIFFERS, SurfaceFeature, TextFacts, separations, text_facts
from evenhand.data.surface import MIN_USERS as FEWEST
from evenhand.data.votes import has_texts, is_strict, number_pairs, number_rows

Severity = Literal["note", "warning", "error"]

MIN_USERS, MIN_PAIRS = 30, 200  # what a group needs to bear a verdict
COPIED = 10  # judgements that two users hardly share by chance, all of them and no others
SHOWN_GROUPS = 3  # groups named in one sentence; the table has all
MENDED_FIRST = 3  # findings that stand above all others
LEAKED = 0.01  # share of the scored pairs from which a text of train among them is worth a warning


@dataclass(frozen=True)
class Finding:
    severity: Severity
    check: str
    sentence: str  # what was found, with counts
    remedy: str  # what to do
    count: int  # rows, users or texts concerned
    size: float = 0.0  # how large the effect is, from 0 to 1: findings of one severity are in this order


@dataclass(frozen=True)
class Diagnosis:
    groups: tuple[GroupFacts, ...]  # "all" first
    surface: tuple[SurfaceFeature, ...]
    findings: tuple[Finding, ...]  # the gravest first

    @property
    def severity(self) -> Severity:
        """The gravest finding's; "note" when there is none."""
        return self.findings[0].severity if self.findings else "note"

    @property
    def verdict(self) -> str:
        """What can be done with the data, in one line."""
        errors, warnings = (sum(f.severity == s for f in self.findings) for s in ("error", "warning"))
        if errors:
            return f"Mend the data first: {_counted(errors, 'error')} and {_counted(warnings, 'warning')} would make an audit say what is not so."
        if warnings:
            return f"Usable, with care: {_counted(warnings, 'warning')} to mend or to bear in mind."
        return "Ready: nothing was found that would mislead an audit."

    @property
    def first(self) -> tuple[Finding, ...]:
        """What to mend first: the gravest findings, notes never."""
        return tuple(f for f in self.findings if f.severity != "note")[:MENDED_FIRST]

    @property
    def telling(self) -> tuple[SurfaceFeature, ...]:
        """The flagged surface features; with no flag, the strongest of each group with users enough for an interval."""
        flagged = tuple(f for f in self.surface if f.flagged)
        return flagged or tuple(f for g in self.groups for f in _strongest(self.surface, g.group))


def examine(data: PreferenceData, groups: Groups | None = None, part: np.ndarray | None = None) -> Diagnosis:
    """Everything the doctor knows to look for.

    groups: counts and separations are given for each as well as for all users. part int8[n], numbers of SPLITS (-1 = none): where to
    look for leakage; default the data's own split column.
    """
    part = data.split if part is None else part
    facts = text_facts(data.texts, np.concatenate([data.prompt, data.chosen, data.rejected]))
    who = _members(data, groups)
    counted, compared = count_rows(data, facts, who)
    surface = separations(data, facts, [(name, users) for name, users in who])
    findings = [
        *_size_findings(data, counted, groups),
        *_id_findings(data),
        *_attribute_findings(data),
        *_row_findings(counted, compared),
        *_weight_findings(data),
        *_sharing_findings(data),
        *_copied_users(data),
        *([] if part is None else _leakage_findings(data, facts, part)),
        *_surface_findings(surface),
    ]
    order: tuple[Severity, ...] = ("error", "warning", "note")
    return Diagnosis(counted, surface, tuple(sorted(findings, key=lambda f: (order.index(f.severity), -f.size))))


def _members(data: PreferenceData, groups: Groups | None) -> list[tuple[str, np.ndarray]]:
    """(name, bool[users]): all, each group, and those in none if there are any."""
    everyone = [("all", np.ones(len(data.users), dtype=bool))]
    if groups is None:
        return everyone
    rest = [("(no group)", groups.of_user < 0)] if (groups.of_user[data.user] < 0).any() else []
    return everyone + [(clip(name, 40), groups.of_user == g) for g, name in enumerate(groups.names)] + rest


def _size_findings(data: PreferenceData, counted: Sequence[GroupFacts], groups: Groups | None) -> list[Finding]:
    everyone, findings = counted[0], []
    if everyone.pairs == 0:
        return [Finding("error", "pairs", "There is no pair.", "Check the file and what was excluded from it.", 0)]
    if everyone.users == 1:
        remedy = "Bring the choices of several users: intervals are over users, and there is nobody to compare with."
        findings.append(Finding("error", "one user", f"All {everyone.pairs:,} pairs are of one user.", remedy, 1))
    if everyone.one_pair_users:
        share = everyone.one_pair_users / everyone.users
        sentence = f"{everyone.one_pair_users:,} of {everyone.users:,} users ({share:.1%}) have a single pair."
        remedy = "Their taste cannot be learned and tested at once: they count in audits, with an empty history."
        findings.append(Finding("warning" if share >= 0.2 else "note", "users with one pair", sentence, remedy, everyone.one_pair_users))
    named = counted[1 : 1 + len(groups or ())]
    if named and not any(g.users for g in named):
        remedy = "Give an attribute (--group-by), or data in which users judge the same pairs or items."
        findings.append(Finding("warning", "no group", f"None of the {everyone.users:,} users is in any group.", remedy, everyone.users))
        named = ()
    small = sorted((g for g in named if g.users < MIN_USERS or g.pairs < MIN_PAIRS), key=lambda g: (g.users, g.pairs))
    for check, few in (("empty group", [g for g in small if not g.pairs]), ("small group", [g for g in small if g.pairs])):
        if few:
            findings.append(_few(check, few, len(named)))
    prompts = len(np.unique(data.prompt[data.prompt >= 0]))
    if prompts < MIN_PROMPTS:
        sentence = f"There are {prompts} distinct prompts." if prompts else "There is no prompt column."
        findings.append(
            Finding("note", "few prompts", sentence, "Splits are made by prompt or by response, whichever keeps more pairs.", prompts)
        )
    return findings


def _few(check: str, few: Sequence[GroupFacts], of: int) -> Finding:
    """Groups that bear no verdict, in one finding: many of them would hide all else. Beside a group of fewer than 10 users no counts are told:
    its own would follow from them.
    """
    exact = not any(0 < g.users < SMALLEST_CELL for g in few)
    counts = [f"'{g.group}' {'has ' * (len(few) == 1)}{_size(g, exact)}" for g in few[:SHOWN_GROUPS]]
    more = f"; {len(few) - SHOWN_GROUPS} further groups" if len(few) > SHOWN_GROUPS else ""
    sentence = f"Group {counts[0]}." if len(few) == 1 else f"{len(few)} of {of} groups are too small: {'; '.join(counts)}{more}."
    remedy = f"{'It needs' if len(few) == 1 else 'Each needs'} {MIN_USERS} users and {MIN_PAIRS} pairs to bear a verdict: merge with another, or bring more data."
    return Finding("warning", check, sentence, remedy, len(few))


def _size(group: GroupFacts, exact: bool) -> str:
    """A group's counts, as far as they may be told."""
    if exact:
        return f"{_counted(group.users, 'user')} and {_counted(group.pairs, 'pair')}"
    return f"fewer than {SMALLEST_CELL} users" if group.users < SMALLEST_CELL else f"fewer than {MIN_USERS} users or {MIN_PAIRS} pairs"


def _id_findings(data: PreferenceData) -> list[Finding]:
    kinds = alike(data.users)
    if not kinds:
        return []
    count = max(kinds.values())
    counts = ", ".join(f"{n:,} in {kind}" for kind, n in kinds.items())
    sentence = f"User ids differ from another one by nothing a person would see or type: {counts}."
    remedy = (
        "If they are the same people, write one id for each: else their choices are split between training and test as if of strangers."
    )
    return [Finding("warning", "user ids that look alike", sentence, remedy, count, count / max(len(data.users), 1))]


def _attribute_findings(data: PreferenceData) -> list[Finding]:
    findings = []
    for name, values in data.attributes.items():
        if words := nothing_words(values):
            told = ", ".join(
                f"'{clip(word, 20)}' ({n if n >= SMALLEST_CELL else f'fewer than {SMALLEST_CELL}'} users)" for word, n in words.items()
            )
            sentence = f"The attribute '{clip(name, 40)}' has values that look like none: {told}."
            remedy = f"If they mean that nothing is known: --missing {','.join(words)}. Else they are a group like any other."
            share = sum(words.values()) / max(len(values), 1)
            findings.append(Finding("warning", "values that look missing", sentence, remedy, sum(words.values()), share))
    return findings


def _row_findings(counted: Sequence[GroupFacts], compared: float) -> list[Finding]:
    sampled = "" if compared == 1 else f" (lower bound: {compared:.0%} of the similar pairs were compared word by word)"
    checks = (
        ("ties", "ties", 0.2, "are ties", "They are not trained on and in no metric, but counted by group; ask for a finer scale if they are many."),
        ("identical", "chosen = rejected", 0.0, "have the same text as chosen and rejected", "Remove them: there is nothing to learn."),
        ("near_identical", "near-identical pairs", 0.05, f"have nearly the same text on both sides{sampled}",
         "A choice between them is mostly noise: expect accuracy near one half there."),
        ("duplicates", "duplicates", 0.05, "repeat an earlier judgement of the same user",
         "Remove copies made by an export; true repetitions are best merged into a weight."),
        ("contradictions", "contradictions", 0.02, "are contradicted by the same user on the same pair",
         "They bound the accuracy any model can reach; look at how these users were asked."),
    )  # fmt: skip
    findings = []
    for field, check, limit, verb, remedy in checks:
        count, pairs = getattr(counted[0], field), max(counted[0].pairs, 1)
        if count:
            sentence = f"{count:,} of {pairs:,} pairs ({count / pairs:.1%}) {verb}{_most(counted, field)}."
            findings.append(Finding("warning" if count >= limit * pairs else "note", check, sentence, remedy, count, count / pairs))
    return findings


def _counted(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'s' * (n != 1)}"


def _most(counted: Sequence[GroupFacts], field: str) -> str:
    """Where the share is highest, if groups were given and none is so small that its share would follow from the others'."""
    if any(0 < g.users < SMALLEST_CELL for g in counted[1:]):
        return ""
    shares = [(getattr(g, field) / g.pairs, g.group) for g in counted[1:] if g.pairs]
    return f"; most in group '{max(shares)[1]}' ({max(shares)[0]:.1%})" if shares else ""


def _weight_findings(data: PreferenceData) -> list[Finding]:
    if data.weight is None or len(data) == 0:
        return []
    weight = data.weight.astype(np.float64)
    bad = int((~np.isfinite(weight) | (weight <= 0)).sum())
    if bad:
        return [Finding("error", "weights", f"{bad:,} weights are not positive finite numbers.", "Mend or drop them.", bad)]
    effective = weight.sum() ** 2 / (weight**2).sum()
    if effective >= len(data) / 2:
        return []
    sentence = f"Weights run from {weight.min():.3g} to {weight.max():.3g}: {len(data):,} pairs are worth {effective:,.0f} equal ones."
    return [
        Finding("warning", "weights", sentence, "Clip the largest weights, or say in the report why a few pairs should decide.", len(data))
    ]


def _sharing_findings(data: PreferenceData) -> list[Finding]:
    if len(data) == 0:
        return []
    without = len(data) - int(has_texts(data).sum())
    if without:
        sentence = f"{without:,} of {len(data):,} pairs have no texts."
        remedy = "Nothing is known of their repetitions, surface features and leakage, nor of shared pairs: groups need an attribute."
        return [Finding("note", "no texts", sentence, remedy, without)]
    pair, count = number_pairs(data)
    first = np.unique(number_rows(pair, data.user)[0], return_index=True)[1]  # one row a user and pair
    shared = np.bincount(pair[first], minlength=count) > 1
    rows = int(shared[pair].sum())
    if rows == 0:
        remedy = (
            "Preference support comes from items, clusters or an attribute then, and there is no annotators' agreement to compare with."
        )
        return [Finding("warning", "no pair shared", f"None of the {count:,} distinct pairs was judged by two users.", remedy, count)]
    if rows >= len(data) / 2:
        return []
    sentence = f"{rows:,} of {len(data):,} pairs ({rows / len(data):.1%}) were judged by another user too."
    return [
        Finding(
            "note", "few pairs shared", sentence, "Preference support rests on these alone unless clusters or an attribute are given.", rows
        )
    ]


def _copied_users(data: PreferenceData) -> list[Finding]:
    """Users of `COPIED` judgements or more who made exactly those of another: one person under two ids, or rows that were copied."""
    known = data.take(has_texts(data))
    if not len(known):
        return []
    number = number_pairs(known)[0]
    direction = np.where(is_strict(known), (known.chosen > known.rejected).astype(np.int64), 2)
    judgement = 3 * number + direction
    order = np.lexsort((judgement, known.user))
    users, starts, sizes = np.unique(known.user[order], return_index=True, return_counts=True)
    rows = [judgement[order[a : a + n]].tobytes() for a, n in zip(starts.tolist(), sizes.tolist()) if n >= COPIED]
    copies = len(rows) - len(set(rows))
    if not copies:
        return []
    sentence = f"{copies:,} of {len(users):,} users made exactly the judgements of another user, {COPIED} or more of them."
    remedy = "See whether one person stands under two ids, or rows were copied: intervals take users as independent."
    return [Finding("warning", "users with identical rows", sentence, remedy, copies)]


def _leakage_findings(data: PreferenceData, facts: TextFacts, part: np.ndarray) -> list[Finding]:
    prompts = len(np.unique(data.prompt[data.prompt >= 0])) >= MIN_PROMPTS
    findings = _leaked_texts("prompts", facts.form, [data.prompt], part) if prompts else []
    known = has_texts(data)
    data, part = data.take(known), part[known]
    scored = part > TRAIN
    both, count = number_rows(data.user, number_pairs(data)[0])
    trained = np.zeros(count, dtype=bool)
    trained[both[part == TRAIN]] = True
    copies = int((trained[both] & scored).sum())
    if copies:
        sentence = f"{copies:,} of {int(scored.sum()):,} scored pairs were judged by the same user in train too."
        remedy = "Put all judgements of a pair by a user into one split: these results are memory, not prediction."
        findings.append(Finding("error", "leakage of judgements", sentence, remedy, copies, copies / max(int(scored.sum()), 1)))
    return findings + _leaked_texts("responses", facts.form, [data.chosen, data.rejected], part)


def _leaked_texts(kind: str, form: np.ndarray, columns: list[np.ndarray], part: np.ndarray) -> list[Finding]:
    """Texts (equal up to case, spacing and punctuation) that stand in two splits. Rows without such a text do not take part."""
    distinct, number = np.unique(form, return_inverse=True)
    inside = np.zeros((len(distinct), len(SPLITS)), dtype=bool)
    for column in columns:
        rows = (part >= 0) & (column >= 0)
        inside[number[column[rows]], part[rows]] = True
    several = inside.sum(axis=1) > 1
    if not several.any():
        return []
    scored = part > TRAIN
    touched = int((scored & np.any([inside[number[c], TRAIN] & (c >= 0) for c in columns], axis=0)).sum())
    share = touched / max(int(scored.sum()), 1)
    pairs = ", ".join(
        f"{SPLITS[a]} and {SPLITS[b]} {int(n):,}" for a in range(4) for b in range(a + 1, 4) if (n := (inside[:, a] & inside[:, b]).sum())
    )
    sentence = (
        f"{int(several.sum()):,} distinct {kind} are in two splits ({pairs}); {touched:,} scored pairs ({share:.1%}) have one from train."
    )
    remedy = f"Split by {kind[:-1]}, or report these pairs apart as seen {kind}: results on them say little about new ones (told from {LEAKED:.0%})."
    return [Finding("warning" if share >= LEAKED else "note", f"leakage of {kind}", sentence, remedy, int(several.sum()), share)]


def _strongest(surface: Sequence[SurfaceFeature], group: str) -> list[SurfaceFeature]:
    """The feature that is right most often in a group; none where users are so few that its interval says nothing."""
    known = [f for f in surface if f.group == group and f.accuracy.n_users >= FEWEST]
    return [max(known, key=lambda f: f.accuracy.value)] if known else []


def _surface_findings(surface: Sequence[SurfaceFeature]) -> list[Finding]:
    findings = []
    remedy = (
        f"Compare every model with this rule alone, and read its accuracy where the feature does not differ (told from {100 * FAR:.0f} points "
        f"beyond one half, or {100 * FAR_WHERE_IT_DIFFERS:.0f} where it differs)."
    )
    for feature in dict.fromkeys(f.feature for f in surface if f.flagged):
        flagged = sorted((f for f in surface if f.feature == feature and f.flagged), key=lambda f: -abs(f.accuracy.value - 0.5))
        where = "; ".join(
            f"'{f.rule}' is right {f.accuracy.value:.1%} of the time in '{f.group}' ({f.accuracy.low:.1%} to {f.accuracy.high:.1%};"
            f" {f.where_it_differs.value:.1%} in the {f.where_it_differs.n_pairs / max(f.accuracy.n_pairs, 1):.0%} of pairs in which it differs)"
            for f in flagged[:SHOWN_GROUPS]
        )
        more = f"; {len(flagged) - SHOWN_GROUPS} further groups" if len(flagged) > SHOWN_GROUPS else ""
        sentence = f"A rule that looks at {feature} alone tells chosen from rejected: {where}{more}."
        size = 2 * max(abs(e.value - 0.5) for f in flagged for e in (f.accuracy, f.where_it_differs))
        findings.append(Finding("warning", "surface feature", sentence, remedy, flagged[0].where_it_differs.n_pairs, size))
    return findings
