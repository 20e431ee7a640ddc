"""Whether this process runs in continuous integration, told by the variables that such systems set; one predicate.

Guards that a machine which accepts what it measured is recognised whichever system it belongs to, and behind tox, which
hides those variables from what it runs.
"""

import os

from pytest_maxact.errors import InputError

EVERYWHERE = ("CI", "CONTINUOUS_INTEGRATION")
"""What many systems set, and people by hand, also to deny it."""

OF_SYSTEMS = (
    *("GITHUB_ACTIONS", "GITEA_ACTIONS", "FORGEJO_ACTIONS", "GITLAB_CI"),
    *("JENKINS_URL", "HUDSON_URL", "BUILD_ID", "BUILD_NUMBER"),  # BUILD_NUMBER: what pytest itself goes by
    *("TF_BUILD", "SYSTEM_TEAMFOUNDATIONCOLLECTIONURI", "TEAMCITY_VERSION", "APPVEYOR"),
    *("BUILDKITE", "CIRCLECI", "CIRRUS_CI", "TRAVIS", "DRONE", "SEMAPHORE", "WERCKER", "SHIPPABLE"),
    *("CI_PIPELINE_ID", "CI_JOB_ID", "BITBUCKET_BUILD_NUMBER", "BITBUCKET_COMMIT", "CODEBUILD_BUILD_ARN"),
    *("CODEBUILD_BUILD_ID", "bamboo_planKey", "bamboo_buildKey", "GO_PIPELINE_LABEL", "CF_BUILD_ID"),
    *("HARNESS_BUILD_ID", "HEROKU_TEST_RUN_ID", "NETLIFY", "BITRISE_IO", "BUDDY_WORKSPACE_ID", "SCREWDRIVER"),
    *("TASKCLUSTER_ROOT_URL", "PROW_JOB_ID", "VELA", "SAILCI", "DSARI", "BUILDER_OUTPUT"),
)
"""What one system sets alone, by the names of their documentation and of the `ci-info` and `env-ci` packages."""

TOX = ("TOX_ENV_NAME", "TOX_PARALLEL_ENV")

SURROUNDINGS = (*EVERYWHERE, *OF_SYSTEMS, *TOX)
"""Every variable that is read here."""

_DENIED = ("0", "false", "no", "off")


def refuse_in_ci(what: str) -> None:
    """Raise InputError where this is continuous integration, or may be: a machine that accepts what it measured would
    never fail.
    """
    if said := next((name for name in (*EVERYWHERE, *OF_SYSTEMS) if _is_set(name)), None):
        raise InputError(
            f"{what} is refused in CI ({said}={os.environ[said]}): limits are changed by a person, and reviewed\n"
            "  run it on a workstation, and commit the limits file"
        )
    inside = next((name for name in TOX if _is_set(name)), None)
    if inside and not any(os.environ.get(name, "").strip().lower() in _DENIED for name in EVERYWHERE):
        raise InputError(
            f"{what} is refused inside tox ({inside}={os.environ[inside]}), which hides whether this is CI\n"
            "  run it outside of tox, or say that it is not: `set_env = CI = false`"
        )


def _is_set(name: str) -> bool:
    return os.environ.get(name, "").strip().lower() not in ("", *_DENIED)
