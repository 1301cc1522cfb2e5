import { connect } from 'node:net'
import { once } from 'node:events'

/** Sends bytes to a server and gives all that it answers until it closes, or until `until` is seen. */
export async function sendRaw(url: string, bytes: string | Buffer, until?: RegExp): Promise<string> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  let answer = ''
  const done = new Promise<void>((resolve) => {
    socket.on('data', (chunk: Buffer) => {
      answer += chunk.toString('latin1')
      if (until?.test(answer) === true) resolve()
    })
    socket.on('close', () => resolve())
    socket.on('error', () => resolve())
  })
  await once(socket, 'connect')
  socket.write(bytes)
  await done
  socket.destroy()
  return answer
}

/** A complete answer with a JSON body, without waiting for the connection to close. */
export const jsonAnswer = /\r\n\r\n[[{].*[\]}]$/s

/** Waits until a condition holds. */
export async function until(condition: () => boolean, timeout = 5_000): Promise<void> {
  const end = Date.now() + timeout
  while (!condition()) {
    if (Date.now() > end) throw new Error('The condition did not come true in time.')
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
