"""Clusters of users by what they prefer, for support where users share no pairs (S2)."""

from __future__ import annotations

import numpy as np

MAX_CLUSTERS = 8
MIN_SILHOUETTE = 0.1  # below this k-means has cut one cloud into pieces: no clusters are claimed
SILHOUETTE_SAMPLE = 2_000  # users; the silhouette is quadratic in them
FITTED = 12_000  # users that centres are found on, drawn from more: centres do not change beyond, time does
STARTS = 5


def find_clusters(
    directions: np.ndarray, seed: int, *, max_clusters: int = MAX_CLUSTERS, pool: np.ndarray | None = None
) -> tuple[np.ndarray, str]:
    """Clusters of users by k-means on mean preference directions: (int64[users], how they came about).

    directions float[users, d]: the mean of features(chosen) - features(rejected) over a user's training pairs. They are scaled to
    length one, as a taste is a direction and its length mostly tells how many pairs were averaged. Users with a zero or
    non-finite direction are in no cluster (-1). k is the one in 2..max_clusters with the highest silhouette (on at most 2,000
    users); when none reaches 0.1 there is one cluster. Same seed, same clusters.

    pool bool[users]: the users in whom clusters are sought (default: everyone); the others join the nearest centre and move nobody.
    """
    from scipy.cluster.vq import vq  # scikit-learn's would take a second to import

    x = np.asarray(directions, dtype=np.float32)
    length = np.linalg.norm(x, axis=1)
    usable = np.isfinite(length) & (length > 0)
    label = np.where(usable, 0, -1).astype(np.int64)
    ours = usable if pool is None else usable & pool
    rng = np.random.default_rng(seed)
    drawn = rng.permutation(np.flatnonzero(ours))[:FITTED]
    fitted = (x[drawn] / length[drawn, None]).astype(np.float64)
    sample = fitted[:SILHOUETTE_SAMPLE]
    distances = np.sqrt(np.maximum(2 - 2 * sample @ sample.T, 0))
    best, centres = MIN_SILHOUETTE, fitted[:1]
    for k in range(2, min(max_clusters, len(np.unique(sample, axis=0)) - 1) + 1):
        found = _centres(fitted, k, rng)
        silhouette = _silhouette(distances, vq(sample, found)[0])
        if silhouette > best:
            best, centres = silhouette, found
    if len(centres) < 2:
        return (
            label,
            f"one cluster: k-means on mean preference directions found no k in 2..{max_clusters} with a silhouette of {MIN_SILHOUETTE}",
        )
    label[usable] = vq(x[usable] / length[usable, None], centres.astype(np.float32))[0]
    return label, f"k-means on mean preference directions, {len(centres)} clusters, silhouette {best:.2f}"


def _centres(x: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """float64[at most k, d]: the best of several k-means, each started from points far apart (k-means++, Arthur & Vassilvitskii 2007)."""
    from scipy.cluster.vq import kmeans

    tried = []
    for _ in range(STARTS):
        start = x[[rng.integers(len(x))]]
        nearest = np.full(len(x), np.inf)  # squared distance to the nearest of them
        for _ in range(1, k):
            nearest = np.minimum(nearest, np.square(x - start[-1]).sum(1))
            total = np.cumsum(nearest)
            next_one = min(int(np.searchsorted(total, rng.random() * total[-1])), len(x) - 1)
            start = np.concatenate([start, x[[next_one]]])
        tried.append(kmeans(x, start))
    return min(tried, key=lambda result: result[1])[0]


def _silhouette(distances: np.ndarray, label: np.ndarray) -> float:
    """Mean of (b - a) / max(a, b): a point's mean distance to the others of its cluster and to the nearest other cluster (Rousseeuw 1987); 0
    for a point alone in its cluster, and -1 for a single cluster."""
    rows, size = np.arange(len(label)), np.bincount(label)
    if (size > 0).sum() < 2:
        return -1.0
    total = distances @ np.eye(len(size))[label]
    own = total[rows, label] / np.maximum(size[label] - 1, 1)
    mean = np.divide(total, size, out=np.full_like(total, np.inf), where=size > 0)
    mean[rows, label] = np.inf
    other = mean.min(1)
    larger = np.maximum(np.maximum(own, other), 1e-30)
    return float(np.where(size[label] > 1, (other - own) / larger, 0).mean())
