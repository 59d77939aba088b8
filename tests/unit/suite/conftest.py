from collections.abc import Callable

import pytest

from gpubench.core.errors import SuiteError
from gpubench.suite.load import LoadedSuite, parse_suite

HEAD = "schema: 1\nname: demo\n"


@pytest.fixture
def parsed() -> Callable[..., LoadedSuite]:
    """A suite from what stands below its first two lines."""
    return lambda body="", *overrides: parse_suite(HEAD + body, overrides)


@pytest.fixture
def problems() -> Callable[..., list[str]]:
    """`path: message` of every mistake that the suite is refused for."""

    def found(body: str = "", *overrides: str, head: str = HEAD) -> list[str]:
        with pytest.raises(SuiteError) as caught:
            parse_suite(head + body, overrides)
        return [
            f"{each.path}: {each.message}{f' ({each.suggestion})' if each.suggestion else ''}"
            for each in caught.value.problems
        ]

    return found
