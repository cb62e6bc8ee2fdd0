-- Ends jobs whose deadline has passed: the one that is named, or some of all.
-- ARGV: result ttl, record ttl (s), job or ''. Answers how many were ended.
local AT_ONCE = 16
local result_ttl, record_ttl, named = ARGV[1], ARGV[2], ARGV[3]
local jobs = {named}
if named == '' then jobs = redis.call('ZRANGE', DEADLINES, '-inf', stamp(now()), 'BYSCORE', 'LIMIT', 0, AT_ONCE) end

local ended = 0
for _, job in ipairs(jobs) do
  if end_if_overdue(job, result_ttl, record_ttl) then
    tell({[job] = true})
    ended = ended + 1
  end
end
return ended
