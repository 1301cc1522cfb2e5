import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort, until } from '@quintet/test-kit'

/** A plain nginx with one worker and connections that are kept; its CPU time is read from /proc. */
const { host } = new URL(process.argv[2] ?? '')
const folder = mkdtempSync(join(tmpdir(), 'quintet-bench-nginx-'))
const port = await freePort()
mkdirSync(join(folder, 'temp'))
writeFileSync(
  join(folder, 'nginx.conf'),
  `worker_processes 1; daemon off; master_process off; pid nginx.pid; error_log stderr error;
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path temp/body; proxy_temp_path temp/proxy; fastcgi_temp_path temp/fastcgi; uwsgi_temp_path temp/uwsgi; scgi_temp_path temp/scgi;
  keepalive_requests 1000000;
  upstream app { server ${host}; keepalive 64; keepalive_requests 1000000; }
  server {
    listen 127.0.0.1:${port};
    location /api/app/ { proxy_pass http://app/; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $remote_addr; }
  }
}
`,
)
const child = spawn('nginx', ['-p', folder, '-c', join(folder, 'nginx.conf')], { stdio: 'inherit' })
child.once('error', () => process.exit(1))
child.once('exit', () => process.exit(1))
const ticksPerSecond = 100

function cpuUsage(): NodeJS.CpuUsage {
  // After the name in brackets; utime and stime are fields 14 and 15.
  const fields = readFileSync(`/proc/${child.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  const microseconds = (field: number): number => (Number(fields[field - 3]) / ticksPerSecond) * 1_000_000
  return { user: microseconds(14), system: microseconds(15) }
}

process.on('message', () => process.send?.(cpuUsage()))
process.on('disconnect', () => {
  child.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
  process.exit()
})
const url = `http://127.0.0.1:${port}`
await until(async () => (await fetch(`${url}/api/app/`)).ok)
process.send?.(url)
