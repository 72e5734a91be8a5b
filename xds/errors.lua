-- Gives a provider's refusal OpenAI's form where it has none, or where it would tell the
-- client something else than it means. It is asked only about answers of providers whose
-- status is no success (errors.go), and REFUSED, BUSY, FAILED and TURNED_DOWN, which stand
-- in front of it, are bodies.

local find, sub = string.find, string.sub

function envoy_on_response(handle)
  local headers = handle:headers()
  local status, kind = headers:get(":status"), headers:get("content-type")
  local body
  if status == "401" or status == "403" then
    status, body = "502", REFUSED
  elseif not kind or not find(kind, "json", 1, true) then
    if status == "429" then
      body = BUSY
    elseif sub(status, 1, 1) == "5" then
      body = FAILED
    else
      body = TURNED_DOWN
    end
  end
  if sub(status, 1, 1) == "5" and not headers:get("retry-after") then
    -- One that was asked before said more: that it is busy, and maybe for how long.
    local busy = handle:streamInfo():dynamicMetadata():get("postern.busy")
    if busy then
      status, body = "429", BUSY
      headers:replace("x-should-retry", "true")
      if busy["after"] then headers:replace("retry-after", busy["after"]) end
    end
  end
  if not body then return end
  headers:replace(":status", status)
  headers:replace("content-type", "application/json")
  headers:remove("content-encoding")
  handle:body(true):setBytes(body)
end
