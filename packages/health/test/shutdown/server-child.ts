import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createLogger } from '@quintet/core/logger'
import { WebSocketServer } from 'ws'
import { createHealth, gracefulShutdown, type ShutdownOptions } from '../../src/index.ts'

// A plain Node server with probes, slow requests and WebSockets, as somebody without the framework has it.
const {
  hooks: named = [],
  crash,
  withoutLogger,
  throwOnAbort,
  withSecond,
  ...options
} = JSON.parse(process.argv[2] ?? '{}') as Omit<ShutdownOptions, 'hooks'> & {
  hooks?: ('ok' | 'hang' | 'fail')[]
  crash?: boolean
  withoutLogger?: boolean
  throwOnAbort?: boolean
  /** Another server with a shutdown of its own, whose hook waits for the message `finish second`. */
  withSecond?: boolean
}
const say = (message: string): void => void process.send?.(message)

const health = createHealth({ nodeMetrics: false })
let finishSlow: () => void = () => undefined
const server = createServer((request, response) => {
  if (health.handle(request, response)) return
  if (request.url === '/slow') {
    response.writeHead(200)
    response.write('begin ')
    say('slow begun')
    finishSlow = () => response.end('end')
    return
  }
  response.end('hello')
})
const shutdown = gracefulShutdown(server, {
  ...options,
  health,
  ...(withoutLogger === true ? {} : { logger: createLogger() }),
  hooks: named.map((kind, at) => ({
    name: `${kind}-${at}`,
    timeout: 200,
    run: () => {
      say(`hook ${kind}-${at}`)
      if (kind === 'fail') throw new Error('cannot close')
      return kind === 'hang' ? new Promise(() => undefined) : undefined
    },
  })),
})
new WebSocketServer({ server }).on('connection', () => say('socket open'))
shutdown.signal.addEventListener('abort', () => say('stopping'))
if (throwOnAbort === true) {
  shutdown.signal.addEventListener('abort', () => {
    throw new Error('a listener throws')
  })
}
const second = Promise.withResolvers<void>()
if (withSecond === true) {
  gracefulShutdown(createServer(), {
    hooks: [{ name: 'second', run: () => second.promise.then(() => say('hook second')) }],
  })
}
process.on('message', (message) => {
  if (message === 'finish second') second.resolve()
  if (message === 'finish') finishSlow()
  if (message === 'crash')
    setImmediate(() => crash === true && Promise.reject(new Error('nobody catches this')))
})
server.listen(0, '127.0.0.1', () => {
  health.markStarted()
  say(`port ${(server.address() as AddressInfo).port}`)
})
