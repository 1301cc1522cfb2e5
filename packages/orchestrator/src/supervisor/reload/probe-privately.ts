import { connect } from 'node:net'

/** How long an answer may take, in milliseconds. */
const timeout = 5_000

/**
 * Asks whatever listens on a unix socket for an answer in HTTP; any status will do. By hand, since a supervisor has no other
 * use for an HTTP client, which would take its share of memory.
 *
 * @throws Error when there is none.
 */
export function probePrivately(path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(path)
    let answer = ''
    const fail = (reason: string): void => {
      socket.destroy()
      reject(new Error(`its socket ${path} gives no answer: ${reason}`))
    }
    socket.setEncoding('latin1')
    socket.setTimeout(timeout, () => fail(`nothing within ${timeout} ms`))
    socket.once('error', (error) => fail(error.message))
    socket.once('close', () => fail('it closed the connection'))
    socket.on('data', (text: string) => {
      answer += text
      if (answer.length < 12) return
      if (!/^HTTP\/1\.[01] \d{3}/.test(answer)) return fail('it is not HTTP')
      resolve()
      socket.destroy()
    })
    socket.write('GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n')
  })
}
