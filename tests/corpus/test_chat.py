"""What is encoded of a chat is the text, as the template reads it, the same every day; anything else is refused."""

import datetime
import json
import random
from collections.abc import Sequence as SequenceOf
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.utils import chat_template_utils

from pytest_maxact.checkpoint.tokenizer import load_tokenizer
from pytest_maxact.corpus.chat import TEMPLATE_DATE, is_held
from pytest_maxact.corpus.samples import Sample
from pytest_maxact.corpus.tokens import Sequence, encode, template_date, tokens_digest
from pytest_maxact.errors import InputError

TEXTS = (
    "How many people live here?\nNine.",
    "  def f(x):\n    return x + 1",
    'Ein "Satz" & <noch> einer: \U0001f600 ไทย é',
)
PARTS = "{% for part in messages[0].content | selectattr('type', 'equalto', 'text') %}{{ part.text }}{% endfor %}"


def byte_tokenizer(template: Any = None, lower: bool = False) -> PreTrainedTokenizerFast:
    """One token per byte, without loss; `lower` makes it forget case."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({char: i for i, char in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if lower:
        tokenizer.normalizer = normalizers.Lowercase()
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    made.chat_template = template
    return made


def samples(texts: SequenceOf[str] = TEXTS) -> list[Sample]:
    return [Sample(id=f"s{i}", category="a", text=text) for i, text in enumerate(texts)]


def encoded(tokenizer: Any, texts: SequenceOf[str] = TEXTS, **options: Any) -> list[Sequence]:
    asked: dict[str, Any] = {"protocol": "deployed", "max_seq_len": 1000, "vocab_size": 300} | options
    return encode(samples(texts), tokenizer, **asked)


def said(tokenizer: Any, texts: SequenceOf[str] = TEXTS) -> list[str]:
    return [tokenizer.decode(sequence.ids) for sequence in encoded(tokenizer, texts)]


def refusal(template: Any, texts: SequenceOf[str] = TEXTS, **options: Any) -> str:
    with pytest.raises(InputError) as refused:
        encoded(byte_tokenizer(template), texts, **options)
    text = str(refused.value)
    assert len(text.splitlines()) <= 3
    return text


READ = {
    "a string": "{{ messages[0].content }}",
    "parts": PARTS,
    "the first part": "{{ messages[0].content[0]['text'] }}",
    "parts or a string": "{% if messages[0].content is string %}{{ messages[0].content }}{% else %}"
    + PARTS
    + "{% endif %}",
    "one after the other": "{% for part in messages[0].content %}{{ part.text }}{% endfor %}",
    "parts, else it raises": "{% if messages[0].content is string %}{{ raise_exception('parts!') }}{% endif %}" + PARTS,
    "a string, else it raises": "{% if messages[0].content is not string %}"
    "{{ raise_exception('no parts!') }}{% endif %}{{ messages[0].content }}",
}  # fmt: skip


@pytest.mark.parametrize("how", READ)
def test_content_is_passed_as_the_template_reads_it(how: str) -> None:
    assert said(byte_tokenizer(f"USER: {READ[how]} ASSISTANT:")) == [f"USER: {text} ASSISTANT:" for text in TEXTS]


def test_what_keeps_the_text_word_for_word_is_preferred_to_what_takes_a_string_apart() -> None:
    apart = "{% for part in messages[0].content %}{{ part if part is string else part.text }}\n{% endfor %}"
    assert said(byte_tokenizer(apart)) == [f"{text}\n" for text in TEXTS]


@pytest.mark.parametrize("kept", [
    "messages[0].content | trim", "messages[0].content | tojson", "messages[0].content | e",
    "messages[0].content | lower",
    "messages[0].content | replace('\n', ' ')", "messages[0].content.split() | join(' ')",
    "messages[0].content | tojson(ensure_ascii=True)", "messages[0].content | replace('\n', '\n> ')",
    "messages[0].content | title", "messages | tojson",
])  # fmt: skip
def test_a_text_that_is_trimmed_or_escaped_is_not_lost(kept: str) -> None:
    assert len(encoded(byte_tokenizer(f"<{{{{ {kept} }}}}>"))) == len(TEXTS)


def test_a_tokenizer_that_normalises_loses_nothing() -> None:
    assert said(byte_tokenizer(READ["a string"], lower=True)) == [text.lower() for text in TEXTS]


@pytest.mark.parametrize("lost", [
    "", "{{ messages[0].text }}", "{{ content }}",
    "{% for m in messages if m.role == 'human' %}{{ m.content }}{% endfor %}",
    "{{ messages[0].content[:10] }}", "{{ messages[1:] }}", "{{ messages[0].content | length }}",
    "{% for part in messages[0].content | selectattr('type', 'equalto', 'image') %}{{ part.text }}{% endfor %}",
    "{% if messages[0].content is string %}{{ messages[0].content | upper | first }}{% endif %}",
])  # fmt: skip
def test_a_template_that_loses_the_text_is_refused(lost: str) -> None:
    assert "the template loses the text of sample s0, given as" in refusal(f"USER: {lost} ASSISTANT:")
    long = refusal(f"USER: {lost} {'one word ' * 9}")
    assert "it gives 'USER: " in long
    assert long.partition("\n")[0].endswith((" word ...'", " one ...'"))


RAISING = {
    "{{ raise_exception('System role required') }}": "the chat template:2: .* a user: System role required\n",
    "{% if messages[0].role != 'system' %}{{ raise_exception('A system message must come first.') }}{% endif %}":
        ":2: .* A system message must come first.",
    "{% if messages | length < 2 %}{{ raise_exception('Roles must alternate') }}{% endif %}": "Roles must alternate",
    "{% if messages %}": r":2: .*TemplateSyntaxError: Unexpected end of template",
    "{{ mesages[0].content }}": r":2: .*UndefinedError: 'mesages' is undefined",
    "{{ now() }}": r"UndefinedError: 'now' is undefined",
    "{{ messages[0].content | nosuchfilter }}": r":2: .*TemplateAssertionError: No filter named 'nosuchfilter'",
    "{{ 1 / 0 }}": "ZeroDivisionError: division by zero",
    "{{ messages.__class__.__mro__[1].__subclasses__() }}": "SecurityError",
    "{{ strftime_now(3) }}": "TypeError",
}  # fmt: skip


@pytest.mark.parametrize("template", RAISING)
def test_a_template_that_raises_is_refused_with_its_own_message(template: str) -> None:
    with pytest.raises(InputError, match=RAISING[template]):
        encoded(byte_tokenizer(f"first\n{template}"))


def test_several_templates_without_a_default_are_refused_and_the_default_is_taken() -> None:
    assert "multiple chat templates with no default" in refusal({"rag": "R", "tool_use": "T"})
    both = byte_tokenizer({"default": "D: {{ messages[0].content }}", "tool_use": "T"})
    assert said(both) == [f"D: {text}" for text in TEXTS]


@pytest.mark.parametrize("name", ["chat_template.jinja", "chat_template.json", "tokenizer_config.json"])
def test_a_template_is_named_by_its_file(name: str, tmp_path: Path) -> None:
    template = "{{ raise_exception('no') }}"
    byte_tokenizer().save_pretrained(tmp_path)
    held = json.loads((tmp_path / "tokenizer_config.json").read_text())
    written = {
        "chat_template.jinja": template, "chat_template.json": json.dumps({"chat_template": template}),
        "tokenizer_config.json": json.dumps(held | {"chat_template": template}),
    }  # fmt: skip
    (tmp_path / name).write_text(written[name])
    tokenizer = load_tokenizer(tmp_path, trust_remote_code=False)
    with pytest.raises(InputError) as refused:
        encoded(tokenizer)
    assert str(refused.value).startswith(f"{tmp_path / name}:1: ")


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"chat_template": 3}'])
def test_a_damaged_template_beside_a_processor_is_refused(content: str, tmp_path: Path) -> None:
    byte_tokenizer().save_pretrained(tmp_path)
    (tmp_path / "chat_template.json").write_text(content)
    with pytest.raises(InputError, match=r"chat_template\.json: "):
        load_tokenizer(tmp_path, trust_remote_code=False)


def test_the_day_is_always_the_same_for_a_template(monkeypatch: pytest.MonkeyPatch) -> None:
    dated = byte_tokenizer("{{ strftime_now('%d %b %Y %H:%M:%S.%f') }} {{ messages[0].content }}")
    assert said(dated, ["a", "b"]) == ["26 Jul 2024 00:00:00.000000 a", "26 Jul 2024 00:00:00.000000 b"]
    assert template_date(dated, "deployed") == TEMPLATE_DATE.isoformat() == "2024-07-26"
    assert template_date(dated, "paper") is None
    assert template_date(byte_tokenizer(), "deployed") is None
    assert chat_template_utils.datetime is datetime.datetime


@pytest.mark.parametrize(
    "chance",
    [
        "{{ ['a', 'b'] | random }}",
        "{{ range(9) | random }}",
        "{{ lipsum(1) }}",
        "{{ raise_exception }}",
    ],
)
def test_a_template_that_takes_random_numbers_is_refused_and_takes_none(chance: str) -> None:
    before = random.getstate()
    assert "takes random numbers" in refusal(chance + "{{ messages[0].content }}", ["a", "b"])
    assert random.getstate() == before


def test_a_template_that_says_something_else_the_second_time_is_refused() -> None:
    class Counting(PreTrainedTokenizerFast):  # type: ignore[misc]
        calls = 0

        def apply_chat_template(self, conversation: Any, **options: Any) -> Any:
            self.calls += 1
            return f"{self.calls} {conversation[0]['content']}"

    tokenizer = Counting(tokenizer_object=byte_tokenizer().backend_tokenizer, chat_template="its own")
    with pytest.raises(InputError, match="something else that changes"):
        encoded(tokenizer)


def test_ids_that_lack_what_was_rendered_are_refused() -> None:
    class Losing(PreTrainedTokenizerFast):  # type: ignore[misc]
        def apply_chat_template(self, conversation: Any, tokenize: bool, **options: Any) -> Any:
            return {"input_ids": [70, 71, 72]} if tokenize else str(conversation[0]["content"])

    tokenizer = Losing(tokenizer_object=byte_tokenizer().backend_tokenizer, chat_template="its own")
    with pytest.raises(InputError, match="sample s0 of the corpus is not in its own tokens under protocol 'deployed'"):
        encoded(tokenizer)


def test_a_template_that_leaves_no_room_for_the_text_is_refused() -> None:
    long = "x" * 50 + READ["a string"]
    assert "`max_seq_len`" in refusal(long, max_seq_len=50)
    assert {len(sequence) for sequence in encoded(byte_tokenizer(long), max_seq_len=51)} == {51}


# Under either protocol


def unknowing(words: SequenceOf[str], decoded: bool = True) -> PreTrainedTokenizerFast:
    """A tokenizer that knows some words and has one token for all others."""
    vocabulary = {word: i for i, word in enumerate(["[UNK]", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]")


@pytest.mark.parametrize("protocol", ["paper", "deployed"])
@pytest.mark.parametrize("template", [None, "{{ messages[0].content }}"])
def test_different_texts_with_the_same_tokens_are_refused(protocol: str, template: str | None) -> None:
    tokenizer = unknowing(["a"])
    tokenizer.chat_template = template
    with pytest.raises(InputError, match=r"samples s1 and s2 of the corpus are different texts.* the same 2 tokens"):
        encoded(tokenizer, ["a a", "one two", "three four"], protocol=protocol)


@pytest.mark.parametrize("texts", [("same", "same"), ("Case  here", "case\nhere"), ("café", "cafe\u0301")])
def test_equal_texts_with_the_same_tokens_are_no_fault(texts: SequenceOf[str]) -> None:
    tokenizer = byte_tokenizer(lower=True)
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Lowercase(), normalizers.Replace("\n", " "), normalizers.Replace("  ", " ")]
    )
    assert len({sequence.ids for sequence in encoded(tokenizer, texts, protocol="paper")}) == 1


def test_texts_that_are_alike_only_where_they_are_cut_are_no_fault() -> None:
    texts = ["the same beginning, one end", "the same beginning, another end"]
    assert len({sequence.ids for sequence in encoded(byte_tokenizer(), texts, protocol="paper", max_seq_len=8)}) == 1


def test_a_tokenizer_that_lacks_some_words_of_a_chat_is_no_fault() -> None:
    tokenizer = unknowing(["known", "words"])
    tokenizer.chat_template = "Q {{ messages[0].content }} A"
    assert len(encoded(tokenizer, ["known words strange", "strange known"])) == 2


def test_a_tokenizer_that_draws_lots_is_refused() -> None:
    tokenizer = Tokenizer(
        models.BPE({c: i for i, c in enumerate(("a", "b", "ab", "abab"))}, [("a", "b"), ("ab", "ab")], dropout=0.5)
    )
    drawing = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    with pytest.raises(InputError, match="encodes one text, that of sample s0, in several ways"):
        encoded(drawing, ["ab" * 40, "ba"], protocol="paper")


def test_a_tokenizer_that_raises_is_refused() -> None:
    class Raising(PreTrainedTokenizerFast):  # type: ignore[misc]
        def __call__(self, *args: Any, **options: Any) -> Any:
            raise KeyError("no such piece")

    tokenizer = Raising(tokenizer_object=byte_tokenizer().backend_tokenizer)
    with pytest.raises(InputError, match="the tokenizer cannot encode sample s0 of the corpus: KeyError"):
        encoded(tokenizer, protocol="paper")


@pytest.mark.parametrize(("text", "within", "held"), [
    ("a b", "xA\nBy", True), ("1 + 2", "1 - 2", False), ("\u0301", "", True), ("!!", "no", False), ("a", "", False),
    ("a\nb", "1: a 2: b", True), ("b\na", "1: a 2: b", False), ("a\nb", "1: a", False),
    ("naïve", "NAIVE", True), ("a\u200bb", "ab", True), ('say "x"\n', r"say \"x\"\n", True),
])  # fmt: skip
def test_a_text_is_held_whatever_its_case_accents_space_and_escapes(text: str, within: str, held: bool) -> None:
    assert is_held(text, within) is held


def test_the_digest_of_tokens_depends_on_text_and_ids_alone_and_adds_up() -> None:
    one, two, three = encoded(byte_tokenizer())
    renamed = Sequence(sample=Sample(id="other", category="a", text=one.sample.text), ids=one.ids)
    assert tokens_digest([one, two, three]) == tokens_digest([three, renamed, two])
    changed = Sequence(sample=one.sample, ids=(*one.ids, 5))
    digests = {tokens_digest(some) for some in ([one], [two], [changed], [one, two], [one, one])}
    assert len(digests) == 5
    assert sum(int(tokens_digest([each]), 16) for each in (one, two)) % 2**256 == int(tokens_digest([one, two]), 16)
