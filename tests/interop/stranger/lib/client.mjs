// The hotline's and the unit's moves.
import { b64, unb64, utf8, digest, uuid4, uuid7, now, parse, need, refuse, same, members, PATTERN } from './base.mjs'
import { Api } from './api.mjs'
import { actJws } from './enrol.mjs'
import { seal, open, envelope } from './bundle.mjs'
import { readJws } from './keys.mjs'

export class Party {
  constructor (profile, who = 0) {
    this.profile = profile
    this.party = profile.party
    this.me = profile.credentials[who]
    profile.state ??= { root: profile.root, checkpoints: {}, leaves: [] }
    this.api = new Api(profile.exchange, this.me, profile.state, profile.server)
  }

  #keysOf (party, role) {
    const list = this.api.map.sealable(party, now())
    need(list.length, 'no-key', party)
    return list.map(e => ({ party, kid: e.kid, role, jwk: this.api.map.keys.get(e.kid).jwk }))
  }

  /** Remembers what the exchange has given a receipt of acceptance for: no later view may lack it. */
  #keep (ref, answer) {
    ((this.profile.accepted ??= {})[ref] ??= []).push(answer.told.act)
    return answer
  }

  #act (act, o) { return actJws(this.me, act, { aud: this.profile.exchange, ...o }) }
  sender (at = now()) {
    return (iss, iat, kids) => { const { keys, require } = this.api.map.takenKeys(iss, iat, at, kids); return { keys, required: require } }
  }

  // --- hotline ---
  async submit (body, to, options = {}) {
    await this.api.follow()
    const ref = uuid7(); const iat = now()
    const recipients = [...to.flatMap(t => this.#keysOf(t.unit, t.role)), ...this.#keysOf(this.party, 'sender')]
    const sealed = await seal({ cty: 'referral-bundle+jws', ref, iss: this.me.id, party: this.party, aud: this.profile.exchange, to: recipients, signers: this.me.seal, keysLog: this.api.keysLog, own: { referral: body, attachments: [] }, iat })
    const act = this.#act('submit', {
      ref, iat, body: {
        bundle: { sha256: sealed.sha256, size: sealed.size }, to, urgency: body.urgency, basis: body.consent.basis, identity_level: body.consent.identity_level, retention_class: 'standard', created_at: iat, ...options
      }
    })
    const request = { act, bundle: sealed.text }
    return { ref, request, digest: readJws(act, 'referral-act+jws').digest, ...this.#keep(ref, await this.api.send(`/v1/referrals/${ref}`, request)) }
  }

  // --- unit ---
  async inbox (after = null, query = '') {
    const r = await this.api.call('GET', `/v1/inbox?limit=50${after ? '&after=' + after : ''}${query}`)
    return r.body
  }

  /** The acts of a referral as this party may see them, all verified. */
  async view (ref) {
    const v = (await this.api.call('GET', `/v1/referrals/${ref}`)).body
    need(v.ref === ref, 'view-invalid', 'ref')
    await this.api.follow()
    const acts = []
    let place = [0, -1]
    for (const a of v.acts) {
      const d = readJws(a.act, 'referral-act+jws').digest
      const fresh = (await this.api.call('GET', `/v1/receipts/${d}`)).body
      need(fresh.receipt === a.receipt, 'view-invalid', 'another receipt')
      const receipt = await this.api.verifyReceipt(a.act, a.receipt, fresh.proof)
      const act = this.api.map.verifyAct(a.act, receipt.time)
      need(act.ref === ref && receipt.log.index === a.index && new Date(receipt.time * 1000).getUTCFullYear() === a.year, 'view-invalid', 'place')
      need(a.year > place[0] || (a.year === place[0] && a.index > place[1]), 'view-invalid', 'order')
      place = [a.year, a.index]
      acts.push({ ...act, text: a.act, receipt, sealed: a.sealed })
    }
    for (const d of this.profile.accepted?.[ref] ?? []) need(acts.some(a => a.digest === d), 'alarm', 'an act with a receipt is missing')
    this.#fold(v, acts)
    return { ...v, acts }
  }

  /** The part of the lifecycle that protocol.md itself tells. */
  #fold (v, acts) {
    const state = new Map(); const head = new Map()
    const steps = [...acts.map(a => ({ at: [a.receipt.time, a.receipt.log.index], a })), ...v.records.map(r => ({ at: [r.time, r.index], r }))]
    steps.sort((x, y) => x.at[0] - y.at[0] || x.at[1] - y.at[1])
    const next = { ack: 'acknowledged', accept: 'accepted' }
    for (const { a, r } of steps) {
      if (r) { if (r.kind === 'retrieved' && state.get(r.unit) === 'submitted') state.set(r.unit, 'retrieved'); continue }
      if (a.receipt.outcome !== 'accepted') continue
      if (a.act === 'submit') for (const t of a.body.to) { if (t.role !== 'escalation') state.set(t.unit, 'submitted'); else state.set(t.unit, 'held'); head.set(t.unit, a.digest) }
      else if (a.unit) { if (next[a.act]) state.set(a.unit, next[a.act]); if (a.party !== 'exchange') head.set(a.unit, a.digest) }
      for (const s of a.receipt.states) need(!state.has(s.unit) || (state.get(s.unit) === s.state && head.get(s.unit) === s.head), 'view-invalid', `state of ${s.unit}: ${state.get(s.unit)} against ${s.state}`)
    }
    for (const d of v.deliveries) need(state.get(d.unit) === d.state && head.get(d.unit) === d.head, 'view-invalid', `delivery ${d.unit}: ${state.get(d.unit)} against ${d.state}`)
  }

  async fetchBundle (ref) { return (await this.api.call('GET', `/v1/referrals/${ref}/bundle`, null, { Accept: 'application/jose+json' })).raw }

  /** Opens a bundle and holds it against the act that brought it. */
  async open (bytes, view) {
    const r = await open(bytes, this.profile.enc, this.sender(view.acts[0].receipt.time))
    await this.api.checkKeysLog(r.contents.keys_log)
    const submit = view.acts.find(a => a.act === 'submit')
    need(submit?.body.bundle.sha256 === r.envelope.sha256 && submit.body.bundle.size === bytes.length, 'digest-mismatch', 'submit')
    const units = r.envelope.routing.to.filter(t => t.party !== submit.party)
    need(r.contents.ref === submit.ref && r.contents.party === submit.party && r.contents.aud === this.profile.exchange, 'digest-mismatch', 'ref')
    need(same([...new Set(units.map(t => t.party + ' ' + t.role))].sort(), submit.body.to.map(t => t.unit + ' ' + t.role).sort()), 'recipient-mismatch', 'act')
    const b = r.referral
    need(b.urgency === submit.body.urgency && b.consent.basis === submit.body.basis && b.consent.identity_level === submit.body.identity_level, 'digest-mismatch', 'body and act')
    return { ...r, submit: submit.digest }
  }

  async note (ref, act, to, note) {
    const recipients = [...this.#keysOf(to, 'information'), ...this.#keysOf(this.party, 'sender')]
    return seal({ cty: 'referral-note+jws', ref, iss: this.me.id, party: this.party, aud: this.profile.exchange, to: recipients, signers: this.me.seal, keysLog: this.api.keysLog, own: { note: { act, ...note } } })
  }

  /** Any later act; words are sealed for the other party. */
  async act (ref, act, { unit, prev, body = {}, words = null, wordsTo = null }) {
    const id = uuid4()
    let sealed = null
    if (words) { sealed = await this.note(ref, id, wordsTo, words); body = { ...body, sealed: { sha256: sealed.sha256, size: sealed.size } } }
    const text = this.#act(act, { ref, unit, prev, id, body })
    const request = { act: text, ...(sealed ? { sealed: sealed.text } : {}) }
    const out = this.#keep(ref, await this.api.send(`/v1/referrals/${ref}/acts/${id}`, request))
    return { ...out, digest: readJws(text, 'referral-act+jws').digest, id, request }
  }

  async openSealed (ref, act) {
    const raw = (await this.api.call('GET', `/v1/referrals/${ref}/sealed/${act.digest}`, null, { Accept: 'application/jose+json' })).raw
    need(digest(raw) === act.body.sealed.sha256 && raw.length === act.body.sealed.size, 'digest-mismatch', 'sealed')
    const r = await open(raw, this.profile.enc, this.sender(act.receipt.time))
    await this.api.checkKeysLog(r.contents.keys_log)
    need(r.envelope.routing.ref === ref && r.contents.party === act.party && r.note.act === act.id, 'digest-mismatch', 'note')
    return r.note
  }
}
