/** The reading of a file by `lastword track`: separators, charsets, headers, and cells that only look like IDs. */
import { Readable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { type Entry, type Refusal, readEntries, readSource } from '../../src/cli/track-input.ts'

async function read(input: string | Buffer, pieceBytes = Number.POSITIVE_INFINITY): Promise<(Entry | Refusal)[]> {
  const bytes = Buffer.from(input as string)
  const size = Math.min(pieceBytes, bytes.length || 1)
  const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
    bytes.subarray(index * size, (index + 1) * size),
  )
  const entries: (Entry | Refusal)[] = []
  for await (const entry of readEntries(readSource('-', Readable.from(pieces)), undefined)) entries.push(entry)
  return entries
}

const entry = (line: number, messageId: string, more: object = {}): Entry => ({
  where: `line ${line}`,
  message: { messageId, ...more },
})

describe('CSV as spreadsheets save it', () => {
  const both = [entry(2, '1', { recipient: '+49 170 1' }), entry(3, '2')]
  it.each([
    ['commas', 'messageId,recipient\n1,+49 170 1\n2,\n', both],
    ['semicolons', 'messageId;recipient\r\n1;+49 170 1\r\n2;\r\n', both],
    ['tabs', 'messageId\trecipient\n1\t+49 170 1\n2\t\n', both],
    ['carriage returns alone', 'messageId;recipient\r1;+49 170 1\r2;\r', both],
    ['a tab before an empty cell', 'messageId\tsentAt\trecipient\n1\t\t+49 170 1\n', both.slice(0, 1)],
    ['one column', 'messageId\n1\n2', [entry(2, '1'), entry(3, '2')]],
    [
      'a first line that names the semicolon',
      'sep=;\r\nmessageId;recipient\r\n1;a,b',
      [entry(3, '1', { recipient: 'a,b' })],
    ],
    ['a first line that names another', 'sep=|\nmessageId|recipient\n1|a;b', [entry(3, '1', { recipient: 'a;b' })]],
    ['a first line that names it in quotes', '"sep=;"\nmessageId;recipient\n1;a', [entry(3, '1', { recipient: 'a' })]],
    ['a first line that names the tab', 'SEP=\t\nmessageId\trecipient\n1\ta', [entry(3, '1', { recipient: 'a' })]],
    ['the separator in quotes', '"messageId";"recipient"\n"1";"a;""b"""', [entry(2, '1', { recipient: 'a;"b"' })]],
    ['other separators in cells', 'messageId;recipient\n1;a,b\tc', [entry(2, '1', { recipient: 'a,b\tc' })]],
    ['a semicolon in a cell apart by commas', 'messageId,recipient\n1,a;b', [entry(2, '1', { recipient: 'a;b' })]],
    [
      'a line feed in quotes',
      'messageId;recipient\n"1";"a\nb"\n2;',
      [entry(3, '1', { recipient: 'a\nb' }), entry(4, '2')],
    ],
    [
      'names in another case, with spaces',
      ' Message ID ;SENT_AT;Call-back URL\n1;x;y',
      [entry(2, '1', { sentAt: 'x', callbackUrl: 'y' })],
    ],
    ['a column without a name at the end', 'messageId;recipient;\n1;a;\n', [entry(2, '1', { recipient: 'a' })]],
    [
      'empty lines before, within and at the end',
      '\n\nmessageId;recipient\n1;a\n\n2;a\n;\n ; \n\n',
      [entry(4, '1', { recipient: 'a' }), entry(6, '2', { recipient: 'a' })],
    ],
    ['metadata', 'messageId;metadata\n1;"{""a"":1}"', [entry(2, '1', { metadata: { a: 1 } })]],
    ['metadata as databases write it', 'messageId\tmetadata\n1\t{"a":1}', [entry(2, '1', { metadata: { a: 1 } })]],
    [
      'digits that a spreadsheet keeps as text',
      'messageId;recipient\n="0123";="0170"',
      [entry(2, '0123', { recipient: '0170' })],
    ],
    ['words for empty cells', 'messageId;sentAt;recipient;metadata\n1;NULL;\\N;#N/A', [entry(2, '1')]],
  ])('is read with %s', async (_, text, expected) => {
    expect(await read(text)).toEqual(expected)
  })

  const text = 'messageId;recipient;metadata\r\n1;Größe;"{""a"":""é""}"\r\n2;Ü;\r\n'
  const expected = [entry(2, '1', { recipient: 'Größe', metadata: { a: 'é' } }), entry(3, '2', { recipient: 'Ü' })]
  const little = (given: string) => Buffer.from(given, 'utf16le')
  it.each([
    ['UTF-8', Buffer.from(text)],
    ['UTF-8 with a mark', Buffer.from(`\ufeff${text}`)],
    ['UTF-16LE with a mark', little(`\ufeff${text}`)],
    ['UTF-16LE', little(text)],
    ['UTF-16BE with a mark', little(`\ufeff${text}`).swap16()],
    ['UTF-16BE', little(text).swap16()],
    ['Latin-1', Buffer.from(text, 'latin1')],
  ])('is read in %s, however it is cut into pieces', async (_, bytes) => {
    for (const size of [1, 2, 3, 7, 64, 1000]) expect(await read(bytes, size)).toEqual(expected)
  })

  it('is read with the letters that Windows-1252 has beyond Latin-1', async () => {
    const bytes = Buffer.concat([
      Buffer.from('messageId;recipient\n1;'),
      Buffer.from([0x80, 0x93, 0x94]),
      Buffer.from('\n'),
    ])
    expect(await read(bytes)).toEqual([entry(2, '1', { recipient: '€“”' })])
  })

  it.each([
    ['messageId;to\n1;2', 'The first line: found "to", expected the names of columns'],
    ['id\n1', 'The first line: found "id", expected'],
    ['recipient;sentAt\n1;2', 'The first line: found "recipient,sentAt", expected'],
    ['messageId;Message ID\n1;2', 'The first line: found "messageId" twice, expected'],
  ])('is refused with the header %j', async (given, message) => {
    await expect(read(given)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining(message),
    })
  })

  const NONE = [
    'NULL',
    'null',
    '(null)',
    'N/A',
    'n/a',
    'NA',
    '#N/A',
    '#NV',
    '#REF!',
    '#VALUE!',
    '#NAME?',
    '#DIV/0!',
    '\\N',
    'None',
    'nil',
    'undefined',
    'NaN',
    '-',
    '–',
    '<null>',
    '[NULL]',
  ]
  it.each(NONE)('has no ID in the cell %j', async (cell) => {
    expect(await read(`messageId;recipient\n1;a\n${cell};b\n2;c`)).toEqual([
      entry(2, '1', { recipient: 'a' }),
      {
        where: 'line 3',
        reason: `messageId: found "${cell}", which stands for none: the provider gave no ID for this one`,
      },
      entry(4, '2', { recipient: 'c' }),
    ])
  })

  it.each(['7.72E+10', '7,72E+10', '7.7232007287e10', '8E+15', '1e-7'])(
    'has a rounded ID in the cell %j',
    async (cell) => {
      const reason = `messageId: found "${cell}": the spreadsheet rounded it; format the column as text`
      expect(await read(`messageId;recipient\n${cell};`)).toEqual([{ where: 'line 2', reason }])
    },
  )

  it.each(['77232007287.0', '77232007287,00'])('has an ID that was a number in the cell %j', async (cell) => {
    const reason = `messageId: found "${cell}": the spreadsheet took it for a number, and may have rounded it; format the column as text`
    expect(await read(`messageId;recipient\n${cell};`)).toEqual([{ where: 'line 2', reason }])
  })

  it.each(['12345e67', '4711e3', 'order-1.0', 'E+10', 'nullable', '#1', 'n.v. 7', '1.2.0', '00123'])(
    'has an ID in the cell %j',
    async (cell) => {
      expect(await read(`messageId;recipient\n${cell};`)).toEqual([entry(2, cell)])
    },
  )

  it('leaves an empty cell to the service to refuse, which knows the rule', async () => {
    expect(await read('messageId;recipient\n;a')).toEqual([entry(2, '', { recipient: 'a' })])
  })
})

it('a long line without an end is read in time', async () => {
  const note = 'x'.repeat(1_000_000)
  const begun = performance.now()
  expect(await read(JSON.stringify({ messageId: '1', metadata: { note } }), 65_536)).toHaveLength(1)
  expect(performance.now() - begun).toBeLessThan(5_000)
})

it('NDJSON is read in UTF-16, too', async () => {
  const text = '\ufeff{"messageId":"1"}\r\n{"messageId":"n/a","recipient":"ü"}\r\n'
  expect(await read(Buffer.from(text, 'utf16le'), 5)).toEqual([entry(1, '1'), entry(2, 'n/a', { recipient: 'ü' })])
})
