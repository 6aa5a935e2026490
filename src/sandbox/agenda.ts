/** Things to do at their time: one timer for all of them, however many there are, and none once it is closed. */

export interface Agenda {
  /** Runs `run` at `at` (epoch milliseconds), soon when that is past, never once the agenda is closed. */
  add(at: number, run: () => void): void
  /** Resolves after `ms`; never, once the agenda is closed. */
  pause(ms: number): Promise<void>
  close(): void
}

interface Entry {
  at: number
  run: () => void
}

/** Node runs a timer with a longer delay at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1
/** So that a great many entries due together do not keep requests waiting. */
const MOST_PER_TURN = 1_000

export function createAgenda(): Agenda {
  const heap: Entry[] = []
  let timer: NodeJS.Timeout | undefined
  let timerAt = Number.POSITIVE_INFINITY
  let closed = false

  const runDue = () => {
    timerAt = Number.POSITIVE_INFINITY
    for (let turn = 0; turn < MOST_PER_TURN && heap[0] && heap[0].at <= Date.now(); turn += 1) takeFirst(heap)?.run()
    arm()
  }
  const arm = () => {
    const first = heap[0]
    if (closed || !first || first.at >= timerAt) return
    clearTimeout(timer)
    timerAt = first.at
    timer = setTimeout(runDue, Math.min(Math.max(first.at - Date.now(), 0), LONGEST_TIMER_MS))
  }
  const add = (at: number, run: () => void) => {
    if (closed) return
    insert(heap, { at, run })
    arm()
  }

  return {
    add,
    pause: (ms) => new Promise((resolve) => add(Date.now() + ms, resolve)),
    close() {
      closed = true
      clearTimeout(timer)
      heap.length = 0
    },
  }
}

/** Keeps the binary heap: no entry is earlier than the one at half its index. */
function insert(heap: Entry[], entry: Entry): void {
  let index = heap.length
  while (index > 0) {
    const parentIndex = (index - 1) >> 1
    const parent = heap[parentIndex]
    if (!parent || parent.at <= entry.at) break
    heap[index] = parent
    index = parentIndex
  }
  heap[index] = entry
}

function takeFirst(heap: Entry[]): Entry | undefined {
  const first = heap[0]
  const moved = heap.pop()
  if (!moved || heap.length === 0) return first
  let index = 0
  for (;;) {
    const left = heap[2 * index + 1]
    const right = heap[2 * index + 2]
    const child = right && left && right.at < left.at ? right : left
    if (!child || child.at >= moved.at) break
    heap[index] = child
    index = 2 * index + (child === left ? 1 : 2)
  }
  heap[index] = moved
  return first
}
