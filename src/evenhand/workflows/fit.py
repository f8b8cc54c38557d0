"""Train a reward model, judge it on held-out users and prompts beside plain and personalised Bradley-Terry, and report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evenhand.audits.broken import broken
from evenhand.audits.changes import compare
from evenhand.audits.deals import Deal, over_deals, undecided, verdicts
from evenhand.audits.examine import examine_model
from evenhand.audits.findings import Change, FairnessReport, FittedConstraints, ModelFindings, TrainingTrace
from evenhand.audits.outcomes import Outcomes
from evenhand.audits.rates import NOTIONS, Notion
from evenhand.audits.verdicts import check_requirements
from evenhand.core import PreferenceData
from evenhand.data.splits import CELLS, TEST, deal, deal_with
from evenhand.encode.minilm import MiniLM
from evenhand.methods.faro import Faro
from evenhand.methods.penalty import Penalty
from evenhand.report import Report
from evenhand.report.audit import report as report_of
from evenhand.serve.reads import what_is_read
from evenhand.serve.reward_model import RewardModel
from evenhand.training.loop import Constrained, Fitted
from evenhand.workflows import hyperparameters
from evenhand.workflows.assignments import Assignment
from evenhand.workflows.audit import Asked, must_be_data, no_test_pairs
from evenhand.workflows.compared import check_constraints
from evenhand.workflows.compared import examined as examined_constraints
from evenhand.workflows.deals import DEALS, in_deals, number_of
from evenhand.workflows.facts import FORMULAS, facts, joined, limits, model_hash, split_digest
from evenhand.workflows.prepare import Encoding, Prepared, Progress, held_out, judged, prepare, silent, stability
from evenhand.workflows.trained import Model, asked, train_models


@dataclass(frozen=True)
class Fit:
    """What `fit` returns: the model, and the report on it and on what it is compared with."""

    model: RewardModel
    report: Report
    kept: str = ""  # where validation chose between models: which, among what, and why

    def save(self, folder: str | Path) -> Path:
        """Write FOLDER/model and the report beside it; returns the path of the HTML report."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.model.save(folder / "model")
        return self.report.save(folder)

    def _repr_html_(self) -> str:
        return self.report._repr_html_()


def fit(
    data: PreferenceData,
    method: str = "auto",
    *,
    settings: Mapping[str, str] | None = None,
    head: str | None = None,
    encoding: Encoding | None = None,
    tune_settings: int = 0,
    certify_share: float = 0.0,
    deals: int | None = None,
    progress: Progress = silent,
    keep: Callable[[RewardModel], object] | None = None,
    say: Callable[[str], None] = lambda note: None,
    **wanted: Any,
) -> Fit:
    """Train `method` (a file of methods/, or "auto") and compare it on test pairs of seen and unseen users.

    auto: plain and personalised Bradley-Terry, the collaborative head and PAFO are trained, and validation chooses the simplest of them
    within one standard error of the best (`training/choosing.py`).
    settings: hyperparameters by name, such as {"alpha": "0.25"}. tune_settings: how many settings of each model to try on validation, 0 = the
    defaults as they are. certify_share: share of the prompts that nothing here looks at, kept for `certify`; 0 keeps none (a split column
    decides by itself). deals: in how many deals of prompts and users, with seeds from `seed` on, to train and judge: verdicts then hold over
    deals; the model and the rest of the report are the first deal's. None = 5 where responses are dealt, as with votes, else 1. keep: is given
    the model as soon as it is trained, before it is judged, so that whatever happens then does not lose it:
    keep=lambda model: model.save("out/model"). say: is told, before training, what cannot be said of these data. Further arguments are the
    fields of `Asked`: grouping, tolerance, require, resamples, seed, simulated, assignments.
    Raises EvenhandError on unknown names, on data without training, validation or test pairs, and before training where users are in fewer
    than two groups and the method works on groups.
    """
    must_be_data(data)
    held_to = Asked(**wanted)
    chosen = asked(method, dict(settings or {}), head)
    encoding = encoding or Encoding(MiniLM())
    shares = deal_with(certify_share)
    whole = data
    data, split = deal(whole, seed=held_to.seed, shares=shares)
    if not split.rows(TEST).any():
        raise no_test_pairs()
    ready = prepare(data, split, encoding, held_to.grouping, seed=held_to.seed, progress=progress, whole=whole)
    held_to.assign(data, Assignment(held_to.seed, ready.groups, ready.support.values))
    ready.check_groups({method: chosen}, say)
    held_to.check(ready.groups)
    held_to = _with_own(held_to, chosen)
    check_constraints(ready, list(dict.fromkeys([*_notions(chosen), *(notion for notion, _ in held_to.constraints)])))
    count = number_of(deals, split.unit, constrained=bool(held_to.constraints), certify_share=certify_share)
    trained = train_models(ready, method, chosen, held_to.seed, tune_settings, progress)
    last = trained.models[-1]
    about = {"method": last.name, "title": last.title, "seed": held_to.seed, "data": data.fingerprint, "split": split_digest(split)}
    shared = {"shares": list(shares)} if certify_share else {}  # `audit` and `certify` deal the same split again
    model = RewardModel(
        encoding.encoder,
        last.ready.feature_map,
        hyperparameters.base(last.method).head,
        last.fitted.scorer,
        encoding.with_prompt,
        about | shared | {"hyperparameters": dict(hyperparameters.hyperparameters(last.method))},
    )
    if keep is not None:
        keep(model)
    progress("audit", 0, 1)
    models = {m.title: m for m in trained.models}
    more = {**_about(last.ready, model), "tuned": _tuned(tune_settings)}
    report = _report(ready, models, trained.traces, held_to, more, trained.kept)
    progress("audit", 1, 1)

    def another(seed: int) -> tuple[Prepared, Sequence[Model]]:
        data, split = deal(whole, seed=seed, shares=shares)
        ready = prepare(data, split, encoding, held_to.grouping, seed=seed, progress=progress, whole=whole)
        return ready, train_models(ready, method, chosen, seed, tune_settings, progress).models

    if count > 1:
        seeds = range(held_to.seed, held_to.seed + count)
        found, names, groups = in_deals(method, ready, trained.models, seeds, another, progress)
        held_to.assign(data, *groups)
        report = report_of(with_deals(report.findings, found, names, split.unit, held_to))
    elif split.unit == "responses" and deals == 1:
        told = undecided(report.findings.requirements, f"leave --deals 1 out, or ask for --deals {DEALS}")
        report = report_of(replace(report.findings, requirements=told))
    return Fit(model, report, trained.kept)


def with_deals(found: FairnessReport, deals: Sequence[Deal], roles: Sequence[str], unit: str, asked: Asked) -> FairnessReport:
    """The first deal's report with what all deals say, and verdicts over them."""
    board, levels, over = over_deals(deals, roles, unit)
    first, last = asked.seed, asked.seed + len(deals) - 1
    told = f"{len(deals)} deals of {unit}, seeds {first} to {last}; verdicts are over all of them, the model and the other panels are the first's"
    return replace(
        found,
        requirements=verdicts(board, levels, asked.require, tolerance=asked.tolerance, seed=asked.seed, flaw=found.flaw),
        deals=over,
        facts={**found.facts, "deals": told},
    )


def _report(
    ready: Prepared, models: Mapping[str, Model], traces: Sequence[TrainingTrace], asked: Asked, more: Mapping[str, str], kept: str
) -> Report:
    """The last of the models beside the others, on the test pairs; it reads the features of `own`, the others those of `ready`."""
    test, where = ready.split.rows(TEST), held_out(ready.split)
    outcomes = {n: judged(m.ready, m.fitted.scorer, ready.counted(test), n, where) for n, m in models.items()}
    *others, name = models
    own, last = models[name].ready, models[name].fitted
    sides = [judged(models[n].ready, models[n].fitted.scorer, test, n, where) for n in (*others[-1:], name)] if asked.constraints else []
    events = None if ready.events is None else ready.events.take(test)
    game = last.constrained
    fitted_to = {n: _game(game, last, ready) for n, _ in asked.constraints if game is not None and n == game.notion}
    before = outcomes[others[-1]] if others else None
    left = joined(ready.data, ready.split.exclusions)

    def examined(some: Outcomes) -> ModelFindings:
        return examine_model(
            some,
            ready.groups,
            ready.support.values,
            ready.support.rule,
            resamples=asked.resamples,
            seed=asked.seed,
            exclusions=ready.data.exclusions,
        )

    def changed(other: str) -> Change:
        return compare(outcomes[other], outcomes[name], ready.groups, resamples=asked.resamples, seed=asked.seed)

    cells = ((cell, ready.counted(ready.split.scored(number))) for number, cell in enumerate(CELLS))
    return report_of(
        FairnessReport(
            title=f"{name} on {ready.data.source}",
            simulated=asked.simulated,
            requirements=check_requirements(
                outcomes[name], ready.groups, asked.require, tolerance=asked.tolerance, before=before, seed=asked.seed
            ),
            model=examined(outcomes[name]),
            others=tuple(examined(outcomes[other]) for other in others),
            changes=tuple(changed(other) for other in reversed(others)),
            cells=tuple(examined(judged(own, last.scorer, rows, name, cell)) for cell, rows in cells if ready.strict(rows).any()),
            training=tuple(traces),
            groups_rule=ready.groups.rule,
            exclusions=left,
            facts=facts(ready.data, asked.seed, {**more, "stability": stability(own, last.scorer, test, asked.seed).sentence}),
            formulas=FORMULAS,
            limits=limits(own.with_prompt),
            command=asked.command,
            constraints=examined_constraints(asked, sides[0] if others else None, sides[-1], events, fitted_to) if sides else (),
            flaw=broken(outcomes[name], ready.groups),
            kept=kept,
        )
    )


def _notions(method: Any) -> list[Notion]:
    """What the method holds to a constraint, or penalises."""
    return [n for n in NOTIONS if n == method.notion.__name__] if isinstance(method, (Faro, Penalty)) else []


def _with_own(asked: Asked, method: Any) -> Asked:
    """A constrained method's own constraint is audited, unless another gamma was asked for."""
    own = [(n, method.gamma) for n in _notions(method) if isinstance(method, Faro) and n not in dict(asked.constraints)]
    return replace(asked, constraints=(*asked.constraints, *own))


def _game(game: Constrained, fitted: Fitted, ready: Prepared) -> FittedConstraints:
    """A constrained fit's record with the constraints' names: which event's rate may not lie above which."""
    names = list(ready.events.names) if ready.events is not None else []
    cells = [f"{name}, label {label}" for name in names for label in (0, 1)] if game.notion == "eo" else names
    rows = game.matrix.tolist()
    told = ["matched sets"] if game.notion == "cf" else [f"{cells[row.index(1.0)]} above {cells[row.index(-1.0)]}" for row in rows]
    best = fitted.trace.best_epoch
    return FittedConstraints(
        tuple(told), tuple(game.valid), tuple(game.train), tuple(map(tuple, game.multipliers)), best, game.feasible(best), game.gamma,
        game.dual, game.player,
    )  # fmt: skip


def _tuned(settings: int) -> str:
    return f"{settings} settings of each model tried on validation" if settings else "defaults, no search"


def _about(ready: Prepared, model: RewardModel) -> dict[str, str]:
    seen, cut, encoder = len(ready.responses.texts), int(ready.responses.cut.sum()), model.encoder
    return {
        "model sha256": model_hash(model.scorer, model.feature_map),
        "encoder": "none" if encoder is None else f"{encoder.name}, fingerprint {encoder.fingerprint[:16]}",
        "features": f"{ready.feature_map.dim} dimensions of {seen:,} distinct responses; the encoder cuts {cut:,} of them",
        "reads": what_is_read(model.with_prompt),
        "hyperparameters": ", ".join(f"{n}={v}" for n, v in model.facts["hyperparameters"].items()),
        "splits": ready.split.rule,
    }
