import { execFile } from 'node:child_process'
import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { parseEnv, promisify } from 'node:util'
import { fetchedServersFolder } from './test-kit/src/fetched-servers.ts'

/*
 * Fetches Redis 8, Valkey, PgBouncer and HAProxy for the tests, from the archive of Debian 13, on any Debian. Nothing of the machine
 * is changed: apt works with lists, sources and a cache of its own, and the programs run with the libraries that
 * they were built for. apt verifies the signature of the archive. Where it cannot be done, this says why and
 * succeeds; the tests then skip these servers.
 */

const run = promisify(execFile)
const suite = 'trixie'
const packages = ['haproxy', 'pgbouncer', 'redis-tools', 'valkey-tools']
const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg'

/**
 * The name under which tests look for a server, and its program in the packages. The programs that check the files of
 * Redis and Valkey become the servers by their name.
 */
const servers = [
  { name: 'haproxy', program: 'sbin/haproxy', version: '-v' },
  { name: 'pgbouncer', program: 'sbin/pgbouncer', version: '--version' },
  { name: 'redis-server-8', program: 'bin/redis-server', from: 'redis-check-rdb', version: '--version' },
  { name: 'valkey-server', program: 'bin/valkey-server', from: 'valkey-check-rdb', version: '--version' },
] as const
const names = 'Redis 8, Valkey, PgBouncer and HAProxy'

try {
  if (await isThere()) console.log(`${names} are there.`)
  else {
    await fetchServers()
    console.log(`${names} have been fetched.`)
  }
} catch (error) {
  const reason =
    error instanceof Error ? error.message.trim().split('\n').slice(0, 5).join('\n') : String(error)
  console.log(`${names} cannot be fetched, so tests on them are skipped: ${reason}`)
}

async function isThere(): Promise<boolean> {
  try {
    const files = await readdir(fetchedServersFolder)
    return servers.every(({ name }) => files.includes(name))
  } catch {
    return false
  }
}

async function fetchServers(): Promise<void> {
  const mirror = await findMirror()
  const parent = dirname(fetchedServersFolder)
  await mkdir(parent, { recursive: true })
  const work = await mkdtemp(join(parent, 'test-servers-'))
  try {
    const archives = await download(join(work, 'apt'), mirror)
    const made = join(work, 'made')
    const root = join(made, 'root')
    await mkdir(root, { recursive: true })
    for (const archive of archives) await run('dpkg-deb', ['--extract', archive, root])
    await writeStarters(made, root)
    await rm(fetchedServersFolder, { recursive: true, force: true })
    await rename(made, fetchedServersFolder)
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

/** The mirror from which this machine takes Debian itself. */
async function findMirror(): Promise<string> {
  const { ID, VERSION_CODENAME } = parseEnv(await readFile('/etc/os-release', 'utf8'))
  if (ID !== 'debian' || !VERSION_CODENAME) throw new Error('this is not Debian')
  const format = ['--format', '$(RELEASE) $(REPO_URI)', 'Created-By: Packages']
  const { stdout } = await run('apt-get', ['indextargets', ...format])
  for (const line of stdout.split('\n')) {
    const [release, mirror] = line.split(' ')
    if (release === VERSION_CODENAME && mirror) return mirror
  }
  throw new Error('apt knows no mirror')
}

/** Downloads the packages and all they depend on, as if nothing were installed. */
async function download(folder: string, mirror: string): Promise<string[]> {
  const archives = join(folder, 'cache', 'archives')
  await mkdir(join(folder, 'state', 'lists', 'partial'), { recursive: true })
  await mkdir(join(archives, 'partial'), { recursive: true })
  await writeFile(join(folder, 'status'), '')
  await writeFile(join(folder, 'sources.list'), `deb [signed-by=${keyring}] ${mirror} ${suite} main\n`)
  const settings = {
    'Dir::State': join(folder, 'state'),
    'Dir::State::status': join(folder, 'status'),
    'Dir::Cache': join(folder, 'cache'),
    'Dir::Etc::sourcelist': join(folder, 'sources.list'),
    'Dir::Etc::sourceparts': '/dev/null',
    'Dir::Etc::preferences': '/dev/null',
    'Dir::Etc::preferencesparts': '/dev/null',
    'Acquire::AllowInsecureRepositories': 'false',
    'Acquire::Languages': 'none',
    'Acquire::Retries': '1',
    'Acquire::http::Timeout': '10',
    'APT::Get::AllowUnauthenticated': 'false',
    'APT::Install-Recommends': 'false',
    // The folder may be one that only this user can read.
    'APT::Sandbox::User': 'root',
  }
  const config = join(folder, 'apt.conf')
  await writeFile(
    config,
    Object.entries(settings)
      .map(([key, value]) => `${key} "${value}";\n`)
      .join(''),
  )
  const options = { env: { ...process.env, APT_CONFIG: config }, timeout: 60_000 }
  await run('apt-get', ['--quiet', '--error-on=any', 'update'], options)
  await run('apt-get', ['--quiet', '--yes', '--download-only', 'install', ...packages], options)
  const files = await readdir(archives)
  return files.filter((file) => file.endsWith('.deb')).map((file) => join(archives, file))
}

/** One shell script for each server, which runs it by the loader that belongs to its libraries. */
async function writeStarters(folder: string, root: string): Promise<void> {
  const files = await readdir(join(root, 'usr'), { recursive: true })
  const loader = files.find((file) => /(^|\/)ld-linux[^/]*\.so\.\d+$/.test(file))
  const library = files.find((file) => /^lib\/[^/]+\/libc\.so\.6$/.test(file))
  if (loader === undefined || library === undefined) throw new Error('the packages hold no C library')
  for (const { name, program, version, ...source } of servers) {
    const target = join(root, 'usr', program)
    if ('from' in source) await symlink(source.from, target)
    const path = join(folder, name)
    const at = (file: string): string => `"$folder/${relative(folder, file)}"`
    await writeFile(
      path,
      [
        '#!/bin/sh',
        'folder=$(dirname "$(readlink -f "$0")")',
        `exec ${at(join(root, 'usr', loader))} --library-path ${at(join(root, 'usr', dirname(library)))} ${at(target)} "$@"`,
        '',
      ].join('\n'),
    )
    await chmod(path, 0o755)
    const { stdout } = await run(path, [version])
    console.log(stdout.trim().split('\n')[0])
  }
}
