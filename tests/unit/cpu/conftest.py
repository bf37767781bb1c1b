from collections.abc import Iterator

import pytest
from cpu_kit import Bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.cpu.close()


@pytest.fixture
def bench32() -> Iterator[Bench]:
    bench = Bench("arm")
    yield bench
    bench.cpu.close()
