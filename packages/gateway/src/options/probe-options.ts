import type { Duration } from '@quintet/core'
import { option, type Option, type ResolvedOptions } from '@quintet/core/kit'

export interface ProbeOptions {
  /** What is asked for. 5xx and no answer mean "not ready"; any other status means "ready". @defaultValue `'/readyz'` */
  readonly path?: string
  /** @defaultValue `'1s'` */
  readonly interval?: Duration
  /** How long an answer may take. @defaultValue `'1s'` */
  readonly timeout?: Duration
}

export const probeDefaults = Object.freeze({ path: '/readyz', interval: '1s', timeout: '1s' } as const)

const spec = {
  path: option.text(probeDefaults.path, {
    pattern: /^\/(?!\/)[\x21-\x22\x24-\x7e]*$/,
    expected: 'a path such as "/readyz"',
  }),
  interval: option.delay(probeDefaults.interval, { min: 10 }),
  timeout: option.delay(probeDefaults.timeout, { min: 1 }),
}

export type ResolvedProbes = ResolvedOptions<typeof spec>

/** How {@link ProbeOptions} are read. */
export const probesOption: Option<ResolvedProbes> = option.nested(spec)
