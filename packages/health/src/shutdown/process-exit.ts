import type { Logger } from '@quintet/core'

/** One graceful shutdown that the process runs before it exits. */
export interface ShutdownParticipant {
  readonly signals: readonly NodeJS.Signals[]
  /** Also begins on an uncaught exception or an unhandled rejection. */
  readonly crashes: boolean
  /** Milliseconds for the whole. */
  readonly deadline: number
  readonly logger: Logger
  /** What it is doing right now. */
  readonly step: string
  shutdown(reason: string): Promise<void>
}

const participants = new Set<ShutdownParticipant>()
const handledSignals = new Set<NodeJS.Signals>()
let isHandlingCrashes = false
let isExiting = false
let exitCode = 0

/**
 * Makes a shutdown part of the exit of the process. On a signal or a crash all participants shut down at the same time,
 * and the process exits when the last one has ended: with 0 when all were orderly.
 */
export function joinProcessExit(participant: ShutdownParticipant): Disposable {
  participants.add(participant)
  installHandlers()
  return {
    [Symbol.dispose]() {
      participants.delete(participant)
      installHandlers()
    },
  }
}

/** Handles exactly the signals and crashes that some participant asks for. */
function installHandlers(): void {
  const wanted = new Set([...participants].flatMap(({ signals }) => signals))
  for (const signal of handledSignals.difference(wanted)) process.off(signal, onSignal)
  for (const signal of wanted.difference(handledSignals)) process.on(signal, onSignal)
  handledSignals.clear()
  for (const signal of wanted) handledSignals.add(signal)

  const wantsCrashes = [...participants].some(({ crashes }) => crashes)
  if (wantsCrashes === isHandlingCrashes) return
  isHandlingCrashes = wantsCrashes
  for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
    if (wantsCrashes) process.on(event, onCrash)
    else process.off(event, onCrash)
  }
}

function onSignal(signal: NodeJS.Signals): void {
  if (!isExiting) return void exitAfterShutdown(signal)
  for (const { logger, step } of participants)
    logger.fatal({ signal, step }, `second signal, exiting at once; in progress: ${step}`)
  process.exit(1)
}

/** A crash during the shutdown makes it fail, but takes no hook its turn. */
function onCrash(error: unknown): void {
  exitCode = 1
  for (const logger of new Set([...participants].map((each) => each.logger)))
    logger.fatal({ err: error }, 'uncaught error')
  if (!isExiting) void exitAfterShutdown('failure')
}

async function exitAfterShutdown(reason: string): Promise<void> {
  isExiting = true
  const results = await Promise.all([...participants].map((each) => shutdownInTime(each, reason)))
  process.exit(results.every(Boolean) ? exitCode : 1)
}

/** Whether it was orderly and done by its deadline. */
async function shutdownInTime(participant: ShutdownParticipant, reason: string): Promise<boolean> {
  const { logger, deadline } = participant
  const late = Promise.withResolvers<boolean>()
  // Keeps the process alive, too: a hook that waits for nothing must not end it with 0.
  const watchdog = setTimeout(() => {
    const { step } = participant
    logger.fatal({ step }, `the shutdown took longer than ${deadline} ms; it hung at: ${step}`)
    late.resolve(false)
  }, deadline)
  const orderly = participant.shutdown(reason).then(
    () => true,
    (error: unknown) => {
      logger.error({ err: error }, error instanceof Error ? error.message : 'the shutdown failed')
      return false
    },
  )
  try {
    return await Promise.race([orderly, late.promise])
  } finally {
    clearTimeout(watchdog)
  }
}
