"""How the callback says settings."""

from pytest_maxact.errors import InputError, setting
from pytest_maxact.trainer.words import argument


def test_errors_name_arguments_and_options_of_pytest_where_there_is_none() -> None:
    error = InputError(
        f"no limits\n  give it with {setting('limits')}; raise {setting('max_samples')}, or use"
        f" {setting('family')} generic, and {setting('model')}"
    )
    assert error.worded(argument) == (
        "no limits\n  give it with `limits`; raise `samples`, or use `family` generic, and --maxact-model"
    )
