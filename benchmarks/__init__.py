"""Tables of fad beside its peers: `python -m benchmarks --help`."""
