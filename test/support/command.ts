/**
 * The commands that speak to a service, run in this process as `src/cli.ts` runs them: a process of their own would test
 * the same for a hundred times the work. One at a time, because they share the process's streams.
 */
import { Readable } from 'node:stream'
import { format } from 'node:util'
import { Command } from 'commander'
import { vi } from 'vitest'
import { addClientCommands } from '../../src/cli/client-commands.ts'
import { tellFailure } from '../../src/cli/failure.ts'

export interface Ended {
  code: number | NodeJS.Signals
  stdout: string
  stderr: string
}

/** Runs a command to its end. Rejects with an error that the command line would print with its stack. */
export async function runCommand(
  args: readonly string[],
  { input, environment }: { input: string; environment: Readonly<Record<string, string>> },
): Promise<Ended> {
  const written = { stdout: '', stderr: '' }
  const capture = (name: 'stdout' | 'stderr', method: 'log' | 'error') => [
    vi.spyOn(process[name], 'write').mockImplementation(((chunk: Uint8Array | string, ...rest: unknown[]) => {
      written[name] += typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString()
      const done = rest.at(-1)
      if (typeof done === 'function') done()
      return true
    }) as typeof process.stdout.write),
    vi.spyOn(console, method).mockImplementation((...values) => {
      written[name] += `${format(...values)}\n`
    }),
  ]
  const before = process.exitCode
  process.exitCode = undefined
  for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value)
  const spies = [
    ...capture('stdout', 'log'),
    ...capture('stderr', 'error'),
    vi.spyOn(process, 'stdin', 'get').mockReturnValue(Readable.from([Buffer.from(input)]) as typeof process.stdin),
  ]
  try {
    const program = new Command('lastword').showHelpAfterError().exitOverride()
    addClientCommands(program, () => new Promise(() => {}))
    await program.parseAsync(args, { from: 'user' }).catch((error: unknown) => {
      process.exitCode = tellFailure(error)
    })
    return { code: Number(process.exitCode ?? 0), ...written }
  } finally {
    for (const spy of spies) spy.mockRestore()
    vi.unstubAllEnvs()
    process.exitCode = before
  }
}
