"""How much a counter of CPU time grew: unknown unless both ends could be read."""

import pytest

from vio.recorder.cpu import Growth


def counter(*readings: float | Exception) -> Growth:
    left = iter(readings)

    def read() -> float:
        reading = next(left)
        if isinstance(reading, Exception):
            raise reading
        return reading

    return Growth(read)


def test_it_is_the_difference_of_the_last_reading_and_the_first() -> None:
    grown = counter(3.0, 4.0, 7.5)
    grown.begin()
    assert grown.by is None
    grown.end()
    assert grown.by == 1.0
    grown.end()
    assert grown.by == 4.5


@pytest.mark.parametrize(
    "readings",
    [
        pytest.param((OSError("no such process"), 7.5), id="begin"),
        pytest.param((3.0, ValueError("not a number")), id="end"),
    ],
)
def test_it_is_unknown_if_an_end_could_not_be_read(readings: tuple[float | Exception, ...]) -> None:
    grown = counter(*readings)
    grown.begin()
    grown.end()
    assert grown.by is None
