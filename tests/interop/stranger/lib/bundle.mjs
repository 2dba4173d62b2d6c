// Sealing and opening (R-20 to R-29, without attachments and forwards).
import { createCipheriv, createDecipheriv, timingSafeEqual } from 'node:crypto'
import { parse, members, need, refuse, b64, unb64, utf8, concat, sha256, digest, hmac256, random, same, now, PATTERN, Refused } from './base.mjs'
import { KEM, hpkeSeal, hpkeOpen, signJws, readJws, verifyJws } from './keys.mjs'

const LADDER = [32, 64, 96, 128, 192, 256, 384, 512].map(k => k * 1024)
const RECIPIENT_INFO = concat('JOSE-HPKE rcpt', [255], 'A256GCM', [255])
export const KINDS = { 'referral-bundle+jws': 'bundle', 'referral-forward+jws': 'forward', 'referral-note+jws': 'note' }
const COMMON = ['v', 't', 'ref', 'iss', 'party', 'aud', 'to', 'sigs', 'hdr', 'keys_log', 'salt', 'iat']
const OWN = { bundle: ['referral', 'attachments'], forward: ['reason', 'prev', 'original'], note: ['note'] }
const MOST = { bundle: 360 * 1024, forward: 512 * 1024, note: 32 * 1024 }
const ROLES = ['action', 'information', 'escalation', 'sender', 'archive']

export const rung = size => LADDER.find(r => size <= r) ?? refuse('too-large')
export function padme (size) {
  const n = Math.max(size, 65536)
  const e = Math.floor(Math.log2(n)); const s = Math.floor(Math.log2(e)) + 1
  const unit = 2 ** (e - s)
  return Math.ceil(n / unit) * unit
}
export const commit = (cek, ref) => hmac256(cek, concat('referral-1/cek-commit', [0], ref, [1]))

/** to: [{party, kid, role, jwk}]; own: the members of the contents beside the common ones. */
export async function seal ({ cty, ref, iss, party, aud, to, signers, keysLog, own, iat = now() }) {
  const cek = random(32)
  const list = to.map(({ party, kid, role }) => ({ party, kid, role }))
  const aad = utf8(JSON.stringify({ v: 1, ref, from: party, to: list, kc: b64(commit(cek, ref)), att: [] }))
  const contents = { v: 1, t: KINDS[cty], ref, iss, party, aud, to: list, sigs: signers.map(k => k.jwk.alg), hdr: digest(aad), keys_log: keysLog, salt: b64(random(16)), iat, ...own }
  const jws = signJws(cty, contents, signers)
  need(utf8(jws).length <= MOST[contents.t], 'too-large')
  const plain = Buffer.alloc(rung(utf8(jws).length), 0x20); plain.write(jws, 'utf8')
  const recipients = []
  for (const r of to) {
    const { ek, ct } = await hpkeSeal(r.jwk, RECIPIENT_INFO, cek)
    recipients.push({ header: { alg: r.jwk.alg, kid: r.kid, ek: b64(ek) }, encrypted_key: b64(ct) })
  }
  const prot = b64(utf8(JSON.stringify({ enc: 'A256GCM', typ: 'referral-bundle+jwe', cty })))
  const iv = random(12)
  const c = createCipheriv('aes-256-gcm', cek, iv)
  c.setAAD(utf8(prot + '.' + b64(aad)))
  const ciphertext = concat(c.update(plain), c.final())
  const text = JSON.stringify({ protected: prot, aad: b64(aad), recipients, iv: b64(iv), ciphertext: b64(ciphertext), tag: b64(c.getAuthTag()) })
  need(text.length <= 1048576, 'too-large')
  return { text, sha256: digest(utf8(text)), size: utf8(text).length }
}

/** What everybody may read and check of an envelope. */
export function envelope (bytes) {
  bytes = Buffer.isBuffer(bytes) ? bytes : utf8(bytes)
  need(bytes.length <= 1048576, 'too-large')
  const M = 'bundle-malformed'
  const j = members(parse(bytes, M), ['protected', 'aad', 'recipients', 'iv', 'ciphertext', 'tag'], M)
  const prot = parse(unb64(j.protected, M), M)
  members(prot, ['enc', 'typ', 'cty'], M, 'protected')
  need(prot.enc === 'A256GCM' && Object.hasOwn(KINDS, prot.cty), M, 'protected')
  need(prot.typ === 'referral-bundle+jwe', 'wrong-type')
  need(Array.isArray(j.recipients) && j.recipients.length >= 1 && j.recipients.length <= 64, M, 'recipients')
  for (const r of j.recipients) need(typeof r?.header?.alg !== 'string' || Object.hasOwn(KEM, r.header.alg), 'classical-recipient')
  const recipients = j.recipients.map(r => {
    members(r, ['header', 'encrypted_key'], M, 'recipients')
    members(r.header, ['alg', 'kid', 'ek'], M, 'recipients')
    need(PATTERN.digest.test(r.header.kid), M, 'recipients')
    const ek = unb64(r.header.ek, M); const key = unb64(r.encrypted_key, M)
    need(typeof r.header.alg === 'string' && ek.length === KEM[r.header.alg].ek && key.length === 48, M, 'length')
    return { alg: r.header.alg, kid: r.header.kid, ek, key }
  })
  const iv = unb64(j.iv, M); const tag = unb64(j.tag, M); const ciphertext = unb64(j.ciphertext, M)
  need(iv.length === 12 && tag.length === 16, M, 'length')
  need(LADDER.includes(ciphertext.length), M, 'padding')
  const aad = unb64(j.aad, M)
  const h = members(parse(aad, M), ['v', 'ref', 'from', 'to', 'kc', 'att'], M, 'routing')
  need(h.v === 1 && PATTERN.ref.test(h.ref) && PATTERN.party.test(h.from) && PATTERN.digest.test(h.kc) && Array.isArray(h.to) && h.to.length >= 1 && h.to.length <= 64 && Array.isArray(h.att), M, 'routing')
  const roles = new Map()
  for (const t of h.to) {
    members(t, ['party', 'kid', 'role'], M, 'routing')
    need(PATTERN.party.test(t.party) && PATTERN.digest.test(t.kid) && ROLES.includes(t.role), M, 'routing')
    const own = t.role === 'sender' || t.role === 'archive'
    need(own === (t.party === h.from), M, 'routing')
    if (!own) { need((roles.get(t.party) ?? t.role) === t.role, M, 'routing'); roles.set(t.party, t.role) }
  }
  need(h.to.length === recipients.length && h.to.every((t, i) => t.kid === recipients[i].kid), 'recipient-mismatch', 'routing')
  need(new Set(h.to.map(t => t.kid)).size === h.to.length, 'recipient-mismatch', 'duplicate')
  return { bytes, sha256: digest(bytes), cty: prot.cty, recipients, iv, tag, ciphertext, aad, routing: h, gcmAad: utf8(j.protected + '.' + j.aad) }
}

/** privs: own keys; sender(iss, iat) gives {keys, required}. */
export async function open (bytes, privs, sender, { schema = true } = {}) {
  const e = envelope(bytes)
  const mine = e.recipients.map(r => [r, privs.find(p => p.kid === r.kid)]).find(([, p]) => p) ?? refuse('not-for-me')
  need(mine[1].jwk.alg === mine[0].alg, 'decrypt-failed')
  const cek = await hpkeOpen(mine[0].alg, unb64(mine[1].secret), RECIPIENT_INFO, mine[0].ek, mine[0].key)
  need(cek.length === 32 && timingSafeEqual(commit(cek, e.routing.ref), unb64(e.routing.kc)), 'decrypt-failed')
  let plain
  try {
    const d = createDecipheriv('aes-256-gcm', cek, e.iv); d.setAAD(e.gcmAad); d.setAuthTag(e.tag)
    plain = concat(d.update(e.ciphertext), d.final())
  } catch { refuse('decrypt-failed') }
  let end = plain.length
  while (end && plain[end - 1] === 0x20) end--
  const document = await verifyDocument(plain.subarray(0, end), e.cty, sender)
  const { p } = document; const h = e.routing
  need(p.party === h.from, 'signature-invalid', 'sender')
  need(same(p.to, h.to), 'recipient-mismatch', 'signed')
  need(p.hdr === digest(e.aad), 'digest-mismatch', 'header')
  need(p.ref === h.ref, 'digest-mismatch', 'ref')
  if (p.t === 'bundle') need(same(p.attachments.map(a => a.id), h.att.map(a => a.id)), 'digest-mismatch', 'attachments')
  return { envelope: e, document, referral: p.referral, note: p.note, contents: p }
}

async function verifyDocument (bytes, cty, sender) {
  const inM = f => { try { return f() } catch (x) { if (x.code === 'malformed') refuse('bundle-malformed', x.reason); throw x } }
  let text
  try { text = new TextDecoder('utf-8', { fatal: true }).decode(bytes) } catch { refuse('bundle-malformed', 'not-utf8') }
  const j = inM(() => readJws(text, cty))
  const p = parse(j.bytes, 'bundle-malformed')
  need(p && typeof p === 'object' && !Array.isArray(p), 'bundle-malformed', 'contents')
  const kind = KINDS[cty]
  members(p, [...COMMON, ...OWN[kind]], 'bundle-malformed', 'contents')
  need(p.v === 1 && p.t === kind && PATTERN.credential.test(p.iss), 'bundle-malformed', 'contents')
  need(p.iss.split('.')[0] === p.party, 'signature-invalid', 'sender')
  const { keys, required } = await sender(p.iss, p.iat, j.heads.map(h => h.kid))
  need(same([...p.sigs].sort(), j.heads.map(h => h.alg).sort()), 'signature-invalid', 'undeclared')
  verifyJws(text, cty, keys, required)
  return { ...j, text, p }
}
