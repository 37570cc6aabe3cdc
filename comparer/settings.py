"""The options of a comparison as a user types them, and as a [compare] table of a TOML file has them."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from vio.comparer.options import FALSE_ALARMS, MIN_EFFECT, RUN_NOISE, CompareOptions
from vio.errors import UsageError
from vio.quantity import parse_share

_FLAGS = ("by-size", "normalise", "strict")
_SHARES = {"min-effect": MIN_EFFECT, "false-alarms": FALSE_ALARMS, "run-noise": RUN_NOISE}


@dataclass(frozen=True, slots=True)
class Given:
    """What stands on the command line; what is empty or False was not given."""

    min_effect: str = ""
    false_alarms: str = ""
    run_noise: str = ""
    fail_on: tuple[str, ...] = ()
    is_by_size: bool = False
    is_normalised: bool = False
    is_strict: bool = False


def options_of(given: Given, config: Path | None) -> CompareOptions:
    """Return the options: the command line's words win over those of the file.

    Raises:
        UsageError: a word or a value cannot be read, or the file has a key that is not known.
    """
    table = _table(config) if config else {}
    typed = {"min-effect": given.min_effect, "false-alarms": given.false_alarms, "run-noise": given.run_noise}
    shares = {name: _share(name, typed[name] or table.get(name), default) for name, default in _SHARES.items()}
    fail_on = given.fail_on or table.get("fail-on", ())
    if (
        isinstance(fail_on, str)
        or not isinstance(fail_on, list | tuple)
        or not all(isinstance(r, str) for r in fail_on)
    ):
        raise UsageError(f"fail-on in {config} is no list of rules", "fail-on = ['write.p99 > 10%']")
    for name in _FLAGS:
        if not isinstance(table.get(name, False), bool):
            raise UsageError(f"{name} in {config} is neither true nor false")
    return CompareOptions(
        min_effect=shares["min-effect"],
        false_alarms=shares["false-alarms"],
        run_noise=shares["run-noise"],
        is_by_size=given.is_by_size or bool(table.get("by-size")),
        is_normalised=given.is_normalised or bool(table.get("normalise")),
        is_strict=given.is_strict or bool(table.get("strict")),
        fail_on=tuple(fail_on),
    )


def _share(name: str, value: object, default: float) -> float:
    if value is None or value == "":
        return default
    try:
        return parse_share(value if isinstance(value, str) else repr(value))
    except UsageError:
        raise UsageError(f"{name} {value!r} is no share", f"write it with its sign: --{name} {default:.0%}") from None


def _table(path: Path) -> dict[str, object]:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}", "give a TOML file with a [compare] table"
        ) from None
    except ValueError as error:
        raise UsageError(f"{path} is no TOML: {error}") from None
    table = data.get("compare", {})
    if not isinstance(table, dict):
        raise UsageError(f"compare in {path} is no table", "begin it with [compare]")
    unknown = set(table) - {*_SHARES, *_FLAGS, "fail-on"}
    if unknown:
        known = ", ".join((*_SHARES, *_FLAGS, "fail-on"))
        raise UsageError(
            f"[compare] in {path} has {', '.join(sorted(unknown))}, which is not known", f"there are: {known}"
        )
    return table
