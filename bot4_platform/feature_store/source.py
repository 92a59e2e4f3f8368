"""A lake table as a Feast data source: which column is the event's time and which the time it was known."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from feast.data_source import DataSource
from feast.protos.feast.core.DataSource_pb2 import DataSource as DataSourceProto
from feast.repo_config import RepoConfig
from feast.value_type import ValueType

CLASS_TYPE = "bot4_platform.feature_store.source.LakeSource"
EVENT_FIELD, CREATED_FIELD = "event_timestamp", "created"


class LakeSource(DataSource):
    """Table `table`; `event_column` and `created_column` are int64 ns columns of it."""

    def __init__(self, *, table: str, event_column: str, created_column: str, description: str = "") -> None:
        super().__init__(
            name=f"lake_{table}",
            timestamp_field=EVENT_FIELD,
            created_timestamp_column=CREATED_FIELD,
            description=description,
        )
        self.table, self.event_column, self.created_column = table, event_column, created_column

    def __eq__(self, other: object) -> bool:
        """Compare by what is stored."""
        if not isinstance(other, LakeSource):
            return False
        return (self.name, self.description, self._options()) == (other.name, other.description, other._options())

    def __hash__(self) -> int:
        """Return the hash of the name."""
        return hash(self.name)

    def _options(self) -> dict[str, str]:
        return {"table": self.table, "event_column": self.event_column, "created_column": self.created_column}

    def source_type(self) -> Any:
        """Return that this is a source of our own."""
        return DataSourceProto.CUSTOM_SOURCE

    @staticmethod
    def from_proto(data_source: DataSourceProto) -> LakeSource:
        """Return the source that a registry stored."""
        options = json.loads(data_source.custom_options.configuration)
        return LakeSource(**options, description=data_source.description)

    def _to_proto_impl(self) -> DataSourceProto:
        return DataSourceProto(
            name=self.name,
            type=DataSourceProto.CUSTOM_SOURCE,
            data_source_class_type=CLASS_TYPE,
            timestamp_field=self.timestamp_field,
            created_timestamp_column=self.created_timestamp_column,
            description=self.description,
            custom_options=DataSourceProto.CustomSourceOptions(
                configuration=json.dumps(self._options(), sort_keys=True).encode()
            ),
        )

    def validate(self, config: RepoConfig) -> None:
        """Accept: the table may be written later; reading it says when it is missing."""

    @staticmethod
    def source_datatype_to_feast_value_type() -> Callable[[str], ValueType]:
        """Return how a lake type is called in Feast."""
        return {"Float64": ValueType.DOUBLE, "Int64": ValueType.INT64, "String": ValueType.STRING}.__getitem__

    def get_table_column_names_and_types(self, config: RepoConfig) -> Iterable[tuple[str, str]]:
        """Return the columns the lake declares for the table."""
        from bot4_platform.tables import TABLES

        return list(TABLES[self.table].columns.items()) if self.table in TABLES else []
