"""Clusters of users by what they prefer, for support where users share no pairs (S2)."""

from __future__ import annotations

import numpy as np

MAX_CLUSTERS = 8
MIN_SILHOUETTE = 0.1  # below this k-means has cut one cloud into pieces: no clusters are claimed
SILHOUETTE_SAMPLE = 2_000  # users; the silhouette is quadratic in them


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
    from sklearn.cluster import MiniBatchKMeans  # lazily: scikit-learn takes a second to import
    from sklearn.metrics import silhouette_score

    x = np.asarray(directions, dtype=np.float32)
    length = np.linalg.norm(x, axis=1)
    usable = np.isfinite(length) & (length > 0)
    label = np.where(usable, 0, -1).astype(np.int64)
    pool = np.ones(len(x), dtype=bool) if pool is None else pool
    ours, others = np.flatnonzero(usable & pool), np.flatnonzero(usable & ~pool)
    unit = x[ours] / length[ours, None]
    sample = np.sort(np.random.default_rng(seed).permutation(len(unit))[:SILHOUETTE_SAMPLE])
    best, clusters = MIN_SILHOUETTE, 1
    for k in range(2, min(max_clusters, len(np.unique(unit[sample], axis=0)) - 1) + 1):
        kmeans = MiniBatchKMeans(k, batch_size=4096, n_init=5, random_state=seed)
        labels = kmeans.fit_predict(unit)
        if len(np.unique(labels[sample])) < 2:
            continue
        silhouette = float(silhouette_score(unit[sample], labels[sample]))
        if silhouette > best:
            best, clusters = silhouette, k
            label[ours] = labels
            if len(others):
                label[others] = kmeans.predict(x[others] / length[others, None])
    if clusters == 1:
        return (
            label,
            f"one cluster: k-means on mean preference directions found no k in 2..{max_clusters} with a silhouette of {MIN_SILHOUETTE}",
        )
    return label, f"k-means on mean preference directions, {clusters} clusters, silhouette {best:.2f}"
