"""The encoders: the embedded one against sentence-transformers on the same weights, its limit, and what its vectors may depend on."""

import itertools
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evenhand.core import EvenhandError
from evenhand.encode import text_encoder
from evenhand.encode.bert import faster_dtype, load_bert
from evenhand.encode.encoder import token_batches, truncated, windows
from evenhand.encode.minilm import MiniLM
from evenhand.encode.sentence import SentenceEncoder

LONG = " ".join(
    f"the {animal} ran over hill {i}." for i, animal in enumerate(["cat", "dog", "horse"] * 30)
)  # 6 word pieces a sentence and more
TEXTS = ["", "Yes.", "Simmer for 40 minutes, then taste.", "Ünïcode 中文, naïve café — ok?", "a\ud800b", "tab\tand\nline", LONG]
BF16 = 1e-2  # bound on a coordinate of a unit vector in bfloat16 against float32; measured 3e-3


@pytest.fixture(scope="module")
def minilm() -> MiniLM:
    return MiniLM(chunked=False)


@pytest.fixture(scope="module")
def vectors(minilm: MiniLM) -> np.ndarray:
    return minilm.encode(TEXTS)


@pytest.fixture(scope="module")
def sentence(minilm: MiniLM) -> SentenceEncoder:
    """The same model through sentence-transformers: the oracle."""
    return SentenceEncoder(str(minilm._folder), chunked=False)


def test_agrees_with_sentence_transformers(vectors: np.ndarray, sentence: SentenceEncoder) -> None:
    expected = sentence.encode(TEXTS)
    assert vectors.shape == expected.shape == (len(TEXTS), 384)
    assert vectors.dtype == expected.dtype == np.float32
    assert (vectors * expected).sum(1).min() >= 0.999
    assert np.abs(vectors - expected).max() < BF16
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


def test_forward_pass_is_exact_in_float32(minilm: MiniLM, sentence: SentenceEncoder) -> None:
    bert = load_bert((minilm._folder / "model.safetensors").read_bytes(), heads=12, dtype=torch.float32)
    texts = ["A short text.", "Another one, somewhat longer than the first.", "A third text."]
    with torch.inference_mode():
        means = bert.mean_states([[101, *pieces, 102] for pieces in minilm._pieces(texts)], 64)
    np.testing.assert_allclose(torch.nn.functional.normalize(means, dim=1).numpy(), sentence.encode(texts), atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_vectors_depend_on_the_text_alone(monkeypatch, dtype: torch.dtype) -> None:
    """To the bit: alone, in another order, in any part of the texts, beside others; cut and chunked."""
    monkeypatch.setattr("evenhand.encode.bert.faster_dtype", lambda: dtype)
    texts = [*TEXTS, "a", "b c", LONG[:150], LONG[:300], *(f"Statement {i} of {'many ' * (i % 7)}" for i in range(12))]
    draw = np.random.default_rng(0)
    for encoder in (MiniLM(chunked=False), MiniLM()):
        whole = encoder.encode(texts)
        assert np.array_equal(encoder.encode(texts[::-1])[::-1], whole)
        for i in (*range(9), len(texts) - 1):
            assert np.array_equal(encoder.encode([texts[i]])[0], whole[i]), texts[i]
        for size in (2, 5, 15):
            part = draw.permutation(len(texts))[:size]
            assert np.array_equal(encoder.encode(["x y z " * 20, *(texts[i] for i in part), LONG])[1:-1], whole[part])


def test_vectors_of_sentence_transformers_depend_on_the_text_alone(sentence: SentenceEncoder) -> None:
    texts = ["Yes.", "Simmer for 40 minutes, then taste.", LONG]
    assert np.array_equal(np.concatenate([sentence.encode([text]) for text in texts]), sentence.encode(texts))


def test_token_counts_are_those_of_sentence_transformers(minilm: MiniLM, sentence: SentenceEncoder) -> None:
    assert minilm.tokens(TEXTS).tolist() == sentence.tokens(TEXTS).tolist()
    assert minilm.tokens(["", "hello world"]).tolist() == [2, 4]
    assert sentence.max_tokens == minilm.max_tokens == 256
    assert sentence.dim == minilm.dim


def test_truncated_counts_what_is_cut(minilm: MiniLM) -> None:
    texts = ["word " * 254, "word " * 255]
    assert truncated(minilm, texts).tolist() == [False, True]
    assert truncated(MiniLM(chunked=True), texts).tolist() == [False, False]


def test_the_limit_cuts_and_chunking_does_not(minilm: MiniLM, vectors: np.ndarray) -> None:
    chunked = MiniLM(chunked=True)
    ends = [LONG + tail for tail in (" A recipe for lentil soup. " * 10, " Quarterly revenue fell. " * 10)]
    assert minilm.tokens([LONG])[0] > 256
    cut, pooled = minilm.encode(ends), chunked.encode(ends)
    assert cut[0] == pytest.approx(cut[1], abs=1e-6)
    assert pooled[0] @ pooled[1] < 0.99
    np.testing.assert_allclose(chunked.encode(TEXTS[:-1]), vectors[:-1], atol=1e-3)  # short texts: no difference


def test_chunks_are_pooled_by_tokens(minilm: MiniLM) -> None:
    words = ["apple", "river", "engine", "music"] * 100  # a word piece each: windows of 200 words
    bert = load_bert((minilm._folder / "model.safetensors").read_bytes(), heads=12, dtype=faster_dtype())
    with torch.inference_mode():
        parts = bert.mean_states([[101, *pieces, 102] for pieces in minilm._pieces([" ".join(words[:200]), " ".join(words[200:])])], 404)
    expected = torch.nn.functional.normalize(parts.mean(0), dim=0).numpy()
    np.testing.assert_allclose(MiniLM(chunked=True).encode([" ".join(words)])[0], expected, atol=1e-3)


def test_sentence_encoder_chunks_like_the_embedded_one(minilm: MiniLM) -> None:
    other = SentenceEncoder(str(minilm._folder), chunked=True)
    texts = ["short", LONG]
    ours = MiniLM(chunked=True).encode(texts)
    vectors = other.encode(texts)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-4)
    assert (ours * vectors).sum(1).min() > 0.999


def test_fingerprints_tell_encoders_apart(minilm: MiniLM, sentence: SentenceEncoder) -> None:
    prints = [e.fingerprint for e in (minilm, MiniLM(chunked=True), sentence, SentenceEncoder(sentence.model, chunked=True))]
    assert len(set(prints)) == 4
    assert all(len(p) == 64 for p in prints)
    assert MiniLM().fingerprint == MiniLM(chunked=True).fingerprint  # nothing is cut unless that is asked for


def test_nothing_to_encode(minilm: MiniLM) -> None:
    assert minilm.encode([]).shape == (0, 384)
    assert minilm.tokens([]).shape == (0,)


def test_progress_ends_at_all(minilm: MiniLM) -> None:
    for encoder in (minilm, MiniLM(chunked=True)):
        seen: list[tuple[int, int]] = []
        encoder.encode([LONG, *["short text"] * 9], lambda done, total, seen=seen: seen.append((done, total)))
        assert seen[-1] == (10, 10)
        assert all(a[0] <= b[0] for a, b in itertools.pairwise(seen))


def test_a_process_reads_the_weights_once() -> None:
    one, other = MiniLM(), MiniLM(chunked=False)
    assert one._bert is other._bert
    assert one._tokenizer is other._tokenizer


def test_other_weights_are_refused(minilm: MiniLM, tmp_path) -> None:
    shutil.copy(minilm._folder / "tokenizer.json", tmp_path)
    with pytest.raises(EvenhandError, match=r"model\.safetensors.*cannot be read"):
        MiniLM(folder=tmp_path).encode(["a"])
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(EvenhandError, match=r"not the expected one.*Expected: 53aa5117.*pip install"):
        MiniLM(folder=tmp_path).encode(["a"])


def test_models_not_on_disk_are_named(tmp_path) -> None:
    for name in ("nobody/no-such-model", "not a name!"):
        with pytest.raises(EvenhandError, match=r"not on this machine.*nothing is downloaded"):
            SentenceEncoder(name).encode(["a"])
    with pytest.raises(EvenhandError, match="cannot be loaded"):
        SentenceEncoder(str(tmp_path)).encode(["a"])


def test_encoders_by_name(minilm: MiniLM) -> None:
    assert text_encoder() == MiniLM(chunked=True)
    assert text_encoder("all-MiniLM-L6-v2", chunked=False) == minilm
    assert text_encoder("some/folder") == SentenceEncoder("some/folder")


def test_import_is_light() -> None:
    heavy = "{'torch', 'sentence_transformers', 'transformers', 'sklearn'}"
    code = f"import sys, evenhand.encode, evenhand.encode.cache, evenhand.encode.projection; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@given(st.integers(0, 5000), st.integers(1, 300))
def test_windows_cover_all_in_order(length: int, limit: int) -> None:
    cuts = windows(length, limit)
    assert [i for cut in cuts for i in range(cut.start, cut.stop)] == list(range(length))
    sizes = [cut.stop - cut.start for cut in cuts]
    assert max(sizes) <= limit
    assert max(sizes) - min(sizes) <= 1
    assert len(cuts) == max(1, -(-length // limit))


@given(st.lists(st.integers(2, 64), max_size=60), st.integers(64, 256))
def test_batches_hold_every_row_once_within_bounds(lengths: list[int], rows: int) -> None:
    batches = token_batches(lengths, rows)
    assert sorted(itertools.chain(*batches)) == list(range(len(lengths)))
    assert all(sum(lengths[r] for r in batch) <= rows for batch in batches)
    assert len(batches) <= 2 * sum(lengths) / rows + 1  # at most one batch is less than half full, else two would have been one
