"""Shared rows give the vectors and the gradients of one text a row, and are dealt only where they are expected to be faster."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import tiny_bert, tiny_llama, tiny_qwen3

from evenhand.encode.backbone import Backbone
from evenhand.encode.chunks import length, padded, pooled
from evenhand.encode.prefixes import GAIN, _chunks, shared, shares, window_of

pytestmark = pytest.mark.lm


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    from transformers import AutoModel

    folder = tmp_path_factory.mktemp("models")

    def load(make, **options):
        made = AutoModel.from_pretrained(make(folder / make.__name__), **options).eval()
        made.config.use_cache = False
        return made

    return {
        "bert": load(tiny_bert, attn_implementation="sdpa"),
        "llama": load(tiny_llama, attn_implementation="sdpa"),
        "qwen3": load(tiny_qwen3, attn_implementation="sdpa"),
        "eager": load(tiny_llama, attn_implementation="eager"),
        "windowed": load(
            tiny_qwen3, attn_implementation="sdpa", use_sliding_window=True, sliding_window=8, max_window_layers=0,
            layer_types=["sliding_attention"] * 2,
        ),
    }  # fmt: skip


def states_of(model):
    def states(chunk):
        given = {"attention_mask": chunk.mask, "position_ids": chunk.positions} if chunk.mask.dim() == 4 else {}
        return model(input_ids=chunk.ids, **given).last_hidden_state

    return states


def texts_of(*groups, vocabulary=300, seed=0):
    """(prefix length, own lengths) -> texts, the groups' texts mixed."""
    rng = random.Random(seed)
    made = []
    for prefix, owns in groups:
        start = [rng.randrange(3, vocabulary) for _ in range(prefix)]
        made += [(start, [rng.randrange(3, vocabulary) for _ in range(own)]) for own in owns]
    rng.shuffle(made)
    return made


def vectors_and_gradients(model, texts, chunks, pooling):
    model.zero_grad()
    out = torch.zeros(len(texts), 32)
    weight = torch.linspace(-1, 1, 32)
    for chunk in chunks:
        vectors = pooled(states_of(model)(chunk), chunk, pooling)
        (vectors.tanh() @ weight).sum().backward()
        out[chunk.texts] = vectors.detach()
    return out, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("pooling", ["mean", "last"])
@pytest.mark.parametrize("name", ["llama", "qwen3"])
def test_shared_rows_give_the_vectors_and_gradients_of_padded_rows(models, name, pooling):
    texts = texts_of((20, [3, 5, 1]), (11, [4, 4]), (0, [6, 2]), (7, [9]))
    rows = [sorted(i for i, t in enumerate(texts) if len(t[0]) == n) for n in (20, 11, 7)]
    alone = [[i] for i, t in enumerate(texts) if not t[0]]
    trees = _chunks(texts, [*rows, *alone], 1000)
    assert len(trees) == 1, "rows of different lengths, so that there are places without a token"
    assert bool((trees[0].mask.any(-1)).all()), "no place attends to nothing"
    expected, gradients = vectors_and_gradients(models[name], texts, padded(texts, 60), pooling)
    found, ours = vectors_and_gradients(models[name], texts, trees, pooling)
    assert (found - expected).abs().max() <= 1e-6 * expected.abs().max()
    assert gradients.keys() == ours.keys()
    size = torch.cat([g.flatten() for g in gradients.values()]).norm()
    for key, gradient in gradients.items():
        assert (ours[key] - gradient).norm() <= 1e-6 * size, key
    other, _ = vectors_and_gradients(models[name], texts, padded([([], own) for _, own in texts], 60), pooling)
    assert (other - expected).abs().max() > 0.1 * expected.abs().max(), "the prefix matters"


def test_who_attends_to_whom():
    texts = [([1, 2], [3, 4]), ([1, 2], [5]), ([7], [8])]
    [chunk] = _chunks(texts, [[0, 1], [2]], 100)
    assert chunk.ids.tolist() == [[1, 2, 3, 4, 5], [7, 8, 0, 0, 0]]
    assert chunk.positions.tolist() == [[0, 1, 2, 3, 2], [0, 1, 0, 0, 0]]
    first = [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 0, 0, 1]]
    assert chunk.mask[0, 0].int().tolist() == first
    assert chunk.mask[1, 0, :2].int().tolist() == [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0]]
    spans = {t: (r, a, b) for t, r, a, b in zip(*(x.tolist() for x in (chunk.texts, chunk.row, chunk.start, chunk.stop)))}
    assert spans == {0: (0, 2, 4), 1: (0, 4, 5), 2: (1, 1, 2)}


def test_rows_are_shared_where_token_counts_say_that_it_pays():
    def kinds(*groups, chunk_tokens=8192, **options):
        return {chunk.mask.dim() for chunk in shared(texts_of(*groups), chunk_tokens, **options)}

    assert kinds((300, [100, 100])) == {4}
    assert kinds((500, [100, 100])) == {4}
    assert kinds((100, [300, 300])) == {2}
    assert kinds((0, [300, 300])) == {2}
    assert kinds((300, [100, 100]), (200, [100])) == {2, 4}
    assert kinds((2, [40, 40])) == {2}, "a gain within noise"
    assert kinds((300, [100, 100]), chunk_tokens=450) == {2}, "no room for two answers in a row"
    assert kinds((300, [100, 100]), window=399) == {2}, "texts that reach beyond the window"
    assert kinds((300, [100, 100]), window=400) == {4}
    many = shared(texts_of((300, [100] * 12)), 8192)
    assert {len(chunk.texts) // len(chunk.ids) for chunk in many} == {6}, "two rows of six: one row of twelve would attend to too much"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.lists(st.integers(1, 40), min_size=1, max_size=5)), max_size=5), st.integers(1, 400))
def test_every_text_is_read_once_whole_and_no_plan_costs_more_than_padding(groups, chunk_tokens):
    texts = texts_of(*groups)
    chunks = shared(texts, chunk_tokens)
    assert sorted(t for chunk in chunks for t in chunk.texts.tolist()) == list(range(len(texts)))
    for chunk in chunks:
        assert chunk.size <= chunk_tokens or len(chunk.texts) == 1
        for text, row, start, stop in zip(*(x.tolist() for x in (chunk.texts, chunk.row, chunk.start, chunk.stop))):
            prefix, own = texts[text]
            assert chunk.ids[row, start:stop].tolist() == own
            assert chunk.ids[row, : len(prefix)].tolist() == prefix
            assert chunk.positions[row, start:stop].tolist() == list(range(len(prefix), length(texts[text])))
    plain = cost(padded(texts, chunk_tokens))
    assert cost(chunks) <= GAIN * plain if any(chunk.mask.dim() == 4 for chunk in chunks) else cost(chunks) == plain


def cost(chunks):
    """Rows of T tokens cost T (1 + T / 2000) one text a row, T (1 + T / 1800) under a mask."""
    shapes = [(*chunk.ids.shape, 1800 if chunk.mask.dim() == 4 else 2000) for chunk in chunks]
    return sum(rows * tokens * (1 + tokens / long) for rows, tokens, long in shapes)


def test_which_models_take_shared_rows_is_tried(models):
    found = {name: shares(states_of(model), 150) for name, model in models.items() if name != "windowed"}
    assert found == {"bert": False, "llama": True, "qwen3": True, "eager": False}
    model = models["llama"]

    def without_positions(chunk):
        return model(input_ids=chunk.ids, attention_mask=chunk.mask).last_hidden_state

    def without_mask(chunk):
        return model(input_ids=chunk.ids, position_ids=chunk.positions).last_hidden_state

    assert not shares(without_positions, 150)
    assert not shares(without_mask, 150)
    from transformers import BloomConfig, BloomModel, GPT2Config, GPT2Model

    torch.manual_seed(0)
    small = {"vocab_size": 150, "hidden_size": 32, "n_layer": 2, "n_head": 4}
    bloom = BloomModel(BloomConfig(**small, initializer_range=0.2)).eval()  # takes no positions: distance is in its mask
    assert not shares(states_of(bloom), 150)
    gpt2 = GPT2Model(GPT2Config(vocab_size=150, n_embd=32, n_layer=2, n_head=4, n_positions=128)).eval()
    assert shares(states_of(gpt2), 150)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("make", [tiny_llama, tiny_qwen3])
def test_a_backbone_that_trains_shares_prefixes(tmp_path, make, checkpointing):
    backbone = Backbone(str(make(tmp_path / "model")), rank=4, chunk_tokens=400, checkpointing=checkpointing)
    base = backbone.base
    adapter = base.new_adapter(0)
    for i, weight in enumerate(adapter.parameters()):
        torch.nn.init.normal_(weight, std=0.1, generator=torch.Generator().manual_seed(i))
    texts = texts_of((100, [10, 7, 12]), (90, [5, 9]), (0, [30]), (20, [20]))
    gradient = torch.randn(len(texts), 32, generator=torch.Generator().manual_seed(0))
    assert {chunk.mask.dim() for chunk in base._dealt(texts)} == {2, 4}

    def both():
        adapter.zero_grad()
        base.backward(texts, adapter, gradient)
        return base.vectors(texts, adapter), torch.cat([p.grad.flatten() for p in adapter.parameters()])

    vectors, gradients = both()
    base.__dict__["_shares"] = False
    assert {chunk.mask.dim() for chunk in base._dealt(texts)} == {2}
    expected, of_padded = both()
    assert (vectors - expected).norm() <= 1e-6 * expected.norm()
    assert (gradients - of_padded).norm() <= 1e-6 * of_padded.norm()


def test_a_sliding_window_limits_what_is_shared(models):
    model = models["windowed"]
    assert window_of(model.config.to_dict()) == 8
    assert window_of(models["qwen3"].config.to_dict()) is None
    texts = texts_of((5, [3, 3]))
    expected, _ = vectors_and_gradients(model, texts, padded(texts, 100), "mean")
    found, _ = vectors_and_gradients(model, texts, _chunks(texts, [[0, 1]], 100), "mean")
    assert (found - expected).abs().max() <= 1e-6 * expected.abs().max(), "up to the window"
    texts = texts_of((20, [3, 3]))
    expected, _ = vectors_and_gradients(model, texts, padded(texts, 100), "mean")
    found, _ = vectors_and_gradients(model, texts, _chunks(texts, [[0, 1]], 100), "mean")
    assert (found - expected).abs().max() > 1e-3, "and beyond it not"
