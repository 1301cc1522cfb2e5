import type { Socket } from 'node:net'

/** How much a client may send before its handshake has been answered. */
const earlyLimit = 64 * 1024

/**
 * Reads on while a WebSocket handshake waits for its answer: only a socket that is read tells that its client has left.
 * The returned function stops that and puts back what has come early.
 */
export function watchHandshake(client: Socket, head: Buffer): () => void {
  const early: Buffer[] = head.length > 0 ? [head] : []
  let size = head.length
  const leave = (): void => void client.destroy()
  const onData = (chunk: Buffer): void => {
    size += chunk.length
    if (size > earlyLimit) leave()
    else early.push(chunk)
  }
  client.on('data', onData).on('end', leave)
  return () => {
    client.off('data', onData).off('end', leave)
    client.pause()
    if (early.length > 0) client.unshift(Buffer.concat(early))
  }
}
