"""Great Expectations over profiles, samples and slow sources, and Data Docs that read without a network."""
