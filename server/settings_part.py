"""What every table of the settings file is made of."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A table of the settings file. Unknown names are refused."""

    # Built with the settings that it is part of, and not once more by itself.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


def words(value: Any) -> Any:
    """`a,b` in a variable or an option is a list."""
    if isinstance(value, str):
        return [word.strip() for word in value.split(",") if word.strip()]
    return value
