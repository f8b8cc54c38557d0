"""Texts for the prompts of a grid: several of each, by a language model here or behind an endpoint; or revisions of texts that are there."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from evenhand.core import DataError, EvenhandError, clip
from evenhand.encode.backbone import device as device_named
from evenhand.engines import Engine
from evenhand.engines.asked import asked as engine_asked
from evenhand.engines.here import processes
from evenhand.texts.generators.dealt import Dealt
from evenhand.texts.generators.endpoint import Endpoint
from evenhand.texts.generators.generator import Answer, Generator, Request, Sampling
from evenhand.texts.generators.items import ALONE, Item
from evenhand.texts.generators.language_model import Dtype, LanguageModel
from evenhand.texts.generators.prompts import key, read_prompts
from evenhand.texts.generators.trimming import trimmed
from evenhand.texts.rows import jsonl, jsonl_file
from evenhand.workflows.asked_texts import check_numbers, check_together, new_revisions, new_texts, settings_of, writer_of
from evenhand.workflows.progress import Progress, shown
from evenhand.workflows.unfinished import Unfinished, beside, refuse_others, unfinished
from evenhand.writing import check, nothing_left, write

KIND = "generated texts"
ABOUT = "how the texts of the same name were written"
NOTHING = {"seconds": 0.0, "texts": 0, "tokens": 0, "tokens_per_second": 0.0}


@dataclass(frozen=True, repr=False)
class Generated:
    """rows: one a text, as in the file at `path`. failures: cell → why it has no text → how often. measured: seconds, tokens and texts of
    this process, and the speed.
    """

    path: Path
    rows: tuple[Mapping[str, Any], ...]
    settings: Mapping[str, Any]
    failures: Mapping[str, Mapping[str, int]]
    measured: Mapping[str, float]

    @property
    def failed(self) -> int:
        return sum(n for reasons in self.failures.values() for n in reasons.values())

    def __repr__(self) -> str:
        return f"Generated({len(self.rows):,} texts in {str(self.path)!r}{f', {self.failed:,} did not come' if self.failed else ''})"


def generate(
    prompts: Any,
    *,
    out: str | Path,
    model: str | None = None,
    endpoint: str | None = None,
    adapter: str | Path | None = None,
    k: int | None = None,
    temperature: float = 0.7,
    top_p: float = 0.95,
    max_tokens: int = 110,
    most_words: int = 65,
    seed: int = 0,
    wording: str | None = None,
    revise: Any = None,
    reviser: str | None = None,
    counterpart: bool = False,
    axis: str | None = None,
    run: str | None = None,
    source: str | None = None,
    device: str | None = None,
    dtype: Dtype | None = None,
    batch: int = 48,
    parallel: int = 8,
    timeout: float = 120.0,
    jobs: int | None = None,
    engine: str | Engine = "here",
    address: str | None = None,
    progress: Progress | None = None,
) -> Generated:
    """Write k texts of each prompt to `out`, JSON lines with the prompts' columns, prompt, text, run, source and draw; how they were
    written stands in the .json of the same name. Whatever ends the process, the same call goes on; where all is there, it returns at once.

    Args:
        prompts: A grid (climate, vaccination, a TOML file), or a table with a column `prompt`, whose other columns are kept.
        out: File of the texts, .jsonl.
        model: smollm2, a folder of transformers, a GGUF file, or a name in the Hugging Face cache; of an endpoint the name that it knows.
            Default: smollm2, or the endpoint's only model.
        endpoint: URL of an OpenAI-compatible server (vLLM, llama.cpp, Ollama). Its token is read from the environment variable
            EVENHAND_TOKEN.
        adapter: Folder of an adapter of PEFT on the model.
        k: Texts of each prompt, or revisions of each text. Default: 4, and 1 revision. What noise is, is known from 2 on.
        temperature: of sampling; 0 = always the likeliest token.
        top_p: Share of probability that tokens are drawn from.
        max_tokens: Tokens of a text at most.
        most_words: Words of a text at most: it ends with its last whole sentence before that.
        seed: of all draws.
        wording: How a prompt is put: a text with {prompt} or the prompts' columns, for revisions with {text}; or "plain", short sentences
            for small models, which the built-in grids have. Default: plain with smollm2 on these, else the prompt as it is.
        revise: Texts to revise: a table with the prompts' columns and `text`.
        reviser: Model that revises, as a teacher, in place of --model.
        counterpart: Show the reviser the matched text too, and ask that both be as forceful and as warm.
        axis: Matched axis of --counterpart. Default: the grid's first.
        run: Name of these texts among others. Default: the model's name, and of revisions that of the text revised.
        source: Who wrote them. Default: original, and of revisions revision, or the reviser's name.
        device: cpu, cuda, cuda:1. Default: cuda where there is one.
        dtype: bfloat16 or float32. Default: bfloat16 where the device is fast in it.
        batch: Texts written at once, in groups of 16.
        parallel: Requests to an endpoint at once.
        timeout: Seconds that an endpoint may take for one text.
        jobs: Workers that write at once, each with the model in memory; 0 = one a core. Default: this process alone, on Ray one a core.
        engine: Who writes: this machine (here) or the workers of a Ray cluster (ray; extra ray).

    `address` means what it means in `compare`.
    Raises EvenhandError and DataError for what cannot be read, loaded or reached, and where no text comes. A text that does not come after
    retries is counted under its cell.
    """
    path, sampling = jsonl_file(out), Sampling(temperature, top_p, max_tokens)
    check_numbers(4 if k is None else k, most_words, seed)
    check_together(revise, adapter, endpoint, reviser, counterpart, axis)
    check(path.parent, [path.name, path.with_suffix(".json").name], KIND)
    asked = read_prompts(prompts)
    writer = writer_of(reviser or model, endpoint, adapter, device, dtype, batch, parallel, timeout)
    if revise is None:
        wanted = new_texts(asked, writer, wording, k, run, source, seed)
    else:
        by = source or (writer.name if reviser else "revision")
        wanted = new_revisions(asked, writer, revise, wording, counterpart, axis, k, run, by, seed)
    settings = settings_of(asked, writer, wanted, sampling, most_words, seed)
    if jobs is None and engine == "here" and address is None:
        return _generated(path, wanted.items, settings, writer, sampling, most_words, progress)
    if not isinstance(writer, LanguageModel):
        raise EvenhandError(
            "Found --endpoint and workers of our own. Expected: one of them. To do: leave --engine, --address and --jobs out."
        )
    with engine_asked(engine, address, processes(jobs or 0), jobs or 0) as works:
        dealt = Dealt(writer, works, device_named(writer.device) != "cpu")
        return _generated(path, wanted.items, settings, dealt, sampling, most_words, progress)


def _generated(
    path: Path, items: Sequence[Item], settings: Mapping[str, Any], writer: Generator, sampling: Sampling, most_words: int, progress: Progress | None
) -> Generated:  # fmt: skip
    """What is there already, and what is missing written to it."""
    there = _finished(path, settings)
    with nothing_left(path.parent), unfinished(path, settings) as kept:
        found = {**_by_number(items, there), **kept.found}
        reasons: dict[int, str] = {i.number: ALONE for i in items if not i.messages}
        missing = [i for i in items if i.number not in found and i.messages]
        measured = _write(missing, len(items), writer, sampling, most_words, kept, found, reasons, progress) if missing else NOTHING
        if len(found) > len(there) or not there:
            _save(path, items, found, reasons, settings, measured, writer)
        beside(path).unlink()
    return Generated(path, tuple(_rows(items, found)), settings, _failures(items, found, reasons), measured)


def _write(
    missing: Sequence[Item],
    total: int,
    writer: Generator,
    sampling: Sampling,
    most_words: int,
    kept: Unfinished,
    found: dict[int, Answer],
    reasons: dict[int, str],
    progress: Progress | None,
) -> dict[str, float]:
    began, tokens, texts = time.monotonic(), 0, 0
    with shown(progress) as told:
        told("texts", total - len(missing), total)
        for at, answer in writer.generate([Request(i.messages, i.seed) for i in missing], sampling):
            item = missing[at]
            if answer.failed:
                reasons[item.number] = answer.failed
            else:
                found[item.number] = Answer(trimmed(answer.text, most_words, answer.whole), answer.tokens, answer.whole)
                kept.add(item.number, found[item.number])
                tokens, texts = tokens + answer.tokens, texts + 1
            seconds = time.monotonic() - began
            done = total - len(missing) + texts + len(reasons)
            told("texts", done, total, f"{texts / seconds:.1f} texts/s, {tokens / seconds:.0f} tokens/s" if seconds > 1 else "")
    seconds = time.monotonic() - began
    return {"seconds": round(seconds, 1), "texts": texts, "tokens": tokens, "tokens_per_second": round(tokens / max(seconds, 1e-9), 1)}


def _rows(items: Sequence[Item], found: Mapping[int, Answer]) -> Iterator[dict[str, Any]]:
    for item in items:
        if item.number in found:
            columns = item.columns
            after = {name: columns.pop(name) for name in ("run", "source", "draw")}
            yield {**columns, "text": found[item.number].text, **after}


def _failures(items: Sequence[Item], found: Mapping[int, Answer], reasons: Mapping[int, str]) -> dict[str, Counter[str]]:
    by_cell: dict[str, Counter[str]] = {}
    for item in items:
        if item.number not in found:
            by_cell.setdefault(item.prompt.label, Counter())[reasons[item.number]] += 1
    return by_cell


def _save(
    path: Path,
    items: Sequence[Item],
    found: Mapping[int, Answer],
    reasons: Mapping[int, str],
    settings: Mapping[str, Any],
    measured: Mapping[str, float],
    writer: Generator,
) -> None:
    if not found:
        why = Counter(reasons.values()).most_common(1)[0][0] if reasons else "nothing was asked for"
        remedy = (
            "check the address, the token and the model"
            if isinstance(writer, Endpoint)
            else "check the model, the wording and --max-tokens"
        )
        raise EvenhandError(f"No text came from '{clip(writer.name)}': {clip(why, 200)}. Expected: at least one. To do: {remedy}.")
    texts = jsonl(_rows(items, found))
    document = {
        "about": ABOUT,
        "settings": settings,
        "sha256": hashlib.sha256(texts).hexdigest(),
        "counts": {
            "texts": len(found),
            "failed": len(items) - len(found),
            "cut off by max_tokens": sum(not a.whole for a in found.values()),
            "words": sum(len(a.text.split()) for a in found.values()),
        },
        "failures": _failures(items, found, reasons),
        "measured": measured,
        "server_model": writer.reported if isinstance(writer, Endpoint) else None,
        "versions": {"evenhand": version("evenhand")},
    }
    files = {
        path.name: texts,
        path.with_suffix(".json").name: (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode(errors="backslashreplace"),
    }
    write(path.parent, files, KIND)


def _finished(path: Path, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of texts of these settings that lie there already. Raises DataError where they are of others."""
    document = path.with_suffix(".json")
    if not (path.is_file() and document.is_file()):
        return []
    content = path.read_bytes()
    said = json.loads(document.read_bytes())
    refuse_others(said["settings"], settings, path.name)
    if said["sha256"] != hashlib.sha256(content).hexdigest():
        raise DataError(
            f"it is not what {document.name} says of it",
            expected="both as they were written",
            remedy="choose another --out",
            file=path.name,
        )
    return [json.loads(line) for line in content.decode("utf-8", "surrogatepass").split("\n") if line]


def _by_number(items: Sequence[Item], rows: Sequence[Mapping[str, Any]]) -> dict[int, Answer]:
    places = {key(i.columns): i.number for i in items}
    return {places[key({c: v for c, v in row.items() if c != "text"})]: Answer(row["text"]) for row in rows}
