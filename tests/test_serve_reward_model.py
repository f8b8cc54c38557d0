"""RewardModel: text in, rewards out, whatever else is scored in the same call; and its errors."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evenhand.core import DataError, EvenhandError, History, Pairs
from evenhand.encode.encoder import Progress
from evenhand.encode.minilm import MiniLM
from evenhand.encode.projection import FeatureMap
from evenhand.encode.prompted import item_text
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.models.low_rank import LowRank
from evenhand.serve.head_record import heads
from evenhand.serve.reward_model import RewardModel
from evenhand.training.schedule import Schedule
from evenhand.training.scoring import margins

TEXTS = [
    f"{how} answer about {what} number {i}"
    for i in range(4)
    for how in ("short", "a long and winding", "playful")
    for what in ("tea", "rain")
]
PROMPTS = ["What about tea?", "Will it rain?"]
HISTORY = [(PROMPTS[0], TEXTS[0], TEXTS[1]), (PROMPTS[1], TEXTS[4], TEXTS[9]), (PROMPTS[0], TEXTS[2], TEXTS[3])]


@dataclass(frozen=True)
class LetterEncoder:
    """A deterministic encoder of eight numbers a text: enough of the protocol to show which texts were encoded."""

    salt: str = ""
    name = "letters"
    dim = 8
    max_tokens = 1000
    chunked = False

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(f"letters {self.salt}".encode()).hexdigest()

    def encode(self, texts: Any, progress: Progress | None = None) -> np.ndarray:
        digests = [hashlib.sha256((self.salt + t).encode("utf-8", "replace")).digest()[:8] for t in texts]
        return np.array([list(d) for d in digests], dtype=np.float32).reshape(len(texts), 8) / 128 - 1

    def tokens(self, texts: Any) -> np.ndarray:
        return np.array([len(t) for t in texts])


def model_of(head: Any = None, *, encoder: Any = LetterEncoder(), with_prompt: bool = False) -> RewardModel:
    """A reward model with weights moved off their start, features fitted on TEXTS."""
    head = head or LowRank(4)
    feature_map = FeatureMap.fit(TEXTS, None if encoder is None else encoder.encode(TEXTS), dim=12)
    scorer, g = head.build(12, 1), torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in scorer.parameters():
            p += 0.3 * torch.randn(p.shape, generator=g)
    return RewardModel(encoder, feature_map, head, scorer, with_prompt, {"method": "bradley_terry", "seed": 1})


MODELS = [pytest.param(model_of(kind()), id=name) for name, kind in sorted(heads().items())]


@pytest.mark.parametrize("model", MODELS)
class TestEveryHead:
    def test_the_batch_and_its_order_do_not_matter(self, model: RewardModel) -> None:
        prompts = [PROMPTS[i % 2] for i in range(len(TEXTS))]
        together = model.score(HISTORY, prompts, TEXTS)
        assert together.shape == (len(TEXTS),)
        assert together.std() > 0.01
        alone = [model.score(HISTORY, [p], [t])[0] for p, t in zip(prompts, TEXTS)]
        near = 1e-5 * max(1.0, float(np.abs(together).max()))  # rewards of tens, as these untrained heads may give, have float32's digits
        np.testing.assert_allclose(alone, together, atol=near)
        np.testing.assert_allclose(model.score(HISTORY[::-1], prompts[::-1], TEXTS[::-1])[::-1], together, atol=near)

    def test_many_users_at_once_are_one_after_the_other(self, model: RewardModel) -> None:
        histories = [HISTORY, [], HISTORY[:1]]
        user, responses = [2, 0, 1, 0, 2], TEXTS[:5]
        prompts = [PROMPTS[0]] * 5
        together = model.score_users(histories, user, prompts, responses)
        alone = [model.score(histories[u], [p], [r])[0] for u, p, r in zip(user, prompts, responses)]
        np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-5)  # fp32, as measured relative to a score's size

    def test_dicts_and_triples_say_the_same(self, model: RewardModel) -> None:
        as_dicts = [{"prompt": p, "chosen": c, "rejected": r} for p, c, r in HISTORY]
        assert np.array_equal(model.score(as_dicts, PROMPTS, TEXTS[:2]), model.score(HISTORY, PROMPTS, TEXTS[:2]))

    def test_save_load_same_scores(self, model: RewardModel, tmp_path: Path) -> None:
        model.save(tmp_path / "model")
        loaded = RewardModel.load(tmp_path / "model", encoder=model.encoder)
        assert np.array_equal(loaded.score(HISTORY, PROMPTS, TEXTS[:2]), model.score(HISTORY, PROMPTS, TEXTS[:2]))
        assert loaded.head == model.head
        assert loaded.facts["method"] == "bradley_terry"
        assert loaded.facts["seed"] == 1

    def test_without_history_everybody_is_alike(self, model: RewardModel) -> None:
        """Beside a user with a history, too: the generic reward depends on nobody."""
        rewards = model.score_users([[], HISTORY, []], [0, 2], PROMPTS[:1] * 2, TEXTS[:1] * 2)
        np.testing.assert_allclose(rewards, model.score([], PROMPTS[:1], TEXTS[:1])[[0, 0]], rtol=1e-5)
        assert model.state(HISTORY).shape == model.state([]).shape

    def test_nothing_to_score_is_nothing_scored(self, model: RewardModel) -> None:
        assert model.score(HISTORY, [], []).shape == (0,)
        assert model.score_users([], [], [], []).shape == (0,)


def test_the_prompt_enters_only_if_the_model_says_so() -> None:
    without, with_prompt = model_of(), model_of(with_prompt=True)
    one, two = (without.score(HISTORY, [p], TEXTS[:1]) for p in PROMPTS)
    assert np.array_equal(one, two)
    one, two = (with_prompt.score(HISTORY, [p], TEXTS[:1]) for p in PROMPTS)
    assert not np.array_equal(one, two)
    assert str(item_text("P", "R", True)) == "P\n\nR"
    assert item_text("P", "R", False) == "R"


def test_with_prompt_survives_saving(tmp_path: Path) -> None:
    model = model_of(with_prompt=True)
    model.save(tmp_path / "m")
    assert RewardModel.load(tmp_path / "m", encoder=model.encoder).with_prompt


@pytest.mark.parametrize("with_prompt", [False, True])
def test_whether_prompts_count_is_said_wherever_the_model_is_met(with_prompt: bool, tmp_path: Path) -> None:
    model = model_of(with_prompt=with_prompt)
    one, other = (model.score(HISTORY, [p], TEXTS[:1])[0] for p in PROMPTS[:2])
    assert model.reads_prompts == (one != other)
    model.save(tmp_path / "m")
    loaded = RewardModel.load(tmp_path / "m", encoder=model.encoder)
    assert loaded.reads_prompts == with_prompt
    said = "reads prompt and response together" if with_prompt else "a response has the same reward under every prompt"
    for text in (repr(loaded), loaded._repr_html_(), (tmp_path / "m" / "model.json").read_text()):
        assert said in text


def test_a_model_on_word_counts_alone_needs_no_encoder(tmp_path: Path) -> None:
    model = model_of(encoder=None)
    model.save(tmp_path / "m")
    loaded = RewardModel.load(tmp_path / "m")
    assert loaded.encoder is None
    assert np.array_equal(loaded.score(HISTORY, PROMPTS, TEXTS[:2]), model.score(HISTORY, PROMPTS, TEXTS[:2]))


def test_an_encoder_goes_with_its_feature_map_only() -> None:
    with pytest.raises(ValueError, match="encoder"):
        replace(model_of(), encoder=None)


def test_a_reward_is_the_scorers_on_the_features_of_the_response() -> None:
    """The whole path by hand: encode, map, read the history, score."""
    model = model_of()
    texts = [TEXTS[0], TEXTS[1], TEXTS[7]]
    items = torch.from_numpy(model.feature_map.apply(texts, model.encoder.encode(texts)))  # type: ignore[union-attr]
    history = History(items, torch.tensor([0, 1]), torch.tensor([0]), torch.tensor([1]), torch.tensor([-1]))
    with torch.no_grad():
        expected = model.scorer.score(model.scorer.users(history), items[2:])
    np.testing.assert_allclose(model.score(HISTORY[:1], ["?"], [TEXTS[7]]), expected.numpy(), atol=1e-5)


def test_another_encoder_is_refused(tmp_path: Path) -> None:
    model_of().save(tmp_path / "m")
    with pytest.raises(DataError, match=r"letters.*Expected: [0-9a-f]{16}"):
        RewardModel.load(tmp_path / "m", encoder=LetterEncoder("other"))
    with pytest.raises(DataError, match="pass encoder="):
        RewardModel.load(tmp_path / "m")


@pytest.mark.parametrize(
    ("call", "found"),
    [
        (lambda m: m.score([], "one text", ["r"]), "Found str as prompts"),
        (lambda m: m.score([], ["p"], "one text"), "Found str as responses"),
        (lambda m: m.score([], ["p"], ["r", "s"]), "1 prompts and 2 responses"),
        (lambda m: m.score([], ["p"], [None]), r"responses\[0\] is neither a text nor messages: it is of type NoneType"),
        (lambda m: m.score([], [1.5], ["r"]), r"prompts\[0\] is neither a text nor messages: it is of type float"),
        (lambda m: m.score("abc", ["p"], ["r"]), "Found str as the history of user 0"),
        (lambda m: m.score(None, ["p"], ["r"]), "Found NoneType as the history"),
        (lambda m: m.score([("p", "c")], ["p"], ["r"]), "record 0: found str, str"),
        (lambda m: m.score([("p", "c", 3)], ["p"], ["r"]), "record 0: found str, str, int"),
        (lambda m: m.score([("p", "c", "r"), "pcr"], ["p"], ["r"]), "record 1: found str"),
        (lambda m: m.score([{"prompt": "p", "choosen": "c", "rejected": "r"}], ["p"], ["r"]), "choosen"),
        (lambda m: m.score_users([[]], [1], ["p"], ["r"]), r"user\[0\] is 1. Expected: 0 to 0"),
        (lambda m: m.score_users([[]], [-1], ["p"], ["r"]), r"user\[0\] is -1"),
        (lambda m: m.score_users([[]], [0.5], ["p"], ["r"]), "float64"),
        (lambda m: m.score_users([[]], [0, 0], ["p"], ["r"]), "2 user numbers"),
        (lambda m: m.state(7), "Found int as the history"),
    ],
)
def test_wrong_input_is_named_with_a_remedy(call: Any, found: str) -> None:
    with pytest.raises(EvenhandError, match=found) as error:
        call(model_of())
    assert "Expected:" in str(error.value)
    assert "To do:" in str(error.value)


def test_odd_texts_are_scored() -> None:
    """Very long, NUL, right-to-left, emoji and a lone surrogate are texts too; of a history, and of prompts, an empty one."""
    odd = ["", "x" * 100_000, "a\0b", "\u202eabc", "🙂" * 30, "\ud800"]
    assert np.isfinite(model_of().score([("", odd[0], odd[5])], [""] * (len(odd) - 1), odd[1:])).all()


def test_one_word_about_a_model_shows_no_array() -> None:
    assert repr(model_of()).startswith(
        "RewardModel(LowRank(rank=4), letters, 12 features, bradley_terry). The model reads the response alone"
    )


# ---- the real encoder, and a trained model


@pytest.fixture(scope="module")
def taste() -> tuple[RewardModel, dict[str, list[tuple[str, str, str]]]]:
    """Trained on real MiniLM vectors: half of the users like rain, the other half like tea; one history of each, on held-out numbers."""
    subjects = {"rain": ["rain on the roof", "a grey cloud", "wet shoes", "an umbrella", "a storm at night", "puddles"],
                "tea": ["a cup of tea", "a kettle", "green leaves", "a teapot", "honey and lemon", "a warm mug"]}  # fmt: skip
    texts = [f"Let us speak of {s}." for own in subjects.values() for s in own]
    encoder = MiniLM()
    feature_map = FeatureMap.fit(texts, encoder.encode(texts), dim=8)
    items = torch.from_numpy(feature_map.apply(texts, encoder.encode(texts)))
    g, n_users, each = torch.Generator().manual_seed(0), 60, 10
    user = torch.arange(n_users).repeat_interleave(each)
    rain, tea = torch.randint(4, (2, len(user)), generator=g)
    likes_rain = user < n_users // 2
    chosen, rejected = torch.where(likes_rain, rain, tea + 6), torch.where(likes_rain, tea + 6, rain)
    history = History(items, torch.arange(0, len(user) + 1, each), chosen, rejected, torch.arange(n_users))
    pairs = Pairs(history, user, chosen, rejected, torch.ones(len(user)), torch.zeros(len(user)).long())
    head = LowRank(2)
    fitted = BradleyTerry(head, Schedule(lr=1e-2, max_epochs=25)).fit(pairs, pairs, 0)
    assert (margins(fitted.scorer, pairs) > 0).float().mean() > 0.9
    own = {"rain": [("", texts[a], texts[b + 6]) for a, b in [(0, 1), (2, 3), (1, 0)]]}
    own["tea"] = [(p, r, c) for p, c, r in own["rain"]]
    return RewardModel(encoder, feature_map, head, fitted.scorer, facts={"method": "bradley_terry"}), own


def test_a_new_user_needs_no_training(taste: Any) -> None:
    """Two people never seen, told apart by three choices each; the responses were not in training."""
    model, histories = taste
    unseen = ["Let us speak of a storm at night.", "Let us speak of a warm mug."]
    for who, sign in (("rain", 1), ("tea", -1)):
        rain, tea = model.score(histories[who], ["", ""], unseen)
        assert sign * (rain - tea) > 0.1, who


def test_with_the_embedded_encoder_a_saved_model_stands_on_its_own(taste: Any, tmp_path: Path) -> None:
    model, histories = taste
    responses = ["Short.", "A much longer response, about " + "umbrellas and " * 80 + "teapots.", "Let us speak of puddles."]
    before = model.score(histories["tea"], [""] * 3, responses)
    model.save(tmp_path / "m")
    loaded = RewardModel.load(tmp_path / "m")
    assert isinstance(loaded.encoder, MiniLM)
    # The encoder runs in bfloat16 on some machines: its vectors agree to a cosine of 0.999 whatever the batch, not to the last bit.
    tolerance = 0.02 * float(np.abs(before).max() + 1)
    np.testing.assert_allclose(loaded.score(histories["tea"], [""] * 3, responses), before, atol=tolerance)
    alone = [loaded.score(histories["tea"], [""], [r])[0] for r in responses]
    np.testing.assert_allclose(alone, before, atol=tolerance)


def test_a_model_that_was_trained_on_cut_texts_reads_them_cut_ever_after(taste: Any, tmp_path: Path) -> None:
    """As the default was before texts were read whole: the saved record decides, and not today's default."""
    model, histories = taste
    cut = replace(model, encoder=MiniLM(chunked=False))
    cut.save(tmp_path / "m")
    loaded = RewardModel.load(tmp_path / "m")
    assert loaded.encoder == MiniLM(chunked=False) != MiniLM()
    ends = ["Let us speak of wet shoes. " * 60 + tail for tail in ("", "Let us speak of green leaves. " * 60)]
    scored = [m.score(histories["rain"], ["", ""], ends) for m in (cut, loaded, model)]
    np.testing.assert_array_equal(scored[0], scored[1])
    assert scored[1][0] == scored[1][1]  # what follows after 256 tokens is not seen
    assert scored[2][0] > scored[2][1] + 0.1
