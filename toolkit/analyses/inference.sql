-- Latency of one inference request, host memory to host memory, by batch size, after untimed requests.
-- pass_name: time or profile
-- batch: samples in a request
-- requests: requests timed
-- p50_ns: median latency, nanoseconds
-- p90_ns: 90th percentile
-- worst_ns: longest
-- samples_per_s: samples a second at the median latency
SELECT
    pass_name, name::INTEGER AS batch, count(*) AS requests,
    quantile_disc(dur_ns, 0.5) AS p50_ns, quantile_disc(dur_ns, 0.9) AS p90_ns, max(dur_ns) AS worst_ns,
    name::INTEGER * 1e9 / quantile_disc(dur_ns, 0.5) AS samples_per_s
FROM marks WHERE kind = 'request'
GROUP BY pass_name, name
ORDER BY pass_name, batch
