import { connect as connectPlain, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'

/**
 * Signs in to a Redis and pings it, without a client library.
 *
 * @throws Error with Redis' own words when it refuses, or the reason why it cannot be reached.
 */
export async function pingRedis(url: string, timeoutMs: number): Promise<void> {
  const { protocol, hostname, port, username, password } = new URL(url)
  if (protocol !== 'redis:' && protocol !== 'rediss:') throw new Error(`"${protocol}//" is not a Redis URL`)
  const target = { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port || 6379) }
  const commands: string[][] = [['PING']]
  const secret = decodeURIComponent(password)
  if (secret !== '')
    commands.unshift(['AUTH', ...(username === '' ? [] : [decodeURIComponent(username)]), secret])

  const socket: Socket =
    protocol === 'rediss:' ? connectTls({ ...target, servername: target.host }) : connectPlain(target)
  socket.setEncoding('utf8')
  try {
    await new Promise<void>((resolve, reject) => {
      let answer = ''
      socket.setTimeout(timeoutMs, () => reject(new Error(`no answer within ${timeoutMs} ms`)))
      socket.once('error', reject)
      socket.once('close', () => reject(new Error('the connection was closed')))
      socket.on('data', (text) => {
        answer += text
        const lines = answer.split('\r\n').slice(0, -1)
        const refusal = lines.find((line) => line.startsWith('-'))
        if (refusal !== undefined) reject(new Error(refusal.slice(1)))
        else if (lines.length === commands.length) resolve()
      })
      socket.write(commands.map(encode).join(''))
    })
  } finally {
    socket.destroy()
  }
}

function encode(command: readonly string[]): string {
  return `*${command.length}\r\n${command.map((part) => `$${Buffer.byteLength(part)}\r\n${part}\r\n`).join('')}`
}
