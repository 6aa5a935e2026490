/** The servers of a run, all its own, so that they can be killed: Postgres, on a disk that can be filled, and two of Redis. */
import { readFile, rm, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import postgres from 'postgres'
import { openEmbedded } from '../../src/db/embedded.ts'
import { execute, type RedisServer, startRedis } from '../support/programs.ts'
import { openProxy, type TcpProxy } from '../support/proxy.ts'

/** A database, at a place that stays the same whatever becomes of its server. */
export interface Database {
  /** Where it is now. */
  place: { port: number }
  /** Its URL by another port. */
  urlAt(port: number): string
  /** The run's own connections; those of its processes are named `lastword…`. */
  sql: postgres.Sql
  /** Undefined where the server is somebody else's. */
  server: PostgresServer | undefined
  close(): Promise<void>
}

interface PostgresServer {
  restart(): Promise<void>
  crash(): Promise<void>
  /** Starts it if it has gone down. */
  revive(): Promise<void>
  /** Undefined where it stands on no disk of its own. */
  fillDisk: (() => Promise<void>) | undefined
  emptyDisk(): Promise<void>
}

interface Moving {
  /** The gates to be told where the server is now. */
  gates: TcpProxy[]
}

/** Somebody else's database, in which nothing but what is in it can be broken. */
export async function useDatabase(url: string): Promise<Database> {
  const { hostname, port } = new URL(url)
  const gate = await openProxy({ host: hostname, port: Number(port) })
  const sql = connect(portOf(url, gate.port))
  const close = async () => {
    await sql.end({ timeout: 1 })
    await gate.close()
  }
  return { place: { port: Number(port) }, urlAt: (at) => portOf(url, at), sql, server: undefined, close }
}

/** Starts a Postgres with its data in a folder, on a disk of `diskBytes` where one can be had. */
export async function openDatabase(folder: string, { gates }: Moving, diskBytes?: number): Promise<Database> {
  const disk = join(folder, 'disk')
  if (diskBytes) await mountDisk(folder, disk, diskBytes)
  let embedded = await openEmbedded(disk)
  const gate = await openProxy({ host: '127.0.0.1', port: Number(new URL(embedded.url).port) })
  gates.push(gate)
  const sql = connect(portOf(embedded.url, gate.port))
  // Nobody takes this machine's power away; what a killed server has written stays.
  for (const setting of ['fsync', 'full_page_writes']) await sql.unsafe(`ALTER SYSTEM SET ${setting} = off`)
  await sql`SELECT pg_reload_conf()`
  const place = { port: Number(new URL(embedded.url).port) }
  const open = async () => {
    embedded = await openEmbedded(disk)
    place.port = Number(new URL(embedded.url).port)
    for (const one of gates) one.aim(place.port)
  }
  const pid = async () => Number((await readFile(join(disk, 'postgres/data/postmaster.pid'), 'utf8')).split('\n')[0])
  const ballast = join(disk, 'ballast')
  return {
    place,
    urlAt: (port) => portOf(embedded.url, port),
    sql,
    server: {
      async restart() {
        await embedded.close()
        await open()
      },
      async crash() {
        process.kill(await pid(), 'SIGKILL')
        await embedded.close()
        await open()
      },
      async revive() {
        const before = embedded
        await open()
        await before.close()
      },
      fillDisk: diskBytes ? () => fill(disk, ballast) : undefined,
      emptyDisk: () => rm(ballast, { force: true }),
    },
    async close() {
      await sql.end({ timeout: 1 })
      await embedded.close()
      await gate.close()
      if (diskBytes) await execute('umount', [disk])
    },
  }
}

function connect(url: string): postgres.Sql {
  const connection = { application_name: 'chaos', options: '-c default_transaction_read_only=off' }
  return postgres(url, { max: 4, onnotice: () => {}, connection, backoff: () => 0.2 })
}

function portOf(url: string, port: number): string {
  const moved = new URL(url)
  moved.host = `127.0.0.1:${port}`
  return moved.href
}

/** Whether a file can be mounted as a disk here; else why not. */
export async function findDiskTrouble(folder: string): Promise<string | undefined> {
  const disk = join(folder, 'probe')
  try {
    await mountDisk(folder, disk, 2 ** 24)
    await execute('umount', [disk])
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message.trim().split('\n').at(-1) : String(error)
  } finally {
    await rm(`${disk}.image`, { force: true })
  }
}

async function mountDisk(folder: string, disk: string, bytes: number): Promise<void> {
  const image = `${disk}.image`
  await execute('mkdir', ['-p', folder, disk])
  await execute('truncate', ['-s', String(bytes), image])
  await execute('mkfs.ext4', ['-q', '-m', '0', image])
  await execute('mount', ['-o', 'loop', image, disk])
  await execute('chmod', ['711', disk])
}

const NEARLY_NOTHING_BYTES = 2 ** 18

async function fill(disk: string, ballast: string): Promise<void> {
  const left = async () => {
    const { bavail, bsize } = await statfs(disk)
    return bavail * bsize
  }
  // It takes what there is, and fails for the file's own index.
  await execute('fallocate', ['-l', String(await left()), ballast]).catch(() => {})
  const after = await left()
  if (after > NEARLY_NOTHING_BYTES) throw new Error(`The disk is not full: ${after} bytes are left.`)
}

/** A Redis that writes down each command, and another that can take its place. */
export interface RedisPair {
  place: { port: number }
  command(...args: string[]): Promise<unknown>
  crash(downMs: number): Promise<void>
  freeze(): void
  thaw(): void
  failOver(ms: number): Promise<void>
  close(): Promise<void>
}

export async function openRedisPair({ gates }: Moving): Promise<RedisPair> {
  const settings = { appendonly: 'yes', appendfsync: 'everysec' }
  let first = await startRedis(settings)
  let second = await startRedis(settings)
  const place = { port: first.port }
  return {
    place,
    command: (...args) => first.command(...args),
    crash: (downMs) => first.crash(downMs),
    freeze: () => first.freeze(),
    thaw: () => first.thaw(),
    async failOver(ms) {
      await follow(second, first)
      await second.command('replicaof', 'no', 'one')
      const old = first
      first = second
      second = old
      await second.command('replicaof', '127.0.0.1', String(first.port))
      // Connections stay with the old one for a while, and find that it takes no writes.
      await delay(ms)
      place.port = first.port
      for (const gate of gates) gate.aim(first.port)
    },
    async close() {
      await Promise.all([first.close(), second.close()])
    },
  }
}

async function follow(replica: RedisServer, primary: RedisServer): Promise<void> {
  await replica.command('replicaof', '127.0.0.1', String(primary.port))
  for (let tries = 0; tries < 100; tries++) {
    if (String(await replica.command('info', 'replication')).includes('master_link_status:up')) return
    await delay(100)
  }
  throw new Error('The second Redis does not follow the first.')
}
