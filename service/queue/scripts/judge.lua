-- Writes a model's new state if nobody has changed it since the caller looked; keeps since when it holds.
-- ARGV: name, state that the caller saw ('no_data' before the first), new state. Answers {state, since} as they stand.
local standing, seen, new = standing_key(ARGV[1]), ARGV[2], ARGV[3]
local before = redis.call('HGET', standing, 'state')
if not before or (before == seen and before ~= new) then
  redis.call('HSET', standing, 'state', new, 'since', stamp(now()))
end
return redis.call('HMGET', standing, 'state', 'since')
