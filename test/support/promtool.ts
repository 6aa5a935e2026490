/**
 * Prometheus' own checks. Debian's package would start a server where it is installed, so promtool is only unpacked from it,
 * into a folder of the run.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { aptGet, execute, makeFolder, succeeds } from './programs.ts'
import { closeLater } from './service.ts'

const PACKAGE = 'prometheus'

/** promtool from the PATH, else from Debian's package. Rejects with what to install where neither can be had. */
export async function findPromtool(): Promise<string> {
  if (await succeeds('promtool', ['--version'])) return 'promtool'
  const folder = await makeFolder()
  closeLater(() => rm(folder, { recursive: true, force: true }))
  try {
    const download = () => aptGet(['download', PACKAGE], { cwd: folder })
    // A fresh machine has no list of packages yet.
    await download().catch(() => aptGet(['update']).then(download))
    await execute('sh', ['-c', `dpkg-deb -x ${PACKAGE}_*.deb .`], { cwd: folder })
  } catch (error) {
    const found = error instanceof Error ? error.message : String(error)
    throw new Error(`This needs promtool on this machine: install Prometheus (Debian's package ${PACKAGE}). ${found}`)
  }
  return join(folder, 'usr/bin/promtool')
}

/** Runs a program to its end with this input; its output holds what it said, errors included. */
export async function run(
  program: string,
  args: readonly string[],
  input = '',
): Promise<{ code: number; output: string }> {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk
    })
  }
  child.stdin.end(input)
  const [code] = await once(child, 'close')
  return { code, output }
}
