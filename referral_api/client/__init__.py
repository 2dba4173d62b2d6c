"""The user's own machine: private keys, sealing and opening, the outbox, the exchange protocol without sockets.

Must never: import the server or a SQL library, or trust an answer of the server that it can check itself.
"""
