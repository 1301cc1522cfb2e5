import type { Plan } from '../plan/plan.ts'
import type { EcosystemEvent } from '../running/ecosystem-events.ts'
import { describeUnusedDatabases, provisionApps } from '../servers/app-databases.ts'
import type { DatabaseUrls } from '../servers/provision.ts'
import type { Servers } from '../servers/servers.ts'
import type { Secrets } from '../state/secrets.ts'

/** Makes sure that every app has its database and logins. */
export async function prepareDatabases(
  plan: Plan,
  servers: Servers,
  secrets: Secrets,
  onEvent: (event: EcosystemEvent) => void,
): Promise<Readonly<Record<string, DatabaseUrls>>> {
  const adminUrl = servers.url('postgres')
  if (adminUrl === null) return {}
  onEvent({ type: 'progress', message: 'Preparing databases' })
  const attention = describeUnusedDatabases(plan, secrets)
  if (attention !== undefined) onEvent({ type: 'progress', message: attention })
  return provisionApps(plan, adminUrl, secrets)
}
