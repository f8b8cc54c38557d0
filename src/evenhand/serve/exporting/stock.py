"""One user as a stock `*ForSequenceClassification` with one output: what transformers, TRL and vLLM read without any code of ours.

    logit = score . h_last,        score = M a_u        M float[hidden, d]: the feature map, a_u: the head given the user (heads.py)

Exact where the vector of a text is the last hidden state of its last token as it is. The class has no bias: every reward is too low or too
high by one number, which is the same for all texts and so in no margin; it is stated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from evenhand.core import EvenhandError, clip
from evenhand.encode.backbone_encoder import BackboneEncoder
from evenhand.encode.quiet import quiet
from evenhand.serve.exporting.folders import written
from evenhand.serve.exporting.heads import affine
from evenhand.serve.exporting.texts import PROBES, Exported, exported
from evenhand.serve.reward_model import RewardModel, UserState

CODED = "To do: export with --to hf-code, a folder with a small file of code, which transformers reads with trust_remote_code"


@dataclass(frozen=True)
class Folded:
    """score float32[users, hidden]; reward = score_u . h_last + constant_u, constant float64[users]."""

    score: torch.Tensor
    constant: np.ndarray


def folded(model: RewardModel, states: Sequence[UserState]) -> Folded:
    """Head and feature map of each user as one vector. Raises EvenhandError, with the reason, where a stock class gives other rewards."""
    check_words(model)
    if not isinstance(model.encoder, BackboneEncoder):
        raise _refusal("the model's vectors are means over a text's tokens")
    if model.encoder.backbone.pooling != "last":
        raise _refusal(
            "the model's vectors are means over the response's tokens, and stock classes read the last token alone", trained=True
        )
    if model.encoder.backbone.base.unit:
        raise _refusal("the model's vectors are brought to length 1, and stock classes read them as they are")
    found = affine(model, states)
    if found is None:
        raise _refusal(f"the head {type(model.head).__name__} is not linear in the features once a user is read")
    assert model.feature_map.of_vector is not None
    into = torch.from_numpy(model.feature_map.of_vector).double()
    constant = found.weight @ torch.from_numpy(model.feature_map.shift).double() + found.bias
    return Folded((found.weight @ into.T).float(), constant.numpy())


def check_words(model: RewardModel) -> None:
    """Raises EvenhandError where features follow from words beside the encoder's vectors, which no exported folder counts."""
    if model.feature_map.tfidf is not None or model.feature_map.letters is not None:
        raise EvenhandError(
            "The model reads TF-IDF of words beside its encoder's vectors, and a folder of transformers cannot. Expected: a model that reads its "
            "encoder alone. To do: train it again with --no-tfidf (docs/export.md says what that costs), or serve the model itself."
        )


def _refusal(why: str, trained: bool = False) -> EvenhandError:
    again = ", or train with --pooling last" if trained else ""
    return EvenhandError(
        f"A stock class of transformers would give other rewards: {why}. Expected: the last token's state. {CODED}{again}."
    )


def stock(model: RewardModel, state: UserState, score: torch.Tensor, constant: float) -> tuple[dict[str, bytes], Exported]:
    """The folder's files but for its card. Raises EvenhandError for a model whose class has no such output."""
    read = exported(model.encoder, model.with_prompt)
    made = classifier(read, score, constant)
    check_rewards(model, [state], read, lambda **texts: made(**texts).logits[:, 0].float() + constant)
    return written(lambda place: (made.save_pretrained(place), read.tokenizer.save_pretrained(place))), read


def classifier(read: Exported, score: torch.Tensor, constant: float) -> Any:
    """The language model under the class of transformers, in float32 or what its weights are in, with `score` float32[hidden] as its output."""
    from transformers import AutoModelForSequenceClassification

    config = read.model.config
    config.num_labels, config.id2label, config.label2id = 1, {0: "reward"}, {"reward": 0}
    config.problem_type = "regression"  # pipelines and servers then put no sigmoid over it
    config.pad_token_id = read.pad
    config.evenhand = {"constant": constant, "max_tokens": read.limit}
    try:
        with quiet():
            made = AutoModelForSequenceClassification.from_config(config, dtype=read.model.dtype)
    except ValueError as error:
        raise _refusal(f"transformers has no classifier for {clip(type(read.model).__name__)}") from error
    inner, layer = made.base_model, dict(made.named_children()).get("score")
    if not isinstance(layer, nn.Linear) or layer.bias is not None or layer.in_features != len(score) or type(inner) is not type(read.model):
        raise _refusal(f"{clip(type(made).__name__)} is no language model with a linear output of its last token")
    inner.load_state_dict(read.model.state_dict())
    with torch.no_grad():
        layer.weight.copy_(score[None])
    return made.eval()


def check_rewards(model: RewardModel, states: Sequence[UserState], read: Exported, rewards: Any) -> None:
    """Raises EvenhandError unless what is about to be written gives the model's own rewards to some texts, for every user. rewards(**texts) →
    float32[users].
    """
    probes = [(p, r) for p, r in PROBES if len(read.ids(p if read.with_prompt else "", r)) <= read.limit]
    owner = np.repeat(np.arange(len(states)), len(probes)).tolist()
    prompts, responses = zip(*probes * len(states))
    expected = model.score_as(states, owner, prompts, responses).reshape(len(states), -1)
    with torch.no_grad():
        found = np.stack([np.asarray(rewards(**read.batch(prompt, response))) for prompt, response in probes], axis=1)
    wrong = ~(np.abs(found - expected) <= read.near * np.maximum(1.0, np.abs(expected)))
    if wrong.any():
        user, probe = np.argwhere(wrong)[0]
        raise EvenhandError(
            f"The exported folder would give a text the reward {found[user, probe]:.6g}, and the model gives {expected[user, probe]:.6g}, of "
            f"{int(wrong.any(axis=1).sum()):,} of {len(states):,} users. Expected: the same. This is a defect of evenhand, or the language model is of "
            "a kind that was not foreseen. To do: please report it, and serve the model itself."
        )
