// This client at an exchange that somebody else leads, at the time that it has there: node follow.mjs, with a job on standard input:
// the profile {exchange, server, root, party, credentials, enc, state}, how many seconds ahead the clock is, acts with their
// receipts and proofs, and referrals to view. It tells the key map, what it verified, and what it has pinned by then.
import fs from 'node:fs'
import { Party } from './lib/client.mjs'
import { Refused } from './lib/base.mjs'

const { profile, ahead_s: ahead, acts, refs } = JSON.parse(fs.readFileSync(0))
const real = Date.now
Date.now = () => real() + ahead * 1000

const party = new Party(profile)
await party.api.follow()
const verdicts = []
for (const { act, receipt, proof } of acts) {
  try { verdicts.push((await party.api.verifyReceipt(act, receipt, proof)).outcome) } catch (e) { if (!(e instanceof Refused)) throw e; verdicts.push(`${e.code} ${e.reason}`) }
}
const views = []
for (const ref of refs) views.push((await party.view(ref)).acts.map(a => `${a.act} ${a.iss}`))
process.stdout.write(JSON.stringify({ map: party.api.map.told(), verdicts, views, state: profile.state }))
