"""One module per story of the exchange, in plain values; `acts.py` is the door.

Must never: know SQL or HTTP, read the clock (`now` is passed in), or answer before the commit.
"""
