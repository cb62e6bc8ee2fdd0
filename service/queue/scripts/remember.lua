-- Appends diagnostics to windows; each keeps the last so many, none older than so long.
-- ARGV: most items, age (s), then for each window: name, number of lines, the lines.
local most, age = tonumber(ARGV[1]), tonumber(ARGV[2])
local at = now()
local position = 3
while position <= #ARGV do
  local window, count = window_key(ARGV[position]), tonumber(ARGV[position + 1])
  for i = position + 2, position + 1 + count do
    redis.call('RPUSH', window, stamp(at) .. ' ' .. ARGV[i])
  end
  redis.call('LTRIM', window, -most, -1)
  redis.call('PEXPIRE', window, milliseconds(age))
  position = position + 2 + count
end
return 1
