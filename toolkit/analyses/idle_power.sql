-- What each GPU drew before the worker started, watched for up to two seconds: what else was running is in it.
-- pass_name: time, profile or loop
-- device: GPU index as text
-- metric: power_instant, power_average or power
-- readings: how many
-- mean_mw: mean, mW
-- least_mw: smallest
-- most_mw: largest
SELECT pass_name, device, metric, count(*) AS readings, avg(value) AS mean_mw, min(value) AS least_mw, max(value) AS most_mw
FROM counters JOIN (SELECT pass_name, min(ts_ns) AS start_ns FROM marks WHERE kind = 'run' GROUP BY pass_name)
    USING (pass_name)
WHERE source = 'nvml' AND metric IN ('power_instant', 'power_average', 'power') AND counters.ts_ns < start_ns
GROUP BY pass_name, device, metric
ORDER BY pass_name, device, metric
