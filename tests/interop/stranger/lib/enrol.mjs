// Accepting an invitation.
import { b64, unb64, concat, sha256, digest, utf8, canonical, now, uuid4, parse, need, random } from './base.mjs'
import { makeKey, signJws, hpkeOpen, KEM } from './keys.mjs'

const DAY = 86400
export async function possession (alg, seed, sealed) {
  const b = unb64(sealed); const n = KEM[alg].ek
  return hpkeOpen(alg, seed, utf8('referral-1/possession'), b.subarray(0, n), b.subarray(n))
}
export function enrolmentCode ({ credentials, enc, entry, issuer, keys, nonce, party, root }) {
  const text = canonical({ credentials, enc, entry, issuer, keys: [...keys].sort(), nonce, party, root })
  const n = BigInt('0x' + sha256(concat('referral-1/enrolment-code', [0], text)).subarray(0, 16).toString('hex')) % 10n ** 30n
  return n.toString().padStart(30, '0').match(/.{5}/g).join(' ')
}
export function actJws (me, act, { ref = null, unit = null, prev = null, body, id = uuid4(), iat = now(), aud }) {
  return signJws('referral-act+jws', { v: 1, id, iss: me.id, party: me.id.split('.')[0], aud, iat, act, ref, unit, prev, body }, me.seal)
}
const credentialId = () => Array.from(random(8), b => 'abcdefghijklmnopqrstuvwxyz234567'[b & 31]).join('')

/** people: [{kind, keyholder, seal: [alg…], access: alg}]; stations: [{station, alg}]. The first person signs. */
export async function enrol (api, invitation, entry, { people, stations }) {
  const nonce = b64(sha256(unb64(invitation.secret)))
  const t = now(); const until = t + 365 * DAY
  const creds = []
  for (const p of people) {
    const c = { id: `${invitation.party}.${credentialId()}`, kind: p.kind, keyholder: p.keyholder, access: await makeKey(p.access ?? 'Ed25519'), seal: [] }
    for (const a of p.seal) c.seal.push(await makeKey(a))
    c.require = p.require
    creds.push(c)
  }
  const enc = []
  for (const s of stations) enc.push({ ...await makeKey(s.alg), use: s.use ?? 'enc', station: s.station })
  const signer = creds[0]
  const begun = await api.plain('POST', '/v1/enrolments', { enc: enc.map(e => e.jwk) }, { 'Referral-Invitation': invitation.secret })
  const proofs = []
  for (const c of begun.body.challenges) {
    const k = enc.find(e => e.kid === c.kid)
    proofs.push({ kid: c.kid, nonce: await possession(k.jwk.alg, unb64(k.secret), c.sealed) })
  }
  const entryOf = (k, use, signers, possession = null) => signJws('referral-key+jws', { v: 1, party: invitation.party, use, jwk: k.jwk, nonce, iat: t, possession }, signers)
  const keys = []
  for (const c of creds) {
    keys.push(entryOf(c.access, 'access', [c.access]))
    for (const k of c.seal) keys.push(entryOf(k, 'seal', [k]))
  }
  for (const e of enc) keys.push(entryOf(e, e.use, signer.seal, digest(proofs.find(p => p.kid === e.kid).nonce)))
  const proposal = {
    credentials: creds.map(c => ({ id: c.id.split('.')[1], kind: c.kind, ...(c.keyholder ? { keyholder: true } : {}), access: c.access.kid, seal: c.seal.map(k => k.kid), ...(c.require ? { require: c.require } : {}), until })),
    enc: enc.map(e => ({ kid: e.kid, use: e.use, ...(e.station ? { station: e.station } : {}), from: t, until: t + 45 * DAY })),
    entry
  }
  const statement = actJws(signer, 'statement', { aud: invitation.exchange, iat: t, body: { seq: 1, prev_statement: null, entry, credentials: proposal.credentials, enc: proposal.enc } })
  const done = await api.plain('PUT', `/v1/enrolments/${begun.body.enrolment}`, { keys, possession: proofs.map(p => ({ kid: p.kid, nonce: b64(p.nonce) })), proposal, statement }, { 'Referral-Invitation': invitation.secret })
  const all = [...creds.flatMap(c => [c.access, ...c.seal]), ...enc].map(k => k.kid)
  const code = enrolmentCode({ credentials: proposal.credentials, enc: proposal.enc, entry, issuer: invitation.exchange, keys: all, nonce, party: invitation.party, root: invitation.root })
  return { profile: { exchange: invitation.exchange, root: invitation.root, party: invitation.party, secret: invitation.secret, enrolment: begun.body.enrolment, credentials: creds, enc }, code, answer: done.body }
}
