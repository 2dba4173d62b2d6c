"""The rules as tables and pure functions: words, errors, lifecycle, rights, clocks, consent.

Must never: import anything but the standard library, see bytes, read a clock, or do input and output.
"""
