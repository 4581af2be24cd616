"""What Pilothouse costs, as ratios to the same work without it: `python -m tests.bench`."""
