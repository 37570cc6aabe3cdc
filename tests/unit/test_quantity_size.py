"""Sizes and ranges of bytes as a user types them."""

import pytest

from vio.errors import UsageError
from vio.quantity import parse_range, parse_share, parse_size, size_text


@pytest.mark.parametrize(
    ("text", "count"),
    [("0", 0), ("4096", 4096), ("0x1000", 4096), ("64k", 65536), ("64 KiB", 65536), ("1.5G", 3 << 29), ("2T", 2 << 40)],
)
def test_sizes_are_read(text: str, count: int) -> None:
    assert parse_size(text) == count


@pytest.mark.parametrize("text", ["", "-1", "1.5", "0.3k", "1e3", "0xg", "64x", "9" * 20, "0x" + "f" * 16, "99999P"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_size(text)


def test_ranges_are_read() -> None:
    assert parse_range("1M+64k") == (1 << 20, 65536)
    assert parse_range("0x200") == (512, 1)
    for text in ("1+0", "1+", "+1", "0x7fffffffffffffff+1"):
        with pytest.raises(UsageError):
            parse_range(text)


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (1023, "1023 B"), (65536, "64 KiB"), (3 << 29, "1.5 GiB")])
def test_sizes_are_written(count: int, text: str) -> None:
    assert size_text(count) == text


@pytest.mark.parametrize(("text", "share"), [("5%", 0.05), (" 0.5 %", 0.005), ("100%", 1.0), (".5%", 0.005)])
def test_shares(text: str, share: float) -> None:
    assert parse_share(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["", "%", "5", "-1%", "5%%", "\N{ARABIC-INDIC DIGIT FIVE}%", "nan%"])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(UsageError, match="is no share"):
        parse_share(text)
