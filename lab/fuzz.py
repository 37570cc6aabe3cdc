"""Fuzz the readers of untrusted bytes, led by which of their lines are reached: `python -m lab.fuzz SECONDS [NAME...]`.

What was found goes on from run to run, in .cache/fuzz/NAME; an input that a reader gets wrong is left beside it. Put it
into tests/fuzz/seeds/NAME (gzip) with the repair.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

MAX_BYTES = 1 << 20
TIMEOUT_S = 10
MAX_MIB = 2048
_CACHE = Path(__file__).resolve().parent.parent / ".cache" / "fuzz"


def main(words: Sequence[str]) -> int:
    """Fuzz each reader in a process of its own; return how many were found at fault."""
    if words[0] == "one":
        return _fuzz(words[1], int(words[2]))
    from lab.fuzzreaders import READERS

    seconds, names = words[0], words[1:] or tuple(READERS)
    return sum(
        subprocess.run([sys.executable, "-m", "lab.fuzz", "one", name, seconds]).returncode != 0 for name in names
    )


def _fuzz(name: str, seconds: int) -> int:
    import atheris

    with atheris.instrument_imports(include=["vio.mappers"]):
        from lab.fuzzreaders import is_refused, seeds
    corpus = _CACHE / name
    corpus.mkdir(parents=True, exist_ok=True)
    for shape, data in seeds(name).items():
        (corpus / f"seed-{shape}").write_bytes(data)
    limits = (
        f"-max_total_time={seconds}",
        f"-timeout={TIMEOUT_S}",
        f"-rss_limit_mb={MAX_MIB}",
        f"-max_len={MAX_BYTES}",
    )
    shown = ("-verbosity=0", "-print_final_stats=1", f"-artifact_prefix={_CACHE}/{name}-")

    def read(data: bytes) -> None:
        is_refused(name, data)

    atheris.Setup([name, *limits, *shown, str(corpus)], read)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
