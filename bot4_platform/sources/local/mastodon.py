"""A Mastodon server on loopback: hashtag timelines with ids that are times, pages both ways, and its rate limit."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from bot4_platform.sources.local.http import LocalServer, Reply, Request

SAID = (
    "Great to see #bitcoin back above the average, very bullish!",
    "Another rug pull. #crypto is full of scams, be careful",
    "#ethereum gas is low today, I love it",
    "Fear everywhere, #bitcoin is crashing hard :(",
    "Has anybody tried the new #bitcoin client?",
    "Claim your FREE tokens now https://a.example https://b.example https://c.example #crypto",
)
DEFAULT = 20


@dataclass(frozen=True)
class Post:
    """A post: the truth behind a status."""

    id: int
    time: datetime
    author: str
    text: str

    @property
    def tags(self) -> list[str]:
        """Return its hashtags."""
        return [word[1:].strip(".,!?").lower() for word in self.text.split() if word.startswith("#")]


def make_posts(seed: int, start_s: int, count: int, every_s: int = 60) -> list[Post]:
    """Return posts from `start_s` (Unix seconds) on, oldest first."""
    random = Random(seed)
    found = []
    for i in range(count):
        time = datetime.fromtimestamp(start_s, UTC) + timedelta(
            seconds=i * every_s, milliseconds=random.randint(0, 50_000)
        )
        number = (int(time.timestamp() * 1000) << 16) + random.getrandbits(16)
        text = f"{random.choice(SAID)} ({random.choice('abcdefghijklmnopqrst') * 2} {random.choice('uvwxyz') * 3})"
        found.append(Post(number, time, f"user{random.randint(1, 60)}", text))
    return found


class MastodonServer(LocalServer):
    """Serves `posts` (oldest first); `limit` requests in five minutes as the API's guidelines have it."""

    def __init__(self, posts: list[Post], *, limit: int | None = 300, token: str = "") -> None:
        """Serve these posts; with a `token` only to who has it."""
        super().__init__(limit=limit, window_s=300)
        self.posts, self.token = posts, token
        self.extra: list[Any] = []  # put into every page, for tests

    def refusal(self) -> Reply:
        """Return what a server answers past its limit."""
        reset = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
        headers = {"X-RateLimit-Limit": "300", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset}
        return Reply(b'{"error":"Too many requests"}', 429, headers=headers)

    def answer(self, request: Request) -> Reply:
        """Answer with a page of a hashtag's timeline."""
        prefix = "/api/v1/timelines/tag/"
        if not request.path.startswith(prefix):
            return Reply(b'{"error":"The page you were looking for does not exist"}', 404)
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            return Reply(b'{"error":"This method requires an authenticated user"}', 422)
        tag, query = request.path.removeprefix(prefix).lower(), request.query
        found = [post for post in self.posts if tag in post.tags]
        low = int(query.get("min_id") or query.get("since_id") or 0)
        high = int(query.get("max_id") or 2**80)
        found = [post for post in found if low < post.id < high]
        limit = min(40, int(query.get("limit") or DEFAULT))
        # min_id: those right after it; otherwise the newest. Newest first either way.
        found = (found[:limit] if "min_id" in query else found[-limit:])[::-1]
        page = [*self.extra, *(_status(post) for post in found)]
        return Reply(json.dumps(page).encode())


def _status(post: Post) -> dict[str, Any]:
    words = " ".join(
        f'<a href="https://social.example/tags/{word[1:]}" class="mention hashtag">#<span>{word[1:]}</span></a>'
        if word.startswith("#")
        else word
        for word in post.text.replace("&", "&amp;").replace("<", "&lt;").split()
    )
    created = post.time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "id": str(post.id), "created_at": created, "in_reply_to_id": None, "sensitive": False, "spoiler_text": "",
        "visibility": "public", "language": "en", "uri": f"https://social.example/{post.id}", "replies_count": 0,
        "reblogs_count": 1, "favourites_count": 2, "content": f"<p>{words}</p>", "reblog": None,
        "media_attachments": [],
        "account": {
            "id": "1", "username": post.author, "acct": f"{post.author}@social.example", "bot": False, "locked": False,
            "created_at": "2022-11-05T00:00:00.000Z", "followers_count": 120, "following_count": 80,
            "statuses_count": 900,
        },
        "tags": [{"name": tag, "url": f"https://social.example/tags/{tag}"} for tag in post.tags],
    }  # fmt: skip
