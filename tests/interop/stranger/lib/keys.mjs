// Keys of every kind, their thumbprints, signatures, JWS.
import * as crypto from 'node:crypto'
import { ml_dsa65 } from '@noble/post-quantum/ml-dsa.js'
import { ed25519, x25519 } from '@noble/curves/ed25519.js'
import { p256, p384 } from '@noble/curves/nist.js'
import * as HPKE from 'hpke'
import { KEM_MLKEM768_X25519, KEM_MLKEM1024_P384, KDF_SHAKE256, AEAD_AES_256_GCM } from '@panva/hpke-noble'
import { b64, unb64, canonical, digest, utf8, parse, members, need, refuse, random, concat } from './base.mjs'

export const SIGN = ['Ed25519', 'ES256', 'ML-DSA-65']
export const KEM = {
  'HPKE-9-KE': { pub: 1216, ek: 1120, suite: new HPKE.CipherSuite(KEM_MLKEM768_X25519, KDF_SHAKE256, AEAD_AES_256_GCM) },
  'HPKE-10-KE': { pub: 1665, ek: 1665, suite: new HPKE.CipherSuite(KEM_MLKEM1024_P384, KDF_SHAKE256, AEAD_AES_256_GCM) }
}
const MEMBERS = {
  Ed25519: ['alg', 'crv', 'kty', 'x'], ES256: ['alg', 'crv', 'kty', 'x', 'y'], 'ML-DSA-65': ['alg', 'kty', 'pub'],
  'HPKE-9-KE': ['alg', 'kty', 'pub'], 'HPKE-10-KE': ['alg', 'kty', 'pub']
}
const FIXED = {
  Ed25519: { kty: 'OKP', crv: 'Ed25519' }, ES256: { kty: 'EC', crv: 'P-256' }, 'ML-DSA-65': { kty: 'AKP' }, 'HPKE-9-KE': { kty: 'AKP' }, 'HPKE-10-KE': { kty: 'AKP' }
}
const THUMB = { OKP: ['crv', 'kty', 'x'], EC: ['crv', 'kty', 'x', 'y'], AKP: ['alg', 'kty', 'pub'] }
const SIZE = { x: 32, y: 32 }

const thumb = jwk => digest(utf8(canonical(Object.fromEntries(THUMB[jwk.kty].map(n => [n, jwk[n]])))))

function kemPart (b, k) { // all-zero, coefficients below q
  need(b.some(x => x), 'key-unsuitable', 'all-zero')
  for (let i = 0; i < 384 * k; i += 3) {
    need((b[i] | (b[i + 1] & 15) << 8) < 3329 && (b[i + 1] >> 4 | b[i + 2] << 4) < 3329, 'key-unsuitable', 'encoding')
  }
}
/** Checks a public JWK and gives its kid. */
export function kidOf (jwk) {
  need(jwk && typeof jwk === 'object' && Object.hasOwn(MEMBERS, jwk.alg), 'key-unsuitable', 'algorithm')
  members(jwk, MEMBERS[jwk.alg], 'key-unsuitable')
  for (const [n, v] of Object.entries(FIXED[jwk.alg])) need(jwk[n] === v, 'key-unsuitable', n)
  for (const n of ['x', 'y']) if (n in jwk) need(unb64(jwk[n], 'key-unsuitable').length === SIZE[n], 'key-unsuitable', 'length')
  if (jwk.alg === 'Ed25519') {
    const b = unb64(jwk.x)
    let p
    try { p = ed25519.Point.fromBytes(b, false) } catch {
      const y = BigInt('0x' + Buffer.from(b).reverse().toString('hex')) & ((1n << 255n) - 1n)
      refuse('key-unsuitable', y >= (1n << 255n) - 19n ? 'encoding' : y === 1n ? 'small-order' : 'off-curve')
    }
    need(!p.isSmallOrder(), 'key-unsuitable', 'small-order')
    need(Buffer.from(p.toBytes()).equals(b), 'key-unsuitable', 'encoding')
  } else if (jwk.alg === 'ES256') {
    try { p256.Point.fromBytes(concat([4], unb64(jwk.x), unb64(jwk.y))).assertValidity() } catch { refuse('key-unsuitable', 'off-curve') }
  } else {
    const b = unb64(jwk.pub, 'key-unsuitable')
    need(b.length === (jwk.alg === 'ML-DSA-65' ? 1952 : KEM[jwk.alg].pub), 'key-unsuitable', 'length')
    if (jwk.alg === 'HPKE-9-KE') {
      kemPart(b.subarray(0, 1184), 3)
      try { x25519.getSharedSecret(random(32), b.subarray(1184)) } catch { refuse('key-unsuitable', 'small-order') }
    } else if (jwk.alg === 'HPKE-10-KE') {
      kemPart(b.subarray(0, 1568), 4)
      need(b[1568] === 4, 'key-unsuitable', 'encoding')
      try { p384.Point.fromBytes(b.subarray(1568)).assertValidity() } catch { refuse('key-unsuitable', 'off-curve') }
    } else need(b.some(x => x), 'key-unsuitable', 'all-zero')
  }
  return thumb(jwk)
}

/** A new private key: {jwk, kid, secret}; secret is a PKCS#8 (Ed25519, ES256) or a 32-byte seed. */
export async function makeKey (alg, seed = null) {
  let jwk, secret
  if (alg === 'Ed25519' || alg === 'ES256') {
    const pair = alg === 'Ed25519' ? crypto.generateKeyPairSync('ed25519') : crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' })
    jwk = { alg, ...pair.publicKey.export({ format: 'jwk' }) }
    secret = b64(pair.privateKey.export({ format: 'der', type: 'pkcs8' }))
  } else {
    seed ??= random(32)
    secret = b64(seed)
    const pub = alg === 'ML-DSA-65' ? ml_dsa65.keygen(seed).publicKey : (await kemPair(alg, seed)).pub
    jwk = { alg, kty: 'AKP', pub: b64(pub) }
  }
  jwk = Object.fromEntries(MEMBERS[alg].map(n => [n, jwk[n]]))
  return { jwk, kid: kidOf(jwk), secret }
}

async function kemPair (alg, seed) { // "a seed is the whole private key": the KEM's own 32-byte private key
  const { suite } = KEM[alg]
  const priv = await suite.DeserializePrivateKey(new Uint8Array(seed), true)
  return { priv, pub: alg === 'HPKE-9-KE' ? KEM9(seed) : KEM10(seed) }
}
import { ml_kem768_x25519, ml_kem1024_p384 } from '@noble/post-quantum/hybrid.js'
const KEM9 = seed => ml_kem768_x25519.keygen(seed).publicKey
const KEM10 = seed => ml_kem1024_p384.keygen(seed).publicKey

export async function hpkeSeal (jwk, info, plain) {
  const { suite } = KEM[jwk.alg]
  const pub = await suite.DeserializePublicKey(new Uint8Array(unb64(jwk.pub)))
  const { encapsulatedSecret, ciphertext } = await suite.Seal(pub, new Uint8Array(plain), { info: new Uint8Array(info) })
  return { ek: Buffer.from(encapsulatedSecret), ct: Buffer.from(ciphertext) }
}
export async function hpkeOpen (alg, seed, info, ek, ct) {
  try {
    const { suite } = KEM[alg]
    const priv = await suite.DeserializePrivateKey(new Uint8Array(seed), false)
    return Buffer.from(await suite.Open(priv, new Uint8Array(ek), new Uint8Array(ct), { info: new Uint8Array(info) }))
  } catch { refuse('decrypt-failed') }
}

const opts = { dsaEncoding: 'ieee-p1363' }
export function signRaw (key, data) {
  if (key.jwk.alg === 'ML-DSA-65') return Buffer.from(ml_dsa65.sign(data, ml_dsa65.keygen(unb64(key.secret)).secretKey))
  const k = crypto.createPrivateKey({ key: unb64(key.secret), format: 'der', type: 'pkcs8' })
  return crypto.sign(key.jwk.alg === 'ES256' ? 'sha256' : null, data, { key: k, ...opts })
}
export function verifyRaw (jwk, data, sig) {
  try {
    if (jwk.alg === 'ML-DSA-65') return ml_dsa65.verify(sig, data, unb64(jwk.pub))
    const { alg, ...plain } = jwk
    return crypto.verify(alg === 'ES256' ? 'sha256' : null, data, { key: crypto.createPublicKey({ key: plain, format: 'jwk' }), ...opts }, sig)
  } catch { return false }
}
const LENGTH = { Ed25519: 64, ES256: 64, 'ML-DSA-65': 3309 }
export const TYPES = ['act', 'receipt', 'key', 'bundle', 'forward', 'note'].map(t => `referral-${t}+jws`)

export function signJws (typ, payload, keys) {
  const p = b64(Buffer.isBuffer(payload) ? payload : utf8(JSON.stringify(payload)))
  return JSON.stringify({
    payload: p,
    signatures: keys.map(k => {
      const h = b64(utf8(JSON.stringify({ alg: k.jwk.alg, kid: k.kid, typ })))
      return { protected: h, signature: b64(signRaw(k, utf8(h + '.' + p))) }
    })
  })
}
/** Form only: {bytes, digest, payload, heads}. */
export function readJws (text, typ) {
  let j
  try { j = parse(text) } catch (e) { throw e }
  members(j, ['payload', 'signatures'], 'malformed')
  need(Array.isArray(j.signatures) && j.signatures.length >= 1 && j.signatures.length <= 2, 'malformed', 'signatures')
  const bytes = unb64(j.payload)
  const heads = j.signatures.map(s => {
    members(s, ['protected', 'signature'], 'malformed')
    const raw = unb64(s.protected)
    need(raw.length <= 1024, 'malformed', 'header')
    const h = members(parse(raw), ['alg', 'kid', 'typ'], 'malformed', 'header')
    need(SIGN.includes(h.alg), 'malformed', 'algorithm')
    need(typeof h.kid === 'string' && /^[A-Za-z0-9_-]{43}$/.test(h.kid) && unb64(h.kid).length === 32, 'malformed', 'header')
    need(h.typ === typ, 'wrong-type')
    const sig = unb64(s.signature)
    need(sig.length === LENGTH[h.alg], 'malformed', 'length')
    return { ...h, sig, input: utf8(s.protected + '.' + j.payload) }
  })
  need(new Set(heads.map(h => h.alg)).size === heads.length, 'malformed', 'signatures')
  return { bytes, digest: digest(bytes), heads }
}
/** Verifies all signatures against the signer's JWKs and what it must sign with. */
export function verifyJws (text, typ, jwks, required, code = 'signature-invalid') {
  const j = readJws(text, typ)
  const keys = new Map(jwks.map(k => [kidOf(k), k]))
  for (const h of j.heads) {
    const k = keys.get(h.kid)
    need(k, code, 'unknown-key')
    need(k.alg === h.alg, code, 'algorithm')
    need(verifyRaw(k, h.input, h.sig), code, 'forged')
  }
  need(required.every(a => j.heads.some(h => h.alg === a)), code, 'required')
  return j
}
