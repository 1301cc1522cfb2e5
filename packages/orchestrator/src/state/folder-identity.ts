import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { OrchestratorError } from '../errors.ts'
import { replaceFile } from './replace-file.ts'
import type { Secrets } from './secrets.ts'
import { baseDirectory, identityFile, type StateDirectory } from './state-directory.ts'

/** Whose data a folder holds. */
export interface FolderIdentity {
  readonly project: string
  readonly configFile: string
}

/**
 * Writes down whose data a folder holds. Databases are named after the project: under another name the apps would start
 * on empty ones, which is refused. Only for the holder of the folder's lock.
 *
 * @returns what to tell about a new folder when another one of the same project lies beside it.
 * @throws OrchestratorError `ERR_ORCHESTRATOR_STATE_DIRECTORY` when the databases are those of another project.
 */
export function claimFolder(
  state: StateDirectory,
  identity: FolderIdentity,
  secrets: Secrets,
  env: NodeJS.ProcessEnv = process.env,
): string | undefined {
  const known = readIdentity(state.root)
  const hasDatabases = secrets.names.some((name) => name.startsWith('database:'))
  if (known && known.project !== identity.project && hasDatabases) {
    throw new OrchestratorError(
      `The data folder ${state.root} has the databases of project "${known.project}", and the ecosystem file says "${identity.project}": its apps would start on empty databases. Give the project its old name, or name another data folder with --data.`,
      { code: 'ERR_ORCHESTRATOR_STATE_DIRECTORY', kind: 'conflict' },
    )
  }
  writeIdentity(state.root, identity)
  if (known || hasDatabases) return undefined
  const others = otherFolders(state.root, identity.project, env)
  if (others.length === 0) return undefined
  return `Attention: the data folder ${state.root} is new, and the apps start on empty databases. Project "${identity.project}" has data in ${others.join(' and in ')} too. If this is a new release of it, name its folder with --data or in a file .quintet-data beside the ecosystem file.`
}

function otherFolders(root: string, project: string, env: NodeJS.ProcessEnv): string[] {
  const base = baseDirectory(env)
  if (dirname(root) !== base) return []
  return readdirSync(base)
    .map((name) => join(base, name))
    .filter((folder) => folder !== root && readIdentity(folder)?.project === project)
}

function readIdentity(root: string): FolderIdentity | undefined {
  try {
    return JSON.parse(readFileSync(identityFile(root), 'utf8')) as FolderIdentity
  } catch {
    return undefined
  }
}

function writeIdentity(root: string, { project, configFile }: FolderIdentity): void {
  replaceFile(identityFile(root), `${JSON.stringify({ project, configFile }, null, 2)}\n`)
}
