"""What would keep pushes from going out, said at the start."""

from typing import Any

from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured

from push import backends


@register
def check_backends(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    try:
        backends.configured()
    except ImportError as problem:
        hint = "pip install -r requirements-push.txt"
        return [
            Error(f"A channel of PUSH_BACKENDS is missing: {problem}", hint=hint, id="push.E001")
        ]
    except ImproperlyConfigured as problem:
        return [Error(str(problem), id="push.E002")]
    return []
