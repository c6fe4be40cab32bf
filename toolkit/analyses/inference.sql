-- Latency of one inference request by batch size, after untimed requests: host memory to host memory, and, of unprofiled
-- passes, of one whose input and answer stay on the device. A percentile of under 100 requests is near the longest.
-- pass_name: time, profile or loop
-- batch: samples in a request
-- requests: requests timed, host memory to host memory
-- p50_ns: their median latency, nanoseconds
-- p90_ns: 90th percentile
-- p99_ns: 99th percentile
-- worst_ns: longest
-- samples_per_s: samples a second at the median latency
-- resident_requests: requests timed whose input and answer stay on the device; 0 where there are none
-- resident_p50_ns: their median latency, nanoseconds; NULL where there are none
-- resident_p90_ns: 90th percentile, likewise
-- resident_p99_ns: 99th percentile, likewise
-- resident_worst_ns: longest, likewise
-- resident_samples_per_s: samples a second at that median latency, likewise
WITH requests AS (
    SELECT pass_name, name::INTEGER AS batch, dur_ns, kind = 'request' AS whole
    FROM marks WHERE kind IN ('request', 'resident_request')
)
SELECT
    pass_name, batch,
    count(*) FILTER (whole) AS requests,
    quantile_disc(dur_ns, 0.5) FILTER (whole) AS p50_ns,
    quantile_disc(dur_ns, 0.9) FILTER (whole) AS p90_ns,
    quantile_disc(dur_ns, 0.99) FILTER (whole) AS p99_ns,
    max(dur_ns) FILTER (whole) AS worst_ns,
    batch * 1e9 / quantile_disc(dur_ns, 0.5) FILTER (whole) AS samples_per_s,
    count(*) FILTER (NOT whole) AS resident_requests,
    quantile_disc(dur_ns, 0.5) FILTER (NOT whole) AS resident_p50_ns,
    quantile_disc(dur_ns, 0.9) FILTER (NOT whole) AS resident_p90_ns,
    quantile_disc(dur_ns, 0.99) FILTER (NOT whole) AS resident_p99_ns,
    max(dur_ns) FILTER (NOT whole) AS resident_worst_ns,
    batch * 1e9 / quantile_disc(dur_ns, 0.5) FILTER (NOT whole) AS resident_samples_per_s
FROM requests
GROUP BY pass_name, batch
HAVING count(*) FILTER (whole) > 0
ORDER BY pass_name, batch
