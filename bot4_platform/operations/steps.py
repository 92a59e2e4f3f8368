"""What steps have in common: how many of a kind run at once, and what is tried again. Named here and nowhere else."""

from __future__ import annotations

import dagster as dg

# Steps of a pool that may run at once, over all runs of the account.
POOLS = {
    "online_store": 1,  # one writer: it reads the stored timestamp first
    "promotion": 1,  # one writer of the registry's aliases; an alias has no compare-and-swap
    "exchange_history": 1,  # a venue counts requests by address
    "source_ethereum": 1,  # public servers, which others use too; each has its own state here
    "source_news": 1,
    "source_social": 1,
    "source_macro": 1,
    "postgres_bulk": 1,  # leaves the server to those who ask it; only where something is kept there
}

# Of steps that speak to something which may be away: a database, S3. 2, 6 and 14 s, each a
# part more or less, so that what failed together does not come back together.
EXTERNAL = dg.RetryPolicy(max_retries=3, delay=2.0, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)

# Of sources, whose clients ask each page again themselves: for one that was away for longer. 20 and 60 s.
SOURCE = dg.RetryPolicy(max_retries=2, delay=20.0, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)

# Of what is unpartitioned, cheap to compute again and read by people: whenever an input was. Never of training or
# promotion: those spend the holdout.
# An update while it runs, or in the moment it ends, asks for one more.
GLUE = (
    dg.AutomationCondition.any_deps_updated().since(dg.AutomationCondition.newly_requested())
    & ~dg.AutomationCondition.any_deps_in_progress()
    & ~dg.AutomationCondition.in_progress()
).with_label("after its inputs")
