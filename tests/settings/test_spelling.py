"""A name that nobody knows is told with the one that was meant, and ours from those of other plugins."""

import pytest

from pytest_maxact.settings.option import PREFIX
from pytest_maxact.settings.options import OPTIONS
from pytest_maxact.settings.spelling import did_you_mean, nearest, ours

FIELDS = [option.field for option in OPTIONS]


@pytest.mark.parametrize(
    ("word", "meant"),
    [("jugde", "judge"), ("JUDGE", "judge"), ("jud-ge", "judge"), ("suggests", "suggest"), ("gate", ""), ("", "")],
)
def test_the_nearest_name_is_found_whatever_its_case_and_separators(word: str, meant: str) -> None:
    assert nearest(word, ["measure", "judge", "suggest"]) == meant


def test_a_suggestion_is_a_question_and_nothing_where_none_is_near() -> None:
    assert did_you_mean("modle", FIELDS, "maxact_") == "; did you mean maxact_model?"
    assert did_you_mean("xyz", FIELDS) == ""


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("maxact_modle", "model"),
        ("max_act_model", "model"),
        ("maxact-model", "model"),
        ("maxactmodel", "model"),
        ("MAXACT_MODEL", "model"),
        ("maxact.model", "model"),
        ("maxat_model", "model"),
        ("macact_replay", "replay"),
        ("pytest_maxact_model", "model"),
        ("--maxact-modle", "model"),
        ("--max-act-limt", "limits"),
        ("--maxact_max_samples", "max_samples"),
        ("maxact_samples", "max_samples"),
        ("maxact_basline", "baseline"),
        ("maxact_", ""),
        ("maxact", ""),
        ("--max-act", ""),
        ("maxact_threshold", ""),
    ],
)
def test_what_was_meant_for_the_gate_is_known_as_its_own(name: str, meant: str) -> None:
    assert ours(name, PREFIX, FIELDS) == meant


OTHERS = """
max_active max_actions max_activations max_active_connections maxfail max_attempts max_asyncio_tasks model minversion
maximum_seq_len django_find --max-worker-restart --max-slave-restart
"""


@pytest.mark.parametrize("name", OTHERS.split())
def test_what_was_meant_for_another_plugin_is_left_to_it(name: str) -> None:
    assert ours(name, PREFIX, FIELDS) is None


@pytest.mark.parametrize("field", FIELDS)
def test_every_name_is_known_with_two_letters_changed_over(field: str) -> None:
    swapped = f"{field[:-2]}{field[-1]}{field[-2]}"
    assert ours(f"{PREFIX}_{swapped}", PREFIX, FIELDS) == field
