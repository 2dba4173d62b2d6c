// What a statement changes, held against the one before it (R-32 b, d, e).
import { same } from './base.mjs'

export const keysOf = c => [c.access, ...c.seal]
const required = c => (c.require ?? c.seal).length
/** Where an encryption key is: its workstation, or without one the key itself. */
const place = e => `${e.use}:${e.station ?? e.kid}`
const byId = (list, id) => list.find(x => x.id === id)
const byKid = (list, kid) => list.find(x => x.kid === kid)

/** R-32 b: whether it adds credentials, keys or rights. */
export function adds (before, body) {
  return body.credentials.some(c => {
    const o = byId(before.credentials, c.id)
    return !o || keysOf(c).some(k => !keysOf(o).includes(k)) || (c.keyholder && !o.keyholder) || c.until > o.until || (c.from ?? 0) < (o.from ?? 0) || required(c) < required(o)
  }) || body.enc.some(e => { const o = byKid(before.enc, e.kid); return !o || e.until > o.until || e.from < o.from })
}

/**
 * R-32 d: 'workstations' where it changes nothing but the keys of workstations that the signer keeps, 'own' where its own
 * access and seal keys too, else null. revoked(kid); keeper(kid): the credential that vouched for an encryption key.
 */
export function renews (before, body, id, { revoked, keeper, me }) {
  if (!same(before.entry, body.entry)) return null
  const staying = before.credentials.filter(c => !keysOf(c).some(revoked))
  if (staying.length !== body.credentials.length) return null
  let own = false
  for (const o of staying) {
    const c = byId(body.credentials, o.id)
    if (same(c ?? null, o)) continue
    const rest = ({ access, seal, require, ...r }) => r
    if (!c || c.id !== id || !same(rest(c), rest(o)) || required(c) < required(o)) return null
    own = true
  }
  let stations = false
  for (const p of new Set([...before.enc, ...body.enc].map(place))) {
    const [was, is] = [before, body].map(b => b.enc.filter(e => place(e) === p))
    const left = was.filter(e => !revoked(e.kid))
    if (same(sorted(left), sorted(is))) continue
    if (p.startsWith('backup:') || !was.length || (left.length && !is.length) || ![...was, ...is].every(e => keeper(e.kid) === me)) return null
    stations = true
  }
  return own ? 'own' : stations ? 'workstations' : null
}
const sorted = list => [...list].sort((a, b) => a.kid < b.kid ? -1 : 1)

/** R-32 e: whether the entry is as it was, and every credential and encryption key as it was, dropped, or new. */
export function recovers (before, body) {
  return same(before.entry, body.entry) &&
    body.credentials.every(c => same(byId(before.credentials, c.id) ?? c, c)) && body.enc.every(e => same(byKid(before.enc, e.kid) ?? e, e))
}
