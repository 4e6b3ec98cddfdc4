"""What stands in a canned reply for names. Pure."""

import re
from collections.abc import Mapping

VARIABLES = ("rider_name", "driver_name", "agent_name")
_VARIABLE = re.compile(r"\{(\w+)\}")


def unknown_variables(text: str) -> list[str]:
    return [f"{{{name}}}" for name in _VARIABLE.findall(text) if name not in VARIABLES]


def expand(text: str, values: Mapping[str, str]) -> str:
    """Each `{variable}` replaced; one that has no value stays, for the agent to see. What a value
    contains is never expanded again.
    """
    return _VARIABLE.sub(lambda found: values.get(found[1]) or found[0], text)
