"""MultiPICo (Casola et al. 2024, ACL): who finds which reply ironic, in nine languages. A folder with annotations, items and annotators.

A reply that a rater labels ironic (1) is chosen over one that the same rater labels not ironic (0). A text is the reply and the post
that it answers, as raters saw both; the reply stands first, so that an encoder that cuts long texts cuts the post. Pairs are drawn as
in votes, for each rater inside one language.

Attributes: language (of the items that the rater judged), the raters' answers about themselves as published, and age_group. Answers that
were withdrawn (DATA_EXPIRED, CONSENT_REVOKED) are missing. To work on one language, leave the items of the others out of the items
file: their judgements are then excluded and counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from evenhand.data.pairing import by_vote
from evenhand.data.rows import BadRow, Batch, Fault, batch_of
from evenhand.data.side_tables import age_group, by_id, word
from evenhand.data.source import Sides, Source

PROMPT = "Which of the two replies is ironic?"
VOTES = {"1": 1, "0": -1}
WITHDRAWN = {"DATA_EXPIRED", "CONSENT_REVOKED"}
PUBLISHED = (
    "age", "gender", "ethnicity_simplified", "country_of_birth", "country_of_residence", "nationality", "student_status",
    "employment_status",
)  # fmt: skip
ABOUT = (*PUBLISHED, "age_group")
UNKNOWN_LABEL = Fault("'ironic' is neither 0 nor 1", "0 (not ironic) or 1 (ironic)", column="ironic")
NO_ITEM = Fault("the reply's text is unknown", "a row in items for every item_id", column="item_id", set_aside=True)


def recognises(names: frozenset[str], first: Mapping[str, Any]) -> bool:
    return {"item_id", "annotator_id", "ironic"} <= names


def parse(batches: Iterable[Batch], sides: Sides, seed: int) -> Iterator[Batch]:
    items = by_id(sides["items"], "items", "item_id", ("lang", "post", "reply"))
    texts = {i: _text(word(r["post"]), word(r["reply"])) for i, r in items.items()}
    about = {i: _about(r) for i, r in by_id(sides.get("annotators", ()), "annotators", "annotator_id").items()}
    unknown = dict.fromkeys(ABOUT, "")
    for batch in batches:
        rows: list[tuple[int, dict[str, Any]]] = []
        bad = list(batch.bad)
        for line, r in zip(batch.line.tolist(), batch.records()):
            user, item, label = (word(r.get(name)) for name in ("annotator_id", "item_id", "ironic"))
            if label not in VOTES:
                bad.append(BadRow(line, UNKNOWN_LABEL, label, user))
            elif not texts.get(item):
                bad.append(BadRow(line, NO_ITEM, user=user))
            else:
                judgement = {"user": user, "prompt": PROMPT, "response": texts[item], "score": VOTES[label]}
                rows.append((line, {**judgement, "language": word(items[item]["lang"]), **about.get(user, unknown)}))
        yield batch_of(batch.file, rows, bad)


def _text(post: str, reply: str) -> str:
    """The reply and what it answers; "" without a reply."""
    if not reply.strip():
        return ""
    return f"reply: {reply}\n\nto the post: {post}" if post.strip() else f"reply: {reply}"


def _about(record: Mapping[str, Any]) -> dict[str, str]:
    attributes = {name: word(record.get(name)) for name in PUBLISHED}
    attributes = {name: "" if value in WITHDRAWN else value for name, value in attributes.items()}
    return {**attributes, "age_group": age_group(attributes["age"])}


SAMPLE = (
    {"item_id": "i-0", "annotator_id": "0", "ironic": "1"},
    {"item_id": "i-1", "annotator_id": "0", "ironic": "0"},
    {"item_id": "i-0", "annotator_id": "1", "ironic": "0"},
    {"item_id": "i-1", "annotator_id": "1", "ironic": "1"},
    {"item_id": "i-2", "annotator_id": "2", "ironic": "1"},
    {"item_id": "i-3", "annotator_id": "2", "ironic": "0"},
)
SAMPLE_SIDES: Sides = {
    "items": (
        {"item_id": "i-0", "lang": "en", "post": "The train is late again.", "reply": "What a surprise."},
        {"item_id": "i-1", "lang": "en", "post": "Where is the museum?", "reply": "Behind the town hall."},
        {"item_id": "i-2", "lang": "nl", "post": "Het regent.", "reply": "Heerlijk, weer een mooie dag."},
        {"item_id": "i-3", "lang": "nl", "post": "Hoe laat is het?", "reply": "Half drie."},
    ),
    "annotators": (
        {"annotator_id": "0", "age": "33.0", "gender": "Female", "nationality": "Ireland", "student_status": "DATA_EXPIRED"},
        {"annotator_id": "1", "age": "DATA_EXPIRED", "gender": "Male", "nationality": "India", "student_status": "Yes"},
    ),
}

SOURCE = Source(
    name="multipico",
    summary="MultiPICo: a folder with annotations, items, annotators; replies found ironic over replies found not ironic",
    required=("item_id", "annotator_id", "ironic"),
    optional=(),
    recognises=recognises,
    parse=parse,
    sample=SAMPLE,
    pairing=by_vote,
    attributes=("language", *ABOUT),
    main=("annotations",),
    needs=("items",),
    sides=("annotators",),
)
