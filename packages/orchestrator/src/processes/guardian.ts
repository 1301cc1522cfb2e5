import { spawn, type ChildProcessByStdio } from 'node:child_process'
import type { Writable } from 'node:stream'
import { limitPattern, markVariable, type ProcessMark } from './process-mark.ts'

/**
 * Reads from its input what it watches, one target a line. When the input ends without `released`, its owner is gone:
 * it sends each target its signal, kills after ten seconds what is left, then what carries the mark of the run and has
 * left its group, and removes temporary folders. A process that has ended and that was not waited for (state Z)
 * counts as ended.
 */
const script = `
variable=$1
limit=$2
line='
'
entries=
set -f
without() {
  rest=
  IFS=$line
  for each in $entries; do [ "\${each%% *}" = "$1" ] || rest="$rest$each$line"; done
  unset IFS
  entries=$rest
}
while read -r action target signal folder; do
  case "$action" in
    add) entries="$entries$target $signal $folder$line" ;;
    remove) without "$target" ;;
    released) exit 0 ;;
  esac
done
alive() {
  for each in $entries; do
    target=\${each%% *}
    kill -s 0 -- "$target" 2>/dev/null || continue
    [ -r "/proc/\${target#-}/stat" ] || return 0
    state=
    read -r state < "/proc/\${target#-}/stat" || continue
    case "$state" in *") Z "*) ;; *) return 0 ;; esac
  done
  return 1
}
IFS=$line
for each in $entries; do
  rest=\${each#* }
  kill -s "\${rest%% *}" -- "\${each%% *}" 2>/dev/null
done
tries=0
while alive && [ "$tries" -lt 200 ]; do sleep 0.05; tries=$((tries + 1)); done
for each in $entries; do kill -s KILL -- "\${each%% *}" 2>/dev/null; done
set +f
if [ -n "$variable" ] && [ -d /proc/self ]; then
  for file in $(grep -lsaF -e "$variable" /proc/[0-9]*/environ; grep -lsE -e "$limit" /proc/[0-9]*/limits); do
    pid=\${file#/proc/}
    kill -s KILL "\${pid%/*}" 2>/dev/null
  done
fi
set -f
for each in $entries; do
  rest=\${each#* }
  folder=\${rest#* }
  [ -n "$folder" ] && rm -rf -- "$folder"
done
exit 0
`

export interface GuardedOptions {
  /** What it gets when we are gone. @defaultValue `'TERM'` */
  readonly signal?: 'INT' | 'QUIT' | 'TERM'
  /** A temporary folder that goes with it. */
  readonly removeDirectory?: string | undefined
}

/** Watches over this process on behalf of others, which must not outlive it, however it ends (SIGKILL included). */
export interface Guardian {
  /** @param target a pid, or the negative number of a process group, as for `kill`. */
  add(target: number, options?: GuardedOptions): void
  remove(target: number): void
  /** We stop in an orderly way: the guardian goes and touches nothing. */
  release(): void
}

/** A guardian that is killed is replaced at once, and then after growing delays: up to this long, in milliseconds. */
const longestDelay = 5_000

/** One that lived this long was not killed by what killed the one before, in milliseconds. */
const stableAfter = 10_000

/**
 * Starts a guardian: a shell that holds the other end of a pipe, in a session of its own, so that Ctrl-C does not reach
 * it. When it is killed another one takes its place and is told of every target again.
 *
 * @param mark of every process of this run, where there is one.
 */
export function startGuardian(mark?: ProcessMark): Guardian {
  const targets = new Map<number, string>()
  let released = false
  let failures = 0
  let child = start()

  function start(): GuardianProcess {
    const startedAt = performance.now()
    const started = spawnGuardian(mark)
    started.once('exit', () => {
      if (released) return
      failures = performance.now() - startedAt > stableAfter ? 0 : failures + 1
      const delay = failures <= 1 ? 0 : Math.min(longestDelay, 50 * 2 ** failures)
      setTimeout(() => {
        if (!released) child = start()
      }, delay).unref()
    })
    for (const line of targets.values()) started.stdin.write(line)
    return started
  }

  return {
    add(target, { signal = 'TERM', removeDirectory = '' } = {}) {
      const line = `add ${target} ${signal} ${removeDirectory}\n`
      targets.set(target, line)
      child.stdin.write(line)
    },
    remove(target) {
      targets.delete(target)
      child.stdin.write(`remove ${target}\n`)
    },
    release() {
      released = true
      child.stdin.end('released\n')
    },
  }
}

type GuardianProcess = ChildProcessByStdio<Writable, null, null>

function spawnGuardian(mark: ProcessMark | undefined): GuardianProcess {
  const looksFor = mark ? [`${markVariable}=${mark.variable}`, limitPattern(mark)] : []
  const child = spawn('/bin/sh', ['-c', script, 'quintet-guardian', ...looksFor], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
    cwd: '/',
    env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin' },
  })
  // Without a shell there is no guardian, and no `exit`; the orderly stop works all the same.
  child.on('error', () => undefined)
  child.stdin.on('error', () => undefined)
  child.unref()
  ;(child.stdin as unknown as { unref?: () => void }).unref?.()
  return child
}
