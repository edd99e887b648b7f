"""What backs the figures in docs/speed.md: ``python -m benchmarks`` or ``make bench``."""
