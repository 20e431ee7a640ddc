"""What a page says, and never says: its text for every outcome of a run, with names of every kind in it."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from pytest_maxact.errors import InputError, neutral, worded
from pytest_maxact.judge.account import UNFINISHED, Account
from pytest_maxact.judge.outcome import Checkpoint, Outcome
from pytest_maxact.judge.trust.interval import IntervalKind
from pytest_maxact.judge.verdict.tally import tally_of
from pytest_maxact.numbers.peaks import Around
from pytest_maxact.report.html import page as rendering
from pytest_maxact.report.html.assemble import page_of as assembled
from pytest_maxact.report.html.embedded import policy, script_json
from pytest_maxact.report.html.page import is_page, render_page
from pytest_maxact.report.html.tables import low_bits_table
from tests.support import fitness, records
from tests.support.accounts import account_of_all
from tests.support.hostile import NAMES, is_text
from tests.support.pages import LIMITS, accounted, drawn, kept, page_of, told
from tests.support.sampled import having, having_around

Accounts = Callable[[str], Account]


class Text(HTMLParser):
    """What a reader is shown of a page, element by element, and what its attributes are."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.texts.append(data)

    @property
    def said(self) -> str:
        return "\n".join(self.texts)


def verdict_of(page: str) -> tuple[str, str]:
    """The state of the box at the top, and the word in it."""
    state = re.search(r'<section class="verdict (\w+)"', page)
    word = re.search(r'<span class="word">([^<]*)</span>', page)
    assert state
    assert word
    return state[1], word[1]


def test_a_run_that_passed_is_green_and_one_that_failed_is_not(accounts: Accounts) -> None:
    assert verdict_of(page_of(accounts("breach"))) == ("bad", "FAIL")
    assert verdict_of(page_of(told(records.seen()))) == ("good", "PASS")


def left(account: Account) -> Account:
    outcome = account.outcome
    assert outcome
    assert outcome.verdict
    verdict = replace(outcome.verdict, left=3, unknown=3)
    return replace(account, verdict=verdict.word, outcome=replace(outcome, verdict=verdict))


def nothing_ran(account: Account) -> Account:
    assert account.outcome
    return replace(account, verdict="NONE", outcome=replace(account.outcome, verdict=tally_of([])))


def warned(account: Account) -> Account:
    outcome = account.outcome
    assert outcome
    assert outcome.verdict
    return replace(account, outcome=replace(outcome, verdict=replace(outcome.verdict, warnings=("too little text",))))


def unmeasured(account: Account) -> Account:
    faults = ("could not measure: CUDA out of memory",)
    checkpoint = Checkpoint(title="org/name", failure="CUDA out of memory")
    return replace(
        account, verdict="FAIL", faults=faults, outcome=Outcome(checkpoints=(checkpoint,), ran=5, faults=faults)
    )


@pytest.mark.parametrize(
    ("become", "expected"),
    [
        (left, ("warn", "PARTIAL")),
        (warned, ("warn", "PASS")),
        (nothing_ran, ("none", "NOT CHECKED")),
        (unmeasured, ("bad", "FAIL")),
        (lambda account: replace(account, faults=("xdist lost a worker",), verdict="FAIL"), ("bad", "FAIL")),
        (lambda account: Account(), ("bad", "NOT CHECKED")),
    ],
)
def test_no_page_is_green_over_less_than_a_whole_pass(
    become: Callable[[Account], Account], expected: tuple[str, str]
) -> None:
    account = become(told(records.seen()))
    page = page_of(account)
    assert verdict_of(page) == expected
    for fault in account.faults:
        assert worded(fault, neutral) in Text(page).said
    assert Text(page).texts


def test_a_page_of_what_could_not_be_measured_says_so_at_its_top() -> None:
    said = Text(page_of(unmeasured(told(records.seen())))).said
    assert "Nothing was checked: could not measure: CUDA out of memory" in said[: said.index("org/name") + 200]
    assert UNFINISHED in Text(page_of(Account())).said


def test_a_breach_is_told_with_all_that_it_takes_to_mend_it(accounts: Accounts) -> None:
    page = page_of(accounts("breach"))
    said = " ".join(Text(page).said.split())
    for words in (
        "layers.1.hidden max_abs", "24 exceeds the limit 9", "266.7% of the limit", "limits.yaml:6", "t0", "s0",
        "in channel 0", "at token 0", "broken export", "1 more check of this kind",
    ):  # fmt: skip
        assert words in said
    assert 'href="#layers.1.hidden"' in page
    assert 'id="layers.1.hidden"' in page


@pytest.fixture(scope="module")
def usual() -> Text:
    """A page of names that attack nothing."""
    return Text(page_of(replace(told(records.seen(69632.0), title="usual"), faults=(), asked={"a": "b"})))


def test_figures_of_a_series_name_the_checkpoint_that_they_are_of(accounts: Accounts) -> None:
    page = page_of(accounts("series"))
    assert "the others are of the last, <b>checkpoint-2000</b>." in page
    figures = {one.name: one for one in drawn(accounts("series"))}
    steps = [f"checkpoint-{step}" for step in (500, 1000, 1500, 2000)]
    for name in ("series", "series_layers", "series_channels", "series_low_bits"):
        assert f'id="figure-{name}"' in page
        assert list(dict.fromkeys(row["checkpoint"] for row in figures[name].rows)) == steps
    assert "the others are of the last" not in page_of(accounts("breach"))


def test_a_breach_shows_its_token_in_the_text_that_it_stands_in() -> None:
    page = page_of(told(having_around(records.seen(69632.0), Around(before="over the ", after=" and", begins=True))))
    assert '<span class="line quote">over the <mark>t0</mark> and...</span>' in page
    assert "line quote" not in page_of(told(records.seen(69632.0)))


@pytest.mark.parametrize("name", NAMES, ids=str)
def test_a_name_is_text_wherever_it_stands(name: str, tmp_path: Path, usual: Text) -> None:
    attack = NAMES[name]
    record = records.seen(69632.0)
    reading = record["layers.1.hidden"]
    around = Around(before=attack, after=attack)
    peaks = tuple(replace(peak, token=attack, sample=attack, around=around) for peak in reading.peaks)
    named = replace(
        record,
        provenance=replace(record.provenance, model=attack, revision=attack, corpus=attack),
        sites={**record.sites, "layers.1.hidden": replace(reading, peaks=peaks)},
    )
    account = told(named, title=attack)
    assert account.outcome
    assert account.outcome.verdict
    verdict = replace(account.outcome.verdict, warnings=(attack,))
    account = replace(
        account, faults=(attack,), asked={attack: attack}, outcome=replace(account.outcome, verdict=verdict)
    )
    page = page_of(account)
    found = Text(page)
    assert set(found.tags) <= set(usual.tags)
    assert {key for key, _ in found.attributes} <= {key for key, _ in usual.attributes} | {"class"}
    spelled = worded(attack, account.words)
    assert found.said.count(spelled.split("\n")[0]) >= 3
    for text in found.texts:
        assert is_text(text.replace("\n", ""))
    page.encode("utf-8")


@pytest.mark.parametrize("name", NAMES, ids=str)
def test_json_in_a_script_gives_names_back_and_ends_nothing(name: str) -> None:
    text = script_json({"name": NAMES[name], "list": [NAMES[name], float("nan")]}, str)
    assert not re.search(r"[<>&\u2028\u2029]", text)
    found = json.loads(text)
    assert found["list"] == [worded(NAMES[name], str), None]


def test_scripts_run_by_their_hash_alone_and_nothing_is_fetched(accounts: Accounts) -> None:
    page = page_of(accounts("breach"))
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(scripts) == 2
    (content,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert content.replace("&#39;", "'") == policy(scripts)
    assert "unsafe-eval" not in content
    assert "default-src &#39;none&#39;" in content
    for attribute, value in Text(page).attributes:
        assert not attribute.startswith("on")
        if attribute in ("src", "href"):
            assert value
            assert value.startswith("#")


def test_headings_follow_one_another(accounts: Accounts) -> None:
    levels = [int(tag[1]) for tag in Text(page_of(accounts("series"))).tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_a_page_is_told_from_other_files(tmp_path: Path) -> None:
    page, other = tmp_path / "a.html", tmp_path / "b.html"
    page.write_text(render_page(Account()))
    other.write_text("<!doctype html><title>mine</title>")
    assert is_page(page)
    assert not is_page(other)
    assert not is_page(tmp_path)


@pytest.mark.parametrize("library", ["jinja2", "vl_convert"])
def test_a_library_that_is_missing_is_named_with_the_extra(
    library: str, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = accounts("breach")
    figures = drawn(account)
    for kept_by in (rendering._environment, rendering.bundle):
        monkeypatch.setattr(rendering, kept_by.__name__, kept_by.__wrapped__)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InputError, match=r"pip install 'pytest-maxact\[report\]'"):
        render_page(account, figures)


def test_a_deep_model_is_written_in_seconds_and_stays_small(accounts: Accounts) -> None:
    import time

    account = accounts("deep")
    begun = time.process_time()
    page = page_of(account)
    assert time.process_time() - begun < 10
    assert len(page) < 3_000_000


def test_a_series_has_a_row_for_each_checkpoint_and_sites_of_those_that_fail(accounts: Accounts) -> None:
    page = page_of(accounts("series"))
    for step in (500, 1000, 1500, 2000):
        assert f">checkpoint-{step}<" in page
    assert 'id="c3.layers.1.hidden"' in page
    assert 'id="c0.layers.1.hidden"' not in page
    assert "<code>maxact::checkpoint-2000::layers.1.hidden::max_abs</code>" in page, "an id to be pasted"


def test_the_head_of_a_long_series_leads_to_its_last_checkpoint_alone(tmp_path: Path) -> None:
    for step in range(100, 600, 100):
        kept(records.seen(24.0), tmp_path / "run" / f"checkpoint-{step}.record.safetensors")
    limits = tmp_path / "limits.yaml"
    limits.write_text(LIMITS)
    pattern = tmp_path / "run" / "checkpoint-*.record.safetensors"
    page = page_of(accounted(pattern, limits=str(limits), family="tiny"))
    sections = re.findall(r'<section aria-labelledby="(checkpoint-\d)"', page)
    assert len(sections) == 5
    head = page[page.index("<nav") : page.index("</nav>")]
    assert re.findall(r'href="#(checkpoint-\d)"', head) == sections[-1:]


def test_what_to_do_of_the_worst_breach_is_open(accounts: Accounts) -> None:
    page = page_of(accounts("baseline"))
    opened = [" open" in one for one in re.findall(r'<details class="advice[^>]*>', page)]
    assert opened == [True, *[False] * (len(opened) - 1)]
    assert len(opened) > 1


def test_a_single_weight_or_row_is_told_as_one(accounts: Accounts) -> None:
    page = page_of(accounts("artifact"))
    assert "The data: 1 row<" in page
    assert "1 weight in low bits compared" in page
    assert "weights: 1 weight in low bits loses at most" in page


def test_a_page_of_a_saved_record_takes_no_torch(tmp_path: Path) -> None:
    record = kept(records.seen(), tmp_path / "r.record.safetensors")
    code = (
        "import sys\n"
        "from pytest_maxact.cli import main\n"
        f"code = main(['report', {str(record)!r}, '--family', 'generic', '-o', {str(tmp_path / 'p.html')!r}])\n"
        "loaded = {'torch', 'transformers'} & set(sys.modules)\n"
        "sys.exit(f'{code} {loaded}' if code or loaded else 0)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert is_page(tmp_path / "p.html")


def test_an_interval_stands_beside_its_figure_and_claims_no_more_than_it_is() -> None:
    account = told(having(*[131072.0] * 2, *[65536.0] * 38))
    assert account.outcome
    page = page_of(account)
    said = [one.interval for one in account.outcome.checkpoints[0].findings if one.interval and not one.accepted]
    assert IntervalKind.MAXIMUM in {one.kind for one in said}
    for one in said:
        assert one.words in page
    assert "<dt>interval</dt>" in page
    assert "95 % interval" not in page


def test_the_tile_counts_what_holds_as_a_runner_of_tests_does() -> None:
    (tile,) = (one for one in assembled(account_of_all(), ()).tiles if one.label == "checks that hold")
    assert tile.lines == (("2 of 4", ""), ("1 too close to call", "warn"), ("1 waived", "warn"), ("2 not run", "warn"))
    (tile,) = (one for one in assembled(told(records.seen()), ()).tiles if one.label == "checks that hold")
    assert [words for words, _ in tile.lines] == [tile.lines[0][0]]


def test_a_site_that_fails_by_what_becomes_zero_says_so_among_low_bits_too() -> None:
    record = fitness.measured(worst={"layers.1.down_in": fitness.sums(40.0, 0.9)})
    (checkpoint,) = told(record, schemes=("W8A8",)).outcome.measured  # type: ignore[union-attr]
    assert checkpoint.portrait
    table = low_bits_table(checkpoint.portrait, checkpoint.drawn)
    assert table
    assert [row.cells[0].text for row in table.rows if "FAIL 40.00" in [one.text for one in row.cells]] == [
        "layers.1.down_in"
    ]
