import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { errorIndex, readErrorEntries } from './errors/error-index.ts'

const root = join(import.meta.dirname, '..')
await writeFile(join(root, 'ERRORS.md'), errorIndex(await readErrorEntries(root)))
