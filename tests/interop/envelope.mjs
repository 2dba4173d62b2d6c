// Called by test_node.py: `node envelope.mjs open|seal|answer|challenge` with a JSON job on standard input.

import { answerChallenge, challenge, openBundle, publicOf, sealBundle, thumbprint } from './profile.mjs'
import { Refused, b64u, unb64u } from './strict.mjs'

const chunks = []
for await (const chunk of process.stdin) chunks.push(chunk)
const job = JSON.parse(Buffer.concat(chunks).toString('utf8'))
const utf8 = (text) => new TextEncoder().encode(text)

const commands = {
  open: () => openBundle(utf8(job.bundle), job.seeds, job.senders),
  seal: async () => ({ bundle: await sealBundle(job) }),
  answer: async () => ({ nonce: b64u(await answerChallenge(job.alg, unb64u(job.seed), unb64u(job.sealed))) }),
  challenge: async () => ({ sealed: await challenge(job.jwk, unb64u(job.nonce)) }),
  public: async () => {
    const jwk = publicOf(job.alg, unb64u(job.seed))
    return { jwk, kid: await thumbprint(jwk) }
  },
}

try {
  process.stdout.write(JSON.stringify(await commands[process.argv[2]]()))
} catch (error) {
  if (!(error instanceof Refused)) throw error
  process.stdout.write(JSON.stringify({ refused: error.code, reason: error.reason }))
}
