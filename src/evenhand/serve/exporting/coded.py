"""Any model with any number of users, as a folder with a file of code: `modeling_evenhand.py` goes along, and transformers runs it where whoever
loads the folder trusts it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from evenhand.encode.quiet import quiet
from evenhand.serve.exporting.folders import written
from evenhand.serve.exporting.heads import kept
from evenhand.serve.exporting.stock import check_rewards, check_words
from evenhand.serve.exporting.texts import Exported, exported
from evenhand.serve.reward_model import RewardModel, UserState


def coded(model: RewardModel, states: Mapping[str, UserState], default: str) -> tuple[dict[str, bytes], Exported]:
    """The folder's files but for its card. states: of the users, by the names that they are asked for with. Raises EvenhandError for models that read TF-IDF, another
    encoder than a language model, and heads from outside that are not linear given the state.
    """
    from evenhand.serve.exporting.modeling_evenhand import EvenhandConfig, EvenhandForSequenceClassification

    check_words(model)
    head = kept(model, list(states.values()))
    read = exported(model.encoder, model.with_prompt)
    inner = read.model.config.to_dict()
    inner.pop("_name_or_path", None)
    config = EvenhandConfig(
        backbone=inner,
        pooling=read.pooling,
        over=read.over,
        response_after=read.response_after,
        masked=read.masked,
        unit=read.unit,
        window=read.window,
        head=head.kind,
        sizes=head.sizes,
        user_names=list(states),
        default_user=default,
        max_tokens=read.limit,
        num_labels=1,
        id2label={0: "reward"},
        label2id={"reward": 0},
        problem_type="regression",
        pad_token_id=read.pad,
        dtype=read.dtype,
    )
    with quiet():
        made = EvenhandForSequenceClassification(config).to(read.model.dtype).eval()
    made.backbone.load_state_dict(read.model.state_dict())
    assert model.feature_map.of_vector is not None
    made.reward_features.float().weight.data = torch.from_numpy(model.feature_map.of_vector.T).contiguous()
    made.reward_features.bias.data = torch.from_numpy(model.feature_map.shift).clone()
    made.reward_head.float().load_state_dict({name: array.detach().float() for name, array in head.arrays.items()})
    check_rewards(model, list(states.values()), read, lambda **texts: _under_all(made, len(states), texts))
    EvenhandConfig.register_for_auto_class()
    EvenhandForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")
    return written(lambda place: (made.save_pretrained(place), read.tokenizer.save_pretrained(place))), read


def _under_all(made: Any, users: int, texts: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Rewards float32[users] of one text for every user: the language model is run once."""
    held: list[torch.Tensor] = []
    hook = made.reward_head.register_forward_pre_hook(lambda module, given: held.append(given[0]))
    made(**texts)
    hook.remove()
    found: torch.Tensor = made.reward_head(held[0].expand(users, -1), torch.arange(users))
    return found
