import { spawn } from 'node:child_process'
import { stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { binPath, withCompileCache } from '../bin-path.ts'
import { OrchestratorError } from '../errors.ts'
import type { Evaluation } from './evaluate.ts'
import type { Plan } from './plan.ts'

const timeout = 60_000

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
  const [output, noise, ending] = await Promise.all([
    readAll(child.stdio[3] as NodeJS.ReadableStream),
    Promise.all([child.stdout, child.stderr].map((stream) => readAll(stream as NodeJS.ReadableStream))),
    new Promise<string>((done, fail) => {
      child.once('error', fail)
      child.once('close', (code, signal) =>
        done(signal === 'SIGKILL' ? `was stopped after ${timeout} ms` : `ended with exit code ${code}`),
      )
    }),
  ])
  if (output === '') {
    throw invalid(
      `${file}: the process that evaluates it ${ending}.\n${noise.join('').trim().split('\n').slice(-10).join('\n')}`,
    )
  }
  const evaluation = JSON.parse(output) as Evaluation
  if ('problem' in evaluation) throw invalid(evaluation.problem)
  return evaluation.plan as Plan
}

async function readAll(stream: NodeJS.ReadableStream): Promise<string> {
  let text = ''
  stream.setEncoding('utf8')
  for await (const chunk of stream) text += String(chunk)
  return text
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
