"""What a call of generate asks for: who writes, which texts, and the settings under which a file of them goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evenhand.core import EvenhandError
from evenhand.texts.generators.endpoint import Endpoint
from evenhand.texts.generators.generator import Generator, Sampling
from evenhand.texts.generators.items import Item, matched_axis, originals, revisions
from evenhand.texts.generators.language_model import Dtype, LanguageModel
from evenhand.texts.generators.prompts import Prompts, read_drafts
from evenhand.texts.generators.wordings import AS_GIVEN, PAIR_AWARE, PLAIN, REVISION, checked, plain_of
from evenhand.texts.table import ORIGINAL

MOST_TEXTS = 5_000_000


@dataclass(frozen=True)
class Asked:
    """items: a text each. wording: how a prompt is put. run: the name of all of them, None = that of each text revised. revised: SHA-256 of the
    texts that are revised. matched: the axis whose other text the reviser sees.
    """

    items: list[Item]
    wording: str
    run: str | None
    revised: str | None = None
    matched: tuple[str, ...] = ()


def check_numbers(k: int, most_words: int, seed: int) -> None:
    """Raises EvenhandError for what is out of range."""
    for name, value, least, most in (("k", k, 1, 1000), ("most-words", most_words, 1, 100_000), ("seed", seed, 0, 2**31 - 1)):
        if not least <= value <= most:
            raise EvenhandError(f"Found --{name} {value}. Expected: {least:,} to {most:,}. To do: correct it, or leave it out.")


def check_together(revise: Any, adapter: Any, endpoint: str | None, reviser: str | None, counterpart: bool, axis: str | None) -> None:
    """Raises EvenhandError for options that say nothing without another one, or exclude each other."""
    if revise is None and (said := [n for n, v in (("reviser", reviser), ("counterpart", counterpart), ("axis", axis)) if v]):
        raise EvenhandError(f"Found --{said[0]} without --revise. Expected: texts to revise. To do: name them, or leave it out.")
    if adapter is not None and (endpoint or reviser):
        other = "--endpoint" if endpoint else "--reviser"
        raise EvenhandError(f"Found --adapter and {other}. Expected: an adapter of a model on this machine. To do: leave one out.")


def writer_of(
    model: str | None, endpoint: str | None, adapter: str | Path | None, device: str | None, dtype: Dtype | None, batch: int, parallel: int, timeout: float
) -> Generator:  # fmt: skip
    """Who writes: a server, or a language model here."""
    if endpoint:
        return Endpoint(endpoint, model, parallel, timeout)
    return LanguageModel(model or "smollm2", Path(adapter) if adapter else None, device, dtype, batch)


def new_texts(
    asked: Prompts, writer: Generator, wording: str | None, k: int | None, run: str | None, source: str | None, seed: int
) -> Asked:
    """k texts of each prompt."""
    given = checked(_wording(wording, asked, writer), ["prompt", *asked.columns], "")
    name = run or writer.name
    return Asked(_few(originals(asked, given, 4 if k is None else k, name, source or ORIGINAL, seed)), given, name)


def new_revisions(
    asked: Prompts, writer: Generator, revise: Any, wording: str | None, counterpart: bool, axis: str | None, k: int | None, run: str | None,
    source: str, seed: int,
) -> Asked:  # fmt: skip
    """k revisions of each text of `revise`."""
    drafts, revised = read_drafts(revise, asked)
    columns = ["text", "prompt", *asked.columns, *(["counterpart"] if counterpart else [])]
    given = checked(wording or (PAIR_AWARE if counterpart else REVISION), columns, "text")
    matched = matched_axis(axis, asked) if counterpart else ()
    return Asked(_few(revisions(asked, drafts, given, 1 if k is None else k, run, source, seed, matched)), given, run, revised, matched)


def settings_of(asked: Prompts, writer: Generator, wanted: Asked, sampling: Sampling, most_words: int, seed: int) -> Mapping[str, Any]:
    """All that decides a text: a file goes on under the same settings alone."""
    return {
        "prompts": asked.source,
        "prompts_sha256": asked.fingerprint,
        "model": writer.name,
        "model_sha256": writer.fingerprint,
        "endpoint": writer.url if isinstance(writer, Endpoint) else None,
        "dtype": writer.precision if isinstance(writer, LanguageModel) else None,
        "texts": len(wanted.items),
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "most_words": most_words,
        "seed": seed,
        "wording": wanted.wording,
        "revised_sha256": wanted.revised,
        "counterpart": list(wanted.matched),
        "run": wanted.run,
        "source": wanted.items[0].source if wanted.items else None,
    }


def _wording(wording: str | None, asked: Prompts, writer: Generator) -> str:
    """How a prompt is put. A model of 135 million weights follows no long instruction, and the default is what it follows best."""
    if wording is not None and wording != "plain":
        return wording
    plain = plain_of(asked)
    if wording is None:
        return plain if plain and isinstance(writer, LanguageModel) and writer.model == "smollm2" else AS_GIVEN
    if plain is None:
        raise EvenhandError(
            "Found --wording plain for prompts that are not those of a built-in grid. Expected: a text with placeholders. To do: write it, as in "
            f"--wording '{PLAIN['vaccination']}'."
        )
    return plain


def _few(items: list[Item]) -> list[Item]:
    if len(items) > MOST_TEXTS:
        raise EvenhandError(
            f"Found {len(items):,} texts to write. Expected: {MOST_TEXTS:,} at most. To do: fewer prompts, or a smaller --k."
        )
    return items
