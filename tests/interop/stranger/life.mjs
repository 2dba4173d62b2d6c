// The whole life of a referral with a client of its own, against an exchange that the command line founds:
// node life.mjs, with REFERRAL_CLI (the command), RUN (an empty folder) and PORT in the environment.
// This client was written from docs/protocol.md, schemas/ and openapi.yaml alone, by somebody who had not seen the code.
import fs from 'node:fs'
import path from 'node:path'
import { spawn, execFileSync } from 'node:child_process'
import { Api } from './lib/api.mjs'
import { Party } from './lib/client.mjs'
import { enrol, actJws } from './lib/enrol.mjs'
import { seal } from './lib/bundle.mjs'
import { referral } from './sample.mjs'
import * as base from './lib/base.mjs'
import { makeKey, readJws } from './lib/keys.mjs'
import { KeyMap } from './lib/keyslog.mjs'
import { tilePath } from './lib/log.mjs'

const { REFERRAL_CLI: CLI, RUN } = process.env
const PORT = Number(process.env.PORT)
const ISSUER = `http://127.0.0.1:${PORT}`
fs.mkdirSync(path.join(RUN, 'home'), { recursive: true })
const at = f => path.join(RUN, f)
const env = { ...process.env, HOME: at('home'), REFERRAL_LANG: 'en' }
fs.writeFileSync(at('pp.txt'), 'correct horse battery staple 99 lima\n', { mode: 0o600 })
const cli = (profile, ...args) => {
  const out = execFileSync(CLI, ['-p', at(profile), '--passphrase-file', at('pp.txt'), '--json', '--yes', ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] }).toString()
  return out.trim() ? JSON.parse(out) : null
}
let server = null
async function serve () {
  server = spawn(CLI, ['admin', 'serve', '-c', at('ex/exchange.toml')], { env, stdio: ['ignore', fs.openSync(at('serve.log'), 'a'), fs.openSync(at('serve.log'), 'a')] })
  for (let i = 0; i < 60; i++) {
    await new Promise(r => setTimeout(r, 500))
    try { if ((await fetch(ISSUER + '/readyz')).ok) return } catch {}
  }
  throw Error('the server did not start')
}
async function stop () { if (server) { const done = new Promise(r => server.once('exit', r)); server.kill('SIGTERM'); await done; server = null } }
const say = (...a) => console.log(...a)
let refusals = 0
async function refuses (what, fn) {
  try { await fn() } catch (e) { if (!e.code || e instanceof TypeError) throw e; refusals++; return say('   refused:', what, '->', e.code, e.status ? `(HTTP ${e.status})` : e.reason ?? '') }
  throw Error('NOT REFUSED: ' + what)
}
const json = f => JSON.parse(fs.readFileSync(at(f)))
const change = (text, at, from = null) => { // another character of the same alphabet
  const i = at < 0 ? text.length + at : at
  return text.slice(0, i) + (text[i] === 'A' ? 'B' : 'A') + text.slice(i + 1)
}

async function found () {
  execFileSync(CLI, ['admin', 'init', '--sandbox', '--defaults', '--dir', at('ex'), '--port', String(PORT), '--issuer', ISSUER], { env, stdio: 'pipe' })
  await serve()
  const r = cli('registrar', 'enrol', at('ex/invitation-registrar.json'), '--entry', at('ex/entry-registrar.json'), '--no-service')
  fs.writeFileSync(at('code.txt'), r.code)
  await stop()
  execFileSync(CLI, ['--yes', 'admin', 'approve', '-c', at('ex/exchange.toml'), '--code-file', at('code.txt')], { env, stdio: 'pipe' })
  await serve()
}
/** A command holds this program up; connections that the exchange has closed meanwhile are noticed only after it. */
const breathe = () => new Promise(resolve => setTimeout(resolve, 50))
function invite (entry) {
  fs.writeFileSync(at(`entry-${entry.id}.json`), JSON.stringify(entry))
  cli('registrar', 'invite', '--out', at(`inv-${entry.id}.json`), '--entry', at(`entry-${entry.id}.json`))
  return json(`inv-${entry.id}.json`)
}
function approve (party, code) {
  fs.writeFileSync(at('code.txt'), code)
  cli('registrar', 'approve', party, '--code-file', at('code.txt'))
}
async function join (entry, setup) {
  const invitation = invite(entry)
  await breathe()
  const api = new Api(invitation.exchange)
  const e = await enrol(api, invitation, entry, setup)
  say(`   ${entry.id}: digits ${e.code}; turn ${e.answer.turn}`)
  approve(entry.id, e.code)
  await breathe()
  const t = await api.plain('GET', `/v1/enrolments/${e.profile.enrolment}`, null, { 'Referral-Invitation': invitation.secret })
  base.need(t.body.turn === 'done', 'not-done')
  return e.profile
}

async function main () {
  say('0. a scratch exchange, founded with the command line in', RUN)
  await found()

  say('1. invitations accepted, credentials enrolled')
  const HOT = { id: 'linea-azul', role: 'hotline', name: 'Línea Azul', duty_phone: '+5117000001', area: ['15'], escalation: [], hours: '24x7', languages: ['spa'] }
  const UNIT = { id: 'divtrata-lima', role: 'police_unit', name: 'DIVTRATA Lima', duty_phone: '+5117000002', area: ['15'], escalation: [], hours: '24x7', specialities: ['trafficking'] }
  const both = ['Ed25519', 'ML-DSA-65']
  const hot = new Party(await join(HOT, { people: [{ kind: 'person', keyholder: true, seal: both, require: both }, { kind: 'service', seal: ['Ed25519'] }], stations: [{ station: 'st1', alg: 'HPKE-9-KE' }] }))
  const unit = new Party(await join(UNIT, { people: [{ kind: 'person', keyholder: true, access: 'ES256', seal: ['ES256', 'ML-DSA-65'] }], stations: [{ station: 'st1', alg: 'HPKE-9-KE' }, { station: 'st2', alg: 'HPKE-10-KE' }] }))

  say('2. tokens')
  for (const p of [hot, unit]) {
    const t = await p.api.login()
    const who = (await p.api.call('GET', '/v1/ping')).body
    say(`   ${who.credential}: ${who.role}, ${who.kind}, token of ${t.expires_in} s, ${t.token_type}`)
  }
  await withClock(-3600, async () => { await hot.api.call('GET', '/v1/ping') })
  say('   a clock an hour behind: answered with a DPoP-Nonce, and through')

  say('3. the keys log')
  for (const p of [hot, unit]) { const k = await p.api.follow(); say(`   ${p.party}: ${k.size} leaves, root ${k.root.slice(0, 12)}…, parties ${[...p.api.map.parties.keys()].join(', ')}`) }

  say('4. sealed and submitted')
  const s = await hot.submit(referral(), [{ unit: UNIT.id, role: 'action' }])
  say(`   ${s.ref}: ${s.told.outcome}, leaf ${s.told.log.index} of ${s.told.log.origin}, ${s.told.states[0].unit} is ${s.told.states[0].state}`)
  const again = await hot.api.call('PUT', `/v1/referrals/${s.ref}`, s.request)
  base.need(again.status === 200 && again.body.receipt === s.receipt, 'not-idempotent')
  say('   sent again: 200 and the same receipt')

  say('5. the unit')
  const box = await unit.inbox(null, '&pending=true&wait=5')
  const mail = box.entries.find(e => e.ref === s.ref && e.kind === 'submit')
  say(`   inbox: ${mail.kind} from ${mail.from}, ${mail.urgency}, answered by ${mail.answered_by.join('/')}`)
  const bytes = await unit.fetchBundle(s.ref)
  let v = await unit.view(s.ref)
  const o = await unit.open(bytes, v)
  say(`   opened: ${o.document.p.iss} signed with ${o.contents.sigs.join('+')}; «${o.referral.situation.summary}»`)
  const ack = await unit.act(s.ref, 'ack', { unit: UNIT.id, prev: v.deliveries[0].head, body: { bundle: o.envelope.sha256, submit: o.submit, decrypted: true } })
  await refuses('a decision on a stale head (its final refusal has a valid receipt)', async () => {
    try { await unit.act(s.ref, 'accept', { unit: UNIT.id, prev: s.digest }) } catch (e) { base.need(e.verified?.outcome === 'refused' && e.verified.code === 'stale-head', 'no verified refusal'); throw e }
  })
  const accept = await unit.act(s.ref, 'accept', { unit: UNIT.id, prev: ack.told.states[0].head, words: { text: 'Recibido, se asigna equipo.', case_number: 'DT-2026-1' }, wordsTo: hot.party })
  const status = await unit.act(s.ref, 'status', { unit: UNIT.id, prev: accept.told.states[0].head, body: { code: 'registered' } })
  say(`   ack, accept, status: ${[ack, accept, status].map(x => `${x.told.outcome} at ${x.told.log.index} (${x.told.states[0].state})`).join(', ')}`)

  say('6. the hotline')
  v = await hot.view(s.ref)
  for (const a of v.acts) say(`   ${String(a.receipt.log.index).padStart(3)} ${a.act.padEnd(7)} by ${a.iss}: signatures, receipt and proof verified`)
  const told = v.acts.find(a => a.act === 'status')
  base.need(told.body.code === 'registered' && v.deliveries[0].state === 'accepted' && v.deliveries[0].investigation.includes('registered'), 'no status')
  const note = await hot.openSealed(s.ref, v.acts.find(a => a.act === 'accept'))
  say(`   status: ${told.body.code}; the unit's sealed note: «${note.text}» (${note.case_number})`)
  const own = await hot.open(await hot.fetchBundle(s.ref), v)
  base.need(own.referral.situation.summary === referral().situation.summary, 'own copy')
  say('   its own copy of the bundle opens')

  say('7. what is refused')
  const R = (act, receipt, proof) => hot.api.verifyReceipt(act, receipt, proof)
  const j = JSON.parse(s.receipt)
  const payload = JSON.parse(base.unb64(j.payload))
  await R(s.act, s.receipt, s.proof)
  await refuses('a receipt with another outcome', () => R(s.act, JSON.stringify({ ...j, payload: base.b64(base.utf8(JSON.stringify({ ...payload, time: payload.time + 1 }))) }), s.proof))
  await refuses('a receipt with a flipped signature', () => R(s.act, JSON.stringify({ ...j, signatures: [{ ...j.signatures[0], signature: change(j.signatures[0].signature, 5) }] }), s.proof))
  await refuses("another act's receipt", () => R(s.act, ack.receipt, ack.proof))
  await refuses("another act's proof", () => R(s.act, s.receipt, ack.proof))
  const lines = s.proof.split('\n')
  const pathLine = lines.findIndex(l => l.startsWith('index')) + 1
  await refuses('a proof with another path', () => R(s.act, s.receipt, lines.map((l, i) => i === pathLine ? change(l, 3) : l).join('\n')))
  await refuses('a proof of another leaf', () => R(s.act, s.receipt, lines.map((l, i) => i === 1 ? 'extra ' + Buffer.from(Buffer.from(l.slice(6), 'base64').toString().replace('"act"', '"server"')).toString('base64') : l).join('\n')))
  await refuses('a proof at another index', () => R(s.act, s.receipt, s.proof.replace(/^index \d+$/m, 'index 3')))
  await refuses('a checkpoint of another size', () => R(s.act, s.receipt, s.proof.replace(/(\/audit\/\d{4}\n)(\d+)/, (m, a, n) => a + (Number(n) + 1))))
  await refuses('a checkpoint under another key', async () => {
    const other = await makeKey('Ed25519'); const { signRaw } = await import('./lib/keys.mjs'); const log = await import('./lib/log.mjs')
    const cut = s.proof.indexOf('\n\n'); const cp = s.proof.slice(cut + 2); const end = cp.indexOf('\n\n'); const body = cp.slice(0, end + 1)
    const ver = log.verifier(s.told.log.origin, base.unb64(other.jwk.x))
    return R(s.act, s.receipt, s.proof.slice(0, cut + 2) + body + `\n— ${ver.name} ${Buffer.concat([ver.id, signRaw(other, base.utf8(body))]).toString('base64')}\n`)
  })
  const pins = structuredClone(hot.profile.state.checkpoints)
  await refuses('an audit log that forked from what was pinned', async () => {
    const p = hot.profile.state.checkpoints[s.told.log.origin]; p.root = change(p.root, 4)
    try { await R(s.act, s.receipt, s.proof) } finally { hot.profile.state.checkpoints = pins; hot.api.state.checkpoints = pins }
  })
  await refuses('a keys log under another root', () => { const m = new KeyMap(base.digest(Buffer.from('x'))); for (const l of hot.profile.state.leaves) m.add(base.unb64(l)) })
  await refuses('a keys log with an altered leaf', () => { const m = new KeyMap(hot.profile.root); for (const [i, l] of hot.profile.state.leaves.entries()) m.add(i === 6 ? base.unb64(l).toString().replace(/"signature":"(..)/, '"signature":"ZZ') : base.unb64(l)) })
  const b = JSON.parse(bytes); const uv = await unit.view(s.ref)
  const open = text => unit.open(base.utf8(typeof text === 'string' ? text : JSON.stringify(text)), uv)
  const inside = (t, f) => base.b64(base.utf8(JSON.stringify(f(JSON.parse(base.unb64(t))))))
  await unit.open(bytes, uv)
  await refuses('a bundle with flipped ciphertext', () => open({ ...b, ciphertext: change(b.ciphertext, 100) }))
  await refuses('a bundle with a flipped tag', () => open({ ...b, tag: change(b.tag, 3) }))
  await refuses('a recipient taken out', () => open({ ...b, recipients: b.recipients.slice(0, -1) }))
  await refuses('a recipient taken out of the header too', () => open({ ...b, recipients: b.recipients.slice(0, -1), aad: inside(b.aad, h => ({ ...h, to: h.to.slice(0, -1) })) }))
  await refuses('another role in the header', () => open({ ...b, aad: inside(b.aad, h => ({ ...h, to: h.to.map(t => t.role === 'action' ? { ...t, role: 'information' } : t) })) }))
  await refuses('another content key commitment', () => open({ ...b, aad: inside(b.aad, h => ({ ...h, kc: change(h.kc, 2) })) }))
  const forge = async (signers, keysLog, iss = hot.me.id) => {
    const to = o.envelope.routing.to.map(t => ({ ...t, jwk: unit.api.map.keys.get(t.kid).jwk }))
    return (await seal({ cty: 'referral-bundle+jws', ref: s.ref, iss, party: hot.party, aud: ISSUER, to, signers, keysLog, own: { referral: referral(), attachments: [] } })).text
  }
  await refuses('a bundle by a stranger', async () => open(await forge([await makeKey('Ed25519')], hot.api.keysLog)))
  await refuses('a bundle without the second signature', async () => open(await forge([hot.me.seal[0]], hot.api.keysLog)))
  await refuses('a bundle whose sender saw another keys log', async () => open(await forge(hot.me.seal, { ...hot.api.keysLog, root: change(hot.api.keysLog.root, 2) })))
  await refuses('a good bundle that is not the one of the act', async () => open(await forge(hot.me.seal, hot.api.keysLog)))
  await refuses('the exchange: an act id with other bytes', async () => {
    const p = JSON.parse(base.unb64(JSON.parse(s.act).payload))
    await hot.api.call('PUT', `/v1/referrals/${s.ref}`, { ...s.request, act: actJws(hot.me, 'submit', { aud: ISSUER, ref: s.ref, id: p.id, iat: p.iat + 1, body: p.body }) })
  })
  await refuses('the exchange: a referral that is not there', () => unit.api.call('GET', `/v1/referrals/${base.uuid7()}`))

  await interop({ hot, unit, UNIT })
  say(`done: seven steps, ${refusals} refusals`)
  fs.writeFileSync(at('profiles.json'), JSON.stringify({ hot: hot.profile, unit: unit.profile }), { mode: 0o600 })
}
async function withClock (by, fn) { const real = Date.now; Date.now = () => real() + by * 1000; try { return await fn() } finally { Date.now = real } }

async function interop ({ hot, unit, UNIT }) {
  say('8. with the command line on the other side')
  const H = { id: 'linea-cli', role: 'hotline', name: 'Línea CLI', duty_phone: '+5117000003', area: ['15'], escalation: [] }
  const U = { id: 'unidad-cli', role: 'police_unit', name: 'Unidad CLI', duty_phone: '+5117000004', area: ['15'], escalation: [] }
  for (const e of [H, U]) { invite(e); const r = cli(e.id, 'enrol', at(`inv-${e.id}.json`), '--entry', at(`entry-${e.id}.json`), '--keyholder', '--station', 'pc1'); approve(e.id, r.code) }
  fs.writeFileSync(at('body.json'), JSON.stringify(referral()))
  const sent = cli(H.id, 'send', at('body.json'), '--unit', UNIT.id)
  const ref = sent.ref ?? sent.referral
  say('   command line sent', ref)
  await unit.api.follow()
  const bytes = await unit.fetchBundle(ref)
  const v = await unit.view(ref)
  const o = await unit.open(bytes, v)
  const ack = await unit.act(ref, 'ack', { unit: UNIT.id, prev: v.deliveries[0].head, body: { bundle: o.envelope.sha256, submit: o.submit, decrypted: true } })
  await unit.act(ref, 'accept', { unit: UNIT.id, prev: ack.told.states[0].head, words: { text: 'De Node.', case_number: 'N-1' }, wordsTo: H.id })
  say('   opened, acknowledged and accepted here; its timeline:', JSON.stringify(cli(H.id, 'timeline', ref)).slice(0, 400))
  const s = await hot.submit(referral(), [{ unit: U.id, role: 'action' }, { unit: UNIT.id, role: 'information' }])
  say('   sent from here; shown there:', JSON.stringify(cli(U.id, 'show', s.ref)).slice(0, 250))
  cli(U.id, 'ack', s.ref); fs.writeFileSync(at('nota.txt'), 'Nota de la unidad.')
  cli(U.id, 'accept', s.ref, '--case-number', 'C-9', '--note', at('nota.txt'))
  cli(U.id, 'status', s.ref, '--to', 'under_investigation')
  const w = await hot.view(s.ref)
  const note = await hot.openSealed(s.ref, w.acts.find(a => a.act === 'accept'))
  say(`   verified here: ${w.acts.map(a => a.act).join(', ')}; note «${note.text}» ${note.case_number}; states ${w.deliveries.map(d => d.unit + '=' + d.state).join(', ')}`)
  fs.writeFileSync(at('receipt.json'), JSON.stringify({ act: s.act, receipt: s.receipt, proof: s.proof }))
}

try { await main() } finally { await stop() }
