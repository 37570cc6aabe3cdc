"""`vio top`: live figures of a VM's IO from counts that the kernel keeps; no record of a single IO leaves it."""
