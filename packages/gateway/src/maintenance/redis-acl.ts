import { maintenanceDefaults } from './maintenance-options.ts'

/** What a client needs to connect. */
const connecting = ['ping', 'select', 'client|setname', 'client|id', 'info']

/**
 * The least rights of a Redis user of the gateway, as rules of `ACL SETUSER`: it reads the flags of maintenance and
 * nothing else. Add `on` and a password.
 *
 * @param prefix that of the `maintenance` option.
 *
 * @example
 * await redis.call('ACL', 'SETUSER', 'gateway', 'reset', 'on', `>${password}`, ...maintenanceRedisAcl())
 */
export function maintenanceRedisAcl(prefix: string = maintenanceDefaults.prefix): readonly string[] {
  // Characters of a pattern would be read as one (ACL SETUSER, glob style).
  if (!/^[^\s*?[\]\\]+$/.test(prefix))
    throw new TypeError(`prefix: ${JSON.stringify(prefix)} cannot be written into a rule of an ACL.`)
  return [`%R~${prefix}`, `%R~${prefix}:*`, ...['get', ...connecting].map((command) => `+${command}`)]
}
