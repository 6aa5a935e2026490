/**
 * JSON as providers send it: strict, but with whole numbers of any length kept exactly (an ID of 20 digits must not be
 * rounded), and with the place of a mistake instead of the words of the parser, which quote what was sent.
 */
import { parse } from 'lossless-json'

/** Where JSON breaks off, counted from 1. */
interface JsonMistake {
  line: number
  column: number
}

export type JsonReading = { ok: true; value: unknown } | { ok: false; mistake: JsonMistake }

/** Reads JSON, a byte order mark before it included. Whole numbers of 16 digits and more are read as texts. */
export function readJson(text: string): JsonReading {
  const json = text.replace(/^\uFEFF/, '')
  try {
    const value: unknown = JSON.parse(json)
    return { ok: true, value: /[:[,]\s*\d{16}/.test(json) ? parseExactly(json) : value }
  } catch {
    return { ok: false, mistake: findMistake(json) }
  }
}

function parseExactly(json: string): unknown {
  const parseNumber = (text: string) => (/^\d{16,}$/.test(text) ? text : Number(text))
  // Of a name that comes twice the last value counts, as it does where no number is long.
  return parse(json, null, { parseNumber, onDuplicateKey: ({ newValue }) => newValue })
}

/** The parser of exact numbers says where it stopped; what is nested too deep for it stops at the beginning. */
function findMistake(json: string): JsonMistake {
  let position = 0
  try {
    parse(json)
  } catch (error) {
    position = Number(/position (\d+)/.exec(error instanceof Error ? error.message : '')?.[1] ?? 0)
  }
  const before = json.slice(0, position)
  return { line: before.split('\n').length, column: position - before.lastIndexOf('\n') }
}
