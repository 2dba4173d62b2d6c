"""The command `referral`: one file per kind of person; only `output.py` prints and knows exit codes.

Must never: take a secret as an argument, show a traceback unasked, or reach the server except from `admin`.
"""
