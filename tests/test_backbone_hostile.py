"""A saved model on a backbone whose adapter, description or base somebody changed: refused with a reason, or as good as before; never a crash."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from test_serve_hostile import MISSING, changed
from tiny_models import tiny_bert, tiny_llama

from evenhand.core import EvenhandError
from evenhand.encode.backbone import Backbone
from evenhand.encode.backbone_encoder import BackboneEncoder
from evenhand.encode.minilm import MiniLM
from evenhand.encode.projection import FeatureMap, Recipe
from evenhand.models.low_rank import LowRank
from evenhand.serve import model_files
from evenhand.serve.model_files import ARRAYS, DESCRIPTION
from evenhand.serve.reward_model import RewardModel

pytestmark = pytest.mark.lm

TEXTS = [f"{word} the {thing}" for word in ("boil", "fry", "read", "keep") for thing in ("rice", "fish", "book")]
HISTORY = [("p", TEXTS[0], TEXTS[1]), ("p", TEXTS[2], TEXTS[5])]
Arrays = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `base`, a tiny Llama, and `m`, a model on it under an adapter that moved."""
    place = tmp_path_factory.mktemp("hostile")
    encoder = BackboneEncoder(Backbone(str(tiny_llama(place / "base")), rank=2, max_tokens=16))
    adapter, draw = encoder.backbone.base.new_adapter(0), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in adapter.parameters():
            tensor += 0.1 * torch.randn(tensor.shape, generator=draw)
    made = FeatureMap.fit(TEXTS, encoder.encode(TEXTS), recipe=Recipe(dim=6, svd=6, min_df=1))
    RewardModel(BackboneEncoder(encoder.backbone, adapter), made, LowRank(3), LowRank(3).build(6, 0)).save(place / "m")
    return place


@pytest.fixture
def place(whole: Path, tmp_path: Path) -> Path:
    """A copy, whose model is on the copy of the base."""
    shutil.copytree(whole, tmp_path / "a")
    describe(tmp_path / "a", lambda said: changed(said, ("encoder", "model"), str(tmp_path / "a" / "base")))
    return tmp_path / "a"


def describe(place: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Change model.json and seal it again."""
    file = place / "m" / DESCRIPTION
    said = {k: v for k, v in json.loads(file.read_text()).items() if k != "description_sha256"}
    file.write_text(model_files.seal(change(said)))


def rearrange(place: Path, change: Callable[[Arrays], Arrays]) -> None:
    """Change the arrays, and tell model.json."""
    file = place / "m" / ARRAYS
    arrays = change(safetensors.torch.load(file.read_bytes()))
    data = safetensors.torch.save({name: array.clone().contiguous() for name, array in arrays.items()})
    file.write_bytes(data)
    shapes = {n: {"shape": list(a.shape), "type": str(a.dtype).removeprefix("torch.")} for n, a in arrays.items()}
    describe(place, lambda said: {**said, "arrays": shapes, "arrays_sha256": hashlib.sha256(data).hexdigest()})


def scored(place: Path) -> np.ndarray:
    return RewardModel.load(place / "m").score(HISTORY, ["p"] * len(TEXTS), TEXTS)


def refused(place: Path) -> str:
    with pytest.raises(EvenhandError) as error:
        scored(place)
    said = str(error.value)
    assert "Expected: " in said
    assert "To do: " in said
    assert len(said) < 2_000
    assert "\x1b" not in said
    return said


def named(arrays: Arrays, part: str) -> str:
    return next(name for name in arrays if name.startswith("adapter.") and part in name)


def edited(part: str, edit: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Arrays], Arrays]:
    return lambda arrays: {**arrays, named(arrays, part): edit(arrays[named(arrays, part)])}


def test_a_copy_that_nobody_changed_scores_alike(whole: Path, place: Path) -> None:
    assert np.array_equal(scored(place), scored(whole))
    assert np.ptp(scored(place)) > 0


ADAPTERS: dict[str, tuple[Callable[[Arrays], Arrays], str]] = {
    "a number": (edited("lora_A", lambda a: a + 0.5), "fingerprint"),
    "no adapter": (lambda arrays: {n: a for n, a in arrays.items() if not n.startswith("adapter.")}, "fingerprint"),
    "one is missing": (lambda arrays: {n: a for n, a in arrays.items() if n != named(arrays, "lora_B")}, "lora_B.*not there"),
    "another rank": (
        lambda arrays: {n: a.repeat(2, 1) if "lora_A" in n else a.repeat(1, 2) if "lora_B" in n else a for n, a in arrays.items()},
        r"of shape \[4, 64\].*Expected: of shape \[2, 64\]",
    ),
    "one too many": (lambda arrays: {**arrays, "adapter.more": torch.zeros(2)}, "more is of shape"),
    "another name": (lambda arrays: {n.replace("lora_A", "lora_C"): a for n, a in arrays.items()}, "another base model"),
    "NaN": (edited("lora_B", lambda a: torch.full_like(a, float("nan"))), "NaN or infinite"),
    "whole numbers": (edited("lora_A", lambda a: a.to(torch.int64)), "fingerprint"),
    "no places": (edited("lora_A", lambda a: a[:0]), "of shape"),
    "a scalar": (edited("lora_A", lambda a: torch.tensor(1.0)), "of shape"),
}


@pytest.mark.parametrize(("change", "said"), ADAPTERS.values(), ids=ADAPTERS)
def test_an_adapter_that_was_changed(place: Path, change: Callable[[Arrays], Arrays], said: str) -> None:
    rearrange(place, change)
    assert re.search(said, refused(place))


VALUES = [MISSING, None, "\x1b[31m", "", "minilm", "no/such-model", "../base", -1, 0, 10**9, 0.5, True, [], {}]


@pytest.mark.parametrize(
    "name", ["kind", "model", "rank", "pooling", "max_tokens", "dtype", "name", "chunked", "fingerprint", "with_prompt"]
)
def test_a_field_of_the_encoder_that_was_changed(place: Path, name: str) -> None:
    file = place / "m" / DESCRIPTION
    before = file.read_text()
    expected, said = scored(place), json.loads(before)["encoder"]
    for value in (v for v in VALUES if v != said[name]):
        describe(place, lambda all_, value=value: changed(all_, ("encoder", name), value))  # type: ignore[misc]
        if name in ("name", "with_prompt") and type(value) is type(said[name]):  # what a model is called, and what it is given to read
            if name == "name":
                assert np.array_equal(scored(place), expected)
        else:
            refused(place)
        file.write_text(before)


@pytest.mark.parametrize(("name", "value"), [("rank", 4), ("rank", 0), ("pooling", "last"), ("max_tokens", 15), ("dtype", "bfloat16")])
def test_another_setting_that_is_possible(place: Path, name: str, value: object) -> None:
    describe(place, lambda said: changed(said, ("encoder", name), value))
    assert "fingerprint" in refused(place) or name == "rank"


def test_the_base_is_gone(place: Path) -> None:
    shutil.rmtree(place / "base")
    said = refused(place)
    assert "not on this machine" in said
    assert "--encoder-at FOLDER (in Python encoder_at=)" in said


def test_the_base_is_found_from_another_folder(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    model = RewardModel.load("m", encoder=Backbone("base", rank=2, max_tokens=16))
    model.save("relative")
    (place / "elsewhere").mkdir()
    monkeypatch.chdir(place / "elsewhere")
    again = RewardModel.load(place / "relative")
    assert np.array_equal(again.score(HISTORY, ["p"] * len(TEXTS), TEXTS), scored(place))


def other_weights(base: Path) -> None:
    shutil.rmtree(base)
    tiny_llama(base, seed=1)


def other_architecture(base: Path) -> None:
    shutil.rmtree(base)
    tiny_bert(base)


def fewer_layers(base: Path) -> None:
    said = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**said, "num_hidden_layers": 1}))


def pickled(base: Path) -> None:
    (base / "model.safetensors").unlink()
    (base / "pytorch_model.bin").write_bytes(b"\x80\x04\x95pickle")


BASES: dict[str, tuple[Callable[[Path], object], str]] = {
    "other weights": (other_weights, "fingerprint"),
    "another architecture": (other_architecture, "another base model"),
    "fewer layers": (fewer_layers, "another base model|fingerprint|cannot be loaded"),
    "weights cut off": (lambda base: (base / "model.safetensors").write_bytes((base / "model.safetensors").read_bytes()[:-100]), "cannot be loaded"),
    "no weights": (lambda base: (base / "model.safetensors").unlink(), "no weights"),
    "weights that run code": (pickled, "can run code"),
    "no config": (lambda base: (base / "config.json").unlink(), "config.json"),
    "a config that is none": (lambda base: (base / "config.json").write_text("[]"), "cannot be loaded"),
    "no tokenizer": (lambda base: [f.unlink() for f in base.glob("tokenizer*")], "no tokenizer"),
    "a file in its place": (lambda base: (shutil.rmtree(base), base.write_text("x")), "is a file"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "said"), BASES.values(), ids=BASES)
def test_a_base_that_was_changed(place: Path, change: Callable[[Path], object], said: str) -> None:
    change(place / "base")
    assert re.search(said, refused(place))


def test_another_encoder_is_given(whole: Path) -> None:
    with pytest.raises(EvenhandError, match="takes no adapter"):
        RewardModel.load(whole / "m", encoder=MiniLM())
    for backbone in (
        Backbone("minilm", rank=2),
        Backbone(str(whole / "base"), rank=4),
        Backbone(str(whole / "base"), rank=2, pooling="last"),
    ):
        with pytest.raises(EvenhandError, match=r"another base model or at another rank|fingerprint"):
            RewardModel.load(whole / "m", encoder=BackboneEncoder(backbone))
    moved = RewardModel.load(whole / "m", encoder=Backbone(str(whole / "base"), rank=2, max_tokens=16, chunk_tokens=16))
    np.testing.assert_allclose(moved.score(HISTORY, ["p"] * len(TEXTS), TEXTS), scored(whole), atol=1e-5)
