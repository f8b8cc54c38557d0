"""Write a trained model as a folder that transformers, PEFT and vLLM read, with users' states in it and a card beside."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evenhand.core import EvenhandError, PreferenceData, clip
from evenhand.encode.backbone_encoder import BackboneEncoder
from evenhand.serve.exporting.adapters import on_one_base, on_own_base
from evenhand.serve.exporting.coded import coded
from evenhand.serve.exporting.folders import CARD, USERS, check_place, put
from evenhand.serve.exporting.stock import folded, stock
from evenhand.serve.exporting.texts import Exported as Reading
from evenhand.serve.histories import user_id
from evenhand.serve.reward_model import RewardModel, UserState
from evenhand.workflows.cards import exported_card, report_beside
from evenhand.workflows.given import read

GENERIC = "everybody"
FORMS = ("hf", "hf-code", "peft")
LIBRARY = {"hf": "transformers", "hf-code": "transformers", "peft": "peft"}
NAMES_ARE = (
    "A user's name is the first 16 digits of the SHA-256 of his or her id in the data: no secret, since whoever guesses an id can hash it."
)
STATES = "A user's state says what that user prefers: treat this folder as data about a person."


@dataclass(frozen=True, repr=False)
class Export:
    """What `export` wrote. users: names of the users whose rewards the folder gives, its default first. constant: what is missing to a reward of
    the model, by user; 0 but for stock classes, which have no bias.
    """

    folder: Path
    users: tuple[str, ...]
    constant: Mapping[str, float]
    max_tokens: int

    def __repr__(self) -> str:
        """Without the users' names, which may be ids."""
        return f"Export({str(self.folder)!r}, {len(self.users):,} {'user' if len(self.users) == 1 else 'users'}, at most {self.max_tokens:,} tokens a text)"


def export(
    model: RewardModel | str | Path,
    out: str | Path,
    *,
    to: str = "hf",
    user: str = "generic",
    history: Any = None,
    keep_adapter: bool = False,
    base: str | None = None,
    keep_ids: bool = False,
    head: Any = None,
    encoder_at: str | Path | None = None,
) -> Export:
    """Export a saved model for other libraries: rewards of the folder are the model's, to rounding.

        evenhand.export("out/model", "exported", to="hf-code", user="all", history="choices.jsonl")

    Parameters without a sentence here mean what they mean in `audit`.

    Args:
        model: A saved model, or its folder; the report beside the folder goes into the card.
        out: Folder to write; an older export there is replaced, anything else is an error.
        to: hf: a stock class for one user. hf-code: any model, with its file of code (trust_remote_code). peft: a stock base, and an adapter for each user.
        user: generic (whoever has no history), a user's id, or all users of the history.
        history: Earlier choices, from which users are read by their id: a table, as for `score`.
        keep_adapter: Leave the trained LoRA an adapter of its own instead of adding it to the weights.
        base: What an adapter that is kept calls its language model in the folder: a name on the hub, or a path where it is read. Default: the model's
            name, without where it lies here.
        keep_ids: Name users by their ids; without it by the first 16 digits of the ids' SHA-256.

    Raises EvenhandError, with the reason, where a form cannot give the model's rewards: stock classes read the last token through one linear
    layer; no form reads TF-IDF (train with tfidf=False).
    """
    if to not in FORMS:
        raise EvenhandError(f"to is {clip(to)}. Expected: {', '.join(FORMS)}. To do: name one of them.")
    if base is not None and (to != "hf" or not keep_adapter or not base.strip() or not base.isprintable()):
        given = (
            f"base {clip(base)}" if to == "hf" and keep_adapter else "a base for a folder that is no adapter on the language model itself"
        )
        raise EvenhandError(f"Found {given}. Expected: a name, with --to hf and --keep-adapter. To do: name it, or leave it out.")
    place = Path(out)
    check_place(place)
    source = None if isinstance(model, RewardModel) else model
    loaded = model if isinstance(model, RewardModel) else RewardModel.load(model, head=head, encoder_at=encoder_at)
    states = _states(loaded, user, history, keep_ids)
    default = GENERIC if GENERIC in states else next(iter(states))
    report = None if source is None else report_beside(source, loaded)
    constant = dict.fromkeys(states, 0.0)
    adapters: dict[str, dict[str, bytes]] = {}
    if to == "hf-code":
        if keep_adapter:
            raise EvenhandError(
                "Found keep_adapter beside hf-code. Expected: one of them, since its weights are whole. To do: leave it out."
            )
        files, reading = coded(loaded, states, default)
    else:
        if to == "hf" and len(states) > 1:
            raise EvenhandError(
                f"Found {len(states)} users for one stock class, which has room for one. Expected: generic, or one user's id. To do: export all of "
                "them with --to hf-code, or as adapters with --to peft."
            )
        found = folded(loaded, list(states.values()))
        constant = dict(zip(states, found.constant.tolist()))
        if to == "peft":
            files, adapters, reading = on_one_base(loaded, states, found, default, place.name, keep_adapter)
        elif keep_adapter:
            assert isinstance(loaded.encoder, BackboneEncoder)
            base = base or loaded.encoder.backbone.name
            files, reading = on_own_base(loaded, states[default], found.score[0], constant[default], base)
        else:
            files, reading = stock(loaded, states[default], found.score[0], constant[default])
    text = exported_card(
        loaded, report, what=_what(to, states, default, keep_ids), use=_use(to, place.name, default, reading, base if to == 'hf' else None),
        limits=_limits(to, loaded, reading, constant, states), library="peft" if keep_adapter else LIBRARY[to], unmeasured=_unmeasured(loaded, states),
    )  # fmt: skip
    put(place, files | {CARD: text}, adapters)
    return Export(place, (default, *(n for n in states if n != default)), constant, reading.limit)


def _states(model: RewardModel, user: str, history: Any, keep_ids: bool) -> dict[str, UserState]:
    """Users' states by the names that they are exported under."""
    if isinstance(model.encoder, BackboneEncoder) and (soft := model.encoder.backbone.soft_user_tokens):
        raise EvenhandError(
            f"The model stands {soft} soft tokens of the user before a text, which are no words and for which no form here has a place. Expected: "
            "a user who is read by the head, or in words. To do: serve it with evenhand serve, or train without --soft-user-tokens."
        )
    if user == "generic":
        return {GENERIC: model.user([])}
    if model.history_pairs:
        raise EvenhandError(
            f"The model reads {model.history_pairs} choices of a user in words, before the prompt. Expected: --user generic, since a user's own "
            "texts would stand in the folder. To do: export generic, and put the choices into the system turn when scoring."
        )
    if not type(model.head).reads_new_users:
        raise EvenhandError(
            f"The head {type(model.head).__name__} knows users by their number in training alone: a saved model gives everybody one reward. Expected: "
            "--user generic. To do: leave --user out, or train with a head that reads histories."
        )
    if history is None:
        raise EvenhandError(
            "Found no history to read users from. Expected: a table of their choices. To do: --history choices.jsonl (history=), or --user generic."
        )
    data = read(history)
    chosen = range(len(data.users)) if user == "all" else [i for i, name in enumerate(data.users) if name == user_id(user)]
    choices = {data.users[i]: _choices(data, i) for i in chosen}
    if not any(choices.values()):
        raise EvenhandError(
            "The user asked for has no choice in the history. Expected: an id as it stands there. To do: correct it, or add choices."
        )
    named = {(name if keep_ids else hashed(name)): own for name, own in choices.items() if own}
    if GENERIC in named:
        raise EvenhandError(
            f"A user's id is '{GENERIC}', the name of whoever has no history. Expected: another. To do: leave --keep-ids out."
        )
    if any(name in ("", ".", "..") or "/" in name or "\\" in name or not name.isprintable() for name in named):
        raise EvenhandError(
            "Some ids cannot be names of folders. Expected: no slash and no control character. To do: leave --keep-ids out."
        )
    states = dict(zip(named, model.users(list(named.values()))))
    return {GENERIC: model.user([]), **states} if user == "all" else states


def hashed(user: str) -> str:
    """The name of a user in what is exported: the first 16 digits of the SHA-256 of the id."""
    return hashlib.sha256(user.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _choices(data: PreferenceData, user: int) -> list[tuple[str, str, str]]:
    rows = np.flatnonzero((data.user == user) & (np.ones(len(data), bool) if data.tie is None else ~data.tie))
    texts = data.texts
    return [(texts[data.prompt[i]] if data.prompt[i] >= 0 else "", texts[data.chosen[i]], texts[data.rejected[i]]) for i in rows.tolist()]


# ---- what the card says


def _what(to: str, states: Mapping[str, UserState], default: str, keep_ids: bool) -> list[str]:
    whose = "whoever has no history (the reward for everybody)" if default == GENERIC else "one user"
    own = sum(name != GENERIC for name in states)
    people = "one user" if own == 1 else f"{own:,} users"
    held = people if own == len(states) else f"{people} and for everybody" if own else "everybody"
    form = {
        "hf": f"A stock classifier of transformers with one output: the reward for {whose}, folded into its last layer.",
        "hf-code": f"A classifier with code of its own, with rewards for {held}; by default it gives the reward for {whose}.",
        "peft": f"A stock classifier of transformers that gives the reward for {whose}, and in {USERS}/ adapters of PEFT for {held}.",
    }[to]
    named = len(states) > 1 or default != GENERIC
    return [form, *([STATES] if named else []), *([NAMES_ARE] if named and not keep_ids else [])]


def _use(to: str, name: str, default: str, reading: Reading, stands_on: str | None) -> list[tuple[str, str]]:
    """stands_on: the language model of a folder that is an adapter on it."""
    chat = (
        "conversations = [[{'role': 'user', 'content': 'a prompt'}, {'role': 'assistant', 'content': 'a response'}]]\n"
        "texts = tokenizer.apply_chat_template(conversations, return_dict=True, return_tensors='pt', padding=True"
        + (", return_assistant_tokens_mask=True" if reading.masked else "")
        + ")\n"
    )
    auto = "from transformers import AutoModelForSequenceClassification, AutoTokenizer\n"
    tokenizer = f"tokenizer = AutoTokenizer.from_pretrained('{name}')\n"
    base = f"model = AutoModelForSequenceClassification.from_pretrained('{name}')\n"
    score = "rewards = model(**texts).logits[:, 0]"
    if to == "hf-code":
        load = base.replace("')", "', trust_remote_code=True)")
        tokenizer = tokenizer.replace("')", "', trust_remote_code=True)")
        return [("python", f"{auto}\n{tokenizer}{load}{chat}rewards = model(**texts, user='{default}').logits[:, 0]")]
    peft = "from peft import PeftModel\n"
    if to == "peft":
        return [
            (
                "python",
                f"{peft}{auto}\n{tokenizer}{base}model = PeftModel.from_pretrained(model, '{name}/{USERS}/{default}').eval()\n{chat}{score}",
            )
        ]
    if stands_on is not None:
        load = (
            f"base = AutoModelForSequenceClassification.from_pretrained({stands_on!r}, num_labels=1, pad_token_id={reading.pad})  # or its folder\n"
            f"model = PeftModel.from_pretrained(base, '{name}').eval()\n"
        )
        return [("python", f"{peft}{auto}\n{tokenizer}{load}{chat}{score}")]
    return [
        ("python", f"{auto}\n{tokenizer}{base}{chat}{score}"),
        ("bash", f"vllm serve {name} --runner pooling  # then POST /classify with use_activation: false"),
    ]


def _limits(to: str, model: RewardModel, reading: Reading, constant: Mapping[str, float], states: Mapping[str, UserState]) -> list[str]:
    said = [f"Training read at most {reading.limit:,} tokens of a text" + ("; longer ones are read in windows, here too." if reading.window else " and cut longer ones: oldest turns, then the left of the prompt, then the right of the response. Here nothing is cut unless you ask for it.")]  # fmt: skip
    said.append(
        "The tokenizer's chat template gives ordinary conversations the tokens of training. A text that holds the name of a special token, such as "
        "the end of a turn, was written with a space in that name in training; here it is read as that token: take such names out of texts you do not trust."
    )
    if model.history_pairs:
        said.append(
            f"A user's choices are read where you write them: the last {model.history_pairs} in the system turn, in the words of training. A text "
            "without them has the reward for everybody."
        )
    if not model.with_prompt:
        said.append("Of a conversation the last message alone is read.")
    if to != "hf-code":
        one = next(iter(constant.values()))
        said.append(
            (
                f"Rewards here are the model's own less {one:.6g}"
                if len(constant) == 1
                else "Rewards here are the model's own less a constant of each user (evenhand.export returns it)"
            )
            + ", since the class has no bias; the same for every text, so differences between responses are the model's."
        )
        if reading.pad is None:
            said.append("The tokenizer has no token to pad with: give one text at a time.")
        else:
            said.append(
                "The pad token is one that ends no text: with the end-of-text token in its place, the last token of a text would not be read."
            )
    if reading.dtype == "bfloat16":
        said.append("Weights are in bfloat16, as in training; what was learned is rounded into them.")
    if len(states) > 1:
        said.append("Users who are not in this folder get the reward of its default user.")
    return said


def _unmeasured(model: RewardModel, states: Mapping[str, UserState]) -> str:
    """Why a report on the model, in which every user has his or her own state, says nothing of one state for all; "" = it does."""
    if len(states) > 1 or (len(next(iter(states.values())).state) == 0 and not model.history_pairs):
        return ""
    return (
        "These figures are those of the model that reads each user's own history. This folder gives everybody the reward of one state, for which "
        "nothing was measured: it serves users whose taste is another one worse than the figures say."
    )
