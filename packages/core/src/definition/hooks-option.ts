import { option } from '../options/options.ts'
import type { Option } from '../options/option.ts'
import type { Hooks } from './hooks.ts'

const hook = option.function().optional()

const hooksSpec = {
  beforeCreate: hook,
  afterCreate: hook,
  beforeStart: hook,
  afterStart: hook,
  beforeStop: hook,
  afterStop: hook,
  onHealthCheck: hook,
} satisfies Record<keyof Hooks, unknown>

/** The option of {@link Hooks}; none where it is not given. */
export function hooksOption(): Option<Hooks<never>> {
  return option.nested(hooksSpec) as unknown as Option<Hooks<never>>
}
