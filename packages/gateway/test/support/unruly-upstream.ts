import { createRandom } from '@quintet/test-kit'
import { startRawServer, type RawServer } from './raw.ts'

const answers: readonly string[] = [
  'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok',
  'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok',
  'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n',
  `HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n${'x'.repeat(300_000)}`,
  'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nok',
  'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n',
  'HTTP/1.1 200 Gr\u00fc\u00dfe\r\ncontent-length: 2\r\n\r\nok',
  'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok',
  'HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload, </b>; rel="x, y"\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok',
  'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n\u0081\u0002hi',
  'HTTP/1.1 204 No Content\r\n\r\n',
  'HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n',
  'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno',
  'not http\r\n\r\n',
  '',
]

/** A server that answers, closes, resets, lies or is silent as the seed will have it. */
export function startUnrulyUpstream(seed: number): Promise<RawServer> {
  const random = createRandom(seed)
  return startRawServer((socket) => {
    const bytes = Buffer.from(answers[random(answers.length)] ?? '', 'latin1')
    switch (random(5)) {
      case 0:
        socket.resetAndDestroy()
        break
      case 1:
        socket.end(bytes)
        break
      default:
        socket.write(bytes)
    }
  })
}
