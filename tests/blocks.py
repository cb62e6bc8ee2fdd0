"""The code blocks of a Markdown page, so that tests can run what readers are told to run."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
_FENCE = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, its text, and where it stands."""

    language: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        """The file that a block is to be saved as: its first line's comment, where that is a path."""
        named = re.match(r"# (\S+\.py)\n", self.text)
        return named[1] if named else None


def blocks_of(page: str) -> list[Block]:
    """Every block of a page (a path from the root), in order."""
    text = (ROOT / page).read_text()
    return [Block(found[1], found[2], text[: found.start()].count("\n") + 1) for found in _FENCE.finditer(text)]
