"""Places on host devices as numbers: what bios, remaps and requests are matched by."""

import numpy as np

from vio.reporter.match import Ints, Keys

OP_FLUSH = 3


def place_key(device: Ints, offset: Ints) -> Keys:
    """Make one number of a device and a byte address; exact to 4 PiB and 2^21 devices."""
    sector = offset.astype(np.uint64) >> np.uint64(9)
    number = (device.astype(np.uint64) >> np.uint64(20) << np.uint64(8)) ^ (
        device.astype(np.uint64) & np.uint64(0xFFFFF)
    )
    return (number << np.uint64(43)) | (sector & np.uint64((1 << 43) - 1))
