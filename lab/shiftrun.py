"""Runs as they would be with a layer slower: the same time added to each IO, in the figures of a run."""

from dataclasses import replace

import numpy as np

from vio.comparer.run import LATENCY, Block, Run, Tally
from vio.comparer.sketch import EMPTY, Sketch
from vio.reporter.buckets import bucket_numbers, bucket_values


def shifted(run: Run, row: str, share: float) -> Run:
    """Add `share` of the mean latency to each IO of a run, in the layer and phase of one time column."""
    return replace(run, blocks=tuple(_shifted_block(block, row, share, run) for block in run.blocks))


def _shifted_block(block: Block, row: str, share: float, run: Run) -> Block:
    whole = run.whole().tallies
    tallies = {}
    for key, tally in block.tallies.items():
        latency = whole[key].rows[LATENCY]
        tallies[key] = _shifted_tally(tally, row, round(share * latency.total_ns / latency.count))
    return replace(block, tallies=tallies)


def _shifted_tally(tally: Tally, row: str, added_ns: int) -> Tally:
    part = tally.rows.get(row, EMPTY)
    if part.count < tally.io_count:  # IOs that had no time there have now
        zeros = np.array([tally.io_count - part.count])
        part = Sketch(np.append(0, part.buckets), np.append(zeros, part.counts), part.total_ns)
    rows = {LATENCY: _shifted_sketch(tally.rows[LATENCY], added_ns), row: _shifted_sketch(part, added_ns)}
    return replace(tally, rows=tally.rows | rows)


def _shifted_sketch(sketch: Sketch, added_ns: int) -> Sketch:
    numbers = bucket_numbers(np.rint(bucket_values(sketch.buckets) + added_ns).astype(np.int64))
    buckets, places = np.unique(numbers, return_inverse=True)
    counts = np.bincount(places, weights=sketch.counts).astype(np.int64)
    return Sketch(buckets, counts, sketch.total_ns + added_ns * sketch.count)
