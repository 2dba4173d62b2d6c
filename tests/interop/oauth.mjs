// A vendor's client over an unmodified oauth4webapi: discovery, token, inbox, and the evidence behind
// one inbox entry, verified with what docs/protocol.md says and jose.

import { createHash, createPublicKey, verify } from 'node:crypto'
import * as oauth from 'oauth4webapi'
import { readJws, verifyJws } from './profile.mjs'
import { b64u, parse, unb64u } from './strict.mjs'

const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest()
const text = (buffer) => Buffer.from(buffer).toString('utf8')
const insist = (holds, what) => {
  if (!holds) throw new Error(what)
}

// The signed URLs name the issuer; where it listens in a test is the network's business.
const network = (job, seen) => ({
  [oauth.allowInsecureRequests]: true,
  [oauth.customFetch]: async (url, init) => {
    const response = await fetch(url.replace(job.issuer, job.base), init)
    seen.push({ path: new URL(url).pathname, status: response.status, nonce: response.headers.has('dpop-nonce') })
    return response
  },
})

// As the library's documentation tells: one more try, when the server asked for its nonce.
async function again(attempt) {
  try {
    return await attempt()
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error
    return attempt()
  }
}

async function importKey({ jwk, d }) {
  const algorithm = jwk.alg === 'ES256' ? { name: 'ECDSA', namedCurve: 'P-256' } : { name: 'Ed25519' }
  const { alg, ...members } = jwk
  return crypto.subtle.importKey('jwk', { ...members, d }, algorithm, false, ['sign'])
}

async function poll(job) {
  const seen = []
  const options = network(job, seen)
  const issuer = new URL(job.issuer)
  const found = await oauth.discoveryRequest(issuer, { ...options, algorithm: 'oauth2' })
  const as = await oauth.processDiscoveryResponse(issuer, found)

  const client = { client_id: job.client_id }
  const authentication = oauth.PrivateKeyJwt({ key: await importKey(job.key), kid: job.kid })
  const skewed = { ...client, [oauth.clockSkew]: job.skew_s }
  const keys = await oauth.generateKeyPair(job.dpop_alg)
  const atToken = oauth.DPoP(skewed, keys)
  const token = await again(async () => {
    const answer = await oauth.clientCredentialsGrantRequest(as, client, authentication, {}, { ...options, DPoP: atToken })
    return oauth.processClientCredentialsResponse(as, client, answer)
  })

  // A handle of its own, which has not met the nonce of the token endpoint.
  const atApi = oauth.DPoP(skewed, keys)
  const call = (path) =>
    again(() =>
      oauth.protectedResourceRequest(token.access_token, 'GET', new URL(job.issuer + path), undefined, null, {
        ...options, DPoP: atApi,
      }),
    )
  const inbox = await (await call('/v1/inbox?limit=10&wait=0')).json()
  const report = { metadata: as, token_type: token.token_type, expires_in: token.expires_in, inbox, seen }
  if (inbox.entries.length) report.evidence = await evidence(inbox.entries[0], call, options, as)
  return report
}

async function evidence(entry, call, options, as) {
  const jwks = await (await options[oauth.customFetch](as.jwks_uri, {})).json()
  const keys = jwks.keys.map(({ kid, use, ...jwk }) => jwk)
  const referral = await (await call(`/v1/referrals/${entry.ref}`)).json()
  const shown = referral.acts.find((one) => one.index === entry.index && one.year === entry.year)
  const act = readJws(Buffer.from(shown.act), 'referral-act+jws', 32 * 1024)
  insist(b64u(sha256(act.payload)) === entry.act, 'the act is not the one that the inbox names')
  const { receipt, proof } = await (await call(`/v1/receipts/${entry.act}`)).json()
  return verifyEvidence({ keys, act: shown.act, receipt, proof })
}

async function verifyEvidence({ keys, act, receipt, proof }) {
  const digest = b64u(sha256(readJws(Buffer.from(act), 'referral-act+jws', 32 * 1024).payload))
  const said = await verifyReceipt(receipt, keys, digest)
  const log = verifyProof(proof, keys, said.log, act)
  return { outcome: said.outcome, act: said.act, ...log, keys, jws: act, receipt, proof }
}

async function verifyReceipt(raw, keys, act) {
  const jws = readJws(Buffer.from(raw), 'referral-receipt+jws', 32 * 1024)
  const ed25519 = keys.filter((jwk) => jwk.alg === 'Ed25519')
  const said = parse(await verifyJws(jws, ed25519, ['Ed25519']))
  insist(said.act === act, 'the receipt is of another act')
  return said
}

function verifyProof(raw, keys, place, act) {
  const [head, note] = [raw.slice(0, raw.indexOf('\n\n')), raw.slice(raw.indexOf('\n\n') + 2)]
  const lines = head.split('\n')
  insist(lines.shift() === 'c2sp.org/tlog-proof@v1', 'not a tlog-proof')
  const leaf = Buffer.from(lines.shift().replace(/^extra /, ''), 'base64')
  const index = Number(lines.shift().replace(/^index /, ''))
  insist(index === place.index, 'the proof is of another place than the receipt')
  const { d, k, v } = JSON.parse(text(leaf))
  insist(k === 'act' && v === 1 && d === b64u(sha256(act)), 'the leaf is of another record')
  const { origin, size, root } = verifyCheckpoint(note, keys)
  insist(origin === place.origin, 'the checkpoint is of another log')
  const path = lines.map((line) => Buffer.from(line, 'base64'))
  insist(root.equals(rootOf(index, size, sha256(Buffer.of(0), leaf), path)), 'the leaf is not in the tree')
  return { origin, index, size }
}

// RFC 9162 §2.1.3.2.
function rootOf(index, size, leafHash, path) {
  let [fn, sn, root] = [index, size - 1, leafHash]
  insist(index < size, 'the tree is too small')
  for (const node of path) {
    insist(sn > 0, 'the path is too long')
    if (fn % 2 === 1 || fn === sn) {
      root = sha256(Buffer.of(1), node, root)
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [Math.floor(fn / 2), Math.floor(sn / 2)]
    } else {
      root = sha256(Buffer.of(1), root, node)
    }
    ;[fn, sn] = [Math.floor(fn / 2), Math.floor(sn / 2)]
  }
  insist(sn === 0, 'the path is too short')
  return root
}

function verifyCheckpoint(note, keys) {
  const body = note.slice(0, note.indexOf('\n\n') + 1)
  const [origin, size, root, ...rest] = body.split('\n')
  insist(rest.length === 1 && rest[0] === '', 'a checkpoint has three lines')
  const signature = note.slice(body.length + 1).split('\n').find((line) => line.startsWith(`— ${origin} `))
  const signed = Buffer.from(signature.split(' ')[2], 'base64')
  const signer = keys.find((jwk) => jwk.crv === 'Ed25519' && keyId(origin, jwk).equals(signed.subarray(0, 4)))
  insist(signer, 'no published key has this key id')
  const key = createPublicKey({ key: signer, format: 'jwk' })
  insist(verify(null, Buffer.from(body), key, signed.subarray(4)), 'the checkpoint is forged')
  return { origin, size: Number(size), root: Buffer.from(root, 'base64') }
}

// C2SP signed-note: the first four bytes of SHA-256 over name, line feed, 0x01, public key.
const keyId = (origin, jwk) => sha256(origin, '\n', Buffer.of(1), unb64u(jwk.x)).subarray(0, 4)

const chunks = []
for await (const chunk of process.stdin) chunks.push(chunk)
const job = JSON.parse(Buffer.concat(chunks).toString())
const answer =
  process.argv[2] === 'poll' ? await poll(job) : await verifyEvidence(job).catch((error) => ({ refused: error.message }))
process.stdout.write(JSON.stringify(answer))
