"""robustlib measured beside other libraries: `make bench`, or `python -m benchmarks`."""
