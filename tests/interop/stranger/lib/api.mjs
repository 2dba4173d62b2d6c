// HTTP with DPoP, the keys log replica, receipts and proofs.
import { createHash } from 'node:crypto'
import { b64, utf8, uuid4, uuid7, now, parse, need, refuse, digest, sha256, unb64, unb64std, members, same, Refused } from './base.mjs'
import { makeKey, signRaw, kidOf, readJws, verifyJws } from './keys.mjs'
import { KeyMap } from './keyslog.mjs'
import * as log from './log.mjs'

const compact = (header, payload, key) => {
  const input = b64(utf8(JSON.stringify(header))) + '.' + b64(utf8(JSON.stringify(payload)))
  return input + '.' + b64(signRaw(key, utf8(input)))
}
/** Whether it met a connection that the other side had closed. */
const closed = e => e instanceof TypeError && e.cause
export class Problem extends Refused {
  constructor (status, body) { super(body?.code ?? body?.error ?? String(status), JSON.stringify(body)); this.status = status; this.body = body }
}
const RECEIPT = ['v', 'iss', 'act', 'id', 'sub', 'party', 'carrier', 'ref', 'unit', 'time', 'outcome', 'code', 'states', 'log']

export class Api {
  /** me: {id, access, seal}; state: what is pinned: {root, checkpoints: {}, leaves: []}; server: where it listens, if not at its own URL. */
  constructor (exchange, me = null, state = { root: null, checkpoints: {}, leaves: [] }, server = exchange) { Object.assign(this, { exchange, server, me, state, token: null, nonce: null, map: null }) }

  async #fetch (method, path, { headers = {}, body = null, json = true } = {}) {
    const r = await fetch(this.server + path, { method, headers: { 'Accept-Language': 'en', ...headers }, body })
    const raw = Buffer.from(await r.arrayBuffer())
    if (r.headers.get('dpop-nonce')) this.nonce = r.headers.get('dpop-nonce')
    const type = r.headers.get('content-type') ?? ''
    const isJson = /application\/(problem\+)?json/.test(type)
    if (r.status >= 400) throw new Problem(r.status, isJson ? parse(raw) : { code: String(r.status), detail: raw.toString() })
    return { status: r.status, headers: r.headers, raw, body: json && isJson ? parse(raw) : null }
  }

  async plain (method, path, body = null, headers = {}) {
    const once = () => this.#fetch(method, path, { headers: { ...(body ? { 'Content-Type': 'application/json' } : {}), ...headers }, body: body ? JSON.stringify(body) : null })
    try { return await once() } catch (e) { if (closed(e)) return once(); throw e }
  }

  #proof (method, path, token, nonce) {
    const claims = { jti: uuid4(), htm: method, htu: this.exchange + path.split('?')[0], iat: now() }
    if (token) claims.ath = b64(sha256(utf8(token)))
    if (nonce) claims.nonce = nonce
    return compact({ typ: 'dpop+jwt', alg: this.dpop.jwk.alg, jwk: this.dpop.jwk }, claims, this.dpop)
  }

  async login () {
    this.dpop ??= await makeKey(this.me.access.jwk.alg)
    const send = nonce => {
      const a = compact({ alg: this.me.access.jwk.alg, kid: this.me.access.kid, typ: 'JWT' }, { iss: this.me.id, sub: this.me.id, aud: this.exchange, exp: now() + 120, iat: now(), jti: uuid4() }, this.me.access)
      const form = new URLSearchParams({ grant_type: 'client_credentials', client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer', client_assertion: a })
      return this.#fetch('POST', '/oauth/token', { headers: { 'Content-Type': 'application/x-www-form-urlencoded', DPoP: this.#proof('POST', '/oauth/token', null, nonce) }, body: form.toString() })
    }
    let r
    try { r = await send(null) } catch (e) { if (e.code !== 'use_dpop_nonce' && !closed(e)) throw e; r = await send(this.nonce) }
    need(r.body.token_type === 'DPoP', 'bad-token')
    this.token = { value: r.body.access_token, until: now() + r.body.expires_in - 10 }
    return r.body
  }

  async call (method, path, body = null, headers = {}) {
    const once = nonce => this.#fetch(method, path, {
      headers: { Authorization: 'DPoP ' + this.token.value, DPoP: this.#proof(method, path, this.token.value, nonce), ...(body ? { 'Content-Type': 'application/json' } : {}), ...headers },
      body: body ? JSON.stringify(body) : null
    })
    // One call may meet a closed connection first and be asked for a nonce then.
    for (let tries = 0, nonce = null; ; tries++) {
      try {
        if (!this.token || now() >= this.token.until) await this.login()
        return await once(nonce)
      } catch (e) {
        if (tries === 3) throw e
        if (e.code === 'use_dpop_nonce') nonce = this.nonce
        else if (e.body?.retry === 'same') await new Promise(r => setTimeout(r, 1000))
        else if (!closed(e)) throw e
      }
    }
  }

  // --- logs ---
  origins () {
    const host = this.exchange.replace(/^https?:\/\//, '')
    return this.map?.genesis?.log_origins ?? { keys: host + '/v1/log/keys', audit: host + '/v1/log/audit' }
  }

  /** The log keys of the exchange; those count that had not ended at the time of what a checkpoint covers. */
  logVerifiers (origin, time) {
    const standing = this.map.exchange.standing('log', time)
    return this.map.exchange.list.filter(k => k.use === 'log').map(k => log.verifier(origin, unb64(k.jwk.x), standing.includes(k)))
  }

  /** Pins a newer checkpoint of a log once it is consistent with the pinned one. */
  async advance (cp) {
    const old = this.state.checkpoints[cp.origin]
    if (old) {
      const small = Math.min(old.size, cp.size); const large = Math.max(old.size, cp.size)
      let proof = []
      if (small !== large && small > 0) {
        const path = cp.origin.replace(/^[^/]+/, '')
        const r = await this.call('GET', `${path}/consistency?from=${small}&to=${large}`)
        proof = r.body.proof.map(h => unb64std(h))
      }
      const [a, b] = old.size <= cp.size ? [unb64(old.root), cp.root] : [cp.root, unb64(old.root)]
      try { log.verifyConsistency(small, large, a, b, proof) } catch { refuse('alarm', 'the log forked') }
      if (cp.size <= old.size) return
    }
    this.state.checkpoints[cp.origin] = { size: cp.size, root: b64(cp.root) }
  }

  /** Replicates the keys log whole, checks it against its signed root, and folds it. */
  async follow () {
    const note = (await this.call('GET', '/v1/log/keys/checkpoint')).raw.toString('utf8')
    const [, size] = note.split('\n')
    const have = this.state.leaves.map(l => Buffer.from(l, 'base64url'))
    const n = Number(size)
    if (n < have.length) refuse('alarm', 'the keys log shrank')
    const leaves = have.slice()
    for (let tile = Math.floor(have.length / 256); leaves.length < n; tile++) {
      const width = Math.min(256, n - tile * 256)
      const r = await this.call('GET', '/v1/log/keys/' + log.tilePath('entries', tile, width))
      const got = log.entries(r.raw)
      need(got.length === width, 'incomplete')
      for (let i = leaves.length - tile * 256; i < width; i++) leaves.push(Buffer.from(got[i]))
    }
    const map = new KeyMap(this.state.root)
    for (const l of leaves) map.add(l)
    need(map.issuer === this.exchange, 'wrong-issuer')
    const before = this.map
    this.map = map
    try {
      const cp = log.verifyCheckpoint(note, this.logVerifiers(this.origins().keys, map.time))
      need(Buffer.compare(log.root(leaves.map(log.leafHash)), cp.root) === 0, 'alarm', 'root')
      await this.advance(cp)
      this.state.leaves = leaves.map(l => b64(l))
      this.leafHashes = leaves.map(log.leafHash)
      this.keysLog = { origin: cp.origin, size: cp.size, root: b64(cp.root) }
    } catch (e) { this.map = before; throw e }
    return this.keysLog
  }

  /** What a sender says of the keys log must be a prefix of this replica. */
  async checkKeysLog (seen) {
    if (seen.size > this.leafHashes.length) await this.follow()
    need(seen.origin === this.origins().keys && seen.size <= this.leafHashes.length && b64(log.root(this.leafHashes.slice(0, seen.size))) === seen.root, 'alarm', 'another keys log')
  }

  /** Verifies act, receipt and, where given, its proof; gives the receipt's payload. An unknown key sends to the keys log first. */
  async verifyReceipt (actText, receipt, proof = null) {
    const known = this.map.size
    try { return await this.#judge(actText, receipt, proof) } catch (e) {
      if (e.reason !== 'unknown-key' || (await this.follow()).size === known) throw e
      return this.#judge(actText, receipt, proof)
    }
  }

  async #judge (actText, receipt, proof) {
    const r = members(parse(readJws(receipt, 'referral-receipt+jws').bytes), RECEIPT, 'receipt-invalid')
    const keys = this.map.exchange.counting('receipt', r.time).map(k => k.jwk)
    verifyJws(receipt, 'referral-receipt+jws', keys, ['Ed25519'], 'receipt-invalid')
    const act = readJws(actText, 'referral-act+jws'); const p = parse(act.bytes)
    need(r.v === 1 && r.iss === this.exchange && r.act === act.digest && r.id === p.id && r.sub === p.iss && r.party === p.party && r.ref === p.ref && r.unit === p.unit, 'receipt-invalid', 'another act')
    need((r.outcome === 'accepted') === (r.code === null), 'receipt-invalid', 'outcome')
    need(r.log.origin === `${this.origins().audit}/${new Date(r.time * 1000).getUTCFullYear()}`, 'receipt-invalid', 'log')
    if (proof) {
      const { origin } = r.log; const seen = (this.state.seen ??= {})
      const leaf = log.verifyProof(proof, this.logVerifiers(origin, r.time))
      need(leaf.index === r.log.index, 'receipt-invalid', 'index')
      const l = log.readLeaf(leaf.leaf)
      need(l.d === digest(utf8(actText)) && l.k === 'act' && l.t === r.time, 'receipt-invalid', 'leaf')
      // A checkpoint covers what was seen before, too: a key that has ended by then cannot sign it any more.
      const last = seen[origin]?.index < leaf.checkpoint.size ? seen[origin] : { index: -1, t: 0 }
      log.verifyCheckpoint(leaf.checkpoint.note, this.logVerifiers(origin, Math.max(last.t, l.t)))
      await this.advance(leaf.checkpoint)
      if (!(seen[origin]?.index >= leaf.index)) seen[origin] = { index: leaf.index, t: l.t }
    }
    return r
  }

  /** Sends an act; verified receipt or the refusal. A final refusal is verified just so. */
  async send (path, body) {
    let answer, failed = null
    try { answer = (await this.call('PUT', path, body)).body } catch (e) { if (!e.body?.receipt) throw e; answer = e.body; failed = e }
    const r = await this.verifyReceipt(body.act, answer.receipt, answer.proof)
    if (failed) { failed.verified = r; throw failed }
    return { receipt: answer.receipt, proof: answer.proof, told: r, act: body.act }
  }
}
