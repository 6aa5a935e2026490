/** A deadline comes whatever the garbage collector does, and leaves nothing behind. */

import { getEventListeners } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, it } from 'vitest'
import { isTimeout, withDeadline } from '../src/deadline.ts'

setFlagsFromString('--expose-gc')
const collectGarbage: () => void = runInNewContext('gc')

/** Work that only its signal ends. */
const endless = (signal: AbortSignal) =>
  new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))

it('ends work that takes too long, though garbage is collected meanwhile', async () => {
  const outer = new AbortController()
  const ended = withDeadline(100, outer.signal, endless).catch((error: unknown) => error)
  for (let i = 0; i < 5; i++) {
    await delay(10)
    collectGarbage()
  }
  expect(isTimeout(await ended)).toBe(true)
  expect(getEventListeners(outer.signal, 'abort')).toEqual([])
})

it('ends work when the outer signal does, with its reason', async () => {
  const outer = new AbortController()
  const ended = withDeadline(60_000, outer.signal, endless)
  outer.abort(new Error('enough'))
  await expect(ended).rejects.toThrow('enough')
  await expect(withDeadline(60_000, outer.signal, async () => 'never begun')).rejects.toThrow('enough')
})

it('lets work that is done in time be, and keeps nothing of the outer signal', async () => {
  const outer = new AbortController()
  expect(await withDeadline(60_000, outer.signal, async () => 'done')).toBe('done')
  expect(await withDeadline(60_000, undefined, async () => 'done')).toBe('done')
  await expect(withDeadline(60_000, outer.signal, async () => Promise.reject(new Error('no')))).rejects.toThrow('no')
  expect(getEventListeners(outer.signal, 'abort')).toEqual([])
})
