"""Certify a saved model's gap between events on pairs that neither training nor selection saw, and verify such a certificate."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from evenhand.audits import bounds, certificate, rates
from evenhand.audits.broken import all_tied, in_short
from evenhand.audits.certificate import Certificate, check_request, claim, needed, not_claimed
from evenhand.audits.rates import DECISIONS
from evenhand.core import DataError, EvenhandError, Events, Notion, PreferenceData, clip
from evenhand.data.mentions import Mentions, read_mentions
from evenhand.data.splits import CERTIFY, DEAL, SPLITS, TEST, Split, deal
from evenhand.report import Report
from evenhand.report.certificate import Issued, report
from evenhand.report.numbers import NONE
from evenhand.report.publish import one_line
from evenhand.serve.model_files import DESCRIPTION
from evenhand.serve.reward_model import RewardModel
from evenhand.workflows.audit import no_test_pairs, readable
from evenhand.workflows.encoding import Encoding
from evenhand.workflows.events import events_of
from evenhand.workflows.facts import data_digest, events_digest, model_hash, rows_read, split_digest
from evenhand.workflows.given import grouping_of, read
from evenhand.workflows.grouping import Grouping
from evenhand.workflows.prepare import judged, prepare
from evenhand.workflows.progress import Progress, shown
from evenhand.workflows.sealed import SEAL, Json, sealed

FORMAT = "evenhand certificate 1"
CODE = (rates, bounds, certificate)  # the source files that the numbers come from
CHECKED = "Checked: these pairs were dealt from the file the model was trained on, as its training did; no training, validation or test pair is among them."


@dataclass(frozen=True)
class CertificateRequest:
    """All that a certificate depends on beside model and data; written into it, so that `verify` can ask the same.

    unseen_only: users without a training pair alone. group_by: attributes; events are then users' groups, unless the data or a file of terms has events.
    leave_out: events that are not compared. read: how the file was read, for whoever reads it again.
    """

    notion: Notion
    gamma: float
    delta: float
    decision: str = "soft"
    bound: str = "betting"
    unseen_only: bool = False
    group_by: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    mentions: str | None = None  # SHA-256 of the file of terms
    read: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        check_request(self.notion, self.gamma, self.delta, self.bound)
        if self.decision not in DECISIONS:
            found = f"Unknown decision {clip(self.decision)}"
            raise EvenhandError(f"{found}. Expected: {' or '.join(DECISIONS)}. To do: name one of them.")

    @property
    def how(self) -> str:
        """Everything that decides which pairs are compared, in a sentence."""
        read = {} if self.read is None else dict(self.read)
        parts = [f"{name} {value}" for name, value in read.items() if not isinstance(value, Mapping)]
        parts += [
            f"{name} {', '.join(f'{k}={v}' for k, v in value.items())}"
            for name, value in read.items()
            if isinstance(value, Mapping) and value
        ]
        parts += [f"groups by {' & '.join(self.group_by)}"] if self.group_by else []
        parts += [f"without {', '.join(self.leave_out)}"] if self.leave_out else []
        parts += [f"terms {self.mentions[:16]}"] if self.mentions else []
        return one_line("; ".join(["read by the caller" if self.read is None else "read by the command line", *parts]))


def certify(
    model: str | Path,
    data: Any,
    notion: Notion,
    gamma: float,
    delta: float = 0.05,
    *,
    decision: str = "soft",
    bound: str = "betting",
    head: Any = None,
    encoder_at: str | Path | None = None,
    group_by: str | Sequence[str] | None = None,
    mentions: str | Path | None = None,
    leave_out: Sequence[str] = (),
    unseen_only: bool = False,
    title: str = "",
    note: str = "",
    read_as: Mapping[str, Any] | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Report:
    """Certify the model in a folder: D <= D_upper with probability 1 - delta, certified where D_upper <= gamma.

    Args:
        model: Folder of a saved model.
        notion: Demographic parity, equalized odds, or counterfactual fairness.
        gamma: Largest accepted gap, above 0 and at most 1.
        delta: Probability with which the statement may be wrong.
        decision: soft: probabilities; hard: choices.
        bound: Bound on means over users.
        group_by: Attribute columns whose groups are the events, where neither the data nor a file of terms has events.
        mentions: JSON file of identities and their terms: the events; else the data's own events, else the users' groups by `group_by`.
        leave_out: Events that are not compared.
        unseen_only: Users without a training pair alone.
        read_as: how the file was read, for whoever reads it again; written into the certificate.

    Parameters that `audit` has, too, mean the same here.

    Of the file the model was trained on the certify part is dealt again (`fit(certify_share=...)`, or rows 'certify' of a split column).
    Of another file the rows 'certify' of its split column count, else the test pairs as in `audit`; that training did not see them
    cannot be checked then, and the certificate says so. A history never holds a pair that counts.
    Raises EvenhandError on wrong arguments, without a certify part and without events, TooFewUsers where an event has under 10 users.
    """
    check_folder(model)
    attributes = tuple(grouping_of(group_by).attributes)
    data = read(data, attributes=attributes)
    terms = None if mentions is None else read_mentions(mentions)
    request = CertificateRequest(
        notion, gamma, delta, decision, bound, unseen_only, attributes, tuple(leave_out),
        None if terms is None else terms.fingerprint, read_as,
    )  # fmt: skip
    loaded = RewardModel.load(model, head=head, encoder_at=encoder_at)
    with shown(progress) as told:
        made = issue(loaded, identity(loaded, model, data, request), data, request, terms, cache, told)
    return replace(made, findings=replace(made.findings, title=title, note=note))  # of the page alone: the document is what was computed


def check_folder(folder: Any) -> None:
    """Raises EvenhandError for a model that is no folder: a certificate holds the hash of what lies there, and of a model in memory nothing does."""
    if not isinstance(folder, str | Path):
        raise EvenhandError(
            f"Found {type(folder).__name__} as model. Expected: the folder of a saved model, whose hash the certificate holds. "
            "To do: model.save('folder'), and name that folder."
        )


def identity(loaded: RewardModel, folder: str | Path, data: PreferenceData, request: CertificateRequest) -> Json:
    """The fields that say which model, data and program: hashes, before anything is computed."""
    source = hashlib.sha256(b"".join(Path(str(module.__file__)).read_bytes() for module in CODE)).hexdigest()
    return {
        "code": {"evenhand": version("evenhand"), "sha256": source},
        "model": {
            "title": one_line(str(loaded.facts.get("title", "saved model"))),
            "sha256": model_hash(loaded.scorer, loaded.feature_map),
            "description_sha256": hashlib.sha256((Path(folder) / DESCRIPTION).read_bytes()).hexdigest(),
        },
        "data": {
            "file_sha256": data.fingerprint,
            "read_sha256": data_digest(data),
            "rows": one_line(rows_read(data)),
            "read": None if request.read is None else dict(request.read),
            "how": request.how,
        },
    }


def drawn_from(known: Json) -> int:
    """The seed of all that is drawn for a certificate: 48 bits of the SHA-256 over the hashes of model and data.

    The order in which the betting bound takes users, and the deal of a file that the model was not trained on, move the bound by points;
    nobody who certifies may try several.
    """
    hashes = f"{known['model']['sha256']} {known['data']['read_sha256']}"
    return int(hashlib.sha256(hashes.encode()).hexdigest()[:12], 16)


def issue(
    loaded: RewardModel,
    known: Json,
    data: PreferenceData,
    request: CertificateRequest,
    terms: Mentions | None,
    cache: Path | None,
    progress: Progress,
) -> Report:
    """The certificate from its request alone: the same request over the same model and data gives the same document."""
    order = drawn_from(known)
    whole = data
    data, split, part, trained_here, seed = _dealt(whole, loaded, order)
    encoding = Encoding(loaded.encoder, loaded.with_prompt, cache=cache)
    grouping = Grouping(request.group_by)
    ready = prepare(data, split, encoding, grouping, feature_map=loaded.feature_map, seed=seed, progress=progress, whole=whole)
    events = events_of(ready, request.notion, terms, request.leave_out)
    rows = np.flatnonzero(ready.strict(split.rows(part)) & (~request.unseen_only | split.unseen[data.user]))
    if request.unseen_only and not trained_here:
        raise DataError(
            "nobody knows whom training saw: this is not its file", expected="the file of the fit", remedy="leave --unseen-users out"
        )
    if not len(rows):
        raise DataError("no user of these pairs is without a training pair", expected="some", remedy="leave --unseen-users out")
    margin = judged(ready, loaded.scorer, _mask(rows, len(data)), "", "").margin
    if flaw := all_tied(margin):
        raise DataError(
            f"there is nothing to certify: {in_short(flaw)}", expected="a model that tells pairs apart", remedy="look at its scores first"
        )
    measured = rates.rates(margin, data.user[rows], events.take(rows), request.notion, DECISIONS[request.decision])
    made = certificate.certify(measured, request.notion, request.gamma, request.delta, request.bound, seed=order)
    seen = int((~split.unseen[measured.user]).sum()) if trained_here else None
    dealt = {
        "part": SPLITS[part],
        "rule": one_line(
            split.rule if trained_here else f"{SPLITS[part]} pairs; {int(split.history.sum()):,} other pairs may be read as history."
        ),
        "seed": None if split.unit == "given" else seed,
        "digest": split_digest(split),
        "users": made.n_users,
        "users_in_training": seen,
        "checked": CHECKED if trained_here else certificate.NOT_CHECKED,
    }
    document = _document(made, request, events, dealt, known, seen)
    hashes = {"model sha256": known["model"]["sha256"], "data file sha256": known["data"]["file_sha256"], "seal sha256": document[SEAL]}
    more = () if made.certified else needed(measured, made)
    issued = Issued(
        made, document, known["model"]["title"], request.decision, document["claim"], events.rule, str(dealt["checked"]),
        not_claimed(made.n_users, seen), hashes, _how_made(document), more,
    )  # fmt: skip
    return report(issued)


def _dealt(data: PreferenceData, loaded: RewardModel, seed: int) -> tuple[PreferenceData, Split, int, bool, int]:
    """(the data that was split, its split, the part that counts, whether it is the model's own file, the seed it was dealt with)."""
    facts = loaded.facts
    trained_here = facts.get("data") == data.fingerprint
    seed = int(facts["seed"]) if trained_here else seed
    data, split = deal(data, seed=seed, shares=facts.get("shares", DEAL) if trained_here else DEAL)
    if trained_here and facts.get("split") != split_digest(split):
        expected = (
            "the same columns, source, --on-bad, --swap and split column as in `evenhand fit`, so that training pairs can be left out"
        )
        raise DataError(
            "the model was trained on this file, read in another way", expected=expected, remedy="repeat the options of the fit"
        )
    if split.rows(CERTIFY).any():
        part = CERTIFY
    elif trained_here:
        expected = "pairs that neither training nor selection nor the report saw"
        remedy = "fit again with --certify-share 0.25 (in Python certify_share=0.25), mark rows 'certify' in a split column, or bring another file"
        raise DataError("the model was trained on this file and kept no certify part", expected=expected, remedy=remedy)
    else:
        part = TEST
    if not trained_here:  # nobody was seen in training: whatever does not count may be read
        split = replace(split, history=readable(split), unseen=np.ones(len(data.users), bool))
    if not split.rows(part).any():
        raise no_test_pairs()
    return data, split, part, trained_here, seed


def _document(made: Certificate, request: CertificateRequest, events: Events, dealt: Json, known: Json, seen: int | None) -> Json:
    """certificate.json, sealed. Names are printable; neither ids nor texts of users are in it."""
    numbers = [{**vars(e), "name": one_line(e.name)} for e in made.events]
    return sealed(
        {
            "format": FORMAT,
            "certified": made.certified,
            "claim": claim(made, request.decision, request.unseen_only),
            "notion": made.notion,
            "decision": request.decision,
            "gamma": made.gamma,
            "delta": made.delta,
            "bound": made.bound,
            "seed": made.seed,
            "unseen_only": request.unseen_only,
            "group_by": list(request.group_by),
            "leave_out": list(request.leave_out),
            "mentions": request.mentions,
            "d_hat": made.d_hat,
            "radius": made.radius,
            "d_upper": made.d_upper,
            "widest": [one_line(name) for name in made.widest],
            "events": numbers,
            "events_rule": one_line(events.rule),
            "events_digest": events_digest(events),
            "split": dealt,
            **known,
            "not_claimed": list(not_claimed(made.n_users, seen)),
        }
    )


def _how_made(document: Json) -> dict[str, str]:
    """Hashes and how things were made; what is nested is named by both."""
    parts = {
        f"{part}: {name.replace('_', ' ')}": NONE if value is None else str(value)
        for part in ("model", "data", "split", "code") for name, value in document[part].items() if name not in ("read", "checked")
    }  # fmt: skip
    terms = {"terms sha256": document["mentions"]} if document["mentions"] else {}
    return {**parts, "events: digest": document["events_digest"], **terms}


def _mask(rows: np.ndarray, n: int) -> np.ndarray:
    mask = np.zeros(n, bool)
    mask[rows] = True
    return mask
