import type { ClientLink } from '@quintet/core'
import { type TestHost, testUser } from '@quintet/core/testing'
import { httpLink, socketLink } from '../../src/client.ts'
import { directLink } from '../../src/direct.ts'
import { http, websocket } from '../../src/index.ts'
import { createLinks } from '../../src/link.ts'

export const alice = testUser({ userId: 'alice' })

/** A link of each kind to the same host as its user `alice`, and what it stands on. */
export const linkKinds: Record<
  string,
  (host: TestHost, directory: string) => Promise<ClientLink & AsyncDisposable>
> = {
  async httpLink(host) {
    const running = await http().start(host)
    return disposedWith(httpLink({ url: running.url ?? '', token: 'alice' }), () => running.close())
  },
  async socketLink(host) {
    const running = await websocket().start(host)
    const link = socketLink({ url: running.url ?? '', token: 'alice' })
    return disposedWith(link, async () => {
      await link[Symbol.asyncDispose]()
      await running.close()
    })
  },
  async 'a link between processes'(host, directory) {
    const common = { directory, secret: 'a secret of this test alone', system: 'library' }
    const running = await createLinks({ ...common, process: 'worker' })
      .expose()
      .start(host)
    const link = createLinks({ ...common, process: 'http' }).connect('worker', () => ({ principal: alice }))
    return disposedWith(link, async () => {
      await link[Symbol.asyncDispose]()
      await running.close()
    })
  },
  async directLink(host) {
    return disposedWith(directLink(host, { token: 'alice' }), async () => {})
  },
}

function disposedWith(link: ClientLink, dispose: () => Promise<void>): ClientLink & AsyncDisposable {
  return {
    call: (...call) => link.call(...call),
    stream: (...call) => link.stream(...call),
    [Symbol.asyncDispose]: dispose,
  }
}
