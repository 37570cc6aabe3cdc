"""vio: in which layer does a virtual machine's disk IO spend its time, for which IOs, and why?"""

__version__ = "0.1.0"
