/**
 * JSON as providers send it: strict, but with whole numbers of any length kept exactly (an ID of 20 digits must not be
 * rounded), and with the place of a mistake instead of the words of the parser, which quote what was sent.
 */

/** Where JSON breaks off, counted from 1, and what should have been there. */
interface JsonMistake {
  line: number
  column: number
  expected: string
}

export type JsonReading = { ok: true; value: unknown } | { ok: false; mistake: JsonMistake }

/** Reads JSON, a byte order mark before it included. Whole numbers of 16 digits and more are read as texts. */
export function readJson(text: string): JsonReading {
  const json = text.replace(/^\uFEFF/, '')
  try {
    const value: unknown = JSON.parse(json)
    return { ok: true, value: /[:[,]\s*\d{16}/.test(json) ? JSON.parse(quoteLongNumbers(json)) : value }
  } catch {
    return { ok: false, mistake: findMistake(json) }
  }
}

const STRING_OR_NUMBER = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g

function quoteLongNumbers(json: string): string {
  return json.replace(STRING_OR_NUMBER, (token) =>
    /^(0|[1-9]\d*)$/.test(token) && token.length > 15 ? `"${token}"` : token,
  )
}

const TOKEN =
  /[ \t\r\n]*(?:(?<mark>[[\]{},:])|(?<string>"(?:[^"\\\p{Cc}]|[\u007F-\u009F]|\\(?:["\\/bfnrt]|u[\dA-Fa-f]{4}))*")|(?<word>-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null))/uy

type Expected = 'value' | 'value or ]' | 'name' | 'name or }' | ':' | ', or ]' | ', or }' | 'end'

const SAID: Readonly<Record<Expected, string>> = {
  value: 'a value',
  'value or ]': 'a value or "]"',
  name: 'a name in quotes',
  'name or }': 'a name in quotes or "}"',
  ':': '":"',
  ', or ]': '"," or "]"',
  ', or }': '"," or "}"',
  end: 'the end',
}

function findMistake(json: string): JsonMistake {
  const open: ('[' | '{')[] = []
  const afterValue = (): Expected => (open.length === 0 ? 'end' : open.at(-1) === '[' ? ', or ]' : ', or }')
  let expected: Expected = 'value'
  let position = 0
  for (;;) {
    TOKEN.lastIndex = position
    const token: RegExpExecArray | null = TOKEN.exec(json)
    const next: Expected | undefined = token ? step(expected, token.groups ?? {}, open, afterValue) : undefined
    if (!token || !next) return mistakeAt(json, position, SAID[expected])
    expected = next
    position = TOKEN.lastIndex
  }
}

/** What is expected after a token, or undefined when the token itself was not. Keeps `open`, the brackets not closed. */
function step(
  expected: Expected,
  { mark, string, word }: Partial<Record<string, string>>,
  open: ('[' | '{')[],
  afterValue: () => Expected,
): Expected | undefined {
  if (expected === 'name' || expected === 'name or }') {
    if (string !== undefined) return ':'
  } else if (expected === 'value' || expected === 'value or ]') {
    if (string !== undefined || word !== undefined) return afterValue()
    if (mark === '[' || mark === '{') {
      open.push(mark)
      return mark === '[' ? 'value or ]' : 'name or }'
    }
  }
  if (expected === ':' && mark === ':') return 'value'
  if (mark === ',' && expected === ', or ]') return 'value'
  if (mark === ',' && expected === ', or }') return 'name'
  if ((mark === ']' || mark === '}') && expected.endsWith(` or ${mark}`)) {
    open.pop()
    return afterValue()
  }
  return undefined
}

function mistakeAt(json: string, from: number, expected: string): JsonMistake {
  const position = from + (/^[ \t\r\n]*/.exec(json.slice(from))?.[0].length ?? 0)
  const before = json.slice(0, position)
  const line = before.split('\n').length
  return { line, column: position - before.lastIndexOf('\n'), expected }
}
