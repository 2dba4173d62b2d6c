"""Benchmarks: the exchange against a bare durable insert and against an honest naive twin, in one run on one machine.

`python -m bench` prints medians of interleaved rounds, ratios within each round, and checks that what was measured was
right. `python -m bench.pollers` measures thousands who wait for their inboxes, `python -m bench.log` the log alone,
`python -m bench.access` the token endpoint's times and what limits cost.
"""
