-- Claims chunks just before they run, counts the attempt, and hands out their payloads. A server that dies forgets the
-- claim, but not who was given the entry: complete.lua takes that for it.
-- ARGV: worker, name of this call (the same when it is repeated after a lost answer), alone (0 or 1), max attempts,
--       result ttl, record ttl (s), payloads (0: the worker has them already), then chunk id and entry id of each.
-- Answers {spec, {verdict, attempt, payload}, ...}; verdicts: run; alone (ask again for it by itself, nothing was
-- counted); gone (someone else's, or canceled); failed (given up here).
local worker, claim, alone, max_attempts, result_ttl, record_ttl, payloads = unpack(ARGV, 1, 7)
max_attempts = tonumber(max_attempts)
local answer, changed = {''}, {}

local function fail(chunk, reason)
  changed[book(chunk, 0, reason, {}, result_ttl, record_ttl)] = true
  return {'failed'}
end

local function begin(chunk, entry)
  if #redis.call('XPENDING', STREAM, GROUP, entry, entry, 1, worker) == 0 then return {'gone'} end
  local record = redis.call('HMGET', chunk_key(chunk), 'state', 'attempts', 'job', 'owner', 'claim')
  if record[1] ~= 'queued' and record[1] ~= 'running' then
    drop_entry(entry)
    return {'gone'}
  end
  local attempts, job = tonumber(record[2]), record[3]
  if end_if_overdue(job, result_ttl, record_ttl) then
    changed[job] = true
    return {'gone'}
  end
  if record[1] == 'running' and record[4] == worker and record[5] == claim then attempts = attempts - 1 end
  if attempts > 0 and alone ~= '1' then return {'alone'} end
  if attempts >= max_attempts then
    return fail(chunk, string.format('given up after %d attempts: the worker stopped or died each time', attempts))
  end
  local payload
  if payloads == '1' then
    payload = redis.call('GET', payload_key(chunk))
  else
    payload = redis.call('EXISTS', payload_key(chunk)) == 1 and ''
  end
  if not payload then return fail(chunk, 'the payload was lost') end
  redis.set_repl(redis.REPL_REPLICA) -- not for the disk: who waits for it here waits once more than need be
  redis.call('HSET', chunk_key(chunk), 'state', 'running', 'owner', worker, 'attempts', attempts + 1, 'claim', claim)
  if redis.call('HSETNX', job_key(job), 'started_at', stamp(now())) == 1 then
    redis.call('HSET', job_key(job), 'status', 'running')
    changed[job] = true
  end
  redis.set_repl(redis.REPL_ALL)
  if answer[1] == '' then answer[1] = redis.call('HGET', job_key(job), 'spec') end
  return {'run', attempts + 1, payload}
end

for i = 8, #ARGV, 2 do answer[#answer + 1] = begin(ARGV[i], ARGV[i + 1]) end
tell(changed)
return answer
