import type { StepResult } from './step.ts'

const terminal = process.stdout.isTTY && !process.env['NO_COLOR']
const paint = (code: number, text: string): string => (terminal ? `\u001B[${code}m${text}\u001B[0m` : text)

export const bold = (text: string): string => paint(1, text)
export const dim = (text: string): string => paint(2, text)

export function describeStep({ name, ok, detail, durationMs }: StepResult): string {
  const mark = ok ? paint(32, 'ok  ') : paint(31, 'FAIL')
  return `  ${mark} ${name} ${dim(`(${formatDuration(durationMs)})`)}\n       ${dim(detail)}`
}

export function formatDuration(milliseconds: number): string {
  return milliseconds < 1000 ? `${milliseconds.toFixed(0)} ms` : `${(milliseconds / 1000).toFixed(1)} s`
}
