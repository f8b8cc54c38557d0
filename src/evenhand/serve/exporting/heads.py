"""A head once its users are read: what is left of it is a function of features, linear for most heads.

    r(phi) = a_u . phi + c_u        a_u, c_u from the head's own rewards of 0 and of the unit vectors, in float64

Whether a head is linear given the state is tried and not declared, so that heads from outside the package are exported alike. Of those in
models/ two are not: `pal` (a distance, quadratic in phi) and `pal_angle` (phi is brought to length 1); and `vpl` where it has a perceptron.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize, softplus

from evenhand.core import EvenhandError
from evenhand.models.pal import PalScorer
from evenhand.models.pal_angle import PalAngleScorer
from evenhand.models.vpl import PerceptronVplScorer
from evenhand.serve.reward_model import RewardModel, UserState

PROBES, EXACT = 6, 1e-9  # features at which linearity is tried, and the error that rounding explains in float64


@dataclass(frozen=True)
class Affine:
    """weight float64[users, d], bias float64[users]: r = weight_u . phi + bias_u."""

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True)
class Kept:
    """A head that is not linear given the state. kind and sizes: of the class that computes it in `modeling_evenhand.py`; arrays: its parameters."""

    kind: str
    sizes: dict[str, int]
    arrays: dict[str, Tensor]


def affine(model: RewardModel, states: Sequence[UserState]) -> Affine | None:
    """a_u and c_u of every user; None where the head is not linear given the state."""
    scorer: Any = model.scorer
    scorer = deepcopy(scorer).double() if isinstance(scorer, nn.Module) else scorer
    dim = model.feature_map.dim
    points = torch.cat([torch.zeros(1, dim), torch.eye(dim)]).double()
    draw = torch.Generator().manual_seed(0)
    size = torch.tensor([0.1, 1.0, 5.0]).repeat_interleave(PROBES // 3)[:, None]
    probes = (torch.randn(PROBES, dim, generator=draw) * size).double()
    weights, biases = [], []
    with torch.no_grad():
        for one in states:
            state = one.state.double()
            found = scorer.score(state.expand(len(points), -1), points)
            weight, bias = found[1:] - found[0], found[0]
            given = scorer.score(state.expand(PROBES, -1), probes)
            if not torch.allclose(given, probes @ weight + bias, rtol=EXACT, atol=EXACT * float(1 + weight.norm())):
                return None
            weights.append(weight)
            biases.append(bias)
    return Affine(torch.stack(weights), torch.stack(biases))


def kept(model: RewardModel, states: Sequence[UserState]) -> Kept:
    """The head with its users' states, for a folder with code of its own. Raises EvenhandError for a head that has no place there."""
    found = affine(model, states)
    if found is not None:
        users, dim = found.weight.shape
        return Kept("affine", {"users": users, "features": dim}, {"weight": found.weight.float(), "bias": found.bias.float()})
    scorer, state = model.scorer, torch.stack([s.state for s in states])
    with torch.no_grad():
        if isinstance(scorer, PalScorer):
            return _placed("distance", state @ scorer.P, scorer.F, scorer.hidden)
        if isinstance(scorer, PalAngleScorer):
            return _placed("angle", softplus(scorer.raw_c) * state @ normalize(scorer.P, dim=1), scorer.F, scorer.hidden)
        if isinstance(scorer, PerceptronVplScorer):
            dim, width = len(scorer.C) - state.shape[1], scorer.C.shape[1]
            arrays = {
                "state": linear(state, scorer.C[dim:].T, scorer.c), "first.weight": scorer.C[:dim].T, "second.weight": scorer.D.T,
                "second.bias": scorer.d, "last.weight": scorer.w[None],
            }  # fmt: skip
            return Kept("perceptron", {"users": len(state), "features": dim, "width": width}, arrays)
    raise EvenhandError(
        f"The head {type(model.head).__name__} is from outside the package, and not linear in the features once a user is read. Expected: a "
        "linear one, or one of evenhand's own. To do: serve the model itself (evenhand.RewardModel.load), or train with another head."
    )


def _placed(kind: str, state: Tensor, into: Tensor, hidden: nn.Module) -> Kept:
    """A head that looks at where F phi lies, or F gelu(G phi)."""
    width, features = 0, len(into)
    arrays = {"state": state, "place.weight": into.T}
    if isinstance(hidden, nn.Sequential):
        layer = hidden[0]
        assert isinstance(layer, nn.Linear)
        width, features = layer.weight.shape
        arrays |= {"hidden.weight": layer.weight, "hidden.bias": layer.bias}
    return Kept(kind, {"users": len(state), "features": features, "width": width, "rank": into.shape[1]}, arrays)
