-- Shared by all scripts; keys.py writes the key names above this text. From a script, a call of the server costs several
-- times what it does: one with many words is cheaper than many.

local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) + tonumber(time[2]) / 1e6
end

local function stamp(seconds)
  return string.format('%.6f', seconds)
end

local function chunk_id(job, index)
  return job .. ':' .. string.format('%d', index)
end

local function milliseconds(seconds)
  return string.format('%d', math.max(1, math.floor(tonumber(seconds) * 1000)))
end

local function drop_entry(entry)
  redis.call('XACK', STREAM, GROUP, entry)
  redis.call('XDEL', STREAM, entry)
end

-- Gives back all that a chunk holds in the queue. The payload's removal guards the counters: they go down once.
local function release(chunk)
  local held = redis.call('HMGET', chunk_key(chunk), 'entry', 'items', 'bytes')
  if not held[1] then return end
  drop_entry(held[1])
  if redis.call('DEL', payload_key(chunk)) == 1 then
    redis.call('HINCRBY', COUNTERS, 'items', -tonumber(held[2]))
    redis.call('HINCRBY', COUNTERS, 'bytes', -tonumber(held[3]))
  end
  if redis.call('XLEN', STREAM) == 0 then
    redis.call('HSET', COUNTERS, 'items', 0, 'bytes', 0)
  end
end

-- Tells whoever listens which jobs have changed (a set of ids), in one message: ids with spaces between them, a '!' after
-- each that has ended or is gone. Of a job of one chunk whose sender waits, only the end is told: who looks on sees that it
-- runs at the next look.
local function tell(changed)
  local words = {}
  for job in pairs(changed) do
    local record = redis.call('HMGET', job_key(job), 'status', 'finished_at', 'waiter', 'chunks')
    if record[2] or not record[1] then
      words[#words + 1] = job .. '!'
    elseif (record[3] or '') == '' or record[4] ~= '1' then
      words[#words + 1] = job
    end
  end
  if #words > 0 then redis.call('PUBLISH', CHANNEL, table.concat(words, ' ')) end
end

-- Ends a job: results live for result_ttl, the record (a tombstone by then) for record_ttl.
local function close(job, status, result_ttl, record_ttl)
  local at = now()
  local record = redis.call('HMGET', job_key(job), 'chunks', 'started_at')
  local words = {'status', status, 'finished_at', stamp(at)}
  if status ~= 'canceled' then words[5], words[6] = 'expires_at', stamp(at + tonumber(result_ttl)) end
  if record[2] then -- begin.lua has not kept it
    words[#words + 1] = 'started_at'
    words[#words + 1] = record[2]
  end
  redis.call('HSET', job_key(job), unpack(words))
  redis.call('ZREM', DEADLINES, job)
  redis.call('PEXPIRE', job_key(job), milliseconds(record_ttl))
  for index = 0, tonumber(record[1]) - 1 do
    local chunk = chunk_id(job, index)
    redis.call('PEXPIRE', chunk_key(chunk), milliseconds(result_ttl))
    redis.call('PEXPIRE', result_key(chunk), milliseconds(result_ttl))
  end
end

-- Ends the job if this was its last chunk.
local function settle(job, result_ttl, record_ttl)
  local record = redis.call('HMGET', job_key(job), 'chunks', 'chunks_done', 'failed', 'total')
  if tonumber(record[2]) < tonumber(record[1]) then return end
  local failed, total = tonumber(record[3]), tonumber(record[4])
  local status = 'partial'
  if failed == 0 then status = 'succeeded' end
  if failed >= total then
    status = 'failed'
    redis.call('HSETNX', job_key(job), 'error', 'every item failed; each carries its own error')
  end
  close(job, status, result_ttl, record_ttl)
end

-- Books a chunk as done. parts is a flat list of names and values; reason is '' unless the whole chunk failed.
local function book(chunk, failed, reason, parts, result_ttl, record_ttl)
  local record = redis.call('HMGET', chunk_key(chunk), 'job', 'items')
  local job, items = record[1], tonumber(record[2])
  if reason ~= '' then
    failed = items
    parts = {'queue:error', reason, 'queue:items', tostring(items)}
    redis.call('HSETNX', job_key(job), 'error', reason)
  end
  redis.call('HSET', result_key(chunk), unpack(parts))
  redis.call('HSET', chunk_key(chunk), 'state', 'done')
  redis.call('HINCRBY', job_key(job), 'done', items)
  redis.call('HDEL', job_key(job), 'partly:' .. chunk)
  failed = math.min(items, tonumber(failed))
  if failed > 0 then redis.call('HINCRBY', job_key(job), 'failed', failed) end
  redis.call('HINCRBY', job_key(job), 'chunks_done', 1)
  release(chunk)
  settle(job, result_ttl, record_ttl)
  return job
end

-- Ends a job whose time is up, and says whether it was: what has a result keeps it, the rest fails.
local function end_if_overdue(job, result_ttl, record_ttl)
  local deadline = redis.call('ZSCORE', DEADLINES, job)
  if not deadline or tonumber(deadline) > now() then return false end
  local record = redis.call('HMGET', job_key(job), 'chunks', 'time_s')
  if not record[1] then
    redis.call('ZREM', DEADLINES, job)
    return false
  end
  local reason = string.format('the deadline passed: the job had %g s', tonumber(record[2]))
  for index = 0, tonumber(record[1]) - 1 do
    local chunk = chunk_id(job, index)
    if redis.call('HGET', chunk_key(chunk), 'state') ~= 'done' then
      book(chunk, 0, reason, {}, result_ttl, record_ttl)
    end
  end
  return true
end
