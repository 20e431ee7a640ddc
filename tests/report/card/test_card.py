"""A card gets our block and our result, and keeps all else byte for byte."""

import codecs
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_maxact.errors import InputError
from pytest_maxact.report.card.body import BEGIN, END
from pytest_maxact.report.card.card import is_card, updated
from pytest_maxact.report.card.front import Entry
from tests.support.hostile import NAMES


def entry(value: Any = 7.5, of: str = "tiny", **more: Any) -> Entry:
    result = {
        "task": {"type": "text-generation"},
        "dataset": {"name": "built-in", "type": "maxact"},
        "metrics": [{"type": "max_abs", "value": value, "name": "M", "args": {"site": "layers.1.hidden", **more}}],
        "source": {"url": "https://x", "name": "pytest-maxact"},
    }
    return Entry(of=of, source="pytest-maxact", result=result)


OTHER = """\
model-index:
- name: other
  results:
  - task:
      type: text-generation
    dataset:
      name: MMLU
      type: mmlu
    metrics:
    - type: acc
      value: 0.5
"""
FRONTS = {
    "plain": "license: mit\n",
    "comments": "# first\nlicense: mit  # why\n# last\n",
    "blank lines": "\nlicense: mit\n\n\n",
    "order and quotes": "tags: [b, a]\n'license': \"mit\"\nlanguage:\n  - en\n  - de\n",
    "block text": "description: |+\n  a\n  b\n\nlicense: mit\n",
    "block text last": "license: mit\ndescription: |\n  a\n\n  b\n",
    "folded last, kept": "license: mit\ndescription: >+\n  a\n  b\n\n",
    "flow": "{license: mit, tags: [a]}\n",
    "flow with a comma": "{license: mit, tags: [a],}\n",
    "flow over lines": "{\n  license: mit,\n  tags: [a]\n}\n",
    "empty flow": "{}\n",
    "indented": "  license: mit\n  tags: [a]\n",
    "anchors": "base: &a {x: 1}\nmore: *a\n",
    "merged": "base: &a\n  x: 1\nmore:\n  <<: *a\n  y: 2\n",
    "end of document": "license: mit\n...\n",
    "a date and numbers": "when: 2024-01-01\nn: 1e3\nf: .inf\nnothing: ~\na: yes\n",
    "null index": "license: mit\nmodel-index:\ntags: [a]\n",
    "null index, said": "license: mit\nmodel-index: null # none yet\ntags: [a]\n",
    "empty index": "model-index: []\nlicense: mit\n",
    "other results": f"license: mit\n{OTHER}",
    "other results, then keys": f"{OTHER}license: mit # end\n",
    "other results, comments": f"{OTHER}# of others\n\n# the end\n",
    "other results, indented lists": """\
model-index:
  - name: other
    results:
        - task: {type: text-generation}
          dataset: {name: MMLU, type: mmlu}
          metrics: [{type: acc, value: 0.5}] # good
  # and
license: mit
""",
    "other results in flow": (
        'model-index: [{name: other, results: [{task: {type: a}, dataset: {name: b, type: c},'
        ' metrics: [{type: d, value: 1}]}]}]\nlicense: mit\n'
    ),
    "results in flow": (
        "model-index:\n- name: other\n  results: [{task: {type: a}, dataset: {name: b, type: c},\n"
        "    metrics: [{type: d, value: 1}]}]\nlicense: mit\n"
    ),
    "no results yet": "model-index:\n- name: other\n  results: []\n",
    "two models": OTHER + OTHER.replace("model-index:\n", "").replace("other", "second"),
    "quoted keys": OTHER.replace("model-index", '"model-index"').replace("results", "'results'"),
    "only a comment": "# nothing\n",
    "emoji and letters": "title: \U0001f680 日本\nlicense: mit\n",
}  # fmt: skip
BODIES = {
    "text": "# Title\n\nSome *text*.\n",
    "no last line break": "# Title",
    "empty": "",
    "blank": "\n\n",
    "blank without a line break": "  ",
    "dashes": "\n---\na: b\n---\n",
    "code": "```yaml\n<!-- maxact:begin -->\n```\nend\n",
    "comment": "<!-- a\nb -->\n",
}


def parts(card: bytes) -> tuple[dict[str, Any], str]:
    """The metadata and the text, read as anybody does."""
    read = ModelCard(card.decode("utf-8-sig"))
    found = re.match(r"\s*---(?:\r\n|\r|\n)([\s\S]*?)(?:\r\n|\r|\n)---", card.decode("utf-8-sig"))
    assert found
    return yaml.safe_load(found[1]), read.text


def without_ours(data: dict[str, Any]) -> dict[str, Any]:
    index = [
        {**model, "results": [one for one in model["results"] if one.get("source", {}).get("name") != "pytest-maxact"]}
        for model in data["model-index"]
    ]
    return {**data, "model-index": index}


def lines_kept(before: bytes, after: bytes) -> bool:
    """Whether what was there is still there, in its order, with what was added in at most three places."""
    rest = after.decode("utf-8-sig")
    text = before.decode("utf-8-sig")
    place = 0
    for line in re.sub(r"model-index: (?:null|\[\]).*", "model-index:", text).splitlines(keepends=True):
        if (found := rest.find(line.rstrip("\r\n} ],"), place)) < 0:
            return False
        place = found
    return True


def require_only_ours_added(before: bytes, front: str, body: str) -> None:
    after = updated(before, entry(), "the block")
    assert lines_kept(before, after)
    data, said = parts(after)
    known = yaml.safe_load(front) or {}
    results = [one for model in data["model-index"] for one in model["results"]]
    assert results.count(entry().result) == 1
    if known.get("model-index"):
        assert repr(without_ours(data)) == repr(known)
    else:
        assert repr(sorted((data | {"model-index": 0}).items())) == repr(sorted((known | {"model-index": 0}).items()))
    assert said.startswith(body)
    assert said.count(BEGIN) == 1 + body.count(BEGIN)
    assert updated(after, entry(), "the block") == after
    changed = updated(after, entry(8.25, deep=1), "another\nblock")
    assert entry(8.25, deep=1).result in [one for of in parts(changed)[0]["model-index"] for one in of["results"]]
    assert updated(changed, entry(), "the block") == after


@pytest.mark.parametrize("front", FRONTS)
def test_only_our_result_is_added_to_the_front_matter(front: str) -> None:
    text = f"---\n{FRONTS[front]}---\n# Title\n"
    read = FRONTS[front][:-1]  # up to the line break before the dashes
    require_only_ours_added(text.encode(), read, "# Title\n")
    windows = text.replace("\n", "\r\n")
    require_only_ours_added(windows.encode(), read.replace("\n", "\r\n"), "# Title\r\n")
    assert not re.search(r"(?<!\r)\n", updated(windows.encode(), entry(), "the\nblock").decode())


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8], ids=["plain", "with a byte order mark"])
@pytest.mark.parametrize("body", BODIES)
def test_the_text_below_stays_whatever_it_holds(body: str, mark: bytes) -> None:
    before = mark + f"---\nlicense: mit\n---\n{BODIES[body]}".encode()
    require_only_ours_added(before, "license: mit", BODIES[body])
    assert updated(before, entry(), "the block").startswith(mark)


@pytest.mark.parametrize("body", BODIES)
def test_a_card_without_front_matter_gets_one_and_keeps_its_text(body: str) -> None:
    before = BODIES[body].replace("---", "- - -").encode()
    after = updated(before, entry(), "the block")
    data, said = parts(after)
    assert data == {"model-index": entry().index}
    assert said.encode().startswith(before)
    assert updated(after, entry(), "the block") == after


LINES = st.sampled_from(
    ["", "# T", "text", "---", "--- ", "...", "- a", "a: b", "a:", "  b", "```", "~~~", "<!-- x", "-->", "# c",
     "license: mit", "tags: [a]", "d: |", "model-index:", "model-index: []", "\u2028", "{x: 1}", BEGIN, END]
)  # fmt: skip
BREAKS = st.sampled_from(["\n", "\r\n"])


@settings(deadline=None)
@given(st.lists(LINES, max_size=6), st.lists(LINES, max_size=6), BREAKS, st.booleans(), st.booleans())
def test_whatever_a_card_holds_stays_or_it_is_refused(
    front: list[str], body: list[str], line_break: str, ends: bool, fronted: bool
) -> None:
    head = ["---", *front, "---"] if fronted else front
    text = line_break.join([*head, *body]) + (line_break if ends else "")
    try:
        kept = updated(text.encode(), entry(), "the block", anew=False).decode()
        after = updated(text.encode(), entry(), "the block")
    except InputError:
        return
    was, now, still = (ModelCard(one) for one in (text, after.decode(), kept))
    if BEGIN not in text.splitlines():
        assert kept.startswith(text)
        assert now.text.startswith(was.text)
    assert still.data.to_dict() == was.data.to_dict()
    ours = now.data.to_dict()
    assert ours.pop("model-index")
    assert ours == {key: value for key, value in was.data.to_dict().items() if key != "model-index"}
    assert updated(after, entry(), "the block") == after
    assert updated(kept.encode(), entry(), "the block", anew=False).decode() == kept


@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
@pytest.mark.parametrize("front", ["license: mit", "license: mit\ntags:\n- a", "{a: 1}"])
@pytest.mark.parametrize("anew", [True, False])
def test_front_matter_that_ends_the_file_is_still_front_matter(front: str, line_break: str, anew: bool) -> None:
    text = f"---\n{front}\n---".replace("\n", line_break)
    after = updated(text.encode(), entry(), "b", anew=anew)
    data, said = parts(after)
    assert {key: value for key, value in data.items() if key != "model-index"} == (yaml.safe_load(front) or {})
    assert ("model-index" in data) is anew
    assert said.startswith(f"{BEGIN}{line_break}b")
    assert updated(after, entry(), "b", anew=anew) == after


def test_what_stands_around_the_block_stays() -> None:
    after = updated(f"a\n\n{BEGIN}\nold\n{END}  \nb".encode(), entry(), "new")
    assert parts(after)[1] == f"a\n\n{BEGIN}\nnew\n{END}  \nb"


@pytest.mark.parametrize(
    ("card", "why"),
    [
        (b"---\na: [\n---\n", "no YAML"),
        (b"---\n- a\n---\n", "no mapping"),
        (b"---\ntext\n---\n", "no mapping"),
        (b"---\na: \x00\n---\n", "no YAML"),
        (b"---\nmodel-index: text\n---\n", "no list of models"),
        (b"---\nmodel-index: [a]\n---\n", "no list of models"),
        (b"---\nmodel-index: [{name: a}]\n---\n", "no list of models"),
        (b"---\nmodel-index: [{name: a, results: [{task: 1}]}]\n---\n", "does not read it"),
        (b"---\nmodel-index: []\nmodel-index: []\n---\n", "twice"),
        (b"---\na: &a\n  - *a\n---\nx", "holds itself"),
        (b"---\na: " + b"[" * 5000 + b"\n---\nx", "recursion"),
        (b"---\na: b\n---\n\xff\xfe", "no text in UTF-8"),
        (f"{BEGIN}\n".encode(), "not one pair"),
        (f"{END}\n{BEGIN}\n".encode(), "not one pair"),
        (f"- of the model:\n  {BEGIN}\n  PASS\n  {END}\n".encode(), "does not stand at the beginning of its line"),
        (f"> {BEGIN}\n> PASS\n> {END}\n".encode(), "does not stand at the beginning of its line"),
        (f"{BEGIN}\n{END}\n{BEGIN}\n{END}\n".encode(), "not one pair"),
        (b"text\n```python\ncode\n", "never closed"),
    ],
)
def test_a_broken_card_is_refused_in_words(card: bytes, why: str) -> None:
    with pytest.raises(InputError, match=rf"the card is left as it is: .*{why}.*\n  mend it by hand"):
        updated(card, entry(), "block")


def test_several_results_of_ours_become_one() -> None:
    once = updated(f"---\n{OTHER}license: mit\n---\n".encode(), entry(), "b").decode()
    data, _ = parts(once.encode())
    data["model-index"][0]["results"].append(entry(1.0).result)
    twice = f"---\n{yaml.safe_dump(data, sort_keys=False)}---\n"
    for text in (twice, twice.replace("license: mit\n", "")):
        after = updated(text.encode(), entry(2.0), "b")
        results = [one for model in parts(after)[0]["model-index"] for one in model["results"]]
        assert [one["metrics"][0]["value"] for one in results] == [0.5, 2.0]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_values_and_nothing_else(name: str) -> None:
    hostile = NAMES[name].encode("unicode_escape").decode()
    card = b"---\nlicense: mit\n---\ntext\n"
    said = entry(of=hostile, token=hostile)
    after = updated(card, said, "b")
    assert parts(after)[0] == {"license": "mit", "model-index": said.index}
    flow = updated(b"---\n{license: mit}\n---\ntext\n", said, "b")
    assert parts(flow)[0] == {"license": "mit", "model-index": said.index}


@given(st.floats(allow_nan=False), st.booleans())
def test_every_number_is_read_back(value: float, flow: bool) -> None:
    card = b"---\n{license: mit}\n---\n" if flow else b"---\nlicense: mit\n---\n"
    data, _ = parts(updated(card, entry(value), "b"))
    assert data["model-index"][0]["results"][0]["metrics"][0]["value"] == value


def test_what_is_a_card_and_what_is_none(tmp_path: Path) -> None:
    for name, content, told in (
        ("README.md", "# a", True), ("x", "---\na: b\n---\n", True), ("x", f"{BEGIN}\n{END}\n", True),
        ("x", "# a", False), ("x.yaml", "version: 1\n", False), ("x.py", "import os\n", False),
        ("README.md", "\0", False),
    ):  # fmt: skip
        (tmp_path / name).write_text(content)
        assert is_card(tmp_path / name) is told
    (tmp_path / "b.md").write_bytes(b"\xff\xfe\xff")
    assert not is_card(tmp_path / "b.md")
    assert not is_card(tmp_path / "none.md")
