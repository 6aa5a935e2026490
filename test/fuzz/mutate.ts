/** Damaged requests, and bodies made to hurt: deep, long, many, growing when inflated. */
import { brotliCompressSync, gzipSync } from 'node:zlib'
import type { Random } from './random.ts'
import { ACCOUNTS } from './receipts.ts'
import { type FuzzRequest, makeWrapped } from './wrap.ts'

export function makeMutated(random: Random, id: string): FuzzRequest {
  if (random.chance(0.04)) return makeHostile(random, id)
  const { expected: _, ...request } = makeWrapped(random, id)
  const name = [...request.name]
  for (let rounds = 1 + random.below(3); rounds > 0; rounds--) {
    const kind = random.pick(['body', 'body', 'body', 'body', 'query', 'type', 'encoding', 'splice'] as const)
    name.push(`damaged ${kind}`)
    if (kind === 'body') request.body = damage(random, request.body)
    if (kind === 'splice') request.body = splice(random, request.body, makeWrapped(random, `${id}9`).body)
    if (kind === 'query') request.query = toQuery(damage(random, Buffer.from(request.query || 'a=b')))
    if (kind === 'type') request.headers = withHeader(request.headers, 'Content-Type', headerText(random))
    if (kind === 'encoding') request.headers = withHeader(request.headers, 'Content-Encoding', random.pick(ENCODINGS))
  }
  return { ...request, name }
}

const ENCODINGS = [
  'gzip',
  'br',
  'deflate',
  'gzip, gzip, gzip, gzip, gzip, gzip',
  'identity',
  '',
  ',',
  'zstd',
  'br, deflate, gzip',
]

/** Pieces that begin, end or mean something to one reader or another. */
const PIECES: readonly string[] = [
  ...'{}[]<>"\'&=%,:;\\/+-0\0\n\r\t '.split(''),
  ...[
    'null',
    'NaN',
    '1e400',
    '-0',
    '9'.repeat(400),
    '1'.repeat(17),
    '0.1e-7',
    '"__proto__":',
    '__proto__[x]=1&',
    'constructor',
  ],
  ...['\\ud800', '\\u0000', '\\u00', '%00', '%ff%fe', '%u0041', '%', '%zz', '\uFEFF', '\u202e', '😀'],
  ...[
    '<!DOCTYPE a [<!ENTITY b "c">]>',
    '<![CDATA[',
    ']]>',
    '<!--',
    '-->',
    '<?xml',
    '?>',
    '&b;',
    '&#0;',
    '&#x110000;',
    '&lt',
    '</a>',
    '<a b=c>',
  ],
  ...['{"a":', '[[', '--', '--b0undary\r\n', '\r\n\r\n', 'msg_id=', '&status=', '[]', '[a][b]', '.', ']['],
]

/** Bytes flipped, cut, doubled, moved or put in between. */
function damage(random: Random, body: Buffer): Buffer {
  const at = random.below(body.length + 1)
  const length = random.pick([1, 1, 2, 7, random.below(body.length + 1)])
  const [before, piece, after] = [body.subarray(0, at), body.subarray(at, at + length), body.subarray(at + length)]
  switch (random.below(7)) {
    case 0:
      return Buffer.concat([before, Buffer.from(piece.map((byte) => byte ^ (1 << random.below(8)))), after])
    case 1:
      return Buffer.concat([before, after])
    case 2:
      return Buffer.concat([before, piece, piece, after])
    case 3:
      return Buffer.from(before)
    case 4:
      return Buffer.concat([before, Buffer.from(Array.from(piece.subarray(0, 20), () => random.below(256))), after])
    case 5:
      return Buffer.concat([after, piece, before])
    default:
      return Buffer.concat([
        before,
        Buffer.from(random.pick(PIECES)),
        random.chance(0.5) ? piece : Buffer.alloc(0),
        after,
      ])
  }
}

function splice(random: Random, one: Buffer, other: Buffer): Buffer {
  return Buffer.concat([one.subarray(0, random.below(one.length + 1)), other.subarray(random.below(other.length + 1))])
}

/** The characters that a client's library lets through: no blanks and no control characters. */
function toQuery(bytes: Buffer): string {
  return bytes
    .toString('latin1')
    .replace(/[^\x21-\xff]/g, '')
    .slice(0, 7_000)
}

function headerText(random: Random): string {
  const text = `${random.pick(['application/json', 'text/xml; charset=', 'multipart/form-data; boundary=', ''])}${random.pick(PIECES)}`
  return text.replace(/[^\t\x20-\x7e\x80-\xff]/g, '').slice(0, 300)
}

function withHeader(headers: readonly [string, string][], name: string, value: string): [string, string][] {
  return [...headers.filter(([other]) => other.toLowerCase() !== name.toLowerCase()), [name, value]]
}

/** A body of this many pieces at most; one in ten is near the bound of a megabyte. */
const MANY = [10, 100, 1_000, 1_500] as const

type Hostile = (random: Random, id: string) => string | Buffer

const receiptOf = (id: string) => `{"msg_id":"${id}","status":"DELIVERED","reference":"${id}"}`
/** Pieces in a row, a megabyte of them now and then. */
const many = (random: Random, piece: string) =>
  piece.repeat(random.chance(0.1) ? Math.floor(1_000_000 / piece.length) : random.pick(MANY))
const around = (random: Random, open: string, inside: string, close: string) => {
  const count = random.pick([3, 10, 18, 22, 100, 5_000, 100_000])
  return open.repeat(count) + inside + close.repeat(count)
}

const HOSTILE: Readonly<Record<string, Hostile>> = {
  'deep lists': (random, id) => around(random, '[', receiptOf(id), ']'),
  'deep objects': (random, id) => around(random, '{"a":', receiptOf(id), '}'),
  'deep, never closed': (random) => many(random, '{"a":['),
  'deep XML': (random, id) => around(random, '<a>', `<reference>${id}</reference><status>2</status>`, '</a>'),
  'deep names': (random, id) => `msg_id=${id}&status=READ&${many(random, 'a[b]')}=1`,
  'text in text in text': (random, id) => {
    let text = receiptOf(id)
    for (let depth = 1 + random.below(9); depth > 0; depth--)
      text = JSON.stringify(random.chance(0.5) ? text : { a: text })
    return text
  },
  'huge numbers': (random, id) =>
    `{"msg_id":${random.pick(['1e400', '9'.repeat(4_000), '-1', '1.5', '1e5', `"${id}"`])},"status":${random.pick(['1e400', '"READ"', '-7', '1.0'])},"reference":"${id}","timestamp":${random.pick(['1e400', '99999999999', '-1', '9'.repeat(500)])}}`,
  'a long value': (random, id) =>
    `{"msg_id":"${id}","status":"READ","reference":"${id}","x":"${many(random, 'long ')}"}`,
  'a long status': (random, id) => `{"msg_id":"${id}","status":"${many(random, 'R')}","reference":"${id}"}`,
  'a long ID': (random) => `{"msg_id":"${many(random, '7')}","status":"READ","reference":"${many(random, 'r')}"}`,
  'zero characters': (_random, id) =>
    `{"msg_id":"${id}","status":"RE\\u0000AD","reference":"a\\u0000b","foreign_id":"\\u0000"}`,
  'halves of characters': (_random, id) =>
    `{"msg_id":"${id}","status":"\\ud800","reference":"${id}","foreign_id":"\\udc00","\\ud800":1}`,
  'names of every object': (random, id) =>
    `{"__proto__":{"msg_id":"${id}","status":"READ"},"constructor":{"prototype":{"x":1}},"${random.pick(['msg_id', 'reference'])}":"${id}","status":"2","toString":1}`,
  'names of every object in a form': (_random, id) =>
    `__proto__[x]=1&constructor[prototype][y]=2&msg_id=${id}&reference=${id}&status=2&hasOwnProperty=1`,
  'names of every object in XML': (_random, id) =>
    `<a><constructor>1</constructor><reference>${id}</reference><msg_id>${id}</msg_id><status>2</status></a>`,
  'many fields': (random, id) => `${many(random, 'a=b&')}msg_id=${id}&reference=${id}&status=2`,
  'many names': (random, id) =>
    `${Array.from({ length: random.pick(MANY) }, (_, index) => `n${index}[x]=1`).join('&')}&msg_id=${id}&reference=${id}&status=2`,
  'many parts': (random, id) =>
    `${many(random, '--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n')}--b\r\nContent-Disposition: form-data; name="msg_id"\r\n\r\n${id}\r\n--b--`,
  'XML in XML': (random, id) => {
    let text = `<a><reference>${id}</reference><status>2</status></a>`
    for (let depth = random.pick([2, 5, 50, 300]); depth > 0; depth--)
      text = `<a>${text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')}</a>`
    return text
  },
  'many receipts': (random, id) =>
    `[${Array.from({ length: random.pick([...MANY, 12_000]) }, (_, index) => receiptOf(`${id}${index}`)).join()}]`,
  'one receipt many times': (random, id) => `[${many(random, `${receiptOf(id)},`)}${receiptOf(id)}]`,
  'one message with many statuses': (random, id) =>
    `[${Array.from({ length: random.pick(MANY) }, (_, index) => `{"msg_id":"${id}","status":"S${index}","reference":"${id}"}`).join()}]`,
  'many lines': (random, id) => `${many(random, '{"a":1}\n')}${receiptOf(id)}`,
  'comments without end': (random) => `<a>${many(random, '<!--')}`,
  'entities without end': (random) => `<a>${many(random, '&amp;&#65;&x;')}</a>`,
  'many attributes': (random, id) =>
    `<a reference="${id}" ${Array.from({ length: random.pick(MANY) }, (_, index) => `b${index}="1"`).join(' ')}><status>2</status></a>`,
  'a document type': (_random, id) =>
    `<!DOCTYPE a [<!ENTITY b "&c;&c;"><!ENTITY c SYSTEM "file:///etc/passwd">]><a><reference>${id}&b;</reference></a>`,
  'a bomb': (random) => random.pick(bombs()),
  'a receipt that grows': (random, id) =>
    gzipSync(
      `{"msg_id":"${id}","status":"READ","reference":"${id}","x":"${'a'.repeat(random.pick([900_000, 1_048_000, 1_100_000]))}"}`,
      { level: 1 },
    ),
  noise: (random) => Buffer.from(Array.from({ length: random.below(3_000) }, () => random.below(256))),
  'UTF-16 of an odd length': (_random, id) =>
    Buffer.concat([Buffer.from(`\uFEFF${receiptOf(id)}`, 'utf16le'), Buffer.from('x')]),
}

let made: readonly Buffer[] | undefined

/** Bodies that inflate to fifty megabytes and more, made once. */
function bombs(): readonly Buffer[] {
  if (made) return made
  const zeros = Buffer.alloc(50 * 1024 * 1024)
  const [zipped, brotli] = [gzipSync(zeros), brotliCompressSync(zeros)]
  made = [zipped, gzipSync(zipped), gzipSync(gzipSync(zipped)), brotli, gzipSync(brotli)]
  return made
}

function makeHostile(random: Random, id: string): FuzzRequest {
  const kind = random.pick(Object.keys(HOSTILE))
  const made = HOSTILE[kind]?.(random, id) ?? ''
  const body = Buffer.isBuffer(made) ? made : Buffer.from(made)
  const headers: [string, string][] = [
    ['Content-Type', random.pick(['application/json', 'application/x-www-form-urlencoded', 'text/xml'])],
    ...(random.chance(0.2) ? [['Content-Encoding', random.pick(ENCODINGS)] as [string, string]] : []),
  ]
  const account = random.pick(ACCOUNTS)
  return { account, method: 'POST', query: '', headers, body, isChunked: random.chance(0.1), name: [account, kind] }
}
