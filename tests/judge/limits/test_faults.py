"""Every fault of a limits file is named with its line, its key and what was meant."""

import re
from pathlib import Path

import pytest

from pytest_maxact.errors import InputError
from pytest_maxact.judge.limits.file import load_limits
from tests.support.limits import FAMILY, HEAD, refusal, rules_of

FAULTS: dict[str, tuple[str, int, str]] = {
    "malformed": (HEAD + "families: {qwen3: [\n", 5, "malformed YAML"),
    "a tab": (HEAD + "families:\n\tqwen3: {}\n", 5, "malformed YAML"),
    "an unclosed quote": (HEAD + "source: 'paper\n", 5, "malformed YAML"),
    "a Python object": (
        HEAD + "source: !!python/object/apply:os.system [ls]\n",
        4,
        "malformed YAML: the tag 'tag:yaml.org,2002:python/object/apply:os.system'; write the value alone",
    ),
    "two documents": (HEAD + "---\nversion: 1\n", 4, "malformed YAML"),
    "a key given twice": (
        HEAD + FAMILY + "    limits:\n      hidden: 1\n      gate: 2\n      hidden: 3\n",
        10,
        "'hidden' is given twice, first on line 8",
    ),
    "a family given twice": (
        HEAD + "families:\n  a: {limits: {hidden: 1}}\n  a: {limits: {hidden: 9}}\n",
        6,
        "'a' is given twice, first on line 5",
    ),
    "a family that is called as what all share": (
        HEAD + "families:\n  qwen3: {limits: {hidden: 1}}\n  generic: {layers: {layers.*: {hidden: 1}}}\n",
        6,
        "families.generic: no family is called so",
    ),
    "an unknown top key": ("version: 1\nheadrom: 2.0\n" + FAMILY, 2, "headrom: unknown key; did you mean 'headroom'?"),
    "an unknown family key": (
        HEAD + FAMILY + "    limit: {hidden: 1}\n",
        7,
        "families.qwen3.limit: unknown key; did you mean 'limits'?",
    ),
    "an unknown shape key": (
        HEAD
        + FAMILY
        + "    shapes:\n      - name: A\n        layers: 1\n        hidden_siz: 2\n        hidden_size: 2\n       "
        " limits: {}\n",
        10,
        "families.qwen3.shapes.0.hidden_siz: unknown key; did you mean 'hidden_size'?",
    ),
    "an unknown int8 key": (
        HEAD + FAMILY + "    int8:\n      - sqnr_db: 1\n        polcy: max_abs\n",
        9,
        "families.qwen3.int8.0.polcy: unknown key; did you mean 'policy'?",
    ),
    "an unknown key of a lone int8 rule": (
        HEAD + FAMILY + "    int8:\n      sqnr_db: 1\n      polcy: max_abs\n",
        9,
        "unknown key; did you mean 'policy'?",
    ),
    "a key like no other": (
        HEAD + "zebra: 1\n" + FAMILY,
        4,
        "zebra: unknown key; there are version, extends, protocol",
    ),
    "an unknown kind": (
        HEAD + FAMILY + "    limits:\n      hiden: 1\n",
        8,
        "no site kind called 'hiden'; did you mean 'hidden'?",
    ),
    "an unknown kind of a pattern": (
        HEAD + FAMILY + "    layers:\n      'layers.0.*':\n        gat: 1\n",
        9,
        "no site kind called 'gat'; did you mean 'gate'?",
    ),
    "a negative figure": (
        HEAD + FAMILY + "    limits:\n      hidden: -1\n",
        8,
        "limits.hidden: should be greater than 0, not -1",
    ),
    "zero": (HEAD + FAMILY + "    limits:\n      hidden: 0\n", 8, "limits.hidden: should be greater than 0, not 0"),
    "NaN": (
        HEAD + FAMILY + "    limits:\n      hidden: .nan\n",
        8,
        "limits.hidden: nan is not a limit; write a finite number",
    ),
    "infinity": (
        HEAD + FAMILY + "    limits:\n      hidden: .inf\n",
        8,
        "limits.hidden: inf is not a limit; write a finite number",
    ),
    "negative infinity": (
        HEAD + FAMILY + "    limits:\n      hidden: -.inf\n",
        8,
        "limits.hidden: -inf is not a limit; write a finite number",
    ),
    "NaN in dB": (HEAD + FAMILY + "    int8:\n      - sqnr_db: .nan\n", 8, "nan is not a limit; write a finite number"),
    "NaN as headroom": (
        "version: 1\nheadroom: .nan\n" + FAMILY,
        2,
        "headroom: nan is not a limit; write a finite number",
    ),
    "a number that YAML reads as text": (
        HEAD + FAMILY + "    limits:\n      hidden: 1_000\n",
        8,
        "limits.hidden: '1_000' is text, not a number; write 100000 or 1.0e+5, with no 0 before it, no `_` and no `:`",
    ),
    "a quoted number": (HEAD + FAMILY + "    limits:\n      hidden: '100'\n", 8, "'100' is text, not a number"),
    "a boolean": (
        HEAD + FAMILY + "    limits:\n      hidden: true\n",
        8,
        "limits.hidden: should be a valid number, not True",
    ),
    "a missing number": (
        HEAD + FAMILY + "    limits:\n      hidden:\n",
        8,
        "limits.hidden: should be a valid number, not None",
    ),
    "an impossible date": (HEAD + FAMILY + "    limits:\n      hidden: 2026-13-45\n", 8, ""),
    "headroom below 1": (
        "version: 1\nheadroom: 0.9\n" + FAMILY,
        2,
        "headroom: should be greater than or equal to 1, not 0.9",
    ),
    "headroom of an envelope below 1": (
        HEAD + FAMILY + "    envelope: {headroom: 0.5}\n",
        7,
        "envelope.headroom: should be greater than or equal to 1",
    ),
    "two bounds of int8": (
        HEAD + FAMILY + "    int8:\n      - {sqnr_db: 9, min_sqnr_db: 8}\n",
        8,
        "give sqnr_db (a figure, with headroom) or min_sqnr_db",
    ),
    "no bound of int8": (
        HEAD + FAMILY + "    int8:\n      - {site: carrier, policy: max_abs}\n",
        8,
        "an int8 rule needs a bound: sqnr_db, min_sqnr_db",
    ),
    "an unknown policy": (HEAD + FAMILY + "    int8:\n      - {policy: clip_q2, sqnr_db: 1}\n", 8, "int8.0.policy"),
    "a policy that clips everything": (
        HEAD + FAMILY + "    int8:\n      - {policy: clip_q0.0, sqnr_db: 1}\n",
        8,
        "int8.0.policy",
    ),
    "a share above 1": (
        HEAD + FAMILY + "    int8:\n      - {max_clip_rate: 1.5}\n",
        8,
        "max_clip_rate: should be less than or equal to 1, not 1.5",
    ),
    "an unknown version": ("version: 2\n" + FAMILY, 1, "version: should be 1, not 2"),
    "no version": ("headroom: 2.0\n" + FAMILY, 1, "version: is missing; a limits file begins with `version: 1`"),
    "limits of no family": (
        "version: 1\nlimits: {hidden: 3}\n" + FAMILY,
        2,
        "limits: is no key here; it stands below a family, `families: {NAME: {limits: ...}}`",
    ),
    "an unknown protocol": (
        "version: 1\nprotocol: papr\n" + FAMILY,
        2,
        "protocol: should be 'paper' or 'deployed', not 'papr'",
    ),
    "a file to extend": (
        "version: 1\nextends: other.yaml\n" + FAMILY,
        2,
        "extends: should be 'builtin', not 'other.yaml'",
    ),
    "a shape without depth": (
        HEAD + FAMILY + "    shapes:\n      - {name: A, hidden_size: 2, limits: {}}\n",
        8,
        "shapes.0.layers: is missing",
    ),
    "half a layer": (
        HEAD + FAMILY + "    shapes:\n      - {name: A, layers: 1.5, hidden_size: 2, limits: {}}\n",
        8,
        "shapes.0.layers: should be a valid integer",
    ),
    "a list of limits": (HEAD + FAMILY + "    limits: [1, 2]\n", 7, "limits: should be a valid dictionary"),
    "tolerated non-finite entries": (
        HEAD + "generic: {nonfinite: 3}\n" + FAMILY,
        4,
        "generic.nonfinite: should be 0, not 3",
    ),
    "no families": (HEAD, 1, "no families, so no limits\n  add `families:`, or `extends: builtin`"),
    "an empty file": ("", 1, "a limits file is a mapping that begins with `version: 1`"),
    "a comment alone": ("# limits\n", 1, "a limits file is a mapping that begins with `version: 1`"),
    "a list": ("- version: 1\n", 1, "a limits file is a mapping that begins with `version: 1`"),
}


@pytest.mark.parametrize(("text", "line", "reason"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_refused_with_file_line_and_reason(text: str, line: int, reason: str, tmp_path: Path) -> None:
    message = refusal(text, tmp_path)
    assert message.startswith(f"{tmp_path / 'limits.yaml'}:{line}: "), message
    assert reason in message


def test_a_family_named_by_a_number_is_not_taken_for_a_site_kind(tmp_path: Path) -> None:
    message = refusal(HEAD + "families:\n  3: {limits: {hidden: 1}}\n", tmp_path)
    assert message.startswith(f"{tmp_path / 'limits.yaml'}:")
    assert "site kind" not in message


def test_a_control_character_is_refused_as_malformed(tmp_path: Path) -> None:
    assert "malformed YAML" in refusal(HEAD + "source: \x00\n", tmp_path)


def test_of_many_faults_the_first_three_are_shown(tmp_path: Path) -> None:
    text = HEAD + FAMILY + "    limits: {hidden: -1, gate: -1, router: -1, embedding: -1, final_norm: -1}\n"
    lines = refusal(text, tmp_path).splitlines()
    assert len(lines) == 4
    assert all(line.lstrip().startswith(str(tmp_path)) for line in lines[:3])
    assert lines[3] == "  and 2 more"


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError,
        match=f"no limits file at {re.escape(str(tmp_path / 'none.yaml'))}\n  `limits` takes a YAML file",
    ):
        load_limits(tmp_path / "none.yaml")


def test_a_folder_or_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(HEAD.encode() + b"source: Gr\xfc\xdfe\n")
    for path in (tmp_path, tmp_path / "latin.yaml"):
        with pytest.raises(InputError, match=f"the limits file {re.escape(str(path))}(: | is a folder)"):
            load_limits(path)


def test_extending_shipped_limits_under_another_protocol_is_refused(tmp_path: Path) -> None:
    message = refusal("version: 1\nextends: builtin\nprotocol: deployed\n", tmp_path)
    assert (
        f"{tmp_path / 'limits.yaml'}:3: protocol 'deployed' cannot extend the shipped limits, which hold for 'paper'"
        in message
    )


def test_limits_of_ones_own_may_hold_for_the_deployed_protocol(tmp_path: Path) -> None:
    text = "version: 1\nprotocol: deployed\nfamilies: {qwen3: {model_types: [qwen3], limits: {hidden: 1}}}\n"
    assert rules_of(text, tmp_path).protocol == "deployed"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "families: {q: {shapes: [{name: T, layers: 2, hidden_size: 4, limits: {}, measured: {corpus: c, "
            "sha256: abcdef01, dtype: float32, tokens: 1, tokes: 1}}]}}\n",
            "measured.tokes: unknown key; did you mean 'tokens'?",
        ),
        (
            "margins: {evidence: {growth: 1, family_fall: 2, family_median_fall: 2, growht: 1.1}}\n",
            "margins.evidence.growht: unknown key; did you mean 'growth'?",
        ),
        ("generic: {weights: {odd: 1}}\n", "weights.odd: unknown key; there are nonfinite, misfit, all_zero"),
    ],
)
def test_an_unknown_key_of_any_section_is_told_the_known_ones(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "limits.yaml").write_text("version: 1\n" + text)
    with pytest.raises(InputError) as caught:
        load_limits(tmp_path / "limits.yaml")
    assert told in str(caught.value)
