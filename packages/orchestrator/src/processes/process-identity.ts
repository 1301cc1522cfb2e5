import { readFileSync } from 'node:fs'

/** Tells one process from every other that has or had its pid: the pid, when it started, and in which boot. */
export interface ProcessIdentity {
  readonly pid: number
  /** Clock ticks since the boot; empty where the system does not say. */
  readonly startTime: string
  readonly bootId: string
}

export function identify(pid: number): ProcessIdentity | undefined {
  if (process.platform !== 'linux') return exists(pid) ? { pid, startTime: '', bootId: '' } : undefined
  try {
    return {
      pid,
      startTime: statFields(readFileSync(`/proc/${pid}/stat`, 'utf8'))[19] ?? '',
      bootId: bootId(),
    }
  } catch {
    return undefined
  }
}

/** Whether that very process runs (a zombie does not). */
export function isRunning(identity: ProcessIdentity): boolean {
  if (process.platform !== 'linux') return exists(identity.pid)
  try {
    const fields = statFields(readFileSync(`/proc/${identity.pid}/stat`, 'utf8'))
    return fields[0] !== 'Z' && fields[19] === identity.startTime && bootId() === identity.bootId
  } catch {
    return false
  }
}

/** The fields of /proc/<pid>/stat from the third on (the state); the name before may hold anything. */
export function statFields(text: string): string[] {
  return text
    .slice(text.lastIndexOf(')') + 2)
    .trimEnd()
    .split(' ')
}

let boot: string | undefined

function bootId(): string {
  boot ??= readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  return boot
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
