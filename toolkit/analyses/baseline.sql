-- What each GPU read before the worker started: what others used, and what it drew at rest.
-- pass_name: time, profile or loop
-- device: GPU index as text
-- metric: power, memory_used, …
-- unit: of the figure
-- value: the first reading
SELECT pass_name, device, metric, arg_min(unit, counters.ts_ns) AS unit, arg_min(value, counters.ts_ns) AS value
FROM counters JOIN (SELECT pass_name, min(ts_ns) AS start_ns FROM marks WHERE kind = 'run' GROUP BY pass_name)
    USING (pass_name)
WHERE source = 'nvml' AND counters.ts_ns < start_ns
GROUP BY pass_name, device, metric
ORDER BY pass_name, device, metric
