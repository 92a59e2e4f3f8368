"""News from RSS and Atom feeds: which they are about, and how much they may move a market."""
