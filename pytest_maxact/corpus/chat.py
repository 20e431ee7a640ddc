"""Texts as chats: what a tokenizer's own template makes of a text as a user's message, and the token ids of that.

Content is passed as the template reads it, as a string or as a list of parts. Nothing but the text and the template
decides what is rendered: the date that templates are given is fixed, and one that takes random numbers is refused.
A template that raises, or that loses the text, is refused with its file and its own message.
"""

import datetime
import html
import json
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Sequence as SequenceOf
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from unicodedata import category, normalize

from pytest_maxact.corpus.samples import Sample
from pytest_maxact.errors import InputError, cut, first_line, setting

TEMPLATE_DATE = datetime.date(2024, 7, 26)
"""The day it always is for a template that asks: the one that Llama's templates take where they are told none."""
_FORMS: Mapping[str, Callable[[str], Any]] = {
    "a string": lambda text: text,
    "parts": lambda text: [{"type": "text", "text": text}],
}
_SHOWN = 60
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]{6,}")
"""How Python writes out an object, another way in every process."""


class Chatting(Protocol):
    """The part of a transformers tokenizer that renders chats."""

    chat_template: Any

    def apply_chat_template(
        self, conversation: Any, *, tokenize: bool, add_generation_prompt: bool, return_dict: bool
    ) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """What became of content of one form: whether every text is kept `word_for_word`; the first sample that is `lost`,
    with what was made of it; the `error` that the template raised.
    """

    form: str
    word_for_word: bool = True
    lost: tuple[Sample, str] | None = None
    error: Exception | None = None


def _is_list(sample: Sample, said: str) -> bool:
    """Whether a list of parts was written out as one, which is not how a template reads it."""
    return any(said.count(mark) > (sample.text or "").count(mark) for mark in ("'type': 'text'", '"type": "text"'))


def chat_ids(samples: SequenceOf[Sample], tokenizer: Chatting) -> list[list[int]]:
    """The token ids of every sample, a text, as a user's message, and of the turn that would answer it.

    Raises InputError for a template that raises, that loses a text, or that does not always say the same.
    """
    with _fixed_date(tokenizer):
        form = _form(samples, tokenizer)
        try:
            return [
                list(_applied(sample, tokenizer, form, tokenize=True, return_dict=True)["input_ids"])
                for sample in samples
            ]
        except Exception as error:
            raise _raised(tokenizer, error) from error


def is_held(text: str, within: str) -> bool:
    """Whether a string holds a text: as it is but for space around it, or but for space, case and accents, or line by
    line, or escaped as JSON or HTML are.
    """
    if text.strip() in within:
        return True
    forms = (text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])
    for said in map(essence, (within, html.unescape(within))):
        if any(essence(form) in said for form in forms) or _in_order(map(essence, text.splitlines()), said):
            return True
    return False


def _in_order(lines: Iterable[str], said: str) -> bool:
    """Whether a string holds lines one after the other."""
    end = 0
    for line in lines:
        start = said.find(line, end)
        if start < 0:
            return False
        end = start + len(line)
    return end > 0


def essence(text: str) -> str:
    """What is left of a text without space, case, accents, and characters that show nothing."""
    plain = normalize("NFKD", normalize("NFKD", text).casefold())
    return "".join(char for char in plain if category(char) not in ("Mn", "Cc", "Cf") and not char.isspace())


def _form(samples: SequenceOf[Sample], tokenizer: Chatting) -> str:
    """The form of content in which the template keeps every text, word for word if it does so in any."""
    attempts = []
    for form in _FORMS:
        attempt = _attempt(samples, tokenizer, form)
        if attempt.error is None and attempt.word_for_word:
            return form
        attempts.append(attempt)
    whole = [attempt for attempt in attempts if attempt.error is None]
    if kept := next((attempt for attempt in whole if attempt.lost is None), None):
        return kept.form
    if not whole:
        # what the template says itself, rather than that it cannot read a list or a string
        own = [attempt.error for attempt in attempts if type(attempt.error).__name__ == "TemplateError"]
        error = (own or [attempts[0].error])[0]
        assert error is not None
        raise _raised(tokenizer, error) from error
    assert whole[0].lost is not None
    sample, said = whole[0].lost
    raise InputError(
        f"{_template_of(tokenizer)}: the template loses the text of sample {sample.called}, given as "
        f"{' or as '.join(attempt.form for attempt in whole)}; it gives {cut(said, _SHOWN)!r}\n"
        f"  mend the template, or measure with {setting('protocol')} paper"
    )


def _attempt(samples: SequenceOf[Sample], tokenizer: Chatting, form: str) -> _Attempt:
    """Content of one form tried, up to the first text that is lost."""
    word_for_word = True
    try:
        for sample in samples:
            said, again = (str(_applied(sample, tokenizer, form, tokenize=False, return_dict=False)) for _ in range(2))
            text = sample.text or ""
            if _is_list(sample, said) or not is_held(text, said):
                return _Attempt(form=form, word_for_word=False, lost=(sample, said))
            if said != again or len(_ADDRESS.findall(said)) > len(_ADDRESS.findall(text)):
                raise _varying(tokenizer)
            word_for_word = word_for_word and text.strip() in said
    except InputError:
        raise
    except Exception as error:
        return _Attempt(form=form, error=error)
    return _Attempt(form=form, word_for_word=word_for_word)


def _applied(sample: Sample, tokenizer: Chatting, form: str, **options: bool) -> Any:
    """What the template gives for one sample; it must not have taken a random number, and none is missing after it."""
    message = [{"role": "user", "content": _FORMS[form](sample.text or "")}]
    before = random.getstate()
    try:
        return tokenizer.apply_chat_template(message, add_generation_prompt=True, **options)
    finally:
        if random.getstate() != before:
            random.setstate(before)
            raise _varying(tokenizer)


def _varying(tokenizer: Chatting) -> InputError:
    return InputError(
        f"{_template_of(tokenizer)}: the template takes random numbers or something else that changes, so that one text"
        " is encoded in many ways\n"
        f"  take that out of the template, or measure with {setting('protocol')} paper"
    )


def _raised(tokenizer: Chatting, error: Exception) -> InputError:
    line = _line(error)
    kind = "" if type(error).__name__ == "TemplateError" else f"{type(error).__name__}: "
    return InputError(
        f"{_template_of(tokenizer)}{f':{line}' if line else ''}: the template cannot take a single message of a user: "
        f"{kind}{first_line(error)}\n"
        f"  mend the template, or measure with {setting('protocol')} paper"
    )


def _line(error: Exception) -> int | None:
    """The line of the template at which it raised, where jinja tells."""
    if isinstance(line := getattr(error, "lineno", None), int):
        return line
    found, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename in ("<template>", "<unknown>"):
            found = trace.tb_lineno
        trace = trace.tb_next
    return found


def _template_of(tokenizer: Chatting) -> str:
    """The file that holds the template, where that is known."""
    folder = Path(str(getattr(tokenizer, "name_or_path", "") or "nowhere"))
    names = ("chat_template.jinja", "chat_template.json", "tokenizer_config.json")
    return str(next((folder / name for name in names if (folder / name).is_file()), "the chat template"))


@contextmanager
def _fixed_date(tokenizer: Chatting) -> Iterator[None]:
    """`TEMPLATE_DATE` for templates of transformers for the duration of the context. What is handed to a template in
    place of its `strftime_now` reaches it as text, so the clock behind that is stopped.
    """
    from transformers.utils import chat_template_utils

    class Stopped(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> "Stopped":
            return cls(TEMPLATE_DATE.year, TEMPLATE_DATE.month, TEMPLATE_DATE.day, tzinfo=tz)

    clock = chat_template_utils.datetime
    chat_template_utils.datetime = Stopped
    try:
        yield
    finally:
        chat_template_utils.datetime = clock
