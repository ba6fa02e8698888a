"""What a part may be asked for ends where it says."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from undiffuse.core.errors import UserError


def begins_at_a_bound(make: Callable[[Any], Any], good: Iterable[Any], bad: Iterable[Any]) -> None:
    """Every good value is taken, and every bad one refused in one line."""
    for value in good:
        make(value)
    for value in bad:
        with pytest.raises(UserError) as refused:
            make(value)
        assert "\n" not in str(refused.value)
