"""What a killed run leaves behind is put back by the next one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from lab.initramfs import REPOSITORY
from lab.scratch import sweep

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")

HOLDS = """
import time
from lab.targets import xfs_on_loop
with xfs_on_loop() as target:
    print(target.directory, target.devices[0], flush=True)
    time.sleep(60)
"""


def test_mounts_of_a_killed_run_are_put_back_and_no_others() -> None:
    with subprocess.Popen((sys.executable, "-c", HOLDS), cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        directory, device = run.stdout.readline().split()
        assert sweep() == []
        assert os.path.ismount(directory)
        run.send_signal(signal.SIGKILL)
    assert {directory, f"/dev/{device}"} <= set(sweep())
    assert not Path(directory).exists()
    assert not Path(f"/sys/block/{device}/loop").exists()
