"""`bot4 sql`: questions to the lake in SQL, read-only."""
