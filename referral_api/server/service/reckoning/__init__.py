"""`audit db`: the database against its logs, in both directions (R-92, R-95; design §9).

Signatures, hashes and folds are those that every auditor uses (auditlog/trail.py); what the exchange keeps beside acts
and records is computed again by the functions that first made it (service/ledger.py, storage/queries.py) and compared
column by column. It is the operator's own tool: it finds what chance, a faulty disk or a hand in the database changed,
and proves nothing to an outsider, who verifies with keys and checkpoints of his own.

Must never: write, call a table compared that was not read to its end, or tell what a row says: places are all it tells.
"""

from referral_api.server.service.reckoning.difference import Difference, Findings
from referral_api.server.service.reckoning.walk import reckon

__all__ = ["Difference", "Findings", "reckon"]
