import net from 'node:net'

/**
 * Asks for `net.BoundSocket`, by which a listening socket is handed on to a process.
 *
 * @throws Error in one line when this Node is too old, rather than where the first missing function is imported.
 */
export function assertNode(from: object = net): void {
  if ('BoundSocket' in from) return
  throw new Error(`quintet needs Node 24.19 or newer, or 26.4 or newer; this is ${process.versions.node}.`)
}
