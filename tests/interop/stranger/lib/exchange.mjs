// The exchange's own keys: those of the genesis, and those that follow them.
import { need, PATTERN, members } from './base.mjs'
import { kidOf, SIGN } from './keys.mjs'

const DAY = 86400
const counts = (k, time) => (k.from === null || time >= k.from - 60) && (k.until === null || time < k.until)
export const USES = ['token', 'receipt', 'act', 'log']

export class ExchangeKeys {
  /** keys: what the genesis act lists; they have no beginning. */
  constructor (keys) {
    for (const k of keys) need(USES.includes(k.use) && kidOf(k.jwk) === k.kid, 'key-unsuitable', 'kid')
    this.list = keys.map(k => ({ ...k, from: null, until: null }))
    this.entries = new Map()
    const acts = this.list.filter(k => k.use === 'act')
    need(acts.length && new Set(acts.map(k => k.jwk.alg)).size === acts.length, 'act-schema', 'act keys')
    this.sets = [{ keys: acts, from: null, until: null }]
  }

  /** Takes a key entry that its own key has signed. */
  entry (p, kid, root) {
    need(p.nonce === root, 'possession-not-proved', 'foreign')
    need(p.use === 'act' ? SIGN.includes(p.jwk.alg) : p.jwk.alg === 'Ed25519', 'key-unsuitable', 'use')
    this.entries.set(kid, { use: p.use, kid, jwk: p.jwk })
  }

  /** A rekey act, whose signatures are verified; now: the fold's time at it. */
  rekey (body, now) {
    const { use, kid, replaces, from, until } = members(body, ['use', 'kid', 'replaces', 'from', 'until'], 'act-schema')
    need([kid, replaces].every(k => PATTERN.digest.test(k)) && [from, until].every(Number.isSafeInteger), 'act-schema')
    const held = this.list.filter(k => k.use === use); const next = this.entries.get(kid)
    need(!held.some(k => k.kid === kid), 'key-reused')
    need(next?.use === use, 'key-not-valid', 'no-entry')
    need(!held.some(k => k.from !== null && k.from > now), 'statement-out-of-sequence', 'pending')
    const old = held.find(k => k.kid === replaces && k.until === null)
    need(old, 'statement-out-of-sequence', 'sequence')
    need(next.jwk.alg === old.jwk.alg, 'key-unsuitable', 'algorithm')
    const least = use === 'token' ? 0 : DAY
    need(from - now >= least && from - now <= 90 * DAY && until - from >= least && until - from <= 90 * DAY, 'act-schema', 'out-of-range')
    old.until = until
    this.list.push({ ...next, from, until: null })
    if (use !== 'act') return
    const last = this.sets.at(-1)
    last.until = until
    this.sets.push({ keys: [...last.keys.filter(k => k !== old), this.list.at(-1)], from, until: null })
  }

  /** The set of act keys, one of each algorithm, that these signatures are by; undefined where none counts at that time. */
  acts (kids, time) {
    return this.sets.findLast(s => counts(s, time) && kids.every(kid => s.keys.some(k => k.kid === kid)))?.keys.map(k => k.jwk)
  }

  /** Keys of a use whose signatures count at that time. */
  counting (use, time) { return this.list.filter(k => k.use === use && counts(k, time)) }

  /** Keys of a use that have not ended at that time: of checkpoints only the end counts. */
  standing (use, time) { return this.list.filter(k => k.use === use && (k.until === null || time < k.until)) }

  /** What changed since the genesis: by use, in the order of the log. */
  changed () {
    const uses = USES.filter(u => this.list.some(k => k.use === u && k.from !== null))
    return Object.fromEntries(uses.map(u => [u, this.list.filter(k => k.use === u).map(({ kid, from, until }) => ({ kid, from, until }))]))
  }
}
