"""What pages say of each other and of the program: links lead somewhere, and what is written from the program is what
would be written now.
"""

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import yaml
from pydantic import BaseModel
from transformers.quantizers.auto import AutoQuantizationConfig

from pytest_maxact.cli import main
from pytest_maxact.judge.limits.schema.document import LimitsDocument
from pytest_maxact.numbers.formats import FormatDistortion
from pytest_maxact.numbers.schemes import SCHEMES
from pytest_maxact.record.metrics.scheme import SchemeDistortion
from pytest_maxact.settings.option import pytest_option
from pytest_maxact.settings.options import OPTIONS
from tests.support.linting import changed
from tests.support.markdown import PAGES, anchors_of, blocks, links_of
from tests.support.paths import REPOSITORY
from tools.write_docs import DOCS, WRITTEN, with_part

ROOMS = ("pytest_maxact", "tests", "tools", "docs")
NOT_METRICS = {"policy"}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_to_pages_and_headings_that_exist(page: Path) -> None:
    for link in links_of(page):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link


def test_every_page_of_the_docs_is_reached_from_the_index() -> None:
    assert {path.name for path in DOCS.glob("*.md")} - {"index.md"} <= set(links_of(DOCS / "index.md"))


@pytest.mark.parametrize(
    "name", ["options", "schemes", "commands", "machine", "explained", "api", "fixtures", "published"]
)
def test_what_is_written_from_the_program_is_as_it_would_be_written_now(name: str) -> None:
    file, write = WRITTEN[name]
    page = (DOCS / file).read_text()
    assert page == with_part(page, name, write()), f"write it again: python -m tools.write_docs {name}"


def test_a_page_without_the_part_is_told() -> None:
    with pytest.raises(ValueError, match="no part `<!-- written: options -->`"):
        with_part("# Options\n", "options", "| a |")


def test_every_scheme_and_every_option_has_a_row() -> None:
    pages = {name: "kv_cache.md" if scheme.cache else "deploy.md" for name, scheme in SCHEMES.items()}
    assert all(f"| `{name}`" in (DOCS / page).read_text() for name, page in pages.items())
    assert all(f"| `{pytest_option(option.field)}" in (DOCS / "options.md").read_text() for option in OPTIONS)


def test_nothing_in_the_reference_of_options_and_commands_is_without_a_name_and_a_meaning() -> None:
    rows = [
        row for page in ("options.md", "cli.md") for row in (DOCS / page).read_text().splitlines() if row[:1] == "|"
    ]
    assert [row for row in rows if re.search(r"\|\s*\||`--[\w-]+ `", row)] == []


def test_every_key_of_a_limits_file_is_explained() -> None:
    text = "".join((DOCS / page).read_text() for page in ("limits.md", "deploy.md", "kv_cache.md", "regression.md"))
    words = set(re.findall(r"\w+", text))
    missing = {key for key in keys_of(LimitsDocument) if key not in words and key.partition("_")[2] not in words}
    assert missing == set()


def keys_of(model: type[BaseModel]) -> set[str]:
    """The keys of a section, and of the sections in it."""
    found = set(model.model_fields)
    for field in model.model_fields.values():
        for inner in models_in(field.annotation):
            found |= keys_of(inner)
    return found


def models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in models_in(part)]


def test_every_quantity_of_a_metric_is_explained() -> None:
    text = (DOCS / "metrics.md").read_text() + (DOCS / "deploy.md").read_text()
    quantities = {field.name for kind in (FormatDistortion, SchemeDistortion) for field in fields(kind)}
    assert {name for name in quantities - NOT_METRICS if f"`{name}`" not in text} == set()


def test_how_many_architectures_can_be_measured_is_said_alike() -> None:
    built, full, partly = re.search(  # type: ignore[union-attr]
        r"^(\d+) of \d+ types build .* (\d+) have the full site list, (\d+) lack",
        (DOCS / "architectures.md").read_text(),
        re.MULTILINE,
    ).groups()
    said = f"{int(full) + int(partly)} of"
    assert f"{said} the {built} causal-LM architectures" in (DOCS / "sites.md").read_text()
    assert f"{said} {built} causal-LM architectures" in (REPOSITORY / "README.md").read_text()


def test_files_that_pages_for_engineers_name_exist() -> None:
    """Recipes lead somewhere: a path as it stands, or the end of one."""
    paths = {f"/{path.relative_to(REPOSITORY)}" for room in ROOMS for path in (REPOSITORY / room).rglob("*.py")}
    paths |= {f"{path.rsplit('/', 1)[0]}/" for path in paths} | {f"/{path.name}" for path in REPOSITORY.iterdir()}
    for page in (REPOSITORY / "CONTRIBUTING.md", DOCS / "architecture.md"):
        for name in re.findall(r"`([\w./]+(?:\.py|\.yaml|/))`", page.read_text()):
            assert any(path.endswith(f"/{name}") for path in paths) or (REPOSITORY / name).exists(), (page.name, name)


def test_the_config_of_a_cache_is_read_by_transformers_and_by_lint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = json.loads(next(block for block in blocks("text") if "kv_cache_scheme" in block.text).text)

    def plant(tensors: dict[str, torch.Tensor], config: dict[str, Any]) -> None:
        config.update(shown)
        for key in [key for key in tensors if key.endswith(("k_proj.weight", "v_proj.weight"))]:
            tensors[key.replace("_proj.weight", "_scale")] = torch.tensor([0.05])

    read = AutoQuantizationConfig.from_dict(shown["quantization_config"]).to_dict()
    assert read["kv_cache_scheme"]["num_bits"] == 8
    assert main(["lint", str(changed(tmp_path / "m", "plain", plant)), "--strict"]) == 0, capsys.readouterr().out


def test_the_layers_of_the_page_are_those_that_are_held() -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has none")
    contracts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    held = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    shown = next(block for block in blocks("text") if block.text.startswith("plugin | cli | trainer"))
    assert shown.text.splitlines() == held


def test_hooks_before_a_commit_run_what_ci_runs() -> None:
    hooks = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    before = {" ".join(word for word in hook["entry"].split() if word != "--force-exclude") for hook in hooks}
    checks = (REPOSITORY / ".ci" / "run").read_text()
    in_ci = set(re.findall(r'^ *"\$work/env/bin/((?:ruff|mypy|lint-imports)[^\n"]*)"?(.*)$', checks, re.MULTILINE))
    assert before == {f"{program}{rest}".removesuffix(" .") for program, rest in in_ci}


def test_the_readme_is_two_screens_with_the_commands_that_ci_runs() -> None:
    text = (REPOSITORY / "README.md").read_text()
    assert len(text.splitlines()) <= 110
    for name in ("gate", "test"):
        assert text.count(f"<!-- readme: {name} -->\n```bash\n") == 1
