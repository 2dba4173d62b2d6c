// Profile `referral-1` over jose, hpke and noble: what a vendor in another language has to write.

import { createCipheriv, createDecipheriv, createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import * as jose from 'jose'
import * as HPKE from 'hpke'
import { AEAD_AES_256_GCM, KDF_SHAKE256, KEM_MLKEM1024_P384, KEM_MLKEM768_X25519 } from '@panva/hpke-noble'
import { ml_kem1024_p384, ml_kem768_x25519 } from '@noble/post-quantum/hybrid.js'
import { ml_dsa65 } from '@noble/post-quantum/ml-dsa.js'
import { Refused, b64u, parse, unb64u } from './strict.mjs'

const KIB = 1024
const LADDER = [32, 64, 96, 128, 192, 256, 384, 512].map((step) => step * KIB)
const EK_BYTES = { 'HPKE-9-KE': 1120, 'HPKE-10-KE': 1665 }
const PUB_BYTES = { 'HPKE-9-KE': 1216, 'HPKE-10-KE': 1665, 'ML-DSA-65': 1952 }
const SIGNATURE_BYTES = { Ed25519: 64, ES256: 64, 'ML-DSA-65': 3309 }
const RECIPIENT_INFO = Buffer.concat([Buffer.from('JOSE-HPKE rcpt'), Buffer.of(0xff), Buffer.from('A256GCM'), Buffer.of(0xff)])
const POSSESSION_INFO = Buffer.from('referral-1/possession')
const MAX_JWS = { 'referral-bundle+jws': 360 * KIB, 'referral-forward+jws': 512 * KIB, 'referral-note+jws': 32 * KIB }
const SUITES = {
  'HPKE-9-KE': new HPKE.CipherSuite(KEM_MLKEM768_X25519, KDF_SHAKE256, AEAD_AES_256_GCM),
  'HPKE-10-KE': new HPKE.CipherSuite(KEM_MLKEM1024_P384, KDF_SHAKE256, AEAD_AES_256_GCM),
}

const bytes = (text) => new TextEncoder().encode(text)
const exactly = (object, ...names) =>
  object !== null && typeof object === 'object' && !Array.isArray(object) &&
  Object.keys(object).sort().join() === [...names].sort().join()
const sha256 = (data) => createHash('sha256').update(data).digest('base64url')


export async function thumbprint(jwk) {
  const members = { OKP: ['crv', 'kty', 'x'], EC: ['crv', 'kty', 'x', 'y'], AKP: ['alg', 'kty', 'pub'] }[jwk.kty]
  const own = sha256(JSON.stringify(Object.fromEntries(members.map((name) => [name, jwk[name]]))))
  if (own !== (await jose.calculateJwkThumbprint(jwk))) throw new Error('jose computes another thumbprint')
  return own
}

export async function checkKey(jwk) {
  const forms = {
    Ed25519: { kty: 'OKP', crv: 'Ed25519', names: ['alg', 'crv', 'kty', 'x'] },
    ES256: { kty: 'EC', crv: 'P-256', names: ['alg', 'crv', 'kty', 'x', 'y'] },
  }
  const form = forms[jwk.alg] ?? (PUB_BYTES[jwk.alg] && { kty: 'AKP', names: ['alg', 'kty', 'pub'] })
  if (!form || !exactly(jwk, ...form.names) || jwk.kty !== form.kty || jwk.crv !== form.crv) throw new Refused('key-unsuitable')
  for (const name of ['x', 'y', 'pub'].filter((member) => member in jwk)) {
    try {
      unb64u(jwk[name], PUB_BYTES[jwk.alg] ?? 32)
    } catch {
      throw new Refused('key-unsuitable')
    }
  }
  return thumbprint(jwk)
}

export function publicOf(alg, seed) {
  const kem = alg === 'HPKE-9-KE' ? ml_kem768_x25519 : ml_kem1024_p384
  return { alg, kty: 'AKP', pub: b64u(kem.keygen(seed).publicKey) }
}


export function readJws(raw, typ, maxBytes) {
  if (raw.length > maxBytes) throw new Refused('too-large')
  const document = parse(raw)
  if (!exactly(document, 'payload', 'signatures') || !Array.isArray(document.signatures)) throw new Refused('malformed', 'members')
  if (document.signatures.length < 1 || document.signatures.length > 2) throw new Refused('malformed', 'signatures')
  const signatures = document.signatures.map((entry) => {
    if (!exactly(entry, 'protected', 'signature')) throw new Refused('malformed', 'members')
    if (entry.protected.length > 1366) throw new Refused('malformed', 'header')
    const header = parse(unb64u(entry.protected))
    if (!exactly(header, 'alg', 'kid', 'typ')) throw new Refused('malformed', 'header')
    if (!(header.alg in SIGNATURE_BYTES)) throw new Refused('malformed', 'algorithm')
    try {
      unb64u(header.kid, 32)
    } catch {
      throw new Refused('malformed', 'header')
    }
    if (header.typ !== typ) throw new Refused('wrong-type')
    unb64u(entry.signature, SIGNATURE_BYTES[header.alg])
    return { ...header, ...entry }
  })
  if (new Set(signatures.map((s) => s.alg)).size !== signatures.length) throw new Refused('malformed', 'signatures')
  return { payload: unb64u(document.payload), payloadText: document.payload, signatures }
}

export async function verifyJws(jws, keys, required) {
  const forged = (reason) => new Refused('signature-invalid', reason)
  for (const alg of required) if (!jws.signatures.some((s) => s.alg === alg)) throw forged('required')
  const known = new Map(await Promise.all(keys.map(async (jwk) => [await checkKey(jwk), jwk])))
  for (const one of jws.signatures) {
    const jwk = known.get(one.kid)
    if (!jwk) throw forged('unknown-key')
    if (jwk.alg !== one.alg) throw forged('algorithm')
    if (one.alg === 'ML-DSA-65') {
      const input = bytes(`${one.protected}.${jws.payloadText}`)
      if (!ml_dsa65.verify(unb64u(one.signature), input, unb64u(jwk.pub))) throw forged('forged')
    } else {
      const key = await jose.importJWK(jwk, one.alg)
      await jose
        .flattenedVerify({ protected: one.protected, payload: jws.payloadText, signature: one.signature }, key, { algorithms: [one.alg] })
        .catch(() => { throw forged('forged') })
    }
  }
  return jws.payload
}

async function sign(payload, typ, signers) {
  const signatures = []
  for (const { jwk, seed } of signers) {
    const header = { alg: jwk.alg, kid: await thumbprint(jwk), typ }
    if (jwk.alg === 'ML-DSA-65') {
      const head = b64u(bytes(JSON.stringify(header)))
      const { secretKey } = ml_dsa65.keygen(unb64u(seed))
      signatures.push({ protected: head, signature: b64u(ml_dsa65.sign(bytes(`${head}.${b64u(payload)}`), secretKey)) })
    } else {
      const key = await jose.importJWK({ ...jwk, d: seed }, jwk.alg)
      const made = await new jose.FlattenedSign(payload).setProtectedHeader(header).sign(key)
      signatures.push({ protected: made.protected, signature: made.signature })
    }
  }
  return bytes(JSON.stringify({ payload: b64u(payload), signatures }))
}


export const commitment = (cek, ref) =>
  createHmac('sha256', cek).update(`referral-1/cek-commit\0${ref}\x01`, 'latin1').digest()

export async function answerChallenge(alg, seed, sealed) {
  return decapsulate(alg, seed, sealed, POSSESSION_INFO)
}

async function decapsulate(alg, seed, sealed, info) {
  const suite = SUITES[alg]
  try {
    const key = await suite.DeserializePrivateKey(seed, false)
    return await suite.Open(key, sealed.subarray(0, EK_BYTES[alg]), sealed.subarray(EK_BYTES[alg]), { info })
  } catch {
    throw new Refused('decrypt-failed')
  }
}

export function readEnvelope(raw) {
  const bad = (reason) => new Refused('bundle-malformed', reason)
  if (raw.length > KIB * KIB) throw new Refused('too-large')
  let document, protectedHeader, routing
  const sizes = {}
  try {
    document = parse(raw)
    if (!exactly(document, 'protected', 'aad', 'recipients', 'iv', 'ciphertext', 'tag')) throw bad('members')
    protectedHeader = parse(unb64u(document.protected))
    routing = parse(unb64u(document.aad))
    unb64u(document.iv, 12)
    unb64u(document.tag, 16)
    sizes.ciphertext = unb64u(document.ciphertext).length
  } catch (error) {
    throw error instanceof Refused && error.code === 'malformed' ? bad(error.reason) : error
  }
  if (!exactly(protectedHeader, 'enc', 'typ', 'cty') || protectedHeader.enc !== 'A256GCM') throw bad('protected')
  if (protectedHeader.typ !== 'referral-bundle+jwe') throw new Refused('wrong-type')
  if (!(protectedHeader.cty in MAX_JWS)) throw bad('protected')
  checkRecipients(document.recipients, bad)
  checkRouting(routing, bad)
  const actual = document.recipients.map((r) => r.header.kid)
  if (actual.join() !== routing.to.map((to) => to.kid).join()) throw new Refused('recipient-mismatch', 'routing')
  if (!LADDER.includes(sizes.ciphertext)) throw bad('padding')
  return { document, cty: protectedHeader.cty, routing }
}

function checkRecipients(recipients, bad) {
  if (!Array.isArray(recipients) || recipients.length < 1 || recipients.length > 64) throw bad('recipients')
  for (const one of recipients) {
    if (!exactly(one, 'header', 'encrypted_key') || typeof one.header !== 'object') throw bad('recipients')
    if (!(one.header.alg in EK_BYTES)) throw new Refused('classical-recipient')
    if (!exactly(one.header, 'alg', 'kid', 'ek')) throw bad('recipients')
    const length = (text) => {
      try {
        return unb64u(text).length
      } catch {
        throw bad('base64url')
      }
    }
    if (length(one.header.ek) !== EK_BYTES[one.header.alg] || length(one.encrypted_key) !== 48) throw bad('length')
  }
}

function checkRouting(routing, bad) {
  const uuid7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
  const party = /^[a-z][a-z0-9-]{1,39}$/
  if (!exactly(routing, 'v', 'ref', 'from', 'to', 'kc', 'att') || routing.v !== 1) throw bad('routing')
  if (!uuid7.test(routing.ref) || !party.test(routing.from)) throw bad('routing')
  if (!Array.isArray(routing.to) || routing.to.length < 1 || routing.to.length > 64) throw bad('routing')
  for (const to of routing.to) {
    if (!exactly(to, 'party', 'kid', 'role') || !party.test(to.party)) throw bad('routing')
    if (!['action', 'information', 'escalation', 'sender', 'archive'].includes(to.role)) throw bad('routing')
    if (['sender', 'archive'].includes(to.role) !== (to.party === routing.from)) throw bad('routing')
  }
  if (new Set(routing.to.map((to) => to.kid)).size !== routing.to.length) throw new Refused('recipient-mismatch', 'duplicate')
}

export async function openBundle(raw, seeds, senders) {
  const { document, cty, routing } = readEnvelope(raw)
  const mine = new Map()
  for (const { alg, seed } of seeds) mine.set(await thumbprint(publicOf(alg, unb64u(seed))), { alg, seed: unb64u(seed) })
  const recipient = document.recipients.find((r) => mine.has(r.header.kid))
  if (!recipient) throw new Refused('no-usable-key')
  const { alg, seed } = mine.get(recipient.header.kid)
  if (alg !== recipient.header.alg) throw new Refused('decrypt-failed')
  const wrapped = Buffer.concat([unb64u(recipient.header.ek), unb64u(recipient.encrypted_key)])
  const cek = await decapsulate(alg, seed, new Uint8Array(wrapped), RECIPIENT_INFO)
  const kc = unb64u(routing.kc)
  if (kc.length !== 32 || !timingSafeEqual(commitment(cek, routing.ref), kc)) throw new Refused('decrypt-failed')
  const text = decrypt(document, cek)
  const { jws, payload } = readInner(text, cty)
  checkAgreement(payload, document, routing)
  await verifyInner(jws, payload, senders)
  const referral = payload.t === 'forward' ? await openOriginal(payload, senders) : payload.referral
  return { payload_sha256: sha256(jws.payload), referral, opened_with: recipient.header.kid, cty }
}

function decrypt(document, cek) {
  const decipher = createDecipheriv('aes-256-gcm', cek, unb64u(document.iv), { authTagLength: 16 })
  decipher.setAAD(Buffer.from(`${document.protected}.${document.aad}`, 'ascii'))
  decipher.setAuthTag(unb64u(document.tag))
  try {
    const padded = Buffer.concat([decipher.update(unb64u(document.ciphertext)), decipher.final()])
    return bytes(padded.toString('utf8').replace(/ +$/, ''))
  } catch {
    throw new Refused('decrypt-failed')
  }
}

function readInner(text, cty) {
  try {
    const jws = readJws(text, cty, MAX_JWS[cty])
    return { jws, payload: parse(jws.payload) }
  } catch (error) {
    throw error instanceof Refused && error.code === 'malformed' ? new Refused('bundle-malformed', error.reason) : error
  }
}

function checkAgreement(payload, document, routing) {
  const frame = ['v', 't', 'ref', 'iss', 'party', 'aud', 'to', 'sigs', 'hdr', 'keys_log', 'salt', 'iat']
  const more = { bundle: ['referral', 'attachments'], forward: ['reason', 'prev', 'original'], note: ['note'] }[payload?.t]
  if (!more || !exactly(payload, ...frame, ...more)) throw new Refused('bundle-malformed', 'contents')
  if (payload.iss.split('.')[0] !== payload.party) throw new Refused('bundle-malformed', 'contents')
  if (payload.party !== routing.from) throw new Refused('signature-invalid', 'sender')
  const flat = (to) => to.map((one) => [one.party, one.kid, one.role].join(' ')).join('|')
  if (flat(payload.to) !== flat(routing.to)) throw new Refused('recipient-mismatch', 'signed')
  if (payload.ref !== routing.ref) throw new Refused('digest-mismatch', 'ref')
  if (payload.hdr !== sha256(unb64u(document.aad))) throw new Refused('digest-mismatch', 'header')
}

async function verifyInner(jws, payload, senders) {
  const present = jws.signatures.map((s) => s.alg)
  if (!payload.sigs.every((alg) => present.includes(alg))) throw new Refused('signature-invalid', 'required')
  if (payload.sigs.length !== present.length) throw new Refused('signature-invalid', 'undeclared')
  const sender = senders.find((one) => one.iss === payload.iss)
  if (!sender) throw new Refused('key-not-valid')
  await verifyJws(jws, sender.keys, sender.required)
}

async function openOriginal(forward, senders) {
  const { jws, payload } = readInner(bytes(forward.original), 'referral-bundle+jws')
  if (payload.ref !== forward.ref) throw new Refused('digest-mismatch', 'ref')
  await verifyInner(jws, payload, senders)
  return payload.referral
}

export async function sealBundle({ ref, from, frame, to, referral, signers }) {
  const cek = randomBytes(32)
  const kids = await Promise.all(to.map((one) => checkKey(one.jwk)))
  const addresses = to.map(({ party, role }, index) => ({ party, kid: kids[index], role }))
  const routing = { v: 1, ref, from, to: addresses, kc: b64u(commitment(cek, ref)), att: [] }
  const aad = b64u(bytes(JSON.stringify(routing)))
  const payload = {
    v: 1, t: 'bundle', ref, ...frame, party: from, to: addresses, sigs: signers.map((s) => s.jwk.alg),
    hdr: sha256(unb64u(aad)), salt: b64u(randomBytes(16)), referral, attachments: [],
  }
  const text = await sign(bytes(JSON.stringify(payload)), 'referral-bundle+jws', signers)
  const head = b64u(bytes(JSON.stringify({ typ: 'referral-bundle+jwe', cty: 'referral-bundle+jws', enc: 'A256GCM' })))
  const iv = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', cek, iv)
  cipher.setAAD(Buffer.from(`${head}.${aad}`, 'ascii'))
  const padded = Buffer.alloc(LADDER.find((rung) => rung >= text.length), ' ')
  padded.set(text)
  const ciphertext = Buffer.concat([cipher.update(padded), cipher.final()])
  const recipients = await Promise.all(to.map((one, index) => wrap(one.jwk, kids[index], cek)))
  const sealed = { protected: head, aad, recipients, iv: b64u(iv), ciphertext: b64u(ciphertext), tag: b64u(cipher.getAuthTag()) }
  return JSON.stringify(sealed)
}

async function wrap(jwk, kid, cek) {
  const suite = SUITES[jwk.alg]
  const key = await suite.DeserializePublicKey(unb64u(jwk.pub))
  const made = await suite.Seal(key, new Uint8Array(cek), { info: RECIPIENT_INFO })
  return { header: { alg: jwk.alg, kid, ek: b64u(made.encapsulatedSecret) }, encrypted_key: b64u(made.ciphertext) }
}

export async function challenge(jwk, nonce) {
  await checkKey(jwk)
  const suite = SUITES[jwk.alg]
  const key = await suite.DeserializePublicKey(unb64u(jwk.pub))
  const made = await suite.Seal(key, nonce, { info: POSSESSION_INFO })
  return b64u(Buffer.concat([made.encapsulatedSecret, made.ciphertext]))
}
