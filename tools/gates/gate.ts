import { spawn } from 'node:child_process'

/** One static check of the whole repository. */
export interface Gate {
  readonly name: string
  /** What is wrong, for people; empty when nothing is. */
  run(): Promise<string>
}

/** A gate that is a program: it fails when the program ends with a code other than 0. */
export function command(name: string, program: string, args: readonly string[]): Gate {
  return {
    name,
    async run() {
      const { code, output } = await execute(program, args)
      return code === 0 ? '' : output.trim() || `${program} ended with code ${code}`
    },
  }
}

export async function execute(
  program: string,
  args: readonly string[],
  directory?: string,
): Promise<{ code: number; output: string }> {
  const env = { ...process.env, TURBO_TELEMETRY_DISABLED: '1' }
  const child = spawn(program, args, { cwd: directory, env, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text))
  const code = await new Promise<number>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (status) => resolve(status ?? 1))
  })
  return { code, output }
}
