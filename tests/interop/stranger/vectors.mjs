// Every published vector, read by this client: node vectors.mjs. Cosignatures of witnesses are left to whoever relies on them.
import fs from 'node:fs'
import * as base from './lib/base.mjs'
import * as keys from './lib/keys.mjs'
import * as log from './lib/log.mjs'
import { KeyMap } from './lib/keyslog.mjs'
import { enrolmentCode, possession } from './lib/enrol.mjs'
import * as bundle from './lib/bundle.mjs'

const dir = new URL('../../../schemas/vectors/', import.meta.url)
const load = f => JSON.parse(fs.readFileSync(new URL(f + '.json', dir)))
const { b64, unb64 } = base
let good = 0; let left = 0; const bad = []
async function run (file, fn) {
  for (const c of load(file)) {
    if (c.input.witnesses?.length) { left++; continue }
    let got = 'ok'; let why = ''
    try { const out = await fn(c.input, c); if (c.expect === 'ok' && c.output !== undefined && out !== undefined && !base.same(out, c.output)) { got = 'other output'; why = base.canonical(out).slice(0, 300) + ' / ' + base.canonical(c.output).slice(0, 300) } } catch (e) { got = e.code ?? 'crash'; why = e.stack.split('\n').slice(0, 3).join(' ') }
    if (got === c.expect) good++; else bad.push(`${file}: ${c.name}: expected ${c.expect}${c.reason ? ':' + c.reason : ''}, got ${got} ${why}`)
  }
}
await run('json', i => { base.parse(unb64(i.raw)) })
await run('base64url', i => ({ hex: unb64(i.text).toString('hex') }))
await run('sizes', (i, c) => {
  if (c.name === 'above the ladder') return bundle.rung(i.size)
  return { table: c.output.table.map(([n]) => [n, c.name === 'ladder' ? bundle.rung(n) : bundle.padme(n)]) }
})
await run('keys', i => ({ kid: keys.kidOf(i.jwk) }))
await run('jws', i => ({ payload: b64(keys.verifyJws(i.jws, i.typ, i.keys, i.required).bytes) }))
await run('possession', async i => ({ nonce: b64(await possession(i.alg, unb64(i.seed), i.sealed)) }))
await run('keys-log-code', i => ({ code: enrolmentCode(i) }))
await run('log-leaf', i => { log.readLeaf(base.utf8(i.leaf)) })
await run('log-inclusion', i => log.verifyInclusion(i.index, i.size, unb64(i.leaf_hash), i.proof.map(p => Buffer.from(p, 'base64url')), unb64(i.root)))
await run('log-consistency', i => log.verifyConsistency(i.old_size, i.new_size, unb64(i.old_root), unb64(i.new_root), i.proof.map(p => Buffer.from(p, 'base64url'))))
await run('log-proof', i => { log.verifyProof(i.proof, log.readVkey(i.log), unb64(i.leaf)) })
await run('log-tile-path', i => { base.need(log.tileExists(i.path, i.size), 'not-found') })
await run('log-checkpoint', i => { log.verifyCheckpoint(i.note, log.readVkey(i.log)) })
const fold = i => {
  const named = n => load('keys-log-fold').concat(load('keys-log-seal')).find(x => x.name === n).input.leaves
  const m = new KeyMap()
  for (const l of i.leaves ?? [...named(i.base), ...(i.before ?? []), ...(i.leaf ? [i.leaf] : [])]) m.add(l)
  return m
}
// What is sealable is told as of the genesis.
const told = m => ({
  root: m.root, size: m.size,
  parties: Object.fromEntries([...m.parties].map(([id, p]) => [id, { role: p.body.entry.role, seq: p.body.seq, statement: p.digest, index: p.index, effect_index: p.effect, credentials: p.body.credentials.map(c => `${id}.${c.id}`), sealable: m.sealable(id, m.founded).map(e => e.kid) }])),
  pending: Object.fromEntries([...m.pending].map(([id, w]) => [id, w.digest])),
  ...(Object.keys(m.exchange.changed()).length ? { exchange: m.exchange.changed() } : {})
})
await run('keys-log-fold', i => told(fold(i)))
await run('keys-log-seal', i => {
  const m = fold(i)
  if (!i.credential) return told(m)
  const { keys: k, require } = m.sealKeys(i.credential, i.iat, i.now, i.kids)
  return { keys: k.map(keys.kidOf), require }
})
const all = load('bundles')
await run('bundles', async (i, c) => {
  if (c.name === 'kc') return { kc: b64(bundle.commit(unb64(i.cek), i.ref)) }
  const from = i.base ? all.find(x => x.name === i.base).input : i
  const text = i.base ? edit(from.bundle, i.edits) : i.bundle
  const privs = await Promise.all(from.seeds.map(async s => keys.makeKey(s.alg, unb64(s.seed))))
  const r = await bundle.open(Buffer.from(text, 'latin1'), privs, iss => from.senders.find(s => s.iss === iss) ?? base.refuse('signature-invalid', 'unknown-sender'), { schema: false })
  return { payload_sha256: r.document.digest, referral: (c.output ?? {}).referral === null ? null : r.referral }
})
function edit (text, edits) {
  let bytes = null
  const apply = (j, list) => {
    for (const e of list) {
      if (e.op === 'text') { text = ser(j); if (!text.includes(e.find)) throw Error('no text'); text = text.replace(e.find, () => e.with); bytes = Buffer.from(text, 'latin1'); continue }
      if (e.op === 'cut') { bytes = (bytes ?? Buffer.from(ser(j))).subarray(0, -e.count); continue }
      if (e.op === 'prefix') { bytes = Buffer.concat([Buffer.from(e.bytes, 'base64url'), bytes ?? Buffer.from(ser(j))]); continue }
      const path = [...e.path]; const last = path.pop()
      const at = path.reduce((o, k) => o[k], j)
      if (e.op === 'set') at[last] = e.value
      if (e.op === 'remove') Array.isArray(at) ? at.splice(last, 1) : delete at[last]
      if (e.op === 'swap') [at[last[0]], at[last[1]]] = [at[last[1]], at[last[0]]]
      if (e.op === 'grow') { const v = at[last]; at[last] = typeof v === 'string' ? v + 'A'.repeat(e.count) : [...v, ...Array(e.count).fill(v[0])] }
      if (e.op === 'inside') { const k = JSON.parse(Buffer.from(at[last], 'base64url')); apply(k, e.edits); at[last] = Buffer.from(ser(k)).toString('base64url') }
    }
  }
  const ser = j => base.canonical(j)
  const j = JSON.parse(text)
  apply(j, edits)
  return (bytes ?? Buffer.from(ser(j), 'utf8')).toString('latin1')
}
console.log(`${good} vectors as expected, ${bad.length} otherwise, ${left} about witnesses not tried`)
for (const b of bad) console.log(' -', b)
process.exitCode = bad.length ? 1 : 0
