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
    Object.assign(this, { pinned: pinnedRoot, root: null, size: 0, time: 0, genesis: null, exchange: null, keys: new Map(), parties: new Map(), pending: new Map(), revoked: new Map(), gone: new Map(), history: new Map(), owner: new Map(), began: new Map(), proposed: new Map(), past: [], after: null })
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
    const acts = exchange.sets[0].keys.map(k => k.jwk)
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
      if (!exchange) need(p.use === 'access' ? ['Ed25519', 'ES256'].includes(p.jwk.alg) : SIGN.includes(p.jwk.alg), 'key-unsuitable', 'use')
      verifyJws(text, 'referral-key+jws', [p.jwk], [p.jwk.alg], 'possession-not-proved')
      if (exchange) this.exchange.entry(p, kid, this.root)
    } else {
      need(PATTERN.digest.test(p.possession), 'malformed', 'possession')
      need(Object.hasOwn(KEM, p.jwk.alg), 'key-unsuitable', 'use')
      const seals = [...this.keys.entries()].filter(([k, e]) => e.party === p.party && e.use === 'seal' && !this.revoked.has(k)).map(([, e]) => e.jwk)
      verifyJws(text, 'referral-key+jws', seals, [], 'possession-not-proved')
    }
    this.keys.set(kid, { party: p.party, use: p.use, jwk: p.jwk, voucher: j.heads.map(h => h.kid) })
  }

  /** Seal keys and required algorithms of a credential for an act on a referral of that iat that arrives now. */
  sealKeys (credential, iat, now, kids) { return this.#standing(this, credential, iat, now, kids) }

  /** The same of an act that the exchange took at `now`: what stood until an act ended it stands if `now` is at most an hour after that act's iat. */
  takenKeys (credential, iat, now, kids) {
    const stand = state => { try { return this.#standing(state, credential, iat, now, kids) } catch (e) { return e } }
    let stood = stand(this)
    if (stood.require) return stood
    const today = stood
    for (const state of [...this.past, this]) {
      const found = stand(state)
      if (found.require) stood = found
      else if (stood.require) { if (now > state.after + 3600) stood = today; break }
    }
    if (!stood.require) throw stood
    return stood
  }

  #standing ({ history, revoked }, credential, iat, now, kids) {
    const periods = (history.get(credential) ?? []).filter(q => kids.length && kids.every(k => q.seal.includes(k)))
    need(periods.length, 'key-not-valid', 'unknown')
    const p = periods.findLast(q => iat >= q.from - 60 && now >= q.from - 60) ?? refuse('key-not-valid', 'not-yet')
    need(!p.seal.some(k => revoked.has(k)), 'key-not-valid', 'revoked')
    const end = Math.min(p.until, p.ended ?? Infinity)
    need(iat < end && now <= end + 7 * DAY, 'key-not-valid', 'ended')
    return { keys: kids.map(k => this.keys.get(k).jwk), require: p.require }
  }

  /** The same of an act of this log: of a person (or the exchange) that is listed and in time, by its newest keys alone. */
  #signer (p, kids, time) {
    if (p.iss === this.actsCredential) return this.#exchangeActs(kids, time)
    const c = this.credential(p.iss) ?? refuse('key-not-valid', 'unknown')
    need(c.kind === 'person', 'not-permitted', 'person')
    need(this.#inTime(p.party, c, time), 'key-not-valid', 'ended')
    const { seal, require } = this.history.get(p.iss).at(-1)
    need(!seal.some(k => this.revoked.has(k)), 'key-not-valid', 'revoked')
    return { keys: seal.map(k => this.keys.get(k).jwk), require }
  }

  #exchangeActs (kids, time) {
    const keys = this.exchange.acts(kids, time) ?? refuse('act-signature-invalid', 'unknown-key')
    return { keys, require: keys.map(k => k.alg) }
  }

  /** Whether somebody is in time, and none of the keys revoked: who cannot sign is waited for by nobody. */
  #able (party, c, time) { return this.#inTime(party, c, time) && !keysOf(c).some(k => this.revoked.has(k)) }
  #inTime (party, c, time) { return this.began.get(`${party}.${c.id}`) - 60 <= time && time < c.until }

  credential (id) {
    const [party, c] = id.split('.')
    return this.parties.get(party)?.body.credentials.find(x => x.id === c)
  }

  /** Verifies an act's form, audience and signatures under the map; now: when the exchange took it, or null: it is of this log. */
  verifyAct (text, now) {
    const j = readJws(text, 'referral-act+jws')
    const p = members(parse(j.bytes), ACT_MEMBERS, 'malformed')
    need(p.v === 1 && PATTERN.act.test(p.id) && PATTERN.credential.test(p.iss) && p.iss.split('.')[0] === p.party, 'malformed', 'act')
    need(p.aud === this.issuer, 'wrong-audience')
    const kids = j.heads.map(h => h.kid)
    const { keys, require } = now === null ? this.#signer(p, kids, Math.max(this.time, p.iat))
      : p.iss === this.actsCredential ? this.#exchangeActs(kids, p.iat) : this.takenKeys(p.iss, p.iat, now, kids)
    verifyJws(text, 'referral-act+jws', keys, require, 'act-signature-invalid')
    return { ...p, digest: j.digest }
  }

  #act (text) {
    const j = readJws(text, 'referral-act+jws')
    const p = members(parse(j.bytes), ACT_MEMBERS, 'malformed')
    need(ACTS.includes(p.act), 'malformed', 'act of another log')
    need(p.aud === this.issuer, 'wrong-audience')
    const time = Math.max(this.time, p.iat)
    const past = { after: this.after, revoked: new Map(this.revoked), history: new Map([...this.history].map(([c, list]) => [c, list.map(q => ({ ...q }))])) }
    if (p.act === 'statement' && p.body.seq === 1 && p.prev === null && !this.parties.has(p.party)) this.#first(text, p, j, time)
    else {
      this.verifyAct(text, null)
      const exchange = p.iss === this.actsCredential
      const me = exchange ? null : this.credential(p.iss)
      const role = this.parties.get(p.party)?.body.entry.role
      const who = { exchange, me, registrar: role === 'registrar' }
      if (p.act === 'statement') this.#later(p, j, who, time)
      else if (p.act === 'approve_statement') this.#approve(p, who, time)
      else if (p.act === 'object') {
        const w = [...this.pending.values()].find(w => w.digest === p.body.statement) ?? refuse('statement-out-of-sequence', 'not-pending')
        need(who.registrar || p.party === w.party, 'not-permitted', 'party')
        this.pending.delete(w.party)
      } else if (p.act === 'rekey') {
        need(exchange, 'not-permitted', 'exchange')
        this.exchange.rekey(p.body, time)
      } else this.#revoke(p, who)
    }
    this.past.push(past)
    Object.assign(this, { time, after: p.iat })
  }

  /** A statement's content, whoever signed it; gives who vouched for which encryption key in it. */
  #content (b, before) {
    const party = b.entry.id
    if (before) need(b.entry.role === before.entry.role, 'act-schema', 'role-changed')
    if (before) need(b.entry.country === before.entry.country, 'act-schema', 'country-changed')
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
      need(!this.gone.has(kid), 'key-reused')
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
      need(!old || (old.from === e.from && old.station === e.station), 'act-schema', 'moved')
      need(old || b.credentials.some(c => this.#vouches(c, e.kid)), 'possession-not-proved', 'not-vouched-for')
    }
    const keeper = kid => this.#keeper(kid, used)
    const places = new Map()
    for (const e of b.enc) { const at = e.use === 'backup' ? '' : e.station ?? e.kid; places.set(at, [...places.get(at) ?? [], keeper(e.kid)]) }
    need([...places.keys()].filter(at => at).length <= 8 && [...places.values()].every(by => by.length <= 2), 'act-schema', 'too-many-keys')
    need([...places].every(([at, by]) => !at || by.every(k => k === by[0])), 'act-schema', 'station-taken')
    return keeper
  }

  /** The credential, within its party, that vouched for an encryption key; listed: owners by a statement that is not in effect. */
  #keeper (kid, listed = new Map()) {
    const [by] = this.keys.get(kid).voucher
    return (this.owner.get(by) ?? listed.get(by))?.split('.')[1]
  }

  #vouches (c, kid) {
    const by = this.keys.get(kid).voucher
    return by.every(k => c.seal.includes(k)) && this.#required(c).every(alg => by.some(k => this.keys.get(k).jwk.alg === alg))
  }

  #first (text, p, j, time) {
    const { role } = p.body.entry
    need(p.party !== 'exchange' && role !== 'exchange', 'not-permitted', 'party')
    need(role !== 'registrar' || ![...this.parties.values()].some(q => q.body.entry.role === role), 'statement-out-of-sequence', 'party-taken')
    need(p.body.prev_statement === null, 'statement-out-of-sequence', 'sequence')
    this.#once(p.party, j.digest)
    need(p.body.entry.id === p.party, 'act-schema', 'party')
    this.#content(p.body, null)
    const me = p.body.credentials.find(c => `${p.party}.${c.id}` === p.iss)
    need(me?.keyholder, 'not-permitted', 'keyholder')
    need(time < me.until, 'key-not-valid', 'ended')
    const keys = me.seal.map(k => this.keys.get(k).jwk)
    verifyJws(text, 'referral-act+jws', keys, me.require ?? keys.map(k => k.alg), 'act-signature-invalid')
    this.#wait(p.party, { p, party: p.party, kind: role === 'registrar' ? 'exchange' : 'registrar', digest: j.digest, index: this.size, time })
  }

  #later (p, j, { me, registrar }, time) {
    const b = p.body
    const party = registrar ? b.entry.id : p.party
    const before = this.parties.get(party)
    need(before && b.seq === before.body.seq + 1 && b.prev_statement === before.digest, 'statement-out-of-sequence', 'sequence')
    this.#once(party, j.digest)
    need(b.entry.id === party, 'act-schema', 'party')
    const w = { p, party, digest: j.digest, index: this.size, time }
    w.kind = this.#waitsFor(p, me, before.body, this.#content(b, before.body), time)
    if (w.kind === null) return this.#effect(w, this.size, time)
    need(w.kind === 'recovery' || this.pending.get(party)?.kind !== 'recovery', 'statement-out-of-sequence', 'recovery')
    this.#wait(party, w)
  }

  #wait (party, w) {
    this.pending.set(party, w)
    this.proposed.set(party, [...this.proposed.get(party) ?? [], w.digest])
  }

  /** What waited once is refused when it comes again, whatever became of it. */
  #once (party, digest) { need(!this.proposed.get(party)?.includes(digest), 'statement-out-of-sequence', 'repeated') }

  /** Whose approval a later statement waits for; null: it takes effect at once (R-32 b, d, e). */
  #waitsFor (p, me, before, keeper, time) {
    const b = p.body
    if (b.entry.id !== p.party) {
      need(recovers(before, b) && this.#registrars(time), 'not-permitted', 'keyholder')
      return 'recovery'
    }
    const renewal = renews(before, b, me.id, { revoked: k => this.revoked.has(k), keeper, algs: c => this.#required(c) })
    if (renewal === 'workstations') return null
    need(me.keyholder || renewal, 'not-permitted', 'keyholder')
    const ever = [...this.began.keys()].filter(c => c.split('.')[0] === p.party).length
    if (b.entry.role === 'registrar' && adds(before, b) && 1 < this.genesis.registrars_required && this.genesis.registrars_required <= ever) return this.#registrars(time) ? 'registrar' : 'exchange'
    const holders = before.credentials.filter(c => c.keyholder && this.#able(p.party, c, time))
    return !me.keyholder || (adds(before, b) && holders.length >= 2) ? 'keyholder' : null
  }

  /** Whether the registrar party has as many persons, in their time, as the genesis act demands. */
  #registrars (time) {
    const [party, r] = [...this.parties].find(([, q]) => q.body.entry.role === 'registrar') ?? refuse('not-permitted', 'registrars')
    return r.body.credentials.filter(c => c.kind === 'person' && this.#able(party, c, time)).length >= this.genesis.registrars_required
  }

  #approve (p, { exchange, me, registrar }, time) {
    const w = this.pending.get(p.body.party)
    need(w?.digest === p.body.statement, 'statement-out-of-sequence', 'not-pending')
    if (w.kind === 'exchange') need(exchange, 'not-permitted', 'registrar')
    else if (w.kind === 'keyholder') need(me?.keyholder && p.party === w.party && p.iss !== w.p.iss, 'not-permitted', 'keyholder')
    else need(registrar && this.#registrars(time) && (p.iss !== w.p.iss || this.genesis.registrars_required === 1), 'not-permitted', 'registrar')
    need(w.kind !== 'recovery' || p.iat >= w.time + DAY, 'statement-out-of-sequence', 'objection-window')
    this.#effect(w, this.size, time)
  }

  #effect (w, index, time) {
    const { party } = w; const before = this.parties.get(party)
    this.pending.delete(party)
    this.proposed.delete(party)
    for (const c of before?.body.credentials ?? []) {
      const n = w.p.body.credentials.find(x => x.id === c.id)
      if (!n) this.gone.set(`${party}.${c.id}`, index)
      for (const k of keysOf(c)) if (!n || (k !== n.access && !n.seal.includes(k))) this.gone.set(k, index)
    }
    for (const e of before?.body.enc ?? []) if (!w.p.body.enc.some(x => x.kid === e.kid)) this.gone.set(e.kid, index)
    for (const c of before?.body.credentials ?? []) {
      const h = this.history.get(`${party}.${c.id}`)?.at(-1)
      const n = w.p.body.credentials.find(x => x.id === c.id)
      if (h && n && same([[...n.seal].sort(), this.#required(n)], [[...h.seal].sort(), h.require])) h.until = n.until
      else if (h) h.ended ??= time
    }
    for (const c of w.p.body.credentials) {
      const full = `${party}.${c.id}`
      const list = this.history.get(full) ?? []
      this.began.set(full, c.from ?? this.began.get(full) ?? time)
      // A credential's first seal keys begin with it, those that replace others at the effect.
      if (c.seal.length && (!list.length || list.at(-1).ended !== null)) list.push({ seal: c.seal, require: this.#required(c), from: list.length ? time : this.began.get(full), until: c.until, ended: null })
      this.history.set(full, list)
      for (const k of keysOf(c)) this.owner.set(k, full)
    }
    for (const e of w.p.body.enc) this.owner.set(e.kid, 'enc:' + party)
    this.parties.set(party, { body: w.p.body, digest: w.digest, index: w.index, effect: index })
  }

  #required (c) { return c.require ?? c.seal.map(k => this.keys.get(k).jwk.alg) }

  #revoke (p, { exchange, me, registrar }) {
    const { kid } = p.body
    const e = this.keys.get(kid) ?? refuse('key-not-valid', 'no-entry')
    const own = me && e.party === p.party && (me.keyholder || keysOf(me).includes(kid) || (Object.hasOwn(KEM, e.jwk.alg) && this.#keeper(kid) === me.id))
    need(e.party !== 'exchange' && (exchange || registrar || own), 'not-permitted', 'keyholder')
    need(!this.revoked.has(kid), 'key-not-valid', 'revoked')
    this.revoked.set(kid, this.size)
  }

  /** Everything that the log says, in plain words. */
  told () {
    const parties = [...this.parties].map(([id, { body, digest, index, effect }]) => [id, {
      role: body.entry.role, seq: body.seq, statement: digest, index, effect_index: effect, enc: body.enc.map(e => e.kid),
      credentials: body.credentials.map(c => ({ id: `${id}.${c.id}`, access: c.access, seal: c.seal, from: this.began.get(`${id}.${c.id}`), until: c.until }))
    }])
    return {
      root: this.root, size: this.size, time: this.time, parties: Object.fromEntries(parties),
      pending: Object.fromEntries([...this.pending].map(([id, w]) => [id, w.digest])), revoked: [...this.revoked.keys()].sort(), exchange: this.exchange.changed()
    }
  }

  /** Encryption keys of a party that may be sealed to: of a workstation's, and of the backup's, the newest. */
  sealable (party, time) {
    const list = (this.parties.get(party)?.body.enc ?? []).filter(e => !this.revoked.has(e.kid) && e.from - 60 <= time && time < e.until)
    const place = e => e.use === 'backup' ? 'backup' : e.station ? `station ${e.station}` : `key ${e.kid}`
    const newer = (o, e) => place(o) === place(e) && (o.from > e.from || (o.from === e.from && o.kid > e.kid))
    return list.filter(e => !list.some(o => newer(o, e))).sort((a, b) => place(a) < place(b) ? -1 : 1)
  }
}
