"""The pages point at each other and at files; every such link leads somewhere."""
from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, anchors, links, name


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_resolve(page: Path) -> None:
    """A relative link names a file of the repository, and its fragment a heading there."""
    broken = []
    for link in links(page):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (ROOT not in target.parents and target != ROOT):
            broken.append(link)
        elif fragment and fragment not in anchors(target):
            broken.append(f"{link} (no such heading)")
    assert broken == []


def test_every_page_is_reachable() -> None:
    """Each page of docs/ is linked from the README or from a page that the README links."""
    seen, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in seen or page.suffix != ".md" or not page.exists():
            continue
        seen.add(page)
        todo += [(page.parent / link.partition("#")[0]).resolve() for link in links(page) if "://" not in link]
    assert [name(page) for page in PAGES if page.parent == ROOT / "docs" and page not in seen] == []
