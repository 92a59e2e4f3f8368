"""From features to trained models: labels, the training set, the baseline and LightGBM; weekly, when switched on."""

import dagster as dg


def definitions() -> dg.Definitions:
    """Return the definitions of this domain."""
    from bot4_platform.defs.training import checks, data, models, schedules

    return dg.Definitions(
        assets=[data.labels, data.training_set, models.baseline_model, models.lightgbm_model],
        asset_checks=[
            checks.labels_are_finished,
            checks.training_set_is_of_its_time,
            checks.baseline_is_judged_later,
            checks.lightgbm_is_judged_later,
        ],
        jobs=[schedules.training_job],
        schedules=[schedules.weekly_training],
    )
