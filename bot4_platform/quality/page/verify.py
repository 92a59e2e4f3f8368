"""Whether the page is whole: nothing fetched, no dead link, the figures of the lake."""

from __future__ import annotations

import re
from urllib.parse import unquote

from bot4_live.settings import Settings
from bot4_platform.quality.page.facts import collect
from bot4_platform.settings import quality_page

REMOTE = re.compile(r"(?:src|href)=[\"']?(?:https?:)?//|url\([\"']?https?:|@import", re.IGNORECASE)
LINK = re.compile(r'href="([^"#]+)"')


def problems(settings: Settings) -> list[str]:
    """Return what is wrong with the account's page, nothing when it is whole."""
    path = quality_page(settings)
    if not path.is_file():
        return [f"there is no {path}: materialize the asset quality_page"]
    text = path.read_text()
    found = [f"it asks for something that is not in it: {match[0]}" for match in REMOTE.finditer(text)]
    links = sorted(set(LINK.findall(text)))
    found += [f"a link leads nowhere: {link}" for link in links if not (path.parent / unquote(link)).is_file()]
    total = collect(settings).all.total
    if f'<b class="">{total:,}</b>' not in text:
        found.append(f"it does not show the lake's {total:,} frames")
    return found
