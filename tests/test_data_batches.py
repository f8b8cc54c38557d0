"""Pairs in one order and in batches of whole users: no number hangs on the order of a file, on numbers of users and texts, or on where it is cut."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from test_support import by_hand, choices, labels_by_hand, majority, random_table, table, votes_by_hand

import evenhand
from evenhand.audits import outcomes_of
from evenhand.core import DataError, Events, Exclusions, Judgements, PreferenceData
from evenhand.data import ballots as ballots_module
from evenhand.data.ballots import distinct, find_ballots
from evenhand.data.batches import PairBatches, Rows, batches_of, selected
from evenhand.data.canonical import canonical, places, rows_in_order, sorted_order
from evenhand.data.groups import by_attribute
from evenhand.data.splits import TEST, TRAIN, VALID, deal
from evenhand.data.support import attribute_support, choose_support, cluster_support, item_support, majority_support, pair_support
from evenhand.data.votes import number_rows
from evenhand.workflows.grouping import Grouping, support_of
from evenhand.workflows.halves import HALVES, halves_in_memory, halves_of
from evenhand.workflows.outcome_batches import has_words, outcome_batches
from evenhand.workflows.score_facts import LARGE, SEVERAL_SCORES, SMALL, score_facts

COLUMNS = ("user", "prompt", "chosen", "rejected", "weight", "tie", "split")
CUTS = (1, 17, 60)  # pairs at once: a user a batch, and more


def scored(data: PreferenceData, seed: int = 0) -> PreferenceData:
    """With two columns of rewards, a few of them equal."""
    rng = np.random.default_rng(seed)
    return replace(data, numbers={name: rng.integers(4, size=len(data)).astype(float) for name in ("good", "bad")})


def turned(data: PreferenceData, seed: int) -> PreferenceData:
    """The same rows in another order, users and texts under other numbers."""
    rng = np.random.default_rng(seed)
    users, texts = rng.permutation(len(data.users)), rng.permutation(len(data.texts))
    user, text = places(users), places(texts)
    moved = data.take(rng.permutation(len(data)))
    return replace(
        moved, users=[data.users[i] for i in users], texts=[data.texts[i] for i in texts], user=user[moved.user],
        prompt=text[moved.prompt], chosen=text[moved.chosen], rejected=text[moved.rejected],
        attributes={name: [values[i] for i in users] for name, values in data.attributes.items()},
    )  # fmt: skip


def rows_of(data: PreferenceData) -> list[tuple]:
    """Every row by what it says, in the order it stands in."""
    text = [*data.texts, None]
    columns = [[data.users[u] for u in data.user], *([text[t] for t in c] for c in (data.prompt, data.chosen, data.rejected))]
    columns += [c.tolist() for c in (data.tie, data.weight, data.split) if c is not None]
    return list(zip(*columns, *(data.numbers[name].tolist() for name in sorted(data.numbers))))


def same(a: PreferenceData, b: PreferenceData) -> None:
    assert (a.users, a.texts, a.attributes) == (b.users, b.texts, b.attributes)
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    assert {k: v.tolist() for k, v in a.numbers.items()} == {k: v.tolist() for k, v in b.numbers.items()}


def copied(data: PreferenceData, at_once: int) -> PairBatches:
    """Batches that lie elsewhere than in one table."""
    kept = [batch.take(np.arange(len(batch))) for batch in batches_of(data, at_once)]
    return replace(batches_of(data), read=lambda: iter(kept))


def over(batches: PairBatches, rows: Rows) -> np.ndarray:
    return np.concatenate([rows(batch) for batch in batches])


# ---- one order


@pytest.mark.parametrize("seed", range(3))
def test_a_set_of_pairs_has_one_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = scored(random_table(seed))
    data = replace(data, split=rng.integers(-1, 4, len(data)).astype(np.int8), attributes={"name": [f"of {u}" for u in data.users]})
    data = data.take(np.concatenate([np.arange(len(data)), rng.integers(len(data), size=40)]))  # some rows twice
    found = canonical(data)
    none_last = [tuple("" if v is None else v for v in row) for row in rows_of(data)]  # no prompt comes first
    assert [tuple("" if v is None else v for v in row) for row in rows_of(found)] == sorted(none_last)
    assert found.users == sorted(data.users)
    assert found.texts == sorted(data.texts)
    assert found.attributes == {"name": [f"of {u}" for u in found.users]}
    for other in range(3):
        same(found, canonical(turned(data, other)))
    assert canonical(found).user is found.user  # what is in order is not copied


def test_rows_are_ordered_where_numbers_are_too_large_for_one_key() -> None:
    rng = np.random.default_rng(0)
    columns = [
        rng.integers(5, size=400),
        rng.choice([-1, 7, 2**31 - 3], 400),
        rng.choice([0, 2**31 - 2], 400),
        rng.choice([1.5, -2.0, 0.25], 400),
        rng.integers(3, size=400),
    ]
    order = rows_in_order(columns)
    expected = sorted(zip(*(c.tolist() for c in columns)))
    assert list(zip(*(c[order].tolist() for c in columns))) == expected
    assert rows_in_order([c[order] for c in columns[:1]]) is None
    assert sorted_order(["a", "a", "b"]) is None


def test_events_and_judgements_go_along() -> None:
    data = table([(1, 0, 3, 4), (0, 0, 4, 3), (1, 1, 3, 4), (0, 1, 3, 4)])
    events = Events(("a", "b"), np.array([0, 1, 1, 0], np.int16), np.array([True, False, True, True]), "", np.array([7, 3, 7, 3]))
    rows = Judgements(
        user=np.array([1, 0, 0, 0], np.int32), prompt=np.array([1, 1, 0, 0], np.int32), block=np.array([5, 5, 9, 2], np.int32),
        split=np.full(4, -1, np.int8), response=np.array([3, 4, 3, 3], np.int32), score=np.array([1.0, 2.0, 3.0, 0.5]),
        numbers={"rm": np.arange(4.0)},
    )  # fmt: skip
    data = replace(data, users=["zoe", "ann"], events=events, judgements=rows, exclusions=Exclusions(6, 4, {"z": 1, "a": 1}))
    found = canonical(data)
    assert [found.users[u] for u in found.user] == ["ann", "ann", "zoe", "zoe"]
    assert found.events is not None
    assert found.events.of_pair.tolist() == [0, 1, 1, 0]  # prompts 0 and 1 of ann, then of zoe
    assert found.events.first.tolist() == [True, True, False, True]
    assert found.events.twin is not None
    assert found.events.twin.tolist() == [0, 0, 1, 1]
    assert [*found.exclusions.reasons] == ["a", "z"]
    judged = found.judgements
    assert judged is not None
    assert [found.users[u] for u in judged.user] == ["ann", "zoe", "zoe", "zoe"]
    assert judged.numbers["rm"].tolist() == [0, 3, 2, 1]  # blocks 2 and 9 of zoe's prompt 0 by their scores, then her prompt 1
    assert judged.block.tolist() == [0, 1, 2, 0]


@pytest.fixture(scope="module")
def scores_file(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """50 users on 40 prompts, a fifth of them of another taste; a pair is judged twice now and then."""
    rng = np.random.default_rng(0)
    rows = []
    for u in range(50):
        for p in rng.integers(40, size=60).tolist():
            a, b = (f"Answer {k} to question {p}, {'long and ' * (k % 3)}clear" for k in rng.choice(4, 2, replace=False))
            chosen, rejected = (a, b) if (a < b) ^ (u % 5 == 0) ^ (rng.random() < 0.2) else (b, a)
            margin = round(float(abs(rng.normal()) * (1 if rng.random() < 0.7 - 0.2 * (u % 5 == 0) else -1)), 3)
            rows.append(
                {"user": f"user {u}", "prompt": f"Question {p}?", "chosen": chosen, "rejected": rejected, "good": margin, "bad": 0.0}
            )
            rows[-1] |= {"weight": float(rng.choice([0.1, 0.3, 1.0])), "country": ("DE", "FR", "IT")[u % 3]}
    return rows


@pytest.mark.parametrize("group_by", [None, "country"])
def test_the_report_of_a_shuffled_file_is_the_same_to_the_bit(scores_file: list[dict], group_by: str | None, tmp_path: Path) -> None:
    reports = []
    for seed in range(2):
        file, order = tmp_path / "choices.jsonl", np.random.default_rng(seed).permutation(len(scores_file))
        file.write_text("\n".join(json.dumps(scores_file[i]) for i in order))
        report = json.loads(evenhand.audit(file, scores="good,bad", group_by=group_by, resamples=10).json())
        for fact in ("date", "data sha256"):
            del report["facts"][fact]
        reports.append(json.dumps(report))
    assert reports[0] == reports[1]
    assert '"n_users": 50' in reports[0]


# ---- batches


def test_batches_are_whole_users_and_all_of_them() -> None:
    data = canonical(random_table(0))
    for at_once in (*CUTS, 10_000):
        batches = [*batches_of(data, at_once)]
        np.testing.assert_array_equal(np.concatenate([b.user for b in batches]), data.user)
        np.testing.assert_array_equal(np.concatenate([b.tie for b in batches]), data.tie)
        assert all(a.user[-1] < b.user[0] for a, b in pairwise(batches))
        assert (len(batches) == 1) == (at_once == 10_000)
        assert sum(map(len, batches)) == len(batches_of(data, at_once)) == 300
    assert len([*batches_of(turned(data, 0), 17)]) == 1  # in no order, users cannot be cut apart


def test_a_survey_counts_what_is_there() -> None:
    data = replace(random_table(1), split=np.random.default_rng(0).integers(-1, 4, 300).astype(np.int8))
    data = replace(data, chosen=np.where(np.arange(300) % 50 == 0, -1, data.chosen))
    data = canonical(data)
    for at_once in CUTS:
        found = batches_of(data, at_once).survey
        assert found.pairs.tolist() == [Counter(data.user.tolist())[u] for u in range(13)]
        strict = [u for u, c, r, t in zip(data.user, data.chosen, data.rejected, data.tie) if not t and (c != r or c < 0)]
        assert found.strict.tolist() == [Counter(strict)[u] for u in range(13)]
        assert set(np.flatnonzero(found.prompts)) == {*data.prompt.tolist()} - {-1}
        assert set(np.flatnonzero(found.chosen)) == {*data.chosen.tolist()} - {-1}
        assert (found.without_chosen, found.without_texts, found.without_prompt) == (6, 6, int((data.prompt < 0).sum()))
        assert found.parts.tolist() == [Counter(data.split.tolist())[part] for part in (0, 1, 2, 3, -1)]


def test_pairs_are_numbered_over_all_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    data = canonical(random_table(2))
    low, high = np.minimum(data.chosen, data.rejected), np.maximum(data.chosen, data.rejected)
    expected, count = number_rows(data.prompt + 1, low, high)
    for most, bits in ((2**62, 26), (210, 26), (2**62, 3)):  # texts that are too many for one number; keys that share slots
        monkeypatch.setattr(ballots_module, "MOST", most)
        monkeypatch.setattr(ballots_module, "MOST_SLOTS", bits)
        for at_once in CUTS:
            batches = batches_of(data, at_once)
            numbers = find_ballots(batches, len(data.texts))
            assert (numbers.heads is None) == (most > 210)
            np.testing.assert_array_equal(np.concatenate([numbers.of(batch) for batch in batches]), expected)
            assert len(numbers) == count
            first, second, items = numbers.items
            item = {(p, t): None for p, a, b in zip(data.prompt.tolist(), low.tolist(), high.tolist()) for t in (a, b)}
            number = {pair: i for i, pair in enumerate(sorted(item))}
            assert items == len(number)
            assert first[expected].tolist() == [number[pair] for pair in zip(data.prompt.tolist(), low.tolist())]
            assert second[expected].tolist() == [number[pair] for pair in zip(data.prompt.tolist(), high.tolist())]
    parts = [np.random.default_rng(i).integers(0, 5 ** (i % 7), 50) for i in range(30)]
    np.testing.assert_array_equal(distinct(iter(parts)), np.unique(np.concatenate(parts)))


# ---- support


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("pooled", [False, True])
def test_support_over_batches_equals_brute_force(seed: int, pooled: bool) -> None:
    data = canonical(replace(random_table(seed), attributes={"region": [*"abcabcabcabca"]}))
    pool = np.arange(len(data.users)) % 3 > 0 if pooled else None
    for rule, ballots, share in (
        (pair_support, votes_by_hand(data), lambda a, n: a / n),
        (majority_support, votes_by_hand(data), majority),
        (item_support, labels_by_hand(data), lambda a, n: a / n),
    ):
        values, counts = by_hand(ballots, len(data.users), share, pool)
        for at_once in CUTS:
            found, elsewhere = (rule(b, pool=pool) for b in (batches_of(data, at_once), copied(data, at_once)))
            np.testing.assert_allclose(found.values, values, atol=1e-9, err_msg=rule.__name__)
            np.testing.assert_array_equal(found.pairs, counts)
            np.testing.assert_array_equal(found.values, elsewhere.values)
    for at_once in CUTS:
        batches = batches_of(data, at_once)
        np.testing.assert_array_equal(
            attribute_support(batches, "region", pool=pool).values, attribute_support(data, "region", pool=pool).values
        )
        clusters = np.arange(13) % 4 - 1
        np.testing.assert_array_equal(cluster_support(batches, clusters).values, cluster_support(data, clusters).values)
        assert by_attribute(batches, "region").names == ("a", "b", "c")


@pytest.mark.parametrize(("seed", "rows"), [(0, 500), (1, 500), (2, 250), (3, 200)])
def test_coverage_is_counted_by_hand(seed: int, rows: int) -> None:
    """Pairs of a long tail, so that many have about as many judges as a rule asks for."""
    rng = np.random.default_rng(seed)
    first = (30 * rng.random(rows) ** 2).astype(int)
    other = (first + 1 + rng.integers(1, 4, rows)) % 35 + 1
    data = canonical(table(np.stack([rng.integers(40, size=rows), 0 * first, first + 1, other], axis=1)))

    def covered(ballots: dict, fewest: int, others: int) -> str:
        counts = Counter(u for by in ballots.values() if len(by) > others for u in by)
        return f"{sum(counts[u] >= fewest for u in set(data.user.tolist())) / len(set(data.user.tolist())):.0%}"

    pairs, items = votes_by_hand(data), labels_by_hand(data)
    for at_once in CUTS:
        rule = choose_support(batches_of(data, at_once)).rule
        assert f"{covered(pairs, 9, 4)} of users share at least 9 pairs with 4 others" in rule
        if rows < 500:
            assert f"and {covered(items, 9, 4)} as many items" in rule
            best = max(covered(pairs, 1, 3), covered(items, 1, 3), key=lambda share: int(share[:-1]))
            assert f"so {best} of users can have a value" in rule
        else:
            assert f"but {covered(items, 9, 4)} share as many such items" in rule


def few_ratings(rng: np.random.Generator) -> np.ndarray:
    """Neither pairs nor items enough for 80 % of the users: a third of them share nothing."""
    shared = [(u, 0, *rng.choice(np.arange(100, 140), size=2, replace=False)) for u in range(40) for _ in range(20)]
    return np.array(shared + [(u, 0, 1000 + 20 * u + 2 * i, 1001 + 20 * u + 2 * i) for u in range(40, 60) for i in range(8)])


WORLDS = {"pairs": "(S1)", "votes": "as in votes", "items": "share as many such items", "alone": "(S2)", "few": "of users can have a value"}


@pytest.mark.parametrize("style", WORLDS)
def test_a_rule_and_its_values_are_the_same_over_batches(style: str) -> None:
    rng = np.random.default_rng(0)
    raw = table(few_ratings(rng) if style == "few" else choices(style, range(40), rng))
    raw = replace(raw, texts=[f"{('cat', 'dog', 'rose', 'oak')[i % 4]} number {i}" for i in range(len(raw.texts))])
    data = canonical(raw)
    directions = np.where(np.arange(len(data.users))[:, None] % 4 < 3, [1.0, 0.0], [0.0, 1.0]) + 0.01 * rng.normal(
        size=(len(data.users), 2)
    )
    given = None if style == "few" else lambda some: directions

    def marked(some: PreferenceData) -> np.ndarray:
        return some.user % 2 == some.prompt % 2 if style == "pairs" else (some.user + some.chosen) % 3 > 0

    whole = choose_support(data, given, known=marked(data))
    assert WORLDS[style] in whole.rule
    for at_once in CUTS:
        found = choose_support(copied(data, at_once), given, known=marked)
        assert found.rule == whole.rule
        np.testing.assert_array_equal(found.pairs, whole.pairs)
        np.testing.assert_allclose(found.values, whole.values, rtol=0, atol=1e-12)
    shuffled = raw.take(np.random.default_rng(1).permutation(len(raw)))  # in no order, as other verbs have it
    order = sorted_order(raw.users)
    of_raw = directions[places(order)[:-1]]
    found = choose_support(shuffled, None if given is None else lambda some: of_raw)
    np.testing.assert_allclose(found.values[order], choose_support(data, given).values, rtol=0, atol=1e-12)


def test_word_directions_are_sums_over_batches() -> None:
    """Nobody shares a text; a fifth of the users like plants."""
    rng = np.random.default_rng(0)
    texts, rows = ["?"], []
    for u in range(40):
        for i in range(8):
            pair = [
                f"{' '.join(rng.choice(words, 4))} number {u} {i}"
                for words in (["cat", "dog", "horse", "otter"], ["rose", "oak", "fern", "moss"])
            ]
            texts += pair
            rows.append((u, 0, *((len(texts) - 2, len(texts) - 1)[:: 1 if u % 5 else -1])))
    data = replace(table(rows), texts=texts)
    data = canonical(replace(data, tie=np.arange(len(data)) % 9 == 0))
    whole = support_of(data, np.arange(len(data)) % 4 > 0)
    assert "(S2)" in whole.rule
    for at_once in (11, 64):
        found = support_of(selected_by_number(data, at_once), None, whole=data)
        np.testing.assert_array_equal(found.values, whole.values)
        assert found.rule == whole.rule
    groups = Grouping().groups(batches_of(data, 11), whole)
    assert {data.users[u] for u in np.flatnonzero(groups.of_user)} == {f"u{u}" for u in range(0, 40, 5)}


def selected_by_number(data: PreferenceData, at_once: int) -> PairBatches:
    """Three rows of four, by their place in the whole."""
    number = replace(data, numbers={"place": np.arange(len(data)).astype(float)})
    return selected(batches_of(number, at_once), lambda batch: batch.numbers["place"] % 4 > 0)


# ---- the half that is audited


def dealt_worlds() -> Iterator[tuple[str, PreferenceData]]:
    rng = np.random.default_rng(0)
    made = [("prompts", p, 3000) for p in (60, 25)] + [("fewer prompts", 12, 600), ("responses", 1, 500)]
    for name, prompts, rows in made:
        prompt = rng.integers(prompts, size=rows)
        sides = np.argsort(rng.random((rows, 5)), axis=1)[:, :2] if prompts > 1 else np.argsort(rng.random((rows, 30)), axis=1)[:, :2]
        a = np.stack([rng.integers(30, size=rows), prompt, *(prompts + sides + 30 * prompt[:, None]).T], axis=1)
        data = table(a, tie=rng.random(rows) < 0.1)
        yield name, replace(data, texts=[f"t{i}" for i in rng.permutation(len(data.texts))])
    yield "half of the responses", replace(data, prompt=np.full(len(data), -1, np.int32))
    yield "test rows", replace(data, split=rng.integers(-1, 4, len(data)).astype(np.int8))
    yield "all rows", replace(data, chosen=np.full(len(data), -1, np.int32), rejected=np.full(len(data), -1, np.int32))


@pytest.mark.parametrize("world", [pytest.param(data, id=name) for name, data in dealt_worlds()])
def test_halves_over_batches_are_those_of_a_deal(world: PreferenceData) -> None:
    data = canonical(world)
    for seed in range(3):
        if (data.chosen < 0).all():
            tested, known, where = np.ones(len(data), bool), np.zeros(len(data), bool), "all rows"
        else:
            split = deal(data, seed=seed, shares=HALVES, unseen_users=0.0, held_pairs=0.0)[1]
            tested, known = split.rows(TEST), split.rows(TRAIN) | split.rows(VALID)
            where = "test rows of the split column" if split.unit == "given" else f"half of the {split.unit}"
        for at_once in CUTS:
            batches = batches_of(data, at_once)
            halves = halves_of(batches, seed)
            np.testing.assert_array_equal(over(batches, halves.tested), tested)
            np.testing.assert_array_equal(over(batches, halves.known), known)
            assert halves.where == where
        _, in_memory, for_support, called = halves_in_memory(data, seed)
        np.testing.assert_array_equal(in_memory, tested)
        np.testing.assert_array_equal(for_support, known)
        assert called == where


def test_matched_sets_and_a_split_without_a_test_part_are_refused() -> None:
    data = canonical(next(dealt_worlds())[1])
    n = len(data)
    matched = replace(data, events=Events((), np.full(n, -1, np.int16), np.ones(n, bool), "", np.where(np.arange(n) < 4, 0, -1)))
    with pytest.raises(DataError, match="matched sets"):
        halves_of(batches_of(matched, 60), 0)
    assert halves_in_memory(matched, 0)[3] == "half of the prompts"
    with pytest.raises(DataError, match="no test pairs"):
        halves_of(batches_of(replace(data, split=np.zeros(n, np.int8)), 60), 0)


# ---- outcomes and facts of scores


def test_outcomes_over_batches_are_those_of_the_whole() -> None:
    data = scored(canonical(next(dealt_worlds())[1]))
    batches = copied(data, 200)
    halves = halves_of(batches, 0)
    for rows in (None, halves.tested):
        found = outcome_batches(batches, ("good", "bad"), rows, model="m", split="s")
        marked = np.ones(len(data), bool) if rows is None else over(batches, rows)
        pairs = data.take(marked)
        whole = outcomes_of(pairs, pairs.numbers["good"] - pairs.numbers["bad"], model="m", split="s", texts_are_ids=True)
        parts = [*found]
        assert len(parts) > 5
        assert [sum(map(len, parts)), found.users, found.texts] == [marked.sum(), len(data.users), len(data.texts)]
        for name in ("user", "prompt", "chosen", "rejected", "tie", "margin", "side"):
            np.testing.assert_array_equal(np.concatenate([getattr(p, name) for p in parts]), getattr(whole, name), err_msg=name)
        pair = np.concatenate([p.pair for p in parts])
        assert pair.max() < found.pairs
        assert len({*zip(pair.tolist(), whole.pair.tolist())}) == len({*pair.tolist()}) == len({*whole.pair.tolist()})
        assert parts[0].length_difference is None  # "t12" is an id
    words = replace(data, texts=[f"text {'x' * (i % 7)}" for i in range(len(data.texts))])
    assert has_words(words)
    assert not has_words(data)
    length = np.concatenate([p.length_difference for p in outcome_batches(batches_of(words, 200), ["good"], model="m", split="s")])
    assert length.tolist() == [float(len(words.texts[c]) - len(words.texts[r])) for c, r in zip(data.chosen, data.rejected)]


@pytest.mark.parametrize("noise", ["none", "user", "row"])
def test_several_scores_of_one_text_are_counted_over_batches(noise: str) -> None:
    rng = np.random.default_rng(0)
    data = canonical(next(dealt_worlds())[1])
    base = rng.normal(size=len(data.texts))
    extra = {"none": np.zeros(len(data)), "user": data.user * 1.0, "row": rng.integers(2, size=len(data)) * 1.0}[noise]
    data = replace(data, numbers={"good": base[data.chosen] + extra, "bad": base[data.rejected] + extra})
    seen: dict[tuple, list[float]] = defaultdict(list)
    for i in range(len(data)):
        for text, score in ((data.chosen[i], data.numbers["good"][i]), (data.rejected[i], data.numbers["bad"][i])):
            seen[(data.prompt[i], text, *([data.user[i]] if noise == "row" else []))].append(score)
    repeated = [scores for scores in seen.values() if len(scores) > 1]
    several = f"{sum(len(set(scores)) > 1 for scores in repeated):,} of {len(repeated):,} responses"
    for at_once in (*CUTS, 10_000):
        note = score_facts(batches_of(data, at_once), ("good", "bad")).get(SEVERAL_SCORES, "")
        assert note.startswith(several) if noise != "none" else note == ""
        assert ("for one user and prompt" in note) == (noise == "row")


def test_a_scale_that_makes_ties_or_unmakes_them_is_told_and_no_other() -> None:
    """1e-6 is a tie at every scale. Of 300 pairs 60 have equal rewards, which a model in float32 rounds one way on one side."""
    data, rng = canonical(random_table(0)), np.random.default_rng(0)
    margin = np.where(np.arange(len(data)) % 5 == 0, 0.0, rng.choice([-1, 1], len(data)) * rng.uniform(0.1, 2, len(data)))
    assert (len(data), int((margin == 0).sum())) == (300, 60)

    def told(scale: float, added: float = 0.0, single: bool = False) -> dict[str, str]:
        good, bad = margin * scale + added, np.full(len(data), added)
        if single:
            good = np.nextafter(good.astype(np.float32), np.float32(np.inf)).astype(float)
        some = replace(data, numbers={"good": good, "bad": bad})
        notes = [score_facts(batches_of(some, at_once), ("good", "bad")) for at_once in (*CUTS, 10_000)]
        assert all(note == notes[0] for note in notes)
        return {name: note for name, note in notes[0].items() if name in (SMALL, LARGE)}

    assert told(1e-8)[SMALL].startswith("240 of 300 margins (80.0%) are not 0 but under 1e-06, and so count as ties")
    assert told(1e-8).keys() == {SMALL}
    for scale in (1e-2, 1, 1e8):
        assert told(scale) == told(scale, single=True) == {}  # the rounding of equal rewards of size 1 is a tie, as it should be
    assert told(1, 1e3, single=True)[LARGE].startswith(
        "60 of 300 margins (20.0%) are no larger than what sums in single precision are rounded by"
    )
    assert told(1, 1e3) == {}
    assert told(1e-8, 5.0) == {}  # a model that learned nothing, and rounds: another scale would make decisions of it


def test_odd_columns_are_told_over_batches() -> None:
    data = canonical(random_table(0))
    above = replace(data, numbers={"rm": np.arange(1.0, len(data) + 1), "tied": np.where(np.arange(len(data)) < 200, 0.0, 1.0)})
    for at_once in (*CUTS, 10_000):
        batches = batches_of(above, at_once)
        assert "above 0 in every pair" in score_facts(batches, ("rm",))["scores of one response"]
        assert score_facts(batches, ("tied",))["equal scores"].startswith("200 of 300 pairs (66.7%)")
