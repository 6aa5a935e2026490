import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readJson } from '../../src/providers/json-text.ts'

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

describe('readJson', () => {
  it.each<[string, unknown]>([
    ['{"a":[1,2.5,"x",null]}', { a: [1, 2.5, 'x', null] }],
    ['\uFEFF[]', []],
    ['{"a":12345678901234567890}', { a: '12345678901234567890' }],
    ['[ 1234567890123456 , 123456789012345]', ['1234567890123456', 123_456_789_012_345]],
    ['1234567890123456', 1_234_567_890_123_456],
    ['{"a":"[1234567890123456","b":[1234567890123456]}', { a: '[1234567890123456', b: ['1234567890123456'] }],
    ['[1234567890123456.5, 1e3, -1]', [1_234_567_890_123_456.5, 1000, -1]],
  ])('reads %s', (text, value) => {
    expect(readJson(text)).toEqual({ ok: true, value })
  })

  it.each<[string, number, number]>([
    ['', 1, 1],
    ['{"a":1', 1, 7],
    ['{"a":{"b":"1"}', 1, 15],
    ['{\n  "a": 1,\n}', 3, 1],
    ['[1,]', 1, 4],
    ['[', 1, 2],
    ['{', 1, 2],
    ['{"a" 1}', 1, 6],
    ['[1 2]', 1, 4],
    ['[1}', 1, 3],
    ["{'a':1}", 1, 2],
    ['{"a":x}', 1, 6],
    ['{"a":"b}', 1, 9],
    ['{} {}', 1, 4],
    ['{1234567890123456:1}', 1, 2],
    ['[01]', 1, 3],
  ])('says where %j breaks off', (text, line, column) => {
    expect(readJson(text)).toEqual({ ok: false, mistake: { line, column } })
  })

  it('takes for JSON what is JSON, and finds the mistake within the text otherwise', () => {
    const broken = fc
      .tuple(fc.json(), fc.nat(), fc.nat(3), fc.constantFrom('', '"', '{', ']', ',', ':', '\\', '1', '\n'))
      .map(([json, at, length, instead]) => {
        const from = at % (json.length + 1)
        return json.slice(0, from) + instead + json.slice(from + length)
      })
    fc.assert(
      fc.property(fc.oneof(broken, fc.string(), fc.json()), (text) => {
        const reading = readJson(text)
        expect(reading.ok).toBe(isJson(text))
        if (reading.ok) return
        const lines = text.split('\n')
        expect(reading.mistake.line).toBeLessThanOrEqual(lines.length)
        expect(reading.mistake.column).toBeLessThanOrEqual((lines[reading.mistake.line - 1] ?? '').length + 1)
      }),
      { numRuns: 300 },
    )
  })

  it.each(['[', '{"a":', '"\\', '1', '"', ' ', '[1,', '\n', '{"a":{}'])('takes a megabyte of %j', (piece) => {
    expect(readJson(piece.repeat(2 ** 20 / piece.length)).ok).toBe(piece === '1')
  })
})
