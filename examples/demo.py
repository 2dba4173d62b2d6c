"""One referral's whole life on this machine: `make demo`.

A real exchange process on loopback with SQLite on disk, and eight people and four services, each with a keystore of
their own, who act by nothing but the command `referral`. Everything is invented and nothing leaves the machine.
`--keep` leaves the exchange running and says how to talk to it. Exit 0 only if every step held.
"""

from __future__ import annotations

import argparse
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from examples import turns
from examples.stage import REFERRAL, Exchange, NotHeld, Person, Story, at_once, demand, environment, free_port, run
from referral_api.cli.acting import detail_of
from referral_api.cli.output import Screen
from referral_api.cli.texts import say
from referral_api.client.delivery import private_keys
from referral_api.client.keystore import Keystore
from referral_api.client.profile import ProfileDir
from referral_api.client.sealing import open_bundle
from referral_api.domain.errors import ErrorCode, ReferralError
from referral_api.formats.bundle import parse_bundle
from referral_api.formats.strict_json import canonical, parse

EXAMPLE = Path(__file__).with_name("emergencia-piura.json")
HOTLINE, NATIONAL, UNIT, OTHER, AUDIT = "linea-1818", "pnp-nacional", "pnp-trata-piura", "pnp-trata-lima", "defensoria"
CASE_NUMBER = "PIU-2026-0001"
RULES = ["admin", "rules"]
CANARY = b"colibr"
"""A word of the referral's narrative, which must stand nowhere on the exchange's disk."""
UNITS = Path(__file__).with_name("unidades-inventadas.json")
"""The directory entries of the police units, of which three take part."""
ENTRIES: dict[str, dict[str, Any]] = {
    HOTLINE: {"role": "hotline", "name": "Línea 1818 (inventada)", "duty_phone": "+441632960999"},
    AUDIT: {"role": "auditor", "name": "Defensoría (inventada)"},
}


# The exchange and the directory.


def found(story: Story) -> Exchange:
    """Found the exchange and its registrar of two persons."""
    exchange = Exchange(story.home / "servidor", free_port())
    init = ["admin", "init", "--dir", str(exchange.folder), "--port", str(exchange.port), "--defaults", "--yes"]
    registrar, second = story.person("registradora-1"), story.person("registrador-2")
    with story.step("Se funda el servidor de intercambio (producción: dos personas registradoras)"):
        founded = run([str(REFERRAL), "--json", *init], 0)
    with story.step("La primera registradora hace sus claves en su equipo"):
        exchange.start()
        joined = registrar.run("enrol", founded["invitation"], "--entry", founded["entry"], "--no-service")
        demand(joined["turn"] == "exchange", "le tocaba al servidor")
        exchange.stop()
    with story.step("Quien administra teclea los 30 dígitos que ella lee por teléfono"):
        approve = ["admin", "approve", "--config", founded["config"], "--code-file", "-"]
        run([str(REFERRAL), "--json", *approve], 0, joined["code"])
    with story.step(f"…y apura los relojes, con un acto firmado: una emergencia vence en {turns.HURRY_S} segundos"):
        config, wanted = ["--config", founded["config"]], story.home / "reglas.json"
        wanted.write_bytes(
            canonical(turns.hurried(run([str(REFERRAL), "--json", *RULES, "show", *config], 0)["rules"]))
        )
        changed = run([str(REFERRAL), "--json", "--yes", *RULES, "--file", str(wanted), *config], 0)
        demand(changed["act"] is not None, "las reglas no cambiaron")
        exchange.start()
    with story.step("La segunda persona registradora entra de la mano de la primera"):
        add_person(story, registrar, second)
    return exchange


def add_person(story: Story, keyholder: Person, newcomer: Person) -> None:
    """A further person of a party, with an own workstation, taken in by its keyholder."""
    invitation = story.home / f"invitacion-{newcomer.name}.json"
    keyholder.run("invite", "--kind", "person", "--out", invitation)
    joined = newcomer.run("enrol", invitation, "--no-service")
    keyholder.run("approve", joined["enrolment"], "--code-file", "-", given=joined["code"])


def admit(story: Story, registrar: Person, newcomer: Person, party: str) -> None:
    """A new party: invitation, keys made on its own machine, the code read out and typed, approval."""
    entry: list[str | Path] = ["--entry", UNITS, "--unit", party]
    if party in ENTRIES:
        own = story.home / f"ficha-{party}.json"
        own.write_bytes(canonical({"id": party, "area": [], "escalation": []} | ENTRIES[party]))
        entry = ["--entry", own]
    invitation = story.home / f"invitacion-{party}.json"
    with_service = [] if party == AUDIT else ["--kind", "service"]
    registrar.run("invite", *entry, "--kind", "person", *with_service, "--out", invitation)
    joined = newcomer.run("enrol", invitation, *entry, *([] if with_service else ["--no-service"]))
    wrong = ("0" if joined["code"][0] != "0" else "1") + joined["code"][1:]
    if party == HOTLINE:
        registrar.run("approve", joined["enrolment"], "--code-file", "-", given=wrong, exits=5)
    registrar.run("approve", joined["enrolment"], "--code-file", "-", given=joined["code"])


def fill_directory(story: Story) -> None:
    """Admit everybody; what does not depend on each other goes side by side."""
    one, two = story.person("registradora-1"), story.person("registrador-2")
    people = {HOTLINE: "operadora", NATIONAL: "guardia-nacional", UNIT: "oficial-piura-1", OTHER: "oficial-lima-1"}
    newcomers = {party: story.person(name) for party, name in (people | {AUDIT: "auditora"}).items()}
    with story.step(
        "Entran la línea, la mesa nacional, dos unidades y la auditoría (un dígito errado no aprueba nada)"
    ):
        at_once(
            *(
                lambda party=party, who=who, by=by: admit(story, by, who, party)
                for (party, who), by in zip(newcomers.items(), (one, two, one, two, one), strict=True)
            )
        )
    with story.step("Cada unidad suma su segunda persona"):
        pairs = [("oficial-piura-1", "oficial-piura-2"), ("oficial-lima-1", "oficial-lima-2")]
        at_once(*(lambda a=a, b=b: add_person(story, story.person(a), story.person(b)) for a, b in pairs))


# The referral.


def refer(story: Story, exchange: Exchange) -> tuple[str, list[dict[str, Any]]]:
    """Send the emergency; the unit watches, opens, acknowledges, accepts and reports; the hotline sees each."""
    operator, first, second = (story.person(name) for name in ("operadora", "oficial-piura-1", "oficial-piura-2"))
    with story.step("La operadora pregunta qué unidad conviene al lugar: la de Piura, y detrás la mesa nacional"):
        suggested = operator.run("units", "suggest", "--ubigeo", "200101", "--speciality", "children")["suggestions"]
        found = [(one["id"], one["why"]) for one in suggested]
        demand(
            found == [(UNIT, ["covers", "speciality"]), (NATIONAL, ["parent", "national", "speciality"])], str(found)
        )
    with story.step("La unidad vigila su bandeja; la operadora sella y envía la emergencia"):
        watch = first.command("inbox", "watch", "--once")
        watching = subprocess.Popen(watch, stdout=subprocess.PIPE, env=environment())
        sent = operator.run("send", EXAMPLE, "--unit", UNIT, "--operator", "op-2")
        ref = str(sent["ref"])
        demand(sent["outcome"] == "accepted", "el recibo no dice aceptado")
        out, _ = watching.communicate(timeout=60)
        entry = dict(parse(out.splitlines()[-1], max_bytes=1 << 20))["entry"]
        demand((entry["ref"], entry["urgency"]) == (ref, "emergency"), "la bandeja no anunció la emergencia")
    with story.step("Nada de lo narrado está en el disco del servidor"):
        files = [path for path in exchange.folder.rglob("*") if path.is_file()]
        demand(not any(CANARY in path.read_bytes() for path in files), "hay texto en claro en el servidor")
    with story.step("Un oficial abre y comprueba; lee primero qué no hacer y el contacto seguro"):
        shown = first.run("show", ref)
        demand(shown["verified"] and shown["from"] == HOTLINE and shown["warning"] is None, "no se comprobó")
        demand("no_uniformed_visit" in shown["do_not"] and len(shown["safe_contact"]) == 2, "falta lo primero")
        demand(CANARY in canonical(shown["referral"]), "no es la derivación enviada")
        saw(operator, ref, "retrieved", [])
    doing = [
        ("Firma el acuse de recibo", first, ["ack", ref], "acknowledged", []),
        ("Toma la derivación", first, ["accept", ref, "--case-number", CASE_NUMBER], "accepted", []),
        ("El segundo oficial informa: diligencias preliminares", second,
         ["status", ref, "--to", "preliminary_enquiries"], "accepted", ["preliminary_enquiries"]),
        ("…y después: víctima localizada", second,
         ["status", ref, "--to", "victim_located"], "accepted", ["preliminary_enquiries", "victim_located"]),
    ]  # fmt: skip
    events: list[dict[str, Any]] = []
    for words, who, command, state, investigation in doing:
        with story.step(f"{words}; la línea lo ve"):
            who.run(*command)
            events = saw(operator, ref, state, investigation)
    return ref, events


def saw(operator: Person, ref: str, state: str, investigation: list[str]) -> list[dict[str, Any]]:
    """What the hotline can prove to itself about the delivery; its events."""
    told = operator.run("timeline", ref)
    delivery = next(one for one in told["deliveries"] if one["unit"] == UNIT)
    found = (delivery["state"], delivery["investigation"])
    demand(found == (state, investigation), f"la línea ve {found}")
    if state == "accepted":
        demand(told["notes"][0]["case_number"] == CASE_NUMBER, "la línea lee el número de caso de la unidad")
    return list(told["events"])


def trespass(story: Story, exchange: Exchange, ref: str) -> None:
    """The wrong unit asks for it, and then steals the ciphertext from the database."""
    stranger = story.person("oficial-lima-1")
    with story.step("La unidad equivocada recibe 404, como si no existiera"):
        told, inbox = at_once(lambda: stranger.run("show", ref, exits=6), lambda: stranger.run("inbox", "list"))
        demand(told["error"]["code"] == "not-found", "no es 404")
        demand(not inbox["entries"], "algo hay en su bandeja")
    with story.step("Roba el sobre de la base de datos y no puede abrirlo con sus claves"):
        with closing(sqlite3.connect(f"file:{exchange.database}?mode=ro", uri=True)) as stolen:
            query = "select body from sealed join act using (pos) where ref = ?"
            (body,) = stolen.execute(query, (ref,)).fetchone()
        raw = bytes(body)
        passphrase = stranger.passphrase.read_text(encoding="utf-8").rstrip("\n")
        keys = private_keys(Keystore.open(ProfileDir(stranger.home / stranger.name)).unlock_person(passphrase))
        demand(_fails(raw, keys) is ErrorCode.NO_USABLE_KEY, "el sobre nombra sus claves")
        # And once more as if each recipient's place were its own: the key itself must fail, not only the label.
        posing = {recipient.kid: next(iter(keys.values())) for recipient in parse_bundle(raw).recipients}
        demand(_fails(raw, posing) is ErrorCode.DECRYPT_FAILED, "el sobre se abrió")


def _fails(raw: bytes, keys: Any) -> ErrorCode | None:
    try:
        open_bundle(raw, keys, _nobody)
    except ReferralError as error:
        return error.code
    return None


def _nobody(*_: object) -> Any:
    raise NotHeld("el sobre se abrió")


# The audit.


def audit(story: Story, exchange: Exchange) -> None:
    """Everything verifies; then one byte of a copy changes, and verification names what changed."""
    auditor = story.person("auditora")
    with story.step("La auditora lo comprueba todo desde la primera hoja: íntegro"):
        report = auditor.run("audit", "verify", "--full")
        demand(report["complete"] and not report["faults"], f"no quedó íntegro: {report['faults']}")
    copies = {"un acto": spoil_act, "una hoja del registro": spoil_leaf}
    twins = [exchange.copy(story.home / f"copia-{number}") for number in range(len(copies))]
    try:
        with story.step("Se sirven dos copias: en una cambia un byte de un acto; en otra, de una hoja del registro"):
            places = at_once(*(lambda c=c, twin=twin: c(twin) for c, twin in zip(copies.values(), twins, strict=True)))
        for what, twin, (year, index) in zip(copies, twins, places, strict=True):
            with story.step(f"La comprobación de la copia con {what} cambiado se pone roja y lo nombra"):
                report = auditor.run("--server", twin.url, "audit", "verify", "--full", exits=1)
                named = {(one["log"], one["index"]) for one in report["faults"]}
                demand((f"audit/{year}", index) in named, f"no nombra audit/{year} {index}: {report['faults']}")
    finally:
        for twin in twins:
            twin.stop()
    with story.step("El original sigue íntegro"):
        demand(auditor.run("audit", "verify", "--full")["complete"], "el original cambió")


def spoil_act(twin: Exchange) -> tuple[int, int]:
    """Change one byte of the signed acknowledgement in the database file, then serve it; its year and index."""
    with closing(sqlite3.connect(twin.database)) as conn:
        pos, jws = conn.execute("select pos, jws from act where act = 'ack'").fetchone()
    raw = twin.database.read_bytes()
    # A long text lies in several pages of the file: some 24 bytes of its payload are together and stand nowhere else.
    for start in range(60, 400, 24):
        piece = jws[start : start + 24].encode()
        if raw.count(piece) == 1:
            changed = piece[:12] + (b"A" if piece[12:13] != b"A" else b"B") + piece[13:]
            twin.database.write_bytes(raw.replace(piece, changed))
            twin.start()
            return divmod(int(pos), 2**40)
    raise NotHeld("no se encontró el acto en el archivo")


def spoil_leaf(twin: Exchange) -> tuple[int, int]:
    """Change one byte of the submission's leaf under the running copy (at rest, its start-up gate would refuse)."""
    twin.start()
    with closing(sqlite3.connect(twin.database)) as conn, conn:
        (pos,) = conn.execute("select pos from act where act = 'submit'").fetchone()
        year, index = divmod(int(pos), 2**40)
        place = (f"audit/{year}", index)
        (leaf,) = conn.execute("select leaf from log_entry where log = ? and idx = ?", place).fetchone()
        at = leaf.index(b'"d":"') + 10
        changed = leaf[:at] + (b"A" if leaf[at : at + 1] != b"A" else b"B") + leaf[at + 1 :]
        for (trigger,) in conn.execute("select name from sqlite_master where type = 'trigger'").fetchall():
            conn.execute(f'drop trigger "{trigger}"')  # whoever owns the file owns its guards too
        conn.execute("update log_entry set leaf = ? where log = ? and idx = ?", (changed, *place))
    return year, index


# The whole.


def table(events: Sequence[dict[str, Any]]) -> None:
    """What happened, when, and where it stands in the log."""
    print(f"\n{'cuándo':<20} {'qué':<54} {'quién':<28} registro")
    for one in events:
        at = time.strftime("%d/%m/%Y %H:%M:%S", time.localtime(one["at"]))
        detail = detail_of(one, Screen())
        what = say("es", f"act.{one['what']}") + (f": {detail}" if detail else "")
        print(f"{at:<20} {what[:54]:<54} {one['by']:<28} audit/{one['year']} {one['index']}")


def how_to_talk(story: Story, exchange: Exchange, ref: str) -> None:
    """What to type to an exchange that is left running."""
    personas = story.home / "personas"
    print(f"\nEl servidor sigue en {exchange.url} (proceso {exchange.process.pid if exchange.process else '—'}).")
    for who, words in (
        ("operadora", f"timeline {ref}"),
        ("oficial-piura-1", f"show {ref}"),
        ("auditora", "audit verify"),
    ):
        print(f"  {REFERRAL} -p {personas / who} --passphrase-file {personas / who}.frase {words}")
    print(f"  API: {exchange.url}/v1/docs    Para detenerlo: kill {exchange.process.pid if exchange.process else '—'}")
    print(f"  Para borrarlo después: rm -r {story.home}")


def main() -> int:
    """Tell the story; 0 if every step held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the exchange running")
    keep = parser.parse_args().keep
    home = Path(tempfile.mkdtemp(prefix="referral-demo-"))
    (home / "personas").mkdir()
    story, exchange = Story(home), None
    held = False
    try:
        exchange = found(story)
        fill_directory(story)
        ref, events = refer(story, exchange)
        unread = turns.leave_unread(story, EXAMPLE, UNIT)
        trespass(story, exchange, ref)
        turns.pass_on(story, EXAMPLE, UNIT, OTHER)
        turns.take_back(story, EXAMPLE, UNIT)
        turns.escalate(story, unread, UNIT, NATIONAL)
        audit(story, exchange)
        table(events)
        held = True
        if keep:
            how_to_talk(story, exchange, ref)
    except (NotHeld, OSError, subprocess.SubprocessError) as failure:
        print(f"\ndemo: no se sostuvo: {failure}\nTodo queda en {home}", file=sys.stderr)
    finally:
        if exchange is not None and not (keep and held):
            exchange.stop()
        if held and not keep:
            shutil.rmtree(home)
    if held:
        print(f"\ndemo: se cumplieron los {story.steps} pasos")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
