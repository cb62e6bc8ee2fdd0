-- Cancels a job: frees all its chunks at once; what is running now will find at completion that nobody waits for it.
-- ARGV: job, result ttl, record ttl (s), purge (0 or 1: leave no trace, finished or not).
-- Answers 1, or 0 when there is no such job.
local job, result_ttl, record_ttl, purge = unpack(ARGV, 1, 4)
local record = redis.call('HMGET', job_key(job), 'finished_at', 'chunks', 'idempotency')
if not record[2] then return 0 end
local finished, chunks, name = record[1], tonumber(record[2]), record[3]
if finished and purge ~= '1' then return 1 end

for index = 0, chunks - 1 do
  local chunk = chunk_id(job, index)
  if not finished then release(chunk) end
  redis.call('UNLINK', result_key(chunk))
  if purge == '1' then
    redis.call('UNLINK', chunk_key(chunk), payload_key(chunk))
  else
    redis.call('HSET', chunk_key(chunk), 'state', 'canceled')
  end
end

if purge == '1' then
  redis.call('DEL', job_key(job))
  redis.call('ZREM', DEADLINES, job)
  if redis.call('HGET', idempotency_key(name), 'job') == job then redis.call('DEL', idempotency_key(name)) end
else
  close(job, 'canceled', result_ttl, record_ttl)
end
tell({[job] = true})
return 1
