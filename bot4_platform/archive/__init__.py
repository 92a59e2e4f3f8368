"""What is older than the local window lies in S3, verified, and is read through the lake (docs/archive.md)."""
