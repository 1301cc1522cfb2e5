import type { TransportHost } from '@quintet/core/kit'
import type { BodyWatch } from '../request/body-watch.ts'
import type { Connections } from './connections.ts'
import type { ResolvedHttpOptions } from '../options/http-options.ts'

/** What every request of one running HTTP transport shares. */
export interface Site {
  readonly host: TransportHost
  readonly options: ResolvedHttpOptions
  readonly connections: Connections
  readonly bodies: BodyWatch
}
