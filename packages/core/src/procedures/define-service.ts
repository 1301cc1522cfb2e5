import { assertAccessRule } from '../access/access-rule.ts'
import { assertName } from '../options/assert-name.ts'
import type { Operation, Surface } from '../pipeline/operation.ts'
import type { NamedProcedure, Service } from './service.ts'
import type { Procedure, Procedures } from './procedure.ts'

/**
 * Groups procedures under a name: `objects` with `list` is called as `objects.list`.
 *
 * @throws TypeError when a name cannot be carried by every surface, or a member was not made by `procedure`.
 */
export function service<const Name extends string, Members extends Procedures>(
  name: Name,
  procedures: Members,
): Service<Name, Members> {
  assertName(name, 'service')
  const prototype: unknown = Object.getPrototypeOf(procedures)
  if (prototype !== Object.prototype && prototype !== null) {
    throw new TypeError(
      `service ${name}: the procedures must be a plain object without a prototype of their own.`,
    )
  }
  for (const [key, member] of Object.entries(procedures)) {
    assertName(key, `service ${name}`)
    if (
      typeof member !== 'object' ||
      member === null ||
      typeof member.handler !== 'function' ||
      member.access === undefined
    ) {
      throw new TypeError(`service ${name}: "${key}" was not made by procedure().`)
    }
    assertAccessRule(member.access, `${name}.${key}`)
  }
  return Object.freeze({ name, procedures: Object.freeze({ ...procedures }) })
}

/** The operation under which a procedure goes through the pipeline on one surface. */
export function procedureOperation(name: string, procedure: Procedure, surface: Surface = 'rpc'): Operation {
  return Object.freeze({
    surface,
    name,
    access: procedure.access,
    freshness: procedure.freshness,
    timeout: procedure.timeout,
  })
}

/**
 * All procedures of some services by their full names.
 *
 * @throws TypeError when two services have the same name.
 */
export function nameProcedures(services: readonly Service[]): ReadonlyMap<string, NamedProcedure> {
  const named = new Map<string, NamedProcedure>()
  const seen = new Set<string>()
  for (const { name: serviceName, procedures } of services) {
    if (seen.has(serviceName)) throw new TypeError(`services: there are two services named "${serviceName}".`)
    seen.add(serviceName)
    for (const [key, procedure] of Object.entries(procedures)) {
      const name = `${serviceName}.${key}`
      named.set(name, Object.freeze({ name, procedure, operation: procedureOperation(name, procedure) }))
    }
  }
  return named
}
