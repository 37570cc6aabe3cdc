"""From a recording to timelines: join the layers, divide the time, say it in tables and pictures."""
