"""Files on the host's file systems: which bytes of a file lie where on which device."""
