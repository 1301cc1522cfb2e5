import { spawn } from 'node:child_process'
import { stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { finished } from 'node:stream/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { binPath, withCompileCache } from '../bin-path.ts'
import { OrchestratorError } from '../errors.ts'
import type { Evaluation } from './evaluate.ts'
import type { Plan } from './plan.ts'

const timeout = 60_000

/** How long the last words of a process that has ended may take to arrive, in milliseconds. */
const settleTime = 200

/**
 * Evaluates an ecosystem file in a process of its own and returns the plan.
 *
 * @throws OrchestratorError `ERR_ORCHESTRATOR_CONFIG_INVALID` naming every problem.
 */
export async function loadPlan(configFile: string): Promise<Plan> {
  const file = resolve(configFile)
  if (!(await isFile(file))) {
    throw invalid(
      `There is no ecosystem file ${file}. Run in the folder of your quintet.config.ts, or name one with --config.`,
    )
  }
  const child = spawn(process.execPath, [binPath, '@evaluate', file], {
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    timeout,
    killSignal: 'SIGKILL',
    env: withCompileCache(process.env),
  })
  const noise = [child.stdout, child.stderr].map((stream) => collect(stream as Readable))
  const [output, ending] = await Promise.all([
    text(child.stdio[3] as NodeJS.ReadableStream),
    new Promise<string>((done, fail) => {
      child.once('error', fail)
      child.once('exit', (code, signal) =>
        done(signal === 'SIGKILL' ? `was stopped after ${timeout} ms` : `ended with exit code ${code}`),
      )
    }),
  ])
  const said = await Promise.all(noise.map((each) => each.end()))
  const evaluation = parse(output)
  if (evaluation === undefined) {
    throw invalid(
      `${file}: the process that evaluates it ${ending}.\n${said.join('').trim().split('\n').slice(-10).join('\n')}`,
    )
  }
  if ('problem' in evaluation) throw invalid(evaluation.problem)
  return evaluation.plan as Plan
}

/** Undefined for nothing, or for the beginning of an answer: the process was killed while it wrote. */
function parse(output: string): Evaluation | undefined {
  try {
    return JSON.parse(output) as Evaluation
  } catch {
    return undefined
  }
}

/** Collects what a process says until it has ended: what it has started may hold its output open for ever. */
function collect(stream: Readable): { end(): Promise<string> } {
  let said = ''
  stream.setEncoding('utf8')
  stream.on('data', (chunk: string) => (said += chunk))
  return {
    async end() {
      await Promise.race([finished(stream), delay(settleTime, undefined, { ref: false })])
      stream.destroy()
      return said
    },
  }
}

async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isFile(),
    () => false,
  )
}

function invalid(message: string): OrchestratorError {
  return new OrchestratorError(message, { code: 'ERR_ORCHESTRATOR_CONFIG_INVALID', kind: 'invalid-input' })
}
