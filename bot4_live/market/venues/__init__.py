"""Market data of the other venues: frames in, event records out, each venue's own proof that its book is right."""
