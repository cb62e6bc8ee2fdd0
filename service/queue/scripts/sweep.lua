-- Tidies up, at most once per period in the whole fleet: dead workers, their empty consumers, drifted counters.
-- ARGV: period (s). Answers {consumers removed, items drifted, bytes drifted}.
local LONGEST = 20000
if not redis.call('SET', SWEEPING, '1', 'NX', 'PX', milliseconds(ARGV[1])) then return {0, 0, 0} end

for _, worker in ipairs(redis.call('ZRANGE', WORKERS, 0, -1)) do
  if redis.call('EXISTS', worker_key(worker)) == 0 then redis.call('ZREM', WORKERS, worker) end
end

local removed = 0
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', STREAM, GROUP)) do
  local facts = {}
  for i = 1, #consumer, 2 do facts[consumer[i]] = consumer[i + 1] end
  if facts['pending'] == 0 and redis.call('EXISTS', worker_key(facts['name'])) == 0 then
    redis.call('XGROUP', 'DELCONSUMER', STREAM, GROUP, facts['name'])
    removed = removed + 1
  end
end

-- The counters move in the same scripts as the entries, so a drift means outside interference. A long stream is left
-- for later: summing it would stop the server for too long.
if redis.call('XLEN', STREAM) > LONGEST then return {removed, 0, 0} end
local items, bytes = 0, 0
for _, entry in ipairs(redis.call('XRANGE', STREAM, '-', '+')) do
  local held = redis.call('HMGET', chunk_key(entry[2][2]), 'items', 'bytes')
  items, bytes = items + tonumber(held[1] or 0), bytes + tonumber(held[2] or 0)
end
local before = redis.call('HMGET', COUNTERS, 'items', 'bytes')
redis.call('HSET', COUNTERS, 'items', items, 'bytes', bytes)
return {removed, tonumber(before[1] or 0) - items, tonumber(before[2] or 0) - bytes}
