"""The report: within its columns, without colour where none is wanted, for deep models, breaches first."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_maxact.judge.limits.file import load_limits
from pytest_maxact.judge.limits.rules import select_rules
from pytest_maxact.judge.verdict.check import judge
from pytest_maxact.record.identity import identity_of
from pytest_maxact.record.record import Record
from pytest_maxact.report.terminal.layers import LEGEND
from tests.support.records import record, sites
from tests.support.reports import report_of


def deep(
    layers: int = 64, peak: float = 900.0, kinds: tuple[str, ...] = ("hidden", "attn_output", "mlp_output", "gate")
) -> Record:
    rng = np.random.default_rng(0)
    values = {site.name: rng.normal(size=(3, 8)).astype(np.float32) for site in sites(layers, kinds)}
    truncated = {name: (v.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32) for name, v in values.items()}
    truncated[f"layers.{layers // 2}.hidden"][1, 4] = -peak
    return record(
        truncated,
        layers=layers,
        hidden_size=8,
        model="org/a-rather-long-name-of-a-checkpoint-that-somebody-chose-for-a-release-in-november",
    )


def shown(measured: Record, width: int = 80, limits: Path | None = None, **options: Any) -> str:
    sites_seen = [reading.site for reading in measured.sites.values()]
    rules = select_rules(load_limits(limits), identity_of(measured.provenance), sites_seen)
    return report_of(measured, rules, judge(measured, rules.limits), width=width, **options)


# What the limits were measured on


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({}, ""),
        ({"tokens": 7000}, "on 7 000 tokens of corpus mine ("),  # the same samples, cut
        (
            {"sha256": "0" * 12, "tokens": 7000},
            "on 7 000 tokens of corpus mine (000000000000) in bfloat16, this run on 6 tokens of ",
        ),
        (
            {"sha256": "0" * 12, "tokens": 2},
            "on 2 tokens of corpus mine (000000000000) in bfloat16, this run on 6 tokens of ",
        ),
        ({"dtype": "float32"}, "in float32, this run on 6 tokens of "),
    ],
)
def test_limits_that_were_measured_otherwise_are_remarked(stated: dict[str, object], said: str, tmp_path: Path) -> None:
    measured = deep(4)
    digest = measured.provenance.corpus_sha256[:12]
    on = {"corpus": "mine", "sha256": digest, "tokens": 6, "dtype": "bfloat16", **stated}
    place = ", ".join(f"{key}: {value!r}" for key, value in on.items())
    own = tmp_path / "own.yaml"
    own.write_text(
        "version: 1\n"
        "extends: builtin\n"
        "families: {qwen3: {shapes: [{name: house, layers: 4, hidden_size: 8, limits: {hidden: 900}, measured: "
        f"{{{place}}}}}]}}}}\n"
    )
    text = " ".join(shown(measured, limits=own).split())
    assert ("The figures of shape house were measured" in text) == bool(said)
    assert said in text
    assert ("a maximum over fewer tokens is a lower bound" in text.partition("The figures of shape")[2]) == (
        on["tokens"] == 7000
    )


@pytest.mark.parametrize("width", [80, 100, 132])
@pytest.mark.parametrize(
    "kinds",
    [("hidden", "attn_output", "mlp_output", "gate"), ("hidden", "attn_output", "mlp_output", "gate", "router")],
)
def test_sixty_four_layers_fit_the_columns_one_row_each(width: int, kinds: tuple[str, ...]) -> None:
    text = shown(deep(kinds=kinds), width, whole=True)
    assert max(map(len, text.splitlines())) <= width
    rows = [line for line in text.splitlines() if re.match(r"(\d+|embed|norm) .*[█░]{10}", line)]
    assert [row.split()[0] for row in rows] == ["embed", *map(str, range(64)), "norm"]
    assert not [row for row in rows if "…" in row]
    assert re.search(r"^M +900 in layers\.32\.hidden", text, re.MULTILINE)


def test_words_below_the_layers_are_those_of_their_columns() -> None:
    text = shown(deep(4))
    header = next(line for line in text.splitlines() if line.startswith("layer "))
    assert LEGEND in " ".join(text.split())
    explained = re.findall(r"(\S+): ", LEGEND)
    assert {"max|a|", "INT-8"} <= set(explained) <= set(header.split())


def test_without_colour_there_is_no_escape_and_with_colour_there_is() -> None:
    measured = deep(4)
    rules = select_rules(load_limits(), identity_of(measured.provenance), [r.site for r in measured.sites.values()])
    findings = judge(measured, rules.limits)
    assert "\x1b[" not in report_of(measured, rules, findings)
    assert "\x1b[" in report_of(measured, rules, findings, color=True)


def test_a_terminal_that_cannot_show_blocks_gets_ascii() -> None:
    text = shown(deep(4), encoding="ascii")
    assert text.isascii()
    assert "##" in text or "#." in text


def test_breaches_come_first_in_words_and_their_rows_are_marked(tmp_path: Path) -> None:
    limits = tmp_path / "limits.yaml"
    limits.write_text(
        "version: 1\nheadroom: 1\nfamilies:\n  mine: {model_types: [qwen3], limits: {hidden: 100, attn_output: 0.01}}\n"
    )
    text = shown(deep(4), limits=limits)
    first, second = text.splitlines()[:2]
    assert first.startswith("FAIL: 5 of ")
    assert second.startswith("- layers.2.attn_output: max_abs 2.54688")
    assert "- layers.2.hidden: max_abs 900 at sample s0, token 1" in text
    assert text.index("FAIL") < text.index("model ")
    marked = [line for line in text.splitlines() if "FAIL" in line and "█" in line]
    assert len(marked) == 5


def test_many_breaches_are_counted_not_all_listed(tmp_path: Path) -> None:
    limits = tmp_path / "limits.yaml"
    limits.write_text("version: 1\nfamilies:\n  mine: {model_types: [qwen3], limits: {hidden: 0.0001}}\n")
    text = shown(deep(64), limits=limits)
    assert text.startswith("FAIL: 64 of")
    assert "- and 52 more" in text


def test_it_says_where_m_stands_and_whether_fp16_holds_it() -> None:
    calm, wild = " ".join(shown(deep(4)).split()), " ".join(shown(deep(4, peak=70144.0)).split())
    assert "above Qwen3.5-35B-A3B (132) and below Qwen3.5-9B (956)" in calm
    assert "FP16 no observed site exceeds 65 504; layers.2.hidden uses 1.37%; attention scores unchecked" in calm
    assert "FP16 does not fit: 1 site above 65 504 or not finite: layers.2.hidden" in wild


def test_an_envelope_is_marked_as_such() -> None:
    assert "envelope: nobody published this shape" in " ".join(shown(deep(4)).split())
