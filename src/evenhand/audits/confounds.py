"""Panel 6: does a nuisance - length, or a label such as position - explain who is served, and how far does it get alone?"""

from __future__ import annotations

import numpy as np

from evenhand.audits.findings import Confound, GroupCounts
from evenhand.audits.intervals import contrast, estimate
from evenhand.audits.metrics import TIE, correct
from evenhand.audits.outcomes import Outcomes
from evenhand.audits.sample import arrange, means
from evenhand.core import Estimate, Exclusions, Groups

LENGTH_EDGES = (50.0, 200.0)  # characters: bins of |chosen minus rejected|, shorter and longer apart
MOST_LABELS = 12  # the commonest values of a label get a bin each, the others one together
OTHERS = "others"
NO_GROUP = "in no group"


def confounds(outcomes: Outcomes) -> tuple[Confound, ...]:
    """One record for the length difference, where it is known, and one for each label. Pairs without a strict preference are to be left
    out before.
    """
    right = correct(outcomes.margin)
    records = []
    if outcomes.length_difference is not None:
        of, names = _length_bins(outcomes.length_difference)
        alone = _over(outcomes, correct(outcomes.length_difference), np.ones(len(outcomes), bool), "accuracy of 'prefer the longer'")
        records.append(Confound("length difference", _accuracies(outcomes, right, of, names), alone))
    for name, values in outcomes.labels.items():
        of, names = _label_bins(values)
        records.append(Confound(name, _accuracies(outcomes, right, of, names)))
    return tuple(records)


def _length_bins(difference: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Bins by how many characters longer the chosen response is; equal lengths apart, since 'prefer the longer' has no answer there."""
    size = np.searchsorted(LENGTH_EDGES, np.abs(difference), side="right") + 1
    of = 3 + np.sign(difference).astype(np.int64) * size
    names = [
        "200 or more shorter",
        "50 to 199 shorter",
        "up to 49 shorter",
        "equal length",
        "up to 49 longer",
        "50 to 199 longer",
        "200 or more longer",
    ]
    return of, names


def _label_bins(values: np.ndarray) -> tuple[np.ndarray, list[str]]:
    names, of, counts = np.unique(values.astype(str), return_inverse=True, return_counts=True)
    if len(names) <= MOST_LABELS:
        return of, [str(n) for n in names]
    kept = np.sort(np.argsort(-counts, kind="stable")[:MOST_LABELS])
    place = np.full(len(names), MOST_LABELS)
    place[kept] = np.arange(MOST_LABELS)
    return place[of], [*(str(names[k]) for k in kept), OTHERS]


def _accuracies(outcomes: Outcomes, right: np.ndarray, of: np.ndarray, names: list[str]) -> tuple[tuple[str, Estimate], ...]:
    return tuple((name, _over(outcomes, right, of == b, "accuracy", name)) for b, name in enumerate(names) if (of == b).any())


def _over(outcomes: Outcomes, value: np.ndarray, rows: np.ndarray, metric: str, group: str = "") -> Estimate:
    """Mean over users of their means of value on `rows`, t interval clustered by user, and by prompt or response where users share them."""
    nobody = Groups((), np.full(int(outcomes.user.max()) + 1, -1, np.int16), "")
    overall = means(arrange(outcomes.take(rows), nobody), [value[rows]])
    return estimate(contrast(overall, np.ones((1, 1))), 0, metric, group, 0.0, 1.0)


def group_counts(outcomes: Outcomes, groups: Groups, exclusions: Exclusions | None = None) -> tuple[GroupCounts, ...]:
    """What became of each group's pairs; users in no group stand in a row of their own, so that all pairs are accounted for.

    What nobody measured is None: cuts where nothing was encoded, dropped rows where `exclusions` does not know their group.
    """
    of = groups.of_user[outcomes.user].astype(np.int64)
    of = np.where(of < 0, len(groups), of)
    size = len(groups) + 1
    strict = np.ones(len(of), bool) if outcomes.tie is None else ~outcomes.tie
    dropped = dropped_rows(groups, exclusions)

    def count(rows: np.ndarray) -> list[int]:
        counts: list[int] = np.bincount(of[rows], minlength=size).tolist()
        return counts

    def if_measured(rows: np.ndarray | None) -> list[int] | list[None]:
        return [None] * size if rows is None else count(rows)

    truncated, identical = if_measured(outcomes.truncated), if_measured(outcomes.identical)
    hardly = if_measured(outcomes.hardly_read)
    pairs, tied, undecided = count(np.ones(len(of), bool)), count(strict & (np.abs(outcomes.margin) < TIE)), count(~strict)
    rows = [
        GroupCounts(name, pairs[g], truncated[g], identical[g], dropped.get(name), tied[g], undecided[g], hardly[g])
        for g, name in enumerate([*groups.names, NO_GROUP])
    ]
    return tuple(r for r in rows if r.group in groups.names or r.pairs)


def dropped_rows(groups: Groups, exclusions: Exclusions | None) -> dict[str, int]:
    """Group → rows left out on reading; a group that is not in it was not counted.

    Keys of by_group are group names, or "attribute=value" as the loader writes them: these are the groups named "value" if the groups'
    rule names 'attribute'. Rows whose group could not be read are in nobody's count.
    """
    if exclusions is None or exclusions.rows_in == 0:
        return {}
    if not exclusions.reasons:
        return dict.fromkeys((*groups.names, NO_GROUP), 0)
    rows = {key: sum(reasons.values()) for key, reasons in exclusions.by_group.items()}
    prefixes = {key[: i + 1] for key in rows for i, c in enumerate(key) if c == "=" and f"attribute '{key[:i]}'" in groups.rule}
    if rows.keys() & set(groups.names):
        prefix = ""
    elif len(prefixes) == 1 and groups.rule.count("attribute '") == 1:  # not an intersection, of which one part alone is known
        (prefix,) = prefixes
    else:
        return {}
    return {name: rows.get(prefix + name, 0) for name in groups.names}
