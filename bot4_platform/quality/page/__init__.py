"""The quality page: one HTML file an account that needs no network."""
