-- Claims chunks just before they run, counts the attempt, and hands out their payloads.
-- ARGV: worker, alone (0 or 1), max attempts, result ttl, record ttl (s), then chunk id and entry id of each.
-- Answers {spec, {verdict, attempt, payload}, ...}; verdicts: run; alone (ask again for it by itself, nothing was
-- counted); gone (someone else's, or canceled); failed (given up here).
local worker, alone, max_attempts, result_ttl, record_ttl = unpack(ARGV, 1, 5)
max_attempts = tonumber(max_attempts)
local answer, changed = {''}, {}

local function fail(chunk, reason)
  changed[book(chunk, 0, reason, {}, result_ttl, record_ttl)] = true
  return {'failed'}
end

local function begin(chunk, entry)
  if #redis.call('XPENDING', STREAM, GROUP, entry, entry, 1, worker) == 0 then return {'gone'} end
  local record = redis.call('HMGET', chunk_key(chunk), 'state', 'attempts', 'job')
  if record[1] ~= 'queued' and record[1] ~= 'running' then
    drop_entry(entry)
    return {'gone'}
  end
  local attempts, job = tonumber(record[2]), record[3]
  if attempts > 0 and alone ~= '1' then return {'alone'} end
  if attempts >= max_attempts then
    return fail(chunk, string.format('given up after %d attempts: the worker stopped or died each time', attempts))
  end
  local payload = redis.call('GET', payload_key(chunk))
  if not payload then return fail(chunk, 'the payload was lost') end
  redis.call('HSET', chunk_key(chunk), 'state', 'running', 'owner', worker, 'attempts', attempts + 1)
  if redis.call('HSETNX', job_key(job), 'started_at', stamp(now())) == 1 then
    redis.call('HSET', job_key(job), 'status', 'running')
    changed[job] = true
  end
  if answer[1] == '' then answer[1] = redis.call('HGET', job_key(job), 'spec') end
  return {'run', attempts + 1, payload}
end

for i = 6, #ARGV, 2 do answer[#answer + 1] = begin(ARGV[i], ARGV[i + 1]) end
for job in pairs(changed) do redis.call('PUBLISH', CHANNEL, job) end
return answer
