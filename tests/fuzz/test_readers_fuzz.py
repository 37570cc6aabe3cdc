"""Hostile disks and texts: the seeds that are kept, and damaged ones; each is read or refused, in little time.

`make fuzz` goes on from there, led by coverage.
"""

import random
import resource
import subprocess
import sys
import time

import pytest
from lab.fuzzreaders import READERS, damaged, is_refused, seeds

ROUNDS = {"ntfs": 30, "ext4": 60, "xfs": 60}
LIMIT_S = 10.0
MAX_MEMORY = 3 << 30
SOUND = {"ocfs2": {"plain"}, "lvm": {"plain"}, "lvm-text": {"plain"}, "dm-table": {"0", "1", "2", "3"}}


@pytest.mark.parametrize("name", READERS)
def test_seeds_are_sound(name: str) -> None:
    found = seeds(name)
    assert found
    for shape in SOUND.get(name, {"plain", "gpt", "dos", "old", "extl2", "small", "meta", "deep"} & set(found)):
        assert not is_refused(name, found[shape]), shape


@pytest.mark.parametrize("name", READERS)
def test_damaged_seeds_are_read_or_refused(name: str) -> None:
    # The libraries are C: a process of its own, so that a crash is a failure of this test and not the end of all.
    words = [sys.executable, "-c", f"from tests.fuzz.test_readers_fuzz import play; play({name!r})"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def play(name: str) -> None:
    """Read all kept inputs, and many that are damaged."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    chance, found = random.Random(name), seeds(name)
    inputs = list(found.values())
    inputs += [damaged(chance.choice(list(found.values())), chance) for _ in range(ROUNDS.get(name, 300))]
    for data in inputs:
        began_s = time.process_time()
        is_refused(name, data)
        assert time.process_time() - began_s < LIMIT_S
