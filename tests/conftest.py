"""Hypothesis without deadlines (a busy machine is not a failing test), and golden files."""

from collections.abc import Callable

import pytest
from hypothesis import settings

settings.register_profile("optemu", deadline=None)
settings.load_profile("optemu")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regenerate", action="store_true", help="write golden files anew: then look at the difference")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """``golden(name, text)``: the text is what golden/NAME beside the test says; --regenerate makes it so."""

    def check(name: str, text: str) -> None:
        path = request.path.parent / "golden" / name
        if request.config.getoption("--regenerate"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8")

    return check
