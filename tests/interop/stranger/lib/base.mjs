// Bytes, strict JSON, identifiers.
import { createHash, createHmac, randomBytes, randomUUID } from 'node:crypto'

export class Refused extends Error {
  constructor (code, reason = '') { super(reason ? `${code}: ${reason}` : code); this.code = code; this.reason = reason }
}
export const refuse = (code, reason) => { throw new Refused(code, reason) }
export const need = (ok, code, reason) => { if (!ok) refuse(code, reason) }

export const utf8 = s => Buffer.from(s, 'utf8')
export const concat = (...parts) => Buffer.concat(parts.map(p => typeof p === 'string' ? utf8(p) : Buffer.from(p)))
export const sha256 = b => createHash('sha256').update(b).digest()
export const hmac256 = (key, b) => createHmac('sha256', key).update(b).digest()
export const random = n => randomBytes(n)
export const uuid4 = () => randomUUID()
export const now = () => Math.floor(Date.now() / 1000)

export function uuid7 () {
  const b = random(16)
  b.writeUIntBE(Date.now(), 0, 6)
  b[6] = 0x70 | (b[6] & 0x0f); b[8] = 0x80 | (b[8] & 0x3f)
  return b.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

export const b64 = b => Buffer.from(b).toString('base64url')
export function unb64 (text, code = 'malformed') {
  need(typeof text === 'string' && /^[A-Za-z0-9_-]*$/.test(text) && text.length % 4 !== 1, code, 'base64url')
  const b = Buffer.from(text, 'base64url')
  need(b64(b) === text, code, 'base64url')
  return b
}
export function unb64std (text, code = 'malformed') {
  need(typeof text === 'string' && /^[A-Za-z0-9+/]*={0,2}$/.test(text), code, 'base64')
  const b = Buffer.from(text, 'base64')
  need(b.toString('base64') === text, code, 'base64')
  return b
}
export const digest = b => b64(sha256(b))

const MAX_DEPTH = 16
export function parse (bytes, code = 'malformed') {
  const bad = reason => refuse(code, reason)
  let s
  if (typeof bytes === 'string') s = bytes
  else {
    if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) bad('byte-order-mark')
    try { s = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes) } catch { bad('not-utf8') }
  }
  if (s.charCodeAt(0) === 0xfeff) bad('byte-order-mark')
  let i = 0
  const ws = () => { while (i < s.length && ' \t\n\r'.includes(s[i])) i++ }
  const string = () => {
    const from = i++
    for (;; i++) {
      if (i >= s.length || s.charCodeAt(i) < 0x20) bad('syntax')
      if (s[i] === '"') break
      if (s[i] === '\\') i++
    }
    i++
    let out
    try { out = JSON.parse(s.slice(from, i)) } catch { bad('syntax') }
    if (!out.isWellFormed()) bad('character')
    if (out.includes('\0')) bad('character')
    return out
  }
  const value = depth => {
    ws()
    const c = s[i]
    if (c === '"') return string()
    if (c === '{' || c === '[') {
      if (depth >= MAX_DEPTH) bad('too-deep')
      i++; ws()
      const close = c === '{' ? '}' : ']'
      const out = c === '{' ? {} : []
      if (s[i] === close) { i++; return out }
      for (;;) {
        if (c === '{') {
          ws(); if (s[i] !== '"') bad('syntax')
          const name = string()
          if (Object.hasOwn(out, name)) bad('duplicate-member')
          ws(); if (s[i++] !== ':') bad('syntax')
          Object.defineProperty(out, name, { value: value(depth + 1), enumerable: true, configurable: true, writable: true })
        } else out.push(value(depth + 1))
        ws()
        if (s[i] === close) { i++; return out }
        if (s[i++] !== ',') bad('syntax')
      }
    }
    for (const [word, v] of [['true', true], ['false', false], ['null', null]]) if (s.startsWith(word, i)) { i += word.length; return v }
    if (/^(?:NaN|-?Infinity)/.test(s.slice(i, i + 9))) bad('not-a-number')
    const m = /^-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/.exec(s.slice(i, i + 400))
    if (!m) bad('syntax')
    if (m[1] || m[2]) bad('float')
    i += m[0].length
    const n = Number(m[0])
    if (!Number.isSafeInteger(n)) bad('integer-range')
    return n
  }
  const out = value(0)
  ws()
  if (i !== s.length) bad('syntax')
  return out
}

export function members (object, names, code, reason = 'members') {
  need(object && typeof object === 'object' && !Array.isArray(object), code, reason)
  const have = Object.keys(object)
  need(have.length === names.length && names.every(n => Object.hasOwn(object, n)), code, reason)
  return object
}
export function canonical (v) { // sorted members, no white space, ASCII
  if (Array.isArray(v)) return '[' + v.map(canonical).join(',') + ']'
  if (v && typeof v === 'object') return '{' + Object.keys(v).sort().map(k => canonical(k) + ':' + canonical(v[k])).join(',') + '}'
  return JSON.stringify(v).replace(/[\u007f-\uffff]/g, c => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0'))
}
export const same = (a, b) => canonical(a) === canonical(b)

export const PATTERN = {
  party: /^[a-z][a-z0-9-]{1,39}$/,
  credential: /^[a-z][a-z0-9-]{1,39}\.[a-z0-9]{4,12}$/,
  ref: /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  act: /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  digest: /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/
}
