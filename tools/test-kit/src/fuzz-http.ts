import { connect, type Socket } from 'node:net'
import { setImmediate } from 'node:timers/promises'

export interface FuzzOptions {
  readonly url: string
  /** The same seed makes the same connections. */
  readonly seed: number
  /** What requests ask for. */
  readonly paths: readonly string[]
  /** What WebSocket handshakes ask for. */
  readonly socketPaths: readonly string[]
}

/** How many seconds a fuzz test runs: `FUZZ_SECONDS`, or few enough for every test run. */
export const fuzzSeconds = Number(process.env['FUZZ_SECONDS'] ?? 2)

const lanes = 24
/** How long a connection that waits for its answers is kept. */
const waitMs = 150

/**
 * Fuzzes an HTTP/1.1 server over raw connections: pipelining, upgrades, CONNECT, malformed heads and bodies, split
 * anywhere, ended by a reset, a half-close or a reader that stands still. Runs for {@link fuzzSeconds}.
 *
 * @returns the number of connections made.
 */
export async function fuzzHttp(options: FuzzOptions): Promise<number> {
  const random = createRandom(options.seed)
  const end = performance.now() + fuzzSeconds * 1_000
  let made = 0
  const lane = async (): Promise<void> => {
    while (performance.now() < end) {
      made += 1
      await attack(options, random)
    }
  }
  await Promise.all(Array.from({ length: lanes }, lane))
  return made
}

/** Numbers from 0 up to `below`, the same ones for the same seed (mulberry32). */
export function createRandom(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

async function attack(options: FuzzOptions, random: (below: number) => number): Promise<void> {
  const bytes = Buffer.from(
    Array.from({ length: 1 + random(5) }, () => part(options, random)).join(''),
    'latin1',
  )
  const pieces = cut(bytes, 1 + random(3), random)
  const ending = random(6)
  const { hostname, port } = new URL(options.url)
  const socket = connect(Number(port), hostname)
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  socket.on('error', () => undefined)
  if (ending !== 0) socket.resume()
  for (const piece of pieces) {
    socket.write(piece)
    await setImmediate()
  }
  await finish(socket, ending, closed)
}

async function finish(socket: Socket, ending: number, closed: Promise<void>): Promise<void> {
  const timer = setTimeout(() => socket.destroy(), waitMs)
  if (ending === 1) {
    await new Promise<void>((resolve) => (socket.connecting ? socket.once('connect', resolve) : resolve()))
    socket.resetAndDestroy()
  } else if (ending === 2) socket.end()
  else if (ending === 3) socket.once('data', () => socket.resetAndDestroy())
  else if (ending === 4) socket.once('data', () => socket.end())
  await closed
  clearTimeout(timer)
}

function cut(bytes: Buffer, count: number, random: (below: number) => number): Buffer[] {
  const at = Array.from({ length: count - 1 }, () => random(bytes.length)).toSorted((a, b) => a - b)
  return [0, ...at].map((start, index) => bytes.subarray(start, at[index] ?? bytes.length))
}

/** One request, or something in its place. */
function part({ paths, socketPaths }: FuzzOptions, random: (below: number) => number): string {
  const path = paths[random(paths.length)] ?? '/'
  const socketPath = socketPaths[random(socketPaths.length)] ?? '/'
  const handshake = (upgrade: string): string =>
    `GET ${socketPath} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: ${upgrade}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`
  const parts: readonly string[] = [
    `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`,
    `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`,
    `HEAD ${path} HTTP/1.1\r\nHost: a\r\n\r\n`,
    `GET ${path} HTTP/1.0\r\n\r\n`,
    `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello`,
    `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\nhello`,
    `POST ${path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n`,
    `POST ${path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n`,
    `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n`,
    `GET ${path} HTTP/1.1\r\nHost: a\r\nExpect: wonders\r\n\r\n`,
    `GET ${path} HTTP/1.1\r\n\r\n`,
    `GET ${path} HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`,
    handshake('websocket'),
    handshake('websocket'),
    handshake('h2c'),
    `${handshake('websocket')}\u0081\u0082\0\0\0\0hi`,
    'CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n',
    'CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\nearly',
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    'OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n',
    'no http at all\r\n\r\n',
    '\0\u0001\u0002\u00ff',
    '\r\n',
    `GET ${path} HTTP/1.1\r\nHo`,
  ]
  return parts[random(parts.length)] ?? ''
}
