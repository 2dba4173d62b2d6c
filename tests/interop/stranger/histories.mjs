// What this client makes of given keys logs: node histories.mjs, with [{leaves, sealable, seal}] on standard input. It tells of
// every leaf whether it counts, of the whole log what stands in it, and answers whom one may seal to and whose signatures hold.
import fs from 'node:fs'
import { KeyMap } from './lib/keyslog.mjs'
import { Refused } from './lib/base.mjs'

const attempt = fn => { try { return fn() } catch (e) { if (!(e instanceof Refused)) throw e; return e.code } }
const told = []
for (const { leaves, sealable, seal } of JSON.parse(fs.readFileSync(0))) {
  const map = new KeyMap()
  const verdicts = leaves.map(leaf => attempt(() => map.add(leaf) && 'taken'))
  told.push({
    verdicts,
    map: map.told(),
    sealable: sealable.map(([party, time]) => map.sealable(party, time).map(e => e.kid)),
    seal: seal.map(([credential, iat, now, kids]) => attempt(() => map.takenKeys(credential, iat, now, kids).require))
  })
}
process.stdout.write(JSON.stringify(told))
