from functools import partial

import pytest

from gpubench.core.units import format_percent, format_seconds, format_significant, format_watts, told_apart


@pytest.mark.parametrize(
    ("first", "second", "write", "shown"),
    [
        (0.031, 0.03, format_percent, ("3.1%", "3.0%")),
        (0.03004, 0.03, format_percent, ("3.004%", "3.000%")),
        (0.03, 0.03, format_percent, ("3.0%", "3.0%")),
        (-0.0304, -0.03, partial(format_percent, signed=True), ("-3.04%", "-3.00%")),
        (0.9999, 1.0, format_percent, ("99.99%", "100.00%")),
        (299.4, 300.2, format_watts, ("299 W", "300 W")),
        (299.6, 300.2, format_watts, ("299.6 W", "300.2 W")),
        (0.0104, 0.0099, format_seconds, ("10.4 ms", "9.9 ms")),
        (0.0203, 0.02, format_significant, ("0.0203", "0.02")),
        (2.1e-5, 2e-5, format_significant, ("2.1e-05", "2e-05")),
    ],
)
def test_two_compared_numbers_are_printed_alike_only_if_they_are(first, second, write, shown):
    assert told_apart(first, second, write) == shown
