"""The guest's own partitions, volumes and files, read from outside through the map of its disk."""
