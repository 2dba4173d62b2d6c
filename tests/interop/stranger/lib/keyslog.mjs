// The keys log computed in log order.
import { parse, members, need, refuse, digest, utf8, same, Refused, PATTERN } from './base.mjs'
import { kidOf, readJws, verifyJws, verifyRaw, SIGN, KEM } from './keys.mjs'

const DAY = 86400
const ACTS = ['genesis', 'statement', 'approve_statement', 'revoke', 'object']
export const ACT_MEMBERS = ['v', 'id', 'iss', 'party', 'aud', 'iat', 'act', 'ref', 'unit', 'prev', 'body']

export class KeyMap {
  constructor (pinnedRoot = null) {
    Object.assign(this, { pinned: pinnedRoot, root: null, size: 0, time: 0, genesis: null, exchange: [], keys: new Map(), parties: new Map(), pending: new Map(), revoked: new Map(), gone: new Map(), history: new Map(), owner: new Map() })
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
    for (const k of p.body.keys) need(kidOf(k.jwk) === k.kid, 'key-unsuitable', 'kid')
    const acts = p.body.keys.filter(k => k.use === 'act')
    verifyJws(text, 'referral-act+jws', acts.map(k => k.jwk), acts.map(k => k.jwk.alg))
    need(p.aud === p.body.issuer, 'wrong-audience')
    Object.assign(this, { root: id, genesis: p.body, issuer: p.body.issuer, exchange: p.body.keys, time: p.iat, actsCredential: p.iss })
    for (const k of p.body.keys) this.keys.set(k.kid, { party: p.party, use: k.use, jwk: k.jwk })
  }

  #entry (text) {
    need(Buffer.byteLength(text) <= 12288, 'too-large')
    const j = readJws(text, 'referral-key+jws')
    const p = members(parse(j.bytes), ['v', 'party', 'use', 'jwk', 'nonce', 'iat', 'possession'], 'malformed')
    need(p.v === 1 && ['access', 'seal', 'enc', 'backup'].includes(p.use), 'malformed', 'use')
    need(p.party !== 'exchange', 'not-permitted', 'party')
    const kid = kidOf(p.jwk)
    need(!this.keys.has(kid), 'key-reused')
    if (p.use === 'access' || p.use === 'seal') {
      need(p.possession === null, 'malformed', 'possession')
      need(p.use === 'access' ? ['Ed25519', 'ES256'].includes(p.jwk.alg) : SIGN.includes(p.jwk.alg), 'key-unsuitable', 'use')
      verifyJws(text, 'referral-key+jws', [p.jwk], [p.jwk.alg], 'possession-not-proved')
    } else {
      need(PATTERN.digest.test(p.possession), 'malformed', 'possession')
      need(Object.hasOwn(KEM, p.jwk.alg), 'key-unsuitable', 'use')
      const seals = [...this.keys.entries()].filter(([k, e]) => e.party === p.party && e.use === 'seal' && !this.revoked.has(k)).map(([, e]) => e.jwk)
      verifyJws(text, 'referral-key+jws', seals, [], 'possession-not-proved')
    }
    this.keys.set(kid, { party: p.party, use: p.use, jwk: p.jwk, voucher: j.heads.map(h => h.kid) })
  }

  /** Seal keys and required algorithms of a credential for an act of that iat, arriving now. */
  sealKeys (credential, iat, now, kids) {
    const periods = this.history.get(credential) ?? []
    need(periods.length, 'key-not-valid', 'unknown')
    const p = periods.find(q => kids.length && kids.every(k => q.seal.includes(k)))
    need(p, 'key-not-valid', 'unknown')
    // What was taken before the revocation stands. Parties cannot see where in the audit log a revocation is, so times decide (GAPS.md).
    for (const k of kids) need(!this.revoked.has(k) || now < this.revoked.get(k).time, 'key-not-valid', 'revoked')
    need(iat >= p.from - 60, 'key-not-valid', 'not-yet')
    need(iat < p.until, 'key-not-valid', 'ended')
    if (p.ended !== null) need(iat < p.ended && now <= p.ended + 7 * DAY, 'key-not-valid', 'ended')
    return { keys: kids.map(k => this.keys.get(k).jwk), require: p.require }
  }

  credential (id) {
    const [party, c] = id.split('.')
    return this.parties.get(party)?.body.credentials.find(x => x.id === c)
  }

  /** Verifies an act's form, audience and signatures under the map; now: when the exchange took it. */
  verifyAct (text, now) {
    const j = readJws(text, 'referral-act+jws')
    const p = members(parse(j.bytes), ACT_MEMBERS, 'malformed')
    need(p.v === 1 && PATTERN.act.test(p.id) && PATTERN.credential.test(p.iss) && p.iss.split('.')[0] === p.party, 'malformed', 'act')
    need(p.aud === this.issuer, 'wrong-audience')
    if (p.iss === this.actsCredential) {
      const keys = this.exchange.filter(k => k.use === 'act').map(k => k.jwk)
      verifyJws(text, 'referral-act+jws', keys, keys.map(k => k.alg), 'act-signature-invalid')
    } else {
      const { keys, require } = this.sealKeys(p.iss, p.iat, now, j.heads.map(h => h.kid))
      verifyJws(text, 'referral-act+jws', keys, require, 'act-signature-invalid')
    }
    return { ...p, digest: j.digest }
  }

  #act (text) {
    const j = readJws(text, 'referral-act+jws')
    const p = members(parse(j.bytes), ACT_MEMBERS, 'malformed')
    need(ACTS.includes(p.act) && p.act !== 'genesis', 'malformed', 'act of another log')
    need(p.aud === this.issuer, 'wrong-audience')
    const time = Math.max(this.time, p.iat)
    if (p.act === 'statement' && p.body.seq === 1 && p.prev === null && !this.parties.has(p.party)) this.#first(text, p, j, time)
    else {
      try { this.verifyAct(text, time) } catch (e) { if (e.code === 'key-not-valid' && p.act === 'statement' && e.reason === 'unknown') refuse('act-signature-invalid', 'unknown-key'); throw e }
      const exchange = p.iss === this.actsCredential
      const me = exchange ? null : this.credential(p.iss)
      need(exchange || me, 'key-not-valid', 'unknown')
      const role = this.parties.get(p.party)?.body.entry.role
      const person = me?.kind === 'person'
      if (p.act === 'statement') this.#later(p, j, me, time)
      else if (p.act === 'approve_statement') this.#approve(p, exchange, me, role)
      else if (p.act === 'object') {
        const w = [...this.pending.values()].find(w => w.digest === p.body.statement) ?? refuse('statement-out-of-sequence', 'not-pending')
        need(person && (p.party === w.p.party || role === 'registrar'), 'not-permitted', 'party')
        this.pending.delete(w.p.party)
      } else this.#revoke(p, me, role)
    }
    this.time = time
  }

  #content (p, before) {
    const b = p.body
    need(b.entry.id === p.party, 'act-schema', 'party')
    need(p.party !== 'exchange', 'not-permitted', 'party')
    if (before) need(b.entry.role === before.entry.role, 'act-schema', 'role-changed')
    need(b.credentials.some(c => c.keyholder), 'act-schema', 'no-keyholder')
    const ids = new Set(); const used = new Map()
    const use = (kid, as, owner) => {
      const e = this.keys.get(kid)
      need(e && e.party === p.party, 'key-not-valid', 'no-entry')
      need(e.use === as, 'key-unsuitable', 'use')
      need(!this.revoked.has(kid) || before, 'key-not-valid', 'revoked')
      need(!used.has(kid), 'key-reused')
      used.set(kid, owner)
      const had = this.owner.get(kid)
      need(!had || had === owner, 'key-reused')
      need(!this.gone.has(kid), 'act-schema', 'key-returns')
    }
    for (const c of b.credentials) {
      const full = `${p.party}.${c.id}`
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
      use(e.kid, e.use, 'enc:' + p.party)
      need(e.until - e.from <= (e.use === 'backup' ? 400 : 45) * DAY, 'act-schema', 'lives-too-long')
      const old = before?.enc.find(x => x.kid === e.kid)
      need(!old || old.from === e.from, 'act-schema', 'from-changed')
    }
  }

  #first (text, p, j, time) {
    need(p.party !== 'exchange', 'not-permitted', 'party')
    need(p.body.prev_statement === null, 'statement-out-of-sequence', 'sequence')
    this.#content(p, null)
    const me = p.body.credentials.find(c => `${p.party}.${c.id}` === p.iss)
    need(me?.keyholder, 'not-permitted', 'keyholder')
    const keys = me.seal.map(k => this.keys.get(k).jwk)
    verifyJws(text, 'referral-act+jws', keys, me.require ?? keys.map(k => k.alg), 'act-signature-invalid')
    this.pending.set(p.party, { p, digest: j.digest, index: this.size })
  }

  #later (p, j, me, time) {
    const now = this.parties.get(p.party)
    need(now && p.body.seq === now.body.seq + 1 && p.body.prev_statement === now.digest, 'statement-out-of-sequence', 'sequence')
    need(me.keyholder, 'not-permitted', 'keyholder')
    this.#content(p, now.body)
    const holders = now.body.credentials.filter(c => c.keyholder && (c.from ?? 0) <= time && time < c.until)
    const adds = p.body.credentials.some(c => {
      const o = now.body.credentials.find(x => x.id === c.id)
      const req = x => x.require ?? x.seal
      return !o || c.access !== o.access || c.seal.some(k => !o.seal.includes(k)) || (c.keyholder && !o.keyholder) || c.until > o.until || (c.from ?? 0) < (o.from ?? 0) || req(c).length < req(o).length
    }) || p.body.enc.some(e => { const o = now.body.enc.find(x => x.kid === e.kid); return !o || e.until > o.until })
    const w = { p, digest: j.digest, index: this.size }
    if (adds && holders.length >= 2) this.pending.set(p.party, w)
    else { this.pending.delete(p.party); this.#effect(w, this.size, time) }
  }

  #approve (p, exchange, me, role) {
    const w = [...this.pending.values()].find(w => w.digest === p.body.statement && w.p.party === p.body.party) ?? refuse('statement-out-of-sequence', 'not-pending')
    if (w.p.body.seq === 1) {
      need(w.p.body.entry.role === 'registrar' ? exchange : me?.kind === 'person' && role === 'registrar', 'not-permitted', 'registrar')
      if (w.p.body.entry.role !== 'registrar') {
        const persons = this.parties.get(p.party).body.credentials.filter(c => c.kind === 'person')
        need(persons.length >= this.genesis.registrars_required, 'not-permitted', 'registrars')
      }
    } else need(me?.keyholder && p.party === w.p.party && p.iss !== w.p.iss, 'not-permitted', 'keyholder')
    this.pending.delete(w.p.party)
    this.#effect(w, this.size, Math.max(this.time, p.iat))
  }

  #effect (w, index, time) {
    const party = w.p.party; const before = this.parties.get(party)
    for (const c of before?.body.credentials ?? []) {
      const n = w.p.body.credentials.find(x => x.id === c.id)
      if (!n) this.gone.set(`${party}.${c.id}`, index)
      for (const k of [c.access, ...c.seal]) if (!n || (k !== n.access && !n.seal.includes(k))) this.gone.set(k, index)
    }
    for (const e of before?.body.enc ?? []) if (!w.p.body.enc.some(x => x.kid === e.kid)) this.gone.set(e.kid, index)
    for (const c of before?.body.credentials ?? []) {
      const h = this.history.get(`${party}.${c.id}`).at(-1)
      const n = w.p.body.credentials.find(x => x.id === c.id)
      if (!n || !same(n.seal, c.seal)) h.ended ??= time
      else h.until = n.until
    }
    for (const c of w.p.body.credentials) {
      const full = `${party}.${c.id}`
      const list = this.history.get(full) ?? []
      const algs = c.seal.map(k => this.keys.get(k).jwk.alg)
      if (!list.length || list.at(-1).ended !== null) list.push({ seal: c.seal, require: c.require ?? algs, from: Math.max(time, c.from ?? 0), until: c.until, ended: null })
      this.history.set(full, list)
      for (const k of [c.access, ...c.seal]) this.owner.set(k, full)
    }
    for (const e of w.p.body.enc) this.owner.set(e.kid, 'enc:' + party)
    this.parties.set(party, { body: w.p.body, digest: w.digest, index: w.index, effect: index })
  }

  #revoke (p, me, role) {
    const e = this.keys.get(p.body.kid) ?? refuse('key-not-valid', 'no-entry')
    need(!this.revoked.has(p.body.kid), 'key-not-valid', 'revoked')
    const own = me && (me.access === p.body.kid || me.seal.includes(p.body.kid))
    const ofParty = me?.keyholder && e.party === p.party
    const registrar = role === 'registrar' && me?.kind === 'person' && e.party !== 'exchange'
    need(me?.kind === 'person' && e.party !== 'exchange' && (own || ofParty || registrar), 'not-permitted', 'keyholder')
    this.revoked.set(p.body.kid, { index: this.size, time: Math.max(this.time, p.iat) })
  }

  /** Encryption keys of a party that may be sealed to; of a station's keys the newest. */
  sealable (party, time = null, newest = false) {
    let list = (this.parties.get(party)?.body.enc ?? []).filter(e => !this.revoked.has(e.kid) && (time === null || (e.from <= time && time < e.until)))
    if (newest) list = list.filter(e => !e.station || !list.some(o => o !== e && o.station === e.station && o.from > e.from))
    return list
  }
}
