"""Everything that a backbone goes through on its way: fit, compare and sweep, and the command line from training to a certificate."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from test_cli import inside
from tiny_models import tiny_llama

import evenhand
from evenhand.cli.reading import Encoded
from evenhand.core import EvenhandError, Tuning
from evenhand.data.load import load
from evenhand.data.simulate import write_sample
from evenhand.encode.backbone import Backbone
from evenhand.encode.backbone_encoder import BackboneEncoder
from evenhand.encode.minilm import MiniLM
from evenhand.engines.here import Processes
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.serve.reward_model import RewardModel
from evenhand.testing import QUICK
from evenhand.workflows import trials
from evenhand.workflows.encoding import Encoding, encoding_of
from evenhand.workflows.grouping import Grouping
from evenhand.workflows.progress import silent
from evenhand.workflows.trials import Bench, Entry, Trial

pytestmark = pytest.mark.lm

SMALL = ("--steps", 2, "--lora-rank", 2, "--max-tokens", 24, "--batch-texts", 32, "--backbone-lr", 0.01)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `llama`, choices.jsonl, and few.jsonl of fewer users."""
    place = tmp_path_factory.mktemp("backbone")
    tiny_llama(place / "llama")
    write_sample(place / "choices.jsonl", users=80, minority=0.4, pairs_per_user=12)
    write_sample(place / "few.jsonl", users=40, minority=0.4, pairs_per_user=8)
    return place


@pytest.fixture(scope="module")
def backbone(place: Path) -> Backbone:
    return Backbone(str(place / "llama"), rank=2, max_tokens=24, tuning=Tuning(steps=2, eval_every=2, batch_texts=32, lr=0.01))


def test_validation_chooses_among_models_on_a_backbone(place: Path, backbone: Backbone) -> None:
    found = evenhand.fit(place / "few.jsonl", backbone=backbone, group_by="taste", resamples=20)
    assert "Chosen by validation among 4 models" in found.kept
    told = found.to_dict()
    assert "llama, fingerprint" in told["facts"]["encoder"]
    read = told["facts"]["language model"]
    assert read == found.model.facts["language model"]
    for part in ("llama, trained along: LoRA of rank 2", "up to 2 steps of 32 texts", "the mean over", "at most 24 tokens"):
        assert part in read
    assert found.model.reads_prompts
    again_path = found.save(place / "auto")
    assert again_path.exists()
    again = RewardModel.load(place / "auto" / "model")
    texts = ["one answer", "another answer that is longer"]
    assert np.array_equal(again.score([], ["why?"] * 2, texts), found.model.score([], ["why?"] * 2, texts))


def of_all_lengths(users: int, pairs: int) -> list[dict[str, str]]:
    """Choices between texts of 2 to 40 words."""
    draw, words = (
        np.random.default_rng(0),
        ["the", "plan", "says", "what", "a", "group", "may", "ask", "others", "to", "write", "on", "Monday"],
    )

    def text() -> str:
        return " ".join(draw.choice(words, draw.integers(2, 40)))

    prompts = [f"{text()} {p}?" for p in range(20)]
    return [
        {"user": f"u{u}", "prompt": prompts[p], "chosen": f"{text()}.", "rejected": f"{text()}!"}
        for u in range(users)
        for p in draw.permutation(len(prompts))[:pairs]
    ]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_report_says_how_far_batches_move_the_rewards_of_a_language_model(
    dtype: Any, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against rewards of the model itself, each text alone and all together: in bfloat16 they differ by more than a report may call stable.
    So do those of a model that gives the same texts other vectors the second time."""
    data = load(of_all_lengths(30, 8))
    read = replace(backbone, dtype=dtype, max_tokens=200)
    found = evenhand.fit(data, "bradley_terry", head="linear", backbone=read, resamples=20)
    prompts, responses = zip(*[(data.texts[p], data.texts[r]) for p, r in zip(data.prompt[:60], data.chosen[:60])])
    alone = np.array([found.model.score([], [p], [r])[0] for p, r in zip(prompts, responses)])
    moved = float((np.abs(found.model.score([], prompts, responses) - alone) / np.maximum(1, np.abs(alone))).max())
    assert (moved <= 1e-5) == (dtype == "float32")
    audited = evenhand.audit(data, model=found.model, resamples=20)
    for facts in (found.report.findings.facts, audited.findings.facts):
        if dtype == "float32":
            assert re.match(r"Scores of 16 pairs moved by at most \d\.\de-0[5-9] ", facts["stability"])
            continue
        said = re.match(r"Scores are not .*: over 16 pairs they moved by up to (\S+) ", facts["stability"])
        assert said is not None, facts["stability"]
        assert moved / 30 < float(said[1]) < 30 * moved  # other texts of the same kind
    if dtype == "bfloat16":
        return
    read_already: Counter[bytes] = Counter()
    real = BackboneEncoder.vectors

    def other_each_time(self: BackboneEncoder, texts: Any, progress: Any = None) -> np.ndarray:
        vectors = real(self, texts, progress)
        key = b"|".join(np.asarray(part, np.int64).tobytes() for text in texts for part in text)
        read_already[key] += 1
        return vectors + 0.01 * (read_already[key] - 1)

    monkeypatch.setattr(BackboneEncoder, "vectors", other_each_time)
    said = evenhand.audit(data, model=found.model, resamples=20).findings.facts["stability"]
    assert said.startswith("Scores are not a function of their pair")
    assert max(read_already.values()) == 2


def test_methods_are_compared_on_a_backbone(place: Path, backbone: Backbone) -> None:
    asked: dict[str, Any] = {
        "backbone": backbone,
        "group_by": "taste",
        "seeds": 1,
        "tune": 0,
        "resamples": 20,
        "out": place / "compare",
        "jobs": 1,
    }
    report = evenhand.compare(place / "few.jsonl", ["pafo", "group_dro"], **asked)
    files = {f.name: f.stat().st_mtime_ns for f in (place / "compare" / "trials").iterdir()}
    assert len(files) == 4  # with both references
    again = evenhand.compare(place / "few.jsonl", ["pafo", "group_dro"], **asked)
    assert {f.name: f.stat().st_mtime_ns for f in (place / "compare" / "trials").iterdir()} == files  # read, and not trained again
    frames = [r.to_dict() for r in (report, again)]
    assert frames[0]["entries"] == frames[1]["entries"]


def test_trials_on_a_gpu_start_anew_and_load_the_model_themselves(place: Path, backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here on the CPU: what a new process is sent is enough, and gives the same figures."""
    data = load(place / "few.jsonl", attributes=("taste",))
    entry, grouping, encoding = (
        Entry("bradley_terry", BradleyTerry(schedule=QUICK)),
        Grouping(("taste",)),
        encoding_of(None, backbone, data),
    )
    found = []
    for how, on_gpu in (("fork", False), ("spawn", True)):
        monkeypatch.setattr(trials, "on_gpu", lambda encoder, gpu=on_gpu: gpu)
        [trial] = Bench(data, encoding, grouping, place / how, Processes(1)).run([entry], [0], silent, lambda note: None)
        assert isinstance(trial, Trial), trial
        found.append(trial.arrays)
    assert all(np.array_equal(found[0][name], found[1][name], equal_nan=True) for name in found[0])


def test_a_sweep_of_pafo_on_a_backbone_ends_at_bradley_terry(place: Path, backbone: Backbone) -> None:
    report = evenhand.sweep(
        place / "few.jsonl", {"alpha": [0.5, 1.0]}, "pafo", settings={"guarded": "false"}, backbone=backbone, group_by="taste",
        seeds=1, resamples=20, out=place / "sweep", jobs=1,
    )  # fmt: skip
    found = {entry["name"]: entry for entry in report.to_dict()["entries"]}
    reference, half, one = (next(e for name, e in found.items() if part in name) for part in ("LoRe's head", "0.5", "1.0"))
    trials = [load_file(file) for file in sorted((place / "sweep" / "trials").iterdir())]
    assert sum(all(np.array_equal(a[n], b[n], equal_nan=True) for n in a) for a, b in combinations(trials, 2)) == 1  # one and the reference
    for part in ("selection", "held_out"):  # products of matrices have other last bits in another column
        for found_one, of_reference in zip(one[part], reference[part], strict=True):
            assert {n: pytest.approx(v, rel=1e-12) if isinstance(v, float) else v for n, v in of_reference.items()} == found_one
    assert half["log_loss"] != reference["log_loss"]


def test_a_fit_on_another_backbone_is_another_trial(place: Path, backbone: Backbone) -> None:
    data, entry = load(place / "few.jsonl"), Entry("bradley_terry", BradleyTerry())
    encodings = [
        Encoding(MiniLM()),
        encoding_of(None, backbone, data),
        encoding_of(None, replace(backbone, rank=4), data),
        encoding_of(None, replace(backbone, pooling="last"), data),
        encoding_of(None, replace(backbone, max_tokens=25), data),
        encoding_of(None, replace(backbone, tuning=Tuning(steps=3)), data),
        Encoding(BackboneEncoder(backbone), with_prompt=True),  # as it is
    ]
    files = [Bench(data, encoding, Grouping(), place / "x", Processes(1), {})._file(entry, 0) for encoding in encodings]
    assert len(set(files)) == len(encodings)


def test_a_comparison_says_which_language_model_trains(place: Path, backbone: Backbone) -> None:
    data = load(place / "few.jsonl")
    encodings = (encoding_of(None, replace(backbone, rank=0), data), Encoding(BackboneEncoder(backbone)), Encoding(MiniLM()))
    tuned, frozen, other = (Bench(data, encoding, Grouping(), place / "x", Processes(1), {}).about() for encoding in encodings)
    assert "llama, trained along: all weights, up to 2 steps" in tuned["language model"]
    assert "llama, frozen; a text is the mean" in frozen["language model"]
    assert "language model" not in other


def test_what_is_no_backbone_is_told(place: Path) -> None:
    data = load(place / "few.jsonl")
    assert encoding_of(None, place / "llama", data).encoder.name == "llama"  # type: ignore[union-attr]
    with pytest.raises(EvenhandError, match="backbone is of type int"):
        encoding_of(None, 5, data)  # type: ignore[arg-type]
    for name in ("smollm2", Backbone("smollm2")):
        with pytest.raises(EvenhandError, match="smollm2, in the encoder's place"):
            Encoding(name)  # type: ignore[arg-type]
    with pytest.raises(EvenhandError, match=r"rank .* is 8.*whole number"):
        Backbone("smollm2", rank="8")  # type: ignore[arg-type]
    with pytest.raises(EvenhandError, match=r"steps is 2\.5.*whole number"):
        Tuning(steps=2.5)  # type: ignore[arg-type]


def test_the_command_line_names_one_model_and_says_nothing_of_others(place: Path) -> None:
    folder = str(place / "llama")
    frozen = Encoded(encoder=folder, max_tokens=16, pooling="last").encoding()
    assert isinstance(frozen.encoder, BackboneEncoder)
    assert not frozen.trained
    assert (frozen.encoder.max_tokens, frozen.encoder.backbone.pooling) == (16, "last")
    assert Encoded(backbone=folder).encoding().trained
    for said, wrong in {
        "--backbone .* and --encoder none": Encoded(encoder="none", backbone=folder),
        "--steps without a language model": Encoded(steps=5),
        "--backbone-lr without --backbone": Encoded(encoder=folder, lr=0.1),
        "--max-tokens without a language model": Encoded(max_tokens=64),
        "'few.jsonl' is a file": Encoded(backbone=str(place / "few.jsonl")),
        "no-such.* is not on this machine": Encoded(backbone=str(place / "no-such")),
    }.items():
        with pytest.raises(EvenhandError, match=said):
            wrong.encoding()


def test_the_command_line_from_training_to_a_certificate(place: Path) -> None:
    def done(*words: object, codes: tuple[int, ...] = (0,)) -> str:
        ended = inside(*words, cwd=place)
        assert ended.returncode in codes, f"{words}: {ended.returncode}\n{ended.stdout}{ended.stderr}"
        return ended.stdout

    groups = ("--group-by", "taste")
    asked = ("--method", "bradley_terry", "--set", "max_epochs=3", "--certify-share", 0.25, *groups)
    done("fit", "choices.jsonl", "--backbone", place / "llama", *SMALL, *asked, "--out", "out", codes=(0, 1, 3))
    model = RewardModel.load(place / "out" / "model")
    assert model.encoder is not None
    assert (model.encoder.name, model.encoder.max_tokens) == ("llama", 24)
    assert json.loads((place / "out" / "report.json").read_text())["facts"]["reads"]

    done("score", "out/model", "choices.jsonl", "--history", "choices.jsonl", "--out", "scores.csv")
    done("score", "out/model", "choices.jsonl", "--out", "alone.csv")
    with (place / "alone.csv").open(newline="") as rows:
        rewards = [float(row["reward_chosen"]) for row in csv.DictReader(rows)]
    data = load(place / "choices.jsonl")
    first = range(4)
    prompts, chosen = ([data.texts[of[i]] for i in first] for of in (data.prompt, data.chosen))
    np.testing.assert_allclose(rewards[:4], model.score([], prompts, chosen), atol=1e-5)

    done("audit", "choices.jsonl", "--model", "out/model", *groups, "--out", "audit", codes=(0, 1, 3))
    audited, fitted = (json.loads((place / folder / "report.json").read_text()) for folder in ("audit", "out"))
    assert audited["model"]["overall"] == fitted["model"]["overall"]

    done("certify", "out/model", "choices.jsonl", "--notion", "eo", "--gamma", 0.9, *groups, "--out", "certificate", codes=(0, 1))
    assert "VERIFIED" in done("verify", "certificate/certificate.json", "out/model", "choices.jsonl")
