"""What a token is by its text: the beginning of a text, a delimiter, or neither."""

import unicodedata

_BOS = frozenset(
    {"<s>", "<bos>", "<|begin_of_text|>", "<|endoftext|>", "<|im_start|>", "[CLS]", "[BOS]", "<|startoftext|>"}
)


def is_bos(token: str) -> bool:
    """Whether texts begin with it in some vocabulary."""
    return token.strip() in _BOS


def is_delimiter(token: str) -> bool:
    """Whether a token is nothing but punctuation and space, and not empty."""
    return bool(token) and all(one.isspace() or unicodedata.category(one)[0] in "PZC" for one in token)
