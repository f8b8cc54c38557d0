"""What every engine holds, of processes of this machine. Before the cluster's own file: a process that is connected to Ray is not copied but started anew."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_engines import (  # noqa: F401 - asked of the engine below
    test_a_piece_that_kills_its_process_is_lost_and_all_others_come,
    test_a_process_that_dies_once_costs_no_result,
    test_results_are_those_of_one_process_and_workers_hold_what_they_were_given,
    test_rows_are_scored_by_workers_as_by_one_process,
    test_texts_are_encoded_by_workers_as_by_one_process,
    test_what_fails_before_the_first_piece_is_told,
    test_what_the_work_raises_is_raised_here,
    test_words_are_tagged_by_workers_as_by_one_process,
)

from evenhand.engines import Engine
from evenhand.engines.here import Processes


@pytest.fixture
def engine() -> Engine:
    return Processes(2)


def test_texts_are_written_by_workers_as_by_one_process(tmp_path: Path) -> None:
    from tiny_models import tiny_llama

    import evenhand

    model, prompts = str(tiny_llama(tmp_path / "llama", chat=True)), [{"prompt": f"Say {word}."} for word in ("a", "bc", "def", "g", "hi")]
    asked_for = {"model": model, "k": 2, "max_tokens": 6, "dtype": "float32", "batch": 3}
    alone = evenhand.generate(prompts, out=tmp_path / "alone.jsonl", **asked_for)
    dealt = evenhand.generate(prompts, out=tmp_path / "dealt.jsonl", engine=Processes(2), **asked_for)
    assert dealt.rows == alone.rows
    assert len(dealt.rows) == 10
