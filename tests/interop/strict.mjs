// Strict JSON and canonical base64url, written from the protocol text and not from the Python code.

const MAX_DEPTH = 16

export class Refused extends Error {
  constructor(code, reason) {
    super(reason ? `${code}: ${reason}` : code)
    this.code = code
    this.reason = reason
  }
}

const malformed = (reason) => new Refused('malformed', reason)

export function unb64u(text, exact) {
  if (typeof text !== 'string' || !/^[A-Za-z0-9_-]*$/.test(text) || text.endsWith('\n')) throw malformed('base64url')
  const bytes = new Uint8Array(Buffer.from(text, 'base64url'))
  if (b64u(bytes) !== text) throw malformed('base64url')
  if (exact !== undefined && bytes.length !== exact) throw malformed('length')
  return bytes
}

export const b64u = (bytes) => Buffer.from(bytes).toString('base64url')

export function parse(bytes) {
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) throw malformed('byte-order-mark')
  let text
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw malformed('not-utf8')
  }
  const reader = new Reader(text)
  const value = reader.value(0)
  reader.space()
  if (reader.at !== text.length) throw malformed('syntax')
  return value
}

class Reader {
  constructor(text) {
    this.text = text
    this.at = 0
  }

  space() {
    while (' \t\n\r'.includes(this.text[this.at] ?? 'x')) this.at++
  }

  take(pattern) {
    pattern.lastIndex = this.at
    const found = pattern.exec(this.text)
    if (found) this.at = pattern.lastIndex
    return found?.[0]
  }

  expect(mark) {
    this.space()
    if (this.text[this.at] !== mark) throw malformed('syntax')
    this.at++
  }

  next(mark) {
    this.space()
    if (this.text[this.at] !== mark) return false
    this.at++
    return true
  }

  value(depth) {
    this.space()
    if (this.next('{')) return this.object(depth + 1)
    if (this.next('[')) return this.array(depth + 1)
    if (this.text[this.at] === '"') return this.string()
    if (this.take(/NaN|-?Infinity/y)) throw malformed('not-a-number')
    const word = this.take(/true|false|null/y)
    if (word) return JSON.parse(word)
    const number = this.take(/-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y)
    if (number === undefined) throw malformed('syntax')
    if (/[.eE]/.test(number)) throw malformed('float')
    if (!Number.isSafeInteger(Number(number))) throw malformed('integer-range')
    return Number(number)
  }

  object(depth) {
    if (depth > MAX_DEPTH) throw malformed('too-deep')
    const members = new Map()
    if (!this.next('}')) {
      do {
        this.space()
        const name = this.string()
        this.expect(':')
        if (members.has(name)) throw malformed('duplicate-member')
        members.set(name, this.value(depth))
        if (members.has('__proto__')) throw malformed('members')
      } while (this.next(','))
      this.expect('}')
    }
    return Object.fromEntries(members)
  }

  array(depth) {
    if (depth > MAX_DEPTH) throw malformed('too-deep')
    const entries = []
    if (!this.next(']')) {
      do entries.push(this.value(depth))
      while (this.next(','))
      this.expect(']')
    }
    return entries
  }

  string() {
    const raw = this.take(/"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y)
    if (raw === undefined) throw malformed('syntax')
    const text = JSON.parse(raw)
    if (!text.isWellFormed() || text.includes('\0')) throw malformed('character')
    return text
  }
}
