"""Continuous integration is told by the variables of every system, and inside tox, which hides them."""

import pytest

from pytest_maxact.errors import InputError
from pytest_maxact.settings.surroundings import OF_SYSTEMS, TOX, refuse_in_ci

SET = {
    "GITHUB_ACTIONS": "true",
    "GITLAB_CI": "true",
    "JENKINS_URL": "http://jenkins:8080/",
    "BUILD_ID": "17",
    "TF_BUILD": "True",
    "TEAMCITY_VERSION": "2026.1 (build 7)",
    "BUILDKITE": "true",
    "CIRCLECI": "true",
    "BITBUCKET_BUILD_NUMBER": "3",
    "TRAVIS": "true",
    "APPVEYOR": "True",
    "CODEBUILD_BUILD_ARN": "arn:aws:codebuild:1",
    "bamboo_planKey": "PLAN",
}
"""As these systems set them."""


@pytest.mark.parametrize("value", ["true", "1", "yes", "anything"])
def test_ci_changes_no_limits(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", value)
    with pytest.raises(InputError) as caught:
        refuse_in_ci("`update`")
    assert (
        str(caught.value) == f"`update` is refused in CI (CI={value}): limits are changed by a person, and reviewed\n"
        "  run it on a workstation, and commit the limits file"
    )


@pytest.mark.parametrize(("name", "value"), [*SET.items(), *((name, "x") for name in OF_SYSTEMS if name not in SET)])
def test_every_system_is_known_by_its_own_variable_whatever_ci_says(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in ("", "false"):
        monkeypatch.setenv("CI", other)
        monkeypatch.setenv(name, value)
        with pytest.raises(InputError) as caught:
            refuse_in_ci("`update`")
        assert f"refused in CI ({name}={value})" in str(caught.value)
        monkeypatch.delenv(name)
        refuse_in_ci("`update`")


@pytest.mark.parametrize("value", [None, "", "0", "false", "False", " ", "no", "off"])
@pytest.mark.parametrize("name", ["CI", "CONTINUOUS_INTEGRATION", "TF_BUILD", "BUILD_ID"])
def test_a_workstation_may(name: str, value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if value is not None:
        monkeypatch.setenv(name, value)
    refuse_in_ci("`update`")


@pytest.mark.parametrize("name", TOX)
def test_inside_tox_it_is_hidden_unless_it_is_said_there(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "py311")
    for said in (None, "", " "):
        if said is not None:
            monkeypatch.setenv("CI", said)
        with pytest.raises(InputError) as caught:
            refuse_in_ci("`update`")
        assert f"is refused inside tox ({name}=py311), which hides whether this is CI\n" in str(caught.value)
    monkeypatch.setenv("CI", "false")
    refuse_in_ci("`update`")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(InputError, match="refused in CI"):
        refuse_in_ci("`update`")
