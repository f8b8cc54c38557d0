"""Published findings on policies in words. Sentences are computed from the numbers, so that they cannot say more than these do."""

from __future__ import annotations

from typing import Any

from evenhand.report.words import NONE, is_clear, number, points

Json = dict[str, Any]
FORMULAS = {
    "Gibbs policy": "pi(y|x) = pi_ref(y|x) exp(r(x, y) / beta) / Z(x), the optimum of E[r] - beta KL(pi || pi_ref)",
    "best of n": "n draws from pi_ref, the highest reward wins, ties split evenly: P(max = v) = F(v)^n - F(v-)^n; exact, not sampled",
    "rate": "mean over a group's prompts of E_pi[event]; every prompt counts once",
    "gap": "largest difference of two groups' rates",
    "kappa": "largest group mean of KL(pi || pi_ref), in nats",
    "bound of the gap": "gap under pi_ref + 2 sqrt(kappa / 2), at most 1 (Pinsker)",
    "KL of best of n": "at most log n - (n - 1)/n (Beirami et al. 2024, arXiv 2401.01879)",
    "e": "half the largest range of r - r' within a prompt: rewards are defined up to a constant per prompt, and the best one is taken",
    "two rewards": "|log pi_r/pi_r'| <= 2 e/beta; TV <= tanh(e/2 beta); J_r(pi_r) - J_r(pi_r') = beta KL(pi_r' || pi_r) <= e^2/2 beta;"
    " gap under pi_r <= gap under pi_r' + 2 tanh(e/2 beta)",
    "interval": "95 %, Student t over prompts (prompts - 1 df, Welch for differences); of the gap and of shifts at once over all pairs of groups",
}  # fmt: skip
HIDDEN = "No gap is shown: fewer than two groups have 10 prompts"
NATURE = "Exact policies over the given candidates, not trained ones."


def setting(policy: Json) -> str:
    """ "the reference policy", "β = 0.1", "best of 4"."""
    if policy["kind"] == "reference":
        return "the reference policy"
    return f"β = {number_of(policy)}" if policy["kind"] == "gibbs" else f"best of {number_of(policy)}"


def number_of(policy: Json) -> str:
    """A setting alone: "0.1", "16", "∞"."""
    value = policy["setting"]
    return "∞" if value is None else f"{value:g}" if policy["kind"] == "gibbs" else f"{int(value):,}"


def evidence(measured: Json, signed: bool = False) -> str:
    """ "(95 % interval 3.1 to 9.3; 48 prompts, 192 candidates)"."""
    ends = f"{points(measured['low'], signed)} to {points(measured['high'], signed)}"
    return f"(95 % interval {ends}; {counted(measured['n_prompts'], measured['n_candidates'])})"


def counted(prompts: int, candidates: int) -> str:
    return f"{prompts:,} prompt{'s' * (prompts != 1)}, {candidates:,} candidate{'s' * (candidates != 1)}"


def sharpest(document: Json) -> Json | None:
    """The policy farthest along: the smallest β, else the largest n. It is fixed before anything is measured."""
    grid = document["gibbs"] or document["best_of"]
    return grid[-1] if grid and grid[-1]["gap"]["value"] is not None else None


def headline(document: Json) -> str:
    """Whether the gap under the sharpest policy is another than under the reference."""
    policy = sharpest(document)
    if policy is None:
        return HIDDEN
    before, after = document["reference"]["gap"]["value"], policy["gap"]["value"]
    where = setting(policy)
    if not is_clear(policy["shift"]):
        return f"At {where} no group moves against another beyond noise"
    if len(document["compared"]) == 2 and policy["most"] == document["reference"]["least"] and is_clear(document["reference"]["gap"]):
        return f"At {where} the gap turns around: {points(after)} points, now for “{policy['most']}”"
    verb = "grows" if after > before else "shrinks"
    return f"At {where} the gap {verb} from {points(before)} to {points(after)} points"


def meaning(document: Json) -> str:
    policy = sharpest(document)
    return f"{HIDDEN}." if policy is None else gap_sentence(document, policy)


def gap_sentence(document: Json, policy: Json) -> str:
    """Who is ahead under a policy, and what the policy has to do with it."""
    gap, shift = policy["gap"], policy["shift"]
    event, where = document["event"], setting(policy)
    if gap["value"] is None:
        return f"{HIDDEN}."
    if not policy["most"] or gap["value"] < 0.0005:
        return f"At {where} “{event}” is equally frequent in all groups {evidence(gap)}."
    ahead = f"At {where} “{event}” is {points(gap['value'])} points more frequent for “{policy['most']}” than for “{policy['least']}”"
    noise = "" if is_clear(gap) else ", within noise"
    if policy["kind"] == "reference":
        return f"{ahead} {evidence(gap)}{noise}."
    moved = "a shift beyond noise" if is_clear(shift) else "a shift within noise"
    return f"{ahead} {evidence(gap)}{noise}; under the reference policy it was {points(gap['value'] - shift['value'], True)}, {moved}."


def widest(document: Json, kind: str) -> str:
    """The setting with the largest gap, and how the bound compares there."""
    known = [p for p in document[kind] if p["gap"]["value"] is not None]
    if not known:
        return ""
    p = max(known, key=lambda p: p["gap"]["value"])
    allowed = "the bound says nothing there" if p["bound"] >= 1 else f"the bound there is {points(p['bound'])}"
    return f"The largest gap is {points(p['gap']['value'])} points, at {setting(p)}; {allowed}."


def rate_sentence(document: Json, kind: str) -> str:
    """How each end of the grid stands, for the group that is most often and the one that is least often concerned at the sharp end."""
    grid = document[kind]
    end = grid[-1]
    if not end["most"]:
        return f"{HIDDEN}."
    start = {r["group"]: r for r in document["reference"]["rates"]}
    parts = []
    for name in (end["most"], end["least"]):
        rate = next(r for r in end["rates"] if r["group"] == name)
        parts.append(f"from {points(start[name]['value'])} to {points(rate['value'])} % for “{name}”")
    return f"From the reference to {setting(end)}, “{document['event']}” goes {' and '.join(parts)} ({counted(end['gap']['n_prompts'], end['gap']['n_candidates'])})."


def versus_sentence(document: Json) -> str:
    """The two rewards at the β where their policies lie farthest apart, and how far they might."""
    if document["versus"][-1]["distance"] is None:
        return f"{HIDDEN}."
    v = max(document["versus"], key=lambda v: v["distance"])
    return (
        f"The two rewards differ by at most {number(document['epsilon'], 3)} within a prompt, up to a constant; their policies are farthest apart at β = {v['beta']:g}, "
        f"by {number(v['distance'], 3)} in total variation, and could be by {number(v['distance_bound'], 3)} "
        f"({counted(document['n_prompts'], document['n_candidates'])})."
    )


def summary(document: Json) -> str:
    """What was looked at, in one paragraph."""
    parts = [f"{counted(document['n_prompts'], document['n_candidates'])} in {len(document['groups'])} groups."]
    hidden = len(document["groups"]) - len(document["compared"])
    if hidden:
        parts.append(f"{hidden} group{'s' * (hidden != 1)} of fewer than 10 prompts {'are' if hidden != 1 else 'is'} not compared.")
    if document["single"]:
        n = document["single"]
        parts.append(
            f"{n:,} prompt{'s have' if n != 1 else ' has'} one candidate: no policy can change anything there, which keeps all gaps near the reference’s."
        )
    return " ".join([*parts, NATURE])


def bound_note(policy: Json) -> str:
    """Whether the bound says anything."""
    if policy["bound"] is None:
        return NONE
    return "100.0 (says nothing)" if policy["bound"] >= 1 else points(policy["bound"])
