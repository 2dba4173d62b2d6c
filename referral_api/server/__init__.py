"""The exchange: the machine in the middle, which stores ciphertext it cannot open, acts, and their log.

Must never: import the client, hold a decryption key, or let a signed byte leave before COMMIT has returned (design §8).
"""
