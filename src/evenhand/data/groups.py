"""Groups of users for training and audits: from support, an attribute, or both at once."""

from __future__ import annotations

import numpy as np

from evenhand.core import DataError, Groups
from evenhand.data.batches import Judged
from evenhand.data.support import Support, attribute_labels

MAJORITY, MINORITY = 0, 1  # numbers of the two groups that support makes
MAX_GROUPS = np.iinfo(np.int16).max


def by_quantile(support: Support, q: float = 0.2, *, pool: np.ndarray | None = None) -> Groups:
    """Two groups, majority and minority: the users with the lowest support, about a share q in (0, 1) of them, are the minority.

    Users with equal support are never torn apart: the cut lies between two distinct values, where the minority's share is nearest to
    q (the smaller minority where two are as near), so it depends on no order. No cut makes a minority of more than one half; where
    that leaves none, or everybody is equal, nobody is in the minority. Users of unknown support are in no group (-1).

    pool bool[users]: the users seen in training. Their values alone decide the cut; the others are assigned by it, so that nobody
    held out moves anybody's group. Default: everyone decides.
    """
    if not 0 < q < 1:
        raise DataError(f"quantile {q}", expected="a number between 0 and 1", remedy="0.2 is the usual choice")
    users = "users" if pool is None else "users seen in training"
    values = np.sort(support.values[support.known if pool is None else support.known & pool])
    cuts = np.flatnonzero(np.diff(values)) + 1  # a cut before cuts[i] leaves cuts[i] users below
    starts = cuts[2 * cuts <= len(values)]
    if len(starts) == 0:
        why = f"no {users} have a known support: too few pairs or items are shared"
        if len(values):
            why = f"all {len(values)} {users} have the same support, {values[0]:.3f}"
        if len(cuts):
            rest = f"of the others it is up to {values[-1]:.3f}"
            why = (
                f"the {cuts[0]} of {len(values)} {users} with the lowest support are equal ({values[0]:.3f}; {rest}) and more than one half"
            )
        return _two_groups(support, -np.inf, f"Nobody is in the minority: {why}.")
    below = int(starts[np.argmin(np.abs(starts - q * len(values)))])
    lowest = f"the {below} of {len(values)} {users} with the lowest support"
    others = "" if pool is None else "; the other users are assigned by the same cut"
    rule = f"Minority: {lowest} (under {values[below]:.3f}; the aim was {q:.0%}, equal users stay together{others})."
    return _two_groups(support, values[below], rule)


def by_threshold(support: Support, threshold: float) -> Groups:
    """Two groups, majority and minority: the minority has support under the threshold, in [0, 1]; unknown support is in no group (-1)."""
    if not 0 <= threshold <= 1:
        raise DataError(f"support threshold {threshold}", expected="a number from 0 to 1", remedy="support is a share, so 0.4 means 40 %")
    values = support.values[support.known]
    if len(values) == 0:
        return _two_groups(
            support, threshold, "Nobody is in the minority: no users have a known support: too few pairs or items are shared."
        )
    if values.min() >= threshold:
        return _two_groups(support, threshold, f"Nobody is in the minority: support lies from {_range(values)}, never under {threshold:g}.")
    if values.max() < threshold:
        return _two_groups(
            support, threshold, f"Everybody is in the minority: support lies from {_range(values)}, always under {threshold:g}."
        )
    return _two_groups(support, threshold, f"Minority: users with support under {threshold:g} (of all users from {_range(values)}).")


def _range(values: np.ndarray) -> str:
    return f"{values.min():.3f} to {values.max():.3f}"


def _two_groups(support: Support, threshold: float, rule: str) -> Groups:
    of_user = np.where(support.values < threshold, MINORITY, MAJORITY).astype(np.int16)
    of_user[~support.known] = -1
    unknown = int((~support.known).sum())
    left = f" {unknown} users of unknown support are in no group." if unknown else ""
    return Groups(("majority", "minority"), of_user, f"{rule}{left} {support.rule}")


def by_attribute(data: Judged, name: str) -> Groups:
    """One group a value of the user attribute `name`, in sorted order; users without one are in no group (-1). DataError if unknown."""
    label, values = attribute_labels(data, name)
    _check_count(len(values), f"distinct values of '{name}'")
    missing = int((label < 0).sum())
    left = f"; {missing} users without one are in no group" if missing else ""
    return Groups(values, label.astype(np.int16), f"Groups by the user attribute '{name}'{left}.")


def intersection(first: Groups, *others: Groups) -> Groups:
    """One group a combination that occurs, named "a & b", ordered as the groups are; -1 where a user lacks one of them."""
    columns = [g.of_user.astype(np.int64) for g in (first, *others)]
    if len({len(c) for c in columns}) > 1:
        raise DataError("groups over different numbers of users", expected="groups of the same data", remedy="make them from one data set")
    known = np.all([c >= 0 for c in columns], axis=0)
    of_user = np.full(len(first.of_user), -1, dtype=np.int64)
    combinations, of_user[known] = np.unique(np.stack(columns, axis=1)[known], axis=0, return_inverse=True)
    _check_count(len(combinations), "combinations of groups")
    names = tuple(" & ".join(g.names[i] for g, i in zip((first, *others), row)) for row in combinations)
    return Groups(names, of_user.astype(np.int16), "Intersection of: " + " ".join(g.rule for g in (first, *others)))


def _check_count(count: int, what: str) -> None:
    if count > MAX_GROUPS:
        raise DataError(
            f"{count} {what}",
            expected=f"at most {MAX_GROUPS} groups",
            remedy="choose a coarser attribute: groups this small bear no verdict",
        )
