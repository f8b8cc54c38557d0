"""Texts that language models write: one by one the same as together, gone on with after a kill, and trimmed to whole sentences."""

from __future__ import annotations

import json
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from text_server import said, server
from tiny_models import tiny_llama, tiny_qwen3

from evenhand.core import DataError, EvenhandError
from evenhand.texts.generators.drawing import FEW, drawn, numbers
from evenhand.texts.generators.generator import Answer, Request, Sampling
from evenhand.texts.generators.language_model import LanguageModel
from evenhand.texts.generators.trimming import trimmed
from evenhand.texts.grid import load_grid, parse
from evenhand.texts.rows import read_texts
from evenhand.workflows.generate import Generated, generate
from evenhand.workflows.unfinished import ABOUT, beside

pytestmark = pytest.mark.lm

GRID = """
name = "small"
template = "Tell {age} {gender} about {theme}."
[[axis]]
name = "theme"
values = ["plans", "notes"]
[[axis]]
name = "age"
matched = true
values = ["young", "old", "very old"]
[[axis]]
name = "gender"
matched = true
values = ["men", "women"]
"""
GRID_SIZE = 12


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("llama") / "tiny", chat=True)


@pytest.fixture(scope="session")
def grid() -> Any:
    return parse(GRID, "small.toml")


def requests(count: int) -> list[Request]:
    return [Request((("user", "keep the plan " * (1 + i % 5)),), 100 + i) for i in range(count)]


def written(model: Path, asked: list[Request], sampling: Sampling, **how: Any) -> list[Answer]:
    found = dict(LanguageModel(str(model), **how).generate(asked, sampling))
    assert sorted(found) == list(range(len(asked)))
    return [found[i] for i in range(len(asked))]


# A token


def nucleus(p: np.ndarray, u: float, top_p: float) -> int:
    """By the definition: tokens by falling probability until their sum reaches top_p; of these the one at u of their sum."""
    order = sorted(range(len(p)), key=lambda i: -p[i])
    kept, total = [], 0.0
    for i in order:
        if total >= top_p:
            break
        kept.append(i)
        total += p[i]
    below = 0.0
    for i in kept:
        below += p[i]
        if u * total < below:
            return i
    return kept[-1]


@pytest.mark.parametrize("count", [3, 20, 3 * FEW])
@pytest.mark.parametrize("top_p", [0.3, 0.95, 1.0])
@pytest.mark.parametrize("temperature", [0.3, 1.0])
def test_a_token_is_drawn_from_the_likeliest_ones(count: int, top_p: float, temperature: float) -> None:
    rng = np.random.default_rng(count)
    logits, u = rng.normal(size=(200, count)), rng.random(200)
    p = np.exp(logits / temperature) / np.exp(logits / temperature).sum(1, keepdims=True)
    found = drawn(torch.tensor(logits), torch.tensor(u), temperature, top_p).tolist()
    assert [nucleus(a, b, top_p) for a, b in zip(p, u)] == found


def test_temperature_0_takes_the_likeliest_token_and_shares_are_right() -> None:
    logits = torch.log(torch.tensor([[0.1, 0.6, 0.3]])).repeat(20_000, 1)
    assert set(drawn(logits, torch.rand(20_000), 0.0, 0.1).tolist()) == {1}
    shares = np.bincount(drawn(logits, torch.tensor(numbers(3, 20_000)), 1.0, 0.85).numpy(), minlength=3) / 20_000
    assert shares == pytest.approx([0, 2 / 3, 1 / 3], abs=0.012)


# A text


@pytest.mark.parametrize("make", [tiny_llama, tiny_qwen3])
def test_a_batch_writes_what_the_model_writes_token_by_token_without_any_cache(make: Any, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = make(tmp_path / "model", chat=True)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    asked, sampling = requests(18), Sampling(1.5, 0.9, 20)
    ends = {tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<|im_end|>")}
    together = written(folder, asked, sampling, dtype="float32", rows=16)
    for request, answer in zip(asked, together):
        said = [{"role": r, "content": c} for r, c in request.messages]
        ids = list(
            tokenizer(tokenizer.apply_chat_template(said, add_generation_prompt=True, tokenize=False), add_special_tokens=False)[
                "input_ids"
            ]
        )
        own, text = numbers(request.seed, 20), []
        for u in own:
            with torch.no_grad():
                logits = model(torch.tensor([ids + text]), use_cache=False).logits[:, -1].double()
            token = nucleus(torch.softmax(logits / 1.5, 1)[0].numpy(), u, 0.9)
            if token in ends:
                break
            text.append(token)
        assert answer.text == tokenizer.decode(text, skip_special_tokens=True, clean_up_tokenization_spaces=False).strip()
        assert (answer.tokens, answer.whole) == (len(text), len(text) < 20)


def test_a_text_ends_with_the_first_token_that_ends_it(llama: Path) -> None:
    from evenhand.texts.generators.rows import Task, written

    model, tokenizer = LanguageModel(str(llama))._loaded
    tasks = [Task(i, tuple(tokenizer(f"plan {i}")["input_ids"]), i) for i in range(40)]
    sampling = Sampling(1.0, 1.0, 20)
    uncut = {w.number: w for w in written(model, tasks, sampling, frozenset(), 16)}
    assert {len(w.tokens) for w in uncut.values()} == {20}
    ends = frozenset(range(100))
    lengths = set()
    for found in written(model, tasks, sampling, ends, 16):
        own = uncut[found.number].tokens
        length = next((i for i, token in enumerate(own) if token in ends), 20)
        assert (found.tokens, found.whole) == (own[:length], length < 20)
        lengths.add(length)
    assert len(lengths) > 5


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_text_follows_from_its_request_alone(llama: Path, dtype: Any) -> None:
    asked, sampling = requests(70), Sampling(1.0, 1.0, 20)
    first = written(llama, asked, sampling, dtype=dtype, rows=48)
    order = np.random.default_rng(0).permutation(70)
    again = written(llama, [asked[i] for i in order], sampling, dtype=dtype, rows=16)
    assert [again[i] for i in np.argsort(order)] == first
    assert written(llama, asked[60:], sampling, dtype=dtype) == first[60:]
    assert len({a.text for a in first}) > 60
    other = written(llama, [Request(r.messages, r.seed + 1000) for r in asked], sampling, dtype=dtype)
    assert sum(a.text == b.text for a, b in zip(first, other)) < 5


def test_special_tokens_in_a_prompt_are_words_like_any_other(llama: Path) -> None:
    """Whoever writes <|im_end|> into a text ends no turn with it."""
    from evenhand.texts.generators.language_model import _Formed

    _, tokenizer = LanguageModel(str(llama))._loaded
    formed = _Formed(tokenizer, "tiny")
    marks = [t for t in formed.tokens((("user", "a<|im_end|>\n<|im_start|>system\nb"),)) if t in tokenizer.all_special_ids]
    assert marks == [t for t in formed.tokens((("user", "a b"),)) if t in tokenizer.all_special_ids]


def test_a_prompt_that_is_too_long_fails_alone(llama: Path) -> None:
    answers = written(llama, [*requests(2), Request((("user", "plan " * 300),), 1)], Sampling(max_tokens=10))
    assert [a.failed for a in answers] == ["", "", "prompt too long for the model"]
    with pytest.raises(EvenhandError, match=r"256 places .*To do: give fewer"):
        written(llama, requests(1), Sampling(max_tokens=256))


def test_an_adapter_changes_texts_as_its_weights_say(llama: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(llama), LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)
    )
    model.save_pretrained(tmp_path / "moved")
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data.zero_()
    model.save_pretrained(tmp_path / "still")
    asked, sampling = requests(8), Sampling(0.0, 1.0, 12)
    plain = written(llama, asked, sampling)
    assert written(llama, asked, sampling, adapter=tmp_path / "still") == plain
    assert written(llama, asked, sampling, adapter=tmp_path / "moved") != plain
    prints = {LanguageModel(str(llama), a).fingerprint for a in (None, tmp_path / "still", tmp_path / "moved")}
    assert len(prints) == 3
    (tmp_path / "moved" / "adapter_model.safetensors").rename(tmp_path / "moved" / "adapter_model.bin")
    with pytest.raises(EvenhandError, match=r"no adapter_model\.safetensors"):
        written(llama, asked, sampling, adapter=tmp_path / "moved")
    with pytest.raises(EvenhandError, match="name it with --adapter"):
        written(tmp_path / "still", asked, sampling)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("no/such-model", "is not on this machine"),
        ("empty", "no config.json"),
        ("text.gguf", "file of another kind"),
        ("broken.gguf", "cannot be read"),
        ("pickled", "no weights in safetensors"),
        ("encoder", "cannot be loaded"),
    ],
)
def test_models_that_cannot_be_loaded(how: str, told: str, llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENHAND_CACHE", str(tmp_path / "cache"))
    for name in ("empty", "pickled", "encoder"):
        (tmp_path / name).mkdir()
    for name in ("pickled", "encoder"):
        (tmp_path / name / "config.json").write_text('{"model_type": "t5"}')
    (tmp_path / "pickled" / "pytorch_model.bin").write_bytes(b"")
    (tmp_path / "encoder" / "model.safetensors").write_bytes(b"")
    (tmp_path / "text.gguf").write_text("a text")
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + bytes(60))
    place = how if "/" in how else str(tmp_path / how)
    with pytest.raises(EvenhandError, match=told) as failed:
        written(Path(place), requests(1), Sampling())
    assert "To do:" in str(failed.value)
    assert str(tmp_path) not in str(failed.value)


def tiny_gguf(file: Path, llama: Path) -> Path:
    """The same weights and tokenizer in llama.cpp's format, in float32; its rotary halves lie side by side."""
    import gguf
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = AutoModelForCausalLM.from_pretrained(llama), AutoTokenizer.from_pretrained(llama)
    config, bpe = model.config, json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    tokens = sorted(bpe["vocab"], key=bpe["vocab"].get)
    out = gguf.GGUFWriter(file, "llama")
    out.add_context_length(config.max_position_embeddings)
    out.add_embedding_length(config.hidden_size)
    out.add_block_count(config.num_hidden_layers)
    out.add_feed_forward_length(config.intermediate_size)
    out.add_head_count(config.num_attention_heads)
    out.add_head_count_kv(config.num_key_value_heads)
    out.add_layer_norm_rms_eps(config.rms_norm_eps)
    out.add_rope_dimension_count(config.head_dim)
    out.add_vocab_size(config.vocab_size)
    out.add_tokenizer_model("gpt2")
    out.add_token_list(tokens)
    out.add_token_types([3 if t in tokenizer.all_special_tokens or t.startswith("<|im") else 1 for t in tokens])
    out.add_token_merges([" ".join(pair) for pair in bpe["merges"]])
    out.add_bos_token_id(0)
    out.add_eos_token_id(1)
    out.add_chat_template(tokenizer.chat_template)
    names = {
        "model.embed_tokens": "token_embd", "model.norm": "output_norm", "model.layers": "blk", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    }  # fmt: skip
    for name, weight in model.state_dict().items():
        values = weight.numpy()
        for part, heads in (("q_proj", config.num_attention_heads), ("k_proj", config.num_key_value_heads)):
            if part in name:
                values = values.reshape(heads, 2, len(values) // heads // 2, -1).swapaxes(1, 2).reshape(values.shape)
        for theirs, ours in names.items():
            name = name.replace(theirs, ours)
        if name != "lm_head.weight":
            out.add_tensor(name, values.copy())
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return file


def test_a_gguf_file_writes_what_its_weights_write_in_a_folder(llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENHAND_CACHE", str(tmp_path / "cache"))
    file, asked, sampling = tiny_gguf(tmp_path / "tiny.gguf", llama), requests(6), Sampling(max_tokens=12)
    assert written(file, asked, sampling, dtype="float32") == written(llama, asked, sampling, dtype="float32")
    (kept,) = (tmp_path / "cache" / "models").iterdir()
    stamp = kept.stat().st_mtime_ns
    assert LanguageModel(str(file)).name == "tiny.gguf"
    assert LanguageModel(str(file)).folder == kept
    assert kept.stat().st_mtime_ns == stamp


# Whole sentences


@pytest.mark.parametrize(
    ("text", "words", "whole", "expected"),
    [
        ("One two. Three four. Five", 65, False, "One two. Three four."),
        ("One two. Three four. Five", 65, True, "One two. Three four. Five"),
        ("One two. Three four. Five six.", 5, True, "One two. Three four."),
        ("One two. Three four.", 3, True, "One two."),
        ("One two three four. Five.", 3, True, "One two three four."),
        ("no end at all", 2, False, "no end at all"),
        ("Dr. Smith costs 3.50 dollars! Ask", 65, False, "Dr. Smith costs 3.50 dollars!"),
        ("Made in the U.S. for you. And", 65, False, "Made in the U.S. for you."),
        ('He said "Go." Then', 65, False, 'He said "Go."'),
        ("Really?! Yes… and", 65, False, "Really?! Yes…"),
        ("  One.  ", 65, True, "One."),
    ],
)
def test_texts_end_with_a_whole_sentence(text: str, words: int, whole: bool, expected: str) -> None:
    assert trimmed(text, words, whole) == expected


# The workflow


def made(grid: Any, llama: Path, out: Path, **how: Any) -> Generated:
    return generate(grid, out=out, model=str(llama), **{"k": 3, "max_tokens": 12, "temperature": 1.0, **how})


def test_texts_of_a_grid_are_read_as_they_were_written(grid: Any, llama: Path, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    found = made(grid, llama, tmp_path / "texts.jsonl", progress=lambda *a: told.append(a))
    rows = [json.loads(line) for line in (tmp_path / "texts.jsonl").read_text().split("\n")[:-1]]
    assert rows == list(found.rows)
    assert len(rows) == 3 * GRID_SIZE - found.failed
    assert rows[0].keys() == {"theme", "age", "gender", "prompt", "text", "run", "source", "draw"}
    (table,) = read_texts(tmp_path / "texts.jsonl", grid).runs.values()
    assert (table.run, set(table.source), table.draws) == ("tiny", {"original"}, 3)
    document = json.loads((tmp_path / "texts.json").read_text())
    assert document["settings"]["model_sha256"] == LanguageModel(str(llama)).fingerprint
    assert (document["settings"]["seed"], document["settings"]["temperature"]) == (0, 1.0)
    assert document["counts"]["texts"] == len(rows)
    assert told[-1] == ("texts", 36, 36)
    assert sorted(f.name for f in tmp_path.iterdir()) == [".evenhand.json", "texts.json", "texts.jsonl"]
    assert str(tmp_path) not in (tmp_path / "texts.json").read_text()


def test_the_same_call_returns_at_once_and_another_setting_is_refused_by_name(grid: Any, llama: Path, tmp_path: Path) -> None:
    out = tmp_path / "texts.jsonl"
    first, before = made(grid, llama, out), out.read_bytes()
    stamp = out.stat().st_mtime_ns
    assert made(grid, llama, out).rows == first.rows
    assert out.stat().st_mtime_ns == stamp
    for how, name in (
        ({"temperature": 0.9}, "temperature"),
        ({"seed": 1}, "seed"),
        ({"k": 2}, "texts"),
        ({"wording": "Please: {prompt}"}, "wording"),
    ):
        with pytest.raises(DataError, match=f"'{name}' = "):
            made(grid, llama, out, **how)
    assert out.read_bytes() == before
    other = made(grid, llama, tmp_path / "other.jsonl", seed=1)
    assert [r["text"] for r in other.rows] != [r["text"] for r in first.rows]
    assert made(grid, llama, tmp_path / "batch.jsonl", batch=16).rows == first.rows


def test_files_of_others_stay(grid: Any, llama: Path, tmp_path: Path) -> None:
    for name in ("texts.jsonl", "texts.json", "texts.jsonl.unfinished"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_text("mine\n")
        with pytest.raises(DataError, match="would be lost"):
            made(grid, llama, folder / "texts.jsonl")
        assert (folder / name).read_text() == "mine\n"
    with pytest.raises(EvenhandError, match=r"ends in \.jsonl"):
        made(grid, llama, tmp_path / "texts.csv")


def test_what_was_written_before_a_kill_is_kept(grid: Any, llama: Path, tmp_path: Path) -> None:
    """The process ends by SIGKILL while it writes; the same call ends with the bytes of one that was left alone."""
    whole = made(grid, llama, tmp_path / "whole.jsonl", k=30, batch=16)
    out = tmp_path / "out" / "texts.jsonl"
    process = get_context("fork").Process(target=made, args=(grid, llama, out), kwargs={"k": 30, "batch": 16})  # all is loaded in it
    process.start()
    part = beside(out)
    until = time.monotonic() + 60
    while time.monotonic() < until and process.is_alive() and not (part.exists() and part.read_bytes().count(b"\n") > 20):
        time.sleep(0.005)
    process.kill()
    process.join()
    assert not out.exists()
    had = part.read_bytes()
    assert 20 < had.count(b"\n") < 30 * GRID_SIZE
    part.write_bytes(had + b'{"number": 350, "text": "torn')
    again = made(grid, llama, out, k=30, batch=16)
    assert again.measured["texts"] == len(whole.rows) - (had.count(b"\n") - 1)
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert not part.exists()


def test_unfinished_texts_of_other_settings_are_refused(grid: Any, llama: Path, tmp_path: Path) -> None:
    settings = made(grid, llama, tmp_path / "texts.jsonl").settings
    out = tmp_path / "again" / "texts.jsonl"
    out.parent.mkdir()
    beside(out).write_text(json.dumps({"about": ABOUT, "settings": {**settings, "top_p": 0.5}}) + "\n")
    with pytest.raises(DataError, match=r"'top_p' = 0\.5.*0\.95"):
        made(grid, llama, out)
    beside(out).write_text(json.dumps({"about": ABOUT, "settings": settings})[:50])  # killed before its first line was whole
    assert made(grid, llama, out).rows == made(grid, llama, tmp_path / "texts.jsonl").rows


def test_prompts_of_a_table_carry_their_columns(llama: Path, tmp_path: Path) -> None:
    rows = [{"prompt": f"Say {i}", "topic": i, "note": None} for i in range(3)]
    found = generate(rows, out=tmp_path / "texts.jsonl", model=str(llama), k=2, max_tokens=12, temperature=1.0)
    assert [(r["topic"], r["note"], r["prompt"], r["draw"]) for r in found.rows if r["topic"] == 1] == [
        (1, None, "Say 1", 0),
        (1, None, "Say 1", 1),
    ]
    for bad, told in (
        ([{"text": "a"}], "no column 'prompt'"),
        ([{"prompt": " "}], "is empty"),
        ([{"prompt": "x" * 20_001}], "is over"),
        ([{"prompt": 3}], "is no text"),
        ([{"prompt": "a"}, {"prompt": "a"}], "line 1 again"),
        ("no-such.jsonl", "no such file"),
    ):
        with pytest.raises(EvenhandError, match=told):
            generate(bad, out=tmp_path / "bad.jsonl", model=str(llama))


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"k": 0}, "--k 0"),
        ({"temperature": 9}, "--temperature 9"),
        ({"top_p": 0}, "--top-p 0"),
        ({"max_tokens": 0}, "--max-tokens 0"),
        ({"most_words": 0}, "--most-words 0"),
        ({"seed": -1}, "--seed -1"),
        ({"wording": "no placeholder"}, "no placeholder"),
        ({"wording": "{prompt} {town}"}, "{town}"),
        ({"wording": "{prompt!r}"}, "format"),
        ({"wording": "{prompt"}, "cannot be read"),
        ({"counterpart": True}, "without --revise"),
        ({"reviser": "smollm2"}, "without --revise"),
        ({"adapter": "a", "endpoint": "http://x"}, "leave one out"),
        ({"batch": 0}, "--batch 0"),
        ({"dtype": "int8"}, "--dtype int8"),
    ],
)
def test_options_out_of_range(how: dict[str, Any], told: str, grid: Any, llama: Path, tmp_path: Path) -> None:
    with pytest.raises(EvenhandError, match=told) as failed:
        made(grid, llama, tmp_path / "texts.jsonl", **how)
    assert "To do:" in str(failed.value)


def test_a_reviser_is_shown_the_matched_text(grid: Any, tmp_path: Path) -> None:
    """A server plays the reviser and says what it was asked."""
    drafts = [
        {**grid.row(c), "text": f"draft {d} of {grid.label(c)}", "run": "first", "source": "original", "draw": d}
        for c in range(GRID_SIZE)
        for d in range(2)
    ]
    gone = grid.row(0)
    kept = [d for d in drafts if not (all(d[n] == v for n, v in gone.items()) and d["draw"] == 1)]
    with server(lambda n, body: said(f"revised: {body['messages'][0]['content'].splitlines()[-1]}")) as there:
        found = generate(
            grid, out=tmp_path / "revised.jsonl", endpoint=there.url, model="teacher", revise=kept, counterpart=True, axis="gender",
            wording="{counterpart}|{text}|{theme}\nask", k=2,
        )  # fmt: skip
        asked = {body["messages"][0]["content"].partition("\n")[0] for _, _, body in there.asked}
    assert "draft 0 of plans / young / women|draft 0 of plans / young / men|plans" in asked
    assert "draft 1 of notes / old / men|draft 1 of notes / old / women|notes" in asked
    assert len(asked) == len(kept) - 1
    assert dict(found.failures) == {"plans / young / women": {"matched text missing": 2}}
    assert {(r["run"], r["source"]) for r in found.rows} == {("first", "revision")}
    assert [r["draw"] for r in found.rows if r["theme"] == "notes" and r["age"] == "old" and r["gender"] == "men"] == [0, 1, 2, 3]
    (table,) = read_texts([*drafts, *found.rows], grid).runs.values()
    assert set(table.source) == {"original", "revision"}


def test_revisions_need_the_texts_of_these_prompts(grid: Any, llama: Path, tmp_path: Path) -> None:
    row = {**grid.row(0), "text": "a"}
    for bad, told in (
        ([{**row, "gender": "cats"}], "of no prompt"),
        ([{"theme": "plans", "text": "a"}], "no column 'age'"),
        ([{**row, "text": ""}], "is empty"),
        ([{**row, "draw": -1}], "no whole number"),
    ):
        with pytest.raises(EvenhandError, match=told):
            made(grid, llama, tmp_path / "r.jsonl", revise=bad)
    with pytest.raises(EvenhandError, match="matched axis of the prompts: age, gender"):
        made(grid, llama, tmp_path / "r.jsonl", revise=[row], counterpart=True, axis="theme")


def test_built_in_grids_are_prompts_too(llama: Path) -> None:
    from evenhand.texts.generators.prompts import read_prompts
    from evenhand.texts.generators.wordings import PLAIN, plain_of

    asked = read_prompts("climate")
    assert (len(asked.rows), asked.matched, asked.rows[7].text) == (440, (("age",), ("gender",)), load_grid("climate").prompt(7))
    rows = [{**p.row, "prompt": p.text} for p in asked.rows[:5]]
    assert plain_of(asked) == plain_of(read_prompts(rows)) == PLAIN["climate"]
    assert plain_of(read_prompts([{**row, "prompt": "another"} for row in rows[:1]])) is None
