/** Environment variables as the functions of this folder read them. */
export type Environment = Readonly<Record<string, string | undefined>>

/** What a server process gets of our environment: enough to run, nothing to be confused by. */
export function serverEnvironment(env: Environment): Record<string, string> {
  return { PATH: env['PATH'] ?? '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC', HOME: '/' }
}
