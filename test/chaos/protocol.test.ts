/** The model of the protocol: no way leads to a broken law, and each guard is what keeps one. */
import { expect, it } from 'vitest'
import { GUARDS, LAWS, search } from './protocol.ts'

it('keeps every law in every state', { timeout: 60_000 }, () => {
  const { states, broken } = search()
  expect([...broken]).toEqual([])
  expect(states).toBeGreaterThan(100_000)
})

it.each(GUARDS)('would break a law if it were not for this: %s', { timeout: 60_000 }, (guard) => {
  const { broken } = search([guard], { first: true })
  expect([...broken.keys()]).not.toEqual([])
  for (const law of broken.keys()) expect(LAWS).toContain(law)
})
