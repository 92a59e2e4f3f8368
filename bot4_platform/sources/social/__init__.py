"""Public posts about coins: who wrote them is forgotten, how they sound is scored, what looks like spam is marked."""
