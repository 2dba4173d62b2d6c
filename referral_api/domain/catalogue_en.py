"""The English texts of the error catalogue: (title, detail, hint) by code. `catalogue.py` says how they are used.

The hint is the next thing to do, for an officer or an operator at night, or for whoever writes their software.

Must never: hold a placeholder, or anything that is not true of every case of its code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from referral_api.domain.errors import ErrorCode as E

ENGLISH: Final[Mapping[E, tuple[str, str, str]]] = {
    E.MALFORMED: (
        "The request cannot be read.",
        "What arrived is not the strict document or the parameters that this call takes.",
        "Correct the software that wrote it. Sending the same bytes again gives the same answer.",
    ),
    E.TOO_LARGE: (
        "Too large.",
        "What arrived is larger than the limit for its kind.",
        "Make it smaller than the limit named. A large file is sent as an attachment, not inside the bundle.",
    ),
    E.HEADERS_TOO_LARGE: (
        "The request's headers are too large.",
        "The header block is larger than the exchange reads.",
        "Remove headers that a proxy or the software adds. The body was not read.",
    ),
    E.LENGTH_REQUIRED: (
        "The length is missing.",
        "A body came without saying how long it is.",
        "Send Content-Length. The body was not read.",
    ),
    E.MEDIA_TYPE: (
        "Wrong kind of content.",
        "This call takes JSON and nothing else.",
        "Set Content-Type to application/json.",
    ),
    E.ENCODING_NOT_ALLOWED: (
        "Compressed content is not accepted.",
        "The body came with a Content-Encoding. What is signed and sealed travels as exact bytes.",
        "Turn compression of requests off, in the software and in every proxy on the way.",
    ),
    E.WRONG_TYPE: (
        "A document of another kind.",
        "The document says that it is something else than what belongs in this place.",
        "Send the kind of document that this place takes. A signature made for one kind is worth nothing for another.",
    ),
    E.ACT_SCHEMA: (
        "The act's content does not follow its schema.",
        "A member of the act is missing, unknown, out of its list or in contradiction with another one.",
        "Correct the member named and sign again. The act's id has not been used up.",
    ),
    E.BUNDLE_MALFORMED: (
        "The sealed bundle does not have the required form.",
        "The envelope differs from the profile: its members, its headers or the number of its recipients.",
        "Seal again with software of this profile. Whether it is damaged shows from its digest.",
    ),
    E.CLASSICAL_RECIPIENT: (
        "A recipient key without post-quantum protection.",
        "The bundle is sealed with an algorithm that is not allowed here. There is no fallback to weaker ones.",
        "Take the unit's current keys from the keys log and seal again.",
    ),
    E.RECIPIENT_MISMATCH: (
        "The recipients do not agree.",
        "The units named in the act, in the envelope and among the actual recipients are not the same.",
        "Do not open or forward it. Seal again; if it keeps happening, tell whoever runs your software.",
    ),
    E.DIGEST_MISMATCH: (
        "A digest does not match.",
        "The bytes that came are not those whose digest the act names.",
        "Send the exact bytes that were sealed. If they were fetched, fetch them again and compare the digests.",
    ),
    E.PATH_MISMATCH: (
        "The address and the act disagree.",
        "The ids in the address are not those that were signed, or acts were put together that do not belong together.",
        "Use the ids of the signed act in the address.",
    ),
    E.INVALID_TOKEN: (
        "The access token is not valid.",
        "It is missing, expired or altered, or its credential may no longer use the exchange.",
        "Ask for a new token and repeat the call. If a fresh one is refused too, call your party's keyholder.",
    ),
    E.INVALID_DPOP_PROOF: (
        "The proof of possession is not valid.",
        "The DPoP proof is missing, was used before, or does not belong to this call, this key or this token.",
        "Make a new proof for each call, with the address exactly as the exchange publishes it.",
    ),
    E.USE_DPOP_NONCE: (
        "Use the nonce of this answer.",
        "The proof's time is not acceptable: the two clocks differ, or the exchange has just started.",
        "Repeat the call with a new proof that carries the nonce given. Set this machine's clock if they differ much.",
    ),
    E.INSUFFICIENT_SCOPE: (
        "The token does not cover this call.",
        "The token was issued for less than what is asked.",
        "Ask for a new token without narrowing its scope.",
    ),
    E.ISSUER_MISMATCH: (
        "The act is signed by another party.",
        "An act is taken from its own signer, or from a credential of the signer's party that carries it.",
        "Send it with a credential of the party that signed it.",
    ),
    E.WRONG_AUDIENCE: (
        "The act is meant for another exchange.",
        "Its audience is not this exchange's address.",
        "Check which exchange and which environment this profile points to. A test act is never valid elsewhere.",
    ),
    E.ACT_SIGNATURE_INVALID: (
        "The act's signature does not hold.",
        "A signature is wrong, or one that the signer's statement requires is missing.",
        "Sign again with the credential's current keys. If it fails again, treat this machine as suspect and call.",
    ),
    E.KEY_NOT_VALID: (
        "The signing key is not in force.",
        "The key or its credential is unknown, not yet in effect, ended or revoked.",
        "Use the credential's current key. If it has expired or was revoked, your party's keyholder enrols a new one.",
    ),
    E.KEY_UNSUITABLE: (
        "The key is not acceptable.",
        "Its algorithm, its form or its use is not one that is allowed here.",
        "Make a new key with software of this profile. A key serves one use for its whole life.",
    ),
    E.KEY_REUSED: (
        "The key has been used before.",
        "This key is on the keys log already. Each key is enrolled once.",
        "Make new keys and begin the enrolment again.",
    ),
    E.POSSESSION_NOT_PROVED: (
        "It is not proved that you hold the key.",
        "The proof of possession is missing, wrong or belongs to another key.",
        "Finish the enrolment on the machine on which the keys were made.",
    ),
    E.CLOCK_SKEW: (
        "The clocks differ too much.",
        "The time that was signed is too far from the time of the exchange.",
        "Set this machine's clock by the difference shown, then sign again.",
    ),
    E.RECIPIENT_KEY_STALE: (
        "A recipient's key is out of date.",
        "The bundle is sealed to a key that its unit can no longer be sent anything with.",
        "Fetch the keys log and seal again. In an emergency, telephone the unit now.",
    ),
    E.STALE_HEAD: (
        "Something happened that you have not seen.",
        "The decision does not build on the latest act of this delivery.",
        "Look at the referral as it is now, then decide again. This refusal is final for this act.",
    ),
    E.ILLEGAL_TRANSITION: (
        "This cannot be done at this point.",
        "The state of the delivery, or what is still open on it, does not allow this act.",
        "See which acts are possible now and choose one of them. This refusal is final for this act.",
    ),
    E.NOT_PERMITTED: (
        "You may not do this.",
        "Your role, your kind of credential or your part in this referral does not give you this right.",
        "Ask a person of your party who may do it. This refusal is final for this act.",
    ),
    E.CONSENT_GATE: (
        "Consent does not cover this.",
        "What the person said, the legal ground and the identity shown do not fit together.",
        "Send it anonymously, or record the ground that applies. An override takes a second person and a reason.",
    ),
    E.TARGET_NOT_ALLOWED: (
        "A unit that cannot be addressed.",
        "It is excluded, named twice, abroad without agreement, no unit of this exchange, or not one alone is to act.",
        "Choose another unit and send under a new id.",
    ),
    E.ACT_ID_REUSED: (
        "This id belongs to another act.",
        "An act with this id exists and says something else. Nothing was changed.",
        "Look at the receipt of the first act. For a different act, choose a new id.",
    ),
    E.NOT_FOUND: (
        "There is nothing here for you.",
        "It does not exist, or it is not yours to see. The exchange does not say which.",
        "Check the reference and the credential in use.",
    ),
    E.METHOD_NOT_ALLOWED: (
        "This address does not take that method.",
        "The address exists, with other methods.",
        "See the list of calls in the protocol.",
    ),
    E.CURSOR_INVALID: (
        "The cursor is not valid.",
        "It was altered, or it was issued to another party.",
        "Start again from the beginning, or list what is pending. Nothing is lost by that.",
    ),
    E.CURSOR_GONE: (
        "The cursor is too old.",
        "What it pointed to is no longer kept.",
        "Start again from the beginning. What still needs an answer is in the list of pending entries.",
    ),
    E.PART_PENDING: (
        "A part has not arrived yet.",
        "The sender has announced this part of an attachment and is still sending it.",
        "Read what is there already and ask again shortly. If it stays away, call the sender.",
    ),
    E.RANGE_NOT_SATISFIABLE: (
        "The range asked for does not exist.",
        "It begins beyond the end, or is not written as a single range of bytes.",
        "Ask for the size first, then for a range within it.",
    ),
    E.INVITE_UNKNOWN: (
        "The invitation is unknown.",
        "No invitation with this secret is open at this exchange.",
        "Check that the whole file was copied. If so, ask the registrar for a new invitation.",
    ),
    E.INVITE_EXPIRED: (
        "The invitation has expired.",
        "It was not used within its time.",
        "Ask whoever invited you for a new one.",
    ),
    E.INVITE_USED: (
        "The invitation has been used.",
        "An invitation works once.",
        "If it was not you who used it, call the registrar at once. Otherwise ask for a new one.",
    ),
    E.CODE_MISMATCH: (
        "The thirty digits do not agree.",
        "What was typed is not the code of the keys that are waiting to be approved.",
        "Have them read out again. If they still differ, do not approve: somebody may have exchanged the keys.",
    ),
    E.CODE_VOID: (
        "This enrolment can no longer be approved.",
        "It has expired, was objected to or is complete already.",
        "Look at the state of the enrolment. If it has lapsed, begin with a new invitation.",
    ),
    E.STATEMENT_OUT_OF_SEQUENCE: (
        "The statement does not follow the last one.",
        "The party's description has changed since this statement was written.",
        "Fetch the keys log, write the statement anew from the current one and sign again.",
    ),
    E.RATE_LIMITED: (
        "Too many requests.",
        "This credential has asked more often than is allowed.",
        "Wait as long as the answer says. Keep a token until it expires instead of asking for one a call.",
    ),
    E.QUEUE_FULL: (
        "The exchange is busy.",
        "More acts are waiting than can be taken on. Nothing of this one was stored.",
        "Send the same bytes again after a moment. In an emergency, telephone as well.",
    ),
    E.OUTCOME_UNKNOWN: (
        "It is not known whether it was stored.",
        "The database did not say whether the act was committed.",
        "Send the same bytes again: you get the first receipt, or the act is taken now. It cannot be stored twice.",
    ),
    E.CHECKPOINT_PENDING: (
        "Stored, but not yet proved.",
        "The act is stored. The checkpoint that proves it is not signed yet, so that no receipt may leave.",
        "Send the same bytes again after a moment. Do not sign a new act.",
    ),
    E.REPLAY_STORE_UNAVAILABLE: (
        "Access cannot be checked now.",
        "The exchange cannot tell whether this proof was used before, and lets nothing through unchecked.",
        "Try again with a new proof. If it lasts, whoever runs the exchange looks at its database.",
    ),
    E.WRITES_CLOSED: (
        "The exchange takes nothing new at present.",
        "Its log, its database and its signer do not agree, so it is closed for writing. Sealed data is still served.",
        "Telephone what is urgent. The operator follows the recovery runbook; your outbox sends by itself afterwards.",
    ),
    E.UNAVAILABLE: (
        "The exchange cannot answer now.",
        "Something that it needs is missing at the moment. Nothing was stored, as far as it knows.",
        "Send the same bytes again after a moment. In an emergency, telephone as well.",
    ),
    E.INTERNAL: (
        "An error in the exchange.",
        "The exchange met something that its authors did not expect.",
        "Send the same bytes again. If it persists, give the request's number to whoever runs the exchange.",
    ),
    E.SIGNATURE_INVALID: (
        "A signature does not hold.",
        "A document is altered, or signed with another key than it should be.",
        "Do not act upon it. Keep the file as it is and tell the auditor and the other party by telephone.",
    ),
    E.DECRYPT_FAILED: (
        "The bundle cannot be opened.",
        "It is damaged, altered or not sealed to a key of this machine.",
        "Try the unit's other workstations, then report that receipt failed. In an emergency, telephone the sender.",
    ),
    E.NOT_INCLUDED: (
        "It is not in the log.",
        "The proof does not show that this is part of the log whose checkpoint was given.",
        "Ask for a fresh proof once. If that fails too, keep both and tell the auditor.",
    ),
    E.INCONSISTENT: (
        "The log does not continue what was seen before.",
        "The exchange shows a log that is shorter than, or different from, the one that this machine has verified.",
        "Do not trust the exchange for now. Keep this machine's files, which are proof, and call the auditor.",
    ),
    E.WRONG_ORIGIN: (
        "A checkpoint of another log.",
        "The checkpoint or the receipt names a log that is not the expected one.",
        "Check which exchange and which year are meant. If they are right, tell the auditor.",
    ),
    E.WRONG_ROOT: (
        "Not the exchange that you enrolled with.",
        "Its keys log begins differently from the root that this machine has pinned.",
        "Send nothing. Check the address; if it is right, call the registrar at a number that you know.",
    ),
    E.NOT_WITNESSED: (
        "Too few witnesses have signed.",
        "The checkpoint lacks cosignatures that the policy of this machine demands.",
        "Try again shortly. If it lasts, tell the auditor: the exchange or its witnesses may be cut off.",
    ),
    E.RECEIPT_MISMATCH: (
        "The receipt is about something else.",
        "The exchange's receipt does not agree with the act that was sent.",
        "Do not count it as received. Send the same bytes again; if the answer stays wrong, call the auditor.",
    ),
    E.TAMPERED: (
        "The record has been altered.",
        "What is stored does not agree with what was signed and logged.",
        "Change nothing. Keep a copy of everything, note the time, and inform the auditor and the parties concerned.",
    ),
    E.UNREACHABLE: (
        "The exchange cannot be reached.",
        "There was no answer over the network.",
        "What is in the outbox is sent again by itself; repeat anything else. If it is urgent, telephone the unit now.",
    ),
    E.NOT_ENROLLED: (
        "This machine is not enrolled.",
        "There are no keys of this kind in the profile in use.",
        "Choose the right profile, or enrol this machine with an invitation.",
    ),
    E.LOCKED: (
        "The keys cannot be unlocked.",
        "The passphrase or the unlocking file is not the right one, or does not meet the rules.",
        "Try again. Nobody can recover a forgotten passphrase: a keyholder then has the machine enrolled anew.",
    ),
    E.KEYSTORE_CORRUPT: (
        "The key file is damaged.",
        "It cannot be read as this software wrote it.",
        "Restore it from your backup. Without one, enrol again, and have the old keys revoked.",
    ),
    E.NO_USABLE_KEY: (
        "The unit cannot be reached with a sealed bundle.",
        "No key in force is known for it, so that nothing can be sealed to it.",
        "Telephone the unit, and send to the unit that stands in for it.",
    ),
    E.NEEDS_RESEALING: (
        "It must be sealed again before it can be sent.",
        "A recipient's key has changed since this referral was sealed.",
        "Seal it again from the draft in the outbox. It has not been sent.",
    ),
    E.FLOOR_NOT_MET: (
        "The urgency is too low.",
        "A child, an unknown age or a present danger asks for a higher urgency.",
        "Raise it to at least the one shown. It cannot be overridden.",
    ),
    E.SELF_TEST_FAILED: (
        "The cryptography does not work on this machine.",
        "The check at start-up gave a wrong result, so that nothing is sealed, opened or signed.",
        "Do not use this installation. Install the locked versions again, or use another machine.",
    ),
}
