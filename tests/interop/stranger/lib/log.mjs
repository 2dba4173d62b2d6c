// Transparency logs: RFC 6962 hashing, proofs, checkpoints, tiles (§10).
import { createPublicKey, verify } from 'node:crypto'
import { sha256, concat, utf8, b64, unb64, unb64std, need, refuse, Refused, parse, PATTERN } from './base.mjs'

export const leafHash = leaf => sha256(concat([0], leaf))
const node = (a, b) => sha256(concat([1], a, b))
const eq = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)) === 0
export const EMPTY = sha256(Buffer.alloc(0))

/** Root over leaf hashes. */
export function root (hashes) {
  if (hashes.length === 0) return EMPTY
  if (hashes.length === 1) return hashes[0]
  let k = 1
  while (k * 2 < hashes.length) k *= 2
  return node(root(hashes.slice(0, k)), root(hashes.slice(k)))
}
export function verifyInclusion (index, size, hash, proof, rootHash) {
  const bad = () => refuse('not-included')
  if (!(index >= 0 && index < size) || proof.some(p => p.length !== 32)) bad()
  let fn = BigInt(index); let sn = BigInt(size) - 1n; let r = hash
  for (const p of proof) {
    if (sn === 0n) bad()
    if ((fn & 1n) || fn === sn) {
      r = node(p, r)
      while (!(fn & 1n) && fn !== 0n) { fn >>= 1n; sn >>= 1n }
    } else r = node(r, p)
    fn >>= 1n; sn >>= 1n
  }
  if (sn !== 0n || !eq(r, rootHash)) bad()
}
export function verifyConsistency (m, n, oldRoot, newRoot, proof) {
  const bad = () => refuse('inconsistent')
  if (m > n || proof.some(p => p.length !== 32)) bad()
  if (m === 0) { if (proof.length || !eq(oldRoot, EMPTY)) bad(); return }
  if (m === n) { if (proof.length || !eq(oldRoot, newRoot)) bad(); return }
  let fn = BigInt(m) - 1n; let sn = BigInt(n) - 1n
  const path = [...proof]
  while (fn & 1n) { fn >>= 1n; sn >>= 1n }
  let fr, sr
  if (fn === 0n) fr = sr = oldRoot // m is a power of two: its root is not sent
  else { if (!path.length) bad(); fr = sr = path.shift() }
  for (const c of path) {
    if (sn === 0n) bad()
    if ((fn & 1n) || fn === sn) {
      fr = node(c, fr); sr = node(c, sr)
      while (!(fn & 1n) && fn !== 0n) { fn >>= 1n; sn >>= 1n }
    } else sr = node(sr, c)
    fn >>= 1n; sn >>= 1n
  }
  if (sn !== 0n || !eq(fr, oldRoot) || !eq(sr, newRoot)) bad()
}

/** Verifier of an Ed25519 log key under an origin (C2SP signed-note, type 0x01); counts: its line is enough. */
export function verifier (origin, x, counts = true) {
  const key = concat([1], x)
  return { name: origin, id: sha256(concat(origin, '\n', key)).subarray(0, 4), key: x, counts }
}
export function readVkey (text) {
  const [, name, id, key] = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/.exec(text) ?? refuse('malformed', 'vkey')
  const raw = unb64std(key)
  need(raw[0] === 1, 'malformed', 'vkey type')
  const v = verifier(name, raw.subarray(1))
  need(v.id.toString('hex') === id, 'malformed', 'vkey id')
  return v
}
const edVerify = (x, data, sig) => {
  try { return verify(null, data, createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: b64(x) }, format: 'jwk' }), sig) } catch { return false }
}
/** A checkpoint: {origin, size, root}; a line of a key that counts must be there, and every line of the log's keys be good. */
export function verifyCheckpoint (note, logs) {
  need(!/[\r\t]/.test(note) && note.endsWith('\n'), 'malformed', 'checkpoint')
  const cut = note.indexOf('\n\n')
  need(cut > 0, 'malformed', 'checkpoint')
  const body = note.slice(0, cut + 1)
  const lines = body.slice(0, -1).split('\n')
  need(lines.length === 3 && lines.every(l => l && l === l.trim()), 'malformed', 'checkpoint lines')
  const [origin, size, rootText] = lines
  need(/^(?:0|[1-9][0-9]*)$/.test(size) && BigInt(size) < 1n << 63n, 'malformed', 'size')
  const rootHash = unb64std(rootText)
  need(rootHash.length === 32, 'malformed', 'root')
  need(size !== '0' || eq(rootHash, EMPTY), 'malformed', 'empty root')
  const sigs = note.slice(cut + 2, -1).split('\n')
  need(sigs.length >= 1 && sigs[0] !== '', 'malformed', 'signatures')
  const parsed = sigs.map(line => {
    const m = /^— (\S+) (\S+)$/u.exec(line) ?? refuse('malformed', 'signature line')
    const raw = unb64std(m[2])
    need(raw.length > 4, 'malformed', 'signature')
    return { name: m[1], id: raw.subarray(0, 4), sig: raw.subarray(4) }
  })
  const mine = [logs].flat().flatMap(log => {
    need(origin === log.name, 'wrong-origin')
    const lines = parsed.filter(s => s.name === log.name && eq(s.id, log.id))
    need(lines.every(s => edVerify(log.key, utf8(body), s.sig)), 'signature-invalid', 'checkpoint')
    return lines.map(() => log)
  })
  need(mine.length, 'signature-invalid', 'unknown-key')
  need(mine.some(log => log.counts), 'signature-invalid', 'ended')
  return { origin, size: Number(size), root: rootHash, note }
}
/** A C2SP tlog-proof: {index, extra, checkpoint}; leaf null takes the leaf of the extra line. */
export function verifyProof (text, logs, leaf = null) {
  need(typeof text === 'string' && !text.includes('\r'), 'malformed', 'proof')
  const cut = text.indexOf('\n\n')
  need(cut > 0, 'malformed', 'proof')
  const lines = text.slice(0, cut).split('\n')
  need(lines.shift() === 'c2sp.org/tlog-proof@v1', 'malformed', 'version')
  let extra = null
  if (lines[0]?.startsWith('extra ')) extra = unb64std(lines.shift().slice(6))
  const m = /^index (0|[1-9][0-9]*)$/.exec(lines.shift() ?? '') ?? refuse('malformed', 'index')
  const path = lines.map(l => { const h = unb64std(l); need(h.length === 32, 'malformed', 'hash'); return h })
  const checkpoint = verifyCheckpoint(text.slice(cut + 2), logs)
  const body = leaf ?? extra ?? refuse('malformed', 'no leaf')
  verifyInclusion(Number(m[1]), checkpoint.size, leafHash(body), path, checkpoint.root)
  return { index: Number(m[1]), extra, checkpoint, leaf: body }
}
/** A leaf of the audit log, exactly in canonical form. */
export function readLeaf (bytes) {
  const text = Buffer.from(bytes).toString('latin1')
  const m = /^\{"d":"([A-Za-z0-9_-]{43})","k":"(act|server|access|system|erase)","t":(0|[1-9][0-9]{0,15}),"v":1\}$/.exec(text) ?? refuse('malformed', 'leaf')
  need(PATTERN.digest.test(m[1]) && Number.isSafeInteger(Number(m[3])), 'malformed', 'leaf')
  return { d: m[1], k: m[2], t: Number(m[3]) }
}
export function tilePath (level, n, width) {
  let s = String(n % 1000).padStart(3, '0')
  for (n = Math.floor(n / 1000); n; n = Math.floor(n / 1000)) s = 'x' + String(n % 1000).padStart(3, '0') + '/' + s
  return `tile/${level}/${s}${width < 256 ? '.p/' + width : ''}`
}
export function tileExists (path, size) { // for the vectors
  const m = /^tile\/(0|[1-9]|[1-5][0-9]|6[0-3]|entries)\/((?:x[0-9]{3}\/)*)([0-9]{3})(?:\.p\/([1-9][0-9]{0,2}))?$/.exec(path)
  if (!m) return false
  const n = Number(m[2].replace(/[x/]/g, '') + m[3])
  const level = m[1] === 'entries' ? 0 : Number(m[1])
  if (level > 6 || tilePath(m[1], n, m[4] ? Number(m[4]) : 256) !== path) return false
  const total = Math.floor(size / 256 ** level)
  const have = Math.min(256, total - n * 256)
  return m[4] ? Number(m[4]) <= have && Number(m[4]) < 256 : have === 256
}
export function entries (bytes) { // an entry bundle: 16-bit big-endian length before each
  const out = []
  for (let i = 0; i < bytes.length;) {
    need(i + 2 <= bytes.length, 'malformed', 'entries')
    const n = bytes.readUInt16BE(i)
    need(i + 2 + n <= bytes.length, 'malformed', 'entries')
    out.push(bytes.subarray(i + 2, i + 2 + n)); i += 2 + n
  }
  return out
}
