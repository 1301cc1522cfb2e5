import type { PoolClient } from 'pg'
import { destroySocket } from '../sql/answer-within.ts'
import { requestCancel } from '../wire/cancel-request.ts'
import type { Session } from './session.ts'

/** A client class of the driver. */
export type ClientClass = new (
  options?: object,
) => PoolClient & { connect(): Promise<PoolClient>; end(): void }

const command = /^\s*select\s+pg_(cancel|terminate)_backend\((\d+)\)\s*$/i

/**
 * The driver's client class, with which Kysely opens a connection of its own to stop a statement. A login may
 * not signal another one's backend, so what is meant for a connection of these pools goes as a CancelRequest,
 * which works for each login.
 */
export function defineControlClient(
  Client: ClientClass,
  find: (processId: number) => Session | undefined,
): ClientClass {
  return class ControlClient extends Client {
    override query = ((...args: unknown[]): unknown => {
      const [, verb, processId] = command.exec(String(args[0])) ?? []
      const session = processId === undefined ? undefined : find(Number(processId))
      if (session === undefined)
        return Reflect.apply(super.query as (...all: unknown[]) => unknown, this, args)
      return stop(session, verb === 'terminate')
    }) as PoolClient['query']
  }
}

async function stop(session: Session, terminate: boolean): Promise<{ readonly rows: readonly object[] }> {
  session.tainted = true
  await requestCancel(session.client)
  if (terminate) destroySocket(session.client)
  return { rows: [{ stopped: true }] }
}
