#!/usr/bin/env node
import nodeModule from 'node:module'
import { assertNode } from './assert-node.ts'
import { compileCache } from './bin-path.ts'
import { describeError } from './errors.ts'

/**
 * The program. Verbs that start with `@` are for the processes that Quintet starts itself; they and `run` load no
 * more than they need.
 */
async function main(args: readonly string[]): Promise<void> {
  assertNode()
  // For this very process; those that it starts are told in their environment.
  nodeModule.enableCompileCache(compileCache(process.env))
  const [verb, operand = ''] = args
  switch (verb) {
    case '@evaluate':
      return (await import('./plan/evaluate.ts')).evaluate(operand)
    case '@compile':
      return (await import('./runner/warm-compile-cache.ts')).compile(args.slice(1))
    case '@provision':
      return (await import('./servers/provision.ts')).provision()
    case '@migrate':
      return (await import('./servers/migrate.ts')).migrateUp(operand)
    case '@daemon':
      return (await import('./daemon/run-daemon.ts')).runDaemon()
    case 'run':
      return (await import('./cli/actions/run-command.ts')).runCommand(args.slice(1))
    default:
      return (await import('./cli/program.ts')).runProgram(args)
  }
}

main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`${describeError(error)}\n`)
  process.exitCode = 1
})
