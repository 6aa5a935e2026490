/**
 * A TCP proxy that can be cut and restored, to take a server away from those who use it without stopping it; held, so that
 * neither side hears of the other; and aimed at another server, as a name is after a failover.
 */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { Transform } from 'node:stream'

export interface TcpProxy {
  port: number
  /** Ends every connection, and refuses new ones until `restore`. */
  cut(): Promise<void>
  restore(): Promise<void>
  /** Leads new connections to another server; those that are there stay. */
  aim(port: number): void
  /** Passes nothing on until `release`, and ends no connection. */
  hold(): void
  release(): void
  close(): Promise<void>
}

/** Sees what is about to be passed on to the server or to its client; false ends the connection instead. */
export type Watch = (to: 'server' | 'client', bytes: Buffer, connection: object) => boolean

export async function openProxy(given: { host: string; port: number }, watch?: Watch): Promise<TcpProxy> {
  const target = { ...given }
  let held: Promise<void> | undefined
  let release = () => {}
  const pass = (to: 'server' | 'client', connection: Socket) =>
    new Transform({
      async transform(bytes: Buffer, _encoding, done) {
        if (held) await held
        if (watch && !watch(to, bytes, connection)) connection.destroy()
        else done(null, bytes)
      },
    })
  const sockets = new Set<Socket>()
  const keep = (socket: Socket, other: Socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => {
      sockets.delete(socket)
      other.destroy()
    })
  }
  const server = createServer((incoming) => {
    const outgoing = connect(target)
    keep(incoming, outgoing)
    keep(outgoing, incoming)
    incoming.pipe(pass('server', incoming)).pipe(outgoing)
    outgoing.pipe(pass('client', incoming)).pipe(incoming)
  })
  const listen = async (port: number) => {
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
  }
  const cut = async () => {
    if (!server.listening) return
    const closed = once(server, 'close')
    server.close()
    for (const socket of sockets) socket.destroy()
    await closed
  }
  await listen(0)
  const { port } = server.address() as AddressInfo
  const aim = (other: number) => {
    target.port = other
  }
  return {
    port,
    aim,
    cut,
    restore: () => listen(port),
    hold() {
      held = new Promise((resolve) => {
        release = () => {
          held = undefined
          resolve()
        }
      })
    },
    release: () => release(),
    async close() {
      release()
      await cut()
    },
  }
}
