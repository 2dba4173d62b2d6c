"""The witness: a small program, run by somebody else than the exchange, that cosigns a log's growth and nothing else.

Must never: import server or client, see an entry of a log, or cosign two trees of one size.
"""
