"""What a comparison is asked for."""

from dataclasses import dataclass

MIN_EFFECT = 0.05
FALSE_ALARMS = 0.02
RUN_NOISE = 1.0


@dataclass(frozen=True, slots=True)
class CompareOptions:
    """How to compare two sides.

    `min_effect` is the smallest change that matters, as a share (0.05: 5 %); `false_alarms` the share of comparisons of
    equal sides in which anything may be called slower (and as many, faster). `run_noise` is by how much two runs of one
    setting may differ for reasons of their own: it counts only where neither side has repeats. `fail_on` are rules such
    as 'write.p99 > 10%': with them, they alone decide. `is_strict`: undecided has an exit code of its own.
    `is_normalised`: IOs of each size and depth are compared by themselves.
    """

    min_effect: float = MIN_EFFECT
    false_alarms: float = FALSE_ALARMS
    run_noise: float = RUN_NOISE
    is_by_size: bool = False
    is_normalised: bool = False
    is_strict: bool = False
    fail_on: tuple[str, ...] = ()
