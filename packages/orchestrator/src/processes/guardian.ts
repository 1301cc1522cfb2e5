import { spawn } from 'node:child_process'

/**
 * Waits for a line on its input. When the input ends without one, we are gone: it stops the process, kills
 * it if it does not stop within five seconds, and removes the folder if one is given. A process that has ended and
 * that nobody has waited for (state Z) counts as stopped.
 */
const script = `
read -r answer
[ "$answer" = released ] && exit 0
alive() {
  kill -0 "$1" 2>/dev/null || return 1
  [ -r "/proc/$1/stat" ] || return 0
  read -r state < "/proc/$1/stat" || return 1
  case "$state" in *") Z "*) return 1 ;; esac
}
kill -"$2" "$1" 2>/dev/null
tries=0
while alive "$1" && [ "$tries" -lt 100 ]; do sleep 0.05; tries=$((tries + 1)); done
kill -KILL "$1" 2>/dev/null
[ -n "$3" ] && rm -rf -- "$3"
exit 0
`

export interface GuardianOptions {
  readonly pid: number
  /** What the process gets when we are gone. */
  readonly signal: 'INT' | 'QUIT' | 'TERM'
  /** A temporary folder that goes with the process. */
  readonly removeDirectory?: string | undefined
}

export interface Guardian {
  /** The process has ended in an orderly way: the guardian goes and touches nothing. */
  release(): void
}

/**
 * Watches over us on behalf of a server that must not outlive us, however we end (SIGKILL included): a shell that
 * holds the other end of a pipe. It has a session of its own, so Ctrl-C does not reach it.
 */
export function startGuardian(options: GuardianOptions): Guardian {
  const child = spawn(
    '/bin/sh',
    ['-c', script, 'quintet-guardian', String(options.pid), options.signal, options.removeDirectory ?? ''],
    {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
      cwd: '/',
      env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin' },
    },
  )
  // Without a shell there is no guardian; the orderly stop works all the same.
  child.on('error', () => undefined)
  child.stdin.on('error', () => undefined)
  child.unref()
  ;(child.stdin as unknown as { unref?: () => void }).unref?.()
  return { release: () => void child.stdin.end('released\n') }
}
