"""A reward model whole: text in, rewards out. A user is what he or she chose before; nothing else about a user goes in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evenhand.core import DataError, EvenhandError, Head, History, Scorer, clip
from evenhand.encode.backbone import Backbone
from evenhand.encode.backbone_encoder import BackboneEncoder, history_pairs
from evenhand.encode.chat import Told
from evenhand.encode.encoder import TextEncoder
from evenhand.encode.projection import FeatureMap
from evenhand.encode.prompted import item_text
from evenhand.models.linear import Linear
from evenhand.parts import head_class
from evenhand.serve.encoder_record import adapter_of, encoder_of, record_of
from evenhand.serve.reads import what_is_read
from evenhand.serve.saved import DESCRIPTION, SavedModel, load_model, save_model

Choice = Sequence[str] | Mapping[str, str]  # (prompt, chosen, rejected), or a dict with these three keys


@dataclass(frozen=True, repr=False)
class RewardModel:
    """r(u, x, y): rewards of responses y to prompts x for the user u whose history is given. A margin is r(chosen) - r(rejected).

    encoder: None where the feature map works on TF-IDF alone. head: the frozen dataclass of models/ that built `scorer`.
    with_prompt: whether prompt and response are encoded together. facts: how it was trained, plain JSON values.

    A reward depends on the user's history and the response alone, and where `reads_prompts` on the prompt: not on what else is scored in
    the same call, nor on the order of the history, unless a language model reads it (`history_pairs`). Rewards of different prompts are not
    comparable unless `with_prompt` was trained; margins are.
    """

    encoder: TextEncoder | None
    feature_map: FeatureMap
    head: Head
    scorer: Scorer
    with_prompt: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.encoder is None) != (self.feature_map.of_vector is None):
            raise ValueError("an encoder goes with a feature map that was fitted on its vectors, and only with one")
        if self.history_pairs and not isinstance(self.head, Linear):
            raise ValueError("users are in the input already: the head must be one that reads no history")

    @property
    def reads_prompts(self) -> bool:
        """False: a response has the same reward under every prompt."""
        return self.with_prompt

    @property
    def history_pairs(self) -> int:
        """So many of a user's choices stand in the input before the prompt, the last ones; 0 = the head reads the history."""
        return history_pairs(self.encoder)

    @classmethod
    def load(cls, folder: str | Path, encoder: TextEncoder | Backbone | None = None, head: type | str | None = None) -> RewardModel:
        """The model that `save` wrote; `reads_prompts` says whether prompts count.

        Args:
            folder: of a saved model.
            encoder: given only if the one the model was trained on lies elsewhere now, a language model as its Backbone.
            head: a head from outside the package, as its class or as ./FILE.py:NAME; the folder alone never makes code run.

        Raises DataError if anything in the folder changed, if the encoder at hand is not the one the model was trained on, and if its head
        is from outside the package and not given.
        """
        saved, file = load_model(folder, head_class(head) if isinstance(head, str) else head), Path(folder) / DESCRIPTION
        try:
            feature_map = FeatureMap.from_state(*saved.features)
        except (KeyError, TypeError, ValueError) as error:
            problem = f"The feature map does not fit together ({clip(str(error))})"
            raise DataError(problem, expected="the arrays and settings as saved", remedy="save the model again", file=str(file)) from error
        if feature_map.dim != saved.dim:
            expected = f"{saved.dim} as the head takes"
            raise DataError(f"{feature_map.dim} features", expected=expected, remedy="save the model again", file=str(file))
        found = encoder_of(saved.encoder, encoder, file, saved.adapter)
        takes = 0 if feature_map.of_vector is None else len(feature_map.of_vector)
        gives = 0 if found is None else found.dim
        if takes != gives:
            raise DataError(
                f"The feature map takes vectors of {takes} coordinates", expected=f"{gives}, as the encoder gives",
                remedy="save the model again", file=str(file),
            )  # fmt: skip
        return cls(found, feature_map, saved.head, saved.scorer, saved.encoder["with_prompt"], saved.facts)

    def save(self, folder: str | Path) -> None:
        """Write a folder that `load` reads: all of it or nothing. An older model there is replaced; anything else there is an error."""
        encoder = {**record_of(self.encoder), "with_prompt": self.with_prompt}
        facts = {**self.facts, "reads": what_is_read(self.with_prompt, self.history_pairs)}
        saved = SavedModel(self.head, self.feature_map.dim, self.scorer, self.feature_map.state(), encoder, facts, adapter_of(self.encoder))
        save_model(folder, saved)

    def score(self, history: Sequence[Choice], prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        """Rewards float32[n] of responses[i] to prompts[i] for one user. An empty history gives the reward for everybody.

        history: that user's earlier choices, each (prompt, chosen, rejected) or a dict with these keys.
        Raises EvenhandError on texts that are no str and on lists of unequal length.
        """
        return self.score_users([history], [0] * len(_texts(responses, "responses")), prompts, responses)

    def score_users(
        self, histories: Sequence[Sequence[Choice]], user: Sequence[int], prompts: Sequence[str], responses: Sequence[str]
    ) -> np.ndarray:
        """Rewards float32[n] of responses[i] to prompts[i] for the user with histories[user[i]]."""
        prompts, responses = _texts(prompts, "prompts"), _texts(responses, "responses")
        owner = _owners(user, len(histories))
        if not len(prompts) == len(responses) == len(owner):
            raise EvenhandError(
                f"Found {len(prompts)} prompts, {len(responses)} responses and {len(owner)} user numbers. Expected: equally many. "
                "To do: give one prompt (and one user) for each response."
            )
        history, items = self._read(histories, owner.tolist(), list(zip(prompts, responses)))
        with torch.no_grad():
            states = self.scorer.users(history)
            return np.asarray(self.scorer.score(states[owner], items).numpy())

    def state(self, history: Sequence[Choice]) -> np.ndarray:
        """What the model reads from one user's history, float32[s]; s = 0 for a head without a user."""
        with torch.no_grad():
            return np.asarray(self.scorer.users(self._read([history], [], [])[0])[0].numpy())

    def _read(
        self, histories: Sequence[Sequence[Choice]], owner: Sequence[int], asked: Sequence[tuple[str, str]]
    ) -> tuple[History, Tensor]:
        """The users' histories, and features [n, d] of prompts and responses that are asked about. Every distinct text is encoded once."""
        choices = [[_choice(c, u, i) for i, c in enumerate(_listed(h, u))] for u, h in enumerate(_listed(histories))]
        told = [self._told(own) for own in choices]
        texts = [item_text(p, r, self.with_prompt, told[user]) for user, (p, r) in zip(owner, asked)]
        if self.history_pairs:  # the users are in the texts
            choices = [[] for _ in choices]
        chosen = [item_text(c[0], c[1], self.with_prompt) for own in choices for c in own]
        rejected = [item_text(c[0], c[2], self.with_prompt) for own in choices for c in own]
        row = {text: i for i, text in enumerate(dict.fromkeys([*chosen, *rejected, *texts]))}
        items = self._features(list(row))

        def rows(of: Iterable[str]) -> Tensor:
            return torch.tensor([row[t] for t in of], dtype=torch.long)

        offsets = torch.tensor([0, *np.cumsum([len(own) for own in choices])], dtype=torch.long)
        history = History(items, offsets, rows(chosen), rows(rejected), torch.full((len(choices),), -1))
        return history, items[rows(texts)]

    def _told(self, history: Sequence[tuple[str, str, str]]) -> Told:
        if not isinstance(self.encoder, BackboneEncoder):
            return ()
        return self.encoder.backbone.told([(p if self.with_prompt else "", c, r) for p, c, r in history])

    def _features(self, texts: Sequence[str]) -> Tensor:
        vectors = None if self.encoder is None else self.encoder.encode(texts)
        return torch.from_numpy(self.feature_map.apply(texts, vectors))

    def __repr__(self) -> str:
        encoder = "no encoder" if self.encoder is None else self.encoder.name
        method = f", {self.facts['method']}" if "method" in self.facts else ""
        return f"RewardModel({self.head}, {encoder}, {self.feature_map.dim} features{method}). {what_is_read(self.with_prompt, self.history_pairs)}"

    def _repr_html_(self) -> str:
        return f"<code>{escape(repr(self))}</code>"


def _listed(value: Any, user: int | None = None) -> Sequence[Any]:
    """`value` if it is a sequence of records, else an error that says what a history is."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return value
    what = "the list of histories" if user is None else f"the history of user {user}"
    raise EvenhandError(
        f"Found {type(value).__name__} as {what}. Expected: a list of (prompt, chosen, rejected) for each user; an empty one is allowed. "
        "To do: wrap the records in a list."
    )


def _choice(record: Any, user: int, place: int) -> tuple[str, str, str]:
    keys = ("prompt", "chosen", "rejected")
    if isinstance(record, Mapping):
        parts, found = [record.get(k) for k in keys], f"a dict with the keys {clip(sorted(map(str, record)))}"
    elif isinstance(record, Sequence) and not isinstance(record, str):
        parts, found = list(record), ", ".join(type(p).__name__ for p in record) or "nothing"
    else:
        parts, found = [], type(record).__name__
    texts = [p for p in parts if isinstance(p, str)]
    if len(parts) != 3 or len(texts) != 3:
        raise EvenhandError(
            f"History of user {user}, record {place}: found {found}. Expected: three texts, (prompt, chosen, rejected), or a dict "
            "with these keys. To do: correct this record; a pair without a prompt takes an empty text."
        )
    return (texts[0], texts[1], texts[2])


def _texts(value: Any, name: str) -> Sequence[str]:
    if isinstance(value, str) or not isinstance(value, (Sequence, np.ndarray)):
        raise EvenhandError(f"Found {type(value).__name__} as {name}. Expected: a list of texts. To do: wrap a single text in a list.")
    for place, text in enumerate(value):
        if not isinstance(text, str):
            raise EvenhandError(
                f"{name}[{place}] is of type {type(text).__name__}. Expected: str. To do: convert it, or leave the row out."
            )
    return list(value)


def _owners(user: Any, n_users: int) -> Tensor:
    owner = np.asarray(user)
    if owner.ndim != 1 or (owner.size and not np.issubdtype(owner.dtype, np.integer)):
        raise EvenhandError(
            f"Found {owner.dtype} of shape {owner.shape} as user numbers. Expected: a list of int. "
            "To do: give the place of each row's history."
        )
    wrong = np.flatnonzero((owner < 0) | (owner >= n_users)) if owner.size else owner
    if len(wrong):
        raise EvenhandError(
            f"user[{wrong[0]}] is {owner[wrong[0]]}. Expected: 0 to {n_users - 1}, a place in `histories`. To do: correct it."
        )
    return torch.from_numpy(owner.astype(np.int64))
