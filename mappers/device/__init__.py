"""Block devices of the host: partitions, loop devices, device mapper, md."""
