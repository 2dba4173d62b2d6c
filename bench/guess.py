"""What one guess at a passphrase costs whoever has stolen a keystore: `python -m bench.guess`.

The keystore is one as `referral enrol` makes it, and a guess is what the program itself does with a passphrase: read
the file, derive the key, try to open. A thief's program may skip the reading; it cannot skip the derivation.
"""

from __future__ import annotations

import math
import os
import platform
import resource
import tempfile
import time
from pathlib import Path

from referral_api.client.compartment import Kdf
from referral_api.client.keystore import Keystore, new_credential_keys
from referral_api.client.profile import Profile, ProfileDir
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.domain.words import CredentialId, CredentialKind, Digest, PartyId

GUESSES = 8
WORDS, LIST = 7, 7776
"""A passphrase of seven words that dice have drawn from a list of 7,776."""
CORES = 10_000
"""A thief with a large purse."""
YEAR_S = 365 * 24 * 3600


def stolen(folder: Path) -> Keystore:
    """A person's keystore, as the default parameters seal it."""
    profile = Profile(
        "https://exchange.example", "https://exchange.example", Digest("A" * 43), "sandbox", PartyId("unidad")
    )
    keystore = Keystore.create(ProfileDir(folder / "profile"), profile)
    keys = new_credential_keys(CredentialId("unidad.of1aaa"), CredentialKind.PERSON, int(time.time()))
    keystore.keep_person(keys, "siete palabras que nadie adivina")
    return Keystore.open(ProfileDir(folder / "profile"))


def guess_s(keystore: Keystore, guesses: int) -> tuple[float, float]:
    """Seconds of the clock and of the processor that a wrong guess takes, on the average."""
    started, worked = time.perf_counter(), time.process_time()
    for number in range(guesses):
        try:
            keystore.unlock_person(f"una frase equivocada {number}")
        except ReferralError as error:
            if error.code is not ErrorCode.LOCKED:
                raise
        else:
            raise RuntimeError("a wrong passphrase opened the keystore")
    return (time.perf_counter() - started) / guesses, (time.process_time() - worked) / guesses


def main() -> None:
    """Print the rate, and what it means for a passphrase that dice have made."""
    kdf = Kdf()
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f} before")
    with tempfile.TemporaryDirectory() as name:
        clock_s, cpu_s = guess_s(stolen(Path(name)), GUESSES)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    cost = f"Argon2id {kdf.memory_kib // 1024} MiB, {kdf.passes} passes, {kdf.lanes} lanes"
    print(f"{cost}: a guess takes {clock_s:.2f} s, {cpu_s:.2f} s of a core: {1 / cpu_s:.2f} guesses a second and core")
    print(f"memory: {peak_mib:.0f} MiB at the peak, of which {kdf.memory_kib // 1024} are each guess's own")
    bits, years = math.log2(LIST**WORDS), LIST**WORDS / 2 * cpu_s / CORES / YEAR_S
    print(f"{WORDS} words of {LIST} ({bits:.0f} bits): half of them take {CORES} cores {years:.0e} years")


if __name__ == "__main__":
    main()
