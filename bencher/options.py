"""What a bench is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vio.printable import shell_word


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What to bench, and where to put it.

    `values` are for names of the scenario's [values]; `repeats` is instead of the scenario's; its aa is no more then.
    `is_aa`: setting a against itself, to see the machine's noise. `is_resumed`: go on with the bench that was begun in
    `output`.
    """

    scenario: Path
    output: Path
    values: Mapping[str, str] = field(default_factory=dict)
    repeats: int | None = None
    is_aa: bool = False
    is_resumed: bool = False

    @property
    def again(self) -> str:
        """The command that goes on with this bench."""
        words = ["vio", "bench", str(self.scenario), "-o", str(self.output), *(["--aa"] if self.is_aa else [])]
        for name, value in self.values.items():
            words += ["--set", f"{name}={value}"]
        if self.repeats is not None:
            words += ["--repeats", str(self.repeats)]
        return " ".join(shell_word(word) for word in [*words, "--resume"])
