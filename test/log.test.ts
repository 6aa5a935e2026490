/** The log never holds a secret of an account or a phone number, whatever is handed to it. */
import { DrizzleQueryError } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { createLog } from '../src/log.ts'
import { providers, secretFieldNames } from '../src/providers/registry.ts'

function logged(...lines: [fields: object, message: string][]): string {
  const written: string[] = []
  const destination = { write: (line: string) => void written.push(line) }
  const log = createLog({ level: 'info', secretFields: secretFieldNames(), destination })
  for (const [fields, message] of lines) log.info(fields, message)
  return written.join('')
}

const fields = ['authorization', 'recipient', ...secretFieldNames()]

it('knows the secrets of every provider', () => {
  expect(providers.length).toBeGreaterThan(1)
  expect(secretFieldNames().sort()).toEqual(['apiKey', 'productToken', 'secret', 'signingKey', 'webhookToken'])
})

it.each(fields)('takes out %s, alone, in a list, and within others', (field) => {
  const line = logged(
    [{ [field]: 'sEcReT' }, 'alone'],
    [{ headers: { [field]: ['sEcReT', 'sEcReT-2'] } }, 'within'],
    [{ request: { headers: { [field]: 'sEcReT' } } }, 'deeper'],
  )
  expect(line.match(/\[redacted\]/g)).toHaveLength(3)
  expect(line).not.toContain('sEcReT')
})

it('names an account, and shows none of its fields', () => {
  const account = { name: 'seven', apiKey: 'sEcReT', callback: { url: 'https://sEcReT@app.example' } }
  expect(JSON.parse(logged([{ account }, 'whole']))).toMatchObject({ account: 'seven' })
  expect(logged([{ account }, 'whole'])).not.toContain('sEcReT')
  expect(JSON.parse(logged([{ account: 'seven' }, 'by its name']))).toMatchObject({ account: 'seven' })
})

it('shows where the look-up moved', () => {
  const moved = JSON.parse(logged([{ account: 'seven', from: 'status', to: 'logbook' }, 'look-up changed']))
  expect(moved).toMatchObject({ from: 'status', to: 'logbook' })
})

it('shows the cause of a failed query, and none of its parameters', () => {
  const cause = Object.assign(new Error('deadlock detected'), { code: '40P01' })
  const line = logged([{ err: new DrizzleQueryError('UPDATE …', ['+491700000000'], cause) }, 'a query failed'])
  expect(JSON.parse(line)).toMatchObject({ err: { message: 'deadlock detected', code: '40P01' } })
  expect(line).not.toContain('491700000000')
})
