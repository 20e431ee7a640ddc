"""Refusals word for word: what, where, and how to mend it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_maxact.errors import InputError
from pytest_maxact.judge.limits.deploy import fitness_limits
from pytest_maxact.judge.limits.file import builtin_path, is_limits, load_limits, parse_limits
from pytest_maxact.judge.limits.regression import relative_limits
from pytest_maxact.judge.limits.rules import require_protocol, select_rules
from pytest_maxact.judge.limits.schema.document import LimitsDocument
from pytest_maxact.judge.limits.waivers import refuse_unmatched
from pytest_maxact.judge.limits.yaml_loader import MOST_BYTES
from pytest_maxact.record.identity import Identity
from tests.support.limits import FAMILY, HEAD, QWEN3, refusal, rules_of
from tests.support.records import site, sites
from tests.support.waivers import limit, waiver

LLAMA = Identity(model_type="llama", layers=2, hidden_size=8)


def said(act: Callable[[], object]) -> str:
    with pytest.raises(InputError) as caught:
        act()
    return str(caught.value)


def test_no_family_for_a_model_type() -> None:
    assert said(lambda: select_rules(load_limits(), LLAMA, sites(2))) == (
        f"no limits for model_type 'llama' (2 layers x 8) in {builtin_path()}\n"
        "  add `families: {llama: {model_types: [llama], limits: {hidden: ...}}}` to a file that begins with `version:"
        " 1`, `extends: builtin`, and give it with `limits`;\n"
        "  or let a run write them (`limits`=FILE `update`=new), or use `family` generic: "
        "nothing non-finite, every site seen, FP16 range"
    )


def test_no_such_family() -> None:
    names = list(load_limits()[0].document.families)
    listed = ", ".join([*names, "generic"])
    assert said(lambda: select_rules(load_limits(), LLAMA, sites(2), "qwen33")) == (
        f"`family` qwen33: no such family in {builtin_path()}\n  did you mean 'qwen3'? there are {listed}"
    )


def test_a_family_of_both_files_is_listed_once(tmp_path: Path) -> None:
    text = "version: 1\nextends: builtin\nfamilies: {qwen3: {limits: {hidden: 1}}, mine: {limits: {hidden: 1}}}\n"
    listed = refusal(text, tmp_path, family="zzz").partition("there are ")[2].split(", ")
    assert listed[:2] == ["qwen3", "mine"]
    assert len(listed) == len(set(listed))
    assert listed[-1] == "generic"


def test_no_limits_for_a_shape(tmp_path: Path) -> None:
    text = HEAD + FAMILY + "    limits: {gate: 3}\n"
    assert refusal(text, tmp_path) == (
        "family 'qwen3' has no limits for a model of 2 layers x 64, nor an envelope\n"
        f"  add a shape, `limits:` or `envelope:` to families.qwen3 in {tmp_path / 'limits.yaml'}, or let a"
        " run write them (`limits`=FILE `update`=new), or judge with `family` generic"
    )


def test_a_limit_that_matches_no_site(tmp_path: Path) -> None:
    assert refusal(HEAD + FAMILY + "    limits:\n      hidden: 1\n      router: 2\n", tmp_path) == (
        f"{tmp_path / 'limits.yaml'}:9: kind 'router' matches no site of this model, so its limit would never be"
        " checked\n"
        "  the model has layers 0 to 1 with kinds embedding, hidden, attn_output, mlp_output, gate, final_norm; correct"
        " or remove the limit"
    )
    experts = refusal(HEAD + FAMILY + "    limits: {hidden: 1}\n    max_unreached_experts: 0.5\n", tmp_path)
    assert experts.startswith(f"{tmp_path / 'limits.yaml'}:8: max_unreached_experts matches no site of this model, so")
    flat = refusal(HEAD + FAMILY + "    limits: {router: 2}\n", tmp_path, model=[site("embedding")])
    assert "the model has layers 0 to 0 with kinds embedding; " in flat


def test_limits_of_another_protocol() -> None:
    rules = select_rules(load_limits(), QWEN3, sites(36))
    assert said(lambda: require_protocol("deployed", rules)) == (
        "the limits of family 'qwen3' hold for protocol 'paper', the measurement is of protocol 'deployed'\n"
        "  measure under protocol paper, give a limits file that says `protocol: deployed` beside `version: 1`,\n"
        "  or judge by family generic"
    )


def test_an_extension_under_another_protocol(tmp_path: Path) -> None:
    assert refusal("version: 1\nextends: builtin\nprotocol: deployed\n", tmp_path) == (
        f"{tmp_path / 'limits.yaml'}:3: protocol 'deployed' cannot extend the shipped limits, which hold for 'paper'\n"
        "  leave out `extends`, and state figures measured under 'deployed'"
    )


def test_a_relative_pattern_that_matches_no_site(tmp_path: Path) -> None:
    path = tmp_path / "limits.yaml"
    files = parse_limits("version: 1\ngeneric: {}\nregression:\n  sites:\n    gate: {max_growth: 2}\n", path)
    assert said(lambda: relative_limits(files, sites(1), (), "v1")) == (
        f"{path}:5: pattern 'gate' matches no site of this model, so it would never be checked\n  correct or remove it"
    )


def test_a_comparison_of_nothing(tmp_path: Path) -> None:
    files = parse_limits("version: 1\ngeneric: {}\n", tmp_path / "limits.yaml")
    assert said(lambda: relative_limits(files, sites(1), (), "v1")) == (
        f"{tmp_path / 'limits.yaml'} sets no relative limit, so nothing would be compared with v1\n"
        "  add `regression: {max_growth: 1.5, growth_floor: 0.5}`, or `extends: builtin` for the shipped ones"
    )


def test_a_scheme_without_limits(tmp_path: Path) -> None:
    files = parse_limits("version: 1\ngeneric: {}\n", tmp_path / "limits.yaml")
    assert said(lambda: fitness_limits(files, ["W8A8"], [site("layers.0.o_in")], True)) == (
        f"{tmp_path / 'limits.yaml'} sets no limit for scheme W8A8, so nothing would be checked\n"
        "  add `deploy: {min_sqnr_db: 20, max_mean_kl: 0.1}`, or `extends: builtin` for the shipped ones"
    )


def test_a_bound_that_no_number_breaks(tmp_path: Path) -> None:
    text = "version: 1\nheadroom: 1.0e+30\n" + FAMILY + "    limits: {hidden: 1.0e+10}\n"
    assert refusal(text, tmp_path) == (
        f"{tmp_path / 'limits.yaml'}:6: layers.0.hidden::max_abs would be limited to 1e+40 (1e+10 with headroom 1e+30),"
        " which no number breaks\n  lower the figure or its headroom"
    )


def test_a_waiver_of_nothing() -> None:
    assert said(lambda: refuse_unmatched([waiver("layers.9.hidden", "max_*")], [("", limit())])) == (
        "limits.yaml:4: this waiver (layers.9.hidden, max_*) matches no check of this run\n"
        "  correct its patterns, say `family:` where it is meant for another one, or remove it; `nonfinite` cannot be"
        " waived but for a tensor by name, as in `site: weights.lm_head.weight`"
    )


def test_a_waiver_of_a_tensor_stands_before_one_of_nothing() -> None:
    both = [waiver("weights.lm_head.weight"), waiver("layers.9.hidden")]
    assert "(layers.9.hidden, *) matches no check" in said(lambda: refuse_unmatched(both, [("", limit())]))
    refuse_unmatched(both[:1], [("", limit())])


def test_a_waiver_of_everything() -> None:
    both = [("", limit()), ("", limit(site="embedding"))]
    assert said(lambda: refuse_unmatched([waiver("*", "max_abs")], both)) == (
        "limits.yaml:4: this waiver (*, max_abs) lets pass all 2 checks of this run that can be waived\n"
        "  name the sites that are known to fail, or say `everything: true` where it is meant"
    )


# Files


def test_no_file(tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    assert said(lambda: load_limits(path)) == (
        f"no limits file at {path}\n  `limits` takes a YAML file; without it the shipped limits apply"
    )


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_text("version: 1\n" + "#" * MOST_BYTES)
    assert said(lambda: load_limits(path)) == (
        f"the limits file {path} is larger than {MOST_BYTES >> 20} MiB\n  `limits` takes a file of YAML"
    )
    text = "version: 1\nextends: builtin\n"
    path.write_text(text + "#" * (MOST_BYTES - len(text)))
    assert len(load_limits(path)) == 2, "of just the largest size it is"


def test_what_is_no_file_is_said_to_be_none(tmp_path: Path) -> None:
    assert said(lambda: load_limits("/dev/null")) == (
        "the limits file /dev/null is a device, and no file\n  `limits` takes a file of YAML, in UTF-8"
    )
    assert said(lambda: load_limits(tmp_path)) == (
        f"the limits file {tmp_path} is a folder, and no file\n  `limits` takes a file of YAML, in UTF-8"
    )


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("version: 1\nsource: 'paper\n", 3, "found unexpected end of stream"),
        ("version: 1\nsource: 2026-13-45\n", 2, "month must be in 1..12"),
        ("version: 1\nfamilies:\n  a: [1, {b: 2026-13-45}]\n", 3, "month must be in 1..12"),
    ],
)
def test_malformed_yaml(text: str, line: int, problem: str, tmp_path: Path) -> None:
    assert refusal(text, tmp_path) == (
        f"{tmp_path / 'limits.yaml'}:{line}: malformed YAML: {problem}\n"
        "  correct the line; thresholds.yaml in the package shows the form"
    )


def test_a_key_given_twice(tmp_path: Path) -> None:
    assert refusal("version: 1\nsource: a\nsource: b\n", tmp_path) == (
        f"{tmp_path / 'limits.yaml'}:3: 'source' is given twice, first on line 2\n  keep one of them"
    )
    long = "k" * 61
    assert f":3: '{'k' * 28}...{'k' * 28}' is given twice" in refusal(f"version: 1\n{long}: a\n{long}: b\n", tmp_path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- 1\n", "1: a limits file is a mapping that begins with `version: 1`"),
        ("version: 1\n", "1: no families, so no limits\n  add `families:`, or `extends: builtin`"),
        ("version: 1\nheadrom: 2\n", "2: headrom: unknown key; did you mean 'headroom'?"),
        (HEAD + "generic: {max_ab: 1}\n", "4: generic.max_ab: unknown key; did you mean 'max_abs'?"),
        (HEAD + "generic:\n  weights: {mis: 1}\n", "5: generic.weights.mis: unknown key; did you mean 'misfit'?"),
        (HEAD + "text: {tokens: 1, samples: 1, sample: 2}\n", "4: text.sample: unknown key; did you mean 'samples'?"),
        (HEAD + "deploy: {min_sqnr: 1}\n", "4: deploy.min_sqnr: unknown key; did you mean 'min_sqnr_db'?"),
        (
            HEAD + "deploy:\n  schemes:\n    W8A8: {min_sqnr: 1}\n",
            "6: deploy.schemes.W8A8.min_sqnr: unknown key; did you mean 'min_sqnr_db'?",
        ),
        (HEAD + "margins: {smal: 1}\n", "4: margins.smal: unknown key; did you mean 'small'?"),
        (
            HEAD + "margins: {least: {hiden: 2}}\n",
            "4: margins.least.hiden: no site kind called 'hiden'; did you mean 'hidden'?",
        ),
        (
            HEAD + FAMILY + "    envelope: {headroom: 2, headrom: 2}\n",
            "7: families.qwen3.envelope.headrom: unknown key; did you mean 'headroom'?",
        ),
        (
            HEAD + FAMILY + "    shapes: [{name: T, layers: 2, hidden_size: 8, limits: {}, headroom: {int9: 2}}]\n",
            "7: families.qwen3.shapes.0.headroom.int9: no site kind called 'int9'; did you mean 'int8'?",
        ),
        (
            HEAD + FAMILY + "    shapes: [{name: T, layers: 2, hidden_size: 8, limits: {}, medians: {hiden: 0=2}}]\n",
            "7: families.qwen3.shapes.0.medians.hiden: no site kind called 'hiden'; did you mean 'hidden'?",
        ),
        (
            HEAD + FAMILY + "    shapes: [{name: T, layers: '2', hidden_size: 8, limits: {}}]\n",
            "7: families.qwen3.shapes.0.layers: '2' is text, not a number; write 100000 or 1.0e+5, with no 0 before it,"
            " no `_` and no `:`",
        ),
        (
            HEAD + "waive: [{site: a, reason: b, owner: c, until: 31.03.2026}]\n",
            "4: waive.0.until: '31.03.2026' is no date; write it as 2027-01-31, without quotes",
        ),
        (
            HEAD + FAMILY + "    limits: {int8: 2}\n",
            "7: families.qwen3.limits.int8: no site kind called 'int8'; there are ",
        ),
        (
            HEAD + "waive: [{site: a, reason: b, owner: c, until: 2027-01-31, ownr: d}]\n",
            "4: waive.0.ownr: unknown key; did you mean 'owner'?",
        ),
        (
            f"version: 1\nheadroom: {'a' * 99}\ngeneric: {{}}\n",
            f"2: headroom: '{'a' * 38}...{'a' * 38}' is text, not a number; write 100000 or 1.0e+5, with no 0 "
            "before it, no `_` and no `:`",
        ),
        (
            f"version: 1\nheadroom: {'some words ' * 9}\n",
            f"2: headroom: '{'some words ' * 6}some words ...' is text, not a number; write 100000 or 1.0e+5, "
            "with no 0 before it, no `_` and no `:`",
        ),
        (f"version: 1\ngeneric: {{}}\n{'k' * 99}: 1\n", f"3: {'k' * 38}...{'k' * 38}: unknown key; there are "),
    ],
)
def test_a_fault_in_a_document(text: str, told: str, tmp_path: Path) -> None:
    """Whole, but for what there is where nothing is alike."""
    found = refusal(text, tmp_path).removeprefix(f"{tmp_path / 'limits.yaml'}:")
    assert found[: len(told)] == told
    assert found == told or told.endswith("there are ")


def test_three_faults_are_shown_and_a_fourth_counted(tmp_path: Path) -> None:
    text = HEAD + FAMILY + "    limits: {hidden: -1, gate: -1, router: -1}\n"
    assert len(refusal(text, tmp_path).splitlines()) == 3
    told = refusal(text.replace("-1}", "-1, embedding: -1}"), tmp_path).splitlines()
    assert told[0] == f"{tmp_path / 'limits.yaml'}:7: families.qwen3.limits.hidden: should be greater than 0, not -1"
    assert told[3:] == ["  and 1 more"]


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("version: 1\n", True),
        ("version: 1\nfamilies: {}\nheadroom: 2\n", True),
        ("version: 9\nsource: 3\n", True),
        ("headroom: 2\n", False),
        ("version: 1\nrepos: []\n", False),
        ("\n".join(f"{key}: 1" for key in LimitsDocument.model_fields), True),
        ("- version\n", False),
        ("version: [\n", False),
        ("", False),
    ],
)
def test_a_limits_file_is_known_by_its_keys(text: str, is_one: bool, tmp_path: Path) -> None:
    path = tmp_path / "any.yaml"
    path.write_text(text)
    assert is_limits(path) is is_one
    assert not is_limits(tmp_path / "none.yaml")
    assert not is_limits(tmp_path)


def test_what_a_file_of_ones_own_says_comes_first(tmp_path: Path) -> None:
    rules = rules_of("version: 1\nextends: builtin\ngeneric: {max_abs: 9}\n", tmp_path, QWEN3, family="generic")
    assert {limit.bound for limit in rules.limits if limit.metric.name == "max_abs"} == {9.0}
    assert rules.files[0] == str(tmp_path / "limits.yaml")
