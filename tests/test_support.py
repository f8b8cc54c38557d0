"""Support rates against brute force, and what counts as a vote."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest

from evenhand.core import DataError, PreferenceData
from evenhand.data.clusters import _silhouette, find_clusters
from evenhand.data.groups import by_quantile
from evenhand.data.support import Support, attribute_support, choose_support, cluster_support, item_support, majority_support, pair_support
from evenhand.data.votes import number_rows


def table(rows, users=None, **extra) -> PreferenceData:
    """rows of (user, prompt, chosen, rejected), all small integers; prompt -1 = no such column."""
    a = np.array(rows, dtype=np.int32).reshape(-1, 4)
    count = users or int(a[:, 0].max(initial=-1)) + 1
    texts = [f"text {i}" for i in range(int(a[:, 1:].max(initial=0)) + 1)]
    return PreferenceData([f"u{i}" for i in range(count)], texts, a[:, 0], a[:, 1], a[:, 2], a[:, 3], **extra)


def random_table(seed: int, users: int = 12, rows: int = 300) -> PreferenceData:
    rng = np.random.default_rng(seed)
    a = np.stack([rng.integers(users, size=rows), rng.integers(-1, 2, size=rows), *rng.integers(2, 6, size=(2, rows))], axis=1)
    tie, weight = rng.random(rows) < 0.1, rng.choice([0.5, 1.0, 2.5], size=rows).astype(np.float32)
    return table(a, users + 1, tie=tie, weight=weight)  # the last user has no pair


def votes_by_hand(data: PreferenceData) -> dict[tuple, dict[int, int]]:
    net: dict[tuple, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    for i in range(len(data)):
        if data.chosen[i] == data.rejected[i] or (data.tie is not None and data.tie[i]):
            continue
        pair = (data.prompt[i], *sorted((data.chosen[i], data.rejected[i])))
        net[pair][data.user[i]] += (1 if data.chosen[i] == pair[1] else -1) * (1.0 if data.weight is None else float(data.weight[i]))
    return {p: {u: (1 if v > 0 else -1) for u, v in by.items() if abs(v) > 1e-9} for p, by in net.items()}


def by_hand(ballots, users: int, share, pool=None) -> tuple[np.ndarray, np.ndarray]:
    values, counts = np.full(users, np.nan), np.zeros(users, dtype=int)
    for u in range(users):
        shares = []
        for ballot in ballots.values():
            others = [v for w, v in ballot.items() if w != u and (pool is None or pool[w])]
            if u in ballot and len(others) >= 3:
                shares.append(share(sum(v == ballot[u] for v in others), len(others)))
        if shares:
            values[u], counts[u] = (0.5 + sum(shares)) / (1 + len(shares)), len(shares)
    return values, counts


def majority(agree: int, others: int) -> float:
    return 0.5 if 2 * agree == others else float(2 * agree > others)


def labels_by_hand(data: PreferenceData) -> dict[tuple, dict[int, int]]:
    net: dict[tuple, Counter] = defaultdict(Counter)
    for (prompt, low, high), ballot in votes_by_hand(data).items():
        for u, vote in ballot.items():
            net[prompt, low][u] += vote
            net[prompt, high][u] -= vote
    return {item: {u: (1 if v > 0 else -1) for u, v in by.items() if v} for item, by in net.items()}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("pooled", [False, True])
def test_support_equals_brute_force(seed, pooled):
    data = random_table(seed)
    pool = np.arange(len(data.users)) % 3 > 0 if pooled else None
    for fast, ballots, share in (
        (pair_support, votes_by_hand(data), lambda a, n: a / n),
        (majority_support, votes_by_hand(data), majority),
        (item_support, labels_by_hand(data), lambda a, n: a / n),
    ):
        values, counts = by_hand(ballots, len(data.users), share, pool)
        found = fast(data, pool=pool)
        np.testing.assert_allclose(found.values, values, atol=1e-9, err_msg=fast.__name__)
        np.testing.assert_array_equal(found.pairs, counts)
        assert np.isnan(found.values[-1])  # no pair: unknown, not one half


def test_support_of_a_known_world():
    # pair {1, 2}: users 0-3 prefer 1, user 4 prefers 2. Others of 0: three of four agree; of 4: none.
    data = table([(u, 0, 1, 2) for u in range(4)] + [(4, 0, 2, 1)])
    np.testing.assert_allclose(pair_support(data).values, [(0.5 + 3 / 4) / 2] * 4 + [0.25])
    np.testing.assert_allclose(majority_support(data).values, [0.75] * 4 + [0.25])


def test_pairs_need_three_strict_others():
    data = table([(u, 0, 1, 2) for u in range(3)])
    assert np.isnan(pair_support(data).values).all()
    tied = table([(u, 0, 1, 2) for u in range(4)], tie=np.array([False, False, False, True]))
    assert np.isnan(pair_support(tied).values).all()


@pytest.mark.parametrize(
    ("extra", "weight", "vote"),
    [
        ([(0, 0, 1, 2)], None, 1),  # the same judgement twice is one vote
        ([(0, 0, 2, 1)], None, 0),  # a contradiction cancels
        ([(0, 0, 2, 1), (0, 0, 2, 1)], None, -1),  # the more frequent direction stands
        ([(0, 0, 2, 1)], [3.0, 1.0], 1),  # the heavier judgement stands
        ([(0, 0, 2, 1), (0, 0, 2, 1)], [0.3, 0.1, 0.2], 0),  # cancels but for rounding
    ],
)
def test_repeated_judgements_are_one_vote(extra, weight, vote):
    others = [(u, 0, 1, 2) for u in range(1, 5)]
    weights = None if weight is None else np.array(weight + [1.0] * 4, dtype=np.float32)
    support = pair_support(table([(0, 0, 1, 2), *extra, *others], weight=weights))
    assert support.pairs[0] == abs(vote)
    if vote:
        assert support.values[0] == pytest.approx((0.5 + (vote > 0)) / 2)
    assert support.values[1] == pytest.approx({1: 0.75, 0: 0.75, -1: (0.5 + 3 / 4) / 2}[vote])


def test_weights_do_not_make_a_user_count_twice():
    rows = [(u, 0, 1, 2) for u in range(4)] + [(4, 0, 2, 1)]
    heavy = table(rows, weight=np.array([1, 1, 1, 1, 100], dtype=np.float32))
    np.testing.assert_array_equal(pair_support(heavy).values, pair_support(table(rows)).values)


@pytest.mark.parametrize("rule", [pair_support, majority_support, item_support])
def test_support_ignores_row_order_and_which_side_is_named_first(rule):
    data = random_table(3)
    shuffled = data.take(np.random.default_rng(0).permutation(len(data)))
    np.testing.assert_array_equal(rule(data).values, rule(shuffled).values)
    top = len(data.texts) - 1
    mirrored = PreferenceData(data.users, data.texts, data.user, data.prompt, top - data.chosen, top - data.rejected, data.weight, data.tie)
    np.testing.assert_allclose(rule(data).values, rule(mirrored).values)


def test_same_pair_under_another_prompt_is_another_pair():
    data = table([(u, 0, 2, 3) for u in range(4)] + [(u, 1, 3, 2) for u in range(4, 8)])
    np.testing.assert_allclose(pair_support(data).values, 0.75)


def test_a_pool_leaves_seen_users_untouched_by_new_ones():
    seen, new = random_table(1), random_table(2)
    both = table(
        np.concatenate([np.stack([d.user + 13 * k, d.prompt, d.chosen, d.rejected], axis=1) for k, d in enumerate((seen, new))]),
        users=26, tie=np.concatenate([seen.tie, new.tie]), weight=np.concatenate([seen.weight, new.weight]),
    )  # fmt: skip
    pooled = pair_support(both, pool=np.arange(26) < 13)
    np.testing.assert_array_equal(pooled.values[:13], pair_support(seen).values)
    assert pooled.known[13:25].all()


@pytest.mark.parametrize("style", ["pairs", "votes", "items", "alone"])
def test_what_unseen_users_choose_moves_no_seen_users_support_or_group(style):
    """Half the users are unseen and choose otherwise each time; the rule is the file's."""
    rng = np.random.default_rng(0)
    seen = np.arange(40) < 20
    supports, rules = [], []
    for _ in range(4):
        rows = np.concatenate([choices(style, range(20), np.random.default_rng(1)), choices(style, range(20, 40), rng)])
        directions = np.where(np.arange(40)[:, None] % 4 < 3, [1.0, 0.0], [0.0, 1.0]) + 0.01 * np.random.default_rng(2).normal(size=(40, 2))
        directions[20:] += 0.2 * rng.normal(size=(20, 2))
        found = choose_support(table(rows, 40), lambda some, d=directions: d, pool=seen)
        supports.append(found.values[seen])
        rules.append(found.rule.partition(" Chosen")[0].partition(", silhouette")[0])
        groups = by_quantile(found, 0.3, pool=seen).of_user[seen]
        np.testing.assert_array_equal(groups, by_quantile(Support(supports[0], seen[:20] * 1, ""), 0.3).of_user)
    assert len(set(rules)) == 1
    assert {"pairs": "(S1)", "votes": "label", "items": "label", "alone": "(S2)"}[style] in rules[0]
    for values in supports[1:]:
        np.testing.assert_array_equal(values, supports[0])
    assert not np.isnan(supports[0]).any()


def choices(style: str, users: range, rng: np.random.Generator) -> np.ndarray:
    """Shared pairs, votes on shared items, pairs drawn from shared items, or pairs nobody shares."""
    if style == "pairs":
        rows = [(u, p, *rng.permutation([2 * p + 20, 2 * p + 21])) for u in users for p in range(10)]
    elif style == "votes":
        like = rng.random((40, 12)) < 0.5
        rows = [(u, -1, 50 + a, 50 + b) for u in users for a in range(12) for b in range(12) if like[u, a] and not like[u, b]]
    elif style == "items":
        rows = [(u, 0, *rng.choice(np.arange(100, 160), size=2, replace=False)) for u in users for _ in range(40)]
    else:
        rows = [(u, 0, 1000 + 20 * u + 2 * i, 1001 + 20 * u + 2 * i) for u in users for i in range(8)]
    return np.array(rows)


def test_clusters_are_sought_in_the_pool_and_others_join_the_nearest():
    rng = np.random.default_rng(0)
    which = rng.integers(3, size=200)
    directions = np.eye(3, 8)[which] + 0.02 * rng.normal(size=(200, 8))
    pool = (np.arange(200) < 120) & (which < 2)  # the pool knows two tastes
    found, rule = find_clusters(directions, seed=0, pool=pool)
    assert "2 clusters" in rule
    np.testing.assert_array_equal(found[pool], find_clusters(directions[pool], seed=0)[0])
    for taste in (0, 1):
        assert len(set(found[which == taste])) == 1
    directions[~pool] = rng.normal(size=(int((~pool).sum()), 8))
    np.testing.assert_array_equal(find_clusters(directions, seed=0, pool=pool)[0][pool], found[pool])


def test_attribute_and_cluster_support_count_other_users():
    rows = [(u, 0, 1, 2) for u in range(6)]
    data = table(rows, 7, attributes={"region": ["a", "a", "a", "b", "b", "", "a"]})  # user 6 has no pair
    support = attribute_support(data, "region")
    np.testing.assert_allclose(support.values, [2.5 / 5] * 3 + [1.5 / 5] * 2 + [np.nan, 3.5 / 6])
    np.testing.assert_array_equal(support.pairs, [1] * 6 + [0])
    pooled = attribute_support(data, "region", pool=np.array([True, True, False, True, False, True, True]))
    np.testing.assert_allclose(pooled.values, [1.5 / 3] * 2 + [2.5 / 4, 0.5 / 3, 1.5 / 4, np.nan, 2.5 / 4])
    clusters = cluster_support(data, [0, 0, 0, 1, 1, -1, 0])
    np.testing.assert_array_equal(clusters.values, support.values)
    with pytest.raises(DataError, match="did you mean 'region'"):
        attribute_support(data, "regoin")
    with pytest.raises(DataError, match="one a user"):
        cluster_support(data, [0, 1])


def test_clusters_are_found_where_there_are_some():
    rng = np.random.default_rng(0)
    centre = np.eye(3, 8)[rng.choice(3, p=[0.6, 0.3, 0.1], size=300)]
    found, rule = find_clusters(centre * rng.uniform(0.2, 5, size=(300, 1)) + 0.02 * rng.normal(size=(300, 8)), seed=0)
    assert "3 clusters" in rule
    assert len({(int(t), int(c)) for t, c in zip(centre.argmax(axis=1), found)}) == 3
    cloud = rng.normal(size=(300, 32))
    cloud[0], cloud[1] = 0, np.nan
    one, rule = find_clusters(cloud, seed=0)
    assert rule.startswith("one cluster")
    np.testing.assert_array_equal(one, [-1, -1] + [0] * 298)


def test_silhouette_is_scikit_learns():
    from sklearn.metrics import silhouette_score

    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    distances = np.linalg.norm(x[:, None] - x, axis=2)
    label = rng.integers(3, size=60) + 2 * (np.arange(60) == 7)  # a point may be alone, and a number unused
    assert _silhouette(distances, label) == pytest.approx(silhouette_score(x, label))
    assert _silhouette(distances, np.where(label == 1, 5, label)) == pytest.approx(silhouette_score(x, np.where(label == 1, 5, label)))
    assert _silhouette(distances, np.zeros(60, dtype=int)) == -1


def test_choice_takes_pairs_when_users_share_them():
    rng = np.random.default_rng(0)
    rows = [(u, p, *rng.permutation([2 * p + 20, 2 * p + 21])) for u in range(10) for p in range(9)]
    chosen = choose_support(table(rows))
    assert "(S1)" in chosen.rule
    assert "100% of users" in chosen.rule
    np.testing.assert_array_equal(chosen.values, pair_support(table(rows)).values)


def test_choice_takes_items_for_votes_where_pairs_overstate():
    rng = np.random.default_rng(0)
    like = np.concatenate([rng.random((40, 16)) < 0.8, rng.random((8, 16)) < 0.2])
    like[:, 8:] = ~like[:, 8:]  # half the items are liked by few
    rows = [(u, -1, a, b) for u in range(48) for a in range(16) for b in range(16) if like[u, a] and not like[u, b]]
    data = table(rows)
    chosen = choose_support(data)
    np.testing.assert_array_equal(chosen.values, item_support(data).values)
    assert "as in votes" in chosen.rule
    pairs = pair_support(data)
    assert pairs.values[:40].mean() > chosen.values[:40].mean() + 0.05  # the overstatement that the rule avoids
    assert chosen.values[40:].max() < chosen.values[:40].min()


@pytest.mark.parametrize("best_only", [False, True])
def test_consistent_tastes_are_not_taken_for_votes(best_only):
    # Everybody ranks five responses to each of six prompts without noise and judges all pairs, or the best against each other one.
    rng = np.random.default_rng(0)
    rows = []
    for u in range(12):
        for p in range(6):
            ranked = 10 + 5 * p + (np.arange(5) if u < 9 else rng.permutation(5))
            rows += [(u, p, ranked[a], ranked[b]) for a in range(1 if best_only else 4) for b in range(a + 1, 5)]
    assert "(S1)" in choose_support(table(rows)).rule


def test_choice_falls_back_to_items_then_clusters_then_says_what_is_missing():
    rng = np.random.default_rng(0)
    ratings = table([(u, 0, *rng.choice(np.arange(1, 60), size=2, replace=False)) for u in range(60) for _ in range(20)])
    assert "other raters" in choose_support(ratings).rule
    alone = table([(u, 0, 2 * (10 * u + i) + 1, 2 * (10 * u + i) + 2) for u in range(30) for i in range(10)])
    unknown = choose_support(alone)
    assert not unknown.known.any()
    assert "0% of users can have a value; give user attributes" in unknown.rule
    assert choose_support(alone, lambda some: np.ones((30, 2))).rule == unknown.rule  # one cluster says nothing
    directions = np.where(np.arange(30)[:, None] < 24, [1.0, 0.0], [0.0, 1.0]) + 0.01 * rng.normal(size=(30, 2))
    clustered = choose_support(alone, lambda some: directions)
    np.testing.assert_allclose(clustered.values, [23.5 / 30] * 24 + [5.5 / 30] * 6)
    assert "(S2)" in clustered.rule


def test_pairs_without_texts_support_nobody_but_count_for_attributes():
    scores = table([(u, -1, -1, -1) for u in range(5)], attributes={"region": ["a", "a", "a", "b", "b"]})
    assert not choose_support(scores).known.any()
    np.testing.assert_allclose(attribute_support(scores, "region").values, [2.5 / 5] * 3 + [1.5 / 5] * 2)


def test_empty_table_has_unknown_support():
    assert np.isnan(choose_support(table(np.zeros((0, 4)), users=3)).values).all()


def test_numbering_survives_huge_products():
    big = np.array([0, 2**31 - 1, 2**31 - 1, 5])
    number, count = number_rows(big, big, big)
    assert count == 3
    np.testing.assert_array_equal(number, [0, 2, 2, 1])


def test_the_whole_file_decides_the_rule_and_the_known_pairs_the_values():
    """Two halves of shared pairs, of which the users of one deal know few: alone they would go by items."""
    rng = np.random.default_rng(0)
    data = table([(u, p, *rng.permutation([2 * p + 50, 2 * p + 51])) for u in range(12) for p in range(20)])
    known = data.prompt < 6
    assert "(S1)" not in choose_support(data.take(known)).rule
    found = choose_support(data, known=known)
    assert found.rule.endswith("Chosen because 100% of users share at least 9 pairs with 4 others.")
    np.testing.assert_array_equal(found.values, pair_support(data.take(known)).values)
    drawn = data.take(known)  # other pairs than the file's own, of the same users
    np.testing.assert_array_equal(choose_support(drawn, whole=data).values, found.values)
    assert choose_support(drawn, whole=data).rule == found.rule
    # Users differ in how many pairs they share, not in how often others agree: nobody is rarer than anybody
    alike = table([(u, p, 2 * p + 50, 2 * p + 51) for u in range(12) for p in range(10 + u)])
    counted = pair_support(alike)
    assert len(set(counted.pairs)) > 1
    assert len(set(counted.values)) == 1
    # So it is for the users of a pool, whoever stands outside of it, chooses otherwise and judges more pairs than they
    others = [(u, p, *((2 * p + 50, 2 * p + 51)[:: 1 if p % 3 else -1])) for u in range(12, 40) for p in range(60)]
    both = table([*np.stack([alike.user, alike.prompt, alike.chosen, alike.rejected], axis=1), *others])
    np.testing.assert_array_equal(pair_support(both, pool=np.arange(40) < 12).values[:12], counted.values)
