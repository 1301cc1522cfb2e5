import type { ResolvedNginxMaintenance } from './nginx-options.ts'

/**
 * The Lua module of the generated configuration. One timer per worker reads the flags; requests look at what it
 * read last, in the memory that all workers share, and never at Redis.
 */
export function maintenanceLua(
  options: ResolvedNginxMaintenance | undefined,
  apps: readonly string[],
  page: string,
): string {
  return `${tenantLua}${options === undefined ? '' : watchLua(options, apps, page)}
return M
`
}

const tenantLua = `local M = {}

-- The tid claim of the bearer token: read, not verified. Whoever lies about it meets an app that refuses the token.
function M.tenant()
  local claims = string.match(ngx.var.http_authorization or "", "^%a+ +[%w_-]+%.([%w_-]+)%.")
    or string.match(ngx.var.http_sec_websocket_protocol or "", "bearer%.[%w_-]+%.([%w_-]+)%.")
  if not claims then return nil end
  claims = string.gsub(string.gsub(claims, "-", "+"), "_", "/")
  local json = ngx.decode_base64(claims .. string.rep("=", -#claims % 4))
  return json and string.match(json, '"tid"%s*:%s*"([^"\\\\]+)"')
end
`

function watchLua(options: ResolvedNginxMaintenance, apps: readonly string[], page: string): string {
  const { redis, prefix } = options
  return `
-- OpenResty and Debian name the same library differently.
local found, redis = pcall(require, "resty.redis")
if not found then redis = require("nginx.redis") end

local flags = ngx.shared.gateway_maintenance
local apps = { ${apps.map((app) => lua(app)).join(', ')} }
local password = ${redis.passwordFrom === undefined ? 'nil' : `os.getenv(${lua(redis.passwordFrom)})`}
local token = ${options.tokenFrom === undefined ? 'nil' : `os.getenv(${lua(options.tokenFrom)})`}
local page = ${lua(page)}
local off = { [""] = true, ["0"] = true, ["false"] = true, off = true, no = true }
local on = { ["1"] = true, ["true"] = true, on = true, yes = true }

local function read()
  local client = redis:new()
  client:set_timeout(${Math.ceil(options.timeout)})
  local ok, err = client:connect(${lua(redis.host)}, ${redis.port})
  if not ok then return nil, err end
  if password then
    ok, err = client:auth(password)
    if not ok then return nil, err end
  end
  if ${redis.database} ~= 0 then
    ok, err = client:select(${redis.database})
    if not ok then return nil, err end
  end
  local keys = { ${lua(prefix)}, ${lua(`${prefix}:tenants`)} }
  for _, app in ipairs(apps) do keys[#keys + 1] = ${lua(`${prefix}:`)} .. app end
  local values
  values, err = client:mget(unpack(keys))
  if not values then return nil, err end
  client:set_keepalive(60000, 2)
  return values
end

-- The notice of a flag: nil when it is off, empty when it has no text of its own.
local function notice(value)
  if type(value) ~= "string" then return nil end
  local text = string.match(value, "^%s*(.-)%s*$")
  local word = string.lower(text)
  if off[word] then return nil end
  return on[word] and "" or string.sub(text, 1, 500)
end

local function store(name, value)
  if value == nil then flags:delete(name) else flags:set(name, value) end
end

local function poll(premature)
  if premature then return end
  local ok, values, err = pcall(read)
  if ok and values then
    store("all", notice(values[1]))
    store("tenants", type(values[2]) == "string" and values[2] ~= "" and ("," .. string.gsub(values[2], "%s", "") .. ",") or nil)
    for index, app in ipairs(apps) do store("app:" .. app, notice(values[index + 2])) end
    if flags:get("failing") then ngx.log(ngx.NOTICE, "the maintenance flags can be read again") end
    flags:delete("failing")
    flags:set("read_at", ngx.now())
    return
  end
  if not flags:get("failing") then
    ngx.log(ngx.ERR, "the maintenance flags cannot be read, the last known ones hold for a while: ", tostring(ok and err or values))
    flags:set("failing", true)
  end
  local read_at = flags:get("read_at")
  if read_at and ngx.now() - read_at > ${options.holdFor / 1_000} then
    flags:flush_all()
    flags:set("failing", true)
  end
end

function M.watch()
  local ok, err = ngx.timer.at(0, poll)
  if ok then ok, err = ngx.timer.every(${options.interval / 1_000}, poll) end
  if not ok then ngx.log(ngx.ERR, "the maintenance flags are not watched: ", err) end
end

local function is_operator()
  if ngx.var.gateway_operator == "1" then return true end
  local given = ngx.var.http_x_maintenance_token
  return token ~= nil and token ~= "" and given == token
end

local function prefers_html()
  local accept = ngx.var.http_accept or ""
  local html = string.find(accept, "text/html", 1, true)
  local json = string.find(accept, "json", 1, true)
  return html and (not json or html < json)
end

local function escape_json(text)
  text = string.gsub(text, '[%c"\\\\]', function(c) return string.format("\\\\u%04x", string.byte(c)) end)
  return text
end

local entities = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

function M.check(app)
  local text = flags:get("all") or flags:get("app:" .. app)
  if not text then
    local tenants = flags:get("tenants")
    local tenant = tenants and M.tenant()
    if not tenant or not string.find(tenants, "," .. tenant .. ",", 1, true) then return end
    text = ""
  end
  if is_operator() then return end
  if text == "" then text = "The service is down for maintenance. Try again later." end
  local id = ngx.var.gateway_request_id
  ngx.status = 503
  ngx.header["Retry-After"] = ${Math.max(1, Math.ceil(options.retryAfter / 1_000))}
  ngx.header["Cache-Control"] = "no-store"
  if prefers_html() then
    ngx.header["Content-Type"] = "text/html; charset=utf-8"
    local escaped = string.gsub(text, "[&<>\\"']", entities)
    ngx.print((string.gsub(string.gsub(page, "@notice@", function() return escaped end), "@request@", function() return id end)))
  else
    ngx.header["Content-Type"] = "application/problem+json"
    ngx.print('{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"', escape_json(text),
      '","code":"ERR_GATEWAY_MAINTENANCE","kind":"unavailable","requestId":"', id, '"}')
  end
  return ngx.exit(503)
end
`
}

/** A Lua string of any text. */
function lua(text: string): string {
  const level = '='.repeat([0, 1, 2, 3].find((count) => !text.includes(`]${'='.repeat(count)}]`)) ?? 4)
  return /[\n"\\]/.test(text) ? `[${level}[\n${text}]${level}]` : `"${text}"`
}
