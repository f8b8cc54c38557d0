"""The doctor: known defects are found, counted by group and named; sound data raises no alarm."""

from __future__ import annotations

from dataclasses import replace
from html import escape

import numpy as np
import pytest
from scipy import stats

from evenhand.core import Estimate, Exclusions, Groups, PreferenceData
from evenhand.data.counts import MAX_COMPARISONS
from evenhand.data.doctor import Diagnosis, Finding, examine
from evenhand.data.splits import split_pairs
from evenhand.data.surface import COUNTS, LONGEST, surface_counts, text_facts
from evenhand.report import Report
from evenhand.report.check import Checked, report

WORDS = [a + b for a in ("amb", "bir", "ced", "del", "emb") for b in ("o", "ich", "ar", "ta")]


def table(rows, texts, **extra) -> PreferenceData:
    """rows of (user, prompt, chosen, rejected) with numbers of texts."""
    a = np.array(rows, dtype=np.int32).reshape(-1, 4)
    count = int(a[:, 0].max(initial=-1)) + 1
    return PreferenceData([f"secret-id-{i}" for i in range(count)], texts, a[:, 0], a[:, 1], a[:, 2], a[:, 3], **extra)


def sound(users: int = 60, prompts: int = 30, seed: int = 0, **extra) -> PreferenceData:
    """Every user judges two random pairs under each prompt, by coin; texts share no form."""
    rng = np.random.default_rng(seed)
    texts = [f"prompt {i}" for i in range(prompts)]
    texts += [" ".join(rng.choice(WORDS, size=rng.integers(5, 12))) + f" {i:03d}" for i in range(4 * prompts)]
    rows = []
    for u in range(users):
        for p in range(prompts):
            a, b, c, d = prompts + 4 * p + rng.permutation(4)
            rows += [(u, p, a, b), (u, p, c, d)]
    return table(rows, texts, **extra)


def found(diagnosis: Diagnosis, check: str) -> Finding:
    (finding,) = [f for f in diagnosis.findings if f.check == check]
    return finding


def halves(data: PreferenceData, first: int) -> Groups:
    return Groups(("first", "second"), np.where(np.arange(len(data.users)) < first, 0, 1).astype(np.int16), "made up")


def test_sound_data_raises_no_alarm():
    data = sound()
    split = split_pairs(data, seed=0)
    diagnosis = examine(data, halves(data, 30), split.part)
    assert [f for f in diagnosis.findings if f.severity != "note"] == []
    assert diagnosis.severity == "note"
    everyone, first, second = diagnosis.groups
    assert (everyone.users, everyone.pairs, everyone.weight) == (60, 3600, 3600.0)
    assert first.pairs + second.pairs == everyone.pairs
    assert not any(f.flagged for f in diagnosis.surface)


def test_false_alarms_of_surface_features_are_rare():
    alarms = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        marks = ["?", "!", "\n", "(", "7", "A", "**", "\n- ", "word", "."]
        texts = ["p"] + [f"{i} " + "".join(rng.choice(marks, size=rng.integers(3, 12))) for i in range(100)]
        rows = [(u, 0, *(1 + rng.permutation(100)[:2])) for u in range(12) for _ in range(4)]
        alarms.append(any(f.flagged for f in examine(table(rows, texts)).surface))
    assert np.mean(alarms) <= 0.15  # Benjamini-Hochberg at 10 %, and the features of a text go together


def test_a_weak_preference_for_length_is_not_an_alarm():
    rng = np.random.default_rng(0)
    texts = ["p"] + ["o" * (i + 1) for i in range(50)]
    rows = []
    for i in range(12_000):
        short, long = 1 + np.sort(rng.permutation(50)[:2])
        rows.append((i % 200, 0, long, short) if rng.random() < 0.55 else (i % 200, 0, short, long))
    (length,) = [f for f in examine(table(rows, texts)).surface if f.feature == "characters"]
    assert 0.5 < length.accuracy.low < length.accuracy.high < 0.6
    assert not length.flagged


def test_repetitions_ties_and_contradictions_are_counted_by_group():
    texts = ["prompt", "one text", "other words", "third thing", "One  text!"]
    rows = [(0, 0, 1, 2), (0, 0, 1, 2), (0, 0, 1, 2)]  # two duplicates
    rows += [(1, 0, 1, 3), (1, 0, 3, 1), (1, 0, 3, 2)]  # two contradicting judgements, one clean
    rows += [(2, 0, 1, 4)]  # near-identical; a user with one pair
    rows += [(3, 0, 2, 2), (3, 0, 1, 2), (3, 0, 2, 1)]  # identical; a tie is no contradiction
    rows += [(4, 0, 1, 2), (4, -1, 2, 1)]  # another prompt: another pair
    rows += [(1, 0, 1, 3)]  # a tie between the contradicted texts is neither
    tie = np.zeros(len(rows), dtype=bool)
    tie[[8, 12]] = True
    diagnosis = examine(
        table(rows, texts, tie=tie, weight=np.full(len(rows), 2, dtype=np.float32)), Groups(("a", "b"), np.array([0, 0, 1, 1, -1]), "")
    )
    counts = {
        g.group: (g.users, g.pairs, g.ties, g.identical, g.near_identical, g.duplicates, g.contradictions, g.one_pair_users, g.weight)
        for g in diagnosis.groups
    }
    assert counts == {
        "all": (5, 13, 2, 1, 1, 2, 2, 1, 26.0),
        "a": (2, 7, 1, 0, 0, 2, 2, 0, 14.0),
        "b": (2, 4, 1, 1, 1, 0, 0, 1, 8.0),
        "(no group)": (1, 2, 0, 0, 0, 0, 0, 0, 4.0),
    }
    assert found(diagnosis, "contradictions").severity == "warning"
    assert "2 of 13 pairs (15.4%)" in found(diagnosis, "contradictions").sentence
    assert found(diagnosis, "duplicates").sentence.endswith("of the same user.")  # the groups are of two users: none is named
    assert found(diagnosis, "chosen = rejected").count == 1
    assert "in no metric" in found(diagnosis, "ties").remedy  # as docs/statistics.md has it
    assert [f.sentence[:27] for f in diagnosis.findings if f.check == "small group"] == ["2 of 2 groups are too small"]


def test_the_group_with_most_of_a_defect_is_named_if_no_group_is_small():
    rows = [(u, 0, 1 + u % 2, 3) for u in range(24)] + [(u, 0, 1 + u % 2, 3) for u in range(6)]
    data = table(rows, ["p", "one text", "another", "a third"])
    for size, said in ((12, "; most in group 'first' (33.3%)."), (8, "of the same user.")):  # 6 of 18 rows; 8 users are no cell
        assert found(examine(data, halves(data, size)), "duplicates").sentence.endswith(said)
    small = found(examine(data, halves(data, 8)), "small group").sentence
    assert "'first' fewer than 10 users" in small
    assert "'second' fewer than 30 users or 200 pairs" in small


def test_near_identical_needs_almost_all_words_of_a_long_text():
    long = [f"word{i}" for i in range(40)]
    texts = ["p", " ".join(long), " ".join([*long[:-1], "else"]), " ".join([*long[:-4], "a", "b", "c", "d"]), "do it", "do not do it"]
    texts += ["dog bites man", "man bites dog", " ".join([*long[:-2], "a", "b"])]
    diagnosis = examine(table([(0, 0, 1, 2), (0, 0, 1, 3), (1, 0, 4, 5), (1, 0, 2, 1), (0, 0, 6, 7), (0, 0, 1, 8)], texts))
    assert (
        found(diagnosis, "near-identical pairs").count == 2
    )  # 39 of 41 words, both ways round; not 38 of 42, nor a short text in another order
    form = text_facts(
        ["STRASSE", "straße?", "ｆine", "fine.", "x" * (LONGEST + 1), "X" * (LONGEST + 1), "!!", "??", "\ud800"], np.arange(9)
    ).form
    assert form[0] == form[1]
    assert form[2] == form[3]
    assert len(set(form.tolist())) == 7


def test_word_by_word_comparison_is_bounded_and_says_so(monkeypatch):
    monkeypatch.setattr("evenhand.data.counts.MAX_COMPARISONS", 10)
    assert MAX_COMPARISONS > 10
    long = [f"word{i}" for i in range(40)]
    texts = ["p"] + [" ".join([*long[:-1], f"else{i}"]) for i in range(40)]
    finding = found(examine(table([(i % 3, 0, 1 + i, 2 + i) for i in range(39)], texts)), "near-identical pairs")
    assert "lower bound: 26% of the similar pairs" in finding.sentence
    assert finding.count == 10


@pytest.mark.parametrize(
    ("mark", "feature"),
    [
        (lambda t: t + " and more of the same on top of all that", "words"),
        (lambda t: "- " + t, "list markers"),
        (lambda t: t.replace(" ", "\n", 1), "line breaks"),
        (lambda t: t + " (so)", "opening brackets"),
        (lambda t: "**" + t + "**", "markup (bold, code, headings)"),
        (lambda t: t + "?", "question marks"),
        (lambda t: t + "!", "exclamation marks"),
        (lambda t: t + " 12345", "digits"),
        (lambda t: t.upper(), "capital letters"),
        (lambda t: t + ".", "sentence mark at the end"),
    ],
)
def test_a_mark_on_the_chosen_side_is_found_in_its_group_only(mark, feature):
    data = sound(40, 20)
    texts, chosen = list(data.texts), data.chosen.copy()
    rng = np.random.default_rng(1)
    for i in np.flatnonzero((data.user < 20) & (rng.random(len(data)) < 0.6)):
        texts.append(mark(texts[chosen[i]]))
        chosen[i] = len(texts) - 1
    marked = PreferenceData(data.users, texts, data.user, data.prompt, chosen, data.rejected)
    diagnosis = examine(marked, halves(marked, 20))
    flagged = {(f.feature, f.group): f for f in diagnosis.surface if f.flagged}
    alarm = flagged[feature, "first"]
    assert alarm.prefers == "more"
    assert 0.6 < alarm.accuracy.low < alarm.accuracy.value < alarm.accuracy.high <= 1
    assert (alarm.accuracy.n_users, alarm.accuracy.n_pairs) == (20, 800)
    assert not [f for f in flagged if f[1] == "second"]
    sentences = [f.sentence for f in diagnosis.findings if f.check == "surface feature" and f"at {feature} alone" in f.sentence]
    rule = "a sentence mark at the end" if feature.startswith("sentence") else f"more {feature}"
    assert [f"'{rule}' is right {alarm.accuracy.value:.1%} of the time in 'first'" in s for s in sentences] == [True]


def test_a_rare_but_certain_mark_is_found_where_it_differs():
    data = sound(40, 20)
    texts, rejected = list(data.texts), data.rejected.copy()
    for i in range(0, len(data), 20):
        texts.append("# " + texts[rejected[i]])
        rejected[i] = len(texts) - 1
    diagnosis = examine(PreferenceData(data.users, texts, data.user, data.prompt, data.chosen, rejected))
    (alarm,) = [f for f in diagnosis.surface if f.flagged]
    assert (alarm.feature, alarm.prefers) == ("markup (bold, code, headings)", "less")
    assert alarm.accuracy.value == pytest.approx(0.525)
    assert alarm.rule == "less markup (bold, code, headings)"
    assert (alarm.where_it_differs.value, alarm.where_it_differs.n_pairs) == (1.0, 80)


def test_a_certain_mark_too_rare_to_matter_is_no_warning():
    """In one pair of 100 it is always right: a rule by it reaches 50.5 %."""
    data = sound(40, 20)
    texts, rejected = list(data.texts), data.rejected.copy()
    for i in range(0, len(data), 100):
        texts.append("# " + texts[rejected[i]])
        rejected[i] = len(texts) - 1
    for copies in range(0, len(data), 50):
        rejected[copies] = rejected[0]
    diagnosis = examine(PreferenceData(data.users, texts, data.user, data.prompt, data.chosen, rejected))
    markup = next(f for f in diagnosis.surface if f.feature.startswith("markup"))
    assert markup.where_it_differs.value == 1.0
    assert 0.503 < markup.accuracy.value < 0.52
    assert not markup.flagged
    assert not [f for f in diagnosis.findings if f.check == "surface feature"]


def test_separation_is_the_mean_over_users_with_ties_as_half():
    texts = ["p", "a", "bb", "cc", "dddd"]
    rows = [(0, 0, 2, 1)] * 3 + [(0, 0, 2, 3)] + [(1, 0, 1, 4)] + [(2, 0, 4, 2), (2, 0, 4, 2), (3, 0, 2, 3)]
    tie = np.array([False] * 6 + [True, False])
    (length,) = [f for f in examine(table(rows, texts, tie=tie)).surface if f.feature == "characters"]
    assert length.accuracy.value == pytest.approx(np.mean([3.5 / 4, 0, 1, 0.5]))
    half = stats.t.ppf(0.975, 3) * stats.sem([3.5 / 4, 0, 1, 0.5])
    assert (length.accuracy.low, length.accuracy.high) == pytest.approx((max(0, 2.375 / 4 - half), min(1, 2.375 / 4 + half)))
    close = np.array([(u, 0, *(2, 1)[:: -1 if i < 3 + u % 2 else 1]) for u in range(12) for i in range(8)])
    (short,) = [f for f in examine(table(close, texts)).surface if f.feature == "characters"]
    assert (short.accuracy.low, short.accuracy.high) == pytest.approx(stats.t.interval(0.95, 11, 9 / 16, stats.sem([3 / 8, 4 / 8] * 6)))
    assert length.where_it_differs.value == pytest.approx(np.mean([1, 0, 1]))
    assert (length.accuracy.n_users, length.accuracy.n_pairs, length.where_it_differs.n_pairs) == (4, 7, 5)


def test_position_is_examined_when_the_data_has_it():
    data = sound(40, 20)
    position = np.random.default_rng(0).random(len(data)) < 0.8
    numbers = {"chosen_position": np.where(position, 0.0, 1.0), "rejected_position": np.where(position, 1.0, 0.0)}
    diagnosis = examine(PreferenceData(data.users, data.texts, data.user, data.prompt, data.chosen, data.rejected, numbers=numbers))
    (alarm,) = [f for f in diagnosis.surface if f.flagged]
    assert (alarm.feature, alarm.prefers, alarm.rule) == ("earlier position", "more", "earlier position")
    assert alarm.accuracy.value == pytest.approx(0.8, abs=0.03)


def test_counts_of_a_text():
    text = "# Title\n- one (1)\n2. two `x`\nReally? Yes! [No]."
    assert dict(zip(COUNTS, surface_counts(text))) == {
        "characters": len(text), "words": 11, "line breaks": 3, "list markers": 2, "opening brackets": 2,
        "markup (bold, code, headings)": 3,
        "question marks": 1, "exclamation marks": 1, "digits": 2, "capital letters": 4, "sentence mark at the end": 1,
    }  # fmt: skip


def test_leakage_between_splits_is_found():
    data = sound(40, 30)
    part = split_pairs(data, seed=0, unseen_users=0, held_pairs=0).part.copy()
    clean = examine(data, part=part)
    assert not [f for f in clean.findings if "leakage" in f.check]
    moved = np.flatnonzero(part == 0)[:50]
    part[moved] = 2
    leaky = examine(data, part=part)
    assert found(leaky, "leakage of prompts").count == len(np.unique(data.prompt[moved]))
    assert found(leaky, "leakage of responses").count == len(np.unique([data.chosen[moved], data.rejected[moved]]))
    assert leaky.severity == "warning"
    own = PreferenceData(data.users, data.texts, data.user, data.prompt, data.rejected.copy(), data.chosen.copy(), split=part)
    repeated = np.flatnonzero(part == 0)[0]
    for column in (own.user, own.prompt, own.chosen, own.rejected):
        column[moved[0]] = column[repeated]
    memory = found(examine(own), "leakage of judgements")
    assert (memory.severity, memory.count) == ("error", 1)


def test_leakage_sees_through_case_and_spacing():
    texts = [f"prompt number {i}" for i in range(40)] + ["red", "blue"]
    texts[39] = "Prompt  number 0!"
    data = table([(0, i, 40, 41) for i in range(40)], texts, split=np.array([0] * 39 + [2], dtype=np.int8))
    finding = found(examine(data), "leakage of prompts")
    assert finding.count == 1
    assert "train and test 1" in finding.sentence
    assert "1 scored pairs (100.0%)" in finding.sentence


def test_the_first_text_leaks_like_any_other():
    split = np.array([0, 2, 2], dtype=np.int8)
    data = table([(0, -1, 0, 1), (0, -1, 0, 2), (0, -1, 3, 4)], ["red", "blue", "green", "black", "white"], split=split)
    finding = found(examine(data), "leakage of responses")
    assert finding.sentence == "1 distinct responses are in two splits (train and test 1); 1 scored pairs (50.0%) have one from train."


def test_users_groups_and_weights_that_bear_nothing_are_named():
    alone = sound(1)
    assert found(examine(alone), "one user").severity == "error"
    assert found(examine(alone), "no pair shared").severity == "warning"
    empty = examine(table(np.zeros((0, 4)), ["p"]), Groups(("a",), np.zeros(0, dtype=np.int16), ""))
    assert (found(empty, "pairs").severity, empty.surface, empty.telling) == ("error", (), ())
    data = sound(30)
    nobody = examine(data, Groups(("everyone", "nobody"), np.zeros(30, dtype=np.int16), ""))
    assert found(nobody, "empty group").sentence == "Group 'nobody' has 0 users and 0 pairs."
    assert examine(table([(0, 0, 1, 2), (2, 0, 1, 2)], ["p", "a", "b"])).groups[0].users == 2  # the one between them has no pair
    halves = examine(data, Groups(("a", "b"), (np.arange(30) % 2).astype(np.int16), ""))
    assert found(halves, "small group").count == 2  # 15 users each, whatever their pairs
    singles = table([(u, 0, 1, 2) for u in range(5)] + [(5, 0, 1, 2), (5, 0, 2, 3)], ["p", "a", "b", "c"])
    assert found(examine(singles), "users with one pair").sentence.startswith("5 of 6 users (83.3%)")
    for weight, severity in (
        ([0.0] + [1] * 6, "error"),
        ([np.nan] + [1] * 6, "error"),
        ([900] + [1] * 6, "warning"),
        ([1.5] + [1] * 6, None),
    ):
        findings = examine(table([(u, 0, 1, 2) for u in range(7)], ["p", "a", "b"], weight=np.array(weight, dtype=np.float32))).findings
        assert [f.severity for f in findings if f.check == "weights"] == ([severity] if severity else [])


def test_a_table_of_scores_without_texts_is_examined_as_far_as_it_goes():
    none = np.full(120, -1, dtype=np.int32)
    user = np.repeat(np.arange(40), 3).astype(np.int32)
    data = PreferenceData([f"u{i}" for i in range(40)], [], user, none, none, none, split=np.zeros(120, dtype=np.int8))
    diagnosis = examine(data, halves(data, 20))
    everyone = diagnosis.groups[0]
    assert (everyone.pairs, everyone.identical, everyone.near_identical, everyone.duplicates, everyone.contradictions) == (120, 0, 0, 0, 0)
    assert found(diagnosis, "no texts").count == 120
    assert diagnosis.surface == ()
    assert not [f for f in diagnosis.findings if "leakage" in f.check or f.severity == "error"]
    assert diagnosis.telling == ()


def checked(data: PreferenceData, diagnosis: Diagnosis, **more) -> Report:
    return report(Checked(diagnosis, data.exclusions, "choices.jsonl (JSONL)", "0" * 64, len(data.users), len(data), **more))


def test_a_group_whose_name_ends_in_an_equals_sign_keeps_its_count():
    data = sound()
    lost = Exclusions(len(data) + 30, len(data), {"reason": 30}, {"a=b=": {"reason": 30}})
    assert checked(replace(data, exclusions=lost), examine(data)).document["exclusions"]["by_group"] == {"a=b=": {"reason": 30}}


def test_nothing_printed_holds_a_text_or_an_id():
    texts = ["private-prompt"] + [f"private-answer {i}!" for i in range(4)]
    data = table([(u, 0, 1 + u % 2, 3) for u in range(20)] + [(0, 0, 1, 1)], texts, split=np.arange(21).astype(np.int8) % 3)
    diagnosis = examine(data, Groups(("<b>\n" * 30,), np.zeros(20, dtype=np.int16), ""))
    made = checked(data, diagnosis)
    for text in (repr(diagnosis), made.html(), made.json(), made.markdown(), repr(made)):
        assert "private" not in text
        assert "secret" not in text
    assert "<b>" not in made.html()
    assert [f.severity for f in examine(data).findings] == sorted(
        (f.severity for f in examine(data).findings), key=("error", "warning", "note").index
    )


def marked(sizes: tuple[int, ...], each: int = 10) -> tuple[PreferenceData, Groups]:
    """Groups of these sizes; all users like a mark at the end, and the first group repeats its rows."""
    users, rng = sum(sizes), np.random.default_rng(0)
    texts = ["p", *(f"text {i} {'.' * (i % 2)}" for i in range(80))]
    rows = [(u, 0, 1 + 2 * a + 1, 1 + 2 * b) for u in range(users) for a, b in rng.integers(0, 40, (each, 2))]
    rows += [row for row in rows if row[0] < sizes[0]]
    of = np.repeat(np.arange(len(sizes)), sizes).astype(np.int16)
    return table(rows, texts), Groups(tuple("abcdef"[: len(sizes)]), of, "made up")


def test_no_count_of_a_small_group_is_told_nor_follows_from_what_is():
    """7 users of "a" made all 70 duplicates: 60 users less 30 less 23, and 70 less 0 less 0, would tell so."""
    data, groups = marked((7, 23, 30))
    lost = Exclusions(len(data) + 9, len(data), {"'chosen' is empty": 9}, {n: {"'chosen' is empty": 3} for n in ("k=a", "k=b", "k=c")})
    made = checked(replace(data, exclusions=lost), examine(data, groups))
    document = made.document
    assert [g["group"] for g in document["diagnosis"]["groups"]] == ["all", "c"]
    assert document["exclusions"]["by_group"] == {"k=c": {"'chosen' is empty": 3}}
    counts = made.page.panels[0].tables[1]
    assert [counts.columns[0].write(row[0])[0] for row in counts.rows] == ["all", "c", "b", "a"]
    assert [counts.rows[i][1] for i in range(4)] == [60, 30, None, "under 10 users"]
    assert all(cell is None for row in counts.rows[2:] for cell in row[2:])
    features = document["diagnosis"]["surface"]
    assert {f["accuracy"]["n_users"] for f in features if f["group"] == "b"} == {0}
    assert {f["accuracy"]["value"] for f in features if f["group"] == "a"} == {None}
    assert any(f["accuracy"]["value"] == 1.0 for f in features if f["group"] == "b")  # what is found of the others stays
    told = made.html() + made.markdown() + "".join(f.sentence for f in made.findings.diagnosis.findings)
    assert "7 users" not in told
    assert "23 users" not in told
    assert "in group 'a'" not in told


def test_two_small_groups_hide_each_other():
    data, groups = marked((7, 6, 30))
    assert [g["group"] for g in checked(data, examine(data, groups)).document["diagnosis"]["groups"]] == ["all", "c"]
    assert checked(data, examine(data, groups)).page.panels[0].tables[1].rows[1][1] == 30


def test_a_remedy_is_said_once_and_numbers_stay_numbers():
    data, groups = marked((20, 20))
    diagnosis = examine(data, groups)
    made = checked(data, diagnosis)
    remedies = [f.remedy for f in diagnosis.findings if f.remedy]
    assert len(remedies) > len(set(remedies))  # else this shows nothing
    for remedy in set(remedies):
        assert made.html().count(str(escape(remedy))) == 1
    (surface,) = [t for t in made.page.tables if t.caption.startswith("Surface")]
    assert all(isinstance(row[2], Estimate) for row in surface.rows)
    assert made.document["diagnosis"]["findings"][0]["remedy"] == diagnosis.findings[0].remedy  # the file has it with every finding


def test_a_rule_is_named_in_words():
    rng = np.random.default_rng(0)
    texts = ["p"] + ["o" * (i + 1) for i in range(50)]
    rows = [(i % 20, 0, *(1 + np.sort(rng.permutation(50)[:2]))) for i in range(800)]
    diagnosis = examine(table(rows, texts))
    assert "'fewer characters' is right 100.0%" in found(diagnosis, "surface feature").sentence
    assert [(f.rule, f.flagged) for f in diagnosis.telling] == [("fewer characters", True)]


@pytest.mark.parametrize(("users", "shown"), [(1, 0), (9, 0), (10, 1)])
def test_no_surface_feature_is_shown_of_a_few_users(users, shown):
    assert [f.flagged for f in examine(sound(users)).telling] == [False] * shown


def test_groups_without_any_user_are_one_warning():
    data = sound(12)
    nobody = examine(data, Groups(("majority", "minority"), np.full(12, -1, dtype=np.int16), ""))
    assert not [f for f in nobody.findings if f.check in ("empty group", "small group")]
    assert (found(nobody, "no group").severity, found(nobody, "no group").count) == ("warning", 12)
    assert nobody.verdict.startswith("Usable, with care: 1 warning")
