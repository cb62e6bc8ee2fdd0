-- One step from request to queued job: idempotency, bounds, record, payloads, entries.
-- ARGV: job, idempotency name or '', digest, kind, model, spec, spec hash, max items, max bytes, idempotency ttl (s),
--       seconds until the job fails, owner, trace context or '', who waits for its end or '', then items and payload of
--       each chunk.
-- Answers 'created', 'existing', 'conflict' or 'full', a space, and the job's id or the seconds to wait.
local job, name, digest, kind, model, spec, spec_hash = unpack(ARGV, 1, 7)
local max_items, max_bytes, idempotency_ttl, deadline, owner, trace, waiter = tonumber(ARGV[8]), tonumber(ARGV[9]),
  unpack(ARGV, 10, 14)
local FIRST = 15

-- The same call again, its first answer lost on the way: the job id is the caller's own.
if redis.call('EXISTS', job_key(job)) == 1 then return 'created ' .. job end

if name ~= '' then
  local known = redis.call('HMGET', idempotency_key(name), 'job', 'digest')
  if known[1] and redis.call('EXISTS', job_key(known[1])) == 1 then
    if known[2] ~= digest then return 'conflict ' .. known[1] end
    return 'existing ' .. known[1]
  end
end

local items, bytes = 0, 0
for i = FIRST, #ARGV, 2 do
  items = items + tonumber(ARGV[i])
  bytes = bytes + #ARGV[i + 1]
end

local held = redis.call('HMGET', COUNTERS, 'items', 'bytes', 'rate')
local held_items, held_bytes, rate = tonumber(held[1] or 0), tonumber(held[2] or 0), tonumber(held[3] or 0)
if held_items + items > max_items or held_bytes + bytes > max_bytes then
  local wait = 5
  if rate > 0 then
    local share = math.max(held_items + items - max_items, held_items * (held_bytes + bytes - max_bytes) / max_bytes)
    wait = share / (rate * math.max(1, redis.call('ZCARD', WORKERS)))
  end
  return 'full ' .. stamp(math.min(60, math.max(1, wait)))
end

local count = (#ARGV - FIRST + 1) / 2
local traced = trace ~= '' and {'trace', trace} or {}
local at = now()
redis.call('HSET', job_key(job), 'kind', kind, 'model', model, 'spec', spec, 'status', 'queued', 'chunks', count,
  'total', items, 'done', 0, 'failed', 0, 'chunks_done', 0, 'idempotency', name, 'owner', owner, 'created_at', stamp(at),
  'time_s', deadline, 'waiter', waiter, unpack(traced))
redis.call('ZADD', DEADLINES, stamp(at + tonumber(deadline)), job)
for index = 0, count - 1 do
  local chunk, size, payload = chunk_id(job, index), ARGV[FIRST + 2 * index], ARGV[FIRST + 2 * index + 1]
  redis.call('SET', payload_key(chunk), payload)
  local entry = redis.call('XADD', STREAM, '*', 'chunk', chunk, 'job', job, 'spec', spec_hash, 'items', size,
    unpack(traced))
  redis.call('HSET', chunk_key(chunk), 'job', job, 'index', index, 'state', 'queued', 'owner', '', 'attempts', 0,
    'items', size, 'bytes', #payload, 'entry', entry)
end
redis.call('HINCRBY', COUNTERS, 'items', items)
redis.call('HINCRBY', COUNTERS, 'bytes', bytes)
if name ~= '' then
  redis.call('HSET', idempotency_key(name), 'job', job, 'digest', digest)
  redis.call('PEXPIRE', idempotency_key(name), milliseconds(idempotency_ttl))
end
return 'created ' .. job
