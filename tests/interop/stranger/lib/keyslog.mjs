// The keys log computed in log order.
import { parse, members, need, refuse, digest, utf8, same, PATTERN } from './base.mjs'
import { kidOf, readJws, verifyJws, SIGN, KEM } from './keys.mjs'
import { ExchangeKeys, USES } from './exchange.mjs'
import { adds, keysOf, recovers, renews } from './statement.mjs'

const DAY = 86400
const ACTS = ['statement', 'approve_statement', 'revoke', 'object', 'rekey']
export const ACT_MEMBERS = ['v', 'id', 'iss', 'party', 'aud', 'iat', 'act', 'ref', 'unit', 'prev', 'body']

export class KeyMap {
  constructor (pinnedRoot = null) {
    Object.assign(this, { pinned: pinnedRoot, root: null, size: 0, time: 0, genesis: null, exchange: null, keys: new Map(), parties: new Map(), pending: new Map(), revoked: new Map(), gone: new Map(), history: new Map(), owner: new Map(), listed: new Map() })
  }

  add (text) {
    if (Buffer.isBuffer(text)) text = text.toString('utf8')
    if (this.size === 0) this.#genesis(text)
    else {
      let typ = 'referral-act+jws'
      try { readJws(text, typ) } catch (e) { if (e.code !== 'wrong-type') throw e; typ = 'referral-key+jws' }
      typ === 'referral-key+jws' ? this.#entry(text) : this.#act(text)
    }
    this.size++
    return this
  }

  #genesis (text) {
    const id = digest(utf8(text))
    need(!this.pinned || id === this.pinned, 'wrong-root', 'the first leaf is not the pinned root')
    const j = readJws(text, 'referral-act+jws'); const p = parse(j.bytes)
    need(p.act === 'genesis', 'malformed', 'genesis')
    const exchange = new ExchangeKeys(p.body.keys)
    const acts = exchange.counting('act', p.iat).map(k => k.jwk)
    verifyJws(text, 'referral-act+jws', acts, acts.map(k => k.alg))
    need(p.aud === p.body.issuer, 'wrong-audience')
    Object.assign(this, { root: id, genesis: p.body, issuer: p.body.issuer, exchange, time: p.iat, founded: p.iat, actsCredential: p.iss })
    for (const k of p.body.keys) this.keys.set(k.kid, { party: p.party, use: k.use, jwk: k.jwk })
  }

  #entry (text) {
    need(Buffer.byteLength(text) <= 12288, 'too-large')
    const j = readJws(text, 'referral-key+jws')
    const p = members(parse(j.bytes), ['v', 'party', 'use', 'jwk', 'nonce', 'iat', 'possession'], 'malformed')
    need(p.v === 1 && ['access', 'seal', 'enc', 'backup', ...USES].includes(p.use), 'malformed', 'use')
    const exchange = USES.includes(p.use)
    need((p.party === 'exchange') === exchange, 'not-permitted', exchange ? 'exchange' : 'party')
    const kid = kidOf(p.jwk)
    need(!this.keys.has(kid), 'key-reused')
    if (exchange || p.use === 'access' || p.use === 'seal') {
      need(p.possession === null, 'malformed', 'possession')
      if (exchange) this.exchange.entry(p, kid, this.root)
      else need(p.use === 'access' ? ['Ed25519', 'ES256'].includes(p.jwk.alg) : SIGN.includes(p.jwk.alg), 'key-unsuitable', 'use')
      verifyJws(text, 'referral-key+jws', [p.jwk], [p.jwk.alg], 'possession-not-proved')
    } else {
      need(PATTERN.digest.test(p.possession), 'malformed', 'possession')
      need(Object.hasOwn(KEM, p.jwk.alg), 'key-unsuitable', 'use')
      const seals = [...this.keys.entries()].filter(([k, e]) => e.party === p.party && e.use === 'seal' && !this.revoked.has(k)).map(([, e]) => e.jwk)
      verifyJws(text, 'referral-key+jws', seals, [], 'possession-not-proved')
    }
    this.keys.set(kid, { party: p.party, use: p.use, jwk: p.jwk, voucher: j.heads.map(h => h.kid) })
  }

  /** Seal keys and required algorithms of a credential for an act of that iat, arriving now; of the directory: an act of this log. */
  sealKeys (credential, iat, now, kids, directory = false) {
    const periods = (this.history.get(credential) ?? []).filter(q => kids.length && kids.every(k => q.seal.includes(k)))
    need(periods.length, 'key-not-valid', 'unknown')
    const p = periods.findLast(q => iat >= q.from - 60) ?? refuse('key-not-valid', 'not-yet')
    // What was taken before the revocation stands: in this log by its place, elsewhere by the times that a party can see.
    for (const k of kids) need(!this.revoked.has(k) || (!directory && now <= this.revoked.get(k).iat + 3600), 'key-not-valid', 'revoked')
    const end = Math.min(p.until, p.ended ?? Infinity)
    need(iat < end && (directory ? now < end : now <= end + 7 * DAY), 'key-not-valid', 'ended')
    return { keys: kids.map(k => this.keys.get(k).jwk), require: p.require }
  }

  credential (id) {
    const [party, c] = id.split('.')
    return this.parties.get(party)?.body.credentials.find(x => x.id === c)
  }

  /** Verifies an act's form, audience and signatures under the map; now: when the exchange took it (of this log's: the fold's time). */
  verifyAct (text, now, directory = false) {
    const j = readJws(text, 'referral-act+jws')
    const p = members(parse(j.bytes), ACT_MEMBERS, 'malformed')
    need(p.v === 1 && PATTERN.act.test(p.id) && PATTERN.credential.test(p.iss) && p.iss.split('.')[0] === p.party, 'malformed', 'act')
    need(p.aud === this.issuer, 'wrong-audience')
    if (p.iss === this.actsCredential) {
      const keys = this.exchange.counting('act', p.act === 'rekey' ? now : p.iat).map(k => k.jwk)
      verifyJws(text, 'referral-act+jws', keys, keys.map(k => k.alg), 'act-signature-invalid')
    } else {
      const { keys, require } = this.sealKeys(p.iss, p.iat, now, j.heads.map(h => h.kid), directory)
      verifyJws(text, 'referral-act+jws', keys, require, 'act-signature-invalid')
    }
    return { ...p, digest: j.digest }
  }

  #act (text) {
    const j = readJws(text, 'referral-act+jws')
    const p = members(parse(j.bytes), ACT_MEMBERS, 'malformed')
    need(ACTS.includes(p.act), 'malformed', 'act of another log')
    need(p.aud === this.issuer, 'wrong-audience')
    const time = Math.max(this.time, p.iat)
    if (p.act === 'statement' && p.body.seq === 1 && p.prev === null && !this.parties.has(p.party)) this.#first(text, p, j, time)
    else {
      try { this.verifyAct(text, time, true) } catch (e) { if (e.code === 'key-not-valid' && p.act === 'statement' && e.reason === 'unknown') refuse('act-signature-invalid', 'unknown-key'); throw e }
      const exchange = p.iss === this.actsCredential
      const me = exchange ? null : this.credential(p.iss)
      need(exchange || me, 'key-not-valid', 'unknown')
      const role = this.parties.get(p.party)?.body.entry.role
      const who = { exchange, me, person: me?.kind === 'person', registrar: me?.kind === 'person' && role === 'registrar' }
      if (p.act === 'statement') this.#later(p, j, who, time)
      else if (p.act === 'approve_statement') this.#approve(p, who, time)
      else if (p.act === 'object') {
        const w = [...this.pending.values()].find(w => w.digest === p.body.statement) ?? refuse('statement-out-of-sequence', 'not-pending')
        need(who.registrar || (who.person && p.party === w.party), 'not-permitted', 'party')
        this.pending.delete(w.party)
      } else if (p.act === 'rekey') {
        need(exchange, 'not-permitted', 'exchange')
        this.exchange.rekey(p.body, time)
      } else this.#revoke(p, who, time)
    }
    this.time = time
  }

  /** A statement's content, whoever signed it; gives who vouched for which encryption key in it. */
  #content (b, before) {
    const party = b.entry.id
    if (before) need(b.entry.role === before.entry.role, 'act-schema', 'role-changed')
    need(b.credentials.some(c => c.keyholder), 'act-schema', 'no-keyholder')
    const ids = new Set(); const used = new Map()
    const use = (kid, as, owner) => {
      const e = this.keys.get(kid)
      need(e && e.party === party, 'key-not-valid', 'no-entry')
      need(e.use === as, 'key-unsuitable', 'use')
      need(!this.revoked.has(kid), 'key-not-valid', 'revoked')
      need(!used.has(kid), 'key-reused')
      used.set(kid, owner)
      const had = this.owner.get(kid)
      need(!had || had === owner, 'key-reused')
      need(!this.gone.has(kid), 'act-schema', 'key-returns')
    }
    for (const c of b.credentials) {
      const full = `${party}.${c.id}`
      need(!ids.has(c.id), 'act-schema', 'credential-twice'); ids.add(c.id)
      const old = before?.credentials.find(x => x.id === c.id)
      need(!old || old.kind === c.kind, 'act-schema', 'kind-changed')
      need(!this.gone.has(full), 'act-schema', 'credential-returns')
      need(!c.keyholder || c.kind === 'person', 'act-schema', 'keyholder')
      need(c.kind === 'person' ? c.seal.length >= 1 : c.seal.length === 0 || b.entry.role === 'hotline', 'act-schema', 'seal')
      use(c.access, 'access', full)
      for (const k of c.seal) use(k, 'seal', full)
      const algs = c.seal.map(k => this.keys.get(k).jwk.alg)
      need(new Set(algs).size === algs.length && (c.require ?? []).every(a => algs.includes(a)), 'act-schema', 'require')
    }
    for (const e of b.enc) {
      use(e.kid, e.use, 'enc:' + party)
      need(e.until - e.from <= (e.use === 'backup' ? 400 : 45) * DAY, 'act-schema', 'lives-too-long')
      const old = before?.enc.find(x => x.kid === e.kid)
      need(!old || old.from === e.from, 'act-schema', 'from-changed')
    }
    const keeper = this.#keepers(used)
    const stations = new Map()
    for (const e of b.enc) if (e.use === 'enc') stations.set(e.station ?? e.kid, [...stations.get(e.station ?? e.kid) ?? [], keeper(e.kid)])
    need(stations.size <= 8 && [...stations.values()].every(by => by.length <= 2 && by[0] && by.every(k => k === by[0])), 'act-schema', 'workstations')
    return keeper
  }

  /** Which credential vouched for an encryption key; owners: those of a statement that is not in effect. */
  #keepers (owners = new Map()) {
    return kid => {
      const by = new Set((this.keys.get(kid)?.voucher ?? []).map(k => this.owner.get(k) ?? owners.get(k)))
      return by.size === 1 ? [...by][0] : undefined
    }
  }

  #first (text, p, j, time) {
    need(p.party !== 'exchange', 'not-permitted', 'party')
    need(p.body.prev_statement === null, 'statement-out-of-sequence', 'sequence')
    need(p.body.entry.id === p.party, 'act-schema', 'party')
    this.#content(p.body, null)
    const me = p.body.credentials.find(c => `${p.party}.${c.id}` === p.iss)
    need(me?.keyholder, 'not-permitted', 'keyholder')
    const keys = me.seal.map(k => this.keys.get(k).jwk)
    verifyJws(text, 'referral-act+jws', keys, me.require ?? keys.map(k => k.alg), 'act-signature-invalid')
    this.pending.set(p.party, { p, party: p.party, kind: 'first', digest: j.digest, index: this.size, time })
  }

  #later (p, j, { me, person, registrar }, time) {
    const b = p.body
    const party = registrar ? b.entry.id : p.party
    const before = this.parties.get(party)
    need(before && b.seq === before.body.seq + 1 && b.prev_statement === before.digest, 'statement-out-of-sequence', 'sequence')
    need(b.entry.id === party, 'act-schema', 'party')
    const keeper = this.#content(b, before.body)
    const w = { p, party, digest: j.digest, index: this.size, time }
    if (party !== p.party) {
      need(recovers(before.body, b), 'not-permitted', 'keyholder')
      w.kind = 'recovery'
    } else {
      const renewal = person ? renews(before.body, b, me.id, { revoked: k => this.revoked.has(k), keeper, me: p.iss }) : null
      need(me.keyholder || renewal, 'not-permitted', 'keyholder')
      const holders = before.body.credentials.filter(c => c.keyholder && (c.from ?? 0) <= time && time < c.until)
      if (renewal === 'workstations') w.kind = null
      else if (!me.keyholder) w.kind = 'own'
      else if (!adds(before.body, b)) w.kind = null
      else w.kind = this.#twoRegistrars(before.body) ? 'registrar' : holders.length >= 2 ? 'addition' : null
    }
    if (w.kind === null) return this.#effect(w, this.size, time)
    need(w.kind === 'recovery' || this.pending.get(party)?.kind !== 'recovery', 'statement-out-of-sequence', 'pending')
    this.pending.set(party, w)
  }

  #twoRegistrars (body) { return body.entry.role === 'registrar' && this.genesis.registrars_required >= 2 && this.listed.get(body.entry.id).size >= 2 }
  #persons (party) { return this.parties.get(party).body.credentials.filter(c => c.kind === 'person') }

  #approve (p, { exchange, me, registrar }, time) {
    const w = [...this.pending.values()].find(w => w.digest === p.body.statement && w.party === p.body.party) ?? refuse('statement-out-of-sequence', 'not-pending')
    const another = p.iss !== w.p.iss
    if (w.kind === 'first' && w.p.body.entry.role === 'registrar') need(exchange, 'not-permitted', 'registrar')
    else if (w.kind === 'first') {
      need(registrar, 'not-permitted', 'registrar')
      need(this.#persons(p.party).length >= this.genesis.registrars_required, 'not-permitted', 'registrars')
    } else if (w.kind === 'registrar') need((registrar && another) || (exchange && this.#persons(w.party).length < 2), 'not-permitted', 'registrar')
    else if (w.kind === 'recovery') {
      need(registrar && (another || this.genesis.environment === 'sandbox'), 'not-permitted', 'registrar')
      need(p.iat >= w.time + DAY, 'statement-out-of-sequence', 'objection-window')
    } else need(me?.keyholder && p.party === w.party && another, 'not-permitted', 'keyholder')
    this.#effect(w, this.size, time)
  }

  #effect (w, index, time) {
    const { party } = w; const before = this.parties.get(party)
    this.pending.delete(party)
    this.listed.set(party, new Set([...this.listed.get(party) ?? [], ...w.p.body.credentials.map(c => c.id)]))
    for (const c of before?.body.credentials ?? []) {
      const n = w.p.body.credentials.find(x => x.id === c.id)
      if (!n) this.gone.set(`${party}.${c.id}`, index)
      for (const k of keysOf(c)) if (!n || (k !== n.access && !n.seal.includes(k))) this.gone.set(k, index)
    }
    for (const e of before?.body.enc ?? []) if (!w.p.body.enc.some(x => x.kid === e.kid)) this.gone.set(e.kid, index)
    for (const c of before?.body.credentials ?? []) {
      const h = this.history.get(`${party}.${c.id}`).at(-1)
      const n = w.p.body.credentials.find(x => x.id === c.id)
      if (!n || !same([n.seal, this.#required(n)], [c.seal, h.require])) h.ended ??= time
      else h.until = n.until
    }
    for (const c of w.p.body.credentials) {
      const full = `${party}.${c.id}`
      const list = this.history.get(full) ?? []
      // Keys that replace others begin at the effect, whatever the credential's `from`.
      if (!list.length || list.at(-1).ended !== null) list.push({ seal: c.seal, require: this.#required(c), from: list.length ? time : c.from ?? time, until: c.until, ended: null })
      this.history.set(full, list)
      for (const k of keysOf(c)) this.owner.set(k, full)
    }
    for (const e of w.p.body.enc) this.owner.set(e.kid, 'enc:' + party)
    this.parties.set(party, { body: w.p.body, digest: w.digest, index: w.index, effect: index })
  }

  #required (c) { return c.require ?? c.seal.map(k => this.keys.get(k).jwk.alg) }

  #revoke (p, { exchange, me, person, registrar }, time) {
    const { kid } = p.body
    const e = this.keys.get(kid) ?? refuse('key-not-valid', 'no-entry')
    need(e.party !== 'exchange', 'not-permitted', 'keyholder')
    need(!this.revoked.has(kid), 'key-not-valid', 'revoked')
    const own = person && (this.owner.get(kid) === p.iss || this.#keepers()(kid) === p.iss)
    need(exchange || registrar || own || (me?.keyholder && e.party === p.party), 'not-permitted', 'keyholder')
    this.revoked.set(kid, { index: this.size, time, iat: p.iat })
  }

  /** Encryption keys of a party that may be sealed to; of a station's keys the newest. */
  sealable (party, time = null, newest = false) {
    let list = (this.parties.get(party)?.body.enc ?? []).filter(e => !this.revoked.has(e.kid) && (time === null || (e.from <= time && time < e.until)))
    if (newest) list = list.filter(e => !e.station || !list.some(o => o !== e && o.station === e.station && o.from > e.from))
    return list
  }
}
