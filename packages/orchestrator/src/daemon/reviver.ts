import { spawn, type ChildProcessByStdio } from 'node:child_process'
import type { Writable } from 'node:stream'
import { markVariable } from '../processes/process-mark.ts'

/**
 * Waits until its input ends. Without `released` before, the supervisor was killed: another one takes its place, at once, or
 * after a growing wait when it was killed again and again without a `stable` between.
 */
const script = `
input=$1 log=$2
shift 2
revived=\${QUINTET_REVIVED:-0}
while read -r word; do
  case "$word" in
    released) exit 0 ;;
    stable) revived=0 ;;
  esac
done
wait=$((revived * 2))
[ "$wait" -gt 60 ] && wait=60
sleep "$wait"
export QUINTET_REVIVED=$((revived + 1))
exec "$@" <"$input" >>"$log" 2>&1 3>/dev/null
`

/** Whether this process is a supervisor that was started again. */
export function isRevived(): boolean {
  return process.env['QUINTET_REVIVED'] !== undefined
}

export interface ReviverOptions {
  /** The supervisor. */
  readonly command: readonly string[]
  /** What it reads. */
  readonly inputFile: string
  /** Where its output goes. */
  readonly logFile: string
  readonly env: NodeJS.ProcessEnv
  /** Of the data folder: whoever ends what is left of it ends this too. */
  readonly mark: string
}

/** Starts a supervisor again that is killed. */
export interface Reviver {
  /** Whether it would start another one now. */
  readonly isReady: boolean
  /** This process is about to end, and another one is to take its place at once. */
  expect(): Promise<void>
  /** The supervisor stops in an orderly way. Idempotent. */
  release(): void
}

/** A supervisor that has run this long was not killed by what killed the one before, in milliseconds. */
const stableAfter = 60_000

/** A shell in a session of its own, which is replaced when it is killed itself. */
export function startReviver(options: ReviverOptions): Reviver {
  let released = false
  let child = start()
  const stable = setTimeout(() => void child.stdin.write('stable\n'), stableAfter)
  stable.unref()

  function start(): ChildProcessByStdio<Writable, null, null> {
    const { command, inputFile, logFile, env, mark } = options
    const started = spawn('/bin/sh', ['-c', script, 'quintet-reviver', inputFile, logFile, ...command], {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
      cwd: '/',
      env: { ...env, [markVariable]: mark },
    })
    started.on('error', () => undefined)
    started.stdin.on('error', () => undefined)
    started.once('exit', () => {
      if (!released) setTimeout(() => released || (child = start()), 1_000).unref()
    })
    started.unref()
    ;(started.stdin as unknown as { unref?: () => void }).unref?.()
    return started
  }

  return {
    get isReady() {
      return !released && child.pid !== undefined && child.exitCode === null && child.signalCode === null
    },
    expect: () => new Promise((resolve) => void child.stdin.write('stable\n', () => resolve())),
    release() {
      if (released) return
      released = true
      clearTimeout(stable)
      child.stdin.end('released\n')
    },
  }
}
