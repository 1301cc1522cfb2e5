import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo } from 'node:net'

/** A way to a server on which INFO says that it still loads its data, until it is told to finish. */
export interface LoadingProxy extends AsyncDisposable {
  readonly url: string
  finish(): void
}

export async function startLoadingProxy(url: string): Promise<LoadingProxy> {
  const target = new URL(url)
  let loading = true
  const server = createServer((near) => {
    const far = connect(Number(target.port), target.hostname)
    near.pipe(far)
    far.on('data', (chunk) => {
      const text = chunk.toString('latin1')
      near.write(loading ? text.replace('\r\nloading:0\r\n', '\r\nloading:1\r\n') : text, 'latin1')
    })
    far.on('close', () => near.destroy())
    near.on('close', () => far.destroy())
    for (const socket of [near, far]) socket.on('error', () => socket.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`,
    finish() {
      loading = false
    },
    async [Symbol.asyncDispose]() {
      server.close()
    },
  }
}
