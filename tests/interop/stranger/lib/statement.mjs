// What a statement changes, held against the one before it (R-32 b, d, e).
import { same } from './base.mjs'

export const keysOf = c => [c.access, ...c.seal]
const within = (some, all) => some.every(x => all.includes(x))
const byId = (list, id) => list.find(x => x.id === id)
const byKid = (list, kid) => list.find(x => x.kid === kid)

const beside = e => [...e.escalation, e.parent ?? []].flat()
const begins = (o, c) => c.from !== o.from && !(c.from > o.from)

/** R-32 b: whether it adds credentials, keys or rights. */
export function adds (before, body) {
  const rights = (o, c) => (c.keyholder && !o.keyholder) || c.until > o.until || begins(o, c) ||
    (c.require ? !o.require || !within(o.require, c.require) : !within(o.seal, c.seal))
  if (!within(beside(body.entry), beside(before.entry))) return true
  return body.credentials.some(c => {
    const o = byId(before.credentials, c.id)
    return !o || !within(keysOf(c), keysOf(o)) || rights(o, c)
  }) || body.enc.some(e => !(e.until <= byKid(before.enc, e.kid)?.until))
}

/**
 * R-32 d: 'workstations' where it changes nothing but the keys of workstations that the signer `id` keeps, 'own' where its own
 * access and seal keys (too), else null. revoked(kid); keeper(kid): who vouched for an encryption key; algs(credential): what it requires.
 */
export function renews (before, body, id, { revoked, keeper, algs }) {
  const credentials = before.credentials.filter(c => !keysOf(c).some(revoked)); const enc = before.enc.filter(e => !revoked(e.kid))
  const was = byId(credentials, id); const is = byId(body.credentials, id)
  const own = !same(was ?? null, is ?? null)
  if (own && !(was && is && same({ ...is, access: was.access, seal: was.seal }, was) && within(algs(was), algs(is)))) return null
  if (!same([before.entry, credentials], [body.entry, body.credentials.map(c => own && c === is ? was : c)])) return null
  const stations = list => [...new Set(list.map(e => e.station ?? ''))].sort()
  const has = (list, e) => list.some(x => same(x, e))
  const changed = [...enc.filter(e => !has(body.enc, e)), ...body.enc.filter(e => !has(enc, e))]
  if (!same(stations(enc), stations(body.enc)) || !changed.every(e => e.station && keeper(e.kid) === id)) return null
  return own ? 'own' : same(enc, body.enc) ? null : 'workstations'
}

/** R-32 e: whether the entry is as it was, and every credential and encryption key as it was, dropped, or new. */
export function recovers (before, body) {
  return same(before.entry, body.entry) &&
    body.credentials.every(c => same(byId(before.credentials, c.id) ?? c, c)) && body.enc.every(e => same(byKid(before.enc, e.kid) ?? e, e))
}
