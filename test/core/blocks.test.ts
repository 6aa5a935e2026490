import { expect, it } from 'vitest'
import { type AskingState, askingOf, BLOCK_CAUSES, findBlocks } from '../../src/core/blocks.ts'

const NOW = Date.parse('2026-01-31T10:00:00Z')
const LATER = NOW + 600_000
const bad = { since: NOW - 60_000, count: 3, refusals: 0, reason: 'HTTP 401' }
const state = (more: Partial<AskingState> = {}): AskingState => ({
  account: 'seven',
  health: {},
  now: NOW,
  pausedQueues: [],
  workerSeenMsAgo: 5_000,
  ...more,
})

const CASES: [Partial<AskingState>, object[]][] = [
  [{}, []],
  [{ health: { pausedUntil: NOW - 1, bad } }, []],
  [
    { health: { trouble: 'refused', bad, pausedUntil: LATER } },
    [
      {
        cause: 'refused',
        account: 'seven',
        since: bad.since,
        until: LATER,
        message: 'account "seven" is refused, and nobody asks until 2026-01-31T10:10:00.000Z: HTTP 401',
      },
    ],
  ],
  [
    { health: { trouble: 'unreachable', bad, pausedUntil: NOW } },
    [
      {
        cause: 'unreachable',
        account: 'seven',
        since: bad.since,
        message: 'account "seven" does not reach its provider, and only one message at a time is asked about: HTTP 401',
      },
    ],
  ],
  [{ health: { trouble: 'failing', bad } }, [{ cause: 'failing', message: expect.stringContaining('no good answer') }]],
  [
    { health: { pausedUntil: LATER } },
    [
      {
        cause: 'waiting',
        until: LATER,
        message: 'for account "seven" nobody asks until 2026-01-31T10:10:00.000Z: the provider wants to be left alone',
      },
    ],
  ],
  [{ health: { goneAt: NOW, bad, pausedUntil: LATER } }, [{ cause: 'waiting', since: bad.since, until: LATER }]],
  [
    { pausedQueues: ['dispatch', 'status-query.seven'], queueTrouble: 'is full' },
    [
      { cause: 'queue-paused', message: 'queue "dispatch" is paused' },
      { cause: 'queue-paused', message: 'queue "status-query.seven" is paused' },
      { cause: 'queue-away', message: 'the queue is away (is full)' },
    ],
  ],
  [{ workerSeenMsAgo: null }, [{ cause: 'no-worker', message: 'no worker has run yet' }]],
  [{ workerSeenMsAgo: 30_000 }, []],
  [
    { workerSeenMsAgo: 60_000 },
    [{ cause: 'no-worker', since: NOW - 60_000, message: 'no worker has run since 2026-01-31T09:59:00.000Z' }],
  ],
  [
    { neverAsked: 'query-off', health: { trouble: 'refused', bad }, workerSeenMsAgo: null },
    [{ cause: 'query-off', account: 'seven', message: 'account "seven" is set to query "off"' }],
  ],
  [{ neverAsked: 'not-configured' }, [{ cause: 'not-configured' }]],
]

it.each(CASES)('%j is kept back by these', (given, expected) => {
  const found = findBlocks(state(given))
  expect(found).toHaveLength(expected.length)
  expect(found).toMatchObject(expected)
})

it('every cause is found by one of these', () => {
  const found = CASES.flatMap(([given]) => findBlocks(state(given)).map(({ cause }) => cause))
  expect([...new Set(found)].sort()).toEqual([...BLOCK_CAUSES].sort())
})

it.each([
  [{ final: true, dueAt: undefined, isInBatch: false }, 'never'],
  [{ final: true, dueAt: NOW - 1, isInBatch: true }, 'never'],
  [{ final: false, dueAt: undefined, isInBatch: false }, 'never'],
  [{ final: false, dueAt: NOW + 1, isInBatch: true }, 'under-way'],
  [{ final: false, dueAt: NOW, isInBatch: false }, 'due'],
  [{ final: false, dueAt: NOW + 1, isInBatch: false }, 'later'],
])('%j is asked about: %s', (message, asking) => {
  expect(askingOf(message, NOW)).toBe(asking)
})
