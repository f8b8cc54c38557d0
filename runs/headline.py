"""What the studies say: a paragraph each for docs/results.md, and the one table of README. Numbers come from runs/results/*.json alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import t

GROUPS = ("majority", "minority")


@dataclass(frozen=True)
class Interval:
    """A number with the interval that `unit` names: what was drawn."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{round(self.value, 1) + 0.0:+.1f} [{self.low:+.1f}, {self.high:+.1f}]"


def over_runs(values: list[float]) -> Interval:
    """Mean of one number a run, 95 % t interval: the run as the unit."""
    mean, half = float(np.mean(values)), float(t.ppf(0.975, len(values) - 1)) * float(np.std(values, ddof=1)) / len(values) ** 0.5
    return Interval(mean, mean - half, mean + half)


def difference(dsp_compare: dict, subject: str, other: str, cell: str = "test") -> list[Interval]:
    """Subject minus other by group, in points; simultaneous over all pairwise comparisons of the study."""
    pair = next(p for p in dsp_compare["cells"][cell]["pairwise"] if {p["first"], p["second"]} == {subject, other})
    sign = 100 if pair["first"] == subject else -100
    bounds = [sorted((sign * e["low"], sign * e["high"])) for e in pair["differences"]]
    return [Interval(sign * e["value"], *b) for e, b in zip(pair["differences"], bounds)]


def level(dsp_compare: dict, entry: str, cell: str = "test") -> str:
    return " and ".join(f"{100 * e['value']:.1f}" for e in dsp_compare["cells"][cell]["levels"][entry][:2])


def by_deal(no_harm: dict, kept: str, baseline: str) -> list[Interval]:
    return [over_runs([deal["minus"][kept][baseline][g][0] for deal in no_harm["deals"]]) for g in (0, 1)]


def voted(voters: dict, name: str = "polis") -> list[dict]:
    return [s for s in voters["studies"] if "entries" in s and s["name"].startswith(name) and s["groups"][0] == "majority"]


def gain(study: dict) -> list[Interval]:
    """Collaborative minus one reward for all, by group, in points; raters, items and deals drawn."""
    minus = study["plain_minus"]["collaborative"]["all"]
    return [Interval(-100 * e["value"], -100 * e["high"], -100 * e["low"]) for e in minus]


def ahead(voters: dict) -> tuple[int, int, int]:
    """Conversations where collaborative is ahead of one reward for all, behind it, and all of them, by verdicts on intervals."""
    verdicts = [s["plain_minus"]["collaborative"]["verdict"] for s in voted(voters)]
    return sum(v.startswith("is dominated") for v in verdicts), sum(v.startswith("dominates") for v in verdicts), len(verdicts)


def table(found: dict[str, dict]) -> str:
    """The table of README and of docs/results.md."""
    compare, harm, voters, dsp = found["dsp_compare"], found["no_harm"], found["voters"], found["dsp"]
    runs, deals = f"{compare['runs']} runs x {compare['users']} users", f"{len(harm['deals'])} small deals"
    chosen = dsp["chosen on validation"]
    ridge = [over_runs(dsp["models"][chosen]["test"][g]["gain_by_run"]) for g in GROUPS]
    up, down, of = ahead(voters)
    conversations = [over_runs([gain(s)[g].value for s in voted(voters)]) for g in (0, 1)]
    rows = [
        ("Simulated tastes over real responses (DSP)", "personalised (LoRe) minus one reward for all", difference(compare, "lore", "one reward for all (BT)"), runs),
        ("", "PAFO on LoRe's head minus LoRe", difference(compare, "pafo on lore", "lore"), runs),
        ("", "self-distillation on LoRe's head (chosen on validation) minus LoRe", difference(compare, "self-distillation on lore", "lore"), runs),
        ("", "PAFO on the ridge head minus personalised Bradley-Terry on it", ridge, f"{len(dsp['runs'])} runs x {dsp['users']} users"),
        ("Four kinds of data", "what `fit` keeps minus one reward for all", by_deal(harm, "auto", "plain"), deals),
        ("", "what `fit` keeps minus personalised Bradley-Terry", by_deal(harm, "auto", "personalised"), deals),
        (f"Votes: {of} Polis conversations", "`collaborative` minus one reward for all", conversations, f"ahead in {up}, behind in {down}, undecided in {of - up - down}"),
        ("Raters of hate speech (CREHate)", "`collaborative` minus one reward for all", gain(voted(voters, "crehate")[0]), f"{voters['deals']} deals"),
    ]  # fmt: skip
    lines = ["| data | test accuracy of | majority, points | minority, points | over |", "|---|---|---|---|---|"]
    return "\n".join([*lines, *(f"| {data} | {what} | {a} | {b} | {drawn} |" for data, what, (a, b), drawn in rows)])


def dsp(found: dict) -> str:
    chosen = found["chosen on validation"]
    gains = [over_runs(found["models"][chosen]["test"][g]["gain_by_run"]) for g in GROUPS]
    over = [over_runs(found["over"]["self-distillation"]["test"][g]["by_run"]) for g in GROUPS]
    return (
        f"{len(found['runs'])} runs of {found['users']} simulated users, one of four domains the rare taste, ridge head. The setting that validation chose ({chosen}) "
        f"gains {gains[0]} points for the majority and {gains[1]} for the minority over personalised Bradley-Terry (run as the unit); over self-distillation {over[0]} and {over[1]}: a trade."
    )


def dsp_compare(found: dict) -> str:
    best = found["front"]["chosen"]
    over = difference(found, best, "pafo on lore")
    return (
        f"{len(found['entries'])} entries, each with {found['budget']} settings tried on validation pairs, {found['runs']} runs. One reward for all orders {level(found, 'one reward for all (BT)')} % of the majority's "
        f"and the minority's pairs, LoRe {level(found, 'lore')}, PAFO on LoRe's head {level(found, 'pafo on lore')}, and {best}, which validation chose, {level(found, best)}; {best} minus PAFO: {over[0]} and {over[1]}. "
        f"Personalisation is the gain; with the run as the unit nothing tells the best three apart. P-RLHF, which knows users by number, falls to {level(found, 'p_rlhf', 'new28')} on users it never saw."
    )


def dsp_experiments(found: dict) -> str:
    gaps = {name: over_runs(found["gap"][name]["test"]["gap_by_run"]) for name in ("PAFO", "personalised BT")}
    both = found["states"]["probe"]["PAFO"]["both"]
    return (
        f"What lies around that table: the gap between the groups with the run as the unit is {gaps['PAFO']} points under PAFO and {gaps['personalised BT']} under personalised Bradley-Terry, so with four runs no gap is shown to "
        f"close; accuracy by support, by size of the minority and by length of the history; ablations; and what a user's state betrays: a linear probe guesses the group right in {both['value']:.1f} % of unseen users."
    )


def tuned(study: dict, one: str, other: str, cell: str = "test") -> list[Interval]:
    """One model minus another by group, the run as the unit; none where they were not trained on two runs at least."""
    pair = [d for d in study["differences"] if (d["one"], d["other"]) == (one, other) and len(d["runs"]) > 1]
    return [over_runs(pair[0]["cells"][cell][g]["by_run"]) for g in GROUPS] if pair else []


def backbone(found: dict) -> str:
    study, where = (
        found["minilm"],
        {
            "frozen features": "frozen",
            "tuned features, heads anew": "tuned ones",
            "backbone tuned along": "teachers and student as adapters",
        },
    )
    gain = tuned(study, "backbone tuned along: personalised BT", "frozen features: personalised BT")
    over = {told: tuned(study, f"{place}: PAFO a0", f"{place}: self-distillation a0") for place, told in where.items()}
    runs = {told: next(len(d["runs"]) for d in study["differences"] if d["one"] == f"{place}: PAFO a0") for place, told in where.items()}
    return (
        f"MiniLM under LoRA, 16 steps, {len(study['trainings']['tuned'])} runs: {gain[0]} points for the majority and {gain[1]} for the minority over the same head on frozen features, the run as the unit. "
        "PAFO minus self-distillation of the same balance: "
        + ", ".join(f"{told} ({runs[told]} runs) {a} and {b}" for told, (a, b) in over.items())
        + "."
    )


def no_harm(found: dict) -> str:
    plain, personal = by_deal(found, "auto", "plain"), by_deal(found, "auto", "personalised")
    return (
        f"{len(found['deals'])} small deals of four kinds of data, the deal as the unit. What `fit` keeps unless a method is named gains {plain[0]} points for the majority and {plain[1]} for the minority over one reward for all, "
        f"and is level with personalised Bradley-Terry ({personal[0]} and {personal[1]}). Part of its rule was chosen with these deals in view, which flatters it a little. `collaborative` alone was worse than one reward in some deals beyond noise."
    )


def voters(found: dict) -> str:
    up, down, of = ahead(found)
    values = [g.value for s in voted(found) for g in gain(s)]
    left_out = sum("left_out" in s for s in found["studies"])
    return (
        f"Votes on statements and judgements of posts by real people, {found['deals']} deals each. `collaborative` is ahead of one reward for all in {up} of {of} Polis conversations, behind in {down}, and undecided in {of - up - down}, with estimates from "
        f"{min(values):+.1f} to {max(values):+.1f} points; on CREHate nothing is decided. {left_out} sets were left out, with the reason."
    )


def faro_crehate(found: dict) -> str:
    entries = {e["name"]: e for e in found["mentions"]["entries"]}
    names = {"Faro-DP": "dp", "Faro-EO": "eo", "penalty DP": "dp"}
    cost = {name: Interval(*(100 * v for v in entries[name]["change"]["accuracy"])) for name in names}
    share = {name: "{:.2f} [{:.2f}, {:.2f}]".format(*entries[name]["share"][f"{k} soft pooled"]) for name, k in names.items()}
    ece = [entries[name]["ece"][0] for name in ("penalty DP", "Faro-DP")]
    groups = {study: next(e for e in found[study]["entries"] if e["name"] == "Faro-EO") for study in ("nationality", "ethnicity")}
    left = " and ".join("{:.2f} [{:.2f}, {:.2f}]".format(*e["share"]["eo soft pooled"]) for e in groups.values())
    return (
        f"Identities that posts mention, {found['mentions']['seeds']} seeds. Constrained to demographic parity, a share of {share['Faro-DP']} of the violation is left on held-out posts at {cost['Faro-DP']} points of accuracy; with equalized odds "
        f"{share['Faro-EO']} at {cost['Faro-EO']}. A fixed penalty leaves {share['penalty DP']} at {cost['penalty DP']} and pays in calibration (ECE {ece[0]:.3f} against {ece[1]:.3f}). Between groups of raters (nationality, ethnicity) equalized odds leaves {left} of the violation: little changes, or nothing."
    )


def faro_bbq(found: dict) -> str:
    best = max(e["bbq"]["accuracy_disambiguated"][0] for e in found["entries"])
    return (
        f"**Says nothing about bias.** A linear head on frozen sentence vectors answers at most {100 * best:.1f} % of the disambiguated questions, so that it cannot tell the persons apart and small gaps are no merit. "
        "What is shown is that every entry runs on the benchmark, and at which cost."
    )


def reads(found: dict) -> str:
    whole = found["studies"]["DSP"]["readings"]["response, chunked"]
    gains = [Interval(*(whole[g]["difference"][k] for k in ("value", "low", "high"))) for g in GROUPS]
    runs = [over_runs(whole[g]["by_run"]) for g in GROUPS]
    answers = np.mean([run["prompt and response together, chunked"] for run in found["which answers"]])
    return (
        f"Reading a response whole instead of its first 256 tokens gains {gains[0]} and {gains[1]} points on DSP by user, {runs[0]} and {runs[1]} by run. Reading the prompt too moves accuracy by about a point, up or down by data set; "
        f"but which of two responses answers the query, a reward of both tells in {answers:.0f} % of pairs, and one of the response alone in 50."
    )


def benchmarks(found: dict) -> str:
    return f"What `make bench` printed last: {len(found)} benchmarks of speed, memory, coverage of intervals and false verdicts."


def loop(found: dict) -> str:
    gaps, fits = found["policies"]["gaps"], found["fits"]
    first, *others = fits
    hard = {name: 100 * f["violations"]["hard"]["value"] for name, f in fits.items()}
    best = {name: 100 * g["best of 8"]["value"] for name, g in gaps.items()}
    held = "; ".join(f"{name} {hard[name]:.0f} on pairs, {best[name]:.0f} in texts" for name in fits)
    kept = [best[name] / best[first] for name in others]
    return (
        f"A whole loop, from simulated choices over rewards to the best of 8 texts of SmolLM2 for every user. Gap between the tastes in how often the longer answer wins, in points, by the reward's decisions on held-out pairs of the choices and in the texts that are picked: "
        f"{held}. Under the constraints {100 * min(kept):.0f} to {100 * max(kept):.0f} % of the unconstrained policy's gap is left."
    )
