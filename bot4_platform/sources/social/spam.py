"""What makes a post look bought, automatic or repeated. Only the posts before it are looked at, so that a verdict
never knows the future; a post that is marked stays in the table and out of the averages.
"""

from __future__ import annotations

import re
from collections import Counter

from bot4_platform.sources.social.mastodon import Status, nanoseconds

LINK = re.compile(r"https?://\S+")
NS_A_DAY = 86_400 * 10**9
MOST_TAGS, MOST_LINKS, MOST_A_DAY, MOST_COPIES = 8, 2, 20, 2
YOUNG_NS, FEW_FOLLOWERS = 2 * NS_A_DAY, 5


class Spam:
    """The posts of a day so far; `reasons` judges the next one and counts it."""

    def __init__(self) -> None:
        self._by_author: Counter[str] = Counter()
        self._texts: Counter[str] = Counter()

    def count(self, author: str, text: str) -> None:
        """Count a post that was judged before."""
        self._by_author[author] += 1
        self._texts[_core(text)] += 1

    def reasons(self, post: Status, author: str, text: str) -> list[str]:
        """Return why a post is left out of averages, [] when nothing speaks against it."""
        links, age_ns = len(LINK.findall(text)), post.created_at_ns - nanoseconds(post.account.created_at)
        found = {
            "bot": post.account.bot,
            "hashtags": len(post.tags) > MOST_TAGS,
            "links": links > MOST_LINKS,
            "young": age_ns < YOUNG_NS and post.account.followers_count < FEW_FOLLOWERS and links > 0,
            "flood": self._by_author[author] >= MOST_A_DAY,
            "copy": bool(_core(text)) and self._texts[_core(text)] >= MOST_COPIES,
        }
        self.count(author, text)
        return [name for name, true in found.items() if true]


def _core(text: str) -> str:
    """Return what two copies of a text share: its words without links, numbers and mentions."""
    return " ".join(re.findall(r"[^\W\d_]{2,}", re.sub(r"https?://\S+|@\S+", " ", text.lower())))
