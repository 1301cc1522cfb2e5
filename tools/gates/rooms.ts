/**
 * The rooms of each package, folders of its `src/` and single files (`errors.ts`), from the lowest level to the
 * highest. A room imports only rooms of lower levels, types included; the rooms of one line do not import each other.
 * A file of `src/` that is not listed is an entry, which may import every room. A package that is missing here has no
 * order yet.
 */
export const rooms: Readonly<Record<string, readonly string[]>> = {
  core: [
    'errors.ts clock.ts',
    'security logging ids timing',
    'options',
    'access lifecycle config settings http pino',
    'pipeline',
    'procedures limits',
    'transport',
    'definition',
    'app ecosystem testing',
  ],
  health: ['errors.ts metrics performance', 'probes shutdown'],
  auth: [
    'errors.ts secrets.ts',
    'keys sessions guards.ts',
    'tokens postgres audit.ts',
    'authority dpop',
    'http',
    'manager',
    'adapters app testing',
  ],
  queue: ['errors.ts in-time.ts', 'postgres', 'jobs leases', 'worker outbox schedules', 'events app'],
  realtime: ['errors.ts', 'wire', 'channel client', 'topic', 'server', 'hub'],
  gateway: [
    'errors.ts http-client',
    'maintenance',
    'options',
    'upstream nginx',
    'traffic',
    'exchange',
    'admission websocket',
    'listener',
    'gateway',
    'system',
  ],
  rls: [
    'errors.ts',
    'sql',
    'context roles',
    'policies wire adapters',
    'pool',
    'migrations',
    'catalogue',
    'lint',
    'app backup data testing',
  ],
  redis: [
    'without-arguments.ts second-chance-map.ts',
    'errors.ts',
    'commands',
    'clients limits locks',
    'caches pubsub app',
  ],
  server: [
    'errors.ts',
    'json.ts encode-input.ts problem.ts streams openapi',
    'request link client direct',
    'options',
    'socket exchange',
    'http',
  ],
  orchestrator: [
    'code-frame.ts',
    'errors.ts processes logs',
    'infrastructure metrics',
    'state bin-path.ts',
    'plan',
    'running',
    'holder',
    'control servers dev terminal',
    'runner supervisor',
    'launch',
    'daemon',
    'cli',
  ],
}

/** The most files that one folder may hold. */
export const filesPerFolder = 15
