"""From data to report in Python, on features that need no encoder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import evenhand
from evenhand.audits.findings import to_json
from evenhand.core import EvenhandError, PreferenceData
from evenhand.data.simulate import simulated_users
from evenhand.methods.pafo import Pafo, mse
from evenhand.workflows import hyperparameters
from evenhand.workflows.fit import Fit

TFIDF = evenhand.Encoding(None, dim=48)


@pytest.fixture(scope="module")
def data() -> PreferenceData:
    return simulated_users(seed=1, users=120, minority=0.2, pairs_per_user=60)


@pytest.fixture(scope="module")
def result(data: PreferenceData) -> Fit:
    return evenhand.fit(data, "pafo", encoding=TFIDF, seed=1)


def test_personalisation_serves_the_rare_taste_better_than_one_reward(result: Fit) -> None:
    found = result.report.findings
    plain, personalised = found.others
    minority = {m.model: m.groups[1].accuracy.value for m in (plain, personalised, found.model)}
    assert personalised.overall.value > plain.overall.value
    assert minority[personalised.model] > minority[plain.model] + 0.05
    assert found.model.overall.value > 0.6


def test_report_covers_every_pair_and_four_cells(result: Fit, data: PreferenceData) -> None:
    found = result.report.findings
    assert {c.split for c in found.cells} == {f"{a} user, {b} prompt" for a in ("seen", "unseen") for b in ("seen", "unseen")}
    assert found.exclusions.rows_in == len(data)
    assert found.changes[0].before == "personalised Bradley-Terry (LoRe's head)"
    assert found.facts["model sha256"]
    assert [t.method for t in found.training] == [
        "one reward for all (Bradley-Terry, linear)", "personalised Bradley-Terry (LoRe's head)", "PAFO (LoRe's head): teacher of majority", "PAFO (LoRe's head): teacher of minority", "PAFO (LoRe's head)"
    ]  # fmt: skip
    assert found.facts["stability"].startswith("Scores of 64 pairs moved by at most")
    assert "same reward under every prompt" in found.facts["reads"]
    assert any("same reward under every prompt" in limit for limit in found.limits)


def test_same_seed_same_report(result: Fit, data: PreferenceData) -> None:
    again = evenhand.fit(data, "pafo", encoding=TFIDF, seed=1)
    assert to_json(again.report.findings.model) == to_json(result.report.findings.model)
    assert again.report.findings.facts["model sha256"] == result.report.findings.facts["model sha256"]


def test_groups_by_support_find_the_planted_minority(result: Fit, data: PreferenceData) -> None:
    """The simulated users' own attribute and the groups that support finds must agree far beyond chance."""
    from evenhand.data.splits import split_pairs
    from evenhand.data.support import choose_support

    support = choose_support(data.take(split_pairs(data, seed=1).history))
    rare = np.array([t == "minority" for t in data.attributes["taste"]])
    assert np.mean(support.values[rare] < np.quantile(support.values, 0.25)) > 0.8
    assert "S1" in result.report.findings.groups_rule


def test_saved_model_scores_as_the_fitted_one(result: Fit, tmp_path: Path) -> None:
    result.save(tmp_path / "out")
    loaded = evenhand.RewardModel.load(tmp_path / "out" / "model")
    history = [("p", "Short and to the point.", "A long answer that goes through every step: first, second, third.")]
    texts = ["Do it now.", "First, gather the parts; second, check each; third, assemble them."]
    assert np.array_equal(loaded.score(history, ["p", "p"], texts), result.model.score(history, ["p", "p"], texts))


def test_a_split_column_is_honoured(data: PreferenceData) -> None:
    by_prompt = np.array([0, 0, 1, 2], np.int8)[np.unique(data.prompt, return_inverse=True)[1] % 4]
    found = evenhand.fit(replace(data, split=by_prompt), "bradley_terry", encoding=TFIDF).report.findings
    assert found.model.overall.n_pairs == int((by_prompt == 2).sum())


def test_every_model_is_tuned_within_the_same_budget(data: PreferenceData) -> None:
    found = evenhand.fit(data, "bradley_terry", settings={"max_epochs": "4"}, encoding=TFIDF, tune=3).report.findings
    names = [t.method for t in found.training]
    assert names.count("personalised Bradley-Terry (LoRe's head)") == 3
    assert {(t.settings["weight_decay"], t.settings["dropout"]) for t in found.training[1:]} == {(1.0, 0.4), (3.0, 0.5), (0.3, 0.3)}
    assert found.facts["tuned"].startswith("3 settings")


def test_one_reward_for_all_is_called_by_its_name(data: PreferenceData) -> None:
    found = evenhand.fit(data, "bradley_terry", head="linear", settings={"max_epochs": "2"}, encoding=TFIDF).report.findings
    assert found.model.model == "one reward for all (Bradley-Terry, linear)"
    assert found.others == ()


def test_a_typo_in_a_requirement_costs_no_training(data: PreferenceData) -> None:
    stages: list[str] = []
    with pytest.raises(EvenhandError, match="minority"):
        evenhand.fit(data, "pafo", encoding=TFIDF, require=["gain(minorty)>=0"], progress=lambda what, done, total: stages.append(what))
    assert "train" not in stages


@pytest.mark.parametrize("wrong", [{"tolerance": 5.0}, {"group_by": lambda: evenhand.Grouping(minority=1.2)}])
def test_shares_out_of_range_are_refused(wrong: dict[str, object], data: PreferenceData) -> None:
    with pytest.raises(EvenhandError, match="Expected"):
        evenhand.fit(data, "pafo", encoding=TFIDF, **{k: v() if callable(v) else v for k, v in wrong.items()})


def noisy_truth(seed: int) -> PreferenceData:
    """300 users of one taste whose labels are flipped in a quarter of the cases; the scores are the truth, so nobody is served worse."""
    rng = np.random.default_rng(seed)
    users, prompts, per_user = 300, 60, 30
    user = np.repeat(np.arange(users), per_user).astype(np.int32)
    prompt = np.concatenate([rng.permutation(prompts)[:per_user] for _ in range(users)]).astype(np.int32)
    texts = [f"prompt {i}" for i in range(prompts)] + [f"response {k} to {i}" for i in range(prompts) for k in range(2)]
    better, worse = prompts + 2 * prompt, prompts + 2 * prompt + 1
    flipped = rng.random(len(user)) < 0.25
    chosen, rejected = np.where(flipped, worse, better).astype(np.int32), np.where(flipped, better, worse).astype(np.int32)
    margin = np.where(flipped, -1.0, 1.0)
    return PreferenceData([f"u{i}" for i in range(users)], texts, user, prompt, chosen, rejected, numbers={"margin": margin})


def test_noise_in_labels_is_no_gap() -> None:
    """Support and accuracy from the same labels would both fall for a user whose labels were flipped by chance: a gap out of nothing."""
    verdicts, gaps = [], []
    for seed in range(4):
        report = evenhand.audit(noisy_truth(seed), scores=["margin"], seed=seed, resamples=200)
        verdicts.append(report.verdict)
        assert report.findings.model.gap is not None
        gaps.append(report.findings.model.gap.value)
    assert "FAIL" not in verdicts
    assert abs(np.mean(gaps)) < 0.04


def test_a_saved_model_on_another_file(result: Fit, tmp_path: Path) -> None:
    result.save(tmp_path / "out")
    other = simulated_users(seed=9, users=120, minority=0.2, pairs_per_user=60)
    found = evenhand.audit(other, model=tmp_path / "out" / "model").findings
    assert "unknown" in found.model.split
    assert found.model.gap is not None
    assert {g.group: g.n_users > 0 for g in found.model.groups} == {"majority": True, "minority": True}
    assert found.model.overall.value > 0.6


def test_its_own_file_read_in_another_way_is_refused(result: Fit, data: PreferenceData, tmp_path: Path) -> None:
    """The same bytes with other rows left out would put training pairs among the scored ones."""
    result.save(tmp_path / "out")
    with pytest.raises(EvenhandError, match="read in another way"):
        evenhand.audit(data.take(np.arange(len(data)) % 5 > 0), model=tmp_path / "out" / "model")


def test_a_scored_pair_is_never_read_as_history(result: Fit, data: PreferenceData, tmp_path: Path) -> None:
    from evenhand.workflows.score import score

    result.save(tmp_path / "out")
    first, second = data.take(np.arange(0, len(data), 2)), data.take(np.arange(1, len(data), 2))
    reversed_users = replace(first, users=list(data.users)[::-1], user=(len(data.users) - 1 - first.user).astype(np.int32))
    alone = score(tmp_path / "out" / "model", second, first)
    both = score(tmp_path / "out" / "model", second, data)
    swapped = score(tmp_path / "out" / "model", second, reversed_users)
    assert np.array_equal(alone.rewards, swapped.rewards)  # users are matched by id, not by number
    assert both.left_out >= len(second)
    assert np.allclose(alone.rewards, both.rewards, atol=1e-4)
    assert alone.known == alone.users == 120
    generic = score(tmp_path / "out" / "model", second)
    assert generic.known == 0
    assert not np.allclose(generic.rewards, alone.rewards)


def test_audit_of_scores_finds_the_planted_gap() -> None:
    data = simulated_users(seed=2, users=150, minority=0.3, pairs_per_user=60)
    rng = np.random.default_rng(0)
    rare = np.array([t == "minority" for t in data.attributes["taste"]])
    right = rng.random(len(data)) < np.where(rare[data.user], 0.55, 0.8)
    scored = replace(data, numbers={"good": np.where(right, 1.0, -1.0), "bad": np.zeros(len(data))})
    report = evenhand.audit(scored, scores=["good", "bad"], group_by=evenhand.Grouping(["taste"]))
    gap = report.findings.model.gap
    assert gap is not None
    assert gap.low < 0.25 < gap.high
    assert report.verdict == "FAIL"
    assert report.exit_code == 1
    with pytest.raises(EvenhandError, match="were not loaded"):
        evenhand.audit(data, scores=["good"])
    with pytest.raises(EvenhandError, match="neither"):
        evenhand.audit(data)


def test_hyperparameters_find_their_place() -> None:
    method = hyperparameters.method(
        "pafo", {"alpha": "0.25", "rank": "6", "dropout": "0.1", "distil": "mse", "warm_start": "false", "context": "0.2:0.5"}
    )
    assert isinstance(method, Pafo)
    assert (method.alpha, method.base.head.rank, method.base.schedule.dropout) == (0.25, 6, 0.1)
    assert method.distil is mse
    assert method.warm_start is False
    assert method.base.schedule.context == (0.2, 0.5)
    assert dict(hyperparameters.hyperparameters(method))["distil"] == "mse"


@pytest.mark.parametrize(
    ("hyperparameter", "text", "said"),
    [("rnak", "6", "rank"), ("rank", "six", "Expected: int"), ("distil", "mes", "mse"), ("warm_start", "maybe", "bool")],
)
def test_wrong_hyperparameters_are_told(hyperparameter: str, text: str, said: str) -> None:
    with pytest.raises(EvenhandError, match=said):
        hyperparameters.method("pafo", {hyperparameter: text})


def test_texts_the_encoder_cannot_tell_apart_are_counted() -> None:
    from evenhand.workflows.responses import Responses, same_vectors

    vectors = np.array([[1, 0], [1, 0], [0, 1], [1, 0]], np.float32)
    responses = Responses(["a", "b", "c", "d"], np.array([0, 0, 0]), np.array([1, 2, 3]), vectors, np.array([True, True, True, False]))
    # both cut and alike; both cut, not alike; one alone cut, to what the other is
    assert same_vectors(responses, responses.chosen, responses.rejected).tolist() == [True, False, True]
    whole = replace(responses, cut=np.zeros(4, bool))
    assert not same_vectors(whole, responses.chosen, responses.rejected).any()  # nothing was cut: alike for another reason


def test_long_texts_are_counted_as_truncated_by_group(tmp_path: Path) -> None:
    """A user's own file with responses over 256 tokens: the encoder cuts them, the report says so."""
    data = simulated_users(seed=3, users=40, minority=0.3, pairs_per_user=40)
    texts = [t if i % 2 else t + " and so on and on" * 80 for i, t in enumerate(data.texts)]
    encoder = evenhand.Encoding(cut_everything_over(300), dim=8, cache=tmp_path)
    found = evenhand.fit(replace(data, texts=texts), "bradley_terry", settings={"max_epochs": "2"}, encoding=encoder).report.findings
    assert sum(c.truncated for c in found.model.counts) > 0
    assert sum(c.truncated for c in found.model.counts) <= found.model.overall.n_pairs


def cut_everything_over(characters: int) -> object:
    """A small real encoder: counts of letters in the first `characters` of a text."""
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Letters:
        name: str = "letters"
        fingerprint: str = "0" * 64
        dim: int = 26
        max_tokens: int = characters
        chunked: bool = False

        def encode(self, texts: list[str], progress: object = None) -> np.ndarray:
            return np.array([[t[: self.max_tokens].lower().count(chr(97 + k)) for k in range(26)] for t in texts], np.float32)

        def tokens(self, texts: list[str]) -> np.ndarray:
            return np.array([len(t) for t in texts])

    return Letters()


@pytest.mark.parametrize(
    ("name", "kind", "head"),
    [
        ("lore", "BradleyTerry", "Lore"),
        ("vpl", "VplMethod", "Vpl"),
        ("group_dro", "GroupDRO", "Lore"),
        ("low_rank", "BradleyTerry", "LowRank"),
    ],
)
def test_a_user_model_is_a_method_too(name: str, kind: str, head: str) -> None:
    method = hyperparameters.method(name, {})
    base = method if kind == "BradleyTerry" else method.base
    assert type(method).__name__.lower() == kind.lower()
    assert type(base.head).__name__ == head


def test_a_user_model_stands_beside_the_default_one(data: PreferenceData) -> None:
    found = evenhand.fit(data, "pal", settings={"max_epochs": "2"}, encoding=TFIDF).report.findings
    assert [m.model for m in (*found.others, found.model)] == [
        "one reward for all (Bradley-Terry, linear)",
        "personalised Bradley-Terry (LoRe's head)",
        "PAL, redesigned",
    ]
    itself = evenhand.fit(data, "lore", settings={"max_epochs": "2"}, encoding=TFIDF).report.findings  # the default head by its name
    assert [m.model for m in (*itself.others, itself.model)] == [
        "one reward for all (Bradley-Terry, linear)",
        "personalised Bradley-Terry (LoRe's head)",
    ]
