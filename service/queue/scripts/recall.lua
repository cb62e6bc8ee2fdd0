-- Reads a window, without what is too old, and the state that the model was last judged to be in.
-- ARGV: name, most items, age (s). Answers {lines, state or '', since or ''}.
local window, most, oldest = window_key(ARGV[1]), tonumber(ARGV[2]), now() - tonumber(ARGV[3])
while true do
  local first = redis.call('LINDEX', window, 0)
  if not first or tonumber(string.match(first, '^%S+')) >= oldest then break end
  redis.call('LPOP', window)
end
local standing = redis.call('HMGET', standing_key(ARGV[1]), 'state', 'since')
return {redis.call('LRANGE', window, -most, -1), standing[1] or '', standing[2] or ''}
