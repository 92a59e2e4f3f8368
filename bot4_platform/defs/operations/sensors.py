"""Who is told when a run fails, and what is made again whenever its inputs were."""

import dagster as dg

from bot4_platform.operations.switches import sensor_status
from bot4_platform.resources import Bot4Resource


@dg.run_failure_sensor(
    name="failure_alerts",
    minimum_interval_seconds=15,
    default_status=sensor_status("failure_alerts"),
    description="A failed run is a line in var/<account>/alerts.jsonl, and on the webhook when one is set: what "
    "failed, of which partition, what it holds up, what to do.",
)
def failure_alerts(context: dg.RunFailureSensorContext, bot4: Bot4Resource) -> None:
    """Raise the alert of one run."""
    import time

    from bot4_platform.definitions import defs
    from bot4_platform.operations.alerts import make_alert, raise_alert
    from bot4_platform.operations.errors import first_cause
    from bot4_platform.settings import platform_settings

    settings = bot4.settings()
    failures = [
        (event.step_key or "", first_cause(event.step_failure_data.error))
        for event in context.get_step_failure_events()
    ]
    graph = defs.resolve_asset_graph()
    alert = make_alert(context.dagster_run, failures, graph, settings.account, time.time_ns())
    went = raise_alert(settings, platform_settings().operations, alert)
    context.log.warning(f"{alert.text} [webhook: {went}]")


glue = dg.AutomationConditionSensorDefinition(
    "glue",
    target=dg.AssetSelection.all() - dg.AssetSelection.groups("training", "promotion"),
    default_status=sensor_status("glue"),
    minimum_interval_seconds=60,
    description="Makes what is unpartitioned and cheap again after its inputs were: reports and the like. Training and "
    "promotion have no condition: they spend the holdout.",
)
