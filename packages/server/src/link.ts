import type { Duration, Size } from '@quintet/core'
import { option, readOptions, type Links } from '@quintet/core/kit'
import { deriveLinkKey } from './link/handshake.ts'
import { LinkPool } from './link/link-pool.ts'
import { linkTransport } from './link/link-server.ts'
import { openSocketFolder } from './link/socket-files.ts'

export interface LinksOptions {
  /** The folder of the sockets: the same for all processes of a deployment, and for its owner alone. Made if it is missing. */
  readonly directory: string
  /** Known to the processes of the deployment alone; at least 16 bytes. */
  readonly secret: string | Uint8Array
  /** The system that this process belongs to. */
  readonly system: string
  /** This process. */
  readonly process: string
  /** @defaultValue 0 */
  readonly instance?: number
  /** The largest message, with all that is in it. @defaultValue `'16mb'` */
  readonly maxFrameSize?: Size
  /** How long a call waits for a sibling that is not there (yet); 0 for no limit. @defaultValue `'2s'` */
  readonly connectTimeout?: Duration
  /** How long a call may take, and a stream to begin; 0 for no limit. @defaultValue `'30s'` */
  readonly timeout?: Duration
  /** After how long without a word the sibling is asked whether it lives, and how long it may take to say so; an interval of 0 never asks. @defaultValue `{ interval: '5s', timeout: '5s' }` */
  readonly keepAlive?: { readonly interval?: Duration; readonly timeout?: Duration }
}

/** What applies where {@link LinksOptions} says nothing. */
export const linksDefaults: Readonly<
  Required<Pick<LinksOptions, 'instance' | 'maxFrameSize' | 'connectTimeout' | 'timeout'>> & {
    keepAlive: Required<NonNullable<LinksOptions['keepAlive']>>
  }
> = Object.freeze({
  instance: 0,
  maxFrameSize: '16mb',
  connectTimeout: '2s',
  timeout: '30s',
  keepAlive: Object.freeze({ interval: '5s', timeout: '5s' }),
})

const spec = {
  directory: option.text(),
  secret: option.parsed('a secret of at least 16 bytes', (given, path) =>
    deriveLinkKey(given as string | Uint8Array, path),
  ),
  system: option.text(),
  process: option.text(),
  instance: option.count(linksDefaults.instance),
  maxFrameSize: option.size(linksDefaults.maxFrameSize, { min: '4kb' }),
  connectTimeout: option.delay(linksDefaults.connectTimeout),
  timeout: option.delay(linksDefaults.timeout),
  keepAlive: option.nested({
    interval: option.delay(linksDefaults.keepAlive.interval),
    timeout: option.delay(linksDefaults.keepAlive.timeout, { min: 1 }),
  }),
}

/**
 * Connects the processes of a system over unix sockets: calls and streams in multiplexed frames, `Uint8Array`s
 * as bytes. Both sides of a link prove that they know the secret before the first call.
 *
 * @throws TypeError when an option is unknown or malformed.
 */
export function createLinks(options: LinksOptions): Links {
  const {
    secret: key,
    maxFrameSize,
    connectTimeout,
    timeout,
    keepAlive,
    ...given
  } = readOptions(options, spec, 'createLinks')
  const folder = openSocketFolder(given.directory)
  const identity = { system: given.system, process: given.process, instance: given.instance }
  return {
    expose: () => linkTransport({ folder, identity, key, maxFrameSize }),
    connect: (process, forward) =>
      new LinkPool(
        { folder, caller: identity, process, key, maxFrameSize, connectTimeout, timeout, keepAlive },
        forward,
      ),
  }
}
