"""A reward model whole: text in, rewards out. A user is what he or she chose before; nothing else about a user goes in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
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
from evenhand.serve.asked import Choice, Said, has_text, histories_read, items_read, owners_read
from evenhand.serve.encoder_record import adapter_of, encoder_of, record_of
from evenhand.serve.model_files import DESCRIPTION
from evenhand.serve.reads import what_is_read
from evenhand.serve.saved import SavedModel, fingerprint, load_model, save_model


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
    def load(
        cls, folder: str | Path, encoder: TextEncoder | Backbone | None = None, head: type | str | None = None,
        encoder_at: str | Path | None = None,
    ) -> RewardModel:  # fmt: skip
        """The model that `save` wrote; `reads_prompts` says whether prompts count.

        Args:
            folder: of a saved model.
            encoder: given only if the one the model was trained on lies elsewhere now, a language model as its Backbone.
            head: a head from outside the package, as its class or as ./FILE.py:NAME; the folder alone never makes code run.
            encoder_at: the folder where the language model or encoder that the model names lies now; what else it says of it stays.

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
        found = encoder_of(saved.encoder, encoder, file, saved.adapter, encoder_at)
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
        save_model(folder, self._saved({**self.facts, "reads": what_is_read(self.with_prompt, self.history_pairs)}))

    def _saved(self, facts: Mapping[str, Any]) -> SavedModel:
        encoder = {**record_of(self.encoder), "with_prompt": self.with_prompt}
        return SavedModel(self.head, self.feature_map.dim, self.scorer, self.feature_map.state(), encoder, facts, adapter_of(self.encoder))

    def user(self, history: Sequence[Choice] = ()) -> UserState:
        """One user as the model reads him or her, worked out once and scored with as often as is wanted; without a history, everybody.

        history: that user's earlier choices, each (prompt, chosen, rejected) or a dict with these keys; a prompt may be "", and each a text or
        messages.
        """
        return self.users([history])[0]

    def users(self, histories: Sequence[Sequence[Choice]]) -> list[UserState]:
        """The same of several users, whose distinct texts are encoded once."""
        choices = histories_read(histories)
        told = [self._told(own) for own in choices]
        if self.history_pairs:  # the users are in the texts
            choices = [[] for _ in choices]
        chosen = [item_text(c[0], c[1], self.with_prompt) for own in choices for c in own]
        rejected = [item_text(c[0], c[2], self.with_prompt) for own in choices for c in own]
        row = {text: i for i, text in enumerate(dict.fromkeys([*chosen, *rejected]))}

        def rows(of: Iterable[str]) -> Tensor:
            return torch.tensor([row[t] for t in of], dtype=torch.long)

        offsets = torch.tensor([0, *np.cumsum([len(own) for own in choices])], dtype=torch.long)
        history = History(self._features(list(row)), offsets, rows(chosen), rows(rejected), torch.full((len(choices),), -1))
        with torch.no_grad():
            states = self.scorer.users(history)
        return [UserState(self, state, said) for state, said in zip(states.unbind(0) if len(choices) else (), told)]

    def score(self, history: Sequence[Choice], prompts: Sequence[Said], responses: Sequence[Said]) -> np.ndarray:
        """Rewards float32[n] of responses[i] to prompts[i] for one user. An empty history gives the reward for everybody.

        Raises EvenhandError on what is neither text nor messages, and on lists of unequal length.
        """
        return self.user(history).score(prompts, responses)

    def score_users(
        self, histories: Sequence[Sequence[Choice]], user: Sequence[int], prompts: Sequence[Said], responses: Sequence[Said]
    ) -> np.ndarray:
        """Rewards float32[n] of responses[i] to prompts[i] for the user with histories[user[i]]."""
        return self.score_as(self.users(histories), user, prompts, responses)

    def score_as(self, states: Sequence[UserState], user: Sequence[int], prompts: Sequence[Said], responses: Sequence[Said]) -> np.ndarray:
        """Rewards float32[n] of responses[i] to prompts[i] for the user states[user[i]]. Every distinct text is encoded once."""
        if any(state.model is not self for state in states):
            raise EvenhandError(
                "Found a user's state of another model. Expected: one of this model's `user`. To do: read the history again."
            )
        asked, owner = items_read(prompts, responses), owners_read(user, len(states))
        if (silent := next((i for i, (_, response) in enumerate(asked) if not has_text(response)), None)) is not None:
            raise EvenhandError(
                f"responses[{silent}] holds no text. Expected: a text to judge; without one there is no reward. To do: leave it out."
            )
        if len(owner) != len(asked):
            raise EvenhandError(
                f"Found {len(asked)} responses and {len(owner)} user numbers. Expected: equally many. To do: give one user for each response."
            )
        texts = [item_text(p, r, self.with_prompt, states[u].told) for u, (p, r) in zip(owner.tolist(), asked)]
        if not texts:
            return np.zeros(0, np.float32)
        row = {text: i for i, text in enumerate(dict.fromkeys(texts))}
        items = self._features(list(row))[torch.tensor([row[t] for t in texts], dtype=torch.long)]
        with torch.no_grad():
            state = torch.stack([s.state for s in states])[torch.from_numpy(owner)]
            return np.asarray(self.scorer.score(state, items).numpy())

    def state(self, history: Sequence[Choice]) -> np.ndarray:
        """What the head reads from one user's history, float32[s]; s = 0 for a head without a user."""
        return np.asarray(self.user(history).state.numpy())

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of everything that decides a reward: head, weights, feature map, encoder and adapter; not of how it was trained."""
        return fingerprint(self._saved({}))

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


@dataclass(frozen=True, repr=False)
class UserState:
    """One user as a model reads him or her: state float32[s] of its head, and what a language model is told before each prompt."""

    model: RewardModel
    state: Tensor
    told: Told = ()

    def score(self, prompts: Sequence[Said], responses: Sequence[Said]) -> np.ndarray:
        """Rewards float32[n] of responses[i] to prompts[i], each a text or messages."""
        return self.model.score_as([self], [0] * len(responses), prompts, responses)

    def __repr__(self) -> str:
        return f"UserState of {len(self.state)} numbers, {self.model!r}"
