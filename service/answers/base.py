"""What every described answer has in common."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Real = float | None
"""A number that is sent as null where it is not finite."""
Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"}, description="RFC 3339, in UTC")]
UnixTime = Annotated[float, Field(description="seconds since 1970, in UTC")]


class Answer(BaseModel):
    """No members but these; those without a default are always there."""

    model_config = ConfigDict(extra="forbid")


def absent(says: str) -> Any:
    """A member that is sometimes left out. It has a default for that reason alone: none is ever put in."""
    return Field(default_factory=dict, description=says)
