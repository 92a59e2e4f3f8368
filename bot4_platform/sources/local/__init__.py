"""Stand-ins on loopback that speak the protocols of the slow sources: an Ethereum node, feeds, Mastodon, ALFRED."""
