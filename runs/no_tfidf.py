"""What a model without TF-IDF loses, which is what an exported one cannot have: the same fits with and without it, on the built-in sample.

Personalised Bradley-Terry on the embedded encoder; each seed draws users, deals prompts and users, and fits anew, both kinds on the same pairs. A
difference is that of the two accuracies in one seed; its error that of the mean over seeds.

    python runs/no_tfidf.py --seeds 5
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from scipy import stats

import evenhand
from evenhand.data.simulate import write_sample
from evenhand.encode.minilm import MiniLM
from evenhand.workflows.encoding import Encoding

USERS, MINORITY = 400, 0.25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--method", default="bradley_terry")
    args = parser.parse_args()
    found: dict[str, list[list[float]]] = {}
    for seed in range(args.seeds):
        with tempfile.TemporaryDirectory() as place:
            table = write_sample(Path(place) / "choices.jsonl", seed=seed, users=USERS, minority=MINORITY)
            data = evenhand.load(table, attributes=("taste",))
        pair = []
        for tfidf in (True, False):
            told = evenhand.fit(
                data, args.method, group_by="taste", encoding=Encoding(MiniLM(), tfidf=tfidf), seed=seed, resamples=20
            ).to_dict()
            model = told["model"]
            pair.append({g["group"]: g["accuracy"]["value"] for g in model["groups"]} | {"all users": model["overall"]["value"]})
        for name in pair[0]:
            found.setdefault(name, []).append([100 * pair[0][name], 100 * pair[1][name]])
        print(f"seed {seed}: {found}", flush=True)
    print("| users | with TF-IDF | without | difference (95 %) |\n| --- | --- | --- | --- |")
    for name, values in found.items():
        both = np.array(values)
        change = both[:, 1] - both[:, 0]
        half = stats.t.ppf(0.975, len(change) - 1) * change.std(ddof=1) / len(change) ** 0.5
        print(
            f"| {name} | {both[:, 0].mean():.1f} % | {both[:, 1].mean():.1f} % | {change.mean():+.1f} points ({change.mean() - half:+.1f} to {change.mean() + half:+.1f}) |"
        )


if __name__ == "__main__":
    main()
