-- Tidies up, at most once per period in the whole fleet: dead workers, their empty consumers, drifted counters.
-- ARGV: period (s). Answers {consumers removed, items drifted, bytes drifted}.
local LONGEST, A_STEP = 20000, 1
if redis.call('EXISTS', STREAM) == 0 then return {0, 0, 0} end

-- A time and not a key that expires: neither a clock set forward nor one set back may stop the sweeping.
local at, last = now(), tonumber(redis.call('GET', SWEEPING) or 0)
local set_back = last - at > A_STEP
if not set_back and at - last < tonumber(ARGV[1]) then return {0, 0, 0} end
redis.call('SET', SWEEPING, stamp(at))

-- By a clock that was set back, leases and registrations would live until it has caught up: they start anew.
if set_back then
  for _, entry in ipairs(redis.call('XPENDING', STREAM, GROUP, '-', '+', LONGEST)) do
    redis.call('XCLAIM', STREAM, GROUP, entry[2], 0, entry[1], 'IDLE', 0, 'JUSTID')
  end
  for _, worker in ipairs(redis.call('ZRANGE', WORKERS, 0, -1)) do
    redis.call('PEXPIRE', worker_key(worker), milliseconds(ARGV[1]))
  end
end

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
