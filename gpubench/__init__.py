"""gpubench: GPU benchmarking and profiling whose numbers can be trusted."""

__version__ = "0.1.0"
