"""Panel 6: does a nuisance - length, or a label such as position - explain who is served, and how far does it get alone?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from evenhand.audits.batch import Batch, Columns
from evenhand.audits.findings import Confound, GroupCounts
from evenhand.audits.intervals import contrast, estimate
from evenhand.audits.metrics import correct
from evenhand.audits.passes import Study, side_by_side
from evenhand.audits.sample import averages, means_of, surveyed
from evenhand.core import TIE, Estimate, Exclusions, Groups

LENGTH_EDGES = (50.0, 200.0)  # characters: bins of |chosen minus rejected|, shorter and longer apart
LENGTHS = (
    "200 or more shorter", "50 to 199 shorter", "up to 49 shorter", "equal length", "up to 49 longer", "50 to 199 longer", "200 or more longer",
)  # fmt: skip
MOST_LABELS = 12  # the commonest values of a label get a bin each, the others one together
OTHERS = "others"
NO_GROUP = "in no group"


def confounds_of() -> Study[tuple[Confound, ...]]:
    """One record for the length difference, where it is known, and one for each label. Pairs without a strict preference are left out."""
    length, labels = yield from side_by_side(_length(), _labels())
    return (*length, *labels)


def _length() -> Study[tuple[Confound, ...]]:
    everybody = _over(lambda batch: [correct(_longer(batch))], "accuracy of 'prefer the longer'")
    alone, bins = yield from side_by_side(everybody, _accuracies(LENGTHS, lambda batch: _length_bin(_longer(batch))), split=_measured)
    return (Confound("length difference", bins, alone),) if bins else ()


def _measured(batch: Batch) -> list[Batch]:
    """Of a batch what has a length difference: all or nothing."""
    return 2 * [batch if batch.strict.length_difference is not None else batch.take(np.zeros(len(batch.user), bool))]


def _longer(batch: Batch) -> np.ndarray:
    difference = batch.strict.length_difference
    return np.zeros(0) if difference is None else difference


def _labels() -> Study[tuple[Confound, ...]]:
    found: Labels = yield lambda batch: Labels({name: Counter(_values(v)) for name, v in batch.strict.labels.items()})
    bins = {name: _label_bins(counts) for name, counts in found.counts.items()}
    records = yield from side_by_side(*(_accuracies(names, partial(_label_bin, name, of)) for name, (of, names) in bins.items()))
    return tuple(Confound(name, accuracies) for name, accuracies in zip(bins, records, strict=True))


@dataclass(frozen=True)
class Labels:
    """Nuisance → how often each of its values occurs."""

    counts: dict[str, Counter[str]]

    def __add__(self, other: Labels) -> Labels:
        return Labels({name: counts + other.counts[name] for name, counts in self.counts.items()})


def _length_bin(difference: np.ndarray) -> np.ndarray:
    """Number of a bin of LENGTHS, by how many characters longer the chosen response is; equal lengths apart, since 'prefer the longer' has
    no answer there.
    """
    size = np.searchsorted(LENGTH_EDGES, np.abs(difference), side="right") + 1
    return 3 + np.sign(difference).astype(np.int64) * size


def _values(label: np.ndarray) -> list[str]:
    names: list[str] = label.astype(str).tolist()
    return names


def _label_bins(counts: Counter[str]) -> tuple[dict[str, int], list[str]]:
    """Value → number of its bin, and the bins' names."""
    names = sorted(counts)
    if len(names) <= MOST_LABELS:
        return {name: b for b, name in enumerate(names)}, names
    kept = sorted(sorted(names, key=lambda name: -counts[name])[:MOST_LABELS])
    return dict.fromkeys(names, MOST_LABELS) | {name: b for b, name in enumerate(kept)}, [*kept, OTHERS]


def _label_bin(name: str, of: dict[str, int], batch: Batch) -> np.ndarray:
    return np.array([of[v] for v in _values(batch.strict.labels[name])], np.int64)


def _accuracies(names: Sequence[str], bin_of: Callable[[Batch], np.ndarray]) -> Study[tuple[tuple[str, Estimate], ...]]:
    """Accuracy in each bin of pairs that holds any, as if there were no others."""

    def split(batch: Batch) -> list[Batch]:
        of = bin_of(batch)
        return [batch.take(of == b) for b in range(len(names))]

    found = yield from side_by_side(*(_over(_right, "accuracy", name) for name in names), split=split)
    return tuple((name, accuracy) for name, accuracy in zip(names, found, strict=True) if accuracy is not None)


def _right(batch: Batch) -> list[np.ndarray]:
    return [correct(batch.strict.margin)]


def _over(columns: Columns, metric: str, group: str = "") -> Study[Estimate | None]:
    """Mean over users of their means of one column, t interval clustered by user, and by prompt or response where users share them."""
    sample, average = yield from side_by_side(surveyed(), averages(columns))
    if not len(sample.number):
        return None
    overall = yield from means_of(sample, columns, average)
    return estimate(contrast(overall, np.ones((1, 1))), 0, metric, group, 0.0, 1.0)


def counts_of(groups: Groups, exclusions: Exclusions | None = None) -> Study[tuple[GroupCounts, ...]]:
    """What became of each group's pairs; users in no group stand in a row of their own, so that all pairs are accounted for.

    What nobody measured is None: cuts where nothing was encoded, dropped rows where `exclusions` does not know their group.
    """
    size = len(groups) + 1

    def ask(batch: Batch) -> tuple[np.ndarray | None, ...]:
        o = batch.given
        of = groups.of_user[o.user].astype(np.int64)
        of = np.where(of < 0, len(groups), of)
        undecided = np.zeros(len(of), bool) if o.tie is None else o.tie
        flags = undecided, ~undecided & (np.abs(o.margin) < TIE), o.truncated, o.identical, o.hardly_read
        return np.bincount(of, minlength=size), *(None if f is None else np.bincount(of[f], minlength=size) for f in flags)

    pairs, undecided, tied, *measured = yield ask
    truncated, identical, hardly = ([None] * size if m is None else m.tolist() for m in measured)
    dropped = dropped_rows(groups, exclusions)
    rows = [
        GroupCounts(name, int(pairs[g]), truncated[g], identical[g], dropped.get(name), int(tied[g]), int(undecided[g]), hardly[g])
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
