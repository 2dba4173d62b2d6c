"""HTTP only: parse, call one service function, render (design §7).

Must never: decide, touch a table, or hold a database session while a caller waits.
"""
