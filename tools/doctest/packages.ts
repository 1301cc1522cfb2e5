import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { commentExamples, markdownExamples, type Example } from './examples.ts'

/** A package of the workspace, with the examples that its users read. */
export interface DocumentedPackage {
  readonly directory: string
  /** Each entry that can be imported, such as `@quintet/auth/fastify`, with its source file. */
  readonly entries: ReadonlyMap<string, string>
  readonly examples: readonly Example[]
}

export async function readPackages(root: string): Promise<readonly DocumentedPackage[]> {
  const names = await readdir(join(root, 'packages'))
  return Promise.all(names.toSorted().map((name) => readPackage(root, `packages/${name}`)))
}

async function readPackage(root: string, directory: string): Promise<DocumentedPackage> {
  const manifest = JSON.parse(await readFile(join(root, directory, 'package.json'), 'utf8')) as {
    name: string
    exports: Record<string, string>
  }
  const sources = (await readdir(join(root, directory, 'src'), { recursive: true }))
    .filter((file) => file.endsWith('.ts'))
    .toSorted()
    .map((file) => `${directory}/src/${file}`)
  const readme = `${directory}/README.md`
  const comments = await Promise.all(
    sources.map(async (file) => commentExamples(file, await readFile(join(root, file), 'utf8'))),
  )
  return {
    directory,
    entries: new Map(
      Object.entries(manifest.exports).map(([entry, file]) => [
        manifest.name + entry.slice(1),
        join(directory, file),
      ]),
    ),
    examples: [...markdownExamples(readme, await readFile(join(root, readme), 'utf8')), ...comments.flat()],
  }
}
