import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { createAgenda } from '../../src/sandbox/agenda.ts'
import { createRandom } from '../../src/sandbox/random.ts'

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000_000 })
})
afterEach(() => {
  vi.useRealTimers()
})

it('runs everything at its time, in order, on one timer', () => {
  const agenda = createAgenda()
  const random = createRandom(3)
  const times = Array.from({ length: 5_000 }, () => 1_000_000 + Math.floor(random() * 10_000))
  const ran: number[] = []
  for (const at of times) {
    agenda.add(at, () => {
      expect(Date.now()).toBeGreaterThanOrEqual(at)
      ran.push(at)
    })
  }
  expect(vi.getTimerCount()).toBe(1)
  vi.advanceTimersByTime(5_000)
  expect(ran).toEqual(times.filter((at) => at <= 1_005_000).sort((a, b) => a - b))
  vi.advanceTimersByTime(5_000)
  expect(ran).toEqual([...times].sort((a, b) => a - b))
  expect(vi.getTimerCount()).toBe(0)
})

it('takes entries while it runs, and past ones soon', () => {
  const agenda = createAgenda()
  const ran: string[] = []
  agenda.add(0, () => {
    ran.push('past')
    agenda.add(1_000_010, () => ran.push('later'))
    agenda.add(1_000_005, () => ran.push('sooner'))
  })
  vi.advanceTimersByTime(10)
  expect(ran).toEqual(['past', 'sooner', 'later'])
})

it('runs more than a turn allows, in as many turns as it takes', () => {
  const agenda = createAgenda()
  let ran = 0
  for (let count = 0; count < 2_500; count += 1) agenda.add(1_000_000, () => (ran += 1))
  vi.advanceTimersByTime(5)
  expect(ran).toBe(2_500)
})

it('waits longer than one timer can', () => {
  const agenda = createAgenda()
  const thirtyDays = 30 * 86_400_000
  let ran = false
  agenda.add(1_000_000 + thirtyDays, () => {
    ran = true
  })
  vi.advanceTimersByTime(thirtyDays - 1)
  expect(ran).toBe(false)
  vi.advanceTimersByTime(1)
  expect(ran).toBe(true)
})

it('runs nothing and leaves no timer once closed', () => {
  const agenda = createAgenda()
  const run = vi.fn()
  agenda.add(1_000_010, run)
  agenda.close()
  agenda.add(1_000_020, run)
  expect(vi.getTimerCount()).toBe(0)
  vi.advanceTimersByTime(100)
  expect(run).not.toHaveBeenCalled()
})
