"""CREHate (Lee et al. 2024, arXiv 2308.16705): who finds which post hateful. A folder with annotations, posts and annotators.

A post that a rater labels not hateful (0) is chosen over one that the same rater labels hateful (1); label 2 (don't know) is no vote.
Pairs are drawn as in votes. Attributes: the raters' answers about themselves, as published, and age_group. CONTENT WARNING: hateful text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from evenhand.data.pairing import by_vote
from evenhand.data.rows import BadRow, Batch, Fault, batch_of
from evenhand.data.side_tables import age_group, by_id, word
from evenhand.data.source import Sides, Source

PROMPT = "Which of the two posts is not hateful?"
VOTES = {"0": 1, "1": -1, "2": 0}
PUBLISHED = ("nationality", "age", "education", "ethnicity", "gender", "politic", "religion", "gender_sexual_orientation")
ABOUT = (*PUBLISHED, "age_group")
UNKNOWN_LABEL = Fault("'annotation' is none of 0, 1, 2", "0 (not hate), 1 (hate) or 2 (don't know)", column="annotation")
NO_POST = Fault("the post's text is unknown", "a row in posts for every ID", column="ID", set_aside=True)


def recognises(names: frozenset[str], first: Mapping[str, Any]) -> bool:
    return {"ID", "annotator_id", "annotation"} <= names


def parse(batches: Iterable[Batch], sides: Sides, seed: int) -> Iterator[Batch]:
    texts = {i: word(r["Text"]) for i, r in by_id(sides["posts"], "posts", "ID", ("Text",)).items()}
    about = {i: _about(r) for i, r in by_id(sides.get("annotators", ()), "annotators", "annotator_id").items()}
    unknown = dict.fromkeys(ABOUT, "")
    for batch in batches:
        rows: list[tuple[int, dict[str, Any]]] = []
        bad = list(batch.bad)
        for line, r in zip(batch.line.tolist(), batch.records()):
            user, post, label = (word(r.get(name)) for name in ("annotator_id", "ID", "annotation"))
            text = texts.get(post, "")
            if label not in VOTES:
                bad.append(BadRow(line, UNKNOWN_LABEL, label, user))
            elif not text.strip():
                bad.append(BadRow(line, NO_POST, user=user))
            else:
                rows.append((line, {"user": user, "prompt": PROMPT, "response": text, "score": VOTES[label]} | about.get(user, unknown)))
        yield batch_of(batch.file, rows, bad)


def _about(record: Mapping[str, Any]) -> dict[str, str]:
    attributes = {name: word(record.get(name)) for name in PUBLISHED}
    return {**attributes, "age_group": age_group(attributes["age"])}


SAMPLE = (
    {"ID": "P-0", "annotator_id": "1", "annotation": "0"},
    {"ID": "P-1", "annotator_id": "1", "annotation": "1"},
    {"ID": "P-0", "annotator_id": "2", "annotation": "1"},
    {"ID": "P-1", "annotator_id": "2", "annotation": "2"},
    {"ID": "P-2", "annotator_id": "2", "annotation": "0"},
)
SAMPLE_SIDES: Sides = {
    "posts": (
        {"ID": "P-0", "Text": "Lovely weather."},
        {"ID": "P-1", "Text": "I cannot stand those fans."},
        {"ID": "P-2", "Text": "See you there."},
    ),
    "annotators": (
        {"annotator_id": "1", "nationality": "Singapore", "age": "33.0"},
        {"annotator_id": "2", "nationality": "Australia", "age": ""},
    ),
}

SOURCE = Source(
    name="crehate",
    summary="CREHate: a folder with annotations, posts, annotators; posts found not hateful over posts found hateful",
    required=("ID", "annotator_id", "annotation"),
    optional=(),
    recognises=recognises,
    parse=parse,
    sample=SAMPLE,
    pairing=by_vote,
    attributes=ABOUT,
    main=("annotations",),
    needs=("posts",),
    sides=("annotators",),
)
