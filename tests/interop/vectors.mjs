// Runs the published vectors: `node vectors.mjs DIRECTORY`; prints {file: {held: n, failed: [names]}}.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { answerChallenge, checkKey, commitment, openBundle, publicOf, readJws, verifyJws } from './profile.mjs'
import { Refused, b64u, parse, unb64u } from './strict.mjs'

const directory = process.argv[2]
const utf8 = (text) => new TextEncoder().encode(text)
const same = (one, other) => {
  if (JSON.stringify(one) !== JSON.stringify(other)) throw new Error(`${JSON.stringify(one)} is not ${JSON.stringify(other)}`)
}

function edit(document, { op, path, value, count, edits }) {
  const last = path.at(-1)
  const parent = path.slice(0, -1).reduce((node, step) => node[step], document)
  if (op === 'set') parent[last] = value
  else if (op === 'remove') Array.isArray(parent) ? parent.splice(last, 1) : delete parent[last]
  else if (op === 'swap') [parent[last[0]], parent[last[1]]] = [parent[last[1]], parent[last[0]]]
  else if (op === 'grow') {
    if (typeof parent[last] === 'string') parent[last] += 'A'.repeat(count)
    else for (let n = 0; n < count; n++) parent[last].push(parent[last][0])
  } else if (op === 'inside') {
    const inner = parse(unb64u(parent[last]))
    for (const deeper of edits) edit(inner, deeper)
    parent[last] = b64u(utf8(JSON.stringify(inner)))
  } else throw new Error(`unknown edit ${op}`)
}

function edited(text, edits) {
  let raw = Buffer.from(text)
  for (const one of edits) {
    if (one.op === 'text') raw = Buffer.from(raw.toString().replace(one.find, one.with))
    else if (one.op === 'cut') raw = raw.subarray(0, -one.count)
    else if (one.op === 'prefix') raw = Buffer.concat([unb64u(one.bytes), raw])
    else {
      const document = JSON.parse(raw.toString())
      edit(document, one)
      raw = Buffer.from(JSON.stringify(document))
    }
  }
  return new Uint8Array(raw)
}

const checks = {
  json: async (vector) => parse(unb64u(vector.raw)),
  base64url: async (vector) => same(Buffer.from(unb64u(vector.text)).toString('hex'), vector.hex),
  keys: async (vector) => same(await checkKey(vector.jwk), vector.kid),
  jws: async (vector) => {
    const jws = readJws(utf8(vector.jws), vector.typ, 65536)
    same(b64u(await verifyJws(jws, vector.keys, vector.required)), vector.payload)
  },
  possession: async (vector) => {
    same(publicOf(vector.alg, unb64u(vector.seed)), vector.jwk)
    same(b64u(await answerChallenge(vector.alg, unb64u(vector.seed), unb64u(vector.sealed))), vector.nonce)
  },
  bundles: async (vector, all) => {
    if (vector.cek) return same(b64u(commitment(unb64u(vector.cek), vector.ref)), vector.kc)
    const base = vector.base ? all.find((other) => other.name === vector.base) : vector
    const opened = await openBundle(edited(base.bundle, vector.edits ?? []), base.seeds, base.senders)
    same(opened.payload_sha256, vector.payload_sha256)
  },
}

// Arithmetic on points belongs to a library with an explicit validity check, which WebCrypto does not offer.
const beyond = { keys: (vector) => vector.clause === 'R-07' && vector.reason !== 'length' }

const report = {}
for (const [file, check] of Object.entries(checks)) {
  const published = JSON.parse(readFileSync(join(directory, `${file}.json`), 'utf8'))
  const vectors = published.map(({ input, output, ...rest }) => ({ ...input, ...output, ...rest }))
  const result = (report[file] = { held: 0, left_out: 0, failed: [] })
  for (const vector of vectors) {
    if (beyond[file]?.(vector)) {
      result.left_out++
      continue
    }
    let outcome = 'ok'
    try {
      await check(vector, vectors)
    } catch (error) {
      outcome = error instanceof Refused ? error.code : `fault: ${error.message}`
    }
    if (outcome === vector.expect) result.held++
    else result.failed.push(`${vector.name}: ${outcome} instead of ${vector.expect}`)
  }
}
process.stdout.write(JSON.stringify(report))
