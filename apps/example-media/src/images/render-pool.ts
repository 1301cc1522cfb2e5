import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { parseDuration } from '@quintet/core/kit'
import { createKeyedSemaphore, QuintetError, type Duration } from '@quintet/core'
import type { RenderReply, RenderRequest } from './render-child.ts'

export interface RenderPoolOptions {
  /** How many images are made at once. @defaultValue 2 */
  readonly children?: number
  /** How long one may take; then its process is killed. @defaultValue `'10s'` */
  readonly timeout?: Duration
}

/** Makes images in child processes, which can be killed: a thread in the middle of native code cannot. */
export interface RenderPool extends AsyncDisposable {
  /**
   * @throws QuintetError `ERR_MEDIA_BROKEN_IMAGE`, `ERR_MEDIA_IMAGE_TOO_COSTLY` (invalid-input),
   *   `ERR_CORE_RATE_LIMITED` when the user, or the tenant, has too many that wait.
   */
  render(user: RenderUser, request: RenderRequest, signal: AbortSignal): Promise<Uint8Array>
}

/** In whose name an image is made: tenants take turns, and in each tenant its users. */
export interface RenderUser {
  readonly tenantId: string
  readonly userId: string
}

const childModule = join(import.meta.dirname, 'render-child.ts')

export function createRenderPool({ children = 2, timeout = '10s' }: RenderPoolOptions = {}): RenderPool {
  const timeoutMs = parseDuration(timeout, 'createRenderPool.timeout')
  const ofTenant = createKeyedSemaphore({ total: children, perKey: 1, waitingPerKey: 64 })
  // A user stands in the line of their tenant once; those who ask for more wait for themselves.
  const ofUser = createKeyedSemaphore({ total: Number.MAX_SAFE_INTEGER, perKey: 1, waitingPerKey: 8 })
  const idle: ChildProcess[] = []
  const all = new Set<ChildProcess>()
  const closing = new AbortController()

  function start(): ChildProcess {
    // Nothing of the environment: hostile bytes are read there, and there is nothing to be found.
    const child = fork(childModule, { serialization: 'advanced', env: {}, execArgv: [], stdio: 'ignore' })
    all.add(child)
    // It could not be started, or asked.
    child.on('error', () => child.kill('SIGKILL'))
    child.once('exit', () => {
      all.delete(child)
      const index = idle.indexOf(child)
      if (index >= 0) idle.splice(index, 1)
    })
    return child
  }

  async function ask(request: RenderRequest, signal: AbortSignal): Promise<Uint8Array> {
    const child = idle.pop() ?? start()
    const late = AbortSignal.timeout(timeoutMs)
    const ended = AbortSignal.any([signal, late, closing.signal])
    try {
      child.send(request)
      const reply = await firstOf(child, ended)
      idle.push(child)
      if ('bytes' in reply) return reply.bytes
      throw refusal('ERR_MEDIA_BROKEN_IMAGE', `The image cannot be read: ${reply.problem}`)
    } catch (error) {
      if (error instanceof QuintetError) throw error
      child.kill('SIGKILL')
      signal.throwIfAborted()
      if (late.aborted) {
        throw refusal(
          'ERR_MEDIA_IMAGE_TOO_COSTLY',
          `The image takes more than ${timeoutMs / 1_000} s to make.`,
        )
      }
      throw error
    }
  }

  return {
    render: ({ tenantId, userId }, request, signal) =>
      ofUser.take(JSON.stringify([tenantId, userId]), signal, () =>
        ofTenant.take(tenantId, signal, () => ask(request, signal)),
      ),
    async [Symbol.asyncDispose]() {
      closing.abort()
      const exits = [...all].map((child) => once(child, 'exit'))
      for (const child of all) child.kill('SIGKILL')
      await Promise.all(exits)
    },
  }
}

/** What the child answers; rejects when it ends, or must. */
async function firstOf(child: ChildProcess, ended: AbortSignal): Promise<RenderReply> {
  ended.throwIfAborted()
  const over = new AbortController()
  const { signal } = over
  try {
    return await Promise.race([
      once(child, 'message', { signal }).then(([reply]) => reply as RenderReply),
      once(child, 'exit', { signal }).then(([code, by]) => {
        throw new Error(`The process that makes images ended with ${String(code ?? by)}.`)
      }),
      once(ended, 'abort', { signal }).then(() => {
        throw ended.reason
      }),
    ])
  } finally {
    over.abort()
  }
}

function refusal(code: string, message: string): QuintetError {
  return new QuintetError(message, { code, kind: 'invalid-input' })
}
