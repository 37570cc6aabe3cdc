"""What a comparison is asked for."""

from dataclasses import dataclass

MIN_EFFECT = 0.05
FALSE_ALARMS = 0.02


@dataclass(frozen=True, slots=True)
class CompareOptions:
    """How to compare two sides.

    `min_effect` is the smallest change that matters, as a share (0.05: 5 %); `false_alarms` the share of comparisons of
    equal sides that may find any change at all. `fail_on` are rules such as 'write.p99 > 10%': with them, they alone
    decide. `is_strict`: undecided has an exit code of its own. `is_normalised`: the same IO sizes and depth on both.
    """

    min_effect: float = MIN_EFFECT
    false_alarms: float = FALSE_ALARMS
    is_by_size: bool = False
    is_normalised: bool = False
    is_strict: bool = False
    fail_on: tuple[str, ...] = ()
