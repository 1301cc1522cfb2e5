import { homedir, platform } from 'node:os'
import { join } from 'node:path'
import type { Environment } from './environment.ts'
import { isRoot } from './server-user.ts'

/**
 * The folder for what can be made again: unpacked binaries and templates. `QUINTET_CACHE_DIRECTORY` wins; root has
 * one that every user can look into, because root's servers run as another user.
 */
export function cacheDirectory(env: Environment): string {
  const chosen = env['QUINTET_CACHE_DIRECTORY']
  if (chosen) return chosen
  if (isRoot()) return '/var/cache/quintet'
  const home = env['HOME'] || homedir()
  if (platform() === 'darwin') return join(home, 'Library', 'Caches', 'quintet')
  return join(env['XDG_CACHE_HOME'] || join(home, '.cache'), 'quintet')
}
