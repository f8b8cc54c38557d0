"""Parts of speech, imperatives, nouns and adjectives of texts: by spaCy's small model where it is installed, else by a rule of our own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from evenhand.encode.encoder import Progress
from evenhand.engines import Engine
from evenhand.texts.reading import rule_tagger, spacy_tagger
from evenhand.texts.reading.kept import kept
from evenhand.texts.reading.sentences import sentences
from evenhand.texts.reading.tags import Tags, together

__all__ = ["Tags", "tagged", "tagger_name"]


def tagged(texts: Sequence[str], folder: Path | None = None, progress: Progress | None = None, engine: Engine | None = None) -> list[Tags]:
    """Tags of each text, those of its sentences together. A sentence is tagged once ever, and kept in the cache.

    folder: the cache; default: the user's. progress(done, total) counts distinct sentences. engine: whose workers tag; None: this process.
    Raises EvenhandError when the cache cannot be written.
    """
    cut = [sentences(text) for text in texts]
    distinct = list(dict.fromkeys(s for one in cut for s in one))
    with_spacy = spacy_tagger.installed()
    about, work = (spacy_tagger.about(), spacy_tagger.records) if with_spacy else (rule_tagger.about(), rule_tagger.records)
    found = kept(distinct, hashlib.sha256(f"tags 2 {about}".encode()).hexdigest(), work, folder, progress, engine)
    return [together([found[s] for s in one]) for one in cut]


def tagger_name() -> str:
    """Which one: its name and version."""
    return spacy_tagger.name() if spacy_tagger.installed() else rule_tagger.name()
