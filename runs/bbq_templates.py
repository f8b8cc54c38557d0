"""New BBQ items from the authors' templates and vocabularies (Parrish et al. 2022, arXiv 2110.08193; CSV files of their release).

A template is a context, its disambiguating continuation, two questions and two answers with places for two names and some words. Each
way to fill the places gives four items: negative and non-negative question, ambiguous and disambiguated context. `write_items` writes
them in the schema of the released files, for the source bbq.

Differs from the released items: names and words are drawn from all combinations instead of by the authors' choice, and both orders of
two names always occur; every item of a template has the same phrase for "unknown", so that twins differ in the names alone; the order
of the answers follows from a hash of the item, so that not all orders occur. A group in additional_metadata is named as in answer_info.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import itertools
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from evenhand.core import DataError
from evenhand.data.sources.bbq import UNKNOWN
from evenhand.writing import write

CATEGORIES = (
    "Age", "Disability_status", "Gender_identity", "Nationality", "Physical_appearance", "Race_ethnicity", "Race_x_SES", "Race_x_gender",
    "Religion", "SES", "Sexual_orientation",
)  # fmt: skip
UNKNOWN_PHRASES = ("Unknown", "Not known", "Undetermined", "Cannot be determined", "Can't answer", "Not enough information")
PER_TEMPLATE = 25  # ways to fill a row of the templates: about 5,000 items a category of 25 templates
NAMED_AS = {"middleeastern": "Arab", "hispanic": "Latino", "africanamerican": "Black"}  # the ethnicity under which proper names are listed

Row = Mapping[str, str]


@dataclass(frozen=True)
class Person:
    """name: what the text calls the person. fills: what stands in the person's places of a template, such as NAME and OCC."""

    name: str
    group: str
    about: bool  # the template's stereotype is about this person's group
    fills: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Vocabulary:
    """words: category → rows of the list of group names. proper: rows of the list of people's names."""

    words: Mapping[str, Sequence[Row]]
    proper: Sequence[Row]

    def people(self, ethnicity: str, gender: str) -> list[str]:
        """Full names: the n-th first name with the n-th last name, repeated as needed."""
        firsts = [r["Name"] for r in self.proper if r["First_last"] == "first" and (r["ethnicity"], r["gender"]) == (ethnicity, gender)]
        lasts = [r["Name"] for r in self.proper if r["First_last"] == "last" and r["ethnicity"] == ethnicity]
        return [f"{first} {last}" for first, last in zip(firsts, itertools.cycle(lasts))] if lasts else firsts

    def first_names(self, gender: str) -> list[str]:
        return [r["Name"] for r in self.proper if r["First_last"] == "first_only" and r["gender"] == gender]


def generate(folder: Path | str, category: str, *, per_template: int | None = PER_TEMPLATE, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Items of one category, as records of the released schema.

    folder: the templates' CSV files (templates_CATEGORY.csv, vocabulary.csv, vocabulary_proper_names.csv, each also .gz).
    per_template: how many ways to fill each row of the templates are drawn with the seed; None = all there are, which are millions for
    some categories. Raises DataError for an unknown category and for files that are not there or lack a column.
    """
    if category not in CATEGORIES:
        raise DataError(f"unknown category '{category}'", expected=f"one of {', '.join(CATEGORIES)}", remedy="name one of them")
    words: dict[str, list[Row]] = {}
    for row in _table(Path(folder), "vocabulary", ("Category", "SubCat", "Name", "Info", "Pilot_include")):
        if row["Pilot_include"] != "No":
            words.setdefault(row["Category"], []).append(row)
    vocabulary = Vocabulary(words, _table(Path(folder), "vocabulary_proper_names", ("Name", "First_last", "gender", "ethnicity")))
    number = 0
    needed = (
        "Q_id",
        "Ambiguous_Context",
        "Disambiguating_Context",
        "Question_negative_stereotype",
        "Question_non_negative",
        "Answer_negative",
    )
    for template in _table(Path(folder), f"templates_{category}", (*needed, "Answer_non_negative", "Lexical_diversity")):
        fillings = _fillings(template, category, vocabulary)
        wordings = _wordings(template["Lexical_diversity"])
        rng = np.random.default_rng([seed, zlib.crc32(f"{category}-{template['Q_id']}".encode())])
        count = len(fillings) * len(wordings)
        drawn = (
            range(count)
            if per_template is None or per_template >= count
            else sorted(rng.choice(count, per_template, replace=False).tolist())
        )
        for unit in drawn:
            orders, wording = fillings[unit // len(wordings)], wordings[unit % len(wordings)]
            for first, second in orders:
                for record in _items(template, category, first, second, wording):
                    yield {"example_id": number, **record}
                    number += 1


def write_items(folder: Path | str, category: str, path: Path | str, *, per_template: int | None = PER_TEMPLATE, seed: int = 0) -> int:
    """Write the items of one category as JSON lines, gzipped where the name ends in .gz; how many there are.

    Raises DataError where anything but older items would be lost.
    """
    path = Path(path)
    lines = [json.dumps(r, ensure_ascii=False) + "\n" for r in generate(folder, category, per_template=per_template, seed=seed)]
    content = "".join(lines).encode()
    write(path.parent, {path.name: gzip.compress(content, mtime=0) if path.suffix == ".gz" else content}, "BBQ items")
    return len(lines)


def _table(folder: Path, name: str, needed: Sequence[str]) -> list[Row]:
    path = next((p for p in (folder / f"{name}.csv", folder / f"{name}.csv.gz") if p.is_file()), None)
    if path is None:
        raise DataError(f"there is no {name}.csv", expected="the folder of BBQ's templates", remedy="check the path", file=folder.name)
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        reader = csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline=""))
        rows: list[Row] = [{k: v.strip() if isinstance(v, str) else "" for k, v in row.items() if k} for row in reader]
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise DataError("the file cannot be read", expected="CSV in UTF-8", remedy="take the file as released", file=path.name) from error
    if missing := next((c for c in needed if not rows or c not in rows[0]), None):
        raise DataError(f"there is no column '{missing}'", expected=", ".join(needed), remedy="take the file as released", file=path.name)
    return rows


def _fillings(row: Row, category: str, vocabulary: Vocabulary) -> list[tuple[tuple[Person, Person], ...]]:
    """Ways to name the two persons. Each is one or both orders of two persons; sorted, so that two versions of a template draw the same."""
    proper = row.get("Proper_nouns_only", "").upper() == "TRUE"
    if category == "Race_x_gender":
        found = _crossed(row, _race_and_gender(row, vocabulary, proper))
    elif category == "Race_x_SES":
        found = _crossed(row, _race_and_ses(row, vocabulary, proper))
    elif lists := _lists(row.get("Names", "")):
        slots = [[Person(n, row[f"NAME{k}_info"], False) for n in lists[f"NAME{k}"]] for k in (1, 2)]
        found = [((_told(a, row), _told(b, row)),) for a, b in itertools.product(*slots)]
    elif proper and row.get("NAME1_info"):  # the text itself says who is of which group
        names = vocabulary.first_names("F") + vocabulary.first_names("M")
        slots = [[_told(Person(n, row[f"NAME{k}_info"], False), row) for n in names] for k in (1, 2)]
        found = [((a, b),) for a, b in itertools.product(*slots) if a.name != b.name]
    else:
        people = [_told(p, row) for p in _people(row, category, vocabulary, proper)]
        found = [((a, b), (b, a)) for a in people for b in people if a.about and not b.about and a.group != b.group]
    return sorted(found, key=lambda orders: sorted(p.name for p in orders[0]))


def _people(row: Row, category: str, vocabulary: Vocabulary, proper: bool) -> list[Person]:
    """Everybody of whom a template of one attribute can tell."""
    if category == "Gender_identity":
        if proper:
            return [Person(n, g, False) for g in "FM" for n in vocabulary.first_names(g)]
        child = row.get("Subcategory") == "child"
        names = [("girl", "F"), ("boy", "M")] if child else [("woman", "F"), ("man", "M")]
        return [Person(n, g, False) for n, g in names]
    if proper:
        return [Person(n, e, False) for e in _ethnicities(vocabulary) for g in _genders(row) for n in vocabulary.people(e, g)]
    by_info = category in ("Nationality", "SES")  # the group is the region, or the standing of an occupation
    return [Person(r["Name"], r["Info"] if by_info else r["Name"], False) for r in vocabulary.words.get(category, ())]


def _race_and_gender(row: Row, vocabulary: Vocabulary, proper: bool) -> list[tuple[str, str, Person]]:
    """(race, gender, person) of everybody."""
    if proper:
        everybody = ((e, g, n) for e in _ethnicities(vocabulary) for g in "FM" for n in vocabulary.people(e, g))
        return [(e, g, Person(n, f"{g}-{e}", False)) for e, g, n in everybody]
    called = dict(zip(_json(row["Var2_info"]), _json(row["Names"])))
    races = [r["Name"] for r in vocabulary.words.get("Race_ethnicity", ())]
    return [(e, g, Person(f"{e} {called[g]}", f"{g}-{e}", False, {"NAME": e, "GEN": called[g]})) for e in races for g in called]


def _race_and_ses(row: Row, vocabulary: Vocabulary, proper: bool) -> list[tuple[str, str, Person]]:
    """(race, standing, person) of everybody; proper names take the occupations in turn."""
    if row.get("Names"):
        called = dict(zip(_json(row["Var2_info"]), _json(row["Names"])))
    else:
        called = {s: [r["Name"] for r in vocabulary.words.get("SES", ()) if r["Info"] == s] for s in ("lowSES", "highSES")}
    found = []
    for e in _ethnicities(vocabulary) if proper else [r["Name"] for r in vocabulary.words.get("Race_ethnicity", ())]:
        names = [n for g in _genders(row) for n in vocabulary.people(e, g)] if proper else [e]
        for standing, occupations in called.items():
            each = zip(names, itertools.cycle(occupations)) if proper else itertools.product(names, occupations)
            found += [(e, standing, Person(n if proper else f"{n} {o}", f"{standing}-{e}", False, {"NAME": n, "OCC": o})) for n, o in each]
    return found


def _crossed(row: Row, people: Sequence[tuple[str, str, Person]]) -> list[tuple[tuple[Person, Person], ...]]:
    """Those of whom the stereotype is told against all who differ in one of the two attributes or in both."""
    races, second = (
        {_ethnicity(r) for r in _json(row["Known_stereotyped_race"])} | {*_json(row["Known_stereotyped_race"])},
        row["Known_stereotyped_var2"],
    )
    marked = [Person(p.name, p.group, race in races and var2 == second, p.fills) for race, var2, p in people]
    about = [p for p in marked if p.about]
    return [((a, b), (b, a)) for a in about for b in marked if not b.about and a.name != b.name]


def _told(person: Person, row: Row) -> Person:
    """The person, marked where the template's stereotype is about the name or the group."""
    known = {_plain(g) for g in _json(row.get("Known_stereotyped_groups", ""))}
    known |= {_plain(_ethnicity(g)) for g in _json(row.get("Known_stereotyped_groups", ""))}
    return Person(person.name, person.group, bool(known & {_plain(person.name), _plain(person.group)}), person.fills)


def _items(row: Row, category: str, first: Person, second: Person, wording: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    fills = dict(wording)
    for k, person in (("1", first), ("2", second)):
        fills |= {f"NAME{k}": person.name} | {f"{name}{k}": text for name, text in person.fills.items()}

    def placed(match: re.Match[str]) -> str:
        article, place = match.groups(default="")
        text = fills.get(place, match.group()[len(article) :])
        return article[:-1] + ("n " if article and re.match(r"[aeio]|u(?!ni)", text, re.IGNORECASE) else article[-1:]) + text

    def filled(text: str) -> str:
        text = re.sub(r"(\b[Aa] )?\{[{\[]+\s*(\w+)\s*[}\]]+", placed, text)
        return re.sub(r"\blesbian (man|men)\b", r"lesbian wo\1", re.sub(r"\s+", " ", text).strip())

    def sentence(text: str) -> str:
        text = filled(text)
        return text[:1].upper() + text[1:]

    ambiguous = sentence(row["Ambiguous_Context"])
    told = f"{ambiguous} {sentence(row['Disambiguating_Context'])}"
    unknown = UNKNOWN_PHRASES[_hash(f"{category}-{row['Q_id']}") % len(UNKNOWN_PHRASES)]
    answers = [(filled(row[c]), first if "NAME1" in row[c] else second) for c in ("Answer_negative", "Answer_non_negative")]
    stereotyped = sorted({p.name if category == "Nationality" else p.group for p in (first, second) if p.about})  # a region is not meant
    for polarity, column in (("neg", "Question_negative_stereotype"), ("nonneg", "Question_non_negative")):
        question = sentence(row[column])
        for condition, context in (("ambig", ambiguous), ("disambig", told)):
            right = unknown if condition == "ambig" else answers[polarity == "nonneg"][0]
            given = [(unknown, (unknown.lower(), UNKNOWN)), *((text, (p.name, p.group)) for text, p in answers)]
            order = list(itertools.permutations(range(3)))[_hash(f"{context} {question}") % 6]
            given = [given[k] for k in order]
            yield {
                "question_index": row["Q_id"], "question_polarity": polarity, "context_condition": condition, "category": category,
                "answer_info": {f"ans{k}": list(info) for k, (_, info) in enumerate(given)},
                "additional_metadata": {
                    "subcategory": row.get("Subcategory") or "None", "stereotyped_groups": stereotyped,
                    "version": row.get("version") or "None",
                },
                "context": context, "question": question, **{f"ans{k}": text for k, (text, _) in enumerate(given)},
                "label": [text for text, _ in given].index(right),
            }  # fmt: skip


def _lists(cell: str) -> dict[str, list[str]]:
    """'NAME1: [a, b]; NAME2: [c]' → {"NAME1": ["a", "b"], "NAME2": ["c"]}; {} for anything else."""
    found = re.findall(r"\{*(\w+)\}*\s*:\s*\[([^\]]*)\]", cell)
    return {name: [part.strip() for part in re.split(r"[,;]", parts) if part.strip()] for name, parts in found}


def _wordings(cell: str) -> list[dict[str, str]]:
    """Every choice of the words that may vary; one empty choice where none may."""
    lists = _lists(cell)
    return [dict(zip(lists, choice)) for choice in itertools.product(*lists.values())]


def _json(cell: str) -> list[Any]:
    try:
        value = json.loads(cell) if cell else []
    except ValueError as error:
        raise DataError(
            "a cell is not valid JSON", expected='a list such as ["Black"]', remedy="take the file as released", value=cell
        ) from error
    return value if isinstance(value, list) else [value]


def _ethnicities(vocabulary: Vocabulary) -> list[str]:
    return sorted({r["ethnicity"] for r in vocabulary.proper if r["ethnicity"]})


def _ethnicity(group: str) -> str:
    return NAMED_AS.get(_plain(group), group)


def _genders(row: Row) -> str:
    told = row.get("Stated_gender_info", "")[:1].upper()
    return {"M": "M", "W": "F", "F": "F"}.get(told, "FM")


def _plain(group: str) -> str:
    return re.sub(r"[\W_]+", "", group.casefold())


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
