"""Saved models: exact, atomic, and clear about every way a folder can be wrong."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from evenhand.core import DataError
from evenhand.models.attention import Attention
from evenhand.models.low_rank import LowRank
from evenhand.serve import model_files
from evenhand.serve.head_record import heads
from evenhand.serve.model_files import ARRAYS, DESCRIPTION
from evenhand.serve.saved import FORMAT, SavedModel, load_model, save_model

FEATURES = (
    {"shift": np.arange(5, dtype=np.float32), "buckets": np.array([3, 9], dtype=np.int32), "half": np.ones((2, 5), dtype=np.float16)},
    {"recipe": {"dim": 5}, "tfidf": None},
)


def model(head: Any = None, seed: int = 0) -> SavedModel:
    head = head or LowRank(3)
    return SavedModel(head, 5, head.build(5, seed), FEATURES, {"kind": "none", "with_prompt": False}, {"method": "pafo", "seed": seed})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(tmp_path / "m", model())
    return tmp_path / "m"


def rewrite(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change model.json and seal it again, as another version of the program would have written it."""
    said = json.loads((folder / DESCRIPTION).read_text())
    change(said)
    (folder / DESCRIPTION).write_text(model_files.seal({k: v for k, v in said.items() if k != "description_sha256"}))


def rearrange(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any], *, tell: bool = False) -> None:
    """Change the arrays and give model.json their new hash; `tell`: their new shapes too."""
    arrays = safetensors.torch.load((folder / ARRAYS).read_bytes())
    change(arrays)
    data = safetensors.torch.save(arrays)
    (folder / ARRAYS).write_bytes(data)
    shapes = {n: {"shape": list(a.shape), "type": str(a.dtype).removeprefix("torch.")} for n, a in arrays.items()}
    rewrite(folder, lambda said: said.update({"arrays_sha256": hashlib.sha256(data).hexdigest()} | ({"arrays": shapes} if tell else {})))


def problem(folder: Path) -> str:
    with pytest.raises(DataError) as error:
        load_model(folder)
    text = str(error.value)
    assert "Expected:" in text
    assert "To do:" in text
    return text


@pytest.mark.parametrize("kind", heads().values(), ids=heads().keys())
def test_what_is_loaded_is_what_was_saved(kind: type, tmp_path: Path) -> None:
    before = model(kind())
    save_model(tmp_path / "m", before)
    after = load_model(tmp_path / "m")
    assert after.head == before.head
    assert after.dim == 5
    assert after.encoder == before.encoder
    assert after.features[1] == before.features[1]
    old, new = before.scorer.state_dict(), after.scorer.state_dict()
    assert old.keys() == new.keys()
    assert all(torch.equal(old[n], new[n]) and old[n].dtype == new[n].dtype for n in old)
    for name, array in FEATURES[0].items():
        assert after.features[0][name].dtype == array.dtype
        assert np.array_equal(after.features[0][name], array)
    assert {"method": "pafo", "seed": 0}.items() <= after.facts.items()
    assert after.facts["torch"] == torch.__version__


def test_saving_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        save_model(tmp_path / name, model())
    for file in (ARRAYS, DESCRIPTION):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_the_folder_holds_two_files_and_nothing_else_is_left(folder: Path) -> None:
    assert sorted(p.name for p in folder.iterdir()) == [DESCRIPTION, ARRAYS]
    assert [p.name for p in folder.parent.iterdir()] == ["m"]


# ---- broken folders


def test_no_folder(tmp_path: Path) -> None:
    assert "No such file or directory" in problem(tmp_path / "absent")


@pytest.mark.parametrize("file", [ARRAYS, DESCRIPTION])
def test_a_missing_file(folder: Path, file: str) -> None:
    (folder / file).unlink()
    text = problem(folder)
    assert file in text
    assert "No such file" in text


@pytest.mark.parametrize("file", [ARRAYS, DESCRIPTION])
def test_every_flipped_byte_is_found(folder: Path, file: str) -> None:
    good = (folder / file).read_bytes()
    for place in range(0, len(good), max(1, len(good) // 150)):
        bad = bytearray(good)
        bad[place] ^= 0x01
        (folder / file).write_bytes(bytes(bad))
        if file == ARRAYS or not same_json(good, bytes(bad)):
            assert file in problem(folder), place


def same_json(one: bytes, two: bytes) -> bool:
    """A flip may turn one kind of white space into another, which changes nothing."""
    try:
        return bool(json.loads(one) == json.loads(two))
    except ValueError:
        return False


@pytest.mark.parametrize("keep", [0, 1, 50, 300, -3])
def test_a_description_cut_off(folder: Path, keep: int) -> None:
    file = folder / DESCRIPTION
    file.write_bytes(file.read_bytes()[:keep])
    assert "Damaged or cut off" in problem(folder)


@pytest.mark.parametrize("text", ["[]", "7", "[" * 100_000, '{"format": NaN}', "\ufeff{}", '{"format": 1' + "9" * 5000 + "}"])
def test_a_description_that_is_something_else(folder: Path, text: str) -> None:
    (folder / DESCRIPTION).write_text(text)
    assert "Damaged or cut off" in problem(folder)


def test_arrays_cut_off(folder: Path) -> None:
    file = folder / ARRAYS
    file.write_bytes(file.read_bytes()[:-4])
    assert "SHA-256" in problem(folder)


@pytest.mark.parametrize("data", [b"", b"\xff" * 64, b"\x80\x04\x95pickle"])
def test_arrays_that_are_no_safetensors_file(folder: Path, data: bytes) -> None:
    (folder / ARRAYS).write_bytes(data)
    rewrite(folder, lambda said: said.update(arrays_sha256=hashlib.sha256(data).hexdigest()))
    assert "Expected: a safetensors file" in problem(folder)


@pytest.mark.parametrize("version", [FORMAT + 1, 0, None, "1"])
def test_another_format_version(folder: Path, version: Any) -> None:
    rewrite(folder, lambda said: said.update(format=version))
    text = problem(folder)
    assert f"Format version {version}" in text
    assert f"version {FORMAT}" in text
    assert "upgrade evenhand" in text


def test_a_description_without_a_version(folder: Path) -> None:
    (folder / DESCRIPTION).write_text("{}")
    assert "Format version None" in problem(folder)


def test_an_edited_fact(folder: Path) -> None:
    file = folder / DESCRIPTION
    file.write_text(file.read_text().replace('"pafo"', '"fame"'))
    assert "Changed after it was saved" in problem(folder)


def test_an_unknown_head_names_the_nearest(folder: Path) -> None:
    rewrite(folder, lambda said: said["head"].update(name="LowRang"))
    text = problem(folder)
    assert "LowRang" in text
    assert "nearest: LowRank" in text


@pytest.mark.parametrize("name", ["History", "nn.Module", "os.system", "evenhand.models.low_rank.LowRank", ""])
def test_no_name_reaches_anything_but_the_heads(folder: Path, name: str) -> None:
    rewrite(folder, lambda said: said["head"].update(name=name))
    assert "Unknown head" in problem(folder)


def test_an_unknown_setting_names_the_nearest(folder: Path) -> None:
    rewrite(folder, lambda said: said["head"].update(settings={"rnak": 3}))
    text = problem(folder)
    assert "rnak" in text
    assert "nearest: rank" in text


def test_a_wrong_shape_that_the_description_does_not_tell(folder: Path) -> None:
    rearrange(folder, lambda arrays: arrays.update({"scorer.b": torch.zeros(6)}))
    text = problem(folder)
    assert "scorer.b is float32 [6]" in text
    assert "float32 [5]" in text


def test_a_wrong_type(folder: Path) -> None:
    rearrange(folder, lambda arrays: arrays.update({"scorer.b": torch.zeros(5).double()}))
    assert "scorer.b is float64 [5]" in problem(folder)


def test_a_wrong_shape_for_the_head(folder: Path) -> None:
    rearrange(folder, lambda arrays: arrays.update({"scorer.V": torch.zeros(5, 4)}), tell=True)
    text = problem(folder)
    assert "scorer.V has shape [5, 4]" in text
    assert "[5, 3]" in text


def test_an_array_missing_and_one_too_many(folder: Path) -> None:
    rearrange(folder, lambda arrays: arrays.pop("scorer.b"), tell=True)
    assert "scorer.b has shape none: it is missing" in problem(folder)
    rearrange(folder, lambda arrays: arrays.update({"scorer.b": torch.zeros(5), "scorer.c2": torch.zeros(1)}), tell=True)
    assert "Expected: no such array" in problem(folder)


def test_another_head_with_the_same_dimensions(folder: Path) -> None:
    rewrite(folder, lambda said: said.update(head={"name": "Attention", "settings": {"rank": 3, "queries": 1}}))
    assert "Attention" in problem(folder)


# ---- what is not saved


def test_a_diverged_model_is_not_saved(tmp_path: Path) -> None:
    bad = model()
    with torch.no_grad():
        bad.scorer.b[2] = float("nan")
    with pytest.raises(DataError, match=r"scorer\.b holds NaN"):
        save_model(tmp_path / "m", bad)
    assert not list(tmp_path.iterdir())


def test_a_head_that_cannot_be_named_again_is_not_saved(tmp_path: Path) -> None:
    class Mine(LowRank):
        pass

    with pytest.raises(DataError, match="Mine"):
        save_model(tmp_path / "m", replace(model(), head=Mine(3)))


@pytest.mark.parametrize("fact", [float("nan"), object(), b"bytes", np.float32(1)])
def test_a_fact_that_is_no_json_value(tmp_path: Path, fact: object) -> None:
    with pytest.raises(DataError, match="no JSON value"):
        save_model(tmp_path / "m", replace(model(), facts={"x": fact}))


def test_nothing_but_a_saved_model_is_overwritten(tmp_path: Path, folder: Path) -> None:
    precious = tmp_path / "thesis"
    precious.mkdir()
    (precious / "chapter.txt").write_text("years of work")
    (tmp_path / "file").write_text("text")
    (folder / "notes.md").write_text("mine")
    for place in (precious, tmp_path / "file", folder):
        with pytest.raises(DataError, match="not a saved model"):
            save_model(place, model(seed=1))
    assert (precious / "chapter.txt").read_text() == "years of work"
    assert (tmp_path / "file").read_text() == "text"
    assert load_model(folder).facts["seed"] == 0


def test_an_older_model_and_an_empty_folder_are_replaced(tmp_path: Path, folder: Path) -> None:
    save_model(folder, model(Attention(2), seed=1))
    assert load_model(folder).head == Attention(2)
    (tmp_path / "empty").mkdir()
    save_model(tmp_path / "empty", model())
    save_model(tmp_path / "a" / "b" / "c", model())  # parents are made
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "empty", "m"]


def test_a_model_that_somebody_changed_is_not_overwritten(folder: Path) -> None:
    file = folder / DESCRIPTION
    file.write_text(file.read_text().replace('"pafo"', '"mine"'))
    before = file.read_bytes()
    with pytest.raises(DataError, match="changed after it was saved"):
        save_model(folder, model(seed=1))
    assert file.read_bytes() == before
    arrays = {"w": torch.zeros(2)}
    (folder / ARRAYS).write_bytes(safetensors.torch.save(arrays))  # a model of another program, of the same name
    file.unlink()
    with pytest.raises(DataError, match="not a saved model"):
        save_model(folder, model(seed=1))
    assert torch.equal(safetensors.torch.load((folder / ARRAYS).read_bytes())["w"], arrays["w"])


def test_no_user_and_no_text_is_in_the_files(tmp_path: Path) -> None:
    """Features fitted on texts with a word of their own: neither file holds it."""
    from evenhand.encode.projection import FeatureMap

    texts = [f"zanzibar{i % 7} quoll response number {i}" for i in range(40)]
    feature_map = FeatureMap.fit(texts, None, dim=5)
    save_model(tmp_path / "m", replace(model(), features=feature_map.state()))
    for file in (tmp_path / "m").iterdir():
        content = file.read_bytes().lower()
        assert b"zanzibar" not in content
        assert b"quoll" not in content
