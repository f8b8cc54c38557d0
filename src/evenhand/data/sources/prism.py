"""PRISM (Kirk et al. 2024, arXiv 2404.16019): people of many countries rate the answers of 21 models in live conversations.

Reads conversations.jsonl (conversation_history with role, content, turn, score; the prompt is the conversation up to the turn, along the
chosen answers) or utterances.jsonl (user_prompt, model_response, score; the same, put together from all rows of the conversation); a folder
with survey.jsonl brings the users' attributes. Inside a turn the higher score is chosen over the lower; equal scores are ties. A counted row is a rated answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from evenhand.data.pairing import by_score
from evenhand.data.rows import BadRow, Batch, Fault, batch_of
from evenhand.data.source import Sides, Source

PLAIN = ("age", "gender", "education", "employment_status", "marital_status", "english_proficiency", "lm_familiarity", "study_locale")
NESTED = {"religion": ("religion", "simplified"), "ethnicity": ("ethnicity", "simplified"),
          "birth_region": ("location", "birth_region"), "reside_region": ("location", "reside_region")}  # fmt: skip
ABOUT = (*PLAIN, *NESTED)
NO_HISTORY = Fault("'conversation_history' is no list of turns", "a list of {role, content, turn}", column="conversation_history")
NO_SCORE = Fault("the answer was not rated", "a score", set_aside=True)
NO_ANSWER = Fault("the rated answer is empty", "a text", set_aside=True)


def recognises(names: frozenset[str], first: Mapping[str, Any]) -> bool:
    return {"user_id", "conversation_id"} <= names and (
        "conversation_history" in names or {"user_prompt", "model_response", "score"} <= names
    )


def parse(batches: Iterable[Batch], sides: Sides, seed: int) -> Iterator[Batch]:
    about = {str(r.get("user_id")): _about(r) for r in sides.get("survey", ())}
    unknown = dict.fromkeys(ABOUT, "") if about else {}
    whole = list(batches)
    said = _said([r for batch in whole if "user_prompt" in batch.columns for r in batch.records()])
    for batch in whole:
        rows: list[tuple[int, dict[str, Any]]] = []
        bad = list(batch.bad)
        for line, record in zip(batch.line.tolist(), batch.records()):
            rated = list(_turns(record)) if "conversation_history" in record else [_utterance(record, said)]
            if not rated:
                bad.append(BadRow(line, NO_HISTORY, user=record.get("user_id")))
            person = about.get(str(record.get("user_id")), unknown)
            for answer in rated:
                silent = isinstance(answer["response"], str) and not answer["response"].strip()
                if silent or answer["score"] is None:
                    bad.append(BadRow(line, NO_ANSWER if silent else NO_SCORE, user=record.get("user_id")))
                else:
                    rows.append((line, {"user": record.get("user_id"), **answer, **person}))
        yield batch_of(batch.file, rows, bad)


Said = Mapping[str, Mapping[int, tuple[str, str]]]  # conversation → turn → message and chosen answer


def _said(records: Sequence[Mapping[str, Any]]) -> Said:
    conversations: dict[str, dict[int, tuple[str, str]]] = {}
    for r in records:
        turns, turn = conversations.setdefault(str(r.get("conversation_id")), {}), _turn(r)
        taken = str(r.get("model_response") or "") if r.get("if_chosen") is True or str(r.get("if_chosen")).lower() == "true" else ""
        turns[turn] = str(r.get("user_prompt") or ""), taken or turns.get(turn, ("", ""))[1]
    return conversations


def _turn(record: Mapping[str, Any]) -> int:
    number = str(record.get("turn") or 0)
    return int(number) if number.isdigit() else 0


def _utterance(record: Mapping[str, Any], said: Said) -> dict[str, Any]:
    conversation, turn = said.get(str(record.get("conversation_id")), {}), _turn(record)
    before = [line for t in sorted(conversation) if t < turn for line in _spoken(*conversation[t])]
    prompt = record.get("user_prompt")
    block = f"{record.get('conversation_id')}:{record.get('turn')}"
    return {
        "prompt": "\n\n".join([*before, f"user: {prompt}"]) if before else prompt,
        "response": record.get("model_response"), "score": record.get("score"), "block": block,
    }  # fmt: skip


def _spoken(question: str, taken: str) -> list[str]:
    return [f"user: {question}", *([f"assistant: {taken}"] if taken else [])]


def _turns(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The rated answers of a conversation, each under the conversation so far."""
    history = record.get("conversation_history")
    turns = [t for t in history if isinstance(t, Mapping)] if isinstance(history, (list, tuple)) else []
    said: list[str] = []
    question, answers = "", list[Mapping[str, Any]]()
    for turn in [*turns, {"role": "user"}]:
        if turn.get("role") != "user":
            answers.append(turn)
            continue
        prompt = question if not said else "\n\n".join([*said, f"user: {question}"])
        for answer in answers:
            block = f"{record.get('conversation_id')}:{answer.get('turn')}"
            yield {"prompt": prompt, "response": answer.get("content"), "score": answer.get("score"), "block": block}
        taken = next((a.get("content") for a in answers if a.get("if_chosen") is True), None)
        if answers:
            said += _spoken(question, str(taken or ""))
        question, answers = str(turn.get("content") or ""), []


def _about(survey: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of one participant."""
    nested = {name: survey.get(outer) for name, (outer, _) in NESTED.items()}
    inner = {name: value.get(NESTED[name][1]) if isinstance(value, Mapping) else None for name, value in nested.items()}
    return {name: survey.get(name) or "" for name in PLAIN} | {name: value or "" for name, value in inner.items()}


SAMPLE = (
    {
        "user_id": "user0", "conversation_id": "c0", "opening_prompt": "Is it wrong to eat fish?",
        "conversation_history": [
            {"turn": 0, "role": "user", "content": "Is it wrong to eat fish?"},
            {"turn": 0, "role": "model", "content": "Many think so, many do not.", "score": 80, "if_chosen": True, "within_turn_id": 0},
            {"turn": 0, "role": "model", "content": "No.", "score": 20, "if_chosen": False, "within_turn_id": 1},
            {"turn": 0, "role": "model", "content": "I cannot say.", "score": 20, "if_chosen": False, "within_turn_id": 2},
            {"turn": 1, "role": "user", "content": "And crabs?"},
            {"turn": 1, "role": "model", "content": "Crabs seem to feel pain.", "score": 61, "if_chosen": False, "within_turn_id": 0},
            {"turn": 1, "role": "model", "content": "The case is much the same.", "score": 75, "if_chosen": True, "within_turn_id": 1},
        ],
    },
)  # fmt: skip
SAMPLE_UTTERANCES = (
    {
        "user_id": "user0", "conversation_id": "c0", "turn": 0, "user_prompt": "Is it wrong to eat fish?",
        "model_response": "No.", "score": 20, "if_chosen": False,
    },
    {
        "user_id": "user0", "conversation_id": "c0", "turn": 0, "user_prompt": "Is it wrong to eat fish?",
        "model_response": "Opinions differ.", "score": 80, "if_chosen": True,
    },
)  # fmt: skip
SAMPLE_SIDES: Sides = {
    "survey": (
        {
            "user_id": "user0", "age": "25-34 years old", "gender": "Female", "education": "University Degree",
            "religion": {"simplified": "No Affiliation"}, "ethnicity": {"simplified": "White"},
            "location": {"birth_region": "Europe", "reside_region": "Europe"},
        },
    ),
}  # fmt: skip

SOURCE = Source(
    name="prism",
    summary="PRISM: conversations.jsonl or utterances.jsonl (a folder with survey.jsonl brings attributes); higher over lower score",
    required=("user_id", "conversation_id"),
    optional=("conversation_history", "user_prompt", "model_response", "score", "turn", "if_chosen"),
    recognises=recognises,
    parse=parse,
    sample=SAMPLE,
    pairing=by_score,
    attributes=ABOUT,
    main=("conversations", "utterances"),
    sides=("survey",),
)
