import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** A network between client and server that can go slow or silent while its connections stay open. */
export interface Proxy extends AsyncDisposable {
  readonly port: number
  readonly url: string
  /** Milliseconds by which everything is delayed, or `'silent'`: what is sent from then on is lost. */
  set(delay: number | 'silent'): void
  /** From the next answer that contains the text on, the answers on its connection come so many milliseconds late. */
  hold(text: string, milliseconds: number): void
  /** Ends all connections; what is still under way on them is lost. */
  cut(): void
}

export async function startProxy(url: string): Promise<Proxy> {
  const target = new URL(url)
  const sockets = new Set<Socket>()
  let delay: number | 'silent' = 0
  let held: { readonly text: string; readonly milliseconds: number } | undefined
  const server = createServer((near) => {
    const far = connect(Number(target.port), target.hostname)
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from)
      let released: Promise<unknown> | undefined
      from.on('data', (chunk: Buffer) => {
        if (from === far && held !== undefined && chunk.includes(held.text)) {
          released = sleep(held.milliseconds)
          held = undefined
        }
        if (released !== undefined) void released.then(() => to.write(chunk))
        else if (delay === 0) to.write(chunk)
        else if (delay !== 'silent') setTimeout(() => to.write(chunk), delay)
      })
      // The end is as slow as what was sent before it.
      from.on('close', () =>
        typeof delay === 'number' ? setTimeout(() => to.destroy(), delay) : to.destroy(),
      )
      from.on('error', () => to.destroy())
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const cut = (): void => {
    for (const socket of sockets) socket.destroy()
    sockets.clear()
  }
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    set(value) {
      delay = value
    },
    hold(text, milliseconds) {
      held = { text, milliseconds }
    },
    cut,
    async [Symbol.asyncDispose]() {
      cut()
      server.close()
      await once(server, 'close')
    },
  }
}
