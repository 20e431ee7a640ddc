"""What pages show to be printed, held against what is printed today. A block of text names its command in the line
before it, `<!-- printed: maxact sites DIR -->`; a line of dots in it leaves something out.

    python -m tools.check_shown                    # runs all of them; some ten minutes
    python -m tools.check_shown README.md docs/quickstart.md
    python -m tools.check_shown --write            # puts in figures that moved, where words and lines are the same
    python -m tools.check_shown --printed FILE README.md   # runs nothing: FILE is what its first command printed

Figures hang on the processor, so that a FILE is held to the words alone. Commands run beside `fixtures` and what the
pages speak of: DIR is SmolLM2-135M, which fixtures/make_smollm2.py makes.
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from fixtures.make_smollm2 import folder as smollm2
from tests.support.markdown import PAGES, Block, blocks_of

REPOSITORY = Path(__file__).parents[1]
LEFT_OUT = "..."
_SAID = "printed: "
_PROGRAMS = {"pytest": ("pytest", "-p", "no:cacheprovider", "-p", "no:randomly"), "maxact": ("pytest_maxact.cli",)}
_MASKS = (
    (re.compile(r"token\s+(\d+)\s+(['\"]).*?\2(?=[ ,\n]|$)", re.DOTALL), r"token \1"),
    (re.compile(r"\b[a-z]+-\d+\b(?=,\s+token)"), "sample"),
    (re.compile(r"[█░]+|(?<=\s)[▁-█]+(?=\s)"), ""),
    (re.compile(r"[<+-]?\d[\d.e]*(?:\s+[<+-]?\d[\d.e]*)*"), "#"),
)


def shown(pages: Sequence[Path]) -> Iterator[tuple[Block, str]]:
    """Blocks that say what printed them, with the command."""
    for page in pages:
        for block in blocks_of(page):
            if block.said.startswith(_SAID):
                yield block, block.said.removeprefix(_SAID)


def pieces(text: str) -> list[str]:
    """What stands between the lines of dots, without what was typed."""
    text = re.sub(r"^\$ .*\n", "", text, flags=re.MULTILINE)
    return [piece.strip("\n") for piece in re.split(rf"^{re.escape(LEFT_OUT)}$", text, flags=re.MULTILINE)]


def in_words(text: str) -> str:
    """Without figures, bars, places and breaks of lines, which are of one run, one machine and one width."""
    for pattern, instead in _MASKS:
        text = pattern.sub(instead, text)
    return " ".join(text.split())


def lacking(block: Block, printed: str, *, words: bool = False) -> list[str]:
    """The pieces of a block that were not printed, one after the other; by their `words` alone, or to the letter."""
    said, found = (in_words(printed) if words else _trimmed(printed)), []
    for piece in pieces(_trimmed(block.text)):
        wanted = in_words(piece) if words else piece
        place = said.find(wanted)
        if place < 0:
            found.append(piece)
        else:
            said = said[place + len(wanted) :]
    return found


def renewed(block: Block, printed: str) -> str:
    """The block with the lines that were printed in the place of those that differ in their figures."""
    lines, text = _trimmed(printed).splitlines(), []
    for line in block.text.splitlines():
        same = [place for place, other in enumerate(lines) if in_words(other) == in_words(line)]
        text.append(lines[same[0]] if same and line != LEFT_OUT and line.strip() else line)
        lines = lines[same[0] + 1 :] if same and line.strip() else lines
    return "\n".join(text) + "\n"


def run(command: str, folder: Path) -> str:
    """What a command prints that stands on a page, in a folder with what it takes."""
    program, *arguments = shlex.split(command)
    if not (folder / "fixtures").exists():
        _give(folder)
    given = {name: value for name, value in os.environ.items() if name not in ("CI", "GITHUB_ACTIONS")}
    given |= {"COLUMNS": "80", "NO_COLOR": "1", "PYTHONPATH": str(REPOSITORY), "PYTHONIOENCODING": "utf-8"}
    words = [sys.executable, "-m", *_PROGRAMS[program], *arguments]
    done = subprocess.run(words, cwd=folder, env=given, capture_output=True, text=True, encoding="utf-8", check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def _give(folder: Path) -> None:
    """What the pages speak of: a key norm with one entry 300 times too large, and configs."""
    from safetensors.torch import load_file, save_file
    from transformers import CONFIG_MAPPING, LlamaConfig

    (folder / "fixtures").symlink_to(REPOSITORY / "fixtures")
    (folder / "DIR").symlink_to(smollm2())
    shutil.copytree(REPOSITORY / "fixtures" / "qwen3-tiny", folder / "planted")
    weights = folder / "planted" / "model.safetensors"
    tensors = load_file(weights)
    tensors["model.layers.3.self_attn.k_norm.weight"][5] *= 300
    save_file(tensors, weights, metadata={"format": "pt"})
    CONFIG_MAPPING["bailing_hybrid"]().save_pretrained(folder)
    LlamaConfig(
        hidden_size=8192, intermediate_size=28_672, num_hidden_layers=80, num_attention_heads=64,
        num_key_value_heads=8, vocab_size=128_256, max_position_embeddings=8192, dtype="bfloat16",
        architectures=["LlamaForCausalLM"],
    ).save_pretrained(folder / "llama-70b")  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="hold what pages show to be printed against what is printed today")
    parser.add_argument("pages", nargs="*", type=Path, default=PAGES, help="(default: all)")
    parser.add_argument("--write", action="store_true", help="put in figures that moved")
    parser.add_argument("--printed", type=Path, metavar="FILE", help="what the first command of each page printed")
    options = parser.parse_args(arguments)
    said: dict[str, str] = {}
    failed = 0
    with TemporaryDirectory() as name:
        for page in options.pages:
            found = list(shown([page.resolve()]))
            if not found:
                continue
            if options.printed:
                found = [entry for entry in found if entry[1] == found[0][1]]
                said = {found[0][1]: options.printed.read_text(encoding="utf-8")}
            for block, command in found:
                said[command] = said.get(command) or run(command, Path(name))
                if options.write:
                    text = page.read_text(encoding="utf-8")
                    page.write_text(text.replace(block.text, renewed(block, said[command])), encoding="utf-8")
                    (block,) = (one for one in blocks_of(page.resolve()) if one.line == block.line)
                for piece in lacking(block, said[command], words=bool(options.printed)):
                    failed += 1
                    print(f"{block.name}: not what `{command}` prints today:\n{piece}\n")
    return int(failed > 0)


def _trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
