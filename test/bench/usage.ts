/** CPU time that the product uses: its own processes, and what Postgres and Redis use for them. */
import { cpuSeconds, treeCpuSeconds } from './processes.ts'
import type { Services } from './services.ts'

/** CPU seconds so far; undefined where they are not known. */
export type CpuMeter = () => number | undefined

export function cpuOf({ postgresPid, redisPid }: Services, pids: readonly number[]): CpuMeter {
  return () => {
    const parts = [treeCpuSeconds(postgresPid ?? 0), cpuSeconds(redisPid), ...pids.map(cpuSeconds)]
    return parts.reduce((sum, part) => (sum === undefined || part === undefined ? undefined : sum + part), 0)
  }
}

/** The result of `run`, with the microseconds of CPU time for each of `count` that it handles; NaN where not known. */
export async function microsecondsEach<T>(
  cpu: CpuMeter,
  count: number,
  run: () => Promise<T>,
): Promise<{ result: T; cpuUs: number }> {
  const before = cpu() ?? Number.NaN
  const result = await run()
  return { result, cpuUs: (((cpu() ?? Number.NaN) - before) * 1e6) / count }
}
