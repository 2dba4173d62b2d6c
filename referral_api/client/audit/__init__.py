"""What an auditor's client does: verify, search, copy, and keep in writing whatever is found false.

Must never: be imported by what submits, seals or delivers.
"""
