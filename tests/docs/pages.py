"""The project's Markdown pages as values: their fenced blocks, links and headings. Used by the tests beside it."""
from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Set

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"),
                *(path for path in (ROOT / "examples").rglob("*.md") if "node_modules" not in path.parts)])
_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^\n]*)\n(?P<text>.*?)^(?P=indent)```$", re.M | re.S)
_LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")


class Block(NamedTuple):
    """A fenced block: ```` ```<language> <words> ````."""

    page: Path
    line: int
    language: str
    words: Set[str]
    text: str

    @property
    def file(self) -> Optional[str]:
        """The name after `file=`, where the block is a file of the page's folder."""
        return next((word[len("file="):] for word in sorted(self.words) if word.startswith("file=")), None)


def name(path: Path) -> str:
    """A page's name in test ids."""
    return path.relative_to(ROOT).as_posix()


def blocks(page: Path) -> List[Block]:
    """The fenced blocks of a page, in order."""
    source = page.read_text("utf-8")
    found = []
    for match in _FENCE.finditer(source):
        language, *words = match["info"].split() or [""]
        text = re.sub(f"^{match['indent']}", "", match["text"], flags=re.M)
        found.append(Block(page, source.count("\n", 0, match.start()) + 1, language, set(words), text))
    return found


def files(page: Path) -> Dict[str, str]:
    """The files that a page shows (`file=NAME`), by name."""
    return {block.file: block.text for block in blocks(page) if block.file is not None}


def lay_out(page: Path, folder: Path) -> None:
    """Write the files that a page shows into a folder, as its reader would."""
    for file, text in files(page).items():
        target = folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return _FENCE.sub("", page.read_text("utf-8"))


def links(page: Path) -> List[str]:
    """The targets of the page's links."""
    return _LINK.findall(re.sub(r"`[^`\n]*`", "", prose(page)))


def anchors(page: Path) -> Set[str]:
    """The fragments that the page's headings make, as code forges make them."""
    found = set()
    for heading in re.findall(r"^#+ +(.+?)\s*$", prose(page), re.M):
        found.add(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-"))
    return found
