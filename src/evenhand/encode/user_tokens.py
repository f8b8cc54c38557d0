"""A user as a few soft tokens in front of a text (P-RLHF, Li et al. 2024, arXiv 2402.05133, section 4; its user model by cluster).

    e_u = e + sum_k w_k C_k,      w = softmax(W h_u + w_0),      h_u = mean over the user's choices of (v(chosen) - v(rejected)) / size

e: the embeddings of the words "About this user:", so many as there are tokens; C: what a cluster adds to them, 0 before training, so that
untrained tokens leave a model that reads these words, for everybody. v: the pretrained model's vectors of prompt and response, which no
training moves; size: the root mean square of the two's lengths. h_u = 0, a user without a choice, gives the generic user softmax(w_0),
whom training sees in one pair of ten (workflows/told.py).

Differs from the paper: there w_u is a row of a table of training users, so that a user who is not in it is the generic one; here it
follows from the choices, and a model knows everybody by these alone. W is drawn and C is not: equal clusters would stay equal otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from evenhand.encode.chat import Told

CLUSTERS = 10  # as in the paper
SPREAD = 4.0  # of W before training: opposite choices, of which h is some tenths long, are mostly in different clusters
Side = tuple[str, str]  # prompt, response


class UserTokens(nn.Module):
    """C float[CLUSTERS, tokens, embedding]; W float[vector, CLUSTERS]; w_0 float[CLUSTERS]. Of the base itself all are 0: nothing is added."""

    def __init__(self, tokens: int, embedding: int, vector: int):
        super().__init__()
        self.clusters = nn.Parameter(torch.zeros(CLUSTERS, tokens, embedding))
        self.reading = nn.Parameter(torch.zeros(vector, CLUSTERS))
        self.generic = nn.Parameter(torch.zeros(CLUSTERS))
        self.requires_grad_(False)

    def forward(self, users: Tensor) -> Tensor:
        """What h float32[n, vector] adds to the first embeddings, float32[n, tokens, embedding]."""
        weight = torch.softmax(users @ self.reading + self.generic, 1)
        return torch.einsum("nk,kte->nte", weight, self.clusters)

    def new(self, seed: int) -> dict[str, Tensor]:
        """The parameters as they are before training, by name."""
        drawn = SPREAD * torch.randn(self.reading.shape, generator=torch.Generator().manual_seed(seed))
        return {"clusters": torch.zeros(self.clusters.shape), "reading": drawn, "generic": torch.zeros(CLUSTERS)}


def sides(told: Sequence[Told]) -> list[Side]:
    """The distinct texts that users' choices are made of, in order."""
    return list(dict.fromkeys(side for known in told if not isinstance(known, str) for c in known for side in ((c[0], c[1]), (c[0], c[2]))))


def read(told: Told, vectors: Mapping[Side, np.ndarray], width: int) -> np.ndarray:
    """h float32[width] of one user; the order of the choices decides nothing but rounding."""
    if isinstance(told, str) or not told:
        return np.zeros(width, np.float32)
    found = []
    for prompt, chosen, rejected in told:
        a, b = (vectors[prompt, side].astype(np.float64) for side in (chosen, rejected))
        found.append((a - b) / max(math.sqrt(float(a @ a + b @ b) / 2), 1e-12))
    return np.mean(found, axis=0).astype(np.float32)
