"""The pictures of docs/pictures/, out of real runs: a checkpoint of fixtures/ that was trained on, held to limits that
an earlier one set, as the terminal shows it in light and dark; and the page of the same run in a browser.

    python -m tools.draw_pictures            # all of them; a minute
    python -m tools.draw_pictures terminal   # without a browser

Text of a picture is what the program printed, with lines left out where it says so; of the page, breaches after the
first are folded, and what to do of that one, by a click as a reader's.
"""

import io
import os
import re
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

REPOSITORY = Path(__file__).parents[1]
PICTURES = REPOSITORY / "docs" / "pictures"
BEFORE, AFTER = "fixtures/qwen3-tiny-steps/step-900", "fixtures/qwen3-tiny"
SHORT = "--maxact-max-samples=60"
"""Less text than the docs read, so figures are none of theirs: the picture shows that."""
GATE = ("fixtures", f"--maxact-model={AFTER}", "--maxact-limits=limits.yaml", SHORT)
COMMAND = f"pytest {' '.join(GATE[:2])} \\\n    {' '.join(GATE[2:])}"
"""What the picture shows to be typed, and what is run."""
WIDTH = 80
PAGE_WIDTH = 960
LEFT_OUT = "..."
_FORMAT = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img">
<style>
.{unique_id}-matrix {{font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
font-size: {char_height}px; line-height: {line_height}px}}
.{unique_id}-title {{font-size: 18px; font-weight: bold; font-family: system-ui, sans-serif}}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g>
</g>
</svg>
"""
"""That of rich, without fonts that lie elsewhere: each piece of text has its length, so any font fits."""


def run(folder: Path, *arguments: str, inside: bool = False) -> str:
    """What a command of ours prints, run from the repository with files in `folder`, or `inside` it."""
    given = {name: value for name, value in os.environ.items() if name not in ("CI", "NO_COLOR", "PY_COLORS")}
    given |= {"COLUMNS": str(WIDTH), "PYTHONPATH": str(REPOSITORY), "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-m", *(argument.replace("FOLDER", str(folder)) for argument in arguments)]
    place = folder if inside else REPOSITORY
    done = subprocess.run(command, cwd=place, env=given, capture_output=True, text=True, encoding="utf-8")
    if done.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def breach(folder: Path) -> str:
    """The run, with its colours: limits of the checkpoint before, the checkpoint after, which does not hold them."""
    (folder / "limits.yaml").write_text("version: 1\nextends: builtin\n", encoding="utf-8")
    measure = ("pytest_maxact.cli", "measure", BEFORE, SHORT.replace("maxact-", ""), "-o", "FOLDER/before.safetensors")
    run(folder, *measure)
    suggest = ("pytest_maxact.cli", "suggest", "FOLDER/before.safetensors", "--limits", "FOLDER/limits.yaml")
    run(folder, *suggest, "--update", "all")
    gate = (word.replace("limits.yaml", "FOLDER/limits.yaml") for word in GATE)
    quiet = ("--color=yes", "--tb=no", "-rN", "-p", "no:cacheprovider", "-p", "no:randomly")
    return run(folder, "pytest", *gate, "--maxact-save=FOLDER/after.safetensors", *quiet)


def shortened(printed: str) -> Sequence[str]:
    """Of a run: the verdict, breaches, M and the table; facts between are left out."""
    lines = printed.splitlines()
    begin = next(place for place, line in enumerate(lines) if re.search(r"=+ maxact =+", plain(line))) + 1
    end = next(place for place, line in enumerate(lines) if plain(line).startswith("max|a|: "))
    return tuple(_kept(lines[begin:end]))


def _kept(lines: Sequence[str]) -> Iterator[str]:
    """Facts have a label in the first column, or go on below it; all but those of the model and M are left out, and so
    is what is too close to call.
    """
    part, among_facts, told = "", False, True
    for line in lines:
        text = plain(line)
        among_facts = among_facts or text.startswith("too close to call: ")
        among_facts = (among_facts or text.startswith("model ")) and not text.startswith("layer ") and bool(text)
        if not among_facts:
            part = ""
        elif not text.startswith(" "):
            part = text.split(" ", 1)[0] if text.startswith("model ") or part != "too" else part
        if part in ("", "model", "M"):
            yield line
            told = False
        elif not told:
            yield LEFT_OUT
            told = True


def plain(line: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", line)


def drawn(lines: Sequence[str], *, dark: bool) -> str:
    """A terminal that shows these lines, as SVG."""
    from rich.console import Console
    from rich.terminal_theme import TerminalTheme
    from rich.text import Text

    light_theme = TerminalTheme(
        (255, 255, 255), (36, 41, 47),
        [(36, 41, 47), (179, 29, 40), (17, 99, 41), (143, 90, 0), (5, 80, 174), (130, 80, 223), (27, 124, 131),
         (87, 96, 106)],
    )  # fmt: skip
    dark_theme = TerminalTheme(
        (13, 17, 23), (230, 237, 243),
        [(72, 79, 88), (255, 123, 114), (86, 211, 100), (227, 179, 65), (121, 192, 255), (210, 168, 255),
         (86, 212, 221), (177, 186, 196)],
    )  # fmt: skip
    console = Console(width=WIDTH + 2, record=True, file=io.StringIO(), force_terminal=True, highlight=False)
    console.print(Text.assemble(("$ ", "dim"), (COMMAND, "bold")))
    for line in lines:
        console.print(Text.from_ansi(line), soft_wrap=False)
    theme = dark_theme if dark else light_theme
    return console.export_svg(title="pytest-maxact", theme=theme, code_format=_FORMAT, unique_id="maxact")


def text_of(svg: str) -> str:
    """What a picture of a terminal says, line by line."""
    from html import unescape

    rows: dict[float, str] = {}
    for y, text in re.findall(r'<text class="maxact-[^"]*" x="[\d.]+" y="([\d.]+)"[^>]*>(.*?)</text>', svg):
        rows[float(y)] = rows.get(float(y), "") + unescape(text).replace("\xa0", " ")
    return "\n".join(line.rstrip() for _, line in sorted(rows.items()))


def page(folder: Path) -> None:
    """The page of the run from its top to its first figure, by the Chromium of the system."""
    from playwright.sync_api import sync_playwright

    judged = ("after.safetensors", "--limits", "limits.yaml", "-o", "page.html")
    run(folder, "pytest_maxact.cli", "report", *judged, inside=True)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        shown = browser.new_page(viewport={"width": PAGE_WIDTH, "height": 1400}, color_scheme="light")
        shown.goto((folder / "page.html").as_uri())
        shown.wait_for_selector("html[data-drawn]")
        for breach in shown.locator("details.told[open] > summary").all()[:0:-1]:
            breach.click()
        shown.locator("details.advice[open] > summary").first.click()
        shown.mouse.move(0, 0)
        shown.evaluate("scrollTo(0, 0)")
        figure = shown.locator(".figure .chart-box").first.bounding_box()
        if figure is None:
            raise SystemExit("the page has no figure")
        height = figure["y"] + figure["height"] + 8
        shown.screenshot(
            path=PICTURES / "page.png",
            full_page=True,
            clip={"x": 0, "y": 0, "width": PAGE_WIDTH, "height": height},
        )
        browser.close()


def main(names: Collection[str]) -> None:
    wanted = names or ("terminal", "page")
    PICTURES.mkdir(exist_ok=True)
    with TemporaryDirectory() as name:
        folder = Path(name)
        lines = shortened(breach(folder))
        if "terminal" in wanted:
            for dark in (False, True):
                target = PICTURES / f"breach{'-dark' if dark else ''}.svg"
                target.write_text(drawn(lines, dark=dark), encoding="utf-8")
        if "page" in wanted:
            page(folder)


if __name__ == "__main__":
    main(sys.argv[1:])
