import type { Operation } from '../pipeline/operation.ts'
import type { Procedure, Procedures } from './procedure.ts'

/** A named group of procedures. `typeof` one is the contract that a client is typed with. */
export interface Service<Name extends string = string, Members extends Procedures = Procedures> {
  readonly name: Name
  readonly procedures: Members
}

/** A procedure with the full name under which it can be called, `objects.list`. */
export interface NamedProcedure {
  readonly name: string
  readonly procedure: Procedure
  readonly operation: Operation
}
