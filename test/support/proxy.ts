/**
 * A TCP proxy that can be cut and restored, to take a server away from those who use it without stopping it; and aimed at
 * another server, as a name is after a failover.
 */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export interface TcpProxy {
  port: number
  /** Ends every connection, and refuses new ones until `restore`. */
  cut(): Promise<void>
  restore(): Promise<void>
  /** Leads new connections to another server; those that are there stay. */
  aim(port: number): void
  close(): Promise<void>
}

export async function openProxy(given: { host: string; port: number }): Promise<TcpProxy> {
  const target = { ...given }
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
    incoming.pipe(outgoing).pipe(incoming)
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
  return { port, aim, cut, restore: () => listen(port), close: cut }
}
