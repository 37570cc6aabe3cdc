"""A scenario: what is run, under which two settings, how often, what is put back between runs. Pure but for reading.

docs/benching.md says what each key means, in which unit, and what it is if it is not given.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from vio.bencher.placeholders import BUILT_IN, Values, fill, fill_words, names_in
from vio.errors import UsageError
from vio.printable import printable
from vio.quantity import parse_duration_s, parse_share
from vio.tomldata import from_tables, nearest, read_toml

_MAX_RUNS = 1000
MIN_AA = 2


class Way(StrEnum):
    """How an image that exists is given to each run."""

    COPY = "copy"
    OVERLAY = "overlay"
    SAME = "same"


@dataclass(frozen=True, slots=True)
class Load:
    """What each run does.

    `command` is QEMU or one of its tools, and is recorded from its begin to its end; or, with `vm`, any program, and
    that VM is recorded meanwhile. `prepare` runs before, unrecorded.
    """

    command: tuple[str, ...]
    prepare: tuple[tuple[str, ...], ...] = ()
    witness: str = ""
    vm: str = ""
    disks: tuple[str, ...] = ()
    limit: str = "10m"


@dataclass(frozen=True, slots=True)
class Image:
    """The disk image of each run: made anew of `size`, or from `source` in a `way`."""

    size: str = ""
    format: str = "raw"
    options: str = ""
    source: str = ""
    way: Way = Way.COPY
    place: str = ""


@dataclass(frozen=True, slots=True)
class Setting:
    """One of the two that are compared, and what its placeholders stand for."""

    name: str
    values: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rules:
    """How often, and what happens between runs; `most_stolen` is what may be withheld of the host's CPUs in a run."""

    repeats: int = 5
    aa: int = 3
    warm_up: int = 1
    drop_caches: bool = False
    settle: str = "1s"
    most_stolen: str = "5%"


@dataclass(frozen=True, slots=True)
class Scenario:
    """All of a scenario file; `compare` is the table that `vio compare --config` reads."""

    load: Load
    a: Setting
    b: Setting
    image: Image | None = None
    bench: Rules = Rules()
    values: dict[str, object] = field(default_factory=dict)
    compare: dict[str, object] = field(default_factory=dict)

    @property
    def limit_s(self) -> float:
        """Seconds after which a run is given up."""
        return parse_duration_s(self.load.limit)

    @property
    def settle_s(self) -> float:
        """Seconds of rest before each run."""
        return 0.0 if self.bench.settle in ("0", "0s") else parse_duration_s(self.bench.settle)

    @property
    def most_stolen(self) -> float:
        """Share of the host's CPUs that the hypervisor below may withhold in a run; with more it is made again."""
        return parse_share(self.bench.most_stolen)


def read_scenario(path: Path, given: Mapping[str, str] | None = None) -> Scenario:
    """Read and check a scenario; `given` are values from the command line, for names that its [values] has.

    Raises:
        UsageError: it cannot be read, or something in it is unknown, missing, impossible or of no effect.
    """
    scenario = from_tables(Scenario, read_toml(path), path.name)
    for name in given or {}:
        if name not in scenario.values:
            raise UsageError(f"--set {printable(name)}: the scenario has no such value", nearest(name, scenario.values))
    scenario = replace(scenario, values={**scenario.values, **(given or {})})
    check_rules(scenario.bench)
    _check_load(scenario)
    _check_image(scenario.image)
    for setting in (scenario.a, scenario.b):
        _check_placeholders(scenario, setting)
    if scenario.a.name == scenario.b.name:
        raise UsageError(f"a and b have the same name, {printable(scenario.a.name)}", "name what they differ in")
    return scenario


def values_of(scenario: Scenario, setting: Setting) -> Values:
    """Return what the placeholders stand for under a setting, the built-in ones apart.

    Those of the setting may have those of [values] in them.

    Raises:
        UsageError: a value is neither text nor a list of text, or bears a name that is taken.
    """
    common: Values = {name: _words(value, f"values.{printable(name)}") for name, value in scenario.values.items()}
    found: Values = dict(common)
    for name, value in setting.values.items():
        place = f"{printable(setting.name)}.{printable(name)}"
        words = _words(value, place)
        found[name] = fill(words, common) if isinstance(words, str) else fill_words(words, common)
    for name in found:
        if name in BUILT_IN or (name in common and name in setting.values):
            raise UsageError(f"the name {printable(name)} of a value is taken", "choose another for it")
    return found


def _words(value: object, place: str) -> str | tuple[str, ...]:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        return tuple(value)
    raise UsageError(f"{place}: text or a list of words is needed, not {str(value)[:60]!r}", 'write it as "128k"')


def check_rules(rules: Rules) -> None:
    """Raise a UsageError for a number of runs that cannot be."""
    lowest = {"repeats": 1, "aa": 0, "warm_up": 0}
    for name, least in lowest.items():
        value = getattr(rules, name)
        if not least <= value <= _MAX_RUNS:
            raise UsageError(
                f"bench.{name}: {value} is not from {least} to {_MAX_RUNS}", "write another number of runs"
            )
    if 0 < rules.aa < MIN_AA:
        raise UsageError("bench.aa: 1 run a side says nothing of noise", "write 2 or more, or 0 for none")


def _check_load(scenario: Scenario) -> None:
    for words in (scenario.load.command, *scenario.load.prepare):
        if not words or not words[0]:
            raise UsageError("load: a command is empty", 'write it as a list of words: ["qemu-img", "bench", ...]')
    _ = scenario.limit_s, scenario.settle_s, scenario.most_stolen  # these say what is wrong with them


def _check_image(image: Image | None) -> None:
    if image is None:
        return
    if bool(image.size) == bool(image.source):
        raise UsageError("image: either size or source is needed", "size makes an empty image, source copies one")
    if image.source and image.options:
        raise UsageError("image.options are of an image that is made", "give size instead of source, or no options")
    if image.size and image.way is not Way.COPY:
        raise UsageError(f"image.way: {image.way} is for an image that exists", "give source instead of size")


def _check_placeholders(scenario: Scenario, setting: Setting) -> None:
    """Refuse what could not be filled, now rather than in the middle of a bench, and values that do nothing."""
    values = values_of(scenario, setting)
    known = {*values, *BUILT_IN} - ({"image"} if scenario.image is None else set())
    commands = (scenario.load.command, *scenario.load.prepare)
    image = scenario.image or Image()
    texts = [*(word for words in commands for word in words), scenario.load.witness]
    used = {name for text in texts for name in names_in(text)}
    outside = {name for text in (image.source, image.place, image.options) for name in names_in(text)}
    for name in sorted(used | outside):
        if name not in known:
            hint = "the scenario has no [image]" if name == "image" else nearest(name, known)
            raise UsageError(f"{{{name}}} stands for nothing under {printable(setting.name)}", hint)
    for name in sorted(setting.values):
        if name not in used | outside:
            raise UsageError(
                f"{printable(setting.name)}: the value {printable(name)} is used nowhere", nearest(name, used)
            )
    all_values: Values = {**values, **dict.fromkeys(BUILT_IN, "")}
    for words in commands:
        fill_words(words, all_values)
    for text in (scenario.load.witness, image.source, image.place, image.options):
        fill(text, all_values)
