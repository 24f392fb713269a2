"""Times as people write them."""

import pytest

from rvm_model.errors import UserError
from tools.cli.times import parse_time


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12.5", 12.5),
        ("0", 0),
        ("00:00:12.5", 12.5),
        ("1:02:03.25", 3723.25),
        ("2:05", 125),
        ("90:00", 5400),
        ("100:59:59.999999999", 363_599.999999999),
    ],
)
def test_seconds_and_timecodes(text, seconds):
    assert parse_time("--start", text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "soon", "00:00:12:05", "1:60", "1:60:00", "1:2:60", "-1:00", "1:-2", "1:", ":5", "0:1e1", "0:nan", "12,5"],
)
def test_what_is_no_time(text):
    with pytest.raises(UserError, match=rf"^--end {text}: give seconds, such as 12\.5, or hours:minutes:seconds"):
        parse_time("--end", text)
