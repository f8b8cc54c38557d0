"""Verify a certificate: compute it again from model and data, and refuse it at the first field that differs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evenhand.core import EvenhandError, PreferenceData
from evenhand.data.load import load
from evenhand.data.mentions import read_mentions
from evenhand.report import Report
from evenhand.serve.reward_model import RewardModel
from evenhand.workflows.certify import FORMAT, CertificateRequest, check_folder, identity, issue
from evenhand.workflows.events import with_events
from evenhand.workflows.progress import Progress, shown
from evenhand.workflows.sealed import Json, Refused, compare, read_document, refused

ASKED = {"one_user": bool, "min_strength": float, "weigh_strength": bool, "missing": list}


def verify(
    certificate: str | Path,
    model: str | Path,
    data: Any,
    *,
    head: Any = None,
    encoder_at: str | Path | None = None,
    mentions: str | Path | None = None,
    swap: str | Path | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Report:
    """The certificate as computed again, where every field is the same; Refused, naming the first field that differs, where not.

    Args:
        certificate: certificate.json, or its document's path.
        model: Folder of a saved model.
        data: a path or table, which is read as the certificate says under data.read; or data as loaded.
        swap: JSON file of pairs of terms, if it was made with counterfactual copies.
        mentions: JSON file of identities and their terms, if it was made with one.

    What cannot be computed again, since the model's folder was changed or the data does not hold what is asked for, is refused with the
    reason. Parameters that `audit` has, too, mean the same here.
    """
    check_folder(model)
    found = read_document(certificate)
    original = request(found)
    if not isinstance(data, PreferenceData):
        data = load(data, attributes=original.group_by, **dict(original.read or {}))
    data = with_events(data, None, swap)
    try:
        terms = None if mentions is None else read_mentions(mentions)
        if original.mentions != (None if terms is None else terms.fingerprint):
            has = "no file of terms was given" if terms is None else f"a file of terms with SHA-256 {terms.fingerprint[:16]}…"
            wanted = "none" if original.mentions is None else f"SHA-256 {original.mentions[:16]}… as in 'mentions' (--mentions FILE)"
            raise refused(has, wanted)
        loaded = RewardModel.load(model, head=head, encoder_at=encoder_at)
        known = identity(loaded, model, data, original)
        compare({key: found[key] for key in known if key in found}, known)
        with shown(progress) as told:
            made = issue(loaded, known, data, original, terms, cache, told)
    except EvenhandError as error:
        if isinstance(error, Refused):
            raise
        raise refused(f"that it cannot be computed again: {error}", "the model and data it was issued for") from error
    compare(found, made.document)
    return made


def request(document: Json) -> CertificateRequest:
    """What was asked for when the certificate was issued. Raises Refused where a field is missing or of another kind."""
    if document.get("format") != FORMAT:
        raise refused(f"'format' = {document.get('format')!r}", f"'{FORMAT}'")
    data = _taken(document, "data", dict)
    read, mentions = data.get("read"), document.get("mentions")
    if not (read is None or _is_read(read)):
        raise refused("'data.read' of another kind", "how the file was read, or null")
    if not (mentions is None or isinstance(mentions, str)):
        raise refused("'mentions' of another kind", "a SHA-256, or null")
    try:
        return CertificateRequest(
            _taken(document, "notion", str),
            _taken(document, "gamma", float, int),
            _taken(document, "delta", float),
            _taken(document, "decision", str),
            _taken(document, "bound", str),
            _taken(document, "unseen_only", bool),
            _names(document, "group_by"),
            _names(document, "leave_out"),
            mentions,
            read,
        )
    except EvenhandError as error:
        if isinstance(error, Refused):
            raise
        raise refused(f"a request that cannot be met: {error}", "one that can") from error


def _taken(document: Mapping[str, Any], name: str, *kinds: type) -> Any:
    value = document.get(name)
    if type(value) not in kinds:
        raise refused(
            f"'{name}' = {str(value)[:80]!r}" if name in document else f"no field '{name}'", f"a value of type {kinds[0].__name__}"
        )
    return value


def _names(document: Mapping[str, Any], name: str) -> tuple[str, ...]:
    values = _taken(document, name, list)
    if not all(isinstance(v, str) for v in values):
        raise refused(f"'{name}' of another kind", "a list of names")
    return tuple(values)


def _is_read(value: Any) -> bool:
    """{source: name or null, columns: {name: name}, on_bad: name} and what else of `ASKED` was asked for: what `load` is given."""
    if not isinstance(value, dict) or not {"source", "columns", "on_bad"} <= set(value) <= {"source", "columns", "on_bad", *ASKED}:
        return False
    if not all(type(value[name]) is kind for name, kind in ASKED.items() if name in value):
        return False
    if not all(isinstance(word, str) for word in value.get("missing", ())):
        return False
    source, columns, on_bad = value["source"], value["columns"], value["on_bad"]
    plain = (source is None or isinstance(source, str)) and isinstance(on_bad, str) and isinstance(columns, dict)
    return plain and all(isinstance(v, str) for v in columns.values())
