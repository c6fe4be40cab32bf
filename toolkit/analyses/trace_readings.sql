-- Readings of a file that is a table of them, as nvidia-smi writes it.
-- trace: number of the trace
-- device: the GPU, as the file tells it apart
-- metric: power, memory_used, …
-- unit: of the figures
-- readings: how many
-- mean: mean of the readings
-- least: smallest reading
-- most: largest reading
-- every_ns: mean time from one to the next; NULL of a single one
-- first_ns: when the first was, ns of CLOCK_REALTIME
-- last_ns: when the last was, ns of CLOCK_REALTIME
SELECT trace, device, metric, any_value(unit) AS unit, count(*) AS readings, avg(value) AS mean, min(value) AS least,
    max(value) AS most, (max(ts_ns) - min(ts_ns)) // nullif(count(*) - 1, 0) AS every_ns,
    min(ts_ns) AS first_ns, max(ts_ns) AS last_ns
FROM counters CROSS JOIN (SELECT trace FROM traces WHERE format = 'nvidia_smi_csv') WHERE source = 'nvidia-smi'
GROUP BY trace, device, metric
ORDER BY trace, metric, TRY_CAST(device AS INTEGER), device
