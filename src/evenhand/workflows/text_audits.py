"""Audits of texts by name: a file of texts/audits/, a part from outside the package, or an object."""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import evenhand.texts.audits
from evenhand.core import EvenhandError, clip
from evenhand.parts import built_in, calling, installed, origin, part
from evenhand.texts.audit import Measured, TextAudit
from evenhand.texts.audits.emotion import emotions
from evenhand.texts.audits.fidelity import Fidelity
from evenhand.texts.audits.formality import formal
from evenhand.texts.reading.agency import read_agency
from evenhand.texts.reading.classifier import Classifier, classifier_of
from evenhand.texts.reading.inference import entailment
from evenhand.texts.table import TextTable

Instrument = str | Path | Classifier | None  # a model of the user's: its folder, or as it was read already


def built_in_audits() -> dict[str, type]:
    """File name → the class in it of that name."""
    out: dict[str, type] = {}
    for file in pkgutil.iter_modules(evenhand.texts.audits.__path__):
        module = importlib.import_module(f"{evenhand.texts.audits.__name__}.{file.name}")
        out[file.name] = next(c for c in vars(module).values() if inspect.isclass(c) and vars(c).get("name") == file.name)
    return out


def audits_named(given: Sequence[str | TextAudit]) -> tuple[TextAudit, ...]:
    """Each by its name, as ./mine.py:Name, an entry point of evenhand.text_audits, its class, or as it is. Raises EvenhandError."""
    found = tuple(_audit(one) for one in ([given] if isinstance(given, str) else given))
    names = [a.name for a in found]
    if twice := next((n for i, n in enumerate(names) if n in names[:i]), None):
        raise EvenhandError(f"Found two audits called '{clip(twice)}'. Expected: every name once. To do: leave one out, or rename it.")
    if not found:
        raise EvenhandError(f"Found no audit. Expected: one or more of {', '.join(built_in_audits())}. To do: name them.")
    return found


def with_instruments(
    audits: Sequence[TextAudit],
    *,
    agency: str | Path | None = None,
    formality_model: Instrument = None,
    emotion_model: Instrument = None,
    nli: Instrument = None,
    cache: Path | None = None,
) -> tuple[TextAudit, ...]:
    """The built-in audits among these with a list of verbs, or a model, of the user's. Raises EvenhandError for one whose audit does not
    run.
    """
    read = read_once(agency, formality_model, emotion_model, nli)
    fields = {"agency": ("persuasion", "agency"), "formality-model": ("formality", "classifier"), "emotion-model": ("emotion", "classifier"),
              "nli": ("fidelity", "nli")}  # fmt: skip
    found = {a.name: a for a in audits}
    for option, (name, field) in fields.items():
        value = read[option.replace("-", "_")]
        if value is None:
            continue
        if name not in found or not built_in(found[name]):
            raise EvenhandError(f"Found --{option} without the audit {name}. Expected: the audit that reads it. To do: add --audit {name}.")
        found[name] = replace(found[name], **{field: value})  # type: ignore[type-var]  # built-in audits are dataclasses
    if cache is None:
        return tuple(found.values())
    return tuple(replace(a, cache=cache) if built_in(a) else a for a in found.values())  # type: ignore[type-var]


def read_once(
    agency: str | Path | None, formality_model: Instrument, emotion_model: Instrument, nli: Instrument
) -> dict[str, Path | Classifier | None]:
    """Instruments, by the names of their parameters, for all that one study asks them: a model is read by the first who asks it."""
    models = {"formality_model": formality_model, "emotion_model": emotion_model, "nli": nli}
    read = {name: None if model is None else classifier_of(model) for name, model in models.items()}
    return {"agency": None if agency is None else Path(agency), **read}


def instruments_said(
    *,
    agency: str | Path | None = None,
    formality_model: Instrument = None,
    emotion_model: Instrument = None,
    nli: Instrument = None,
) -> dict[str, str]:
    """Option → name and SHA-256 of the list or the model that is given; nothing of those that are not. Raises EvenhandError and DataError for
    what is no such list, or no such model: before a study has begun with it.
    """
    said = {}
    if agency is not None:
        said["agency"] = f"{Path(agency).name}, SHA-256 {read_agency(Path(agency)).fingerprint}"
    models: dict[str, tuple[Instrument, Callable[[Classifier], object]]] = {
        "formality-model": (formality_model, lambda model: formal(model.labels, None, model.name)),
        "emotion-model": (emotion_model, lambda model: emotions(model.labels, model.name)),
        "nli": (nli, lambda model: entailment(model.labels, model.name)),
    }
    for option, (given, check) in models.items():
        if given is not None:
            model = classifier_of(given)
            check(model)
            said[option] = f"{model.name}, SHA-256 {model.sha256}"
    return said


def reading_all(audits: Sequence[TextAudit]) -> tuple[TextAudit, ...]:
    """The built-in audits so that they read every text of however large a table: a gate must know each candidate's fidelity, a mean need
    not.
    """
    return tuple(replace(a, whole=sys.maxsize) if isinstance(a, Fidelity) else a for a in audits)


def _audit(given: Any) -> TextAudit:
    if isinstance(given, str):
        known = built_in_audits()
        found = known[given] if given in known else part("text_audits", given)
        if found is None:
            every = [*known, *installed("text_audits")]
            near = difflib.get_close_matches(given, every, 1)
            raise EvenhandError(
                f"There is no audit of texts '{clip(given)}'. Expected: one of {', '.join(every)}, or ./FILE.py:NAME. "
                f"To do: {f'did you mean {near[0]}?' if near else 'name one of these.'}"
            )
        given = found
    if inspect.isclass(given):
        with calling("a class that does without arguments", given):
            given = given()
    kind = type(given)
    lacking = [n for n in ("name", "measure") if not any(n in vars(c) for c in kind.__mro__) and n not in vars(given)]
    if lacking or not isinstance(given.name, str):
        raise EvenhandError(
            f"{clip(kind.__name__)} is no audit of texts: it lacks {', '.join(lacking) or 'a name that is a text'}. Expected: a name, and "
            "measure(table) -> Measured, as evenhand.texts.audit shows. To do: add what is missing."
        )
    audit: TextAudit = given
    return audit


def measured(audit: TextAudit, table: TextTable) -> Measured:
    """What the audit gives, one row a text. Raises EvenhandError where an audit from outside fails, or gives anything else; what its
    exception says is not told, as it may hold a text.
    """
    expected = "measure(table) -> Measured, with one value a text in each measure"
    with calling(expected, audit, quoted=False):
        found = audit.measure(table)
        wrong = _wrong(found, len(table))
    if wrong:
        raise EvenhandError(f"{origin(type(audit))}: {wrong}. Expected: {expected}. To do: correct it there.")
    return found


def _wrong(found: Any, texts: int) -> str:
    """What is wrong with what an audit gave, or ''."""
    if not isinstance(found, Measured):
        return f"measure gave {clip(type(found).__name__)}"
    names = [measure.name for measure in found.measures]
    if len(set(names)) < len(names):
        return f"two measures have one name, of {clip(', '.join(names), 200)}"
    for measure in found.measures:
        if len(measure.values) != texts or measure.values.ndim not in (1, 2):
            return f"measure '{clip(measure.name)}' has shape {measure.values.shape} for {texts} texts"
    return ""
