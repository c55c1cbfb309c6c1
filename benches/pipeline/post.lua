-- What wrk sends: a record of some 150 bytes, whose number is another in each request.
--
--     wrk -t1 -c64 -d20s -s post.lua http://127.0.0.1:7117/PROD/v1 -- http
--     wrk -t1 -c64 -d20s -s post.lua http://127.0.0.1:7117/ -- kinesis STREAM
--
-- `http` posts the record itself, `kinesis` a PutRecord with it in base64. Out comes, behind wrk's own report, a line
-- `RESULT {…}` with requests, errors, seconds and latencies in microseconds, for run.py.

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function base64(text)
   local out = {}
   for at = 1, #text, 3 do
      local a, b, c = text:byte(at, at + 2)
      local n = a * 65536 + (b or 0) * 256 + (c or 0)
      for shift = 18, 0, -6 do
         local digit = math.floor(n / 2 ^ shift) % 64
         out[#out + 1] = ALPHABET:sub(digit + 1, digit + 1)
      end
   end
   local more = #text % 3
   local encoded = table.concat(out)
   return more == 0 and encoded or encoded:sub(1, more - 4) .. ("="):rep(3 - more)
end

-- The first part is the same each time, and a multiple of three bytes, so that its base64 is made once.
local HEAD = '{"type":"소음","value":"48.5","ts":"2026-04-18T11:08:12.201Z","user_id":92665,"danji":{"id":3,"name":"여우비뜰1단지"},"ok":true,'
HEAD = HEAD .. (" "):rep((3 - #HEAD % 3) % 3)

local threads = 0

function setup(thread)
   thread:set("number_of_thread", threads)
   threads = threads + 1
end

function init(args)
   sent = 0
   if args[1] == "kinesis" then
      wrk.path = "/"
      wrk.headers["X-Amz-Target"] = "Kinesis_20131202.PutRecord"
      wrk.headers["Content-Type"] = "application/x-amz-json-1.1"
      -- Nobody here checks signatures, but some want to see one.
      wrk.headers["Authorization"] = "AWS4-HMAC-SHA256 Credential=test/20260418/us-east-1/kinesis/aws4_request, SignedHeaders=host, Signature=0"
      wrk.headers["X-Amz-Date"] = "20260418T000000Z"
      head = base64(HEAD)
      stream = args[2]
   else
      wrk.headers["Content-Type"] = "application/json"
   end
end

function request()
   sent = sent + 1
   local tail = string.format('"n":"%d-%09d"}', number_of_thread, sent)
   if head then
      local body = string.format('{"StreamName":"%s","PartitionKey":"%d","Data":"%s%s"}', stream, sent, head, base64(tail))
      return wrk.format("POST", nil, nil, body)
   end
   return wrk.format("POST", nil, nil, HEAD .. tail)
end

function done(summary, latency)
   local e = summary.errors
   print(string.format(
      'RESULT {"requests":%d,"seconds":%f,"not_2xx":%d,"connect":%d,"read":%d,"write":%d,"timeout":%d,"p50_us":%d,"p95_us":%d,"p99_us":%d,"max_us":%d}',
      summary.requests, summary.duration / 1e6, e.status, e.connect, e.read, e.write, e.timeout,
      latency:percentile(50), latency:percentile(95), latency:percentile(99), latency.max))
end
