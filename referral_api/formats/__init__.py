"""The bytes: what is signed, sealed or hashed, and how each is read and checked (design §6).

Must never: know SQL, HTTP or blobs, read a clock, or open a bundle.
"""
