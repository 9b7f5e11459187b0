/** The share of Redis' `maxmemory` beyond which no event is stored, so that events leave room for new sessions. */
export const EVENTS_FULL_AT = 0.8;

/** The share beyond which no new record is stored. Leases and the records of open sessions must always have room. */
export const RECORDS_FULL_AT = 0.9;

/**
 * The part of a Lua script that defines `whenFull(share, bytes)`. It returns an error when Redis would use more than that share
 * of its `maxmemory` after `bytes` were added. Otherwise it returns nil, also when the user of Redis may not call `INFO`.
 */
export const WHEN_FULL = `
local function whenFull(share, bytes)
  local info = redis.pcall('INFO', 'memory')
  if type(info) ~= 'string' then return nil end
  local used = tonumber(string.match(info, '\\nused_memory:(%d+)') or 0)
  local most = tonumber(string.match(info, '\\nmaxmemory:(%d+)') or 0)
  if most == 0 or used + bytes <= most * share then return nil end
  return redis.error_reply('FULL ' .. string.format('%.0f of %.0f', used, most))
end`;
