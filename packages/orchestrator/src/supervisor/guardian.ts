import { spawn } from 'node:child_process'

/**
 * Reads which process groups there are from its input. When the input ends without `released`, the
 * supervisor is gone: it asks all groups to end, kills after ten seconds what is left of them, and then what
 * carries the mark of the run and has left its group.
 */
const script = `
mark=$1
groups=
while read -r action group; do
  case "$action" in
    add) groups="$groups $group" ;;
    remove) rest=; for each in $groups; do [ "$each" = "$group" ] || rest="$rest $each"; done; groups=$rest ;;
    released) exit 0 ;;
  esac
done
for group in $groups; do kill -TERM -- "-$group" 2>/dev/null; done
tries=0
alive() {
  for group in $groups; do
    kill -0 -- "-$group" 2>/dev/null || continue
    [ -r "/proc/$group/stat" ] || return 0
    read -r state < "/proc/$group/stat" || continue
    case "$state" in *") Z "*) ;; *) return 0 ;; esac
  done
  return 1
}
while alive && [ "$tries" -lt 200 ]; do sleep 0.05; tries=$((tries + 1)); done
for group in $groups; do kill -KILL -- "-$group" 2>/dev/null; done
if [ -d /proc/self ]; then
  for file in $(grep -lsa "$mark" /proc/[0-9]*/environ); do
    pid=\${file#/proc/}
    kill -KILL "\${pid%/environ}" 2>/dev/null
  done
fi
exit 0
`

/** Watches over the supervisor on behalf of the processes, so that none outlives it, however it ends. */
export interface Guardian {
  add(group: number): void
  remove(group: number): void
  /** The supervisor stops in an orderly way. */
  release(): void
}

/** @param mark what stands in the environment of every process of this run. */
export function startGuardian(mark: string): Guardian {
  const child = spawn('/bin/sh', ['-c', script, 'quintet-guardian', mark], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
    cwd: '/',
    env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin' },
  })
  child.on('error', () => undefined)
  child.stdin.on('error', () => undefined)
  child.unref()
  ;(child.stdin as unknown as { unref?: () => void }).unref?.()
  return {
    add: (group) => void child.stdin.write(`add ${group}\n`),
    remove: (group) => void child.stdin.write(`remove ${group}\n`),
    release: () => void child.stdin.end('released\n'),
  }
}
