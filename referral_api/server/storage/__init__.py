"""Everything the exchange keeps: tables, the log, ciphertext, the log signer's state. Rows never leave this folder.

Must never: decide who may do what, or hold anything that opens a bundle.
"""
