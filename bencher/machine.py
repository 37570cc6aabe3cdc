"""A bench's result for machines. docs/benching.md says what each key holds."""

import math

from vio.bencher.agreement import agreements
from vio.bencher.bench import BenchResult
from vio.comparer.machine import render_json
from vio.jsondata import to_data


def bench_data(result: BenchResult) -> dict[str, object]:
    """Return what json.dump takes; the comparisons are as `vio compare --json` has them."""
    return {
        "schema": {"major": 1, "minor": 0},
        "output": str(result.output),
        "settings": {"a": result.scenario.a.name, "b": result.scenario.b.name},
        "noise": [_finite(to_data(one)) for one in result.noise],
        "witness": [{**_finite(to_data(one)), "difference": one.difference} for one in agreements(result.journal.runs)],
        "runs": to_data(result.journal.runs),
        "stops": result.journal.stops,
        "aa": render_json(result.aa) if result.aa else None,
        "comparison": render_json(result.comparison) if result.comparison else None,
        "exit_code": result.exit_code,
    }


def _finite(data: object) -> dict[str, object]:
    """JSON has no infinity: it is null there."""
    assert isinstance(data, dict)
    return {key: None if isinstance(value, float) and math.isinf(value) else value for key, value in data.items()}
