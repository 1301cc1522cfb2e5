import { readFileSync } from 'node:fs'
import type { HeldServer } from '../infrastructure/held-server.ts'
import type { ProcessMark } from '../processes/process-mark.ts'
import type { ProcessIdentity } from '../processes/process-identity.ts'
import { replaceFile, writeDurably } from '../state/replace-file.ts'
import type { SocketAddress } from './listening-sockets.ts'

export interface JournaledHolder {
  readonly folder: string
  readonly identity: ProcessIdentity
  readonly mark: ProcessMark
  readonly addresses: readonly SocketAddress[]
}

export interface JournaledGeneration {
  readonly generation: number
  readonly mark: ProcessMark
  /** Of all that it was started with. */
  readonly digest: string
  readonly ports: Readonly<Record<string, number>>
  /** Milliseconds since the epoch. */
  readonly startedAt: number
  /** How often the process was started again after a crash, up to now. */
  readonly restarts: number
  /** It has not taken over yet from the one before. */
  readonly standby?: true
  /** It is sent SIGTERM, or was. */
  readonly stopping?: true
  /** Undefined until it has said that it runs. */
  readonly identity?: ProcessIdentity
}

type Line =
  | ({ readonly type: 'holder'; readonly id: string } & JournaledHolder)
  | ({ readonly type: 'generation'; readonly id: string } & JournaledGeneration)
  | { readonly type: 'ended'; readonly id: string; readonly generation: number }
  | { readonly type: 'released'; readonly id: string }
  | ({ readonly type: 'server'; readonly name: string } & HeldServer)
  | { readonly type: 'server-ended'; readonly name: string }

export interface JournaledProcess {
  readonly holder: JournaledHolder
  /** Those that have not ended, by number. */
  readonly generations: Map<number, JournaledGeneration>
}

/** What is held. */
export interface JournalState {
  readonly processes: Map<string, JournaledProcess>
  readonly servers: Map<string, HeldServer>
}

/**
 * What a supervisor holds, in a file that the next one reads: one fact a line, on the disk before what it tells of is done.
 */
export interface Journal {
  append(line: Line): void
}

export interface ReadJournalOptions {
  /** Leave out lines that cannot be read, to see what may run: not enough to take anything over. @defaultValue false */
  readonly lenient?: boolean
}

/** Without a file nothing is held. A last line that was not written whole tells of nothing that was done. */
export function readJournal(file: string, { lenient = false }: ReadJournalOptions = {}): JournalState {
  const state: JournalState = { processes: new Map(), servers: new Map() }
  let text = ''
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  for (const line of text.split('\n').slice(0, -1)) {
    try {
      apply(state, JSON.parse(line) as Line)
    } catch {
      if (lenient) continue
      // It cannot be told what is held: nothing is taken over, and all of it is ended by its mark.
      return { processes: new Map(), servers: new Map() }
    }
  }
  return state
}

/**
 * Begins a journal anew with what is held.
 *
 * @param onProblem told when a line could not be written, as on a full disk. What is not written down is not taken over:
 *   the next supervisor ends it by its mark, and starts it anew.
 */
export function openJournal(
  file: string,
  { processes, servers }: JournalState,
  onProblem: (error: Error) => void,
): Journal {
  const lines: Line[] = [
    ...[...processes].flatMap(([id, { holder, generations }]): Line[] => [
      { type: 'holder', id, ...holder },
      ...[...generations.values()].map((each): Line => ({ type: 'generation', id, ...each })),
    ]),
    ...[...servers].map(([name, server]): Line => ({ type: 'server', name, ...server })),
  ]
  replaceFile(file, lines.map(toText).join(''))
  return {
    append(line) {
      try {
        writeDurably(file, 'a', toText(line))
      } catch (error) {
        onProblem(error as Error)
      }
    },
  }
}

function toText(line: Line): string {
  return `${JSON.stringify(line)}\n`
}

function apply({ processes, servers }: JournalState, line: Line): void {
  switch (line.type) {
    case 'holder': {
      const { type: _type, id, ...holder } = line
      // There is another one only when nothing runs any more that the one before has started.
      processes.set(id, { holder, generations: new Map() })
      return
    }
    case 'generation': {
      const { type: _type, id, ...generation } = line
      processes.get(id)?.generations.set(generation.generation, generation)
      return
    }
    case 'ended':
      processes.get(line.id)?.generations.delete(line.generation)
      return
    case 'released':
      processes.delete(line.id)
      return
    case 'server': {
      const { type: _type, name, ...server } = line
      servers.set(name, server)
      return
    }
    case 'server-ended':
      servers.delete(line.name)
      return
    default:
      throw new TypeError('This line tells of nothing that is known.')
  }
}
