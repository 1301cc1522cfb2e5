import { defineProcess, type DefineProcess } from './define-process.ts'
import { route, type DefineRoute } from '../procedures/define-route.ts'
import { procedure, type DefineProcedure } from '../procedures/define-procedure.ts'

/** The definition functions, typed for what one system's `setup` returns. */
export interface TypedDefinitions<Services> {
  readonly procedure: DefineProcedure<Services>
  readonly route: DefineRoute<Services>
  readonly defineProcess: DefineProcess<Services>
}

/**
 * Gives `procedure`, `route` and `defineProcess` whose handlers know the type of `services`.
 *
 * @example
 * const { procedure, defineProcess } = withServices<MediaServices>()
 */
export function withServices<Services>(): TypedDefinitions<Services> {
  return {
    procedure: procedure as DefineProcedure<Services>,
    route: route as DefineRoute<Services>,
    defineProcess,
  }
}
