"""A model whose description somebody changed and sealed again: refused with a reason, or as good as any other; never a crash."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from evenhand.core import EvenhandError
from evenhand.encode.projection import FeatureMap, Recipe
from evenhand.models.gpo import Gpo
from evenhand.models.low_rank import LowRank
from evenhand.serve import model_files
from evenhand.serve.model_files import ARRAYS, DESCRIPTION
from evenhand.serve.reward_model import RewardModel

TEXTS = [f"{word} the {thing} for {i} minutes" for i, (word, thing) in enumerate([("boil", "rice"), ("fry", "fish"), ("read", "book")] * 4)]
HISTORY = [("p", TEXTS[0], TEXTS[1]), ("p", TEXTS[2], TEXTS[5])]
VALUES = [None, "\x1b[31m", -1, 0, 10**9, 10**30, 0.5, 1e308, True, [], {}]
MISSING = object()


@pytest.fixture(scope="module", params=[LowRank(3), Gpo(4, 2, 1)], ids=["low_rank", "gpo"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = Recipe(dim=6, svd=6, min_df=1, letters=True)
    made = FeatureMap.fit(TEXTS, None, recipe=recipe)
    place = tmp_path_factory.mktemp("hostile") / "m"
    facts = {"method": "pafo", "seed": 0, "title": "a", "shares": [0.6, 0.15, 0.25]}
    RewardModel(None, made, request.param, request.param.build(6, 0), facts=facts).save(place)
    return place


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths to every value, the containers included."""
    if path:
        yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from leaves(inner, (*path, key))


def changed(said: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    said = copy.deepcopy(said)
    place: Any = said
    for key in path[:-1]:
        place = place[key]
    if value is MISSING:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return said


def outcome(folder: Path) -> str:
    """ "refused", or "scored" where the model loads and gives finite rewards. Whatever else happens is the failure looked for."""
    try:
        rewards = RewardModel.load(folder).score(HISTORY, ["p"] * len(TEXTS), TEXTS)
    except EvenhandError as error:
        return "refused" if "\x1b" not in str(error) and len(str(error)) < 2_000 else "refused in an unfit message"
    assert rewards.shape == (len(TEXTS),)
    assert np.isfinite(rewards).all()
    return "scored"


def test_every_field_changed_and_sealed_again(folder: Path) -> None:
    before = (folder / DESCRIPTION).read_text()
    said = {k: v for k, v in json.loads(before).items() if k != "description_sha256"}
    expected = RewardModel.load(folder).score(HISTORY, ["p"] * len(TEXTS), TEXTS)
    wrong, count = [], 0
    paths = [p for p in leaves(said) if p[0] != "arrays" or len(p) == 1 or p[1].startswith("scorer.")]
    for path in paths if isinstance(RewardModel.load(folder).head, LowRank) else (p for p in paths if p[0] == "head"):
        for value in (MISSING, *VALUES):
            (folder / DESCRIPTION).write_text(model_files.seal(changed(said, path, value)))
            result = outcome(folder)
            count += 1
            # outside the facts, only what decides nothing of a score, or is as good a value, may be changed unseen
            harmless = path[0] == "facts" or path[-1] in {"recipe", "with_prompt", "damping", "svd", "squared_norm", "min_df", "max_buckets",
                                                         "max_texts", "standardise", "letters", "ngrams", "space", "heads"}  # fmt: skip
            if result == "scored" and not harmless and json.dumps(changed(said, path, value)) != json.dumps(said):
                wrong.append((path, value))
        (folder / DESCRIPTION).write_text(model_files.seal({**said, "strange": 1}))
        assert outcome(folder) == "refused"
    (folder / DESCRIPTION).write_text(before)
    assert count >= 60
    assert wrong == []
    assert np.array_equal(RewardModel.load(folder).score(HISTORY, ["p"] * len(TEXTS), TEXTS), expected)


def test_arrays_exchanged_and_sealed_again(folder: Path, tmp_path: Path) -> None:
    said = json.loads((folder / DESCRIPTION).read_text())
    arrays = safetensors.torch.load((folder / ARRAYS).read_bytes())

    def bad(name: str, array: torch.Tensor) -> dict[str, torch.Tensor]:
        return {**arrays, name: array}

    first = next(n for n in arrays if n.startswith("scorer."))
    changes = [
        *({k: v for k, v in arrays.items() if k != name} for name in arrays),
        *(bad(name, torch.full_like(arrays[name].float(), float("nan"))) for name in arrays),
        *(bad(name, arrays[name].to(torch.float64)) for name in arrays),
        *(bad(name, arrays[name][None]) for name in arrays),
        *(bad(name, arrays[name][:0] if arrays[name].ndim else arrays[name][None]) for name in arrays),
        bad("features.buckets", arrays["features.buckets"].flip(0)),
        bad("features.buckets", arrays["features.buckets"] - 10**9),
        bad("features.letter_buckets", arrays["features.letter_buckets"] + 2**30),
        {**arrays, "features.idf": arrays["features.letter_idf"], "features.letter_idf": arrays["features.idf"]},
        {**arrays, first: arrays["features.shift"].repeat(2)},
        {**arrays, "scorer.more": torch.zeros(2)},
    ]
    for change in changes:
        data = safetensors.torch.save({n: t.clone().contiguous() for n, t in change.items()})
        (tmp_path / ARRAYS).write_bytes(data)
        shapes = {n: {"shape": list(a.shape), "type": str(a.dtype).removeprefix("torch.")} for n, a in change.items()}
        told = {**said, "arrays": shapes, "arrays_sha256": hashlib.sha256(data).hexdigest()}
        (tmp_path / DESCRIPTION).write_text(model_files.seal({k: v for k, v in told.items() if k != "description_sha256"}))
        assert outcome(tmp_path) == "refused", sorted(change.keys() ^ arrays.keys()) or shapes


def test_a_claim_takes_no_memory(folder: Path, tmp_path: Path) -> None:
    """A rank of a million on a million features would be four terabytes."""
    import tracemalloc

    said = {k: v for k, v in json.loads((folder / DESCRIPTION).read_text()).items() if k != "description_sha256"}
    said["head"]["settings"]["rank"], said["dim"], said["features"]["recipe"]["dim"] = 10**6, 10**6, 10**6
    (tmp_path / ARRAYS).write_bytes((folder / ARRAYS).read_bytes())
    (tmp_path / DESCRIPTION).write_text(model_files.seal(said))
    tracemalloc.start()
    assert outcome(tmp_path) == "refused"
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()
