"""Retraining (M7): weekly, over the last 90 days; off until somebody switches it on."""

import dagster as dg

from bot4_platform.operations.switches import schedule_status

TRAINING_ASSETS = ("labels", "training_set", "baseline_model", "lightgbm_model", "champion")

training_job = dg.define_asset_job(
    "training",
    selection=dg.AssetSelection.assets(*TRAINING_ASSETS),
    description="Label, join, train the baseline and the challenger, judge, promote or refuse.",
)

weekly_training = dg.ScheduleDefinition(
    name="weekly_training",
    job=training_job,
    cron_schedule="0 3 * * 1",
    execution_timezone="UTC",
    default_status=schedule_status("weekly_training"),
    description="Trains again every 7 days (M7), Mondays at 03:00 UTC, after the closes of Sunday.",
)
