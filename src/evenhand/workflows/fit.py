"""Train a reward model, judge it on held-out users and prompts beside plain and personalised Bradley-Terry, and report."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenhand import ranks
from evenhand.audits.broken import broken
from evenhand.audits.changes import compare
from evenhand.audits.deals import Deal, over_deals, undecided, verdicts
from evenhand.audits.examine import examine_model
from evenhand.audits.findings import Change, FairnessReport, FittedConstraints, ModelFindings, TrainingTrace
from evenhand.audits.outcomes import Outcomes
from evenhand.audits.rates import cells
from evenhand.audits.verdicts import check_requirements
from evenhand.core import Head, Method, Notion, PreferenceData, TrainableScorer
from evenhand.data.splits import CELLS, TEST, deal, deal_with
from evenhand.encode.adapter import Adapter
from evenhand.encode.backbone import Backbone
from evenhand.encode.backbone_encoder import BackboneEncoder, language_model
from evenhand.encode.encoder import TextEncoder
from evenhand.engines import Engine
from evenhand.engines.asked import asked as engine_asked
from evenhand.engines.asked import unheard
from evenhand.engines.here import InProcess
from evenhand.parts import sources
from evenhand.report import Report
from evenhand.report.audit import report as report_of
from evenhand.serve.reads import what_is_read
from evenhand.serve.reward_model import RewardModel
from evenhand.training.checkpoint import checkpointing
from evenhand.training.traces import Constrained, Fitted
from evenhand.training.tuned import Tuned
from evenhand.workflows import hyperparameters
from evenhand.workflows.assignments import Assignment
from evenhand.workflows.audit import no_test_pairs
from evenhand.workflows.cards import save_card
from evenhand.workflows.deals import DEALS, in_deals, number_of
from evenhand.workflows.encoding import Encoding, check_heads, encoding_of
from evenhand.workflows.events import check_constraints
from evenhand.workflows.events import examined as examined_constraints
from evenhand.workflows.examples import ShowExamples
from evenhand.workflows.facts import data_digest, facts, joined, limits, model_hash, split_digest
from evenhand.workflows.given import Constraints, GroupBy, Metrics, all_metrics, constraints_of, grouping_of, read, several
from evenhand.workflows.prepare import Prepared, held_out, judged, prepare, stability
from evenhand.workflows.progress import Progress, Told, shown
from evenhand.workflows.settings import AuditSettings
from evenhand.workflows.tracking import Tracker, Tracking, figures_of_audit, tracking
from evenhand.workflows.trained import Auto, Model, Trained, asked, called, train_models
from evenhand.workflows.trials import describe, gamma_of, notion_of

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, repr=False)
class Fit:
    """What `fit` returns: the model, and the report on it and on what it is compared with."""

    model: RewardModel
    report: Report
    kept: str = ""  # where validation chose between models: which, among what, and why

    def save(self, folder: str | Path) -> Path:
        """Write FOLDER/model, and beside it the report and a model card; returns the path of the HTML report."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.model.save(folder / "model")
        save_card(folder, self.model, self.report.document)
        return self.report.save(folder)

    def to_dict(self) -> dict[str, Any]:
        """The report's: what report.json holds."""
        return self.report.to_dict()

    def to_frame(self, table: str = "") -> DataFrame:
        """The report's: rows of one of its CSV files (see `Report.to_frame`)."""
        return self.report.to_frame(table)

    def __repr__(self) -> str:
        return f"{self.model}\n{self.report}"

    def _repr_html_(self) -> str:
        return self.report._repr_html_()


def fit(
    data: Any,
    method: str | Method | type[Method] = "auto",
    *,
    head: str | Head | type[Head] | None = None,
    settings: Mapping[str, Any] | None = None,
    tune: int = 0,
    group_by: GroupBy = None,
    tolerance: float = 0.05,
    require: Sequence[str] = (),
    constraints: Constraints = (),
    metrics: Metrics = (),
    encoding: Encoding | None = None,
    backbone: str | Path | Backbone | None = None,
    certify_share: float = 0.0,
    deals: int | None = None,
    name: str = "",
    title: str = "",
    note: str = "",
    simulated: bool = False,
    assignments: str | Path | None = None,
    show_examples: ShowExamples | None = None,
    resamples: int = 1000,
    seed: int = 0,
    command: str = "",
    progress: Progress | None = None,
    checkpoint: str | Path | None = None,
    track: str | Tracker | None = None,
    engine: str | Engine = "here",
    address: str | None = None,
    keep: Callable[[RewardModel], object] | None = None,
    say: Callable[[str], None] = lambda note: None,
) -> Fit:
    """Train a reward model and compare it, on test pairs of seen and unseen users, with one reward for all and personalised Bradley-Terry.

        evenhand.fit("choices.jsonl", "pafo", settings={"alpha": 0.25}, group_by="country").save("out")
        evenhand.fit(data, Pafo(alpha=0.25))

    Parameters that `audit` has, too, mean the same here.

    Args:
        method: auto lets validation choose among bradley_terry, lore, collaborative and pafo; or name one, or group_dro, vpl, …; or one from outside: ./FILE.py:NAME.
        head: How a user enters the reward of the method named: lore (default), low_rank, attention, linear, …; or one from outside: ./FILE.py:NAME.
        settings: Hyperparameters, such as alpha=0.25.
        tune: Settings of each model to try on validation, at most 8; 0 = the defaults.
        encoding: how texts become features; None is the embedded encoder with TF-IDF beside it.
        backbone: A language model that trains along, in the encoder's place: minilm, smollm2, or a folder of transformers.
        certify_share: Share of the prompts that nothing looks at, kept for `evenhand certify`; 0.25 is usual.
        deals: Deals of prompts and users to train and judge in: verdicts hold over deals. Default: 5 for votes, else 1.
        checkpoint: Folder in which a backbone's training is kept every ten minutes: the same fit goes on from there after a kill, bit by bit.
        track: Where curves and figures go: mlflow:FOLDER, tensorboard:FOLDER or wandb:FOLDER (offline).
        engine: Where texts are encoded: here (in this process) or ray (by a Ray cluster; extra ray). Training stays here; address as in `compare`.
        keep: is given the model as soon as it is trained, before it is judged, so that whatever happens then does not lose it:
            keep=lambda model: model.save("out/model").
        say: is told, before training, what cannot be said of these data.

    Under torchrun its processes share the passes of a language model, and all of them return the same.
    With several deals, of seeds from `seed` on, the model and all of the report but its verdicts are the first deal's.
    Raises EvenhandError on unknown names, on data without training, validation or test pairs, and before training where users are in fewer
    than two groups and the method works on groups.
    """
    grouping = grouping_of(group_by)
    data = read(data, attributes=grouping.attributes)
    audit_settings = AuditSettings(
        grouping, tolerance, several(require), resamples, seed, simulated, command, constraints_of(constraints), assignments,
        all_metrics(metrics), name, title, note, show_examples,
    )  # fmt: skip
    if show_examples is not None:
        show_examples.check(data)
    encoded = encoding_of(encoding, backbone, data)
    chosen = asked(method, dict(settings or {}), head, encoded.told)
    check_heads(encoded, dict(chosen.methods) if isinstance(chosen, Auto) else {called(method): chosen})
    numbers = (seed, tune, certify_share, deals)

    def about() -> dict[str, str]:
        return {"verb": "fit", "source": data.source, "command": command, **identity(data, chosen, encoded, numbers)}

    if (engine != "here" or address is not None) and (encoded.encoder is None or ranks.count() > 1):
        given = "features without an encoder" if encoded.encoder is None else "processes of torchrun, which encode themselves"
        raise unheard(given, "an encoder in one process, whose texts workers read")

    with (
        ranks.together(), shown(progress) as told, tracking(track, about, say) as tracked,
        surviving(checkpoint, data, chosen, encoded, numbers, say), engine_asked(engine, address, InProcess()) as works,
    ):  # fmt: skip
        encodes = None if engine == "here" else works
        found = _fit(data, chosen, audit_settings, encoded, tune, certify_share, deals, told, tracked, keep, say, called(method), encodes)
        tracked.finish(found.report, figures_of_audit)
        return found


def surviving(
    folder: str | Path | None,
    data: PreferenceData,
    method: Any,
    encoding: Encoding,
    numbers: Sequence[float | None],
    say: Callable[[str], None],
) -> AbstractContextManager[None]:
    """Inside, trainings on texts leave checkpoints in the folder, and go on from those of the same fit."""
    if folder is None:
        return nullcontext()
    return checkpointing(folder, identity=identity(data, method, encoding, numbers), say=say)


def identity(data: PreferenceData, method: Any, encoding: Encoding, numbers: Sequence[float | None]) -> dict[str, str]:
    """What a fit is, by name, the same in every process: a function's `repr` has its address."""
    read, backbone = encoding.encoder, dict[str, Any]()
    if isinstance(read, BackboneEncoder):  # each setting by its name, so that a refusal says which one is another
        told = asdict(replace(read.backbone, persona=None))
        backbone = told.pop("tuning") | told | {"persona": sources(read.backbone.persona)}
    features = {"with_prompt": encoding.with_prompt, "tfidf": encoding.tfidf, "dim": encoding.dim, "trained": encoding.trained}
    named = dict(zip(("seed", "tune", "certify_share", "deals"), numbers, strict=True))
    return {
        "data": data_digest(data)[:32],
        "method": json.dumps([describe(m) for _, m in method.methods] if isinstance(method, Auto) else describe(method)),
        **{name: str(value) for name, value in (backbone | features | named).items()},
    }


def _fit(
    whole: PreferenceData, chosen: Method, audit_settings: AuditSettings, encoding: Encoding, tune: int, certify_share: float, deals: int | None,
    progress: Told, tracked: Tracking, keep: Callable[[RewardModel], object] | None, say: Callable[[str], None], method: str,
    encodes: Engine | None,
) -> Fit:  # fmt: skip
    """method: what the method is called. encodes: whose workers encode texts; None = this process."""
    ranks.same("data and settings", f"{whole.fingerprint} {method} {audit_settings.seed} {tune} {deals} {certify_share}")
    shares = deal_with(certify_share)
    data, split = deal(whole, seed=audit_settings.seed, shares=shares)
    if not split.rows(TEST).any():
        raise no_test_pairs()
    ready = prepare(
        data, split, encoding, audit_settings.grouping, seed=audit_settings.seed, progress=progress, whole=whole, engine=encodes
    )
    audit_settings.assign(data.users, Assignment(audit_settings.seed, ready.groups, ready.support.values))
    ready.check_groups({method: chosen}, say)
    audit_settings.check(ready.groups)
    audit_settings = _with_own(audit_settings, chosen)
    check_constraints(ready, list(dict.fromkeys(n for n in (notion_of(chosen), *dict(audit_settings.constraints)) if n is not None)))
    count = number_of(deals, split.unit, constrained=bool(audit_settings.constraints), certify_share=certify_share)
    trained = _named(train_models(ready, method, chosen, audit_settings.seed, tune, progress, tracked), audit_settings.name)
    last = trained.models[-1]
    about = {"method": last.name, "title": last.title, "seed": audit_settings.seed, "data": data.fingerprint, "split": split_digest(split)}
    shared = {"shares": list(shares)} if certify_share else {}  # `audit` and `certify` deal the same split again
    encoder, scorer = settled(encoding.encoder, last.fitted.scorer)
    model = RewardModel(
        encoder,
        last.ready.feature_map,
        hyperparameters.base(last.method).head,
        scorer,
        last.ready.with_prompt,
        about
        | shared
        | language_model(encoder, isinstance(last.fitted.scorer, Tuned))
        | {"hyperparameters": dict(hyperparameters.hyperparameters(last.method))},
    )
    if keep is not None:
        keep(model)
    ranks.same("trained model", f"{model_hash(scorer, last.ready.feature_map)} {'' if encoder is None else encoder.fingerprint}")
    progress("audit", 0, 1)
    models = {m.title: m for m in trained.models}
    stable = stability(last.ready, last.fitted.scorer, ready.split.rows(TEST), audit_settings.seed, encoder).sentence
    more = {**_about(last.ready, model), "tuned": _tuned(tune), "stability": stable}
    report = _report(ready, models, trained.traces, audit_settings, more, trained.kept)
    progress("audit", 1, 1)

    def another(seed: int) -> tuple[Prepared, Sequence[Model]]:
        data, split = deal(whole, seed=seed, shares=shares)
        ready = prepare(data, split, encoding, audit_settings.grouping, seed=seed, progress=progress, whole=whole, engine=encodes)
        return ready, _named(train_models(ready, method, chosen, seed, tune, progress), audit_settings.name).models

    if count > 1:
        seeds = range(audit_settings.seed, audit_settings.seed + count)
        found, names, groups = in_deals(method, ready, trained.models, seeds, another, progress)
        audit_settings.assign(data.users, *groups)
        report = report_of(with_deals(report.findings, found, names, split.unit, audit_settings))
    elif split.unit == "responses" and deals == 1:
        told = undecided(report.findings.requirements, f"leave --deals 1 out, or ask for --deals {DEALS}")
        report = report_of(replace(report.findings, requirements=told))
    return Fit(model, report, trained.kept)


def settled(encoder: TextEncoder | None, scorer: TrainableScorer) -> tuple[TextEncoder | None, TrainableScorer]:
    """The encoder and the head that stand for a trained scorer: where features trained along, the encoder wears their adapter."""
    if not isinstance(scorer, Tuned):
        return encoder, scorer
    assert isinstance(encoder, BackboneEncoder)
    assert isinstance(scorer.adapter, Adapter)
    return replace(encoder, adapter=scorer.adapter), scorer.head


def _named(trained: Trained, name: str) -> Trained:
    """The model that is kept under the caller's name for it, if there is one."""
    *others, last = trained.models
    return replace(trained, models=(*others, replace(last, title=name))) if name else trained


def with_deals(found: FairnessReport, deals: Sequence[Deal], roles: Sequence[str], unit: str, settings: AuditSettings) -> FairnessReport:
    """The first deal's report with what all deals say, and verdicts over them."""
    board, levels, over = over_deals(deals, roles, unit)
    first, last = settings.seed, settings.seed + len(deals) - 1
    told = f"{len(deals)} deals of {unit}, seeds {first} to {last}; verdicts are over all of them, the model and the other panels are the first's"
    return replace(
        found,
        requirements=verdicts(board, levels, settings.require, tolerance=settings.tolerance, seed=settings.seed, flaw=found.flaw),
        deals=over,
        facts={**found.facts, "deals": told},
    )


def _report(
    ready: Prepared,
    models: Mapping[str, Model],
    traces: Sequence[TrainingTrace],
    settings: AuditSettings,
    more: Mapping[str, str],
    kept: str,
) -> Report:
    """The last of the models beside the others, on the test pairs; it reads the features of `own`, the others those of `ready`."""
    test, where = ready.split.rows(TEST), held_out(ready.split)
    outcomes = {n: judged(m.ready, m.fitted.scorer, ready.counted(test), n, where) for n, m in models.items()}
    *others, name = models
    own, last = models[name].ready, models[name].fitted
    sides = [judged(models[n].ready, models[n].fitted.scorer, test, n, where) for n in (*others[-1:], name)] if settings.constraints else []
    events = None if ready.events is None else ready.events.take(test)
    game = last.constrained
    fitted_to = {n: _game(n, game, last, ready) for n, _ in settings.constraints if game is not None and n == game.notion}
    before = outcomes[others[-1]] if others else None
    left = joined(ready.data, ready.split.exclusions)

    def examined(some: Outcomes) -> ModelFindings:
        return examine_model(
            some,
            ready.groups,
            ready.support.values,
            ready.support.rule,
            resamples=settings.resamples,
            seed=settings.seed,
            exclusions=ready.data.exclusions,
            metrics=settings.metrics,
        )

    def changed(other: str) -> Change:
        return compare(outcomes[other], outcomes[name], ready.groups, resamples=settings.resamples, seed=settings.seed)

    found = examined(outcomes[name])
    settings.show(ready.data, outcomes[name], ready.groups, ready.support, found)
    cells = ((cell, ready.counted(ready.split.scored(number))) for number, cell in enumerate(CELLS))
    return report_of(
        FairnessReport(
            title=settings.title or f"{name} on {ready.data.source}",
            note=settings.note,
            simulated=settings.simulated,
            requirements=check_requirements(
                outcomes[name], ready.groups, settings.require, tolerance=settings.tolerance, before=before, seed=settings.seed
            ),
            model=found,
            others=tuple(examined(outcomes[other]) for other in others),
            changes=tuple(changed(other) for other in reversed(others)),
            cells=tuple(examined(judged(own, last.scorer, rows, name, cell)) for cell, rows in cells if ready.strict(rows).any()),
            training=tuple(traces),
            groups_rule=ready.groups.rule,
            exclusions=left,
            facts=facts(ready.data, settings.seed, more),
            formulas=settings.formulas,
            limits=limits(own.with_prompt),
            command=settings.command,
            constraints=examined_constraints(settings, sides[0] if others else None, sides[-1], events, fitted_to) if sides else (),
            flaw=broken(outcomes[name], ready.groups),
            kept=kept,
        )
    )


def _with_own(settings: AuditSettings, method: Method) -> AuditSettings:
    """A constrained method's own constraint is audited, unless another gamma was asked for."""
    notion, gamma = notion_of(method), gamma_of(method)
    if notion is None or gamma is None or notion in dict(settings.constraints):
        return settings
    return replace(settings, constraints=(*settings.constraints, (notion, gamma)))


def _game(notion: Notion, game: Constrained, fitted: Fitted, ready: Prepared) -> FittedConstraints:
    """A constrained fit's record with the constraints' names: which event's rate may not lie above which."""
    names, _ = cells(notion, () if ready.events is None else ready.events.names)
    told = names if notion == "cf" else [f"{names[row.index(1.0)]} above {names[row.index(-1.0)]}" for row in game.matrix.tolist()]
    best = fitted.trace.best_epoch
    return FittedConstraints(
        tuple(told), tuple(game.valid), tuple(game.train), tuple(map(tuple, game.multipliers)), best, game.feasible(best), game.gamma,
        game.dual, game.player,
    )  # fmt: skip


def _tuned(settings: int) -> str:
    return f"{settings} settings of each model tried on validation" if settings else "defaults, no search"


def _about(ready: Prepared, model: RewardModel) -> dict[str, str]:
    seen, cut, encoder = len(ready.responses.texts), int(ready.responses.cut.sum()), model.encoder
    texts = "texts of prompt and response" if model.with_prompt else "responses"
    return {
        "model sha256": model_hash(model.scorer, model.feature_map),
        "encoder": "none" if encoder is None else f"{encoder.name}, fingerprint {encoder.fingerprint[:16]}",
        **{n: told for n, told in model.facts.items() if n == "language model"},
        "features": f"{ready.feature_map.dim} dimensions of {seen:,} distinct {texts}; the encoder cuts {cut:,} of them",
        "reads": what_is_read(model.with_prompt, model.history_pairs),
        "hyperparameters": ", ".join(f"{n}={v}" for n, v in model.facts["hyperparameters"].items()),
        "splits": ready.split.rule,
    }
