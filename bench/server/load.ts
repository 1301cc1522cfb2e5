import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

/** How many calls were answered, and how long that took. */
export interface Load {
  readonly calls: number
  readonly seconds: number
}

/** Sends the same request again and again over some connections, each as soon as the last is answered. */
export async function sendLoad(
  url: string,
  path: string,
  body: string,
  ms: number,
  connections = 32,
  headers = '',
): Promise<Load> {
  const { host, hostname, port } = new URL(url)
  const request = Buffer.from(
    `POST ${path} HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\n${headers}Content-Length: ${String(Buffer.byteLength(body))}\r\n\r\n${body}`,
  )
  const sockets = await Promise.all(
    Array.from({ length: connections }, async () => {
      const socket = connect({ port: Number(port), host: hostname, noDelay: true })
      await once(socket, 'connect')
      return socket
    }),
  )
  let calls = 0
  const began = performance.now()
  const end = began + ms
  await Promise.all(sockets.map((socket) => loop(socket, request, () => ++calls, end)))
  const seconds = (performance.now() - began) / 1_000
  for (const socket of sockets) socket.destroy()
  return { calls, seconds }
}

function loop(socket: Socket, request: Buffer, onAnswer: () => void, end: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let answer = ''
    socket.on('data', (chunk: Buffer) => {
      answer = answer === '' ? chunk.toString('latin1') : answer + chunk.toString('latin1')
      if (!isComplete(answer)) return
      if (!answer.startsWith('HTTP/1.1 200')) {
        reject(new Error(`The server answered: ${answer.slice(0, 300)}`))
        return
      }
      answer = ''
      onAnswer()
      if (performance.now() < end) socket.write(request)
      else resolve()
    })
    socket.on('error', reject)
    socket.write(request)
  })
}

function isComplete(answer: string): boolean {
  const head = answer.indexOf('\r\n\r\n')
  if (head === -1) return false
  const length = /\r\ncontent-length: (\d+)/i.exec(answer)
  if (length !== null && length.index < head) return answer.length >= head + 4 + Number(length[1])
  return answer.endsWith('0\r\n\r\n')
}
