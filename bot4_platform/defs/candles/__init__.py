"""Marts: dbt's models and tests as assets and checks."""

import dagster as dg


def definitions() -> dg.Definitions:
    """Return the definitions of this domain."""
    from bot4_platform.defs.candles import checks, docs, pairs, steps

    return dg.Definitions(
        assets=[steps.candles, steps.marts, pairs.basis_pairs, steps.basis, docs.dbt_docs],
        asset_checks=[
            checks.candles_agree_with_trades,
            checks.intervals_agree_with_trades,
            pairs.pairs_are_comparable,
            docs.docs_have_every_model,
        ],
    )
