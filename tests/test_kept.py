"""What a step keeps between its two passes: it saves reading texts again, and not one bit of anything else follows from it."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from rank_worlds import BASE, fitted, on_backbone, tokens
from tiny_models import stirred, tiny_bert, tiny_llama
from torch import Tensor

from evenhand.encode.adapter import Adapter
from evenhand.encode.backbone import Backbone
from evenhand.encode.base import Base
from evenhand.encode.chunks import Chunk, Tokens, padded
from evenhand.encode.kept import Kept, kept_bytes

pytestmark = pytest.mark.lm

ALONE: list[Tokens] = [([], [4 + i % 90 for i in own]) for _, own in tokens(15)]
PREFIXED: list[Tokens] = [([4 + (i + n // 5) % 90 for i in range(100)], own) for n, (_, own) in enumerate(ALONE)]  # three prefixes
GRADIENT = torch.randn(15, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("kept")
    return {"llama": tiny_llama(root / "llama"), "bert": tiny_bert(root / "bert")}


def base_of(folder: Path, keep_gb: float, chunk_tokens: int = 100, **settings: bool) -> Base:
    return Backbone(str(folder), rank=2, device="cpu", chunk_tokens=chunk_tokens, keep_gb=keep_gb, **settings).base


def grads(adapter: Adapter) -> Tensor:
    found = torch.cat([p.grad.flatten() for p in adapter.parameters() if p.grad is not None])
    assert found.abs().max() > 0.01
    return found


def counted(base: Base, monkeypatch: pytest.MonkeyPatch, before: Callable[[Chunk], None] = lambda chunk: None) -> list[int]:
    """Sizes of the chunks that are read from now on."""
    real, sizes = base._forward, []

    def forward(chunk: Chunk) -> Tensor:
        before(chunk)
        sizes.append(chunk.size)
        return real(chunk)

    monkeypatch.setattr(base, "_forward", forward)
    return sizes


def step(base: Base, texts: list[Tokens], adapter: Adapter, keep: bool = True) -> tuple[Tensor, Tensor]:
    adapter.zero_grad()
    vectors = base.vectors(texts, adapter, keep=keep)
    assert not vectors.requires_grad
    base.backward(texts, adapter, GRADIENT)
    return vectors, grads(adapter)


@pytest.mark.parametrize(("model", "texts", "size"), [("llama", PREFIXED, 160), ("llama", ALONE, 60), ("bert", ALONE, 60)])
def test_what_is_kept_is_read_once_and_changes_no_bit(
    folders: dict[str, Path], model: str, texts: list[Tokens], size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    twice = base_of(folders[model], 0, size)
    chunks = twice._dealt(texts)
    sizes = [chunk.size for chunk in chunks]
    assert len(chunks) >= 3
    assert any(chunk.mask.dim() == 4 for chunk in chunks) == (texts is PREFIXED)
    wanted = step(twice, texts, stirred(twice))
    once = base_of(folders[model], 2, size)
    adapter = stirred(once)
    step(once, texts, adapter)  # what a place takes was weighed
    for room, again in ((10**9, []), (sum(sizes[:2]), sizes[2:]), (0, sizes)):
        once._keep_bytes = room * once._place_bytes
        with monkeypatch.context() as patched:
            read = counted(once, patched)
            found = step(once, texts, adapter)
        assert read == sizes + again
        assert all(torch.equal(a, b) for a, b in zip(found, wanted))
        assert not once._kept.free()  # nothing outlives the step


def test_weights_that_moved_are_read_anew(folders: dict[str, Path]) -> None:
    base, twice = base_of(folders["llama"], 2), base_of(folders["llama"], 0)
    adapter = stirred(base)
    optimiser = torch.optim.AdamW(adapter.parameters(), lr=0.05)
    _, before = step(base, ALONE, adapter)
    base.vectors(ALONE, adapter, keep=True)
    optimiser.step()
    adapter.zero_grad()
    base.backward(ALONE, adapter, GRADIENT)
    found, wanted = grads(adapter), step(twice, ALONE, copy.deepcopy(adapter))[1]
    assert torch.equal(found, wanted)
    assert not torch.allclose(found, before, atol=1e-3)

    base.vectors(ALONE, adapter, keep=True)
    adapter.load_state_dict(stirred(base, 5).state_dict())  # the best epoch comes back
    adapter.zero_grad()
    base.backward(ALONE, adapter, GRADIENT)
    assert torch.equal(grads(adapter), step(twice, ALONE, stirred(twice, 5))[1])


def test_what_was_kept_serves_its_own_texts_and_adapter_alone(folders: dict[str, Path]) -> None:
    base = base_of(folders["llama"], 2)
    first, second = stirred(base, 1), stirred(base, 2)
    wanted = [step(base, texts, adapter, keep=False)[1] for texts, adapter in ((ALONE, first), (ALONE, second), (ALONE[::-1], first))]
    for texts, adapter, right in ((ALONE, second, wanted[1]), (ALONE[::-1], first, wanted[2]), (ALONE, first, wanted[0])):
        base.vectors(ALONE, first, keep=True)
        adapter.zero_grad()
        base.backward(texts, adapter, GRADIENT)
        assert torch.equal(grads(adapter), right)
        base.vectors(ALONE, first, keep=True)
        base.vectors(ALONE[:3], second)  # an evaluation keeps nothing, and forgets
        assert not base._kept.free()
        adapter.zero_grad()
        base.backward(texts, adapter, GRADIENT)
        assert torch.equal(grads(adapter), right)


def test_memory_that_runs_out_is_taken_from_what_is_kept(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory for 150 tokens: the first pass gives up what it kept, and chunks stay as they are."""
    twice = base_of(folders["llama"], 0, 60)
    wanted = step(twice, ALONE, stirred(twice))
    base = base_of(folders["llama"], 2, 60)
    adapter = stirred(base)
    step(base, ALONE, adapter)
    sizes = [chunk.size for chunk in base._dealt(ALONE)]
    held: list[int] = []

    def short(chunk: Chunk) -> None:
        held.append(chunk.size if torch.is_grad_enabled() and base._kept.room else 0)
        if sum(held) > 150:
            held.clear()
            raise torch.OutOfMemoryError("out of memory")

    with warnings.catch_warnings(), monkeypatch.context() as patched:
        warnings.simplefilter("error")  # no chunk is halved
        read = counted(base, patched, short)
        found = step(base, ALONE, adapter)
    assert sum(sizes) > 150
    assert read == sizes + sizes  # those before it were read, with it the rest without being kept, and then all again
    assert all(torch.equal(a, b) for a, b in zip(found, wanted))


def test_a_pass_backward_that_runs_out_of_memory_forgets_what_is_kept(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    base = base_of(folders["llama"], 2, 60)
    adapter = stirred(base)
    _, wanted = step(base, ALONE, adapter, keep=False)
    full = [True]

    def run_out(_: Tensor) -> None:
        if full:
            full.clear()
            raise torch.OutOfMemoryError("out of memory")

    adapter.zero_grad()
    handle = base.model.layers[0].register_forward_hook(
        lambda module, given, states: states.requires_grad and states.register_hook(run_out) and None
    )
    base.vectors(ALONE, adapter, keep=True)
    handle.remove()
    with warnings.catch_warnings(), monkeypatch.context() as patched:
        warnings.simplefilter("error")
        read = counted(base, patched)
        base.backward(ALONE, adapter, GRADIENT)
    assert not full
    assert read == [chunk.size for chunk in base._dealt(ALONE)]
    assert torch.equal(grads(adapter), wanted)


def test_layers_that_are_computed_again_keep_nothing(folders: dict[str, Path]) -> None:
    base = base_of(folders["llama"], 2, checkpointing=True)
    base.vectors(ALONE, stirred(base), keep=True)
    assert not base._kept.free()


def test_a_whole_fit_is_the_same_to_the_bit(folders: dict[str, Path]) -> None:
    kept, read_twice = (fitted(BASE, *on_backbone(folders["llama"], keep_gb=gb)[:2]) for gb in (2.0, 0.0))
    assert len(kept["valid"]) > kept["tuned_from"]
    for part, value in read_twice.items():
        assert np.array_equal(kept[part], value), part


def test_what_autograd_keeps_is_weighed(folders: dict[str, Path]) -> None:
    """exp keeps its result, a product with weights that train its other side; the weights are there anyway."""
    [chunk] = padded([([], [1] * 7)], 100)
    given, weights = torch.ones(7, 5), torch.ones(5, 3, requires_grad=True)
    assert kept_bytes(lambda chunk: (given @ weights).exp(), chunk, [weights]) == (7 * 5 + 7 * 3) * 4
    assert kept_bytes(lambda chunk: given.exp(), chunk, []) == 0
    kept = Kept([([], [1])], [weights], 10)
    assert kept.serves([], []) is False
    assert kept.pop(chunk) is None
