"""A scenario file: read strictly, with the nearest name for what is not known, and no word that does nothing."""

from pathlib import Path

import pytest

from vio.bencher.placeholders import Values, fill, fill_words
from vio.bencher.scenario import Scenario, read_scenario, values_of
from vio.errors import UsageError

WHOLE = """
[values]
count = "100"
[load]
command = ["qemu-img", "bench", "-c", "{count}", "-t", "{cache}", "{image}"]
witness = "stdout"
[image]
size = "64M"
[a]
name = "none"
values = { cache = "none" }
[b]
name = "writeback"
values = { cache = "writeback" }
[bench]
repeats = 2
settle = "0s"
[compare]
min-effect = "3%"
fail-on = ["read.p99 > 10%"]
"""


def read(tmp_path: Path, text: str, **given: str) -> Scenario:
    path = tmp_path / "scenario.toml"
    path.write_text(text)
    return read_scenario(path, given)


def test_a_whole_scenario_is_read(tmp_path: Path) -> None:
    scenario = read(tmp_path, WHOLE, count="7")
    assert values_of(scenario, scenario.b) == {"count": "7", "cache": "writeback"}
    assert (scenario.bench.repeats, scenario.bench.aa, scenario.settle_s, scenario.limit_s) == (2, 3, 0.0, 600.0)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("repeats", "repeat", "bench: repeat is not known: is repeats meant?"),
        ("[a]", "[c]", "scenario.toml: c is not known"),
        ("[image]\nsize", "[image]\nsise", "image: sise is not known: is size meant?"),
        ("[b]\nname", "[b]\n# name", "b lacks name"),
        ("repeats = 2", 'repeats = "two"', "bench.repeats: a whole number is needed, not 'two'"),
        ("repeats = 2", "repeats = 0", "bench.repeats: 0 is not from 1 to 1000"),
        ("repeats = 2", "aa = 1", "bench.aa: 1 run a side says nothing of noise"),
        ('settle = "0s"', 'settle = "soon"', "'soon' is no duration"),
        ('settle = "0s"', 'most-stolen = "0.05"', "'0.05' is no share"),
        ('"{image}"]', '"{imgae}"]', "{imgae} stands for nothing under none: is image meant?"),
        ('"-t", "{cache}", ', "", "none: the value cache is used nowhere"),
        ('cache = "writeback"', 'cash = "x"', "{cache} stands for nothing under writeback: is cash meant?"),
        ('cache = "none"', "cache = 3", "none.cache: text or a list of words is needed, not '3'"),
        ('{ cache = "none" }', '{ cache = "none", run = "x" }', "the name run of a value is taken"),
        ('"{image}"]', '"x={more}", "{image}"]', "{more} stands for nothing"),
        ('"-c", "{count}"', '"-c={cache}"', None),
        ('cache = "none"', 'cache = ["-t", "none"]', None),
        ('size = "64M"', "", "image: either size or source is needed"),
        ('size = "64M"', 'size = "64M"\nway = "overlay"', "image.way: overlay is for an image that exists"),
        ('size = "64M"', 'source = "x"\nway = "move"', "'move' is not one of copy, overlay, same"),
        ('[image]\nsize = "64M"', "", "{image} stands for nothing under none: the scenario has no [image]"),
        ('name = "writeback"', 'name = "none"', "a and b have the same name, none"),
        ('["qemu-img", "bench", ', "[", None),
        ("[load]", "[load", "is no TOML"),
        ('command = [', 'prepare = [[]]\ncommand = [', "load: a command is empty"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, message: str | None) -> None:
    assert old in WHOLE
    text = WHOLE.replace(old, new, 1)
    if message is None:  # any words may be a command: whether they are QEMU is seen when they are run
        read(tmp_path, text)
        return
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text)
    assert message in str(caught.value)


def test_a_list_of_words_needs_a_word_of_its_own(tmp_path: Path) -> None:
    text = WHOLE.replace('"{cache}"', '"cache={cache}"').replace('cache = "none"', 'cache = ["a", "b"]')
    with pytest.raises(UsageError, match=r"\{cache\} stands for several words in cache=\{cache\}"):
        read(tmp_path, text)


def test_a_setting_may_use_the_values_of_both(tmp_path: Path) -> None:
    scenario = read(tmp_path, WHOLE.replace('cache = "none"', 'cache = "{count}/x"'), count="7")
    assert values_of(scenario, scenario.a)["cache"] == "7/x"
    with pytest.raises(UsageError, match=r"\{cuont\} stands for nothing"):
        read(tmp_path, WHOLE.replace('cache = "none"', 'cache = "{cuont}"'))


def test_only_values_that_the_scenario_has_are_set(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--set cuont: the scenario has no such value: is count meant"):
        read(tmp_path, WHOLE, cuont="7")


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_scenario(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="is no TOML"):
        read_scenario(tmp_path / "binary.toml")
    (tmp_path / "long.toml").write_bytes(b"#" * (1 << 21))
    with pytest.raises(UsageError, match="is longer than"):
        read_scenario(tmp_path / "long.toml")


def test_words_stay_words_and_lists_become_several() -> None:
    values: Values = {"image": "a b; rm", "more": ("-t", "none"), "nothing": ()}
    words = ("{more}", "f={image}", "{nothing}", '{"driver": "file"}')
    assert fill_words(words, values) == ("-t", "none", "f=a b; rm", '{"driver": "file"}')
    with pytest.raises(UsageError, match="stands for several words"):
        fill("x={more}", values)
