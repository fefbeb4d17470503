-- What wrk sends. The first argument says what: nothing for GETs, `refresh` with a refresh token for
-- each thread, which has one connection, or `slowly` with a pause in milliseconds.
local count = 0
function setup(thread)
  count = count + 1
  thread:set("number", count)
end

function init(args)
  if args[1] == "refresh" then
    local token = args[number + 1]
    function request()
      return wrk.format("POST", nil, { Cookie = "__Host-refresh=" .. token })
    end
    function response(_, headers)
      token = headers["set-cookie"]:match("__Host%-refresh=([^;]*)")
    end
  elseif args[1] == "slowly" then
    function delay()
      return tonumber(args[2])
    end
  elseif args[1] == "login" then
    wrk.method = "POST"
    wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
    wrk.body = args[2]
  end
end

function done(summary, latency)
  local errors = summary.errors
  print(string.format(
    '{"requests": %d, "seconds": %f, "p99": %f, "errors": %d}',
    summary.requests,
    summary.duration / 1e6,
    latency:percentile(99) / 1e6,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout
  ))
end
