import type { Duration, Size } from '@quintet/core'
import { type Links, parseDuration, parseSize, refuseUnknownKeys } from '@quintet/core/kit'
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
  /** How long a call waits for a sibling that is not there (yet). @defaultValue `'2s'` */
  readonly connectTimeout?: Duration
}

/** What applies where {@link LinksOptions} says nothing. */
export const linksDefaults: Readonly<
  Required<Pick<LinksOptions, 'instance' | 'maxFrameSize' | 'connectTimeout'>>
> = Object.freeze({
  instance: 0,
  maxFrameSize: '16mb',
  connectTimeout: '2s',
})

const knownKeys = [
  'directory',
  'secret',
  'system',
  'process',
  'instance',
  'maxFrameSize',
  'connectTimeout',
] as const

/**
 * Connects the processes of a system over unix sockets: calls and streams in multiplexed frames, `Uint8Array`s
 * as bytes. Both sides of a link prove that they know the secret before the first call.
 *
 * @throws TypeError when an option is unknown or malformed.
 */
export function createLinks(options: LinksOptions): Links {
  refuseUnknownKeys(options, knownKeys, 'createLinks')
  for (const key of ['directory', 'system', 'process'] as const) {
    if (typeof options[key] !== 'string' || options[key] === '')
      throw new TypeError(`createLinks.${key}: must be given.`)
  }
  const folder = openSocketFolder(options.directory)
  const identity = {
    system: options.system,
    process: options.process,
    instance: options.instance ?? linksDefaults.instance,
  }
  const key = deriveLinkKey(options.secret)
  const maxFrameSize = parseSize(
    options.maxFrameSize ?? linksDefaults.maxFrameSize,
    'createLinks.maxFrameSize',
  )
  const connectTimeout = parseDuration(
    options.connectTimeout ?? linksDefaults.connectTimeout,
    'createLinks.connectTimeout',
  )
  return {
    expose: () => linkTransport({ folder, identity, key, maxFrameSize }),
    connect: (process, forward) =>
      new LinkPool({ folder, caller: identity, process, key, maxFrameSize, connectTimeout }, forward),
  }
}
