"""What all sources outside the journal share: a polite client, checked rows, state, quarantine. docs/sources.md."""
