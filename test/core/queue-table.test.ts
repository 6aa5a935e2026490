import { expect, it } from 'vitest'
import { describeQueue, findQueueRow, queueNamesOf } from '../../src/core/queue-table.ts'

it('names a queue of each kind, and one more of some for each account', () => {
  expect(queueNamesOf(['a', 'b'])).toEqual([
    'track',
    'dispatch',
    'status-query.a',
    'status-query.b',
    'expire',
    'callbacks',
  ])
})

it.each<[string, boolean]>([
  ...queueNamesOf(['main']).map((name): [string, boolean] => [name, true]),
  ['status-query.', true],
  ['status-query', false],
  ['tracks', false],
  ['Track', false],
])('keeps its own names from apps: %s', (name, isOwn) => {
  expect(findQueueRow(name) !== undefined).toBe(isOwn)
})

it('has words for each queue, and others for those that accounts name', () => {
  const words = [...queueNamesOf(['main']), 'sms-changes'].map(describeQueue)
  expect(new Set(words).size).toBe(words.length)
  expect(describeQueue('sms-changes')).toContain('your app')
})
