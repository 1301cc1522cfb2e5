import type { Connections } from '@quintet/core/http'
import type { TransportHost } from '@quintet/core/kit'
import type { ResolvedHttpOptions } from '../options/http-options.ts'
import type { BodyWatch } from '../request/body-watch.ts'
import type { LongAnswers } from './long-answers.ts'

/** What every request of one running HTTP transport shares. */
export interface Site {
  readonly host: TransportHost
  readonly options: ResolvedHttpOptions
  readonly connections: Connections
  readonly bodies: BodyWatch
  readonly longAnswers: LongAnswers
}
