"""The Merkle log as mathematics: hashes, proofs, tiles, checkpoints; used by server, client and auditor alike.

Must never: know SQL or HTTP, read a clock, or hold a record, which is what a leaf only commits to.
"""
