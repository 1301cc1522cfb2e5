import type { Writable } from 'node:stream'

/** Waits until a sink takes more, or it or the client behind it has gone. It leaves no listener behind. */
export function drained(sink: Writable, client: Writable = sink, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      sink.off('drain', done).off('close', done)
      client.off('close', done)
      signal?.removeEventListener('abort', done)
      resolve()
    }
    sink.on('drain', done).on('close', done)
    if (client !== sink) client.on('close', done)
    signal?.addEventListener('abort', done)
    if (sink.destroyed || client.destroyed || signal?.aborted === true) done()
  })
}
